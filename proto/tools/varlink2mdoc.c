/*
 * Writes org.vfiod(7) in mdoc from .varlink files. What the page says of the interfaces
 * is their comments, nothing else: the files are the single source.
 *
 * A line of a comment that begins with a blank, " value, value: text", is an item of a list.
 * Escapes are those of mandoc_char(7), so that the page is plain ASCII.
 */
#include "proto/interface.h"
#include "proto/utf8.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define LINE_WIDTH 76 /* of the source: mandoc(1) calls more than 80 bad style */
#define MAX_TAG 26    /* the widest tag that shares its line with the text */

/* One character, as text of mdoc. Returns how many bytes of input it was. */
static size_t put_character(const char *text)
{
	size_t length = utf8_sequence(text, strlen(text));
	unsigned long code;

	switch (*text) {
	case '\\':
		fputs("\\e", stdout);
		return 1;
	case '"':
		fputs("\\(dq", stdout); /* in an argument of a macro it would quote */
		return 1;
	case '\'':
		fputs("\\(aq", stdout);
		return 1;
	case '`':
		fputs("\\(ga", stdout);
		return 1;
	case '^':
		fputs("\\(ha", stdout);
		return 1;
	case '~':
		fputs("\\(ti", stdout);
		return 1;
	case '-':
		fputs("\\-", stdout); /* names are copied from here */
		return 1;
	default:
		break;
	}
	if (length < 2) { /* the parser refused what is not UTF-8 */
		putchar(*text);
		return 1;
	}
	code = (unsigned char)*text & (0xffu >> (length + 1));
	for (size_t i = 1; i < length; i++)
		code = code << 6 | ((unsigned char)text[i] & 0x3f);
	printf("\\[u%04lX]", code);
	return length;
}

static void put_characters(const char *text, size_t length)
{
	for (const char *end = text + length; text < end;)
		text += put_character(text);
}

/* An argument of a macro: \& keeps it from being taken for a macro or for punctuation. */
static void put_argument(const char *text)
{
	fputs("\\&", stdout);
	put_characters(text, strlen(text));
}

static bool ends_sentence(const char *word, size_t length)
{
	while (length > 0 && strchr(")\"'", word[length - 1]))
		length--;
	return length > 0 && strchr(".!?", word[length - 1]);
}

/* A paragraph, filled; each sentence begins a line, as mdoc wants it. */
static void put_words(const char *text, size_t length)
{
	const char *end = text + length;
	size_t column = 0;

	while (text < end) {
		size_t word;

		text += strspn(text, " \t\n");
		word = strcspn(text, " \t\n");
		if (text >= end || word == 0)
			break;
		if (column > 0 && column + 1 + word > LINE_WIDTH) {
			putchar('\n');
			column = 0;
		}
		if (column > 0) {
			putchar(' ');
			column++;
		} else if (*text == '.' || *text == '\'') {
			fputs("\\&", stdout); /* no macro */
		}
		put_characters(text, word);
		column += word;
		if (ends_sentence(text, word)) {
			putchar('\n');
			column = 0;
		}
		text += word;
	}
	if (column > 0)
		putchar('\n');
}

static size_t line_length(const char *line)
{
	return strcspn(line, "\n");
}

static const char *next_line(const char *line)
{
	line += line_length(line);
	return *line ? line + 1 : line;
}

/* The item's name in " name: text"; 0 if the line has none. */
static size_t item_name_length(const char *line)
{
	size_t length = strcspn(line + 1, ":\n");

	return line[1 + length] == ':' ? length : 0;
}

/* The line after an item: lines that are indented deeper go on with it. */
static const char *next_item(const char *line)
{
	do {
		line = next_line(line);
	} while (line[0] == ' ' && line[1] == ' ');
	return line;
}

/* Lines " name: text" up to one that is not indented. */
static const char *put_items(const char *line)
{
	size_t width = 0;

	for (const char *item = line; *item == ' '; item = next_item(item)) {
		size_t length = item_name_length(item);

		if (length <= MAX_TAG && length > width)
			width = length;
	}
	printf(".Pp\n.Bl -tag -width %zun -compact\n", width);
	while (*line == ' ') {
		const char *next = next_item(line);
		size_t length = item_name_length(line);

		if (length > 0) {
			fputs(".It Cm \\&", stdout);
			put_characters(line + 1, length);
			putchar('\n');
			line += length + 2;
		} else {
			puts(".It \\(bu");
		}
		put_words(line, (size_t)(next - line));
		line = next;
	}
	puts(".El");
	return line;
}

