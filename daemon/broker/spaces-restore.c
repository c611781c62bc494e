/* Spaces of an earlier daemon: their keepers live, and they go on; or they end in order. */
#include "daemon/base/log.h"
#include "daemon/base/message-id.h"
#include "daemon/base/record.h"
#include "daemon/base/slots.h"
#include "daemon/base/store.h"
#include "daemon/base/util.h"
#include "daemon/broker/restoring.h"
#include "daemon/broker/space-record.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/socket.h>

/* More than any host has domains for. */
enum { MAX_KEPT_SPACES = 16384 };

/* --- what is attached ------------------------------------------------------------------------- */

static struct group *marked_group(struct broker *broker, const struct space_mark *mark)
{
	struct group *group = inventory_group(broker->inventory, mark->number);
	return group && group->inode == mark->inode ? group : NULL;
}

/* The lease that has the group for this space still, with nothing else in the way. */
static struct lease *lease_of(
	struct broker *broker, const struct space_mark *mark, const struct group *group)
{
	struct lease *lease = lease_book_by_name(&broker->book, mark->lease);
	const struct holding *holding = holding_find(broker, group);

	if (lease && lease->state == LEASE_GRANTED && lease->brokered && holding &&
		holding->group == group && holding->state == HOLDING_USED && !holding->attachment &&
		lease_book_owner(&broker->book, group) == lease)
		return lease;
	return NULL;
}

/* 0 or -ENOMEM. numbers: room for all; those that are on the host still. */
static int attach_marked(struct space_entry *entry, const struct space_record *record, int *numbers,
	size_t *n_numbers)
{
	struct broker *broker = entry->broker;

	*n_numbers = 0;
	for (size_t i = 0; i < record->n_groups; i++) {
		const struct space_mark *mark = &record->groups[i];
		struct group *group = marked_group(broker, mark);
		if (!group) {
			log_warning("group %d of space %s has left the host", mark->number,
				entry->name);
			continue;
		}
		if (!attachment_restore(entry, lease_of(broker, mark, group), group))
			return -ENOMEM;
		numbers[(*n_numbers)++] = mark->number;
	}
	return 0;
}

/* Groups that only its keeper knows of. */
static void detach_unknown(struct space_entry *entry)
{
	struct space_description description;
	struct refusal refusal;

	space_describe(entry->space, &description);
	for (size_t i = 0; i < description.n_containers; i++)
		for (size_t j = 0; j < description.containers[i].n_groups; j++) {
			int number = description.containers[i].groups[j];
			const struct attachment *attachment;
			TAILQ_FOREACH (attachment, &entry->attachments, of_entry)
				if (attachment->group->number == number)
					break;
			if (attachment || space_group_is_let_go(entry->space, number))
				continue;
			log_warning("space %s has group %d, which no lease has: it is taken out",
				entry->name, number);
			if (space_detach(entry->space, number, true, NULL, NULL, &refusal) != 0)
				log_error(
					"space %s does not give group %d up", entry->name, number);
		}
}

void space_entry_compare(struct space_entry *entry)
{
	struct attachment *attachment, *next;
	struct space_entry *other;

	entry->is_restored = false;
	/* Those that waited for what it owes. */
	TAILQ_FOREACH (other, &entry->broker->spaces, of_broker)
		if (other->space)
			space_resume(other->space);
	if (space_state(entry->space) != SPACE_LIVE)
		return;
	for (attachment = TAILQ_FIRST(&entry->attachments); attachment; attachment = next) {
		next = TAILQ_NEXT(attachment, of_entry);
		if (attachment->state != ATTACHMENT_INSIDE)
			continue;
		if (!space_has_group(entry->space, attachment->group->number)) {
			attachment_end(attachment);
		} else if (!attachment->lease) {
			log_warning("group %d of space %s has no lease any more: it is taken out",
				attachment->group->number, entry->name);
			attachment_leave(attachment);
		}
	}
	detach_unknown(entry);
}

/* --- a space ------------------------------------------------------------------------------------
 */

/* What an earlier daemon has put under this letter; -1: nothing. */
static int take(const struct space_entry *entry, char kind)
{
	char name[STORE_NAME_SIZE];

	snprintf(name, sizeof(name), "%c%.13s", kind, entry->name + 1);
	return store_take(entry->broker->store, name);
}

/* Nothing came back: what stands for it has nobody at its other end, and nothing in it. */
static int take_socket(const struct space_entry *entry)
{
	int fd = take(entry, 'k'), pair[2];

	if (fd >= 0)
		return fd;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -1;
	close(pair[1]);
	return pair[0];
}

