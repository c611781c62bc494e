/* Sentences for what memory costs, and for what has to bound it. */
#include "client/error-words.h"
#include "client/size.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

static void say_size(struct sentence *s, struct json_object *p, const char *key)
{
	char text[SIZE_TEXT];

	size_describe((uint64_t)field_int(p, key, 0), text, sizeof text);
	say(s, "%s", text);
}

/* Whose limits these are, and what there is of them already. */
static const struct limit {
	const char *name, *whose;
	bool has_account; /* it is the account's, or the control group's, of this name */
	const char *before, *after;
	const char *undone;
} limits[] = {
	{ "host-limit", "this host", false, "all accounts together owe ", "", "pinned" },
	{ "memory.max", "control group ", true, "it has ", "", "pinned" },
	{ "kernel-bill-limit", "account ", true, "", " of it is billed or reserved",
		"pinned or reserved" },
	{ "owed-limit", "account ", true, "it owes ", "", "pinned" },
};

/* "the owed-limit of account alice is 24.0 GiB: it owes 16.0 GiB, and 16.0 GiB was asked for". */
static void say_limit_exceeded(struct sentence *s, struct json_object *p)
{
	const size_t n = sizeof limits / sizeof *limits;
	const char *name = word(p, "limit", "limit");
	const struct limit *limit = limits;

	while (limit < &limits[n - 1] && strcmp(limit->name, name) != 0)
		limit++;
	say(s, "the %s of %s%s is ", name, limit->whose,
		limit->has_account ? word(p, "account", "?") : "");
	say_size(s, p, "limitBytes");
	say(s, ": %s", limit->before);
	say_size(s, p, "stateBytes");
	say(s, "%s, and ", limit->after);
	say_size(s, p, "requestedBytes");
	say(s, " was asked for; nothing was %s", limit->undone);
}

/* What to do about it is in the reason. */
static void say_no_memory_bound(struct sentence *s, struct json_object *p)
{
	const char *cgroup = word(p, "cgroup", NULL);

	say(s, "no memory.max bounds what this process can pin");
	if (cgroup)
		say(s, " (control group %s)", cgroup);
	say_reason(s, p);
}

#define BROKER "org.vfiod.Broker."

static const struct known_error memory_errors[] = {
	{ BROKER "LimitExceeded", -EDQUOT, say_limit_exceeded },
	{ BROKER "NoMemoryBound", -EPERM, say_no_memory_bound },
};

const struct known_error *memory_error_find(const char *name)
{
	for (size_t i = 0; i < sizeof memory_errors / sizeof *memory_errors; i++)
		if (strcmp(memory_errors[i].name, name) == 0)
			return &memory_errors[i];
	return NULL;
}
