#include "client/selector.h"

#include "client/handle.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

static const char any[] = "any:", pool[] = "pool:", near[] = "near:", group[] = "group:";

static int begins(const char *text, const char *prefix)
{
	return strncmp(text, prefix, strlen(prefix)) == 0;
}

int selector_is_any(const char *name)
{
	return begins(name, any);
}

/* Decimal digits and nothing else: the number, or -1. */
static int number_of(const char *digits)
{
	char *end;
	long number;

	errno = 0;
	number = strtol(digits, &end, 10);
	return *digits < '0' || *digits > '9' || *end || errno || number > INT_MAX ? -1
										   : (int)number;
}

/* Cuts it off: the node, -1 if there is none, -2 if it makes no sense. */
static int near_cut(char *text)
{
	char *last = strrchr(text, ' ');
	int node;

	last = last ? last + 1 : text;
	if (!begins(last, near))
		return -1;
	node = number_of(last + strlen(near));
	*last = '\0';
	for (size_t n = strlen(text); n > 0 && text[n - 1] == ' '; n--)
		text[n - 1] = '\0';
	return node >= 0 ? node : -2;
}

static int matches_add(struct json_object *selector, const char *match)
{
	struct json_object *list = json_object_new_array();
	struct json_object *line = json_object_new_string(match);

	if (!list || !line || json_object_array_add(list, line) < 0) {
		json_object_put(line);
		json_object_put(list);
		return -ENOMEM;
	}
	return object_add(selector, "match", list) ? 0 : -ENOMEM;
}

static int description_add(struct json_object *selector, char *text, const char **what)
{
	int node = near_cut(text), r;

	*what = node == -2 ? "near: and not the number of a node"
			   : "any: and not what: a match as in vfiod.conf(5), or pool:NAME";
	if (node == -2 || !*text || strcmp(text, pool) == 0)
		return -EINVAL;
	if (begins(text, pool))
		r = object_add(selector, "pool", json_object_new_string(text + strlen(pool)))
			    ? 0
			    : -ENOMEM;
	else
		r = matches_add(selector, text);
	if (r == 0 && node >= 0 && !object_add(selector, "nearNumaNode", json_object_new_int(node)))
		r = -ENOMEM;
	return r;
}

static int selector_fill(struct json_object *selector, const char *name, const char **what)
{
	if (begins(name, any)) {
		char *text = strdup(name + strlen(any));
		int r = text ? description_add(selector, text, what) : -ENOMEM;

		free(text);
		return r;
	}
	if (begins(name, group)) {
		int number = number_of(name + strlen(group));

		*what = "not the number of a group";
		if (number < 0)
			return -EINVAL;
		return object_add(selector, "group", json_object_new_int(number)) ? 0 : -ENOMEM;
	}
	return object_add(selector, "device", json_object_new_string(name)) ? 0 : -ENOMEM;
}

int selector_new(const char *name, struct json_object **selector, const char **what)
{
	int r;

	*selector = json_object_new_object();
	if (!*selector)
		return -ENOMEM;
	r = selector_fill(*selector, name, what);
	if (r < 0) {
		json_object_put(*selector);
		*selector = NULL;
	}
	return r;
}
