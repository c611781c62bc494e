#include "daemon/base/fields.h"
#include "daemon/base/util.h"
#include "daemon/broker/restoring-parts.h"
#include "daemon/broker/subject-record.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

/* --- writing --------------------------------------------------------------------------------- */

static void write_lock(struct writing *writing, const struct memlock_note *lock)
{
	writing_open(writing, "lock", '{');
	writing_unsigned(writing, "softOwn", lock->own[MEMLOCK_SOFT]);
	writing_unsigned(writing, "softPart", lock->bytes[MEMLOCK_SOFT]);
	writing_unsigned(writing, "hardOwn", lock->own[MEMLOCK_HARD]);
	writing_unsigned(writing, "hardPart", lock->bytes[MEMLOCK_HARD]);
	writing_close(writing, '}');
}

static bool is_journalled(const struct lease *lease, const struct group *group)
{
	const struct holding *holding = holding_find(lease->tenancy->broker, group);
	return holding && holding->plan && plan_n_moves(holding->plan) > 0;
}

static void write_group(
	struct writing *writing, const struct lease *lease, const struct group *group)
{
	const struct device *device;

	writing_open(writing, NULL, '{');
	writing_number(writing, "number", group->number);
	writing_unsigned(writing, "inode", group->inode);
	writing_bool(writing, "journalled", is_journalled(lease, group));
	writing_open(writing, "devices", '[');
	TAILQ_FOREACH (device, &group->devices, of_group)
		if (device_on_vfio(device))
			writing_string(writing, NULL, device->name);
	writing_close(writing, ']');
	writing_close(writing, '}');
}

void lease_write(
	struct writing *writing, const struct lease *lease, const struct memlock_note *lock)
{
	writing_open(writing, NULL, '{');
	writing_number(writing, "version", LEASE_RECORD_VERSION);
	writing_string(writing, "lease", lease->name);
	writing_string(writing, "token", lease->token);
	writing_string(writing, "account", lease->account);
	subject_write(writing, "subject", &lease->subject);
	writing_bool(writing, "stay", lease->stay);
	writing_bool(writing, "brokered", lease->brokered);
	writing_bool(writing, "cdev", lease->cdev);
	writing_bool(writing, "trusted", lease->is_trusted);
	writing_bool(writing, "followsProcess", lease->follows_process);
	writing_number(writing, "connection", lease->connection);
	writing_bool(writing, "stream", lease->is_stream);
	writing_bool(writing, "releaseRequested", lease->is_release_requested);
	writing_unsigned(writing, "memoryMax", lease->memory_max_bytes);
	writing_number(writing, "grantedAtMicroseconds", (int64_t)(lease->granted_at * 1e6));
	writing_unsigned(writing, "reservedPages", reservation_pages(lease->reservation));
	write_lock(writing, lock);
	writing_open(writing, "groups", '[');
	for (size_t i = 0; i < lease->n_groups; i++)
		write_group(writing, lease, lease->groups[i]);
	writing_close(writing, ']');
	writing_close(writing, '}');
}

/* In microseconds: what a double has exactly, and can be written again. */
#define TIME_MAX (INT64_C(1) << 53)

/* --- reading --------------------------------------------------------------------------------- */

static void decode_lock(struct fields *outer, struct memlock_note *lock)
{
	struct fields fields = { .object = fields_get(outer, "lock", json_type_object) };

	if (!fields.object)
		return;
	lock->own[MEMLOCK_SOFT] = fields_get_unsigned(&fields, "softOwn");
	lock->bytes[MEMLOCK_SOFT] = fields_get_unsigned(&fields, "softPart");
	lock->own[MEMLOCK_HARD] = fields_get_unsigned(&fields, "hardOwn");
	lock->bytes[MEMLOCK_HARD] = fields_get_unsigned(&fields, "hardPart");
	fields_note(outer, &fields);
}

static int decode_group(struct json_object *object, struct fields *outer, struct group_mark *group)
{
	struct fields fields = { .object = object };

	group->number = (int)fields_get_number(&fields, "number", INT_MAX);
	group->inode = fields_get_unsigned(&fields, "inode");
	group->was_journalled = fields_get_bool(&fields, "journalled");
	const struct json_object *devices = fields_get(&fields, "devices", json_type_array);
	size_t n = devices ? json_object_array_length(devices) : 0;
	for (size_t i = 0; i < n; i++) {
		struct json_object *name = json_object_array_get_idx(devices, i);
		if (!json_object_is_type(name, json_type_string))
			fields.problem = "devices";
		else if (strv_add(&group->devices, json_object_get_string(name)) < 0)
			return -ENOMEM;
	}
	fields_note(outer, &fields);
	return 0;
}

static int decode_groups(struct fields *fields, struct lease_record *record)
{
	const struct json_object *array = fields_get(fields, "groups", json_type_array);
	size_t n = array ? json_object_array_length(array) : 0;
	int r = 0;

	record->groups = calloc(n ? n : 1, sizeof(*record->groups));
	if (!record->groups)
		return -ENOMEM;
	while (r == 0 && record->n_groups < n) {
		struct group_mark *group = &record->groups[record->n_groups];
		r = decode_group(
			json_object_array_get_idx(array, record->n_groups++), fields, group);
	}
	return r;
}

int lease_decode(
	struct json_object *json, int version, struct lease_record *record, const char **problem)
{
	struct fields fields = { .object = json };

	*record = (struct lease_record){ 0 };
	fields_get_names(&fields, "lease", 'L', record->name, record->token);
	fields_get_string(&fields, "account", record->account, sizeof(record->account));
	record->stay = fields_get_bool(&fields, "stay");
	record->brokered = fields_get_bool(&fields, "brokered");
	record->cdev = version >= 2 && fields_get_bool(&fields, "cdev");
	record->is_trusted = fields_get_bool(&fields, "trusted");
	record->follows_process = fields_get_bool(&fields, "followsProcess");
	record->connection = (unsigned)fields_get_number(&fields, "connection", UINT_MAX);
	record->is_stream = fields_get_bool(&fields, "stream");
	record->is_release_requested = fields_get_bool(&fields, "releaseRequested");
	record->memory_max_bytes = fields_get_unsigned(&fields, "memoryMax");
	record->granted_at =
		(double)fields_get_number(&fields, "grantedAtMicroseconds", TIME_MAX) / 1e6;
	record->reserved_pages = fields_get_unsigned(&fields, "reservedPages");
	decode_lock(&fields, &record->lock);
	int r = subject_decode(&fields, "subject", &record->subject);
	if (r == 0)
		r = decode_groups(&fields, record);
	if (r == 0 && fields.problem)
		r = -EBADMSG;
	*problem = fields.problem;
	if (r < 0)
		lease_record_clear(record);
	return r;
}

void lease_record_clear(struct lease_record *record)
{
	for (size_t i = 0; i < record->n_groups; i++)
		strv_free(record->groups[i].devices);
	free(record->groups);
	subject_clear(&record->subject);
	explicit_bzero(record->token, sizeof(record->token));
	*record = (struct lease_record){ 0 };
}

int devices_missing(char *const *names, const struct group *group, char ***missing)
{
	for (size_t i = 0; names && names[i]; i++) {
		const struct device *device = NULL;
		if (group)
			TAILQ_FOREACH (device, &group->devices, of_group)
				if (strcmp(device->name, names[i]) == 0)
					break;
		if (!device && strv_add(missing, names[i]) < 0)
			return -ENOMEM;
	}
	return 0;
}
