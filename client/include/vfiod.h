/*
 * libvfiod: ask vfiod for VFIO devices.
 *
 *	struct vfiod *vfiod;
 *	struct vfiod_lease *lease;
 *	const char *devices[] = { "0000:01:00.0" };
 *	if (vfiod_open(NULL, &vfiod) < 0 ||
 *	    vfiod_acquire(vfiod, devices, 1, 10, &lease) < 0)
 *		errx(1, "%s", vfiod_strerror(vfiod));
 *	int group_fd = vfiod_lease_group_fd(lease, 0);
 *
 * Functions return 0 or more for success and -errno for failure; vfiod_strerror()
 * says in words what went wrong, and vfiod_error_name() which error of
 * org.vfiod(7) it was. No function prints, exits, or starts a thread. A handle is
 * used by one thread at a time; different handles are independent.
 *
 * errno values: -ECONNREFUSED, -ENOENT (no daemon), -ECONNRESET (it has gone),
 * -EPROTO (it does not speak our language), -EACCES (AccessDenied, ResetRequired,
 * PermissionDenied), -EPERM (NoMemoryBound), -EDQUOT (LimitExceeded),
 * -EBUSY (GroupBusy, DeviceInUse, Stuck), -ENODEV (NoSuchDevice, NoSuchGroup,
 * NoSuchPool), * -ETIMEDOUT (TimedOut), -ENOKEY (NoSuchLease), -EINVAL (InvalidParameter,
 *InvalidMatch), -EOPNOTSUPP (NotSupported, MethodNotFound, InterfaceNotFound), -EREMOTEIO (any
 *other error reply), -ENOMEM.
 */
#ifndef VFIOD_H
#define VFIOD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#pragma GCC visibility push(default)

#define VFIOD_SOCKET "/run/vfiod/org.vfiod.Broker"

struct vfiod;
struct vfiod_lease;

/*
 * Connects. socket NULL: $VFIOD_SOCKET, else /run/vfiod/org.vfiod.Broker. On failure *vfiod
 * is NULL. 0, -ENOENT, -ECONNREFUSED, -EACCES, -ENOMEM, …
 */
int vfiod_open(const char *socket, struct vfiod **vfiod);
/* Disconnects: leases that live with this connection end. Frees leases, too. NULL-safe. */
void vfiod_close(struct vfiod *vfiod);

/*
 * What the last failure on this handle was, a sentence without control characters; valid until
 * the next call. Never NULL, also where vfiod_open() left a NULL handle.
 */
const char *vfiod_strerror(const struct vfiod *vfiod);
/* "org.vfiod.Broker.GroupBusy", or NULL when it was not an error reply. Likewise. */
const char *vfiod_error_name(const struct vfiod *vfiod);
/* Its parameters as JSON, or NULL. Likewise. */
const char *vfiod_error_parameters(const struct vfiod *vfiod);

/*
 * Called once for each reply with its parameters as JSON and its descriptors. It may take a
 * descriptor over by setting fds[i] to -1; the others are closed after it returns.
 * Return 0 to go on, or a negative number to stop: vfiod_call() returns it and the connection
 * is then unusable but for vfiod_close().
 */
typedef int (*vfiod_reply_fn)(const char *parameters, int *fds, size_t n_fds, void *userdata);

/*
 * Any method of org.vfiod(7), blocking. parameters: a JSON object, or NULL. more: ask for a
 * stream, on_reply is called for each. on_reply may be NULL. fds go along with the call (copies
 * are sent, yours stay yours). timeout_ms for the wait for each reply: -1 = for ever,
 * -ETIMEDOUT and an unusable connection otherwise.
 */
int vfiod_call(struct vfiod *vfiod, const char *method, const char *parameters, bool more,
	const int *fds, size_t n_fds, int timeout_ms, vfiod_reply_fn on_reply, void *userdata);

