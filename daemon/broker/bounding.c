#include "daemon/broker/bounding.h"

#include "daemon/base/errand.h"
#include "daemon/base/util.h"
#include "daemon/broker/bound.h"
#include "daemon/broker/parts.h"

#include <errno.h>
#include <string.h>

/* Files in memory, unless somebody makes the kernel wait. */
#define BOUND_SECONDS 10

struct bounding {
	const struct cgroup_mounts *mounts;
	pid_t pid;
	unsigned long long start_ticks;
	uid_t uid;
	struct errand *errand;
	bounded_fn bounded;
	void *userdata;
};

/* In the child. */
static int look(FILE *answer, void *userdata)
{
	const struct bounding *bounding = userdata;
	struct memory_bound bound;

	int r = memory_bound_find(bounding->mounts, bounding->pid, bounding->start_ticks, &bound);
	if (r == 0)
		fwrite(&bound, sizeof(bound), 1, answer);
	return r;
}

static const char *why_unknown(int result)
{
	switch (result) {
	case -ESRCH:
		return "the process has ended, or is another one by now";
	case -EXDEV:
		return "its control group is outside of what vfiod can see";
	case -ENOENT:
		return "the process is in no control group of version 2 (cgroup2), or in none any "
		       "more";
	case -ETIMEDOUT:
		return "the kernel does not tell in time what control group the process is in";
	default:
		return strerror(-result);
	}
}

static const char *why_none(const struct memory_bound *bound)
{
	if (bound->is_own)
		return "others than root can raise the memory.max of the process's control group, "
		       "or move it to another one";
	return bound->is_controlled
		       ? "memory.max is max for the process's control group and all above it"
		       : "the memory controller is on in no control group (cgroup2) of the process";
}

/* Not systemd-run --user: what a user's own manager makes is the user's. */
static int refuse_unbound(const struct bounding *bounding, const char *cgroup, const char *why,
	struct refusal *refusal)
{
	unsigned uid = (unsigned)bounding->uid;

	refuse(refusal, REFUSAL_NO_MEMORY_BOUND,
		"%s. Give its systemd unit MemoryMax=, or all that uid %u runs (systemctl "
		"set-property user-%u.slice MemoryMax=SIZE), or start it as a unit of the system's "
		"(systemd-run --uid=%u -p MemoryMax=SIZE); or ask for mode brokered; or let an "
		"administrator add trusted = yes to the rule",
		why, uid, uid, uid);
	string_copy(refusal->account, sizeof(refusal->account), cgroup);
	return REFUSED;
}

static void on_looked(
	struct errand *errand, int result, const char *answer, size_t length, void *userdata)
{
	struct bounding *bounding = userdata;
	struct memory_bound bound = { .max_bytes = UINT64_MAX };
	struct refusal refusal;

	if (result == 0 && length != sizeof(bound))
		result = -EIO;
	if (result == 0)
		memcpy(&bound, answer, sizeof(bound));
	bounding->errand = errand_free(errand);
	if (result < 0)
		result = refuse_unbound(bounding, "", why_unknown(result), &refusal);
	else if (bound.max_bytes == UINT64_MAX)
		result = refuse_unbound(bounding, bound.cgroup, why_none(&bound), &refusal);
	bounding->bounded(result, bound.max_bytes, &refusal, bounding->userdata);
}

int bounding_new(struct broker *broker, const struct subject *subject, bounded_fn bounded,
	void *userdata, struct bounding **boundingp)
{
	struct bounding *bounding = calloc(1, sizeof(*bounding));
	if (!bounding)
		return -ENOMEM;
	*bounding = (struct bounding){
		.mounts = broker->cgroups,
		.pid = subject->pid,
		.start_ticks = subject->start_ticks,
		.uid = subject->process_uid,
		.bounded = bounded,
		.userdata = userdata,
	};
	int r = errand_new(broker->loop, "vfiod-bound", look, bounding, BOUND_SECONDS, on_looked,
		bounding, &bounding->errand);
	if (r < 0) {
		bounding_free(bounding);
		return r;
	}
	*boundingp = bounding;
	return 0;
}

struct bounding *bounding_free(struct bounding *bounding)
{
	if (!bounding)
		return NULL;
	errand_free(bounding->errand);
	free(bounding);
	return NULL;
}
