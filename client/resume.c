/* After a restart of the daemon that took the connection with it: another one, for the same leases.
 */
#include "client/error.h"
#include "client/handle.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define AGAIN_MS 50
/* It has accepted the connection: then it answers, or something is wrong. */
#define ANSWER_MS 10000

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

/* 0, 1: it is over; or -errno. */
static int lease_resume(struct vfiod *vfiod, struct vfiod_lease *lease, bool is_stream)
{
	const struct deadline deadline = deadline_in(ANSWER_MS);
	struct json_object *parameters = json_object_new_object();
	struct message message = { 0 };
	struct varlink_reply reply = { 0 };

	if (!object_add(parameters, "token", json_object_new_string(lease->token))) {
		json_object_put(parameters);
		return vfiod_fail(vfiod, -ENOMEM, "out of memory");
	}
	int r = vfiod_send(
		vfiod, "org.vfiod.Broker.Resume", parameters, is_stream, NULL, 0, &deadline);
	if (r == 0)
		r = vfiod_receive(vfiod, &message, &reply, &deadline);
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

/* One that only follows a process needs no connection. */
static bool lives_with_it(const struct vfiod *vfiod, const struct vfiod_lease *lease)
{
	return !lease->is_ended && (!lease->follows || vfiod->stream == lease);
}

/* How many are over, or -errno. The stream is last: after it nothing can be asked any more. */
static int resume_all(struct vfiod *vfiod)
{
	struct vfiod_lease *stream = vfiod->stream, *lease, *next;
	int n_over = 0, r = 0;

	for (lease = LIST_FIRST(&vfiod->leases); r >= 0 && lease; lease = next) {
		next = LIST_NEXT(lease, link);
		if (lease == stream || !lives_with_it(vfiod, lease))
			continue;
		r = lease_resume(vfiod, lease, false);
		n_over += r > 0;
		if (r > 0)
			lease->is_ended = true;
	}
	if (r >= 0 && stream) {
		r = lease_resume(vfiod, stream, true);
		n_over += r > 0;
		if (r > 0)
			lease_over(vfiod, stream);
	}
	return r < 0 ? r : n_over;
}

static int resume_once(struct vfiod *vfiod, const struct deadline *deadline)
{
	int fd, old, r;

	vfiod_error_clear(vfiod);
	r = connect_again(vfiod, deadline, &fd);
	if (r < 0) {
		vfiod->is_unusable = true;
		return vfiod_fail(vfiod, r, "cannot connect to %s again: %s", vfiod->socket,
			strerrordesc_np(-r));
	}
	r = connection_swap(vfiod, fd, &old);
	close(fd);
	if (r < 0) {
		vfiod->is_unusable = true;
		return vfiod_fail(vfiod, r, "cannot use a new connection: %s", strerrordesc_np(-r));
	}
	vfiod->is_unusable = false;
	vfiod->is_busy = true;
	r = resume_all(vfiod);
	vfiod->is_busy = false;
	close(old);
	if (r < 0)
		vfiod->is_unusable = true;
	return r;
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