/*
 * Acquires the groups of all devices (sysfs names, interface names, or "group:7"), all or none,
 * or of any that fit: "any:pci:id=8086:10ed numa:0" with terms as those of match in vfiod.conf(5),
 * "any:pool:nics" for a pool that it names; with " near:1" at the end rather near that NUMA node;
 * and waits for it up to wait_seconds in the queue. On success the lease belongs to the
 * handle, which is from then on the lease's stream: other calls on it are -EBUSY (use a second
 * handle). The lease ends with vfiod_release() or vfiod_close().
 */
int vfiod_acquire(struct vfiod *vfiod, const char *const devices[], size_t n_devices,
	unsigned wait_seconds, struct vfiod_lease **lease);
/*
 * The same for a lease that follows a process and not this connection: pidfd as from
 * pidfd_open(2), of your own user; it stays yours. The handle is free for other calls afterwards.
 */
int vfiod_acquire_for(struct vfiod *vfiod, const char *const devices[], size_t n_devices,
	unsigned wait_seconds, int pidfd, struct vfiod_lease **lease);

/*
 * As vfiod_acquire_for(), but the handle is the lease's stream, as after vfiod_acquire(): its
 * events come through vfiod_dispatch(). The lease follows the process all the same: vfiod_close()
 * does not end it. on_queued (or NULL) is called while this call waits, whenever the place in the
 * queue has changed: so many requests are before this one.
 */
typedef void (*vfiod_queued_fn)(unsigned position, void *userdata);
int vfiod_acquire_watching(struct vfiod *vfiod, const char *const devices[], size_t n_devices,
	unsigned wait_seconds, int pidfd, vfiod_queued_fn on_queued, void *userdata,
	struct vfiod_lease **lease);

/*
 * All that can be asked for with a lease; the functions above and vfiod_acquire_brokered() are
 * short for it. Zeros stand for nothing asked: without flags the lease lives with the connection,
 * and the handle stays free for other calls.
 */
enum vfiod_acquire_flags {
	VFIOD_ACQUIRE_FOLLOW = 1 << 0,   /* the lease follows the process of `pidfd` */
	VFIOD_ACQUIRE_WATCH = 1 << 1,    /* the handle becomes the lease's stream: events */
	VFIOD_ACQUIRE_BROKERED = 1 << 2, /* no descriptors, see vfiod_space_attach() */
	/* At most one of these and BROKERED. None: groups, or what a kernel without them has. */
	VFIOD_ACQUIRE_GROUP = 1 << 3, /* descriptors of groups, or -EOPNOTSUPP */
	VFIOD_ACQUIRE_CDEV = 1 << 4,  /* of devices, and an iommufd, see vfiod_acquire_cdev() */
};
struct vfiod_acquire_options {
	size_t size; /* sizeof(struct vfiod_acquire_options): it may grow at its end */
	unsigned flags;
	int pidfd; /* as from pidfd_open(2), of your own user; it stays yours */
	unsigned wait_seconds;
	/*
	 * What the kernel may bill for memory that you map for these devices by yourself: a page
	 * once for each container. It is charged on your account's kernel bill until the groups are
	 * back. RLIMIT_MEMLOCK of the process that has the lease (of pidfd, or yours) is that much
	 * higher until the lease ends: there is no need to raise it by hand, nor a right to.
	 */
	uint64_t memory_bytes;
	vfiod_queued_fn on_queued; /* or NULL; with VFIOD_ACQUIRE_WATCH only */
	void *userdata;            /* of on_queued */
};
/*
 * options NULL: none. Beside the errors above: -EINVAL (flags that are not known, or that do not go
 * together), -E2BIG (options of a newer library that this one cannot heed), -EDQUOT
 * (LimitExceeded: the account's kernel-bill-limit), -EPERM (NoMemoryBound: the rules do not trust
 * you, and no memory.max bounds what you can pin).
 */
int vfiod_acquire_with(struct vfiod *vfiod, const char *const devices[], size_t n_devices,
	const struct vfiod_acquire_options *options, struct vfiod_lease **lease);
