/* A group out of its space: as its client wants it, or by force as its lease or its space ends. */
#include "daemon/base/log.h"
#include "daemon/base/util.h"
#include "daemon/broker/parts.h"

#include <errno.h>
#include <string.h>

/* There is no event for "the last device has been closed": ask, less and less often. */
static const double AGAIN_FIRST_SECONDS = 0.02, AGAIN_LAST_SECONDS = 5;

void attachment_free(struct attachment *attachment)
{
	if (!attachment)
		return;
	ev_timer_stop(attachment->entry->broker->loop, &attachment->again);
	job_free(attachment->job);
	plan_free(attachment->plan);
	if (attachment->holding)
		attachment->holding->attachment = NULL;
	TAILQ_REMOVE(&attachment->entry->attachments, attachment, of_entry);
	if (attachment->state != ATTACHMENT_OPENING)
		space_entry_follow(attachment->entry);
	group_release(attachment->group);
	free(attachment);
}

/* Its holding does not know of it any more, and goes on where it has waited for that. */
static void leave_holding(struct attachment *attachment)
{
	struct holding *holding = attachment->holding;

	attachment->holding = NULL;
	if (!holding)
		return;
	holding->attachment = NULL;
	holding_detached(holding);
}

static bool was_inside(const struct attachment *attachment)
{
	return attachment->state == ATTACHMENT_INSIDE || attachment->state == ATTACHMENT_LEAVING;
}

void attachment_end(struct attachment *attachment)
{
	if (was_inside(attachment))
		attachment_news(attachment, "groupDetached", NULL);
	leave_holding(attachment);
	attachment_free(attachment);
}

int attachment_job(
	struct attachment *attachment, enum job_kind kind, const struct job_listener *listener)
{
	struct broker *broker = attachment->entry->broker;

	/* A job of its own beside the holding's, which may join a device just now. */
	if (!attachment->plan)
		attachment->plan = plan_new(attachment->group->number, 0);
	int r = !attachment->plan ? -ENOMEM
				  : job_new_open(broker->doormen, kind, attachment->plan,
					    broker->config->take_timeout_seconds, listener,
					    attachment, &attachment->job);
	if (r == 0)
		job_go(attachment->job);
	return r;
}

/* --- what lingers ----------------------------------------------------------------------------- */

static void ask_later(struct attachment *attachment)
{
	struct ev_loop *loop = attachment->entry->broker->loop;

	attachment->again_seconds *= 2;
	if (attachment->again_seconds > AGAIN_LAST_SECONDS)
		attachment->again_seconds = AGAIN_LAST_SECONDS;
	ev_timer_set(&attachment->again, attachment->again_seconds, 0);
	ev_timer_start(loop, &attachment->again);
}

/* It is still open, or nobody can say. */
static void ask_again(struct attachment *attachment)
{
	ask_later(attachment);
	attachment->has_looked = true;
	space_entry_looked(attachment->entry);
}

static void on_checked(
	struct job *job, int result, int *group_fd, const struct refusal *refusal, void *userdata)
{
	(void)group_fd;
	(void)refusal;
	struct attachment *attachment = userdata;

	attachment->job = job_free(job);
	if (result == 0)
		attachments_opened(attachment->entry->broker, attachment->group);
	else
		ask_again(attachment);
}

static void on_check_late(struct job *job, enum bind_step step, const char *device, void *userdata)
{
	(void)step;
	(void)device;
	struct attachment *attachment = userdata;

	attachment->job = job_free(job);
	ask_again(attachment);
}

static const struct job_listener check_listener = {
	.done = on_checked,
	.late = on_check_late,
};

/* Only while the group is leased, and nobody else would: a holding on its way back asks itself. */
static void on_again(struct ev_loop *loop, ev_timer *timer, int revents)
{
	(void)loop;
	(void)revents;
	struct attachment *attachment = timer->data;
	const struct holding *holding = holding_find(attachment->entry->broker, attachment->group);
	bool asks = holding && holding->group == attachment->group &&
		    holding->state == HOLDING_USED && !holding->attachment;

	if (!asks || attachment_job(attachment, JOB_CHECK, &check_listener) < 0)
		ask_again(attachment);
}

void attachment_init_again(struct attachment *attachment)
{
	ev_init(&attachment->again, on_again);
	attachment->again.data = attachment;
}

void attachment_linger(struct attachment *attachment)
{
	struct broker *broker = attachment->entry->broker;

	if (attachment->state == ATTACHMENT_LINGERING)
		return;
	if (was_inside(attachment))
		attachment_news(attachment, "groupDetached", "a device of it may still be open");
	attachment->state = ATTACHMENT_LINGERING;
	if (attachment->group->binding == BINDING_GONE) {
		broker->has_gone = true;
		broker_pump_later(broker);
	}
	leave_holding(attachment);
	attachment->again_seconds = AGAIN_FIRST_SECONDS / 2;
	ask_later(attachment);
}

void attachment_out(struct attachment *attachment)
{
	if (space_state(attachment->entry->space) == SPACE_ORPHANED)
		attachment_linger(attachment);
	else
		attachment_end(attachment);
}