/* An empty line parts paragraphs; "[Requires 'more' flag]" is said elsewhere. */
static void put_comment(const char *comment)
{
	const char *line = comment ? comment : "";
	bool is_first = true;

	while (*line) {
		const char *end = line;

		if (*line == '\n' || *line == '[') {
			line = next_line(line);
			continue;
		}
		if (*line == ' ') {
			line = put_items(line);
			continue;
		}
		while (*end && *end != '\n' && *end != ' ' && *end != '[')
			end = next_line(end);
		if (!is_first)
			puts(".Pp");
		put_words(line, (size_t)(end - line));
		line = end;
		is_first = false;
	}
}

/* "?[]Device", "(a: int)" into text[]; cut where it does not fit. */
static void type_write(const struct varlink_type *type, char *text, size_t size)
{
	static const char *const simple[] = {
		[VARLINK_BOOL] = "bool",
		[VARLINK_INT] = "int",
		[VARLINK_FLOAT] = "float",
		[VARLINK_STRING] = "string",
		[VARLINK_OBJECT] = "object",
	};
	size_t length;

	snprintf(text, size, "%s", type->nullable ? "?" : "");
	length = strlen(text);
	switch (type->kind) {
	case VARLINK_NAMED:
		snprintf(text + length, size - length, "%s", type->type_name);
		return;
	case VARLINK_ARRAY:
	case VARLINK_MAP:
		snprintf(text + length, size - length,
			type->kind == VARLINK_MAP ? "[string]" : "[]");
		length = strlen(text);
		type_write(type->element, text + length, size - length);
		return;
	case VARLINK_ENUM:
	case VARLINK_STRUCT:
		for (size_t i = 0; i < type->n_fields; i++) {
			const struct varlink_field *field = &type->fields[i];

			snprintf(text + length, size - length, "%s%s%s", i ? ", " : "(",
				field->name, field->type ? ": " : "");
			length = strlen(text);
			if (field->type)
				type_write(field->type, text + length, size - length);
			length = strlen(text);
		}
		snprintf(text + length, size - length, type->n_fields ? ")" : "()");
		return;
	default:
		snprintf(text + length, size - length, "%s", simple[type->kind]);
	}
}

/* A tag a field, with its comment. */
static void put_fields(const struct varlink_type *type)
{
	size_t width = 0;
	char text[200];

	for (size_t i = 0; i < type->n_fields; i++) {
		size_t tag;

		type_write(type->fields[i].type, text, sizeof(text));
		tag = strlen(type->fields[i].name) + 2 + strlen(text);
		if (tag <= MAX_TAG && tag > width)
			width = tag;
	}
	printf(".Bl -tag -width %zun -compact\n", width > 8 ? width : 8);
	for (size_t i = 0; i < type->n_fields; i++) {
		type_write(type->fields[i].type, text, sizeof(text));
		fputs(".It Va ", stdout);
		put_argument(type->fields[i].name);
		fputs(" : Vt \"", stdout);
		put_argument(text);
		fputs("\"\n", stdout);
		put_comment(type->fields[i].comment);
	}
	puts(".El");
}

static void put_method(const struct varlink_method *method)
{
	fputs(".It Fn ", stdout);
	put_argument(method->name);
	putchar('\n');
	put_comment(method->comment);
	if (method->requires_more) {
		puts(".Pp\nA stream: only to be called with\n.Cm more .");
	}
	if (method->in->n_fields > 0) {
		puts(".Pp\nParameters:");
		put_fields(method->in);
	}
	if (method->out->n_fields > 0) {
		puts(".Pp\nReply:");
		put_fields(method->out);
	} else {
		puts(".Pp\nThe reply is empty.");
	}
}

static void put_declaration(const char *macro, const struct varlink_declaration *declaration)
{
	printf(".It %s ", macro);
	put_argument(declaration->name);
	putchar('\n');
	put_comment(declaration->comment);
	if (declaration->type->kind == VARLINK_STRUCT && declaration->type->n_fields > 0) {
		puts(".Pp");
		put_fields(declaration->type);
	}
}

/* An enum whose comment has no list of its values shows them here. */
static void put_values(const struct varlink_declaration *declaration)
{
	const struct varlink_type *type = declaration->type;
	bool is_explained = declaration->comment && strstr(declaration->comment, "\n ");

	if (type->kind != VARLINK_ENUM || is_explained)
		return;
	puts(".Pp\nOne of");
	for (size_t i = 0; i < type->n_fields; i++) {
		fputs(".Cm ", stdout);
		put_argument(type->fields[i].name);
		puts(i + 1 < type->n_fields ? " ," : " .");
	}
}

