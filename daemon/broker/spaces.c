/* The spaces that clients have made: how they come, whom they follow, and how they end. */
#include "daemon/broker/spaces.h"
#include "daemon/broker/backend.h"

#include "daemon/base/log.h"
#include "daemon/base/message-id.h"
#include "daemon/base/slots.h"
#include "daemon/base/store.h"
#include "daemon/base/util.h"
#include "daemon/broker/parts.h"
#include "daemon/broker/space-record.h"

#include <errno.h>
#include <string.h>

/* Each is a domain of the IOMMU's, and of those there are few: a client's groups are fewer still.
 */
enum { MAX_CONTAINERS = 64 };

struct destroyer {
	TAILQ_ENTRY(destroyer) of_entry;
	destroyed_fn destroyed;
	void *userdata;
};

static const char *const state_names[] = {
	[SPACE_STARTING] = "starting",
	[SPACE_LIVE] = "live",
	[SPACE_ENDING] = "ending",
	[SPACE_ORPHANED] = "orphaned",
	[SPACE_ENDED] = "ended",
};

const char *space_state_name(enum space_state state)
{
	return state_names[state];
}

void space_entry_news(const struct space_entry *entry, const struct broker_news *what)
{
	struct broker_news news = *what;
	news.group = -1;
	news.space = entry->name;
	broker_tell(entry->broker, &news);
}

/* --- its end ------------------------------------------------------------------------------ */

static void entry_clear(struct space_entry *entry)
{
	struct attachment *attachment;
	struct destroyer *destroyer;

	while ((attachment = TAILQ_FIRST(&entry->attachments)))
		attachment_free(attachment);
	while ((destroyer = TAILQ_FIRST(&entry->destroyers))) {
		TAILQ_REMOVE(&entry->destroyers, destroyer, of_entry);
		free(destroyer);
	}
	ev_io_stop(entry->broker->loop, &entry->holder_ended);
	ev_timer_stop(entry->broker->loop, &entry->grace);
	if (entry->broker->store)
		store_forget(entry->broker->store, entry);
	if (entry->holder_pidfd >= 0)
		close(entry->holder_pidfd);
	explicit_bzero(entry->token, sizeof(entry->token));
	TAILQ_REMOVE(&entry->broker->spaces, entry, of_broker);
	free(entry);
}

struct space_entry *space_entry_free(struct space_entry *entry)
{
	space_free(entry->space);
	space_entry_unrecord(entry);
	entry_clear(entry);
	return NULL;
}

/* The end of this daemon is not that of the space. */
static void entry_leave(struct space_entry *entry)
{
	if (entry->is_recorded)
		space_leave(entry->space);
	else
		space_free(entry->space);
	entry->is_recorded = false; /* what is written stays as it is */
	entry_clear(entry);
}

static bool keeper_has_ended(const struct space_entry *entry)
{
	enum space_state state = space_state(entry->space);
	return state == SPACE_ORPHANED || state == SPACE_ENDED;
}

/* Its client has no more to do with it. */
void space_entry_dismiss(struct space_entry *entry, const char *why)
{
	ev_io_stop(entry->broker->loop, &entry->holder_ended);
	ev_timer_stop(entry->broker->loop, &entry->grace);
	entry->owner = NULL;
	entry->is_dismissed = true;
	space_entry_follow(entry);
	if (!keeper_has_ended(entry))
		space_destroy(entry->space, why);
	broker_pump_later(entry->broker);
}

/*
 * Who waits for its end, hears which groups are still open. A keeper that ended well has said so;
 * where it was killed, somebody has to look first.
 */
void space_entry_looked(struct space_entry *entry)
{
	const struct attachment *attachment;
	struct destroyer *destroyer;
	_cleanup_free_ int *lingering = NULL;
	size_t n = 0;

	if (!keeper_has_ended(entry))
		return;
	TAILQ_FOREACH (attachment, &entry->attachments, of_entry) {
		if (space_state(entry->space) == SPACE_ORPHANED &&
			attachment->state == ATTACHMENT_LINGERING && !attachment->has_looked)
			return;
		n++;
	}
	lingering = calloc(n ? n : 1, sizeof(*lingering));
	n = 0;
	TAILQ_FOREACH (attachment, &entry->attachments, of_entry)
		if (lingering && attachment->state == ATTACHMENT_LINGERING)
			lingering[n++] = attachment->group->number;
	while ((destroyer = TAILQ_FIRST(&entry->destroyers))) {
		TAILQ_REMOVE(&entry->destroyers, destroyer, of_entry);
		destroyer->destroyed(lingering, n, destroyer->userdata);
		free(destroyer);
	}
}

int space_entry_end(struct space_entry *entry, destroyed_fn destroyed, void *userdata)
{
	struct destroyer *destroyer = destroyed ? calloc(1, sizeof(*destroyer)) : NULL;
	if (destroyed && !destroyer)
		return -ENOMEM;
	if (destroyer) {
		destroyer->destroyed = destroyed;
		destroyer->userdata = userdata;
		TAILQ_INSERT_TAIL(&entry->destroyers, destroyer, of_entry);
	}
	space_entry_dismiss(entry, "it was destroyed");
	space_entry_looked(entry);
	return 0;
}

