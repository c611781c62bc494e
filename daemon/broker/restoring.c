/* What an earlier daemon had lent goes on: leases are taken over, group by group. */
#include "daemon/base/log.h"
#include "daemon/base/message-id.h"
#include "daemon/base/record.h"
#include "daemon/base/util.h"
#include "daemon/broker/restoring-parts.h"
#include "daemon/broker/space-record.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/pidfd.h>

/* --- its process ----------------------------------------------------------------------------- */

/*
 * The start time is read while the pidfd keeps a process from being mistaken for the one that has
 * its number next. -1: it has ended.
 */
static int find_process(const struct subject *subject)
{
	unsigned long long ticks;

	if (subject->start_ticks == 0)
		return -1;
	_cleanup_close_ int pidfd = pidfd_open(subject->pid, 0);
	if (pidfd < 0 || process_start_time(subject->pid, &ticks) < 0 ||
		ticks != subject->start_ticks)
		return -1;
	return steal_fd(&pidfd);
}

static void follow_again(struct restored *restored)
{
	struct lease *lease = restored->lease;
	struct tenancy *tenancy = lease->tenancy;

	int pidfd = tenancy_take_holder(tenancy);
	bool was_stored = pidfd >= 0;
	if (!was_stored)
		pidfd = find_process(&lease->subject);
	lease->follows_process = true;
	if (pidfd < 0 || poll_now(pidfd, POLLIN) != 0)
		restored->end = "its process has ended";
	if (pidfd < 0)
		return;
	tenancy_follow(tenancy, pidfd);
	if (!was_stored)
		tenancy_store_holder(tenancy);
}

/* --- a lease --------------------------------------------------------------------------------- */

static struct group *marked_group(struct broker *broker, const struct group_mark *mark)
{
	struct group *group = inventory_group(broker->inventory, mark->number);
	return group && group->inode == mark->inode ? group : NULL;
}

/* 0 or -ENOMEM. What is not its own any more, its holder has to hear of. */
static int adopt_groups(struct tenancy *tenancy, const struct lease_record *record)
{
	struct lease *lease = tenancy->lease;
	int r = 0;

	for (size_t i = 0; r >= 0 && i < record->n_groups; i++) {
		const struct group_mark *mark = &record->groups[i];
		struct group *group = marked_group(tenancy->broker, mark);
		r = 0;
		if (group)
			r = group_adopt(tenancy, group, mark->was_journalled);
		else
			log_warning("group %d of lease %s has left the host", mark->number,
				lease->name);
		if (r >= 0 &&
			devices_missing(mark->devices, r > 0 ? group : NULL, &tenancy->lost) < 0)
			r = -ENOMEM;
		if (group && r == 0)
			lease_drop_group(lease, group);
	}
	return r < 0 ? r : 0;
}

static void copy_facts(struct lease *lease, const struct lease_record *record)
{
	string_copy(lease->account, sizeof(lease->account), record->account);
	lease->stay = record->stay;
	lease->brokered = record->brokered;
	lease->cdev = record->cdev;
	lease->is_trusted = record->is_trusted;
	lease->memory_max_bytes = record->memory_max_bytes;
	lease->granted_at = record->granted_at;
	lease->connection = record->connection;
	lease->is_stream = record->is_stream;
	lease->is_release_requested = record->is_release_requested;
}

/* 0 with tenancy->lease, or -ENOMEM. */
static int lease_again(struct tenancy *tenancy, const struct lease_record *record)
{
	struct broker *broker = tenancy->broker;
	size_t n = 0;

	struct group **groups = calloc(record->n_groups ? record->n_groups : 1, sizeof(*groups));
	if (!groups)
		return -ENOMEM;
	for (size_t i = 0; i < record->n_groups; i++) {
		struct group *group = marked_group(broker, &record->groups[i]);
		if (group)
			groups[n++] = group;
	}
	int r = lease_restore(&broker->book, &record->subject, record->name, record->token, groups,
		n, &tenancy->lease);
	free(groups);
	return r;
}

static void log_restored(const struct lease *lease)
{
	log_fields(LOG_INFO,
		(const char *[]){
			"MESSAGE_ID", MESSAGE_LEASE_RESTORED, "VFIOD_LEASE", lease->name, NULL },
		"lease %s of an earlier vfiod goes on: %zu %s, pid %d (%s) of uid %u, account %s",
		lease->name, lease->n_groups, lease->n_groups == 1 ? "group" : "groups",
		(int)lease->subject.pid, lease->subject.command,
		(unsigned)lease->subject.process_uid, lease->account);
}

static bool is_named(const struct config *config, const char *account)
{
	for (size_t i = 0; i < config->n_rules; i++)
		if (config->rules[i].account && strcmp(config->rules[i].account, account) == 0)
			return true;
	for (size_t i = 0; i < config->n_accounts; i++)
		if (strcmp(config->accounts[i].name, account) == 0)
			return true;
	return false;
}

