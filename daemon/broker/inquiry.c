/*
 * Who has it? Asked of a group in trouble: one that lingers, or that is stuck. The search runs
 * in a child, first for what the kernel shows, then, if that proves nothing, with the devices
 * asked as well: a process that holds that search up does not cost what the first has found.
 */
#include "daemon/base/errand.h"
#include "daemon/base/log.h"
#include "daemon/base/util.h"
#include "daemon/broker/parts.h"

#include <errno.h>
#include <string.h>

/* Most have closed what they had within the first second. The holder may change: asked again. */
static const double FIRST_SECONDS = 1, LAST_SECONDS = 10;
/* The child looks at its clock; the deadline is for one that is held up. */
static const double SEARCH_SECONDS = 4, DEADLINE_SECONDS = 8;

struct inquiry {
	TAILQ_ENTRY(inquiry) of_broker;
	struct broker *broker;
	struct group *group; /* held */
	ev_tstamp since;     /* when the trouble began */
	double pause_seconds;
	ev_timer next;
	struct errand *errand;
	struct opener_query query;
	struct opener first;  /* what the search without asking devices said */
	struct opener opener; /* the last answer */
	bool has_looked;
	struct opener told; /* and the last that monitors were told */
};

static void ask(struct inquiry *inquiry);

static struct inquiry *inquiry_find(const struct broker *broker, const struct group *group)
{
	struct inquiry *inquiry;
	TAILQ_FOREACH (inquiry, &broker->inquiries, of_broker)
		if (inquiry->group == group)
			return inquiry;
	return NULL;
}

static void tell_found(struct inquiry *inquiry)
{
	const struct opener *opener = &inquiry->opener;
	char who[128], text[192];
	struct broker_news news = {
		.event = "holderFound",
		.group = inquiry->group->number,
		.text = text,
	};

	opener_describe(opener, who, sizeof(who));
	snprintf(text, sizeof(text), "%s %s",
		opener->certainty == OPENER_SURE ? "held open by" : "probably held open by", who);
	log_fields(
		LOG_INFO, (const char *[]){ NULL }, "group %d: %s", inquiry->group->number, text);
	inquiry->told = *opener;
	broker_tell(inquiry->broker, &news);
}

static bool is_same(const struct opener *a, const struct opener *b)
{
	return a->certainty == b->certainty && a->pid == b->pid && a->start_ticks == b->start_ticks;
}

static void ask_later(struct inquiry *inquiry)
{
	ev_timer_set(&inquiry->next, inquiry->pause_seconds, 0);
	ev_timer_start(inquiry->broker->loop, &inquiry->next);
	inquiry->pause_seconds *= 2;
	if (inquiry->pause_seconds > LAST_SECONDS)
		inquiry->pause_seconds = LAST_SECONDS;
}

static void on_answer(
	struct errand *errand, int result, const char *answer, size_t length, void *userdata)
{
	struct inquiry *inquiry = userdata;
	struct opener opener = { .certainty = OPENER_UNKNOWN };
	bool has_asked_devices = inquiry->query.ask_devices;

	if (result == 0 && length == sizeof(opener))
		memcpy(&opener, answer, sizeof(opener));
	else
		log_debug("looking for who has group %d: %s", inquiry->group->number,
			strerror(result < 0 ? -result : EBADMSG));
	/* One that was held up has not looked at everything either. */
	opener.is_cut = opener.is_cut || result != 0;
	inquiry->errand = errand_free(errand);

	if (!has_asked_devices && opener.certainty != OPENER_SURE) {
		inquiry->first = opener;
		inquiry->query.ask_devices = true;
		ask(inquiry);
		return;
	}
	/* The second search has seen all that the first had, unless it came to nothing. */
	inquiry->opener = has_asked_devices && result != 0 ? inquiry->first : opener;
	inquiry->has_looked = true;
	if (opener_lives(&inquiry->opener) && !is_same(&inquiry->told, &inquiry->opener))
		tell_found(inquiry);
	ask_later(inquiry);
}

/* In the child. */
static int search(FILE *answer, void *userdata)
{
	const struct inquiry *inquiry = userdata;
	struct opener opener;

	int r = opener_find(&inquiry->query, &opener_kernel, &opener);
	if (r == 0 && fwrite(&opener, sizeof(opener), 1, answer) != 1)
		r = -ENOMEM;
	return r;
}

/* Of a lease under an earlier daemon nothing was noted: as it is now, if he still runs. */
static struct opener_kin former_kin(struct broker *broker, const struct holding *holding)
{
	struct opener_kin kin = { .pid = 0 };
	bool still_runs;
	const struct subject *former = broker_former(broker, holding->group, &still_runs);

