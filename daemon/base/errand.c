#include "daemon/base/errand.h"

#include "daemon/base/child.h"
#include "daemon/base/util.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/pidfd.h>

struct errand {
	struct ev_loop *loop;
	errand_done done;
	void *userdata;
	int pidfd;
	int pipe;
	ev_io readable; /* of the pipe: its end is the child's */
	ev_timer deadline;
	char *answer; /* the result comes behind it, in the last bytes */
	size_t length, size;
};

/* The result goes last: what ends before it was not complete. */
static int write_all(const char *data, size_t length)
{
	while (length > 0) {
		ssize_t n = write(CHILD_FD, data, length);
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0) {
			data += n;
			length -= (size_t)n;
		}
	}
	return 0;
}

_Noreturn static void child_run(const char *name, errand_work work, void *userdata, int pipe)
{
	char *answer = NULL;
	size_t length = 0;
	FILE *stream;

	if (child_isolate(name, pipe) < 0 || !(stream = open_memstream(&answer, &length)))
		_exit(1);
	int32_t result = work(stream, userdata);
	if (fclose(stream) != 0)
		result = -ENOMEM;
	if (write_all(answer, length) == 0)
		write_all((const char *)&result, sizeof(result));
	/* The memory is the daemon's, copied: nothing of it is freed. */
	_exit(0);
}

static void finish(struct errand *errand, int result)
{
	ev_io_stop(errand->loop, &errand->readable);
	ev_timer_stop(errand->loop, &errand->deadline);
	if (errand->answer)
		errand->answer[errand->length] = '\0';
	errand->done(errand, result, errand->answer ? errand->answer : "", errand->length,
		errand->userdata);
}

/* Of an answer that fits, its result, a byte more that the end is read into, and the terminator. */
#define SIZE_LIMIT (ERRAND_ANSWER_MAX + sizeof(int32_t) + 2)

/* For at least a byte and the terminator. 0 or -errno. */
static int make_room(struct errand *errand)
{
	if (errand->length + 1 < errand->size)
		return 0;
	if (errand->size == SIZE_LIMIT)
		return -EFBIG;
	size_t size = errand->size > 0 ? errand->size * 2 : 4096;
	if (size > SIZE_LIMIT)
		size = SIZE_LIMIT;
	char *grown = realloc(errand->answer, size);
	if (!grown)
		return -ENOMEM;
	errand->answer = grown;
	errand->size = size;
	return 0;
}

static int ended_with(struct errand *errand)
{
	int32_t result;

	if (errand->length < sizeof(result))
		return -ECHILD;
	errand->length -= sizeof(result);
	memcpy(&result, errand->answer + errand->length, sizeof(result));
	return result;
}

static void on_readable(struct ev_loop *loop, ev_io *watcher, int revents)
{
	(void)loop;
	(void)revents;
	struct errand *errand = watcher->data;

	int r = make_room(errand);
	if (r < 0) {
		finish(errand, r);
		return;
	}
	ssize_t n = read(
		errand->pipe, errand->answer + errand->length, errand->size - errand->length - 1);
	if (n > 0)
		errand->length += (size_t)n;
	else if (n == 0)
		finish(errand, ended_with(errand));
	else if (errno != EAGAIN && errno != EINTR)
		finish(errand, -errno);
}

static void on_deadline(struct ev_loop *loop, ev_timer *timer, int revents)
{
	(void)loop;
	(void)revents;
	finish(timer->data, -ETIMEDOUT);
}

int errand_new(struct ev_loop *loop, const char *name, errand_work work, void *work_userdata,
	double deadline_seconds, errand_done done, void *userdata, struct errand **errand)
{
	int ends[2];

	*errand = NULL;
	struct errand *made = calloc(1, sizeof(*made));
	if (!made)
		return -ENOMEM;
	*made = (struct errand){
		.loop = loop,
		.done = done,
		.userdata = userdata,
		.pidfd = -1,
		.pipe = -1,
	};
	ev_init(&made->readable, on_readable);
	ev_init(&made->deadline, on_deadline);
	made->readable.data = made->deadline.data = made;

	if (pipe2(ends, O_CLOEXEC) < 0) {
		int r = -errno;
		errand_free(made);
		return r;
	}
	made->pipe = ends[0];
	fcntl(ends[0], F_SETFL, O_NONBLOCK);
	pid_t pid = child_fork();
	if (pid == 0)
		child_run(name, work, work_userdata, ends[1]);
	close(ends[1]);
	/* Not reaped before we are back in the loop: the pid is still this child's. */
	int r = pid < 0 ? pid : 0;
	if (pid > 0) {
		made->pidfd = pidfd_open(pid, 0);
		r = made->pidfd < 0 ? -errno : 0;
		if (r < 0)
			kill(pid, SIGKILL);
	}
	if (r < 0) {
		errand_free(made);
		return r;
	}
	ev_io_set(&made->readable, made->pipe, EV_READ);
	ev_io_start(loop, &made->readable);
	ev_now_update(loop);
	ev_timer_set(&made->deadline, deadline_seconds, 0);
	ev_timer_start(loop, &made->deadline);
	*errand = made;
	return 0;
}

struct errand *errand_free(struct errand *errand)
{
	if (!errand)
		return NULL;
	ev_io_stop(errand->loop, &errand->readable);
	ev_timer_stop(errand->loop, &errand->deadline);
	if (errand->pidfd >= 0) {
		/* Does nothing to one that has ended. */
		pidfd_send_signal(errand->pidfd, SIGKILL, NULL, 0);
		close(errand->pidfd);
	}
	if (errand->pipe >= 0)
		close(errand->pipe);
	free(errand->answer);
	free(errand);
	return NULL;
}
