/* An open(2) that the filter has stopped. */
#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>

#include "client/vfioctl/shim.h"

struct stopped {
	struct shim_asker asker;
	int listener;
	const struct seccomp_notif *notif;
};

/* If so, its pid means him still. */
static bool is_waiting(const struct shim_asker *asker)
{
	const struct stopped *stopped = (const struct stopped *)asker;

	return ioctl(stopped->listener, SECCOMP_IOCTL_NOTIF_ID_VALID, &stopped->notif->id) == 0;
}

static int give(const struct shim_asker *asker, int fd, uint64_t flags)
{
	const struct stopped *stopped = (const struct stopped *)asker;
	struct seccomp_notif_addfd addfd = {
		.id = stopped->notif->id,
		.flags = SECCOMP_ADDFD_FLAG_SEND,
		.srcfd = (uint32_t)fd,
		.newfd_flags = (uint32_t)(flags & O_CLOEXEC),
	};

	if (ioctl(stopped->listener, SECCOMP_IOCTL_NOTIF_ADDFD, &addfd) >= 0)
		return 0;
	/* ENOENT, EINPROGRESS: killed, or answered. Others are his: EMFILE. */
	return errno == ENOENT || errno == EINPROGRESS ? 0 : -errno;
}

/* Once is enough: whoever does not wait any more needs no answer. */
static void respond(const struct shim *shim, const struct seccomp_notif *notif,
	struct seccomp_notif_resp *response, int error, uint32_t flags)
{
	*response = (struct seccomp_notif_resp){ .id = notif->id, .error = error, .flags = flags };
	ioctl(shim->listener, SECCOMP_IOCTL_NOTIF_SEND, response);
}

void shim_notified(
	struct shim *shim, const struct seccomp_notif *notif, struct seccomp_notif_resp *response)
{
	const struct stopped stopped = { { is_waiting, give }, shim->listener, notif };
	struct shim_open open;
	dev_t device;
	int r = SHIM_NOT_OURS;

	if (shim_call_of(&notif->data) == SHIM_IOCTL)
		shim_observe(shim, notif);
	/* Only when it is seen that he still waits, is it known that what was read was his. */
	else if (shim_open_read(notif, &open) == 0 &&
		 shim_open_device((pid_t)notif->pid, &open, &device) == 0)
		r = shim_answer(shim, &stopped.asker, device, open.flags);
	if (r == SHIM_NOT_OURS)
		respond(shim, notif, response, 0, SECCOMP_USER_NOTIF_FLAG_CONTINUE);
	else if (r < 0)
		respond(shim, notif, response, r, 0);
}
