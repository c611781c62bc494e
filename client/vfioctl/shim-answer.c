/* What becomes of an open(2) that waits for the supervisor. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "client/vfioctl/shim.h"

#define AWAY_TRIES 100 /* of a tenth of a second: for a vfiod that is being restarted */
#define REPLY_MS 60000 /* it has a deadline of its own: take-timeout in vfiod.conf(5) */

/* Does somebody still wait for it, so that its pid means him? */
static bool is_waiting(const struct shim *shim, const struct seccomp_notif *notif)
{
	return ioctl(shim->listener, SECCOMP_IOCTL_NOTIF_ID_VALID, &notif->id) == 0;
}

/* Once is enough: whoever does not wait any more needs no answer. */
static void respond(const struct shim *shim, const struct seccomp_notif *notif,
	struct seccomp_notif_resp *response, int error, uint32_t flags)
{
	*response = (struct seccomp_notif_resp){ .id = notif->id, .error = error, .flags = flags };
	ioctl(shim->listener, SECCOMP_IOCTL_NOTIF_SEND, response);
}

/* Would the driver be asked, and nobody else? The kernel knows what is wrong with the others. */
static bool is_plain(const struct shim_open *open)
{
	return !(open->flags & ~(uint64_t)UINT32_MAX) && (open->flags & O_ACCMODE) != O_ACCMODE &&
	       !(open->flags & (O_PATH | O_TMPFILE | O_DIRECT | O_NOATIME)) &&
	       (open->flags & (O_CREAT | O_EXCL)) != (O_CREAT | O_EXCL);
}

static const struct shim_group *group_of(const struct shim *shim, dev_t device)
{
	for (size_t i = 0; i < shim->lease->n_groups; i++)
		if (shim->lease->groups[i].device == device)
			return &shim->lease->groups[i];
	return NULL;
}

static int on_reopened(const char *parameters, int *fds, size_t n_fds, void *fd)
{
	(void)parameters;
	if (n_fds != 1)
		return -EPROTO;
	*(int *)fd = fds[0];
	fds[0] = -1;
	return 0;
}

/* One try: a descriptor, or -errno; *is_away: vfiod may be back in a moment. */
static int reopen_once(const struct shim *shim, const struct shim_group *group, bool *is_away)
{
	char parameters[160];
	struct vfiod *vfiod;
	const char *name;
	int fd = -1, r = vfiod_open(shim->socket, &vfiod);

	snprintf(parameters, sizeof parameters, "{\"token\":\"%s\",\"group\":%d}",
		shim->lease->token, group->number);
	if (r == 0)
		r = vfiod_call(vfiod, "org.vfiod.Broker.Reopen", parameters, false, NULL, 0,
			REPLY_MS, on_reopened, &fd);
	name = vfiod_error_name(vfiod);
	*is_away = r == -ECONNREFUSED || r == -ENOENT || r == -ECONNRESET ||
		   (name && strcmp(name, "org.vfiod.Broker.Interrupted") == 0);
	if (r < 0 && r != -EBUSY && !*is_away)
		fprintf(stderr, "vfioctl: group %d cannot be opened: %s\n", group->number,
			vfiod_strerror(vfiod));
	vfiod_close(vfiod);
	return r < 0 ? r : fd;
}

static int reopen(
	const struct shim *shim, const struct seccomp_notif *notif, const struct shim_group *group)
{
	const struct timespec tenth = { .tv_nsec = 100000000 };

	for (int tries = 0;; tries++) {
		bool is_away;
		int r = reopen_once(shim, group, &is_away);

		if (!is_away || tries == AWAY_TRIES || !is_waiting(shim, notif))
			return r;
		nanosleep(&tenth, NULL);
	}
}

/* 0: he has it, or has gone. Or -errno: the open fails with it. */
static int hand_over(const struct shim *shim, const struct seccomp_notif *notif, int fd,
	const struct shim_open *open)
{
	struct seccomp_notif_addfd addfd = {
		.id = notif->id,
		.flags = SECCOMP_ADDFD_FLAG_SEND,
		.srcfd = (uint32_t)fd,
		.newfd_flags = (uint32_t)(open->flags & O_CLOEXEC),
	};

	/* The others mean nothing to a group; O_RDWR it is for everybody. */
	if (fcntl(fd, F_SETFL, (int)open->flags & (O_APPEND | O_NONBLOCK)) < 0)
		return -errno;
	if (ioctl(shim->listener, SECCOMP_IOCTL_NOTIF_ADDFD, &addfd) >= 0)
		return 0;
	/* ENOENT, EINPROGRESS: killed, or answered. Others are his: EMFILE. */
	return errno == ENOENT || errno == EINPROGRESS ? 0 : -errno;
}

/* The kernel would say EBUSY as long as somebody has a copy: ours has gone when the next asks. */
static int group_give(struct shim *shim, const struct seccomp_notif *notif,
	const struct shim_group *group, const struct shim_open *open)
{
	int fd, r;

	pthread_mutex_lock(&shim->lock);
	fd = reopen(shim, notif, group);
	r = fd < 0 ? fd : hand_over(shim, notif, fd, open);
	if (fd >= 0)
		close(fd);
	pthread_mutex_unlock(&shim->lock);
	if (r == 0 || r == -EBUSY || fd >= 0)
		return r;
	return 1; /* not to be had: as without us */
}

void shim_answer(
	struct shim *shim, const struct seccomp_notif *notif, struct seccomp_notif_resp *response)
{
	const struct shim_group *group = NULL;
	struct shim_open open;
	dev_t device;
	int r = 1;

	if (shim_call_of(&notif->data) == SHIM_IOCTL)
		shim_observe(shim, notif);
	else if (shim_open_read(notif, &open) == 0 && is_plain(&open) &&
		 shim_open_device((pid_t)notif->pid, &open, &device) == 0)
		group = group_of(shim, device);
	/* Only now is it known that what was read was his, and not a later process's. */
	if (group && is_waiting(shim, notif))
		r = group_give(shim, notif, group, &open);
	if (r > 0)
		respond(shim, notif, response, 0, SECCOMP_USER_NOTIF_FLAG_CONTINUE);
	else if (r < 0)
		respond(shim, notif, response, r, 0);
}
