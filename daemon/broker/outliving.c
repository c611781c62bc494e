/*
 * What an ended lease has reserved is charged until its last group is back, by whichever daemon:
 * the record "reservations/L3" stays that long.
 */
#include "daemon/base/fields.h"
#include "daemon/base/log.h"
#include "daemon/base/record.h"
#include "daemon/base/util.h"
#include "daemon/broker/restoring-parts.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#define RESERVATIONS "reservations"
enum { VERSION = 2 };

static struct json_object *encode_numbers(const struct lease *lease)
{
	_cleanup_json_ struct json_object *array = json_object_new_array();

	for (size_t i = 0; array && i < lease->n_groups; i++) {
		_cleanup_json_ struct json_object *group = json_object_new_object();
		if (!group || field_add_number(group, "number", lease->groups[i]->number) < 0 ||
			field_add_unsigned(group, "inode", lease->groups[i]->inode) < 0 ||
			json_object_array_add(array, json_object_get(group)) < 0)
			return NULL;
	}
	return steal_pointer(&array);
}

void lease_record_reserved(const struct lease *lease)
{
	const struct broker *broker = lease->tenancy->broker;
	_cleanup_json_ struct json_object *json = json_object_new_object();
	uint64_t pages = reservation_pages(lease->reservation);
	const uid_t *uid = reservation_user(lease->reservation);
	int r = -ENOMEM;

	if (pages == 0)
		return;
	if (json && field_add_string(json, "account", lease->account) == 0 &&
		field_add_number(json, "pid", lease->subject.pid) == 0 &&
		field_add_unsigned(json, "startTicks", lease->subject.start_ticks) == 0 &&
		field_add_unsigned(json, "pages", pages) == 0 &&
		field_add_bool(json, "billsUser", uid != NULL) == 0 &&
		field_add_number(json, "uid", uid ? *uid : 0) == 0 &&
		field_add(json, "groups", encode_numbers(lease)) == 0)
		r = record_write(broker->state_directory, RESERVATIONS, lease->name, VERSION, json);
	if (r < 0)
		log_error("what lease %s has reserved is not written down, a restart forgets it: "
			  "%s",
			lease->name, strerror(-r));
}

void reserved_unrecord(const struct broker *broker, const char *name)
{
	int r = record_remove(broker->state_directory, RESERVATIONS, name);
	if (r < 0)
		log_error("%s/" RESERVATIONS "/%s.json not removed: %s", broker->state_directory,
			name, strerror(-r));
}

/* Of one group: it holds the reservation until it has settled. */
static void hold_again(struct broker *broker, struct json_object *json,
	struct reservation *reservation, struct fields *outer)
{
	struct fields fields = { .object = json };
	int number = (int)fields_get_number(&fields, "number", INT_MAX);
	uint64_t inode = fields_get_unsigned(&fields, "inode");
	const struct group *group =
		fields.problem ? NULL : inventory_group(broker->inventory, number);
	struct holding *holding =
		group && group->inode == inode ? holding_find(broker, group) : NULL;

	fields_note(outer, &fields);
	if (holding && !holding->tenancy && !holding->reservation &&
		holding->state != HOLDING_IDLE && holding->state != HOLDING_FAILED)
		holding->reservation = reservation_hold(reservation);
}

/* 0, -ENOMEM, or -EBADMSG. */
static int restore(struct broker *broker, const char *name, int version, struct fields *fields)
{
	char account[sizeof(((struct lease *)NULL)->account)];
	struct reservation *reservation;

	fields_get_string(fields, "account", account, sizeof(account));
	pid_t pid = (pid_t)fields_get_number(fields, "pid", INT_MAX);
	unsigned long long start_ticks = fields_get_unsigned(fields, "startTicks");
	uint64_t pages = fields_get_unsigned(fields, "pages");
	bool bills_user = version >= 2 && fields_get_bool(fields, "billsUser");
	uid_t uid = version >= 2 ? (uid_t)fields_get_number(fields, "uid", UINT32_MAX) : 0;
	const struct json_object *groups = fields_get(fields, "groups", json_type_array);
	if (fields->problem)
		return -EBADMSG;
	int r = reservation_left(
		broker, account, name, bills_user ? &uid : NULL, pages, &reservation);
	if (r < 0)
		return r;
	reservation_of_process(reservation, pid, start_ticks);
	for (size_t i = 0; i < json_object_array_length(groups); i++)
		hold_again(broker, json_object_array_get_idx(groups, i), reservation, fields);
	/* If none of its groups is on its way any more, this is its end. */
	reservation_release(reservation);
	return fields->problem ? -EBADMSG : 0;
}

struct restoring {
	struct broker *broker;
	int result;
};

static void on_record(const char *name, int version, struct json_object *json, const char *problem,
	void *userdata)
{
	struct restoring *restoring = userdata;
	struct fields fields = { .object = json };
	int r = problem ? -EBADMSG : restore(restoring->broker, name, version, &fields);

	if (r == -EBADMSG) {
		log_error("what lease %s had reserved is not charged any more: its record is "
			  "damaged (%s)",
			name, problem ? problem : fields.problem);
		reserved_unrecord(restoring->broker, name);
	} else if (r < 0) {
		restoring->result = r;
	}
	json_object_put(json);
}

int reserved_restore(struct broker *broker)
{
	struct restoring restoring = { .broker = broker };

	int r = record_init(broker->state_directory, RESERVATIONS);
	if (r == 0)
		r = record_each(
			broker->state_directory, RESERVATIONS, VERSION, on_record, &restoring);
	return r < 0 ? r : restoring.result;
}