/*
 * As vfiod_acquire(), with mode cdev: a descriptor of each device, and an iommufd context to bind
 * them to, VFIO_DEVICE_BIND_IOMMUFD. The context is empty, nobody else has it, and the kernel bills
 * what is mapped with it to your user. -EOPNOTSUPP: this kernel has no iommufd, or no
 * /dev/vfio/devices; vfiod_strerror() says which. -EINVAL (InvalidParameter): a vfiod that does not
 * know this mode yet.
 */
int vfiod_acquire_cdev(struct vfiod *vfiod, const char *const devices[], size_t n_devices,
	unsigned wait_seconds, struct vfiod_lease **lease);
/*
 * So much more for a lease that has its descriptors (not a brokered one): all of it, or nothing.
 * total (may be NULL): what it has reserved now. The handle may be any that is no stream: a lease
 * that has its handle as its stream needs a second one. -EDQUOT, -ENOKEY, -EINVAL.
 */
int vfiod_reserve(
	struct vfiod *vfiod, const char *lease_token, uint64_t memory_bytes, uint64_t *total);

const char *vfiod_lease_name(const struct vfiod_lease *lease);
const char *vfiod_lease_token(const struct vfiod_lease *lease);
/* Which device answers the index-th of `devices`; borrowed. NULL: vfiod did not say. */
const char *vfiod_lease_selected(const struct vfiod_lease *lease, size_t index);
size_t vfiod_lease_n_groups(const struct vfiod_lease *lease);
int vfiod_lease_group_number(const struct vfiod_lease *lease, size_t index); /* -EINVAL */
/*
 * The open /dev/vfio/N, close-on-exec, owned by the lease: dup it to keep it. -EINVAL beyond the
 * last, -EBADF once it was taken with vfiod_lease_steal_group_fd(), and in other modes than group.
 */
int vfiod_lease_group_fd(const struct vfiod_lease *lease, size_t index);
int vfiod_lease_steal_group_fd(struct vfiod_lease *lease, size_t index); /* now yours */
/*
 * Mode cdev: the iommufd context, and the open /dev/vfio/devices/vfioX of a device (a name of
 * vfiod_lease_device()), not bound yet. Likewise close-on-exec and owned by the lease, and what is
 * stolen is yours. -EBADF: another mode, or it was taken; -EINVAL: the lease has no such device.
 */
int vfiod_lease_iommufd(const struct vfiod_lease *lease);
int vfiod_lease_steal_iommufd(struct vfiod_lease *lease);
int vfiod_lease_device_fd(const struct vfiod_lease *lease, const char *device);
int vfiod_lease_steal_device_fd(struct vfiod_lease *lease, const char *device);
/*
 * The names of its devices, those for VFIO_GROUP_GET_DEVICE_FD; NULL beyond the last. Owned by the
 * lease.
 */
size_t vfiod_lease_n_devices(const struct vfiod_lease *lease, size_t group_index);
const char *vfiod_lease_device(
	const struct vfiod_lease *lease, size_t group_index, size_t device_index);

/*
 * Ends the lease: closes the descriptors it still owns (close your device and container fds
 * before), and has the daemon return the groups. It is freed, whatever the result.
 * 0, or 1 when a process still has one of the groups open (it goes back when that ends).
 */
int vfiod_release(struct vfiod *vfiod, struct vfiod_lease *lease);

/*
 * Events of a lease that a stream holds, for a loop of your own: wait until vfiod_get_fd() is
 * readable, then call vfiod_dispatch(). timeout_ms as in poll(2). Returns how many events were
 * delivered, 0 for none, or -errno; -ECONNRESET: the daemon has gone, see vfiod_resume().
 */
enum vfiod_event {
	VFIOD_RELEASE_REQUESTED, /* text: what the administrator says, or what device is unplugged
				  */
	VFIOD_DEVICE_GONE,       /* text: the device */
	VFIOD_ENDED,             /* text: why. The lease is over: its groups are no longer yours. */
};
/* May call vfiod_release(), but not vfiod_close(). text: never NULL, valid during the call. */
typedef void (*vfiod_event_fn)(
	struct vfiod_lease *lease, enum vfiod_event event, const char *text, void *userdata);