static void put_interface(const struct varlink_interface *interface)
{
	fputs(".Sh ", stdout);
	put_argument(interface->name);
	putchar('\n');
	put_comment(interface->comment);
	if (interface->n_methods > 0) {
		puts(".Ss Methods\n.Bl -tag -width Ds");
		for (size_t i = 0; i < interface->n_methods; i++)
			put_method(&interface->methods[i]);
		puts(".El");
	}
	if (interface->n_types > 0) {
		puts(".Ss Types\n.Bl -tag -width Ds");
		for (size_t i = 0; i < interface->n_types; i++) {
			put_declaration("Vt", &interface->types[i]);
			put_values(&interface->types[i]);
		}
		puts(".El");
	}
	if (interface->n_errors > 0) {
		puts(".Ss Errors\n.Bl -tag -width Ds");
		for (size_t i = 0; i < interface->n_errors; i++)
			put_declaration("Er", &interface->errors[i]);
		puts(".El");
	}
}

/* SOURCE_DATE_EPOCH, so that the same source makes the same page; else today. */
static void put_date(void)
{
	static const char *const months[] = { "January", "February", "March", "April", "May",
		"June", "July", "August", "September", "October", "November", "December" };
	const char *epoch = getenv("SOURCE_DATE_EPOCH");
	time_t now = epoch ? (time_t)strtoll(epoch, NULL, 10) : time(NULL);
	struct tm date;

	if (!gmtime_r(&now, &date))
		return;
	printf(".Dd %s %d, %d\n", months[date.tm_mon], date.tm_mday, date.tm_year + 1900);
}

static void put_head(void)
{
	puts(".\\\" Made from proto/*.varlink by varlink2mdoc.");
	put_date();
	puts(".Dt ORG.VFIOD 7\n.Os\n"
	     ".Sh NAME\n.Nm org.vfiod\n.Nd the Varlink interfaces of vfiod\n"
	     ".Sh DESCRIPTION\n"
	     ".Xr vfiod 8\n"
	     "speaks Varlink on the socket\n"
	     ".Pa /run/vfiod/org.vfiod.Broker :\n"
	     "JSON objects, each followed by a NUL.\n"
	     "Any Varlink client can talk to it,\n"
	     ".Xr varlinkctl 1\n"
	     "for one; programs in C have\n"
	     ".Xr libvfiod 3 .\n"
	     "The socket is open to everybody: who may do what is for the rules in\n"
	     ".Xr vfiod.conf 5\n"
	     "to say, and who is calling is for the kernel.\n"
	     ".Pp\n"
	     "A field whose type begins with\n"
	     ".Ql \\&?\n"
	     "may be null or absent,\n"
	     ".Ql []\n"
	     "is a list, and\n"
	     ".Ql [string]\n"
	     "an object with any keys.\n"
	     "Fields whose names end in\n"
	     ".Va FileDescriptor\n"
	     "are indices into the descriptors that came with the message,\n"
	     "the first of them 0.\n"
	     "An unknown parameter, one of the wrong type, a string with a NUL in it\n"
	     "and the two extreme values of a 64\\-bit integer are answered with\n"
	     ".Er org.varlink.service.InvalidParameter ,\n"
	     "which names it.\n"
	     "A failure that is only an errno is\n"
	     ".Er io.systemd.System .\n"
	     ".Pp\n"
	     "The interface\n"
	     ".Sy org.varlink.service ,\n"
	     "which every Varlink service has, is there as well.");
}

static char *read_whole(const char *path)
{
	FILE *file = fopen(path, "re");
	char *text = NULL;
	size_t size = 0;

	if (!file)
		return NULL;
	if (getdelim(&text, &size, '\0', file) < 0) {
		free(text);
		text = NULL;
	}
	fclose(file);
	return text;
}

static int put_file(const char *path)
{
	struct varlink_interface *interface = NULL;
	char *text = read_whole(path);
	char error[200];
	int r;

	if (!text) {
		fprintf(stderr, "varlink2mdoc: %s: cannot read it, or it is empty\n", path);
		return -EIO;
	}
	r = varlink_interface_parse(text, &interface, error, sizeof(error));
	if (r < 0)
		fprintf(stderr, "varlink2mdoc: %s: %s\n", path, error[0] ? error : strerror(-r));
	else if (strcmp(interface->name, "org.varlink.service") != 0)
		put_interface(interface);
	varlink_interface_free(interface);
	free(text);
	return r;
}

int main(int argc, char **argv)
{
	if (argc < 2) {
		fputs("Usage: varlink2mdoc FILE.varlink...\n", stderr);
		return 2;
	}
	put_head();
	for (int i = 1; i < argc; i++) {
		if (put_file(argv[i]) < 0)
			return 1;
	}
	puts(".Sh SEE ALSO\n.Xr vfioctl 1 ,\n.Xr libvfiod 3 ,\n.Xr vfiod.conf 5 ,\n.Xr vfiod 8");
	if (fflush(stdout) != 0 || ferror(stdout)) {
		perror("varlink2mdoc: stdout");
		return 1;
	}
	return 0;
}
