#include "daemon/base/cgroup.h"
#include "daemon/base/log.h"
#include "daemon/base/message-id.h"
#include "daemon/base/util.h"
#include "daemon/broker/offering.h"
#include "daemon/broker/wishing.h"
#include "daemon/lease/config-last.h"

#include <errno.h>
#include <string.h>

/* The first that the offer has not come to. */
static struct lease *next_queued(struct broker *broker, const struct offer *offer)
{
	struct lease *lease;

	TAILQ_FOREACH (lease, &broker->book.leases, of_book)
		if (lease->state == LEASE_QUEUED &&
			(!offer->has_begun || lease->tenancy->served_by != offer->number))
			return lease;
	return NULL;
}

/*
 * All whose turn it is. Who starts may end at once, and take others with him: the next one is
 * looked for from the beginning then. What that gives back is for the next time.
 */
static void start_all(struct broker *broker)
{
	struct offer offer = { .has_begun = false };
	struct lease *lease = next_queued(broker, &offer);

	/* Without memory, those who wait wait on. */
	if (!lease || offer_begin(broker, &offer) < 0)
		return;
	while (lease) {
		bool has_changed = tenancy_try(lease, &offer);
		do
			lease = has_changed ? NULL : TAILQ_NEXT(lease, of_book);
		while (lease && lease->state != LEASE_QUEUED);
		if (has_changed)
			lease = next_queued(broker, &offer);
	}
	offer_end(&offer);
}

/* This changes the lists when it returns true: walk them from the beginning again. */
static bool bury_one(struct broker *broker)
{
	struct lease *lease;
	struct holding *holding;
	TAILQ_FOREACH (lease, &broker->book.leases, of_book)
		if (tenancy_bury(lease))
			return true;
	TAILQ_FOREACH (holding, &broker->holdings, of_broker)
		if (holding_bury(holding))
			return true;
	return false;
}

static void join_all(struct broker *broker)
{
	struct holding *holding;

	if (!broker->has_joiners)
		return;
	broker->has_joiners = false;
	TAILQ_FOREACH (holding, &broker->holdings, of_broker)
		joining_start(holding);
}

/* Groups that still move have to be waited for, whoever let go of them and when. */
static void check_stopped(struct broker *broker)
{
	const struct holding *holding;

	if (!broker->stopped || !TAILQ_EMPTY(&broker->settlings) ||
		!TAILQ_EMPTY(&broker->book.leases))
		return;
	TAILQ_FOREACH (holding, &broker->holdings, of_broker)
		if (holding_is_moving(holding))
			return;
	if (!spaces_have_ended(broker))
		return;
	void (*stopped)(void *) = broker->stopped;
	broker->stopped = NULL;
	stopped(broker->stopped_userdata);
}

static void pump(struct ev_loop *loop, ev_prepare *prepare, int revents)
{
	(void)revents;
	struct broker *broker = prepare->data;

	/* Asked for again from within, it would only come after the loop has waited. */
	do {
		ev_prepare_stop(loop, prepare);
		while (broker->has_gone) {
			broker->has_gone = false;
			attachments_bury(broker);
			while (bury_one(broker))
				;
		}
		join_all(broker);
		appearing_take(broker);
		wishing_go_on(broker);
		start_all(broker);
		spaces_sweep(broker);
	} while (ev_is_active(prepare));
	check_stopped(broker);
}

void broker_pump_later(struct broker *broker)
{
	ev_prepare_start(broker->loop, &broker->pump_later);
}

static int lock(struct broker *broker)
{
	pid_t owner;
	int r = journal_lock(broker->state_directory, &broker->state_lock, &owner);
	if (r == -EBUSY)
		log_error(
			"another vfiod (pid %d) runs with %s", (int)owner, broker->state_directory);
	return r;
}

static bool is_adopted(struct broker *broker, int number)
{
	const struct group *group = inventory_group(broker->inventory, number);
	const struct holding *holding = group ? holding_find(broker, group) : NULL;
	return holding && holding->tenancy;
}

