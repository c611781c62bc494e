#include "daemon/broker/subject-record.h"

#include "daemon/base/util.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

static void names_are_wrong(struct fields *fields, const char *key)
{
	fields->problem = fields->problem ? fields->problem : key;
}

static bool is_name(const char *name, char letter)
{
	const char *digits = name + 1;

	return *name == letter && *digits >= '1' && *digits <= '9' &&
	       strspn(digits, "0123456789") == strlen(digits);
}

void fields_get_names(struct fields *fields, const char *key, char letter,
	char name[LEASE_NAME_SIZE], char token[TOKEN_SIZE])
{
	fields_get_string(fields, key, name, LEASE_NAME_SIZE);
	fields_get_string(fields, "token", token, TOKEN_SIZE);
	if (!is_name(name, letter))
		names_are_wrong(fields, key);
	if (strspn(token, "0123456789abcdef") != TOKEN_SIZE - 1)
		names_are_wrong(fields, "token");
}

void subject_write(struct writing *writing, const char *key, const struct subject *subject)
{
	writing_open(writing, key, '{');
	writing_number(writing, "uid", subject->uid);
	writing_number(writing, "gid", subject->gid);
	writing_open(writing, "groups", '[');
	for (size_t i = 0; i < subject->n_groups; i++)
		writing_number(writing, NULL, subject->groups[i]);
	writing_close(writing, ']');
	writing_number(writing, "pid", subject->pid);
	writing_unsigned(writing, "startTicks", subject->start_ticks);
	writing_number(writing, "processUid", subject->process_uid);
	writing_string(writing, "unit", subject->unit);
	writing_string(writing, "command", subject->command);
	writing_close(writing, '}');
}

struct json_object *subject_encode(const struct subject *subject)
{
	_cleanup_writing_ struct writing writing = { 0 };

	subject_write(&writing, NULL, subject);
	return writing.has_failed ? NULL : json_tokener_parse(writing.bytes);
}

static int decode_gids(struct fields *fields, struct subject *subject)
{
	const struct json_object *array = fields_get(fields, "groups", json_type_array);
	size_t n = array ? json_object_array_length(array) : 0;

	if (n == 0)
		return 0;
	subject->groups = calloc(n, sizeof(*subject->groups));
	if (!subject->groups)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		const struct json_object *gid = json_object_array_get_idx(array, i);
		int64_t number = json_object_get_int64(gid);
		if (!json_object_is_type(gid, json_type_int) || number < 0 || number > UINT32_MAX)
			fields->problem = fields->problem ? fields->problem : "groups";
		subject->groups[subject->n_groups++] = (gid_t)number;
	}
	return 0;
}

int subject_decode(struct fields *outer, const char *key, struct subject *subject)
{
	struct fields fields = { .object = fields_get(outer, key, json_type_object) };

	*subject = (struct subject){ 0 };
	if (!fields.object)
		return 0;
	subject->uid = (uid_t)fields_get_number(&fields, "uid", UINT32_MAX);
	subject->gid = (gid_t)fields_get_number(&fields, "gid", UINT32_MAX);
	subject->pid = (pid_t)fields_get_number(&fields, "pid", INT_MAX);
	subject->start_ticks = fields_get_unsigned(&fields, "startTicks");
	subject->process_uid = (uid_t)fields_get_number(&fields, "processUid", UINT32_MAX);
	fields_get_string(&fields, "unit", subject->unit, sizeof(subject->unit));
	fields_get_string(&fields, "command", subject->command, sizeof(subject->command));
	int r = decode_gids(&fields, subject);
	fields_note(outer, &fields);
	return r;
}