void vfiod_lease_on_event(struct vfiod_lease *lease, vfiod_event_fn on_event, void *userdata);
int vfiod_get_fd(const struct vfiod *vfiod);
int vfiod_dispatch(struct vfiod *vfiod, int timeout_ms);

/*
 * For who has been told -ECONNRESET. Where systemd runs vfiod, connections outlive a restart of it,
 * and there is nothing to do; without, or when a message was on its way just then, this handle's is
 * lost. vfiod keeps its leases for a while (resume-timeout in vfiod.conf(5)): here they are taken
 * up again, with a new connection that has the number of the old one (vfiod_get_fd()). The one that
 * has the handle as its stream has its events again. Descriptors, and what was mapped with them,
 * are not concerned; spaces are taken up by any call that is about them.
 *
 * As long as there is no vfiod, or it does not answer, it is tried for timeout_ms (as in poll(2);
 * 0: once, without waiting). May be called until it succeeds: how many of its leases are over (only
 * vfiod_release() makes sense of them; a stream's is told VFIOD_ENDED). -ENOENT, -ECONNREFUSED:
 * nobody is there yet; -ETIMEDOUT: it was asked, and the next call goes on waiting. -EBUSY in a
 * callback.
 */
int vfiod_resume(struct vfiod *vfiod, int timeout_ms);

/*
 * As vfiod_acquire(), with mode brokered: no descriptors come back, the groups are attached to
 * spaces. vfiod_lease_group_fd() is -EBADF. The handle is free for other calls afterwards: the
 * lease lives with the connection, without a stream (no events).
 */
int vfiod_acquire_brokered(struct vfiod *vfiod, const char *const devices[], size_t n_devices,
	unsigned wait_seconds, struct vfiod_lease **lease);

/*
 * A space: an I/O address space that vfiod keeps. It lives with the connection of the handle that
 * made it, or, with a pidfd (of your own user; it stays yours), as long as that process; -1: none.
 * All calls block, and none may be made while the handle is a lease's stream (-EBUSY).
 * max_groups_per_container: 0 for as many as the kernel accepts.
 *
 * Beside those above: -EINVAL (Misaligned, UnmapSplitsMapping), -EEXIST (MappingOverlaps), -ERANGE
 * (IovaOutOfRange), -EBUSY (MemoryMapped, ReservedRegionConflict), -ENOENT
 * (NoSuchMemory, NotAttached), -EOWNERDEAD (SpaceEnded), -ENOKEY (NoSuchSpace), -EPERM
 * (MemoryUnsuitable), -ESTALE (MemoryChanged).
 */
struct vfiod_space;
int vfiod_space_create(struct vfiod *vfiod, int pidfd, unsigned max_groups_per_container,
	struct vfiod_space **space);
/* A space by its token, which somebody else of your user made, on whatever connection. -ENOKEY. */
int vfiod_space_open(struct vfiod *vfiod, const char *token, struct vfiod_space **space);
/* Ends the space: 0, or 1 when devices of it are still open. It is freed, whatever the result. */
int vfiod_space_destroy(struct vfiod *vfiod, struct vfiod_space *space);
/* Frees the object alone. NULL-safe. vfiod_close() does so, too. */
void vfiod_space_free(struct vfiod_space *space);
const char *vfiod_space_name(const struct vfiod_space *space);
const char *vfiod_space_token(const struct vfiod_space *space);

/* fd stays yours. 0 with *memory, its number in the space. */
int vfiod_space_add_memory(
	struct vfiod *vfiod, struct vfiod_space *space, int fd, uint32_t *memory);
int vfiod_space_remove_memory(struct vfiod *vfiod, struct vfiod_space *space, uint32_t memory);

/* A group of a lease that was acquired with mode brokered. 0 or more: the container's number. */
int vfiod_space_attach(
	struct vfiod *vfiod, struct vfiod_space *space, const char *lease_token, int group);