void space_entry_forget(struct space_entry *entry, void *userdata)
{
	struct destroyer *destroyer;

	if (entry->kept_userdata == userdata)
		entry->kept = NULL;
	TAILQ_FOREACH (destroyer, &entry->destroyers, of_entry)
		if (destroyer->userdata == userdata) {
			TAILQ_REMOVE(&entry->destroyers, destroyer, of_entry);
			free(destroyer);
			return;
		}
}

void spaces_disconnect(struct broker *broker, const void *owner)
{
	struct space_entry *entry;
	TAILQ_FOREACH (entry, &broker->spaces, of_broker)
		if (entry->owner == owner)
			space_entry_dismiss(entry, "its connection was closed");
}

static void on_holder_ended(struct ev_loop *loop, ev_io *io, int revents)
{
	(void)loop;
	(void)revents;
	space_entry_dismiss(io->data, "its process has ended");
}

static void on_grace_over(struct ev_loop *loop, ev_timer *timer, int revents)
{
	(void)loop;
	(void)revents;
	struct space_entry *entry = timer->data;

	log_fields(LOG_NOTICE,
		(const char *[]){
			"MESSAGE_ID", MESSAGE_RESUME_TIMED_OUT, "VFIOD_SPACE", entry->name, NULL },
		"nobody has spoken of space %s in time: it ends", entry->name);
	space_entry_dismiss(entry, "its connection was lost in a restart, and nobody took it up");
}

void spaces_sweep(struct broker *broker)
{
	struct space_entry *entry, *next;
	for (entry = TAILQ_FIRST(&broker->spaces); entry; entry = next) {
		next = TAILQ_NEXT(entry, of_broker);
		if (entry->is_dismissed && space_state(entry->space) == SPACE_ENDED)
			space_entry_free(entry);
	}
}

void spaces_end_all(struct broker *broker)
{
	struct space_entry *entry;
	TAILQ_FOREACH (entry, &broker->spaces, of_broker)
		if (!entry->is_dismissed)
			space_entry_dismiss(entry, "vfiod is stopping");
}

bool spaces_have_ended(const struct broker *broker)
{
	const struct space_entry *entry;
	TAILQ_FOREACH (entry, &broker->spaces, of_broker)
		if (!keeper_has_ended(entry))
			return false;
	return true;
}

/* --- what a space asks, and tells ------------------------------------------------------------ */

static void on_changed(struct space *space, const char *text, void *userdata)
{
	struct space_entry *entry = userdata;
	enum space_state before = entry->state;

	entry->state = space_state(space);
	if (entry->is_restored)
		space_entry_compare(entry);
	if (entry->state == SPACE_ENDED)
		log_info("space %s ended: %s", entry->name, text);
	if (keeper_has_ended(entry)) {
		attachments_orphan(entry);
		space_entry_looked(entry);
	}
	if (entry->state != SPACE_STARTING)
		space_entry_has_keeper(entry);
	if (entry->state == SPACE_ENDED)
		space_entry_news(
			entry, &(struct broker_news){ .event = "spaceEnded", .text = text });
	else
		space_entry_news(entry, &(struct broker_news){ .event = "spaceChanged",
						.before = space_state_name(before),
						.after = space_state_name(entry->state),
						.text = text });
	broker_pump_later(entry->broker);
}

static void on_let_go(struct space *space, int group, bool still_open, void *userdata)
{
	(void)space;
	attachments_let_go(userdata, group, still_open);
}

/* Others of its account are still being taken over: what they have pinned counts, too. */
static bool on_may_begin(const struct space *space, void *userdata)
{
	const struct space_entry *entry = userdata, *other;
	(void)space;

	TAILQ_FOREACH (other, &entry->broker->spaces, of_broker)
		if (other->is_restored && *other->account &&
			strcmp(other->account, entry->account) == 0)
			return false;
	return true;
}

const struct space_hooks space_entry_hooks = {
	.limits = space_entry_limits,
	.changed = on_changed,
	.let_go = on_let_go,
	.may_begin = on_may_begin,
};

/* --- how it comes ------------------------------------------------------------------------------
 */

static int check_bounds(
	const struct broker *broker, const struct subject *subject, struct refusal *refusal)
{
	const struct space_entry *entry;
	unsigned n = 0, max = broker->config->bounds.spaces_per_user;

	if (!broker->ledger)
		return refuse(refusal, REFUSAL_NOT_SUPPORTED,
			"spaces: this vfiod was started without a keeper");
	if (broker->is_stopping)
		return refuse(refusal, REFUSAL_INTERRUPTED, "vfiod is stopping");
	if (policy_is_admin(broker->config, subject))
		return 0;
	TAILQ_FOREACH (entry, &broker->spaces, of_broker)
		n += space_subject(entry->space)->uid == subject->uid;
	if (n < max)
		return 0;
	refuse(refusal, REFUSAL_TOO_MANY, "max-spaces-per-user");
	refusal->max = max;
	return REFUSED;
}

