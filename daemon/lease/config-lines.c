/*
 * libinih reads the lines, but it is lenient where a policy must not be: Debian's build cuts lines
 * at 200 bytes and section names at 49, drops what follows " ;" and "]", and takes an indented line
 * for another value of the key before it, all without a word (libinih 55, ini.c; its options are
 * global variables of the process, so they are left alone). So each line is looked at here before
 * it is handed over, and refused if libinih would not take all of it, or take it for something
 * else.
 */
#include "daemon/base/util.h"
#include "daemon/lease/config-parse.h"
#include "proto/utf8.h"

#include <errno.h>
#include <ini.h>
#include <string.h>

#define LINE_BYTES_MAX 199   /* INI_MAX_LINE less the NUL; the newline is not handed over */
#define SECTION_BYTES_MAX 49 /* MAX_SECTION less the NUL */

#define BLANKS " \t"

struct lines {
	struct parser *parser;
	FILE *file;
	char *buffer; /* getline's */
	size_t size;
	int result; /* of the first line that failed */
};

static int check_characters(struct parser *parser, const char *line, size_t length)
{
	if (parser->line == 1 && length >= 3 && memcmp(line, "\xef\xbb\xbf", 3) == 0)
		return parser_fail(parser,
			"the file begins with a byte order mark; save it as UTF-8 without one");
	for (size_t i = 0; i < length;) {
		size_t sequence = utf8_sequence(line + i, length - i);
		unsigned char byte = (unsigned char)line[i];
		if (sequence == 0)
			return parser_fail(parser, "byte %zu (0x%02x) is not UTF-8", i + 1, byte);
		if (byte == '\r' && i + 1 == length)
			return parser_fail(parser,
				"the line ends with a carriage return; save the file with Unix "
				"line ends");
		/* C0 but for the tab, DEL, and C1, which is U+0080 to U+009F. */
		if ((byte < ' ' && byte != '\t') || byte == 0x7f ||
			(byte == 0xc2 && (unsigned char)line[i + 1] < 0xa0))
			return parser_fail(parser, "byte %zu is a control character (0x%02x)",
				i + 1, byte == 0xc2 ? (unsigned char)line[i + 1] : byte);
		i += sequence;
	}
	return 0;
}

static int check_section(struct parser *parser, const char *line)
{
	size_t length = strcspn(line + 1, "]");
	const char *end = line + 1 + length;
	if (*end != ']')
		return parser_fail(parser, "the section has no ]; allowed: [daemon], [rule NAME], "
					   "[account NAME], [pool NAME]");
	if (end[1 + strspn(end + 1, BLANKS)] != '\0')
		return parser_fail(parser,
			"text after ]; a section has its line for itself, and a comment, too");
	if (length > SECTION_BYTES_MAX)
		return parser_fail(parser,
			"what is between [ and ] has %zu bytes; allowed: at most %d", length,
			SECTION_BYTES_MAX);

	char name[SECTION_BYTES_MAX + 1];
	memcpy(name, line + 1, length);
	name[length] = '\0';
	return parser_section(parser, name);
}

static int check_key(struct parser *parser, const char *line)
{
	/* libinih also takes a colon, of which our values are full. */
	size_t length = strcspn(line, "=:");
	if (length == 0 || line[length] != '=')
		return parser_fail(
			parser, "allowed: [SECTION], KEY = VALUE, or a comment after # or ;");
	for (const char *c = line + 1; *c; c++)
		if (strchr(";#", *c) && strchr(BLANKS, c[-1]))
			return parser_fail(
				parser, "'%s' after a value; comments are lines of their own", c);
	return 0;
}

static int check_line(struct parser *parser, const char *line, size_t length, size_t max)
{
	if (length > max)
		return parser_fail(parser,
			"the line has %zu bytes; allowed: at most %zu, and keys "
			"that are lists can be repeated",
			length, max);
	if (memchr(line, '\0', length))
		return parser_fail(parser, "the line has a NUL byte; this is no text file");
	int r = check_characters(parser, line, length);
	if (r != 0)
		return r;

	const char *start = line + strspn(line, BLANKS);
	if (*start == '\0' || *start == '#' || *start == ';')
		return 0;
	if (start > line)
		return parser_fail(parser,
			"the line is indented; a value is one line, and keys that are lists can be "
			"repeated");
	return *line == '[' ? check_section(parser, line) : check_key(parser, line);
}

/* An ini_reader: as fgets(3), but for the newline, which only costs room. */
static char *lines_next(char *to, int size, void *userdata)
{
	struct lines *lines = userdata;
	if (lines->result != 0)
		return NULL;

	errno = 0;
	ssize_t length = getline(&lines->buffer, &lines->size, lines->file);
	if (length < 0) {
		if (errno == ENOMEM)
			lines->result = -ENOMEM;
		else if (ferror(lines->file))
			lines->result =
				parser_fail(lines->parser, "cannot read on: %s", strerror(errno));
		return NULL;
	}
	if (length > 0 && lines->buffer[length - 1] == '\n')
		lines->buffer[--length] = '\0';

	lines->parser->line++;
	size_t max = size - 1 < LINE_BYTES_MAX ? (size_t)size - 1 : LINE_BYTES_MAX;
	lines->result = check_line(lines->parser, lines->buffer, (size_t)length, max);
	if (lines->result != 0)
		return NULL;
	fprintf(lines->parser->copy, "%s\n", lines->buffer);
	memcpy(to, lines->buffer, (size_t)length + 1);
	return to;
}

/* An ini_handler. The section is known from check_section(), empty ones included. */
static int lines_key(void *userdata, const char *section, const char *name, const char *value)
{
	struct lines *lines = userdata;
	(void)section;
	lines->result = parser_key(lines->parser, name, value);
	return lines->result == 0;
}

int parser_read_lines(struct parser *parser, FILE *file)
{
	struct lines lines = { .parser = parser, .file = file };
	parser->line = 0;
	int error = ini_parse_stream(lines_next, &lines, lines_key, &lines);
	free(lines.buffer);
	if (lines.result != 0)
		return lines.result;
	if (error < 0) /* a libinih with its buffer on the heap */
		return -ENOMEM;
	if (error > 0) {
		parser->line = (unsigned)error;
		return parser_fail(parser, "libinih does not understand this line");
	}
	return parser_section(parser, NULL);
}
