#include "daemon/broker/preview.h"

#include "daemon/base/util.h"
#include "daemon/broker/parts.h"

#include <errno.h>
#include <string.h>

/* Each has a child, which looks at devices: a few are enough for people, and harm nobody. */
enum { MAX_PREVIEWS = 8 };

struct look {
	struct preview *preview;
	struct preview_group *of;
	struct job *job; /* NULL: it has said what it saw */
};

struct preview {
	struct broker *broker;
	enum preview_purpose purpose;
	preview_done done;
	void *userdata;
	size_t n_groups, n_looking;
	struct preview_group *groups;
	struct look *looks;
	struct bounding *bounding; /* NULL: nobody has to be bounded, or it is known */
	ev_timer at_once;          /* nobody has to look: done() comes when the loop comes round */
};

static struct refusal *veto_new(struct preview_group *group)
{
	/* The last one makes room: what is found later is nearer to the device. */
	if (group->n_vetoes == PREVIEW_MAX_VETOES)
		group->n_vetoes--;
	return &group->vetoes[group->n_vetoes++];
}

static void preview_advance(struct preview *preview)
{
	if (--preview->n_looking == 0) {
		preview->broker->n_previews--;
		preview->done(preview, preview->userdata);
	}
}

static void look_ended(struct look *look)
{
	look->job = job_free(look->job);
	preview_advance(look->preview);
}

static void on_ready(struct job *job, void *userdata)
{
	(void)job;
	look_ended(userdata);
}

static void on_done(
	struct job *job, int result, int *group_fd, const struct refusal *refusal, void *userdata)
{
	struct look *look = userdata;

	(void)job;
	(void)result; /* it was never told to go: it has refused, or it has died */
	(void)group_fd;
	*veto_new(look->of) = *refusal;
	look_ended(look);
}

static void on_late(struct job *job, enum bind_step step, const char *device, void *userdata)
{
	struct look *look = userdata;
	struct refusal *veto = veto_new(look->of);

	(void)job;
	refuse(veto, REFUSAL_STUCK, "the kernel does not let go");
	veto->group = look->of->group->number;
	veto->step = step;
	string_copy(veto->device, sizeof(veto->device), device);
	look_ended(look);
}

static const struct job_listener look_listener = {
	.ready = on_ready,
	.done = on_done,
	.late = on_late,
};

static int look_start(struct preview *preview, struct look *look, struct preview_group *of)
{
	struct broker *broker = preview->broker;

	look->preview = preview;
	look->of = of;
	if (!of->plan || plan_n_moves(of->plan) == 0)
		return 0;
	int r = job_new(broker->loop, JOB_LOOK, of->plan, broker->ops,
		broker->config->take_timeout_seconds, &look_listener, look, &look->job);
	if (r == 0)
		preview->n_looking++;
	return r;
}

static void on_bounded(
	int result, uint64_t max_bytes, const struct refusal *refusal, void *userdata)
{
	struct preview *preview = userdata;

	(void)max_bytes;
	for (size_t i = 0; result != 0 && i < preview->n_groups; i++)
		if (preview->groups[i].needs_bound)
			*veto_new(&preview->groups[i]) = *refusal;
	preview->bounding = bounding_free(preview->bounding);
	preview_advance(preview);
}

static int bounding_start(struct preview *preview, const struct subject *subject)
{
	bool is_needed = false;

	for (size_t i = 0; i < preview->n_groups; i++)
		is_needed = is_needed || preview->groups[i].needs_bound;
	if (!is_needed)
		return 0;
	int r = bounding_new(preview->broker, subject, on_bounded, preview, &preview->bounding);
	if (r == 0)
		preview->n_looking++;
	return r;
}

/* --- what can be said without looking --------------------------------------------------------- */

static int is_refused(struct preview_group *group, int result, const struct refusal *refusal)
{
	if (result == REFUSED)
		*veto_new(group) = *refusal;
	return result < 0 ? result : 0;
}

static int preview_take_group(
	struct preview *preview, const struct subject *subject, struct preview_group *of)
{
	struct broker *broker = preview->broker;
	struct holding *holding = holding_find(broker, of->group);
	struct refusal refusal;
	struct verdict verdict = { .trusted = true };
	int r = is_refused(of, group_is_usable(broker, of->group, &refusal), &refusal);

	if (r == 0 && preview->purpose == PREVIEW_CDEV)
		r = is_refused(of, cdev_check(broker, &refusal), &refusal);

