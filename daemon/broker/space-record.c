#include "daemon/broker/space-record.h"

#include "daemon/base/log.h"
#include "daemon/base/record.h"
#include "daemon/base/slots.h"
#include "daemon/base/store.h"
#include "daemon/base/util.h"
#include "daemon/broker/subject-record.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

/* --- writing --------------------------------------------------------------------------------- */

static struct json_object *encode_group(const struct attachment *attachment)
{
	struct json_object *object = json_object_new_object();

	if (object && field_add_number(object, "number", attachment->group->number) == 0 &&
		field_add_unsigned(object, "inode", attachment->group->inode) == 0 &&
		field_add_string(
			object, "lease", attachment->lease ? attachment->lease->name : "") == 0)
		return object;
	json_object_put(object);
	return NULL;
}

static struct json_object *encode_groups(const struct space_entry *entry)
{
	struct json_object *array = json_object_new_array();
	const struct attachment *attachment;

	TAILQ_FOREACH (attachment, &entry->attachments, of_entry) {
		if (!array || attachment->state == ATTACHMENT_OPENING)
			continue;
		struct json_object *group = encode_group(attachment);
		if (group && json_object_array_add(array, group) == 0)
			continue;
		json_object_put(group);
		json_object_put(array);
		return NULL;
	}
	return array;
}

struct json_object *space_encode(const struct space_entry *entry)
{
	struct json_object *object = json_object_new_object();

	if (object && field_add_string(object, "space", entry->name) == 0 &&
		field_add_string(object, "token", entry->token) == 0 &&
		field_add(object, "subject", subject_encode(space_subject(entry->space))) == 0 &&
		field_add_number(object, "connection", entry->connection) == 0 &&
		field_add_number(
			object, "maxGroupsPerContainer", entry->max_groups_per_container) == 0 &&
		field_add_bool(object, "iommufd", entry->is_iommufd) == 0 &&
		field_add_bool(object, "followsProcess", entry->holder_pidfd >= 0) == 0 &&
		field_add_bool(object, "dismissed", entry->is_dismissed) == 0 &&
		field_add_number(object, "keeper", entry->keeper) == 0 &&
		field_add_unsigned(object, "keeperStartTicks", entry->keeper_start_ticks) == 0 &&
		field_add_number(object, "slot", entry->slot) == 0 &&
		field_add_string(object, "account", entry->account) == 0 &&
		field_add(object, "groups", encode_groups(entry)) == 0)
		return object;
	json_object_put(object);
	return NULL;
}

int space_entry_record(struct space_entry *entry)
{
	if (!entry->is_kept)
		return 0;
	struct json_object *json = space_encode(entry);
	int r = json ? record_write(entry->broker->state_directory, SPACE_RECORDS, entry->name,
			       SPACE_RECORD_VERSION, json)
		     : -ENOMEM;
	json_object_put(json);
	if (r == 0)
		entry->is_recorded = true;
	return r;
}

void space_entry_follow(struct space_entry *entry)
{
	int r = entry->is_recorded ? space_entry_record(entry) : 0;
	if (r < 0)
		log_error("space %s not written down again, a restart takes it as it was: %s",
			entry->name, strerror(-r));
}

/* --- the store ------------------------------------------------------------------------------- */

static void put(struct space_entry *entry, char kind, int fd, int *result)
{
	char name[STORE_NAME_SIZE];

	snprintf(name, sizeof(name), "%c%.13s", kind, entry->name + 1);
	if (*result == 0 && fd >= 0)
		*result = store_put(entry->broker->store, name, fd);
	/* It is there from the daemon before. */
	if (*result == -EEXIST)
		*result = 0;
}

/* Its keeper, its book, and whom it follows. */
static void unkeep(struct space_entry *entry)
{
	static const char kinds[] = "kbs";
	char name[STORE_NAME_SIZE];

	for (const char *kind = kinds; *kind; kind++) {
		snprintf(name, sizeof(name), "%c%.13s", *kind, entry->name + 1);
		store_remove(entry->broker->store, name);
	}
}

