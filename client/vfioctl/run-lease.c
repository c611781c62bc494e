/* The lease while CMD runs, what is told of it, and its end. */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <time.h>

#include "client/vfioctl/format.h"
#include "client/vfioctl/run-command.h"

#define AGAIN_MS 100     /* until a daemon that has gone is looked for once more */
#define SETTLE_TRIES 100 /* of a tenth of a second: for groups that go back by themselves */

/* Is the group on its way back still? And if it came to rest: is it open somewhere? */
static bool group_is_settled(struct run *run, size_t index, bool *is_lingering)
{
	char target[32];
	struct json_object *reply, *group;
	const char *binding, *owner, *lease;
	bool is_settled = true;

	snprintf(target, sizeof target, "group:%d", run->groups.groups[index].number);
	*is_lingering = false;
	if (run_describe(run->context, target, &reply) < 0)
		return true; /* it has gone, or the daemon: nothing to wait for */
	group = get_object(reply, "group");
	binding = get_string(group, "binding");
	owner = get_string(group, "owner");
	lease = get_string(group, "lease");
	if (owner && strcmp(owner, "lingering") == 0)
		*is_lingering = true;
	else if (owner && strcmp(owner, "leased") == 0)
		/* Without a lease: it is being looked whether somebody has it open still. */
		is_settled = lease && !(run->lease && strcmp(lease, run->lease) == 0);
	else
		is_settled = !(binding && strcmp(binding, "returning") == 0);
	json_object_put(reply);
	return is_settled;
}

static void groups_settle(struct run *run)
{
	const struct timespec tenth = { .tv_nsec = 100000000 };

	for (size_t i = 0; i < run->groups.n; i++) {
		bool is_lingering;

		for (int tries = 0; tries < SETTLE_TRIES; tries++) {
			if (group_is_settled(run, i, &is_lingering))
				break;
			nanosleep(&tenth, NULL);
		}
		if (is_lingering)
			fprintf(stderr,
				"vfioctl: group %d is still open in some process; its devices "
				"go back when that ends\n",
				run->groups.groups[i].number);
	}
}

/* The daemon sees CMD's end as well: that the lease is over already is what we want. */
void run_release(struct run *run, struct vfiod_lease *lease)
{
	int r = vfiod_release(run->context->vfiod, lease);

	if (r >= 0 || r == -ENOKEY)
		groups_settle(run);
	else if (!run->is_lost && !run->is_away)
		fprintf(stderr,
			"vfioctl: %s; the lease ends with %s all the same, see vfioctl list\n",
			vfiod_strerror(run->context->vfiod), run->typed[0]);
}

void run_on_event(
	struct vfiod_lease *lease, enum vfiod_event event, const char *text, void *userdata)
{
	struct run *run = userdata;
	char printable[512];

	(void)lease;
	format_printable(text, printable, sizeof printable);
	switch (event) {
	case VFIOD_RELEASE_REQUESTED:
		fprintf(stderr,
			"vfioctl: an administrator asks for the devices back: %s; they go back "
			"when %s ends\n",
			printable, run->typed[0]);
		break;
	case VFIOD_DEVICE_GONE:
		fprintf(stderr, "vfioctl: %s has left the host\n", printable);
		break;
	case VFIOD_ENDED:
		run->is_lost = true;
		snprintf(run->end, sizeof run->end, "%s", printable);
		break;
	}
}

/* That CMD ends is why a lease ends, most of the time; whoever waits for it will see. */
static int tell_end(struct run *run)
{
	struct pollfd cmd = { .fd = run->pidfd, .events = POLLIN };

	if (poll(&cmd, 1, 0) == 0)
		fprintf(stderr,
			"vfioctl: the lease has ended: %s; %s goes on, and its devices go back "
			"when it has closed them\n",
			run->end, run->typed[0]);
	return NEWS_NEVER;
}

static int give_up(struct run *run)
{
	fprintf(stderr, "vfioctl: nothing more will be heard of the lease: %s\n",
		vfiod_strerror(run->context->vfiod));
	run->is_lost = true;
	return NEWS_NEVER;
}

/* CMD and its lease need us for nothing: what is at stake is what we can tell of them. */
static int come_back(struct run *run)
{
	int r = vfiod_resume(run->context->vfiod, 0);

	if (r == -ENOENT || r == -ECONNREFUSED || r == -ECONNRESET || r == -ETIMEDOUT)
		return AGAIN_MS;
	run->is_away = false;
	if (run->is_lost)
		return tell_end(run);
	if (r < 0)
		return give_up(run);
	fprintf(stderr, "vfioctl: vfiod is back, and %s has its lease as before\n", run->typed[0]);
	return NEWS_WHEN_READABLE;
}

/* The daemon has something to say, or has gone: when to come again. */
int run_on_stream(void *userdata)
{
	struct run *run = userdata;

	if (run->is_away)
		return come_back(run);
	int r = vfiod_dispatch(run->context->vfiod, 0);
	if (run->is_lost)
		return tell_end(run);
	if (r >= 0)
		return NEWS_WHEN_READABLE;
	if (r != -ECONNRESET)
		return give_up(run);
	fprintf(stderr,
		"vfioctl: lost vfiod; %s goes on with its devices, `systemctl status vfiod` may "
		"say why\n",
		run->typed[0]);
	run->is_away = true;
	return AGAIN_MS;
}
