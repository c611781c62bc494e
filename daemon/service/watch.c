/*
 * What happens on connections: an epoll set of our own, in which they are edge-triggered. What a
 * client has sent stays in its socket, in part or behind a call that is at work: for as long as it
 * does, libev would call us in each round. And a connection is not closed by close(2) while systemd
 * has it, too (base/store.h): it has to be taken out.
 */
#include "daemon/base/log.h"
#include "daemon/base/util.h"
#include "daemon/service/parts.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>

enum { AT_ONCE = 64 };

static void on_edges(struct ev_loop *loop, ev_io *io, int revents)
{
	(void)loop;
	(void)revents;
	struct epoll_event events[AT_ONCE];
	int n = epoll_wait(io->fd, events, AT_ONCE, 0);

	/* No session is freed by this. */
	for (int i = 0; i < n; i++) {
		struct session *session = events[i].data.ptr;
		uint32_t what = events[i].events;
		if (what & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
			session_has_input(session, what & (EPOLLRDHUP | EPOLLHUP));
		if (what & EPOLLOUT)
			session_has_room(session);
	}
}

int watch_init(struct service *service)
{
	int fd = epoll_create1(EPOLL_CLOEXEC);
	if (fd < 0)
		return -errno;
	ev_io_init(&service->edges, on_edges, fd, EV_READ);
	service->edges.data = service;
	ev_io_start(service->loop, &service->edges);
	return 0;
}

void watch_stop(struct service *service)
{
	if (!service->edges.data)
		return;
	ev_io_stop(service->loop, &service->edges);
	close(service->edges.fd);
	service->edges.data = NULL;
}

static int control(struct session *session, int operation, uint32_t events)
{
	struct epoll_event event = { .events = events | EPOLLIN | EPOLLRDHUP | EPOLLET,
		.data.ptr = session };
	int r = epoll_ctl(
		session->service->edges.fd, operation, transport_fd(session->transport), &event);
	return r < 0 ? -errno : 0;
}

int watch_add(struct session *session)
{
	int r = control(session, EPOLL_CTL_ADD, 0);
	session->is_watched = r == 0;
	return r;
}

void watch_output(struct session *session, bool waits)
{
	if (waits == session->waits_for_room || !session->is_watched)
		return;
	if (control(session, EPOLL_CTL_MOD, waits ? EPOLLOUT : 0) == 0)
		session->waits_for_room = waits;
}

void watch_remove(struct session *session)
{
	if (session->is_watched)
		(void)control(session, EPOLL_CTL_DEL, 0);
	session->is_watched = false;
}