static int recover(struct broker *broker)
{
	struct holding *holding;
	_cleanup_free_ int *groups = NULL;
	size_t n_groups = 0;

	int r = journal_init(broker->state_directory);
	if (r == 0)
		r = lock(broker);
	if (r == 0)
		r = former_book_init(&broker->former, broker->state_directory);
	if (r == 0)
		r = names_read(broker);
	if (r == 0)
		r = leases_restore(broker);
	if (r == 0)
		r = journal_list(broker->state_directory, &groups, &n_groups);
	for (size_t i = 0; r == 0 && i < n_groups; i++)
		r = following_rewrite(broker, groups[i]);
	free(steal_pointer(&groups));
	if (r == 0)
		r = journal_list(broker->state_directory, &groups, &n_groups);
	for (size_t i = 0; r == 0 && i < n_groups; i++)
		if (!is_adopted(broker, groups[i]))
			r = holding_recover(broker, groups[i]);
	/* What has come to them while no daemon ran. */
	TAILQ_FOREACH (holding, &broker->holdings, of_broker)
		joining_look(holding);
	return r;
}

static void keep_configuration(const struct broker *broker)
{
	int r = config_keep(broker->config, broker->state_directory);
	if (r < 0)
		log_warning("%s/configuration not written: %s. A start with an error in the "
			    "configuration would lose what is lent",
			broker->state_directory, strerror(-r));
}

int broker_new(struct ev_loop *loop, struct inventory *inventory, struct config *config,
	const char *state_directory, const struct sysfs_ops *ops, struct store *store,
	struct broker **brokerp)
{
	struct broker *broker = calloc(1, sizeof(*broker));
	if (!broker) {
		config_free(config);
		return -ENOMEM;
	}
	broker->loop = loop;
	broker->inventory = inventory;
	broker->config = config;
	broker->ops = ops;
	broker->store = store;
	broker->cgroups = &cgroup_mounts;
	TAILQ_INIT(&broker->holdings);
	TAILQ_INIT(&broker->settlings);
	TAILQ_INIT(&broker->recoveries);
	TAILQ_INIT(&broker->restored);
	broker->state_lock = -1;
	broker->keep_seconds = 1;
	broker->n_changes = 1;
	inquiries_init(broker);
	leaving_init(broker);
	wishing_init(broker);
	drifting_init(broker);
	spaces_init(broker);
	reservations_init(broker);
	drafts_init(broker);
	LIST_INIT(&broker->revocations);
	LIST_INIT(&broker->reopenings);
	TAILQ_INIT(&broker->appearances);
	lease_book_init(&broker->book);
	ev_prepare_init(&broker->pump_later, pump);
	broker->pump_later.data = broker;

	broker->state_directory = strdup(state_directory);
	int r = broker->state_directory ? doormen_new(loop, ops, &broker->doormen) : -ENOMEM;
	if (r == 0)
		r = recover(broker);
	if (r < 0) {
		broker_free(broker);
		return r;
	}
	keep_configuration(broker);
	appearing_look_at_all(broker);
	*brokerp = broker;
	return 0;
}

struct broker *broker_free(struct broker *broker)
{
	struct lease *lease;
	struct holding *holding;
	struct settling *settling;

	if (!broker)
		return NULL;
	broker->on_news = NULL;
	broker->is_leaving = true;
	spaces_free(broker);
	restored_free_all(broker);
	broker->reload = reload_free(broker->reload);
	while ((settling = TAILQ_FIRST(&broker->settlings)))
		settling_free(settling);
	while ((lease = TAILQ_FIRST(&broker->book.leases)))
		tenancy_discard(lease);
	drafts_free(broker);
	broker->observing = observing_free(broker->observing);
	while ((holding = TAILQ_FIRST(&broker->holdings)))
		holding_free(holding);
	recovery_free_all(broker);
	revoking_free_all(broker);
	reopenings_free_all(broker);
	doormen_free(broker->doormen);
	if (broker->state_lock >= 0) {
		names_settle(broker);
		close(broker->state_lock);
	}
	inquiries_free(broker);
	leaving_free(broker);
	wishing_free(broker);
	drifting_free(broker);
	appearing_free_all(broker);
	ev_prepare_stop(broker->loop, &broker->pump_later);
	config_free(broker->config);
	former_book_clear(&broker->former);
	free(broker->state_directory);
	free(broker);
	return NULL;
}

void broker_listen(struct broker *broker, broker_news_fn on_news, void *userdata)
{
	struct group *group;

	broker->on_news = on_news;
	broker->news_userdata = userdata;
	/* Of groups that are in trouble from the start, nobody has heard. */
	if (on_news)
		TAILQ_FOREACH (group, inventory_groups(broker->inventory), of_inventory)
			inquiry_follow(broker, group);
}

