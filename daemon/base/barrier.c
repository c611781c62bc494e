/* The end of a pipe, there and back. */
#include "daemon/base/barrier.h"

#include "daemon/base/log.h"
#include "daemon/base/util.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/queue.h>

/* Longer than a `systemctl daemon-reload` on a busy host, during which nothing is handled. */
static const double BARRIER_SECONDS = 5;

struct waiter {
	TAILQ_ENTRY(waiter) link;
	store_kept kept;
	void *userdata;
};
TAILQ_HEAD(waiter_list, waiter);

struct barrier {
	struct ev_loop *loop;
	struct notify *notify;
	int pipe; /* -1: none is on its way */
	ev_io closed;
	ev_timer deadline;
	struct waiter_list waiting; /* for the next */
	struct waiter_list asked;   /* for that on its way */
	struct waiter_list ending;  /* being told */
};

static void waiters_clear(struct waiter_list *list)
{
	struct waiter *waiter;
	while ((waiter = TAILQ_FIRST(list))) {
		TAILQ_REMOVE(list, waiter, link);
		free(waiter);
	}
}

static int send_pipe(struct barrier *barrier)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	int r = notify_send(barrier->notify, "BARRIER=1", ends[1]);
	close(ends[1]);
	if (r < 0) {
		close(ends[0]);
		return r;
	}
	barrier->pipe = ends[0];
	return 0;
}

/* For all who wait. 0 or -errno, and then they wait still. */
static int barrier_begin(struct barrier *barrier)
{
	int r = send_pipe(barrier);
	if (r < 0)
		return r;
	TAILQ_CONCAT(&barrier->asked, &barrier->waiting, link);
	ev_io_set(&barrier->closed, barrier->pipe, EV_READ);
	ev_io_start(barrier->loop, &barrier->closed);
	ev_now_update(barrier->loop);
	ev_timer_set(&barrier->deadline, BARRIER_SECONDS, 0);
	ev_timer_start(barrier->loop, &barrier->deadline);
	return 0;
}

/* Who is told may ask anew, and may make others be forgotten. */
static void tell_ending(struct barrier *barrier, bool is_kept)
{
	struct waiter *waiter;
	while ((waiter = TAILQ_FIRST(&barrier->ending))) {
		struct waiter told = *waiter;
		TAILQ_REMOVE(&barrier->ending, waiter, link);
		free(waiter);
		told.kept(is_kept, told.userdata);
	}
}

static void barrier_end(struct barrier *barrier, bool is_kept)
{
	ev_io_stop(barrier->loop, &barrier->closed);
	ev_timer_stop(barrier->loop, &barrier->deadline);
	close(steal_fd(&barrier->pipe));
	TAILQ_CONCAT(&barrier->ending, &barrier->asked, link);
	/* Those who came meanwhile do not wait for what these do now. */
	bool has_failed = !TAILQ_EMPTY(&barrier->waiting) && barrier_begin(barrier) < 0;
	tell_ending(barrier, is_kept);
	if (has_failed) {
		TAILQ_CONCAT(&barrier->ending, &barrier->waiting, link);
		tell_ending(barrier, false);
	}
}

static void on_closed(struct ev_loop *loop, ev_io *io, int revents)
{
	(void)loop;
	(void)revents;
	barrier_end(io->data, true);
}

static void on_deadline(struct ev_loop *loop, ev_timer *timer, int revents)
{
	(void)loop;
	(void)revents;
	log_warning(
		"systemd does not answer: what it was to keep may be lost if vfiod is restarted "
		"now");
	barrier_end(timer->data, false);
}

int barrier_wait(struct barrier *barrier, store_kept kept, void *userdata)
{
	struct waiter *waiter = calloc(1, sizeof(*waiter));

	if (!waiter)
		return -ENOMEM;
	waiter->kept = kept;
	waiter->userdata = userdata;
	TAILQ_INSERT_TAIL(&barrier->waiting, waiter, link);
	if (barrier->pipe >= 0)
		return 0;
	int r = barrier_begin(barrier);
	if (r < 0) {
		TAILQ_REMOVE(&barrier->waiting, waiter, link);
		free(waiter);
	}
	return r;
}

static void forget_in(struct waiter_list *list, const void *userdata)
{
	struct waiter *waiter = TAILQ_FIRST(list), *next;

	for (; waiter; waiter = next) {
		next = TAILQ_NEXT(waiter, link);
		if (waiter->userdata != userdata)
			continue;
		TAILQ_REMOVE(list, waiter, link);
		free(waiter);
	}
}

void barrier_forget(struct barrier *barrier, void *userdata)
{
	forget_in(&barrier->waiting, userdata);
	forget_in(&barrier->asked, userdata);
	forget_in(&barrier->ending, userdata);
}

int barrier_new(struct ev_loop *loop, struct notify *notify, struct barrier **barrierp)
{
	struct barrier *barrier = calloc(1, sizeof(*barrier));

	*barrierp = barrier;
	if (!barrier)
		return -ENOMEM;
	barrier->loop = loop;
	barrier->notify = notify;
	barrier->pipe = -1;
	ev_init(&barrier->closed, on_closed);
	ev_init(&barrier->deadline, on_deadline);
	barrier->closed.data = barrier->deadline.data = barrier;
	TAILQ_INIT(&barrier->waiting);
	TAILQ_INIT(&barrier->asked);
	TAILQ_INIT(&barrier->ending);
	return 0;
}

struct barrier *barrier_free(struct barrier *barrier)
{
	if (!barrier)
		return NULL;
	ev_io_stop(barrier->loop, &barrier->closed);
	ev_timer_stop(barrier->loop, &barrier->deadline);
	if (barrier->pipe >= 0)
		close(barrier->pipe);
	waiters_clear(&barrier->waiting);
	waiters_clear(&barrier->asked);
	waiters_clear(&barrier->ending);
	free(barrier);
	return NULL;
}