void space_entry_settings(const struct space_entry *entry, struct space_settings *settings)
{
	const struct broker *broker = entry->broker;
	const struct bounds *bounds = &broker->config->bounds;

	*settings = (struct space_settings){
		.keeper_path = broker->keeper_path,
		.keeper_seconds = bounds->keeper_timeout_seconds,
		.max_memories = bounds->memories_per_space,
		.max_mappings = bounds->mappings_per_space,
		.max_containers = MAX_CONTAINERS,
		.max_groups_per_container = entry->max_groups_per_container,
		.is_iommufd = entry->is_iommufd,
		.slot = entry->slot >= 0 ? slots_at(broker->space_slots, (size_t)entry->slot)
					 : NULL,
	};
}

static int entry_start(struct space_entry *entry, const struct space_request *request)
{
	struct broker *broker = entry->broker;
	struct space_settings settings;

	int r = token_make(entry->token);
	if (r < 0)
		return r;
	snprintf(entry->name, sizeof(entry->name), "S%llu", ++broker->n_named_spaces);
	names_reserve(broker);
	entry->max_groups_per_container = request->max_groups_per_container;
	entry->connection = request->connection;
	if (broker->space_slots)
		entry->slot = slots_free_one(broker->space_slots);
	space_entry_settings(entry, &settings);
	return space_new(broker->loop, broker->ledger, entry->name, request->subject, &settings,
		&space_entry_hooks, entry, &entry->space);
}

struct space_entry *space_entry_make(struct broker *broker)
{
	struct space_entry *entry = calloc(1, sizeof(*entry));

	if (!entry)
		return NULL;
	entry->broker = broker;
	entry->slot = entry->holder_pidfd = -1;
	TAILQ_INIT(&entry->attachments);
	TAILQ_INIT(&entry->destroyers);
	ev_init(&entry->holder_ended, on_holder_ended);
	ev_init(&entry->grace, on_grace_over);
	entry->holder_ended.data = entry->grace.data = entry;
	TAILQ_INSERT_TAIL(&broker->spaces, entry, of_broker);
	return entry;
}

void space_entry_watch(struct space_entry *entry, int holder_pidfd)
{
	entry->holder_pidfd = holder_pidfd;
	if (holder_pidfd < 0)
		return;
	ev_io_set(&entry->holder_ended, holder_pidfd, EV_READ);
	ev_io_start(entry->broker->loop, &entry->holder_ended);
}

int space_entry_new(struct broker *broker, const struct space_request *request,
	struct space_entry **entryp, struct refusal *refusal)
{
	_cleanup_close_ int pidfd = request->holder_pidfd;

	bool is_iommufd;

	int r = check_bounds(broker, request->subject, refusal);
	if (r == 0)
		r = backend_choose(broker->config->backend, &is_iommufd, refusal);
	if (r != 0)
		return r;
	struct space_entry *entry = space_entry_make(broker);
	if (!entry)
		return -ENOMEM;
	entry->is_iommufd = is_iommufd;
	r = entry_start(entry, request);
	if (r < 0) {
		space_entry_free(entry);
		return r;
	}
	entry->owner = pidfd < 0 ? request->owner : NULL;
	space_entry_watch(entry, steal_fd(&pidfd));
	log_info("space %s of pid %d (%s), uid %u, by %s", entry->name, (int)request->subject->pid,
		request->subject->command, (unsigned)request->subject->process_uid,
		backend_name(is_iommufd));
	space_entry_news(entry, &(struct broker_news){ .event = "spaceCreated" });
	*entryp = entry;
	return 0;
}

struct space_entry *space_entry_find(
	struct broker *broker, const struct subject *subject, const char *token)
{
	struct space_entry *entry;
	TAILQ_FOREACH (entry, &broker->spaces, of_broker)
		if (!entry->is_dismissed && token_equal(entry->token, token))
			return space_subject(entry->space)->uid == subject->uid ? entry : NULL;
	return NULL;
}

const struct ledger *broker_ledger(const struct broker *broker)
{
	return broker->ledger;
}

struct space_list *broker_spaces(struct broker *broker)
{
	return &broker->spaces;
}

int broker_keep_spaces(struct broker *broker, struct ledger *ledger, const char *keeper_path)
{
	broker->keeper_path = strdup(keeper_path);
	if (!broker->keeper_path)
		return -ENOMEM;
	broker->ledger = ledger;
	spaces_reconfigure(broker);
	int r = leases_restore_reservations(broker);
	return r < 0 ? r : spaces_restore(broker);
}

void spaces_init(struct broker *broker)
{
	TAILQ_INIT(&broker->spaces);
}

void spaces_free(struct broker *broker)
{
	struct space_entry *entry;
	while ((entry = TAILQ_FIRST(&broker->spaces)))
		entry_leave(entry);
	broker->space_slots = slots_free(broker->space_slots);
	free(broker->keeper_path);
}
