/*
 * A refusal: why something that was asked for did not happen, as data.
 *
 * Functions of every room return 0 for success, a negative errno for a failure
 * of the system (out of memory, a broken pipe), and REFUSED (a positive number)
 * for an outcome that the caller has to handle and the client has to read; then
 * the struct refusal that the caller gave is filled in. It owns no memory: it is
 * copied by value, and sent through the pipe of a bind child as it is.
 *
 * service/errors.c turns it into the Varlink error of the same name.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define REFUSED 1

#define DEVICE_NAME_SIZE 64   /* "0000:01:00.0", a uuid, "b1900000.dma-controller" */
#define DRIVER_NAME_SIZE 64   /* module and driver names end well below */
#define REFUSAL_TEXT_SIZE 768 /* one sentence or two for a person, or the keys of [daemon] */

enum refusal_kind {
	REFUSAL_NONE = 0,
	/* org.vfiod.Broker */
	REFUSAL_NO_SUCH_GROUP,   /* group */
	REFUSAL_NO_SUCH_DEVICE,  /* device */
	REFUSAL_NO_SUCH_POOL,    /* account: its name; text: reason */
	REFUSAL_INVALID_MATCH,   /* account: the match, its begin; text: what is wrong, allowed */
	REFUSAL_GROUP_BUSY,      /* group, owner_pid, owner_uid */
	REFUSAL_NOT_VIABLE,      /* group, text: the devices that keep it from being viable */
	REFUSAL_DEVICE_IN_USE,   /* device, text: what uses it */
	REFUSAL_TAKE_FAILED,     /* group, device, step, errnum, rolled_back, text */
	REFUSAL_RETURN_FAILED,   /* group, device, step, errnum, text */
	REFUSAL_GROUP_FAILED,    /* group, text: what an earlier transaction left behind */
	REFUSAL_ACCESS_DENIED,   /* device (may be empty), text: reason */
	REFUSAL_RESET_REQUIRED,  /* group, device, text: who had it, and what to do */
	REFUSAL_NO_SUCH_LEASE,   /* (nothing) */
	REFUSAL_NOT_SUPPORTED,   /* text: what is missing */
	REFUSAL_STUCK,           /* group, device, step, owner_pid (0: unknown) */
	REFUSAL_TIMED_OUT,       /* group, owner_pid, owner_uid: who has it still */
	REFUSAL_TOO_MANY,        /* text: which limit, max */
	REFUSAL_INTERRUPTED,     /* text: why, is_restart */
	REFUSAL_LIMIT_EXCEEDED,  /* account, limit; limit_, state_ and requested_bytes */
	REFUSAL_NO_MEMORY_BOUND, /* account: the cgroup's path, may be empty; text: reason */
	REFUSAL_CONFIGURATION,   /* text: file:line: what is wrong and what is allowed */
	/* org.vfiod.Space */
	REFUSAL_NO_SUCH_SPACE,     /* (nothing) */
	REFUSAL_SPACE_ENDED,       /* text: why */
	REFUSAL_NO_SUCH_MEMORY,    /* number */
	REFUSAL_MEMORY_MAPPED,     /* number, max: how many mappings it has */
	REFUSAL_MEMORY_UNSUITABLE, /* text: why */
	REFUSAL_MEMORY_CHANGED,    /* ranges[0]: the mapping; text: what changed, what to do */
	REFUSAL_MAPPING_OVERLAPS,  /* ranges[0]: the mapping that is there */
	REFUSAL_UNMAP_SPLITS,      /* ranges[0]: the mapping that would be split */
	REFUSAL_IOVA_OUT_OF_RANGE, /* ranges: what can be mapped */
	REFUSAL_MISALIGNED,        /* number: the page size */
	REFUSAL_RESERVED_REGION,   /* group, ranges[0]: the region, ranges[1]: the mapping */
	REFUSAL_NOT_ATTACHED,      /* group */
	REFUSAL_RESET_REACHES,     /* device, groups: others that its bus has */
	/* org.varlink.service */
	REFUSAL_INVALID_PARAMETER, /* text: the parameter's name */
	REFUSAL_PERMISSION_DENIED, /* (nothing) */
	/* io.systemd.System */
	REFUSAL_SYSTEM, /* errnum, text: origin */
};

/* A step of a bind transaction: the operation that failed, or that hangs. */
enum bind_step {
	STEP_NONE = 0,
	STEP_GUARD,    /* is the host using the device? */
	STEP_MODULE,   /* load the VFIO driver's module */
	STEP_READ,     /* read driver and driver_override as they are */
	STEP_OVERRIDE, /* write driver_override */
	STEP_UNBIND,   /* write the driver's unbind */
	STEP_BIND,     /* write the new driver's bind */
	STEP_VERIFY,   /* read back the driver link */
	STEP_OPEN,     /* open /dev/vfio/N */
	STEP_VIABLE,   /* VFIO_GROUP_GET_STATUS */
	STEP_MAX_,
};
const char *bind_step_name(enum bind_step step); /* "override"; static */

#define REFUSAL_RANGES 8
#define REFUSAL_GROUPS 16
struct iova_range {
	uint64_t first, last; /* inclusive */
};

struct refusal {
	enum refusal_kind kind;
	int group; /* -1: none */
	char device[DEVICE_NAME_SIZE];
	enum bind_step step;
	int errnum; /* positive errno */
	bool rolled_back;
	bool is_restart; /* the next vfiod can be asked the same */
	pid_t owner_pid; /* 0: nobody, or unknown */
	uid_t owner_uid;
	long max; /* REFUSAL_TOO_MANY */
	uint64_t number;
	struct iova_range ranges[REFUSAL_RANGES]; /* if there are more, the first */
	size_t n_ranges;
	int groups[REFUSAL_GROUPS]; /* likewise */
	size_t n_groups;
	char account[256], limit[32]; /* "uid:1000", "owed-limit" */
	uint64_t limit_bytes, state_bytes, requested_bytes;
	char text[REFUSAL_TEXT_SIZE]; /* complete, printable ASCII; cut if it does not fit */
};

/*
 * Fills *refusal (all fields reset first) and returns REFUSED, so that callers
 * can write `return refuse(refusal, REFUSAL_ACCESS_DENIED, "no rule covers %s", name);`.
 * The other fields are the caller's to set, after the call.
 */
int refuse(struct refusal *refusal, enum refusal_kind kind, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* One line for a person: what happened, to which device, what to do. Never fails. */
void refusal_describe(const struct refusal *refusal, char *buffer, size_t size);