static int take_book(const struct space_entry *entry)
{
	int fd = take(entry, 'b');

	if (fd >= 0)
		return fd;
	log_error("the book of space %s is lost: what it had pinned is not charged", entry->name);
	return memfd_create("vfiod-book", MFD_CLOEXEC);
}

/* The start time is read while the pidfd keeps a process from being mistaken for another. */
static int find_holder(const struct space_entry *entry, const struct subject *subject)
{
	unsigned long long ticks;
	int stored = take(entry, 's');

	if (stored >= 0)
		return stored;
	_cleanup_close_ int pidfd = pidfd_open(subject->pid, 0);
	if (pidfd < 0 || subject->start_ticks == 0 ||
		process_start_time(subject->pid, &ticks) < 0 || ticks != subject->start_ticks)
		return -1;
	return steal_fd(&pidfd);
}

static void note_name(struct broker *broker, const char *name)
{
	unsigned long long number = strtoull(name + 1, NULL, 10);

	if (number > broker->n_named_spaces)
		broker->n_named_spaces = number;
}

static bool slot_is_ours(const struct broker *broker, const struct space_record *record)
{
	const struct space_entry *entry;

	TAILQ_FOREACH (entry, &broker->spaces, of_broker)
		if (entry->slot == (int)record->slot)
			return false;
	return record->slot < slots_count(broker->space_slots);
}

static void copy_facts(struct space_entry *entry, const struct space_record *record)
{
	struct broker *broker = entry->broker;

	string_copy(entry->name, sizeof(entry->name), record->name);
	string_copy(entry->token, sizeof(entry->token), record->token);
	string_copy(entry->account, sizeof(entry->account), record->payer);
	entry->connection = record->connection;
	entry->max_groups_per_container = record->max_groups_per_container;
	entry->is_iommufd = record->is_iommufd;
	entry->keeper = record->keeper;
	entry->keeper_start_ticks = record->keeper_start_ticks;
	entry->slot = slot_is_ours(broker, record) ? (int)record->slot
						   : slots_free_one(broker->space_slots);
	entry->is_kept = entry->is_recorded = entry->is_restored = true;
	note_name(broker, record->name);
}

static int adopt(struct space_entry *entry, const struct space_record *record)
{
	struct broker *broker = entry->broker;
	_cleanup_free_ int *numbers = calloc(record->n_groups + 1, sizeof(*numbers));
	struct space_settings settings;
	struct space_kept kept = {
		.keeper = record->keeper,
		.keeper_start_ticks = record->keeper_start_ticks,
		.payer = *record->payer ? record->payer : NULL,
		.groups = numbers,
	};

	int r = numbers ? attach_marked(entry, record, numbers, &kept.n_groups) : -ENOMEM;
	if (r < 0)
		return r;
	kept.socket = take_socket(entry);
	kept.book = take_book(entry);
	space_entry_settings(entry, &settings);
	return space_adopt(broker->loop, broker->ledger, entry->name, &record->subject, &settings,
		&kept, &space_entry_hooks, entry, &entry->space);
}

/* 0 or -errno, and it is as if it had never been, but for the journal of its groups. */
static int restore(struct broker *broker, const struct space_record *record)
{
	struct space_entry *entry = space_entry_make(broker);

	if (!entry)
		return -ENOMEM;
	copy_facts(entry, record);
	int r = adopt(entry, record);
	if (r < 0) {
		space_entry_free(entry);
		return r;
	}
	log_fields(LOG_INFO,
		(const char *[]){
			"MESSAGE_ID", MESSAGE_SPACE_RESTORED, "VFIOD_SPACE", entry->name, NULL },
		"space %s of an earlier vfiod, pid %d (%s) of uid %u, is taken over", entry->name,
		(int)record->subject.pid, record->subject.command,
		(unsigned)record->subject.process_uid);
	if (record->follows_process)
		space_entry_watch(entry, find_holder(entry, &record->subject));
	if (record->is_dismissed)
		space_entry_dismiss(entry, "it was being destroyed");
	else if (record->follows_process && entry->holder_pidfd < 0)
		space_entry_dismiss(entry, "its process has ended");
	return 0;
}

/* --- all of them --------------------------------------------------------------------------------
 */

static void on_record(const char *name, int version, struct json_object *json, const char *problem,
	void *userdata)
{
	(void)version;
	struct broker *broker = userdata;
	struct space_record record;
	const char *key = NULL;
	int r = problem ? -EBADMSG : space_decode(json, name, &record, &key);

	if (r == 0) {
		r = restore(broker, &record);
		space_record_clear(&record);
	}
	if (r < 0) {
		log_fields(LOG_ERR,
			(const char *[]){
				"MESSAGE_ID", MESSAGE_SPACE_LOST, "VFIOD_SPACE", name, NULL },
			"space %s of an earlier vfiod is lost, and its keeper ends: %s%s", name,
			problem ? problem
			: key   ? "not what it can be: "
				: strerror(-r),
			key ? key : "");
		record_remove(broker->state_directory, SPACE_RECORDS, name);
	}
	json_object_put(json);
}

