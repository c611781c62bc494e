/* What is buried is closed soon, and not by us at last. */
#include "daemon/base/child.h"

#include "daemon/base/util.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/fanotify.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include <cmocka.h>

#define PATIENCE_MS 20000

static void assert_closed(int fd)
{
	errno = 0;
	assert_int_equal(fcntl(fd, F_GETFD), -1);
	assert_int_equal(errno, EBADF);
}

/* The pipe ends when its last writer has gone. */
static void assert_ends(int pipe)
{
	struct pollfd end = { .fd = pipe, .events = POLLIN };
	char byte;

	assert_int_equal(poll(&end, 1, PATIENCE_MS), 1);
	assert_int_equal(read(pipe, &byte, 1), 0);
	close(pipe);
}

static void reap_all(void)
{
	while (waitpid(-1, NULL, 0) > 0)
		;
}

static void one_and_none(void **state)
{
	(void)state;
	int ends[2];

	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	fd_bury(ends[1]);
	assert_closed(ends[1]);
	assert_ends(ends[0]);
	fd_bury(-1);
	fds_bury(NULL, 0);
	reap_all();
}

static void more_than_a_message_takes(void **state)
{
	(void)state;
	int ends[2], fds[600];

	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	fds[0] = ends[1];
	for (size_t i = 1; i < ARRAY_SIZE(fds); i++)
		fds[i] = i % 7 == 0 ? -1 : fcntl(ends[1], F_DUPFD_CLOEXEC, 3);
	fds_bury(fds, ARRAY_SIZE(fds));
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		if (fds[i] >= 0)
			assert_closed(fds[i]);
	assert_ends(ends[0]);
	reap_all();
}

/* The kernel tells who makes the last close (fs/file_table.c, __fput → fsnotify_close). */
static void the_last_close_is_not_ours(void **state)
{
	(void)state;
	char path[] = "/dev/shm/vfiod-bury-XXXXXX";
	struct fanotify_event_metadata event;
	int watch = fanotify_init(FAN_CLASS_NOTIF | FAN_CLOEXEC, O_RDONLY | O_CLOEXEC);
	if (watch < 0)
		skip(); /* for who is not root */
	int fd = mkostemp(path, O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(fanotify_mark(watch, FAN_MARK_ADD, FAN_CLOSE, AT_FDCWD, path), 0);
	assert_int_equal(unlink(path), 0);
	fd_bury(fd);
	struct pollfd told = { .fd = watch, .events = POLLIN };
	assert_int_equal(poll(&told, 1, PATIENCE_MS), 1);
	assert_int_equal(read(watch, &event, sizeof(event)), (int)sizeof(event));
	assert_int_not_equal(event.pid, getpid());
	assert_true(waitpid(event.pid, NULL, 0) == event.pid);
	if (event.fd >= 0)
		close(event.fd);
	close(watch);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_and_none),
		cmocka_unit_test(more_than_a_message_takes),
		cmocka_unit_test(the_last_close_is_not_ours),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