void broker_tell(struct broker *broker, const struct broker_news *news)
{
	if (broker->on_news)
		broker->on_news(news, broker->news_userdata);
}

/* --- questions ----------------------------------------------------------------------------- */

struct inventory *broker_inventory(struct broker *broker)
{
	return broker->inventory;
}

struct lease_book *broker_book(struct broker *broker)
{
	return &broker->book;
}

const struct config *broker_config(const struct broker *broker)
{
	return broker->config;
}

double broker_now(const struct broker *broker)
{
	return ev_now(broker->loop);
}

const struct subject *broker_holder(struct broker *broker, const struct group *group)
{
	const struct lease *lease = lease_book_owner(&broker->book, group);
	return lease ? &lease->subject : NULL;
}

const struct subject *broker_former(
	struct broker *broker, const struct group *group, bool *still_runs)
{
	const struct holding *holding = holding_find(broker, group);
	unsigned long long start_ticks;

	if (!holding || !holding->has_former)
		return NULL;
	*still_runs = process_start_time(holding->former.pid, &start_ticks) == 0 &&
		      start_ticks == holding->former.start_ticks;
	return &holding->former;
}

void refuse_busy(struct broker *broker, const struct group *group, enum refusal_kind kind,
	struct refusal *refusal)
{
	const struct subject *holder = broker_holder(broker, group);
	const struct opener *opener = holder ? NULL : broker_opener(broker, group, NULL);
	bool still_runs = true;

	if (!holder && !opener) {
		holder = broker_former(broker, group, &still_runs);
		if (!still_runs)
			holder = NULL;
	}
	refuse(refusal, kind, "somebody else has it");
	refusal->group = group->number;
	if (holder) {
		refusal->owner_pid = holder->pid;
		refusal->owner_uid = holder->process_uid;
	} else if (opener) {
		refusal->owner_pid = opener->pid;
		refusal->owner_uid = opener->uid;
	}
}

static bool is_claimed(const struct group *group)
{
	const struct device *device;
	TAILQ_FOREACH (device, &group->devices, of_group)
		if (device_on_vfio(device) && *device_claim(device))
			return true;
	return false;
}

/* --- what clients and administrators ask ---------------------------------------------------- */

void broker_reconfigure(struct broker *broker, struct config *config)
{
	struct broker_news news = { .event = "configurationReloaded", .group = -1 };
	config_free(broker->config);
	broker->config = config;
	broker->n_changes++;
	wishing_hear_all(broker);
	keep_configuration(broker);
	appearing_look_at_all(broker);
	spaces_reconfigure(broker);
	broker_tell(broker, &news);
	broker_pump_later(broker);
}

void broker_end(struct broker *broker, struct lease *lease, const char *reason)
{
	(void)broker;
	tenancy_end(lease, reason, NULL);
}

void broker_disconnect(struct broker *broker, struct lease *lease)
{
	lease->listener = NULL;
	if (broker->is_leaving)
		return;
	lease->connection = 0;
	lease->is_stream = false;
	if (!lease->follows_process || lease->state != LEASE_GRANTED)
		broker_end(broker, lease, "its connection was closed");
	else
		lease_record_follow(lease);
}

void broker_request_release(struct broker *broker, struct lease *lease, const char *reason)
{
	struct broker_news news = {
		.event = "releaseRequested",
		.group = lease->n_groups > 0 ? lease->groups[0]->number : -1,
		.lease = lease->name,
		.text = reason,
	};
	lease->is_release_requested = true;
	log_fields(LOG_NOTICE,
		(const char *[]){
			"MESSAGE_ID", MESSAGE_RELEASE_REQUESTED, "VFIOD_LEASE", lease->name, NULL },
		"lease %s was asked for back: %s", lease->name, reason);
	lease_record_follow(lease);
	broker_tell(broker, &news);
	if (lease->listener && lease->listener->event)
		lease->listener->event(lease, LEASE_RELEASE_REQUESTED, reason, lease->userdata);
}