/* What no record names was never told to its client: it ends. */
static void on_left_over(const char *name, unsigned number, void *userdata)
{
	(void)number;
	struct broker *broker = userdata;
	_cleanup_close_ int fd = store_take(broker->store, name);

	if (fd >= 0 && *name == 'k')
		shutdown(fd, SHUT_RDWR);
	store_remove(broker->store, name);
}

static void clear_slots(struct broker *broker)
{
	const struct space_entry *entry;

	for (size_t i = 0; i < slots_used(broker->space_slots); i++) {
		TAILQ_FOREACH (entry, &broker->spaces, of_broker)
			if (entry->slot == (int)i)
				break;
		if (!entry)
			slots_clear(broker->space_slots, i);
	}
}

int spaces_restore(struct broker *broker)
{
	static const char kinds[] = "kbs";

	if (!broker->store || !store_is_there(broker->store))
		return 0;
	int r = slots_open(
		broker->store, "ts", SPACE_SLOT_FORMAT, MAX_KEPT_SPACES, &broker->space_slots);
	if (r == -EBADMSG)
		log_warning("what spaces of an earlier vfiod were in the middle of is not known: "
			    "it is of another version");
	if (r < 0 && r != -EBADMSG)
		return r;
	r = record_init(broker->state_directory, SPACE_RECORDS);
	if (r == 0)
		r = record_each(broker->state_directory, SPACE_RECORDS, SPACE_RECORD_VERSION,
			on_record, broker);
	if (r < 0)
		return r;
	for (const char *kind = kinds; *kind; kind++)
		store_each(broker->store, *kind, on_left_over, broker);
	clear_slots(broker);
	return 0;
}

/* --- their connections ---------------------------------------------------------------------------
 */

static bool waits_for_connection(const struct space_entry *entry)
{
	return !entry->owner && entry->holder_pidfd < 0 && !entry->is_dismissed;
}

void spaces_reconnect(struct broker *broker, unsigned connection, const void *owner)
{
	struct space_entry *entry;

	TAILQ_FOREACH (entry, &broker->spaces, of_broker)
		if (connection != 0 && entry->connection == connection &&
			waits_for_connection(entry))
			entry->owner = owner;
}

void spaces_restored(struct broker *broker)
{
	unsigned seconds = broker->config->resume_timeout_seconds;
	struct space_entry *entry;

	TAILQ_FOREACH (entry, &broker->spaces, of_broker) {
		if (!waits_for_connection(entry))
			continue;
		log_message(LOG_NOTICE,
			"space %s has lost its connection in the restart, and ends in %u s if "
			"nobody speaks of it",
			entry->name, seconds);
		/* A later connection may get this number. */
		entry->connection = 0;
		space_entry_follow(entry);
		ev_timer_set(&entry->grace, seconds, 0);
		ev_timer_start(broker->loop, &entry->grace);
	}
}

void space_entry_take_up(struct space_entry *entry, unsigned connection, const void *owner)
{
	if (!ev_is_active(&entry->grace))
		return;
	ev_timer_stop(entry->broker->loop, &entry->grace);
	log_info("space %s is taken up by another connection", entry->name);
	entry->owner = owner;
	entry->connection = connection;
	space_entry_follow(entry);
}

/* --- new ones ----------------------------------------------------------------------------------
 */

static void on_kept(bool is_kept, void *userdata)
{
	struct space_entry *entry = userdata;
	void (*kept)(void *) = entry->kept;

	(void)is_kept; /* it was logged; it is as good as it can be */
	entry->kept = NULL;
	if (kept)
		kept(entry->kept_userdata);
}

static int keep_now(struct space_entry *entry)
{
	space_entry_keep(entry);
	if (entry->is_kept)
		return store_when_kept(entry->broker->store, on_kept, entry);
	on_kept(false, entry);
	return 0;
}

int space_entry_when_kept(struct space_entry *entry, void (*kept)(void *userdata), void *userdata)
{
	entry->kept = kept;
	entry->kept_userdata = userdata;
	entry->is_to_be_kept =
		space_state(entry->space) == SPACE_STARTING && space_keeper_pid(entry->space) == 0;
	return entry->is_to_be_kept ? 0 : keep_now(entry);
}

void space_entry_has_keeper(struct space_entry *entry)
{
	if (!entry->is_to_be_kept)
		return;
	entry->is_to_be_kept = false;
	if (entry->state == SPACE_ENDED || keep_now(entry) < 0)
		on_kept(false, entry);
}
