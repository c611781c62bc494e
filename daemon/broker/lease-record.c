#include "daemon/base/fields.h"
#include "daemon/base/util.h"
#include "daemon/broker/restoring-parts.h"
#include "daemon/broker/subject-record.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

/* --- writing --------------------------------------------------------------------------------- */

static struct json_object *encode_lock(const struct memlock_note *lock)
{
	_cleanup_json_ struct json_object *object = json_object_new_object();

	if (!object || field_add_unsigned(object, "softOwn", lock->own[MEMLOCK_SOFT]) < 0 ||
		field_add_unsigned(object, "softPart", lock->bytes[MEMLOCK_SOFT]) < 0 ||
		field_add_unsigned(object, "hardOwn", lock->own[MEMLOCK_HARD]) < 0 ||
		field_add_unsigned(object, "hardPart", lock->bytes[MEMLOCK_HARD]) < 0)
		return NULL;
	return steal_pointer(&object);
}

static struct json_object *encode_devices(const struct group *group)
{
	_cleanup_json_ struct json_object *array = json_object_new_array();
	const struct device *device;

	TAILQ_FOREACH (device, &group->devices, of_group) {
		if (!array || !device_on_vfio(device))
			continue;
		struct json_object *name = json_object_new_string(device->name);
		if (!name || json_object_array_add(array, name) < 0) {
			json_object_put(name);
			return NULL;
		}
	}
	return steal_pointer(&array);
}

static bool is_journalled(const struct lease *lease, const struct group *group)
{
	const struct holding *holding = holding_find(lease->tenancy->broker, group);
	return holding && holding->plan && plan_n_moves(holding->plan) > 0;
}

static struct json_object *encode_group(const struct lease *lease, const struct group *group)
{
	_cleanup_json_ struct json_object *object = json_object_new_object();

	if (!object || field_add_number(object, "number", group->number) < 0 ||
		field_add_unsigned(object, "inode", group->inode) < 0 ||
		field_add_bool(object, "journalled", is_journalled(lease, group)) < 0 ||
		field_add(object, "devices", encode_devices(group)) < 0)
		return NULL;
	return steal_pointer(&object);
}

static struct json_object *encode_groups(const struct lease *lease)
{
	_cleanup_json_ struct json_object *array = json_object_new_array();

	for (size_t i = 0; array && i < lease->n_groups; i++) {
		struct json_object *group = encode_group(lease, lease->groups[i]);
		if (!group || json_object_array_add(array, group) < 0) {
			json_object_put(group);
			return NULL;
		}
	}
	return steal_pointer(&array);
}

struct json_object *lease_encode(const struct lease *lease, const struct memlock_note *lock)
{
	_cleanup_json_ struct json_object *object = json_object_new_object();

	if (!object || field_add_string(object, "lease", lease->name) < 0 ||
		field_add_string(object, "token", lease->token) < 0 ||
		field_add_string(object, "account", lease->account) < 0 ||
		field_add(object, "subject", subject_encode(&lease->subject)) < 0 ||
		field_add_bool(object, "stay", lease->stay) < 0 ||
		field_add_bool(object, "brokered", lease->brokered) < 0 ||
		field_add_bool(object, "trusted", lease->is_trusted) < 0 ||
		field_add_bool(object, "followsProcess", lease->follows_process) < 0 ||
		field_add_number(object, "connection", lease->connection) < 0 ||
		field_add_bool(object, "stream", lease->is_stream) < 0 ||
		field_add_bool(object, "releaseRequested", lease->is_release_requested) < 0 ||
		field_add_unsigned(object, "memoryMax", lease->memory_max_bytes) < 0 ||
		field_add_number(
			object, "grantedAtMicroseconds", (int64_t)(lease->granted_at * 1e6)) < 0 ||
		field_add_unsigned(object, "reservedPages", reservation_pages(lease->reservation)) <
			0 ||
		field_add(object, "lock", encode_lock(lock)) < 0 ||
		field_add(object, "groups", encode_groups(lease)) < 0)
		return NULL;
	return steal_pointer(&object);
}

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

int lease_decode(struct json_object *json, const char *name, struct lease_record *record,
	const char **problem)
{
	struct fields fields = { .object = json };

	*record = (struct lease_record){ 0 };
	fields_get_names(&fields, "lease", 'L', name, record->name, record->token);
	fields_get_string(&fields, "account", record->account, sizeof(record->account));
	record->stay = fields_get_bool(&fields, "stay");
	record->brokered = fields_get_bool(&fields, "brokered");
	record->is_trusted = fields_get_bool(&fields, "trusted");
	record->follows_process = fields_get_bool(&fields, "followsProcess");
	record->connection = (unsigned)fields_get_number(&fields, "connection", UINT_MAX);
	record->is_stream = fields_get_bool(&fields, "stream");
	record->is_release_requested = fields_get_bool(&fields, "releaseRequested");
	record->memory_max_bytes = fields_get_unsigned(&fields, "memoryMax");
	record->granted_at =
		(double)fields_get_number(&fields, "grantedAtMicroseconds", INT64_MAX) / 1e6;
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
