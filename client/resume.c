/* After a restart of the daemon that took the connection with it: another one, for the same leases.
 */
#include "client/error.h"
#include "client/handle.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define AGAIN_MS 50

static bool is_not_there(int error)
{
	return error == -ENOENT || error == -ECONNREFUSED;
}

/* left: as poll(2) has it. */
static void wait_a_little(int left)
{
	int pause_ms = left > 0 && left < AGAIN_MS ? left : AGAIN_MS;
	const struct timespec pause = { .tv_nsec = pause_ms * 1000000L };

	nanosleep(&pause, NULL);
}

static int connect_again(const struct vfiod *vfiod, const struct deadline *deadline, int *fd)
{
	int r, left;

	while (is_not_there(r = socket_connect(vfiod->socket, fd)) &&
		(left = deadline_left(deadline)) != 0) {
		wait_a_little(left);
	}
	return r;
}

/*
 * The new connection gets the number of the old one, which loops know. The old one is handed back
 * under another: should it be alive after all, its end would be that of the leases.
 */
static int connection_swap(struct vfiod *vfiod, int fd, int *old)
{
	struct transport *before = vfiod->transport;
	int number = transport_fd(before);

	*old = fcntl(number, F_DUPFD_CLOEXEC, 3);
	if (*old < 0 || dup3(fd, number, O_CLOEXEC) < 0) {
		int r = -errno;

		if (*old >= 0)
			close(*old);
		return r;
	}
	int r = handle_transport(vfiod, number);

	if (r == 0) {
		transport_dissolve(before);
		return 0;
	}
	vfiod->transport = before;
	dup3(*old, number, O_CLOEXEC); /* which the failure has closed */
	close(*old);
	return r;
}

/* Its holder hears it as he would have heard it from the daemon. The callback may free it. */
static void lease_over(struct vfiod *vfiod, struct vfiod_lease *lease)
{
	lease->is_ended = true;
	if (vfiod->stream == lease)
		vfiod->stream = NULL;
	if (lease->on_event)
		lease->on_event(
			lease, VFIOD_ENDED, "it has ended while vfiod was away", lease->userdata);
}

static int lease_ask(struct vfiod *vfiod, struct vfiod_lease *lease, bool is_stream,
	const struct deadline *deadline)
{
	struct json_object *parameters = json_object_new_object();

	if (!object_add(parameters, "token", json_object_new_string(lease->token))) {
		json_object_put(parameters);
		return vfiod_fail(vfiod, -ENOMEM, "out of memory");
	}
	int r = vfiod_send(
		vfiod, "org.vfiod.Broker.Resume", parameters, is_stream, NULL, 0, deadline);
	if (r == 0)
		vfiod->asked = lease;
	return r;
}

/* 0, 1: it is over; or -errno, -ETIMEDOUT: nothing is said yet. */
static int lease_hear(struct vfiod *vfiod, bool is_stream, const struct deadline *deadline)
{
	struct message message = { 0 };
	struct varlink_reply reply = { 0 };
	int r;

	while ((r = vfiod_receive_now(vfiod, &message, &reply)) == -EAGAIN)
		if ((r = vfiod_wait(vfiod, POLLIN, deadline)) < 0)
			return vfiod_fail(
				vfiod, r, "vfiod has not answered yet: %s", strerrordesc_np(-r));
	vfiod->asked = NULL;
	if (r < 0)
		return r;
	if (reply.error) {
		r = vfiod_fail_reply(vfiod, &reply);
		r = r == -ENOKEY ? 1 : r;
	} else if (reply.continues != is_stream) {
		r = vfiod_fail(
			vfiod, -EPROTO, "vfiod resumed a lease in a way that makes no sense");
	}
	message_clear(&message);
	return r;
}

/* 0 or -errno. */
static int lease_resume(
	struct vfiod *vfiod, struct vfiod_lease *lease, const struct deadline *deadline)
{
	bool is_stream = vfiod->stream == lease;
	int r = vfiod->asked == lease ? 0 : lease_ask(vfiod, lease, is_stream, deadline);

	if (r == 0)
		r = lease_hear(vfiod, is_stream, deadline);
	if (r < 0)
		return r;
	lease->is_resumed = true;
	vfiod->n_over += r;
	if (r > 0 && is_stream)
		lease_over(vfiod, lease);
	else if (r > 0)
		lease->is_ended = true;
	return 0;
}

/* One that only follows a process needs no connection. */
static bool lives_with_it(const struct vfiod *vfiod, const struct vfiod_lease *lease)
{
	return !lease->is_ended && (!lease->follows || vfiod->stream == lease);
}

/* 0 or -errno. The stream is last: after it nothing can be asked any more. */
static int resume_all(struct vfiod *vfiod, const struct deadline *deadline)
{
	struct vfiod_lease *lease;
	int r = 0;

	LIST_FOREACH (lease, &vfiod->leases, link)
		if (r == 0 && lease != vfiod->stream && !lease->is_resumed &&
			lives_with_it(vfiod, lease))
			r = lease_resume(vfiod, lease, deadline);
	if (r == 0 && vfiod->stream)
		r = lease_resume(vfiod, vfiod->stream, deadline);
	return r;
}

static void old_close(struct vfiod *vfiod)
{
	if (vfiod->old >= 0)
		close(vfiod->old);
	vfiod->old = -1;
}

/* 0 or -errno: a connection of which nothing has been asked yet. */
static int resume_begin(struct vfiod *vfiod, const struct deadline *deadline)
{
	struct vfiod_lease *lease;
	int fd, old, r = connect_again(vfiod, deadline, &fd);

	vfiod->is_unusable = true;
	if (r < 0)
		return vfiod_fail(vfiod, r, "cannot connect to %s again: %s", vfiod->socket,
			strerrordesc_np(-r));
	r = connection_swap(vfiod, fd, &old);
	close(fd);
	if (r < 0)
		return vfiod_fail(vfiod, r, "cannot use a new connection: %s", strerrordesc_np(-r));
	old_close(vfiod);
	vfiod->old = old;
	LIST_FOREACH (lease, &vfiod->leases, link)
		lease->is_resumed = false;
	vfiod->asked = NULL;
	vfiod->n_over = 0;
	vfiod->is_resuming = true;
	return 0;
}

static int resume_once(struct vfiod *vfiod, const struct deadline *deadline)
{
	int r = 0;

	vfiod_error_clear(vfiod);
	if (!vfiod->is_resuming)
		r = resume_begin(vfiod, deadline);
	if (r < 0)
		return r;
	vfiod->is_unusable = false;
	vfiod->is_busy = true;
	r = resume_all(vfiod, deadline);
	vfiod->is_busy = false;
	vfiod->is_unusable = vfiod->is_unusable || r < 0;
	/* To be gone on with: who closed the connection now would end what it is about to take up.
	 */
	if (r == -ETIMEDOUT && vfiod->asked)
		return r;
	vfiod->is_resuming = false;
	old_close(vfiod);
	return r < 0 ? r : vfiod->n_over;
}

int vfiod_resume(struct vfiod *vfiod, int timeout_ms)
{
	const struct deadline deadline = deadline_in(timeout_ms);
	int r, left;

	if (vfiod->is_busy)
		return -EBUSY;
	/* A child of a daemon that was killed has its socket for a moment, where nobody accepts. */
	while ((r = resume_once(vfiod, &deadline)) == -ECONNRESET &&
		(left = deadline_left(&deadline)) != 0)
		wait_a_little(left);
	return r;
}