static void gone_from(struct space_entry *entry, const struct group *group)
{
	struct attachment *attachment, *next;

	for (attachment = TAILQ_FIRST(&entry->attachments); attachment; attachment = next) {
		next = TAILQ_NEXT(attachment, of_entry);
		if (attachment->group != group || attachment->state != ATTACHMENT_LINGERING)
			continue;
		attachment_free(attachment);
		space_group_gone(entry->space, group->number);
	}
	space_entry_looked(entry);
}

void attachments_opened(struct broker *broker, const struct group *group)
{
	struct space_entry *entry;
	TAILQ_FOREACH (entry, &broker->spaces, of_broker)
		gone_from(entry, group);
}

/* --- out of the space ---------------------------------------------------------------------------
 */

static void on_detached(struct space *space, const struct space_answer *answer, void *userdata)
{
	struct attachment *attachment = userdata;

	attachment->state = ATTACHMENT_INSIDE;
	attachment_tell(attachment, answer->result, answer->refusal, 0);
	/* One that was taken over may not have had it. */
	if (answer->result == 0 || space_state(space) == SPACE_ORPHANED ||
		space_state(space) == SPACE_ENDED ||
		!space_has_group(space, attachment->group->number))
		attachment_out(attachment);
	else if (attachment->has_to_leave)
		attachment_leave(attachment);
}

int attachment_detach(struct attachment *attachment, attached_fn detached, void *userdata,
	struct refusal *refusal)
{
	int r = space_detach(attachment->entry->space, attachment->group->number, false,
		on_detached, attachment, refusal);
	if (r != 0)
		return r;
	attachment->state = ATTACHMENT_LEAVING;
	attachment->told = detached;
	attachment->userdata = userdata;
	return 0;
}

void attachment_leave(struct attachment *attachment)
{
	struct space *space = attachment->entry->space;
	struct refusal refusal;

	attachment->has_to_leave = true;
	/* What is under way ends first; and a space that ends gives up all of its groups. */
	if (attachment->state != ATTACHMENT_INSIDE || attachment->is_forced ||
		space_state(space) == SPACE_ENDING)
		return;
	attachment->is_forced = true;
	attachment->state = ATTACHMENT_LEAVING;
	int r = space_detach(space, attachment->group->number, true, NULL, NULL, &refusal);
	if (r == 0)
		return;
	/* It cannot be, but if so: who has it open keeps it, and that is seen. */
	log_error("space %s does not give group %d up: %s", attachment->entry->name,
		attachment->group->number, r == REFUSED ? refusal.text : strerror(-r));
	attachment_linger(attachment);
}

void attachments_let_go(struct space_entry *entry, int group, bool still_open)
{
	struct attachment *attachment;

	TAILQ_FOREACH (attachment, &entry->attachments, of_entry)
		if (attachment->group->number == group &&
			attachment->state != ATTACHMENT_LINGERING &&
			attachment->state != ATTACHMENT_OPENING)
			break;
	if (!attachment)
		return;
	if (still_open)
		attachment_linger(attachment);
	else
		attachment_end(attachment);
}

void attachments_orphan(struct space_entry *entry)
{
	struct attachment *attachment, *next;

	for (attachment = TAILQ_FIRST(&entry->attachments); attachment; attachment = next) {
		next = TAILQ_NEXT(attachment, of_entry);
		/* The others will hear of it by the end of what is under way. */
		if (attachment->state == ATTACHMENT_INSIDE || attachment->is_forced)
			attachment_out(attachment);
	}
}

void attachments_bury(struct broker *broker)
{
	struct space_entry *entry;
	struct attachment *attachment, *next;

	TAILQ_FOREACH (entry, &broker->spaces, of_broker)
		for (attachment = TAILQ_FIRST(&entry->attachments); attachment; attachment = next) {
			next = TAILQ_NEXT(attachment, of_entry);
			if (attachment->group->binding != BINDING_GONE)
				continue;
			if (attachment->state != ATTACHMENT_LINGERING) {
				attachment_leave(attachment);
				continue;
			}
			/* No device of it is open: its driver has let them go. */
			int number = attachment->group->number;
			attachment_free(attachment);
			space_group_gone(entry->space, number);
			space_entry_looked(entry);
		}
}

void attachments_forget_lease(struct broker *broker, const struct lease *lease)
{
	struct space_entry *entry;
	struct attachment *attachment;

	TAILQ_FOREACH (entry, &broker->spaces, of_broker)
		TAILQ_FOREACH (attachment, &entry->attachments, of_entry)
			if (attachment->lease == lease)
				attachment->lease = NULL;
}

/* --- for its holding
 * ------------------------------------------------------------------------------ */

bool holding_detach(struct holding *holding)
{
	if (!holding->attachment)
		return false;
	attachment_leave(holding->attachment);
	return holding->attachment;
}

void holding_detached(struct holding *holding)
{
	if (holding->state == HOLDING_DETACHING)
		holding_begin_check(holding);
}