int broker_release(struct broker *broker, const struct subject *subject, const char *token,
	settled_fn settled, void *userdata, struct settling **settlingp, struct refusal *refusal)
{
	bool is_admin = policy_is_admin(broker->config, subject);
	struct lease *lease = lease_book_by_token(&broker->book, token);
	struct settling *settling;

	if (lease && lease->state == LEASE_GRANTED &&
		(is_admin || lease->subject.uid == subject->uid)) {
		settling = settling_new(broker, token, lease->subject.uid);
		if (!settling || settling_join(settling, settled, userdata) < 0) {
			settling_free(settling);
			return -ENOMEM;
		}
		*settlingp = settling;
		tenancy_end(lease, "it was released", settling);
		settling_begin(settling);
		return 0;
	}
	/* Another Release of it is under way. */
	settling = settling_by_token(broker, token, subject->uid, is_admin);
	if (!settling)
		return refuse(refusal, REFUSAL_NO_SUCH_LEASE, "no lease has this token");
	*settlingp = settling;
	return settling_join(settling, settled, userdata);
}

int group_may_return(struct broker *broker, const struct group *group, struct refusal *refusal)
{
	const struct holding *holding = holding_find(broker, group);

	if (lease_book_owner(&broker->book, group)) {
		refuse_busy(broker, group, REFUSAL_GROUP_BUSY, refusal);
		return REFUSED;
	}
	if (!holding && group->binding == BINDING_TAKEN) {
		refuse(refusal, REFUSAL_NOT_SUPPORTED,
			"knowledge of what the host had: vfiod did not take group %d; give it back "
			"with the tool that took it%s",
			group->number,
			is_claimed(group)
				? ", which was vfiod's own udev rule: `vfioctl take`, then "
				  "`vfioctl return`"
				: "");
		refusal->group = group->number;
		return REFUSED;
	}
	return holding ? holding_may_return(holding, refusal) : 0;
}

int broker_return(struct broker *broker, struct group *group, settled_fn settled, void *userdata,
	struct settling **settlingp, struct refusal *refusal)
{
	struct holding *holding = holding_find(broker, group);

	int r = group_may_return(broker, group, refusal);
	if (r != 0)
		return r;
	struct settling *settling = settling_new(broker, NULL, 0);
	if (!settling || settling_join(settling, settled, userdata) < 0) {
		settling_free(settling);
		return -ENOMEM;
	}
	if (holding)
		r = holding_return(holding, settling, refusal);
	if (r != 0) {
		settling_free(settling);
		return r;
	}
	appearing_decline(broker, group);
	broker->n_changes++;
	*settlingp = settling;
	settling_begin(settling);
	return 0;
}

/* --- news from below -------------------------------------------------------------------------- */

static void tell_change(struct broker *broker, const struct inventory_change *change)
{
	const struct group *group = change->group;
	struct broker_news news = {
		.event = inventory_event_name(change->event),
		.group = group->number,
		.device = change->device ? change->device->name : NULL,
		.before = change->before && *change->before ? change->before : NULL,
	};
	switch (change->event) {
	case DEVICE_DRIVER:
	case DEVICE_ADDED:
		if (change->device && *change->device->driver)
			news.after = change->device->driver;
		break;
	case GROUP_BINDING:
		news.after = binding_name(group->binding);
		news.text = *group->failure ? group->failure : NULL;
		break;
	case GROUP_OWNER:
		news.after = owner_name(group->owner);
		break;
	case DEVICE_REMOVED:
	case DEVICE_FACTS:
	case GROUP_ADDED:
	case GROUP_REMOVED:
		break;
	}
	broker_tell(broker, &news);
}

static void note_newcomer(
	struct broker *broker, const struct device *device, const struct subject *subject)
{
	int r = device_on_vfio(device) ? former_note(&broker->former, device, subject->uid, false)
				       : 0;
	if (r < 0)
		log_error("%s: not written down that uid %u has it now: %s", device->name,
			(unsigned)subject->uid, strerror(-r));
}

static void log_departure(const struct inventory_change *change)
{
	char number[16];
	const char *const fields[] = { "MESSAGE_ID", MESSAGE_DEVICE_LEFT, "VFIOD_GROUP", number,
		"VFIOD_DEVICE", change->device->name, NULL };

	snprintf(number, sizeof(number), "%d", change->group->number);
	log_fields(LOG_NOTICE, fields, "%s has left the host, and group %d, which vfiod has",
		change->device->name, change->group->number);
}

/* What was seen when it was opened need not be so any more. */
static void distrust_kept(struct broker *broker, const struct inventory_change *change)
{
	struct holding *holding = holding_find(broker, change->group);

	if (holding && change->event != GROUP_BINDING && change->event != GROUP_OWNER)
		holding_drop_kept(holding);
}

