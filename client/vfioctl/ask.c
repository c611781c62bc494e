#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "client/selector.h"
#include "client/vfioctl/format.h"
#include "client/vfioctl/vfioctl.h"

const char *get_string(struct json_object *object, const char *key)
{
	struct json_object *value = get_object(object, key);

	return json_object_is_type(value, json_type_string) ? json_object_get_string(value) : NULL;
}

int64_t get_int(struct json_object *object, const char *key, int64_t otherwise)
{
	struct json_object *value = get_object(object, key);

	return json_object_is_type(value, json_type_int) ? json_object_get_int64(value) : otherwise;
}

bool get_bool(struct json_object *object, const char *key)
{
	struct json_object *value = get_object(object, key);

	return json_object_is_type(value, json_type_boolean) && json_object_get_boolean(value);
}

struct json_object *get_object(struct json_object *object, const char *key)
{
	struct json_object *value = NULL;

	if (json_object_is_type(object, json_type_object))
		json_object_object_get_ex(object, key, &value);
	return value;
}

struct json_object *get_array(struct json_object *object, const char *key, size_t *n)
{
	struct json_object *value = get_object(object, key);

	*n = 0;
	if (!json_object_is_type(value, json_type_array))
		return NULL;
	*n = json_object_array_length(value);
	return value;
}

const char *socket_name(const struct context *context)
{
	const char *socket = context->socket ? context->socket : secure_getenv("VFIOD_SOCKET");

	return socket ? socket : VFIOD_SOCKET;
}

int connect_daemon(struct context *context)
{
	int r;

	if (context->vfiod)
		return 0;
	r = vfiod_open(context->socket, &context->vfiod);
	if (r == 0) {
		patience_begin();
		return 0;
	}
	fprintf(stderr, "vfioctl: cannot connect to %s: %s\n", socket_name(context),
		strerrordesc_np(-r));
	/* Whose socket another one is, nobody knows here. */
	if ((r == -ENOENT || r == -ECONNREFUSED) && strcmp(socket_name(context), VFIOD_SOCKET) == 0)
		fputs("Is vfiod running? systemctl status vfiod.socket\n", stderr);
	return EXIT_NO_DAEMON;
}

static int reply_keep(const char *parameters, int *fds, size_t n_fds, void *userdata)
{
	struct json_object **reply = userdata;

	(void)fds;
	(void)n_fds;
	*reply = json_tokener_parse(parameters);
	return *reply ? 0 : -ENOMEM;
}

int ask(struct context *context, const char *method, struct json_object *parameters,
	struct json_object **reply)
{
	const char *text = parameters ? json_object_to_json_string(parameters) : NULL;
	int r;

	*reply = NULL;
	r = vfiod_call(context->vfiod, method, text, false, NULL, 0, context->timeout_ms,
		reply_keep, reply);
	patience_end();
	json_object_put(parameters);
	if (r < 0) {
		json_object_put(*reply);
		*reply = NULL;
	}
	return r;
}

int group_argument(const char *argument)
{
	const char *digits = strncmp(argument, "group:", 6) == 0 ? argument + 6 : argument;
	int number;

	return seconds_parse(digits, INT_MAX, &number) == 0 ? number : -1;
}

bool target_is_valid(const char *argument)
{
	return *argument && (strncmp(argument, "group:", 6) != 0 || group_argument(argument) >= 0);
}

/* Does `text` look like `pattern`, where x stands for a hexadecimal digit? */
static bool looks_like(const char *text, const char *pattern)
{
	for (; *pattern; text++, pattern++)
		if (*pattern == 'x' ? !isxdigit((unsigned char)*text) : *text != *pattern)
			return false;
	return !*text;
}

void device_argument(const char *argument, char *device, size_t size)
{
	bool is_short = looks_like(argument, "xx:xx.x");

	snprintf(device, size, "%s%s", is_short ? "0000:" : "", argument);
	if (!is_short && !looks_like(argument, "xxxx:xx:xx.x"))
		return;
	for (char *c = device; *c; c++)
		*c = (char)tolower((unsigned char)*c);
}

struct json_object *selector_parameters(const char *argument)
{
	struct json_object *parameters;
	int group = group_argument(argument);
	char device[256];
	const char *what;

	if (group >= 0)
		snprintf(device, sizeof device, "group:%d", group);
	else
		device_argument(argument, device, sizeof device);
	return selector_new(device, &parameters, &what) == 0 ? parameters : NULL;
}

void target_describe(const char *argument, char *buffer, size_t size)
{
	int group = group_argument(argument);
	char device[256];

	if (group >= 0) {
		snprintf(buffer, size, "group %d", group);
		return;
	}
	device_argument(argument, device, sizeof device);
	format_printable(device, buffer, size);
}

size_t line_width(const struct context *context)
{
	return context->is_terminal ? format_terminal_width(fileno(context->out)) : 80;
}

void text_print(struct context *context, const char *first, size_t indent, const char *text)
{
	char printable[4096];

	format_printable(text ? text : "?", printable, sizeof printable);
	format_wrapped(context->out, first, indent, line_width(context), printable);
}

void json_print(struct context *context, struct json_object *object)
{
	const char *text = json_object_to_json_string_ext(
		object, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);

	/* json-c escapes C0 only; DEL and C1 can steer a terminal as well. */
	for (const unsigned char *c = (const unsigned char *)text; c && *c; c++)
		if (*c == 0x7f)
			fputs("\\u007f", context->out);
		else if (c[0] == 0xc2 && c[1] >= 0x80 && c[1] < 0xa0)
			fprintf(context->out, "\\u%04x", *++c);
		else
			fputc(*c, context->out);
	fputc('\n', context->out);
}
