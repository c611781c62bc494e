#include "daemon/broker/reopening.h"

#include "daemon/base/util.h"
#include "daemon/bind/nodes.h"
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

static bool lease_hands_out(
	const struct lease *lease, bool cdev, const char *what, struct refusal *refusal)
{
	if (lease->brokered)
		refuse(refusal, REFUSAL_ACCESS_DENIED,
			"lease %s is brokered: %s is opened for spaces alone", lease->name, what);
	else if (lease->cdev && !cdev)
		refuse(refusal, REFUSAL_ACCESS_DENIED,
			"lease %s has mode cdev: it has its devices, and no groups to open",
			lease->name);
	else if (!lease->cdev && cdev)
		refuse(refusal, REFUSAL_ACCESS_DENIED,
			"lease %s has mode group: it has its groups, and neither devices' nodes "
			"nor an iommufd to open",
			lease->name);
	else
		return true;
	return false;
}

/* Is it with its lease? 0 or REFUSED. */
static int check_group(struct broker *broker, struct group *group, struct refusal *refusal)
{
	const struct holding *holding = holding_find(broker, group);

	int r = group_is_usable(broker, group, refusal);
	if (r != 0)
		return r;
	if (holding && holding->state == HOLDING_USED)
		return 0;
	refuse_busy(broker, group, REFUSAL_GROUP_BUSY, refusal);
	return REFUSED;
}

static int find_group(struct broker *broker, const struct lease *lease, int number,
	struct group **group, struct refusal *refusal)
{
	*group = NULL;
	for (size_t i = 0; i < lease->n_groups; i++)
		if (lease->groups[i]->number == number)
			*group = lease->groups[i];
	if (!*group)
		return refuse(refusal, REFUSAL_ACCESS_DENIED, "the group is not of lease %s",
			lease->name);
	if (!lease_hands_out(lease, false, "a group of it", refusal))
		return REFUSED;
	return check_group(broker, *group, refusal);
}

static int find_device(struct broker *broker, const struct lease *lease, const char *name,
	struct device **found, struct refusal *refusal)
{
	struct device *device;

	*found = NULL;
	for (size_t i = 0; i < lease->n_groups; i++)
		TAILQ_FOREACH (device, &lease->groups[i]->devices, of_group)
			if (device_on_vfio(device) && strcmp(device->name, name) == 0)
				*found = device;
	if (!lease_hands_out(lease, true, "a device of it", refusal))
		return REFUSED;
	if (!*found)
		return refuse(refusal, REFUSAL_ACCESS_DENIED, "the device is not of lease %s",
			lease->name);
	return check_group(broker, (*found)->group, refusal);
}

static int refuse_lease(struct refusal *refusal)
{
	return refuse(refusal, REFUSAL_NO_SUCH_LEASE, "no lease has this token");
}

/* NULL: refused. */
static const struct lease *find_lease(struct broker *broker, const struct subject *subject,
	const char *token, struct refusal *refusal)
{
	const struct lease *lease = lease_book_by_token(&broker->book, token);

	if (lease && lease->state == LEASE_GRANTED && lease->subject.uid == subject->uid)
		return lease;
	refuse_lease(refusal);
	return NULL;
}

/* What the job has brought: of a group, or of the only member of its plan. */
static int take_fd(struct job *job, int *group_fd)
{
	struct nodes *nodes = job_take_nodes(job);
	int fd = nodes ? steal_fd(&nodes->all[0].fd) : steal_fd(group_fd);

	nodes_free(nodes);
	return fd;
}

static void on_done(
	struct job *job, int result, int *group_fd, const struct refusal *refusal, void *userdata)
{
	struct reopening *reopening = userdata;
	struct broker *broker = reopening->broker;
	const struct lease *lease = lease_book_by_token(&broker->book, reopening->token);
	reopened_fn reopened = reopening->reopened;
	struct refusal over;
	int fd = take_fd(job, group_fd);

	userdata = reopening->userdata;
	if (result == 0 && !(lease && lease_has_group(lease, reopening->group))) {
		result = refuse_lease(&over);
		refusal = &over;
	}
	/* A copy that nobody is to have is closed before anybody hears that he has none. */
	if (fd >= 0 && (result != 0 || !reopened))
		broker->ops->close_group(broker->ops->userdata, steal_fd(&fd));
	reopening_free(reopening);
	if (reopened)
		reopened(result, &fd, refusal, userdata);
	if (fd >= 0)
		broker->ops->close_group(broker->ops->userdata, steal_fd(&fd));
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

/* For a node, a plan of this member alone. NULL: no memory. */
static struct plan *plan_of(const struct group *group, const struct device *device)
{
	struct plan *plan = plan_new(group->number, device ? 1 : 0);

	if (!plan || !device)
		return plan;
	plan->members[0].action = PLAN_ALREADY;
	string_copy(plan->members[0].name, DEVICE_NAME_SIZE, device->name);
	string_copy(plan->members[0].bus, sizeof(plan->members[0].bus), device->bus);
	plan->members[0].syspath = strdup(device->syspath);
	return plan->members[0].syspath ? plan : plan_free(plan);
}

/* device: its node; NULL: the group. */
static int begin(struct broker *broker, const struct lease *lease, struct group *group,
	const struct device *device, reopened_fn reopened, void *userdata)
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
	reopening->plan = plan_of(group, device);
	int r = -ENOMEM;
	if (reopening->plan)
		r = job_new_open(broker->doormen, device ? JOB_REOPEN_NODES : JOB_OPEN,
			reopening->plan, broker->config->take_timeout_seconds, &listener, reopening,
			&reopening->job);
	if (r == 0)
		job_go(reopening->job);
	else
		reopening_free(reopening);
	return r;
}

int lease_reopen(struct broker *broker, const struct subject *subject, const char *token,
	int number, reopened_fn reopened, void *userdata, struct refusal *refusal)
{
	const struct lease *lease = find_lease(broker, subject, token, refusal);
	struct group *group;

	if (!lease)
		return REFUSED;
	int r = find_group(broker, lease, number, &group, refusal);
	return r == 0 && group ? begin(broker, lease, group, NULL, reopened, userdata) : r;
}

int lease_reopen_device(struct broker *broker, const struct subject *subject, const char *token,
	const char *name, reopened_fn reopened, void *userdata, struct refusal *refusal)
{
	const struct lease *lease = find_lease(broker, subject, token, refusal);
	struct device *device;

	if (!lease)
		return REFUSED;
	int r = find_device(broker, lease, name, &device, refusal);
	return r == 0 && device ? begin(broker, lease, device->group, device, reopened, userdata)
				: r;
}

int lease_open_context(struct broker *broker, const struct subject *subject, const char *token,
	int *fd, struct refusal *refusal)
{
	const struct lease *lease = find_lease(broker, subject, token, refusal);

	*fd = -1;
	if (!lease || !lease_hands_out(lease, true, "a context of it", refusal))
		return REFUSED;
	*fd = cdev_open_context(broker, refusal);
	return *fd < 0 ? REFUSED : 0;
}
