#include "daemon/broker/reopening.h"

#include "daemon/base/util.h"
#include "daemon/broker/parts.h"

#include <errno.h>
#include <string.h>

struct reopening {
	LIST_ENTRY(reopening) of_broker;
	struct broker *broker;
	char token[TOKEN_SIZE]; /* of the lease, which may end meanwhile */
	struct group *group;    /* held */
	struct plan *plan;      /* for `job` */
	struct job *job;
	reopened_fn reopened; /* NULL: nobody waits any more */
	void *userdata;
};

static struct reopening *reopening_free(struct reopening *reopening)
{
	LIST_REMOVE(reopening, of_broker);
	job_free(reopening->job);
	plan_free(reopening->plan);
	group_release(reopening->group);
	free(reopening);
	return NULL;
}

void reopenings_free_all(struct broker *broker)
{
	struct reopening *reopening;

	while ((reopening = LIST_FIRST(&broker->reopenings)))
		reopening_free(reopening);
}

void lease_reopen_forget(struct broker *broker, const void *userdata)
{
	struct reopening *reopening;

	LIST_FOREACH (reopening, &broker->reopenings, of_broker)
		if (reopening->userdata == userdata)
			reopening->reopened = NULL;
}

/* The group, if it may be opened for who has this lease: 0 or REFUSED. */
static int find_group(struct broker *broker, const struct lease *lease, int number,
	struct group **group, struct refusal *refusal)
{
	const struct holding *holding;

	*group = NULL;
	for (size_t i = 0; i < lease->n_groups; i++)
		if (lease->groups[i]->number == number)
			*group = lease->groups[i];
	if (!*group || lease->brokered)
		return refuse(refusal, REFUSAL_ACCESS_DENIED,
			*group ? "lease %s is brokered: its groups are opened for spaces alone"
			       : "the group is not of lease %s",
			lease->name);
	if (lease->cdev)
		return refuse(refusal, REFUSAL_ACCESS_DENIED,
			"lease %s has mode cdev: it has its devices, and no groups to open",
			lease->name);
	int r = group_is_usable(broker, *group, refusal);
	if (r != 0)
		return r;
	holding = holding_find(broker, *group);
	if (holding && holding->state == HOLDING_USED)
		return 0;
	refuse_busy(broker, *group, REFUSAL_GROUP_BUSY, refusal);
	return REFUSED;
}

static int refuse_lease(struct refusal *refusal)
{
	return refuse(refusal, REFUSAL_NO_SUCH_LEASE, "no lease has this token");
}

static void on_done(
	struct job *job, int result, int *group_fd, const struct refusal *refusal, void *userdata)
{
	struct reopening *reopening = userdata;
	struct broker *broker = reopening->broker;
	const struct lease *lease = lease_book_by_token(&broker->book, reopening->token);
	reopened_fn reopened = reopening->reopened;
	struct refusal over;

	(void)job;
	userdata = reopening->userdata;
	if (result == 0 && !(lease && lease_has_group(lease, reopening->group))) {
		result = refuse_lease(&over);
		refusal = &over;
	}
	/* A copy that nobody is to have is closed before anybody hears that he has none. */
	if (*group_fd >= 0 && (result != 0 || !reopened))
		broker->ops->close_group(broker->ops->userdata, steal_fd(group_fd));
	reopening_free(reopening);
	if (reopened)
		reopened(result, group_fd, refusal, userdata);
	if (*group_fd >= 0)
		broker->ops->close_group(broker->ops->userdata, steal_fd(group_fd));
}

/* The child goes on by itself, and closes what it gets. */
static void on_late(struct job *job, enum bind_step step, const char *device, void *userdata)
{
	struct reopening *reopening = userdata;
	reopened_fn reopened = reopening->reopened;
	struct refusal refusal;
	int none = -1;

	(void)job;
	refuse(&refusal, REFUSAL_STUCK, "the kernel does not let go");
	refusal.group = reopening->group->number;
	refusal.step = step;
	string_copy(refusal.device, sizeof(refusal.device), device);
	userdata = reopening->userdata;
	reopening_free(reopening);
	if (reopened)
		reopened(REFUSED, &none, &refusal, userdata);
}

static const struct job_listener listener = { .done = on_done, .late = on_late };

static int begin(struct broker *broker, const struct lease *lease, struct group *group,
	reopened_fn reopened, void *userdata)
{
	struct reopening *reopening = calloc(1, sizeof(*reopening));

	if (!reopening)
		return -ENOMEM;
	reopening->broker = broker;
	string_copy(reopening->token, sizeof(reopening->token), lease->token);
	reopening->group = group_hold(group);
	reopening->reopened = reopened;
	reopening->userdata = userdata;
	LIST_INSERT_HEAD(&broker->reopenings, reopening, of_broker);
	reopening->plan = plan_new(group->number, 0);
	int r = !reopening->plan ? -ENOMEM
				 : job_new_open(broker->doormen, JOB_OPEN, reopening->plan,
					   broker->config->take_timeout_seconds, &listener,
					   reopening, &reopening->job);
	if (r == 0)
		job_go(reopening->job);
	else
		reopening_free(reopening);
	return r;
}

int lease_reopen(struct broker *broker, const struct subject *subject, const char *token,
	int number, reopened_fn reopened, void *userdata, struct refusal *refusal)
{
	const struct lease *lease = lease_book_by_token(&broker->book, token);
	struct group *group;

	if (!lease || lease->state != LEASE_GRANTED || lease->subject.uid != subject->uid)
		return refuse_lease(refusal);
	int r = find_group(broker, lease, number, &group, refusal);
	return r == 0 && group ? begin(broker, lease, group, reopened, userdata) : r;
}