/* Rules and descriptions may fit it now, or no more; nothing else goes by that. */
static void look_at_facts(struct broker *broker, const struct inventory_change *change)
{
	broker->n_changes++;
	wishing_hear(broker, change);
	appearing_hear(broker, change);
	broker_pump_later(broker);
}

void broker_on_inventory(const struct inventory_change *change, void *userdata)
{
	struct broker *broker = userdata;
	struct lease *lease = lease_book_owner(&broker->book, change->group);

	if (change->event == DEVICE_FACTS) {
		look_at_facts(broker, change);
		return;
	}
	broker->n_changes += change->event != GROUP_OWNER;
	tell_change(broker, change);
	distrust_kept(broker, change);
	/* One that joins a group that is lent is its holder's, too. */
	if ((change->event == DEVICE_ADDED || change->event == DEVICE_DRIVER) && lease &&
		lease->state == LEASE_GRANTED)
		note_newcomer(broker, change->device, &lease->subject);
	wishing_hear(broker, change);
	joining_hear(broker, change);
	appearing_hear(broker, change);
	leaving_hear(broker, change);
	drifting_hear(broker, change);
	if (change->event == DEVICE_REMOVED && holding_find(broker, change->group))
		log_departure(change);
	/* What has been told of now, the next daemon need not tell. */
	if (lease && lease->state == LEASE_GRANTED &&
		(change->event == DEVICE_REMOVED || change->event == DEVICE_DRIVER))
		lease_record_follow(lease);
	if (change->event == DEVICE_REMOVED && lease && lease->listener && lease->listener->event)
		lease->listener->event(
			lease, LEASE_DEVICE_GONE, change->device->name, lease->userdata);
	/*
	 * This may come from within inventory_refresh(), which this room calls with a holding or a
	 * tenancy in hand: nothing is ended here. Who had the group sees BINDING_GONE at once.
	 */
	if (change->event == GROUP_REMOVED)
		broker->has_gone = true;
	if (change->event == GROUP_REMOVED || change->event == GROUP_BINDING ||
		change->event == GROUP_OWNER)
		inquiry_follow(broker, change->group);
	/* Those that wait for a group that is gone, failed or stuck now are refused. */
	if (change->event == GROUP_REMOVED || change->event == GROUP_BINDING)
		broker_pump_later(broker);
}

/* --- the end --------------------------------------------------------------------------- */

static void on_shut_down(
	const int *lingering, size_t n_lingering, const struct refusal *refusal, void *userdata)
{
	(void)userdata;
	char text[REFUSAL_TEXT_SIZE];
	for (size_t i = 0; i < n_lingering; i++)
		log_warning("group %d is left taken: a process still has it open", lingering[i]);
	if (refusal) {
		refusal_describe(refusal, text, sizeof(text));
		log_error("while stopping: %s", text);
	}
}

/* For holders who have just been told that their lease has ended, to close what they have open. */
static const double STOP_PATIENCE_SECONDS = 2;

void broker_shutdown(struct broker *broker, void (*done)(void *userdata), void *userdata)
{
	/* Lets `systemctl stop` say what came of it; that all has settled is check_stopped()'s. */
	struct settling *settling = settling_new(broker, NULL, 0);
	struct holding *holding, *next;
	struct lease *lease;

	broker->is_stopping = true;
	broker->patience_ends = ev_now(broker->loop) + STOP_PATIENCE_SECONDS;
	broker->stopped = done;
	broker->stopped_userdata = userdata;
	if (settling && settling_join(settling, on_shut_down, NULL) < 0)
		log_warning("stopping without a report: no memory");
	/* First: what they pin goes, and the leases give back what no space has. */
	spaces_end_all(broker);
again:
	TAILQ_FOREACH (lease, &broker->book.leases, of_book)
		if (!tenancy_is_ending(lease)) {
			tenancy_end(lease, "vfiod is stopping", settling);
			goto again;
		}
	for (holding = TAILQ_FIRST(&broker->holdings); holding; holding = next) {
		struct refusal refusal;
		next = TAILQ_NEXT(holding, of_broker);
		/* Or a restart would give it to the drivers that it was to be kept from. */
		if (holding->stay && appearing_is_claimed(holding))
			continue;
		holding->stay = false;
		if (holding->state == HOLDING_IDLE)
			holding_return(holding, settling, &refusal);
	}
	settling_begin(settling);
	broker_pump_later(broker);
}