void space_entry_keep(struct space_entry *entry)
{
	int r = entry->slot >= 0 ? 0 : -ENOSPC;

	if (!entry->broker->space_slots)
		return;
	entry->keeper = space_keeper_pid(entry->space);
	if (r == 0)
		r = process_start_time(entry->keeper, &entry->keeper_start_ticks);
	put(entry, 'k', space_keeper_socket(entry->space), &r);
	put(entry, 'b', space_book(entry->space), &r);
	put(entry, 's', entry->holder_pidfd, &r);
	entry->is_kept = r == 0;
	if (r == 0)
		return;
	log_warning("space %s does not outlive a restart of vfiod: %s", entry->name,
		r == -ENOSPC ? "the store of descriptors is full" : strerror(-r));
	unkeep(entry);
}

void space_entry_unrecord(struct space_entry *entry)
{
	struct broker *broker = entry->broker;
	int r = entry->is_recorded
			? record_remove(broker->state_directory, SPACE_RECORDS, entry->name)
			: 0;

	if (r < 0)
		log_error("space %s is over, but its record stays: %s", entry->name, strerror(-r));
	entry->is_recorded = false;
	if (entry->is_kept)
		unkeep(entry);
	entry->is_kept = false;
	if (entry->slot >= 0)
		slots_clear(broker->space_slots, (size_t)entry->slot);
}

/* --- reading --------------------------------------------------------------------------------- */

static int decode_groups(struct fields *outer, struct space_record *record)
{
	const struct json_object *array = fields_get(outer, "groups", json_type_array);
	size_t n = array ? json_object_array_length(array) : 0;

	record->groups = calloc(n ? n : 1, sizeof(*record->groups));
	if (!record->groups)
		return -ENOMEM;
	for (; record->n_groups < n; record->n_groups++) {
		struct space_mark *group = &record->groups[record->n_groups];
		struct fields fields = {
			.object = json_object_array_get_idx(array, record->n_groups),
		};
		group->number = (int)fields_get_number(&fields, "number", INT_MAX);
		group->inode = fields_get_unsigned(&fields, "inode");
		fields_get_string(&fields, "lease", group->lease, sizeof(group->lease));
		fields_note(outer, &fields);
	}
	return 0;
}

int space_decode(struct json_object *json, const char *name, struct space_record *record,
	const char **problem)
{
	struct fields fields = { .object = json };

	*record = (struct space_record){ 0 };
	fields_get_names(&fields, "space", 'S', record->name, record->token);
	/* Its file has its name. */
	if (!fields.problem && strcmp(record->name, name) != 0)
		fields.problem = "space";
	record->connection = (unsigned)fields_get_number(&fields, "connection", UINT_MAX);
	record->max_groups_per_container =
		(unsigned)fields_get_number(&fields, "maxGroupsPerContainer", UINT_MAX);
	/* An earlier vfiod had type1 only, and did not say so. */
	if (json_object_object_get_ex(json, "iommufd", NULL))
		record->is_iommufd = fields_get_bool(&fields, "iommufd");
	record->follows_process = fields_get_bool(&fields, "followsProcess");
	record->is_dismissed = fields_get_bool(&fields, "dismissed");
	record->keeper = (pid_t)fields_get_number(&fields, "keeper", INT_MAX);
	record->keeper_start_ticks = fields_get_unsigned(&fields, "keeperStartTicks");
	record->slot = (size_t)fields_get_number(&fields, "slot", INT_MAX);
	fields_get_string(&fields, "account", record->payer, sizeof(record->payer));
	int r = subject_decode(&fields, "subject", &record->subject);
	if (r == 0)
		r = decode_groups(&fields, record);
	if (r == 0 && fields.problem)
		r = -EBADMSG;
	*problem = fields.problem;
	if (r < 0)
		space_record_clear(record);
	return r;
}

void space_record_clear(struct space_record *record)
{
	free(record->groups);
	subject_clear(&record->subject);
	explicit_bzero(record->token, sizeof(record->token));
	*record = (struct space_record){ 0 };
}