int vfiod_space_detach(struct vfiod *vfiod, struct vfiod_space *space, int group);
/* The device's descriptor, close-on-exec, yours. */
int vfiod_space_get_device(
	struct vfiod *vfiod, struct vfiod_space *space, int group, const char *device);

/*
 * Resets a device of an attached group, alone, or with everything on its bus: then all groups that
 * are reached have to be attached, else -EXDEV (ResetReachesFurther). -EOPNOTSUPP: it cannot be
 * reset so.
 */
int vfiod_space_reset_device(
	struct vfiod *vfiod, struct vfiod_space *space, int group, const char *device, bool bus);

enum vfiod_map_flags {
	VFIOD_MAP_READ = 1 << 0,  /* the device may read */
	VFIOD_MAP_WRITE = 1 << 1, /* the device may write */
};
/* Offset and length in bytes. new_owed (may be NULL): what the account owes for it that it did not.
 */
int vfiod_space_map(struct vfiod *vfiod, struct vfiod_space *space, uint32_t memory,
	uint64_t offset, uint64_t iova, uint64_t length, int flags, uint64_t *new_owed);
/* Whole mappings. 0 or more: how many there were. unmapped (may be NULL): bytes. */
int vfiod_space_unmap(struct vfiod *vfiod, struct vfiod_space *space, uint64_t iova,
	uint64_t length, uint64_t *unmapped);

/*
 * For who maps by himself, with the descriptors of a lease, and is trusted to (ledger in
 * vfioctl(1)): VFIO_IOMMU_MAP_DMA of your own type1 container, which stays yours; and the daemon is
 * told, so that it can show which of these pages are the same. It looks them up in the page tables
 * of the process that opened the handle: open it in the one that maps, after any fork.
 *
 * vfiod: any handle that is no lease's stream; NULL: nobody is told. What was told is forgotten
 * when the handle is closed. token: the lease's; NULL: the one that this process has. flags: enum
 * vfiod_map_flags. The containers of a handle are told apart by container_fd, the number: one that
 * is used anew (closed, another one opened) begins with what was told of the old one, until that
 * is mapped over or vfiod_dma_unmap() takes it out.
 *
 * 0, or -errno of the ioctl (-ENOMEM: RLIMIT_MEMLOCK, see vfiod_reserve(); -EEXIST: mapped already;
 * -EINVAL, also for flags that are not known, …): then nothing is mapped, and nobody was told. That
 * the daemon could not be told is no failure: 0, and vfiod_strerror() says why. Nor is there an
 * answer to wait for: whether it heeded it (an untrusted lease is AccessDenied) a vfiod_call() of
 * org.vfiod.Ledger.ReportMap would say.
 */
int vfiod_dma_map(struct vfiod *vfiod, const char *token, int container_fd, void *address,
	uint64_t iova, uint64_t length, int flags);
/*
 * VFIO_IOMMU_UNMAP_DMA, likewise: whole mappings, 0 if there were none. unmapped (may be NULL):
 * bytes.
 */
int vfiod_dma_unmap(struct vfiod *vfiod, const char *token, int container_fd, uint64_t iova,
	uint64_t length, uint64_t *unmapped);

struct vfiod_iova_range {
	uint64_t first, last; /* inclusive */
};
struct vfiod_space_info {
	uint64_t page_sizes; /* a bit each */
	uint64_t mapped_bytes, owed_bytes, kernel_bill_bytes;
	unsigned n_mappings, n_containers;
	int64_t mappings_left; /* -1: the kernel does not say */
	bool is_coherent;
	size_t n_ranges;
};
/*
 * ranges: room for max_ranges, or NULL; info->n_ranges says how many there are, which may be more.
 * For everything else there is vfiod_call() of org.vfiod.Space.Describe.
 */
int vfiod_space_describe(struct vfiod *vfiod, struct vfiod_space *space,
	struct vfiod_space_info *info, struct vfiod_iova_range *ranges, size_t max_ranges);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif

#endif
