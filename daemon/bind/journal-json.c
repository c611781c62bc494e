#include "daemon/bind/journal-json.h"

#include "daemon/base/record.h"
#include "daemon/base/util.h"

#include <errno.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <limits.h>
#include <string.h>

/*
 * Raised when an older vfiod would misread an entry, or lose what it has to keep.
 * 2: holder, failure; a member's claim, hostProbes.
 */
#define VERSION 2

static const char *const phase_names[] = {
	[JOURNAL_TAKING] = "taking",
	[JOURNAL_TAKEN] = "taken",
	[JOURNAL_RETURNING] = "returning",
	[JOURNAL_FAILED] = "failed",
};

static void cleanup_json(struct json_object **object)
{
	json_object_put(*object);
}
#define _cleanup_json_ __attribute__((cleanup(cleanup_json)))

/* --- writing: each adds to `object`, and fails on a value that could not be made ------ */

static int add(struct json_object *object, const char *key, struct json_object *value)
{
	if (value && json_object_object_add(object, key, value) == 0)
		return 0;
	json_object_put(value);
	return -ENOMEM;
}

static int add_string(struct json_object *object, const char *key, const char *value)
{
	return add(object, key, json_object_new_string(value));
}

static int add_bool(struct json_object *object, const char *key, bool value)
{
	return add(object, key, json_object_new_boolean(value));
}

static int add_number(struct json_object *object, const char *key, int64_t value)
{
	return add(object, key, json_object_new_int64(value));
}

static struct json_object *encode_member(const struct plan_member *member)
{
	_cleanup_json_ struct json_object *object = json_object_new_object();

	if (!object || add_string(object, "action", plan_action_name(member->action)) < 0 ||
		add_string(object, "name", member->name) < 0 ||
		add_string(object, "bus", member->bus) < 0 ||
		add_string(object, "syspath", member->syspath) < 0 ||
		add_string(object, "target", member->target) < 0 ||
		add_string(object, "module", member->module) < 0 ||
		add_bool(object, "force", member->force) < 0 ||
		add_bool(object, "known", member->known) < 0 ||
		add_string(object, "hostDriver", member->host_driver) < 0 ||
		add_string(object, "hostOverride", member->host_override) < 0 ||
		add_string(object, "claim", member->claim) < 0 ||
		add_bool(object, "hostProbes", member->host_probes) < 0)
		return NULL;
	return steal_pointer(&object);
}

static struct json_object *encode_members(const struct plan *plan)
{
	_cleanup_json_ struct json_object *array = json_object_new_array();

	for (size_t i = 0; array && i < plan->n_members; i++) {
		struct json_object *member = encode_member(&plan->members[i]);
		if (!member || json_object_array_add(array, member) < 0) {
			json_object_put(member);
			return NULL;
		}
	}
	return steal_pointer(&array);
}

/* A string: not every reader of JSON has 64 bits. */
static int add_ticks(struct json_object *object, const char *key, unsigned long long ticks)
{
	char text[32];

	snprintf(text, sizeof(text), "%llu", ticks);
	return add_string(object, key, text);
}

static struct json_object *encode_holder(const struct journal_holder *holder)
{
	_cleanup_json_ struct json_object *object = json_object_new_object();

	if (!object || add_number(object, "pid", holder->pid) < 0 ||
		add_ticks(object, "startTicks", holder->start_ticks) < 0 ||
		add_number(object, "uid", holder->uid) < 0 ||
		add_string(object, "command", holder->command) < 0)
		return NULL;
	return steal_pointer(&object);
}

int journal_encode(const struct journal_entry *entry, char **json, size_t *length)
{
	_cleanup_json_ struct json_object *object = json_object_new_object();

	if (!object || add_number(object, "version", VERSION) < 0 ||
		add_number(object, "group", entry->plan->group) < 0 ||
		add_string(object, "phase", phase_names[entry->phase]) < 0 ||
		add_number(object, "child", entry->child) < 0 ||
		add_ticks(object, "childStartTicks", entry->child_start_ticks) < 0 ||
		add_bool(object, "stay", entry->stay) < 0 ||
		add(object, "holder", encode_holder(&entry->holder)) < 0 ||
		add_string(object, "failure", entry->failure) < 0 ||
		add(object, "members", encode_members(entry->plan)) < 0)
		return -ENOMEM;
	const char *text = json_object_to_json_string_length(
		object, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_NOSLASHESCAPE, length);
	*json = text ? strdup(text) : NULL;
	return *json ? 0 : -ENOMEM;
}

/* --- reading: each says in `*problem` what is wrong with which key, once -------------- */

struct reader {
	struct json_object *object; /* whose keys are read */
	const char *problem;        /* the key, or NULL: all is well */
};

static struct json_object *get(struct reader *reader, const char *key, enum json_type type)
{
	struct json_object *value = NULL;

	if (json_object_object_get_ex(reader->object, key, &value) &&
		json_object_is_type(value, type))
		return value;
	if (!reader->problem)
		reader->problem = key;
	return NULL;
}

static void get_string(struct reader *reader, const char *key, char *to, size_t size)
{
	struct json_object *value = get(reader, key, json_type_string);

	to[0] = '\0';
	/* A NUL inside would make another string of it. */
	if (value &&
		((size_t)json_object_get_string_len(value) !=
				strlen(json_object_get_string(value)) ||
			string_copy(to, size, json_object_get_string(value)) < 0) &&
		!reader->problem)
		reader->problem = key;
}

