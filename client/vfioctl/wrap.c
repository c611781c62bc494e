/*
 * Messages on a terminal: between words, and not in them. Whoever writes to stderr need not know;
 * in a file or a pipe, a message stays one line, for grep.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/vfioctl/format.h"
#include "client/vfioctl/vfioctl.h"

#define INDENT 2
#define LINE_MAX_BYTES 4096 /* of a message; the rest of a longer one is not wrapped */

void lines_wrap(FILE *out, size_t width, const char *text, size_t size)
{
	while (size > 0) {
		const char *end = memchr(text, '\n', size);
		size_t length = end ? (size_t)(end - text) : size;
		char line[LINE_MAX_BYTES];

		if (!end || length >= sizeof line) {
			length += end != NULL;
			fwrite(text, 1, length, out);
		} else {
			memcpy(line, text, length);
			line[length++] = '\0';
			if (format_width(line) <= width)
				fprintf(out, "%s\n", line);
			else
				format_wrapped(out, "", INDENT, width, line);
		}
		text += length;
		size -= length;
	}
}

static ssize_t on_write(void *cookie, const char *text, size_t size)
{
	FILE *terminal = cookie;

	lines_wrap(terminal, format_terminal_width(fileno(terminal)), text, size);
	return fflush(terminal) == 0 ? (ssize_t)size : 0;
}

void stderr_wrap(void)
{
	static char buffer[LINE_MAX_BYTES];
	const cookie_io_functions_t functions = { .write = on_write };
	FILE *wrapped;

	if (!isatty(STDERR_FILENO))
		return;
	wrapped = fopencookie(stderr, "w", functions);
	/* A line at a time, which is then written whole. */
	if (wrapped && setvbuf(wrapped, buffer, _IOLBF, sizeof buffer) == 0)
		stderr = wrapped;
}