	if (r == 0 && preview->purpose != PREVIEW_TAKE)
		r = is_refused(of,
			group_verdict_in_turn(broker, subject, of->group, &verdict, &refusal),
			&refusal);
	if (r == 0 && of->n_vetoes == 0)
		r = is_refused(of,
			group_check_mode(of->group, preview->purpose == PREVIEW_BROKERED,
				preview->purpose == PREVIEW_CDEV, &refusal),
			&refusal);
	if (r == 0 && of->n_vetoes == 0 && group_is_occupied(broker, of->group)) {
		refuse_busy(broker, of->group, REFUSAL_GROUP_BUSY, &refusal);
		r = is_refused(of, REFUSED, &refusal);
	}
	/* Taken and free: its devices stay where they are. */
	if (r == 0 && of->n_vetoes == 0 && !(holding && holding->taken))
		r = is_refused(
			of, group_plan(broker, subject, of->group, &of->plan, &refusal), &refusal);
	of->needs_bound =
		(preview->purpose == PREVIEW_ACQUIRE || preview->purpose == PREVIEW_CDEV) &&
		of->n_vetoes == 0 && !verdict.trusted;
	return r;
}

static int preview_return_group(struct preview *preview, struct preview_group *of)
{
	struct broker *broker = preview->broker;
	struct holding *holding = holding_find(broker, of->group);
	struct refusal refusal;

	int r = is_refused(of, group_may_return(broker, of->group, &refusal), &refusal);
	if (r == 0 && of->n_vetoes == 0 && of->group->owner == OWNER_LINGERING) {
		refuse_busy(broker, of->group, REFUSAL_GROUP_BUSY, &refusal);
		r = is_refused(of, REFUSED, &refusal);
	}
	if (r == 0 && holding && holding->taken && holding->plan)
		r = plan_extend(holding->plan, NULL, 0, NULL, NULL, &of->plan, &refusal);
	return r;
}

/* --- the whole ---------------------------------------------------------------------------- */

static void on_at_once(struct ev_loop *loop, ev_timer *timer, int revents)
{
	struct preview *preview = timer->data;

	(void)revents;
	ev_timer_stop(loop, timer);
	preview->done(preview, preview->userdata);
}

static int preview_fill(struct preview *preview, const struct subject *subject,
	struct group *const *groups, size_t n_groups)
{
	int r = 0;

	preview->groups = calloc(n_groups, sizeof(*preview->groups));
	preview->looks = calloc(n_groups, sizeof(*preview->looks));
	if (!preview->groups || !preview->looks)
		return -ENOMEM;
	for (size_t i = 0; r == 0 && i < n_groups; i++) {
		struct preview_group *of = &preview->groups[preview->n_groups++];

		of->group = group_hold(groups[i]);
		if (preview->purpose == PREVIEW_RETURN)
			r = preview_return_group(preview, of);
		else
			r = preview_take_group(preview, subject, of);
	}
	for (size_t i = 0; r == 0 && preview->purpose != PREVIEW_RETURN && i < n_groups; i++)
		r = look_start(preview, &preview->looks[i], &preview->groups[i]);
	return r == 0 ? bounding_start(preview, subject) : r;
}

int preview_new(struct broker *broker, enum preview_purpose purpose, const struct subject *subject,
	struct group *const *groups, size_t n_groups, preview_done done, void *userdata,
	struct preview **previewp, struct refusal *refusal)
{
	if (broker->n_previews == MAX_PREVIEWS) {
		refuse(refusal, REFUSAL_TOO_MANY, "dry runs at a time");
		refusal->max = MAX_PREVIEWS;
		return REFUSED;
	}
	struct preview *preview = calloc(1, sizeof(*preview));
	if (!preview)
		return -ENOMEM;
	preview->broker = broker;
	preview->purpose = purpose;
	preview->done = done;
	preview->userdata = userdata;
	ev_timer_init(&preview->at_once, on_at_once, 0, 0);
	preview->at_once.data = preview;
	int r = preview_fill(preview, subject, groups, n_groups);
	if (preview->n_looking > 0)
		broker->n_previews++;
	if (r < 0) {
		preview_free(preview);
		return r;
	}
	if (preview->n_looking == 0)
		ev_timer_start(broker->loop, &preview->at_once);
	*previewp = preview;
	return 0;
}

struct preview *preview_free(struct preview *preview)
{
	if (!preview)
		return NULL;
	ev_timer_stop(preview->broker->loop, &preview->at_once);
	if (preview->n_looking > 0)
		preview->broker->n_previews--;
	bounding_free(preview->bounding);
	for (size_t i = 0; i < preview->n_groups; i++) {
		job_free(preview->looks[i].job);
		plan_free(preview->groups[i].plan);
		group_release(preview->groups[i].group);
	}
	free(preview->looks);
	free(preview->groups);
	free(preview);
	return NULL;
}

enum preview_purpose preview_purpose(const struct preview *preview)
{
	return preview->purpose;
}

const struct preview_group *preview_groups(const struct preview *preview, size_t *n)
{
	*n = preview->n_groups;
	return preview->groups;
}