	if (former && holding->kin.pid == former->pid)
		return holding->kin;
	if (former && still_runs)
		opener_kin_read("", former->pid, &kin);
	return kin;
}

static void ask(struct inquiry *inquiry)
{
	struct group *group = inquiry->group;
	const struct holding *holding = holding_find(inquiry->broker, group);
	const struct device *device;
	size_t n = 0;

	/* The child has a copy of them. */
	_cleanup_free_ const char **syspaths = calloc(group->n_devices + 1, sizeof(*syspaths));
	if (!syspaths) {
		ask_later(inquiry);
		return;
	}
	TAILQ_FOREACH (device, &group->devices, of_group)
		syspaths[n++] = device->syspath;
	inquiry->query.syspaths = syspaths;
	inquiry->query.n_syspaths = n;
	if (holding)
		inquiry->query.former = former_kin(inquiry->broker, holding);
	const struct attachment *attachment = attachment_of(inquiry->broker, group);
	inquiry->query.keeper = attachment ? space_keeper_pid(attachment->entry->space) : 0;
	inquiry->query.former_child = holding ? recovery_child(holding) : 0;
	int r = errand_new(inquiry->broker->loop, "vfiod-look", search, inquiry, DEADLINE_SECONDS,
		on_answer, inquiry, &inquiry->errand);
	inquiry->query.syspaths = NULL;
	if (r < 0) {
		log_debug("no child to look for who has group %d: %s", group->number, strerror(-r));
		ask_later(inquiry);
	}
}

static void on_next(struct ev_loop *loop, ev_timer *timer, int revents)
{
	(void)loop;
	(void)revents;
	struct inquiry *inquiry = timer->data;

	inquiry->query.ask_devices = false;
	ask(inquiry);
}

static void inquiry_new(struct broker *broker, struct group *group)
{
	struct inquiry *inquiry = calloc(1, sizeof(*inquiry));
	if (!inquiry)
		return; /* the group is no worse off; nobody is named */
	inquiry->broker = broker;
	inquiry->group = group_hold(group);
	inquiry->since = ev_now(broker->loop);
	inquiry->pause_seconds = FIRST_SECONDS;
	inquiry->query = (struct opener_query){
		.root = "",
		.group = group->number,
		.daemon = getpid(),
		.seconds = SEARCH_SECONDS,
	};
	ev_init(&inquiry->next, on_next);
	inquiry->next.data = inquiry;
	TAILQ_INSERT_TAIL(&broker->inquiries, inquiry, of_broker);
	ask_later(inquiry);
}

static void inquiry_free(struct inquiry *inquiry)
{
	TAILQ_REMOVE(&inquiry->broker->inquiries, inquiry, of_broker);
	ev_timer_stop(inquiry->broker->loop, &inquiry->next);
	errand_free(inquiry->errand);
	group_release(inquiry->group);
	free(inquiry);
}

void inquiries_init(struct broker *broker)
{
	TAILQ_INIT(&broker->inquiries);
}

void inquiries_free(struct broker *broker)
{
	struct inquiry *inquiry;
	while ((inquiry = TAILQ_FIRST(&broker->inquiries)))
		inquiry_free(inquiry);
}

void inquiry_follow(struct broker *broker, struct group *group)
{
	struct inquiry *inquiry = inquiry_find(broker, group);
	bool is_in_trouble = group->binding == BINDING_STUCK ||
			     (group->owner == OWNER_LINGERING && group->binding != BINDING_GONE);

	if (is_in_trouble && !inquiry)
		inquiry_new(broker, group);
	else if (!is_in_trouble && inquiry)
		inquiry_free(inquiry);
}

const struct opener *broker_opener(
	const struct broker *broker, const struct group *group, double *seconds)
{
	const struct inquiry *inquiry = inquiry_find(broker, group);

	if (seconds)
		*seconds = inquiry ? ev_now(broker->loop) - inquiry->since : 0;
	/* One that has ended since is not to be named, whoever has its number now. */
	return inquiry && opener_lives(&inquiry->opener) ? &inquiry->opener : NULL;
}

enum opener_search broker_opener_search(const struct broker *broker, const struct group *group)
{
	const struct inquiry *inquiry = inquiry_find(broker, group);

	if (!inquiry || !inquiry->has_looked)
		return SEARCH_BEGINS;
	return inquiry->opener.is_cut ? SEARCH_CUT : SEARCH_DONE;
}
