#include "daemon/bind/journal-json.h"

#include "daemon/base/fields.h"
#include "daemon/base/record.h"
#include "daemon/base/util.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <string.h>

/*
 * Raised when an older vfiod would misread an entry, or lose what it has to keep.
 * 2: holder, failure; a member's claim, hostProbes. 3: nodes, the phase renewing.
 */
#define VERSION 3

static const char *const phase_names[] = {
	[JOURNAL_TAKING] = "taking",
	[JOURNAL_TAKEN] = "taken",
	[JOURNAL_RETURNING] = "returning",
	[JOURNAL_FAILED] = "failed",
	[JOURNAL_RENEWING] = "renewing",
};

/* --- writing ---------------------------------------------------------------------------- */

static struct json_object *encode_member(const struct plan_member *member)
{
	_cleanup_json_ struct json_object *object = json_object_new_object();

	if (!object || field_add_string(object, "action", plan_action_name(member->action)) < 0 ||
		field_add_string(object, "name", member->name) < 0 ||
		field_add_string(object, "bus", member->bus) < 0 ||
		field_add_string(object, "syspath", member->syspath) < 0 ||
		field_add_string(object, "target", member->target) < 0 ||
		field_add_string(object, "module", member->module) < 0 ||
		field_add_bool(object, "force", member->force) < 0 ||
		field_add_bool(object, "known", member->known) < 0 ||
		field_add_string(object, "hostDriver", member->host_driver) < 0 ||
		field_add_string(object, "hostOverride", member->host_override) < 0 ||
		field_add_string(object, "claim", member->claim) < 0 ||
		field_add_bool(object, "hostProbes", member->host_probes) < 0)
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

static struct json_object *encode_holder(const struct journal_holder *holder)
{
	_cleanup_json_ struct json_object *object = json_object_new_object();

	if (!object || field_add_number(object, "pid", holder->pid) < 0 ||
		field_add_unsigned(object, "startTicks", holder->start_ticks) < 0 ||
		field_add_number(object, "uid", holder->uid) < 0 ||
		field_add_string(object, "command", holder->command) < 0)
		return NULL;
	return steal_pointer(&object);
}

int journal_encode(const struct journal_entry *entry, char **json, size_t *length)
{
	_cleanup_json_ struct json_object *object = json_object_new_object();

	if (!object || field_add_number(object, "version", VERSION) < 0 ||
		field_add_number(object, "group", entry->plan->group) < 0 ||
		field_add_string(object, "phase", phase_names[entry->phase]) < 0 ||
		field_add_number(object, "child", entry->child) < 0 ||
		field_add_unsigned(object, "childStartTicks", entry->child_start_ticks) < 0 ||
		field_add_bool(object, "stay", entry->stay) < 0 ||
		field_add_bool(object, "nodes", entry->nodes) < 0 ||
		field_add(object, "holder", encode_holder(&entry->holder)) < 0 ||
		field_add_string(object, "failure", entry->failure) < 0 ||
		field_add(object, "members", encode_members(entry->plan)) < 0)
		return -ENOMEM;
	const char *text = json_object_to_json_string_length(
		object, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_NOSLASHESCAPE, length);
	*json = text ? strdup(text) : NULL;
	return *json ? 0 : -ENOMEM;
}

/* --- reading ---------------------------------------------------------------------------- */

static const char *phase_name(int phase)
{
	return phase_names[phase];
}

static const char *action_name(int action)
{
	return plan_action_name((enum plan_action)action);
}

/* Of an object inside of it: what is wrong with a key of it is wrong with the entry. */
static void decode_holder(struct fields *fields, struct journal_holder *holder)
{
	struct fields of_holder = { .object = fields_get(fields, "holder", json_type_object) };

	if (!of_holder.object)
		return;
	holder->pid = (pid_t)fields_get_number(&of_holder, "pid", INT_MAX);
	holder->start_ticks = fields_get_unsigned(&of_holder, "startTicks");
	holder->uid = (uid_t)fields_get_number(&of_holder, "uid", UINT32_MAX);
	fields_get_string(&of_holder, "command", holder->command, sizeof(holder->command));
	fields_note(fields, &of_holder);
}

/* 0 or -ENOMEM; what is wrong is in the fields. */
static int decode_member(struct fields *fields, int64_t version, struct plan_member *member)
{
	char syspath[PATH_MAX];

	member->action =
		(enum plan_action)fields_get_name(fields, "action", action_name, PLAN_ALREADY + 1);
	fields_get_string(fields, "name", member->name, sizeof(member->name));
	fields_get_string(fields, "bus", member->bus, sizeof(member->bus));
	fields_get_string(fields, "syspath", syspath, sizeof(syspath));
	fields_get_string(fields, "target", member->target, sizeof(member->target));
	fields_get_string(fields, "module", member->module, sizeof(member->module));
	member->force = fields_get_bool(fields, "force");
	member->known = fields_get_bool(fields, "known");
	fields_get_string(fields, "hostDriver", member->host_driver, sizeof(member->host_driver));
	fields_get_string(
		fields, "hostOverride", member->host_override, sizeof(member->host_override));
	if (version >= 2) {
		fields_get_string(fields, "claim", member->claim, sizeof(member->claim));
		member->host_probes = fields_get_bool(fields, "hostProbes");
	}
	member->syspath = strdup(syspath);
	return member->syspath ? 0 : -ENOMEM;
}

static int decode_members(struct fields *fields, int64_t version, int group, struct plan **plan)
{
	struct json_object *array = fields_get(fields, "members", json_type_array);
	size_t n = array ? json_object_array_length(array) : 0;

	*plan = plan_new(group, n);
	if (!*plan)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		struct fields of_member = { .object = json_object_array_get_idx(array, i) };
		int r = decode_member(&of_member, version, &(*plan)->members[i]);
		if (r < 0)
			return r;
		fields_note(fields, &of_member);
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
	struct fields fields = { .object = object };
	int64_t version = fields_get_number(&fields, "version", INT_MAX);
	if (!fields.problem && (version < 1 || version > VERSION)) {
		snprintf(text, text_size, "its version is %d, this vfiod knows 1 to %d",
			(int)version, VERSION);
		return -EBADMSG;
	}
	if (fields_get_number(&fields, "group", INT_MAX) != group && !fields.problem)
		fields.problem = "group";
	entry->phase = (enum journal_phase)fields_get_name(
		&fields, "phase", phase_name, JOURNAL_RENEWING + 1);
	entry->child = (pid_t)fields_get_number(&fields, "child", INT_MAX);
	entry->child_start_ticks = fields_get_unsigned(&fields, "childStartTicks");
	entry->stay = fields_get_bool(&fields, "stay");
	entry->nodes = version >= 3 && fields_get_bool(&fields, "nodes");
	if (version >= 2) {
		decode_holder(&fields, &entry->holder);
		fields_get_string(&fields, "failure", entry->failure, sizeof(entry->failure));
	}
	r = decode_members(&fields, version, group, &entry->plan);
	if (r == 0 && fields.problem) {
		snprintf(text, text_size, "it is damaged: \"%s\" is missing or not what it can be",
			fields.problem);
		r = -EBADMSG;
	}
	if (r < 0)
		journal_entry_clear(entry);
	return r;
}
