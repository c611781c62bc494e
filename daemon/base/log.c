#include "daemon/base/log.h"

#include "daemon/base/text.h"
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

/* What goes in front of a message, in the same buffer. */
enum { LEAD_SIZE = 16 };

static char *lead(char *message, const char *text)
{
	for (size_t i = strlen(text); i > 0; i--)
		*--message = text[i - 1];
	return message;
}

/* sd_journal_sendv() is a datagram to a local socket: it does not wait for the journal's disk. */
static bool log_to_journal(int level, char *message, const char *const fields[])
{
	char text[MAX_FIELDS][FIELD_SIZE], priority[] = "PRIORITY=?";
	struct iovec iov[MAX_FIELDS + 2];
	int n = 0;

	char *line = lead(message, "MESSAGE=");
	iov[n++] = (struct iovec){ line, strlen(line) };
	priority[sizeof(priority) - 2] = (char)('0' + level);
	iov[n++] = (struct iovec){ priority, sizeof(priority) - 1 };
	for (size_t i = 0; fields && fields[i] && fields[i + 1] && i / 2 < MAX_FIELDS; i += 2) {
		const char *end = text[i / 2] + FIELD_SIZE;
		char *to = text_put(text_begin(text[i / 2], fields[i]), end, "=");
		to = text_put(to, end, fields[i + 1]);
		iov[n++] = (struct iovec){ text[i / 2], (size_t)(to - text[i / 2]) };
	}
	return sd_journal_sendv(iov, n) == 0;
}

static void log_to_stderr(int level, char *message)
{
	char *end = message + strlen(message), *line = lead(message, "vfiod: ");

	/* sd-daemon(3): the journal reads the level from lines, too. Nobody else wants it. */
	if (log_state.to_journal) {
		line = lead(line, "<?>");
		line[1] = (char)('0' + level);
	}
	*end++ = '\n';
	/* At once: a line is not torn by those of children. Lost if nobody takes it. */
	if (write(STDERR_FILENO, line, (size_t)(end - line)) < 0)
		return;
}

static void log_valist(int level, const char *const fields[], const char *format, va_list arguments)
	__attribute__((format(printf, 3, 0)));
static void log_valist(int level, const char *const fields[], const char *format, va_list arguments)
{
	if (level > log_state.level)
		return;
	char line[LEAD_SIZE + MESSAGE_SIZE], *message = line + LEAD_SIZE;
	vsnprintf(message, MESSAGE_SIZE, format, arguments);
	/* What comes from outside may hold newlines: one message is one line. */
	for (char *c = message; *c; c++)
		if ((unsigned char)*c < ' ' || *c == 0x7f)
			*c = '?';
	if (!log_state.to_journal || !log_to_journal(level, message, fields))
		log_to_stderr(level, message);
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
