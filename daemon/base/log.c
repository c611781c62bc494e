#include "daemon/base/log.h"

#include "daemon/base/util.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <systemd/sd-journal.h>

enum { MAX_FIELDS = 12, MESSAGE_SIZE = 1024, FIELD_SIZE = 512 };

/* Set once by main.c before anything else runs (style.md: main's state, kept beside its use). */
static struct {
	int level;
	bool to_journal;
} log_state = { .level = LOG_INFO };

/* systemd.exec(5), $JOURNAL_STREAM: "device:inode" of the stderr that leads to the journal. */
static bool stderr_is_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	struct stat st;
	if (!stream || fstat(STDERR_FILENO, &st) < 0)
		return false;
	char *end;
	unsigned long long device = strtoull(stream, &end, 10);
	if (*end != ':')
		return false;
	unsigned long long inode = strtoull(end + 1, &end, 10);
	return *end == '\0' && device == st.st_dev && inode == st.st_ino;
}

void log_open(int level)
{
	log_state.level = level;
	log_state.to_journal = stderr_is_journal();
}

/* sd_journal_sendv() is a datagram to a local socket: it does not wait for the journal's disk. */
static bool log_to_journal(int level, const char *message, const char *const fields[])
{
	char text[MAX_FIELDS + 2][FIELD_SIZE], full[MESSAGE_SIZE + 16];
	struct iovec iov[MAX_FIELDS + 2];
	int n = 0;

	snprintf(full, sizeof(full), "MESSAGE=%s", message);
	iov[n++] = (struct iovec){ full, strlen(full) };
	snprintf(text[n], FIELD_SIZE, "PRIORITY=%d", level);
	iov[n] = (struct iovec){ text[n], strlen(text[n]) };
	n++;
	for (size_t i = 0; fields && fields[i] && fields[i + 1] && n < MAX_FIELDS + 2;
		i += 2, n++) {
		snprintf(text[n], FIELD_SIZE, "%s=%s", fields[i], fields[i + 1]);
		iov[n] = (struct iovec){ text[n], strlen(text[n]) };
	}
	return sd_journal_sendv(iov, n) == 0;
}

static void log_valist(int level, const char *const fields[], const char *format, va_list arguments)
	__attribute__((format(printf, 3, 0)));
static void log_valist(int level, const char *const fields[], const char *format, va_list arguments)
{
	if (level > log_state.level)
		return;
	char message[MESSAGE_SIZE];
	vsnprintf(message, sizeof(message), format, arguments);
	/* What comes from outside may hold newlines: one message is one line. */
	for (char *c = message; *c; c++)
		if ((unsigned char)*c < ' ' || *c == 0x7f)
			*c = '?';
	if (log_state.to_journal && log_to_journal(level, message, fields))
		return;
	/* sd-daemon(3): the journal reads the level from lines, too. Nobody else wants it. */
	char line[MESSAGE_SIZE + 16] = "", mark[8] = "";
	if (log_state.to_journal)
		snprintf(mark, sizeof(mark), "<%d>", level);
	int length = snprintf(line, sizeof(line), "%svfiod: %s\n", mark, message);
	/* At once: a line is not torn by those of children. Lost if nobody takes it. */
	if (write(STDERR_FILENO, line, (size_t)length) < 0)
		return;
}

void log_fields(int level, const char *const fields[], const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	log_valist(level, fields, format, arguments);
	va_end(arguments);
}

void log_message(int level, const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	log_valist(level, NULL, format, arguments);
	va_end(arguments);
}