static bool get_bool(struct reader *reader, const char *key)
{
	return json_object_get_boolean(get(reader, key, json_type_boolean));
}

static int64_t get_number(struct reader *reader, const char *key, int64_t max)
{
	int64_t number = json_object_get_int64(get(reader, key, json_type_int));

	if (number >= 0 && number <= max)
		return number;
	if (!reader->problem)
		reader->problem = key;
	return 0;
}

static unsigned long long get_ticks(struct reader *reader, const char *key)
{
	char text[32], *end;

	get_string(reader, key, text, sizeof(text));
	errno = 0;
	unsigned long long ticks = strtoull(text, &end, 10);
	if ((errno || *end || *text < '0' || *text > '9') && !reader->problem)
		reader->problem = key;
	return ticks;
}

/* One of the names of an enum that starts at 0. */
static int get_name(struct reader *reader, const char *key, const char *(*name_of)(int), int n)
{
	char name[32];

	get_string(reader, key, name, sizeof(name));
	for (int i = 0; i < n; i++)
		if (strcmp(name, name_of(i)) == 0)
			return i;
	if (!reader->problem)
		reader->problem = key;
	return 0;
}

static const char *phase_name(int phase)
{
	return phase_names[phase];
}

static const char *action_name(int action)
{
	return plan_action_name((enum plan_action)action);
}

/* Of an object inside of the reader's: what is wrong with a key of it is wrong with the entry. */
static void decode_holder(struct reader *reader, struct journal_holder *holder)
{
	struct reader of_holder = { .object = get(reader, "holder", json_type_object) };

	if (!of_holder.object)
		return;
	holder->pid = (pid_t)get_number(&of_holder, "pid", INT_MAX);
	holder->start_ticks = get_ticks(&of_holder, "startTicks");
	holder->uid = (uid_t)get_number(&of_holder, "uid", UINT32_MAX);
	get_string(&of_holder, "command", holder->command, sizeof(holder->command));
	if (!reader->problem)
		reader->problem = of_holder.problem;
}

/* 0 or -ENOMEM; what is wrong is in the reader. */
static int decode_member(struct reader *reader, int64_t version, struct plan_member *member)
{
	char syspath[PATH_MAX];

	member->action =
		(enum plan_action)get_name(reader, "action", action_name, PLAN_ALREADY + 1);
	get_string(reader, "name", member->name, sizeof(member->name));
	get_string(reader, "bus", member->bus, sizeof(member->bus));
	get_string(reader, "syspath", syspath, sizeof(syspath));
	get_string(reader, "target", member->target, sizeof(member->target));
	get_string(reader, "module", member->module, sizeof(member->module));
	member->force = get_bool(reader, "force");
	member->known = get_bool(reader, "known");
	get_string(reader, "hostDriver", member->host_driver, sizeof(member->host_driver));
	get_string(reader, "hostOverride", member->host_override, sizeof(member->host_override));
	if (version >= 2) {
		get_string(reader, "claim", member->claim, sizeof(member->claim));
		member->host_probes = get_bool(reader, "hostProbes");
	}
	member->syspath = strdup(syspath);
	return member->syspath ? 0 : -ENOMEM;
}

static int decode_members(struct reader *reader, int64_t version, int group, struct plan **plan)
{
	struct json_object *array = get(reader, "members", json_type_array);
	size_t n = array ? json_object_array_length(array) : 0;

	*plan = plan_new(group, n);
	if (!*plan)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		struct reader of_member = { .object = json_object_array_get_idx(array, i) };
		int r = decode_member(&of_member, version, &(*plan)->members[i]);
		if (r < 0)
			return r;
		if (of_member.problem && !reader->problem)
			reader->problem = of_member.problem;
	}
	return 0;
}

int journal_decode(const char *json, size_t length, int group, struct journal_entry *entry,
	char *text, size_t text_size)
{
	_cleanup_json_ struct json_object *object = NULL;

	*entry = (struct journal_entry){ .plan = NULL };
	int r = record_parse(json, length, &object);
	if (r < 0) {
		if (r == -EBADMSG)
			snprintf(text, text_size, "it is damaged: not a whole JSON object");
		return r;
	}
	struct reader reader = { .object = object };
	int64_t version = get_number(&reader, "version", INT_MAX);
	if (!reader.problem && (version < 1 || version > VERSION)) {
		snprintf(text, text_size, "its version is %d, this vfiod knows 1 to %d",
			(int)version, VERSION);
		return -EBADMSG;
	}
	if (get_number(&reader, "group", INT_MAX) != group && !reader.problem)
		reader.problem = "group";
	entry->phase =
		(enum journal_phase)get_name(&reader, "phase", phase_name, JOURNAL_FAILED + 1);
	entry->child = (pid_t)get_number(&reader, "child", INT_MAX);
	entry->child_start_ticks = get_ticks(&reader, "childStartTicks");
	entry->stay = get_bool(&reader, "stay");
	if (version >= 2) {
		decode_holder(&reader, &entry->holder);
		get_string(&reader, "failure", entry->failure, sizeof(entry->failure));
	}
	r = decode_members(&reader, version, group, &entry->plan);
	if (r == 0 && reader.problem) {
		snprintf(text, text_size, "it is damaged: \"%s\" is missing or not what it can be",
			reader.problem);
		r = -EBADMSG;
	}
	if (r < 0)
		journal_entry_clear(entry);
	return r;
}