/* The others are made of who asks: uid:1000, lease:L3, unit:x.service. */
static void check_account(const struct broker *broker, const struct lease *lease)
{
	if (!strchr(lease->account, ':') && !is_named(broker->config, lease->account))
		log_warning("the configuration names no account '%s' any more: lease %s goes on "
			    "paying on it, with no limit of its own",
			lease->account, lease->name);
}

/* 0 or -ENOMEM. */
static int take_over(
	struct broker *broker, const char *file_name, const struct lease_record *record)
{
	struct restored *restored = calloc(1, sizeof(*restored));
	struct tenancy *tenancy = restored ? tenancy_make(broker, record->n_groups) : NULL;

	int r = tenancy ? lease_again(tenancy, record) : -ENOMEM;
	if (r < 0) {
		if (tenancy)
			free(tenancy->holdings);
		free(tenancy);
		free(restored);
		return r;
	}
	struct lease *lease = tenancy->lease;
	lease->tenancy = tenancy;
	tenancy->phase = PHASE_GRANTED;
	tenancy->is_recorded = true;
	string_copy(tenancy->record, sizeof(tenancy->record), file_name);
	copy_facts(lease, record);
	*restored = (struct restored){
		.lease = lease, .reserved_pages = record->reserved_pages, .lock = record->lock
	};
	TAILQ_INSERT_TAIL(&broker->restored, restored, of_broker);
	if (record->follows_process)
		follow_again(restored);
	r = adopt_groups(tenancy, record);
	if (r < 0)
		return r;
	if (lease->n_groups == 0)
		restored->end = "none of its devices is left";
	check_account(broker, lease);
	log_restored(lease);
	return 0;
}

/* --- all of them ----------------------------------------------------------------------------- */

struct restoring {
	struct broker *broker;
	int result;
};

/*
 * Its groups go the way of their journal; it would be met again at each start. Which lease it was
 * is for the record to say: its file may have been another's before.
 */
static void give_up(struct broker *broker, const char *name, const char *problem)
{
	log_fields(LOG_ERR,
		(const char *[]){ "MESSAGE_ID", MESSAGE_LEASE_LOST, "VFIOD_RECORD", name, NULL },
		"a lease of an earlier vfiod cannot be taken over, what it had is given back: "
		"record %s: %s",
		name, problem);
	int r = record_remove(broker->state_directory, LEASE_RECORDS, name);
	if (r < 0)
		log_error("%s/" LEASE_RECORDS "/%s.json not removed: %s", broker->state_directory,
			name, strerror(-r));
}

/* Of a lease there is one record. */
static void take_over_once(
	struct restoring *restoring, const char *file_name, const struct lease_record *record)
{
	struct broker *broker = restoring->broker;
	char text[64];

	if (!lease_book_by_name(&broker->book, record->name)) {
		restoring->result = take_over(broker, file_name, record);
		return;
	}
	snprintf(text, sizeof(text), "it is of lease %.20s, which has one", record->name);
	give_up(broker, file_name, text);
}

static void on_record(const char *name, int version, struct json_object *json, const char *problem,
	void *userdata)
{
	struct restoring *restoring = userdata;
	struct lease_record record;
	const char *key;
	char text[64];

	if (restoring->result == 0 && problem) {
		give_up(restoring->broker, name, problem);
	} else if (restoring->result == 0) {
		int r = lease_decode(json, version, &record, &key);
		if (r == 0) {
			take_over_once(restoring, name, &record);
			lease_record_clear(&record);
		} else if (r == -EBADMSG) {
			snprintf(
				text, sizeof(text), "\"%s\" is missing or not what it can be", key);
			give_up(restoring->broker, name, text);
		} else {
			restoring->result = r;
		}
	}
	json_object_put(json);
}

int leases_restore(struct broker *broker)
{
	struct restoring restoring = { .broker = broker };

	int r = record_init(broker->state_directory, LEASE_RECORDS);
	if (r == 0)
		r = record_each(broker->state_directory, LEASE_RECORDS, LEASE_RECORD_VERSION,
			on_record, &restoring);
	return r < 0 ? r : restoring.result;
}

int leases_restore_reservations(struct broker *broker)
{
	struct restored *restored;

	TAILQ_FOREACH (restored, &broker->restored, of_broker) {
		if (restored->reserved_pages == 0)
			continue;
		int r = reservation_adopt(
			broker, restored->lease, restored->reserved_pages, &restored->lock);
		if (r < 0)
			return r;
		restored->reserved_pages = 0;
	}
	return reserved_restore(broker);
}

bool broker_is_owed(const char *state_directory)
{
	return record_any(state_directory, LEASE_RECORDS) ||
	       record_any(state_directory, SPACE_RECORDS);
}

void restored_free_all(struct broker *broker)
{
	struct restored *restored;

	while ((restored = TAILQ_FIRST(&broker->restored))) {
		TAILQ_REMOVE(&broker->restored, restored, of_broker);
		free(restored);
	}
}

void restored_forget(struct broker *broker, const struct lease *lease)
{
	struct restored *restored;

	TAILQ_FOREACH (restored, &broker->restored, of_broker)
		if (restored->lease == lease) {
			TAILQ_REMOVE(&broker->restored, restored, of_broker);
			free(restored);
			return;
		}
}
