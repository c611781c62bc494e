/* A fake systemd on the same loop; this process is one vfiod after another. */
#include "fake-systemd.h"

#include "daemon/base/util.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cmocka.h>

#define PATIENCE_SECONDS 20

struct bench {
	struct ev_loop *loop;
	struct fake_systemd systemd;
	struct store *store;
	int listen_fd;
	unsigned n_told, n_kept;
	struct bench *forgets; /* whom the next who is told makes forgotten */
};

static void store_start(struct bench *bench, size_t max)
{
	assert_int_equal(store_new(bench->loop, max, &bench->listen_fd, &bench->store), 0);
}

static int setup(void **state)
{
	struct bench *bench = calloc(1, sizeof(*bench));

	close_everything();
	/* Its own descriptors are not where systemd's come. */
	int reserved[32];
	for (size_t i = 0; i < ARRAY_SIZE(reserved); i++)
		reserved[i] = open("/dev/null", O_RDONLY | O_CLOEXEC);
	bench->loop = ev_loop_new(EVFLAG_AUTO);
	fake_systemd_start(&bench->systemd, bench->loop);
	for (size_t i = 0; i < ARRAY_SIZE(reserved); i++)
		close(reserved[i]);
	*state = bench;
	return 0;
}

static int teardown(void **state)
{
	struct bench *bench = *state;
	bench->store = store_free(bench->store);
	fake_systemd_stop(&bench->systemd);
	ev_loop_destroy(bench->loop);
	free(bench);
	return 0;
}

static void on_kept(bool is_kept, void *userdata)
{
	struct bench *bench = userdata;
	bench->n_told++;
	bench->n_kept += is_kept;
	if (bench->forgets)
		store_forget(bench->store, bench->forgets);
}

static void give_up(struct ev_loop *loop, ev_timer *timer, int revents)
{
	(void)loop;
	(void)timer;
	(void)revents;
	fail_msg("nothing comes");
}

/* Until so many have been told. */
static void run_until_told(struct bench *bench, unsigned n)
{
	ev_timer patience;

	ev_timer_init(&patience, give_up, PATIENCE_SECONDS, 0);
	ev_timer_start(bench->loop, &patience);
	while (bench->n_told < n)
		ev_run(bench->loop, EVRUN_ONCE);
	ev_timer_stop(bench->loop, &patience);
}

static void wait_kept(struct bench *bench)
{
	bench->n_told = bench->n_kept = 0;
	assert_int_equal(store_when_kept(bench->store, on_kept, bench), 0);
	assert_int_equal(bench->n_told, 0);
	run_until_told(bench, 1);
	assert_int_equal(bench->n_kept, 1);
}

/* This vfiod is killed, and the next one starts. */
static void restart(struct bench *bench, size_t max, int listening)
{
	wait_kept(bench);
	/* What a killed one leaves: nothing of it is told. */
	fake_systemd_be_busy(&bench->systemd, true);
	bench->store = store_free(bench->store);
	fake_systemd_hand_over(&bench->systemd, listening);
	fake_systemd_be_busy(&bench->systemd, false);
	store_start(bench, max);
	assert_null(getenv("LISTEN_FDS"));
	assert_null(getenv("LISTEN_FDNAMES"));
}

static bool is_same_file(int a, int b)
{
	struct stat sa, sb;
	return fstat(a, &sa) == 0 && fstat(b, &sb) == 0 && sa.st_dev == sb.st_dev &&
	       sa.st_ino == sb.st_ino;
}

static int listening_socket(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int made = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int fd = fcntl(made, F_DUPFD_CLOEXEC, 60);

	close(made);
	/* Autobind: an abstract name of the kernel's own (unix(7)). */
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(sa_family_t)), 0);
	assert_int_equal(listen(fd, 1), 0);
	return fd;
}

static void nothing_without_systemd(void **state)
{
	struct bench *bench = *state;

	unsetenv("NOTIFY_SOCKET");
	store_start(bench, 8);
	assert_int_equal(bench->listen_fd, -1);
	assert_false(store_is_there(bench->store));
	assert_int_equal(store_room(bench->store), 0);
	assert_int_equal(store_put(bench->store, "c1", 0), -EOPNOTSUPP);
	assert_int_equal(store_take(bench->store, "c1"), -1);
	store_remove(bench->store, "c1");
	assert_int_equal(store_when_kept(bench->store, on_kept, bench), 0);
	assert_int_equal(bench->n_kept, 1);
	store_forget(bench->store, bench);
}

static void no_room_is_no_store(void **state)
{
	struct bench *bench = *state;

	store_start(bench, 0);
	assert_false(store_is_there(bench->store));
	assert_int_equal(store_put(bench->store, "c1", 0), -EOPNOTSUPP);
}

static void what_is_put_comes_back(void **state)
{
	struct bench *bench = *state;
	int pair[2], listening = listening_socket();

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	store_start(bench, 8);
	assert_true(store_is_there(bench->store));
	assert_int_equal(store_room(bench->store), 8);
	assert_int_equal(store_put(bench->store, "c0", pair[0]), 0);
	assert_int_equal(store_put(bench->store, "tc", pair[1]), 0);
	assert_int_equal(store_put(bench->store, "c0", pair[1]), -EEXIST);
	assert_int_equal(store_room(bench->store), 6);
	wait_kept(bench);
	assert_true(is_same_file(fake_systemd_has(&bench->systemd, "c0"), pair[0]));
	/* It is a copy. */
	assert_true(fcntl(pair[0], F_GETFD) >= 0);
	int original = fcntl(pair[0], F_DUPFD_CLOEXEC, 60);
	close(pair[0]);
	close(pair[1]);

	restart(bench, 8, listening);
	assert_true(is_same_file(bench->listen_fd, listening));
	close(bench->listen_fd);
	close(listening);
	assert_int_equal(store_room(bench->store), 6);
	int fd = store_take(bench->store, "c0");
	assert_true(is_same_file(fd, original));
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	assert_int_equal(store_take(bench->store, "c0"), -1);
	assert_int_equal(store_take(bench->store, "c1"), -1);
	/* Taken, it is in the store still. */
	assert_int_equal(store_room(bench->store), 6);
	wait_kept(bench);
	assert_true(fake_systemd_has(&bench->systemd, "c0") >= 0);
	store_remove(bench->store, "c0");
	store_remove(bench->store, "c0");
	wait_kept(bench);
	assert_int_equal(fake_systemd_has(&bench->systemd, "c0"), -1);
	assert_int_equal(store_room(bench->store), 7);
	close(fd);
	close(original);
	/* Nobody has taken the other. */
	bench->store = store_free(bench->store);
	ev_run(bench->loop, EVRUN_NOWAIT);
	assert_int_equal(bench->systemd.n_kept, 0);
}

static void what_nobody_takes_is_removed(void **state)
{
	struct bench *bench = *state;

	store_start(bench, 4);
	assert_int_equal(store_put(bench->store, "l1", 0), 0);
	assert_int_equal(store_put(bench->store, "l2", 1), 0);
	restart(bench, 4, -1);
	int fd = store_take(bench->store, "l2");
	assert_true(fd >= 0);
	store_settle(bench->store);
	wait_kept(bench);
	assert_int_equal(fake_systemd_has(&bench->systemd, "l1"), -1);
	assert_true(fake_systemd_has(&bench->systemd, "l2") >= 0);
	assert_int_equal(store_room(bench->store), 3);
	close(fd);
}

static void it_is_never_fuller_than_full(void **state)
{
	struct bench *bench = *state;

	store_start(bench, 2);
	assert_int_equal(store_put(bench->store, "c0", 0), 0);
	assert_int_equal(store_put(bench->store, "c1", 0), 0);
	assert_int_equal(store_put(bench->store, "c2", 0), -ENOSPC);
	assert_int_equal(store_room(bench->store), 0);
	store_remove(bench->store, "c0");
	assert_int_equal(store_put(bench->store, "c2", 0), 0);
	assert_int_equal(store_put(bench->store, "c0", 0), -ENOSPC);
	/* The next vfiod may be allowed less. */
	restart(bench, 1, -1);
	assert_int_equal(store_room(bench->store), 0);
	assert_int_equal(store_put(bench->store, "c3", 0), -ENOSPC);
}

static void it_is_no_larger_than_what_may_be_open(void **state)
{
	struct bench *bench = *state;
	struct rlimit before, limit;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	limit = before;
	limit.rlim_cur = 228;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	store_start(bench, 5000);
	assert_int_equal(store_room(bench->store), 100);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
}

static void its_names_fit_into_the_environment(void **state)
{
	struct bench *bench = *state;
	struct rlimit before, limit;
	char name[STORE_NAME_SIZE];
	size_t n = 0;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	limit = before;
	limit.rlim_cur = limit.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	bench->systemd.is_forgetful = true;
	store_start(bench, 20000);
	if (store_room(bench->store) < 10000)
		skip();
	int r = 0;
	while (r == 0) {
		/* 15 characters, as long as they may be. */
		snprintf(name, sizeof(name), "c1%013zu", n);
		r = store_put(bench->store, name, 0);
		n += r == 0;
		ev_run(bench->loop, EVRUN_NOWAIT);
	}
	assert_int_equal(r, -ENOSPC);
	assert_in_range(n, 8000, (128 << 10) / 16 - 1);
	assert_int_equal(store_room(bench->store), 0);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
}

static void who_is_busy_is_not_waited_for(void **state)
{
	struct bench *bench = *state;
	char name[STORE_NAME_SIZE];

	fake_systemd_be_busy(&bench->systemd, true);
	store_start(bench, KEPT_MAX);
	/* More than its queue takes (net.unix.max_dgram_qlen). */
	for (int i = 0; i < KEPT_MAX; i++) {
		snprintf(name, sizeof(name), "c%d", i);
		int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
		assert_int_equal(store_put(bench->store, name, fd), 0);
		close(fd);
	}
	for (int i = 0; i < KEPT_MAX; i += 2) {
		snprintf(name, sizeof(name), "c%d", i);
		store_remove(bench->store, name);
	}
	bench->n_told = 0;
	assert_int_equal(store_when_kept(bench->store, on_kept, bench), 0);
	ev_run(bench->loop, EVRUN_NOWAIT);
	assert_int_equal(bench->n_told, 0);
	fake_systemd_be_busy(&bench->systemd, false);
	run_until_told(bench, 1);
	assert_int_equal(bench->n_kept, 1);
	assert_int_equal(bench->systemd.n_kept, KEPT_MAX / 2);
	for (int i = 1; i < KEPT_MAX; i += 2) {
		snprintf(name, sizeof(name), "c%d", i);
		assert_true(fake_systemd_has(&bench->systemd, name) >= 0);
	}
}

static void last_words_are_said(void **state)
{
	struct bench *bench = *state;

	store_start(bench, 4);
	for (int i = 0; i < 3; i++)
		assert_int_equal(
			store_put(bench->store, (const char *[]){ "l1", "l2", "l3" }[i], i), 0);
	bench->store = store_free(bench->store);
	ev_run(bench->loop, EVRUN_NOWAIT);
	assert_int_equal(bench->systemd.n_kept, 3);
}

static void many_share_a_barrier(void **state)
{
	struct bench *bench = *state;

	store_start(bench, 4);
	for (int i = 0; i < 100; i++)
		assert_int_equal(store_when_kept(bench->store, on_kept, bench), 0);
	run_until_told(bench, 100);
	assert_int_equal(bench->n_kept, 100);
	/* The first asked for one, and the others for the next. */
	assert_int_equal(bench->systemd.n_barriers, 2);
}

static void who_is_no_more_is_not_told(void **state)
{
	struct bench *bench = *state;
	struct bench others[3] = { 0 };

	store_start(bench, 4);
	/* One on its way, one for the next, and one that is made forgotten by who is told before
	 * it.
	 */
	assert_int_equal(store_when_kept(bench->store, on_kept, &others[0]), 0);
	assert_int_equal(store_when_kept(bench->store, on_kept, &others[1]), 0);
	assert_int_equal(store_when_kept(bench->store, on_kept, bench), 0);
	assert_int_equal(store_when_kept(bench->store, on_kept, &others[2]), 0);
	bench->forgets = &others[2];
	store_forget(bench->store, &others[0]);
	store_forget(bench->store, &others[1]);
	run_until_told(bench, 1);
	bench->forgets = NULL;
	wait_kept(bench);
	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		assert_int_equal(others[i].n_told, 0);
}

static void note(const char *name, unsigned number, void *userdata)
{
	struct bench *bench = userdata;
	char expected[STORE_NAME_SIZE];

	snprintf(expected, sizeof(expected), "l%u", number);
	assert_string_equal(name, expected);
	bench->n_told += number;
	/* The visitor may: */
	close(store_take(bench->store, name));
	store_remove(bench->store, name);
}

static void all_of_a_kind(void **state)
{
	struct bench *bench = *state;

	store_start(bench, 8);
	assert_int_equal(store_put(bench->store, "l1", 0), 0);
	assert_int_equal(store_put(bench->store, "l20", 0), 0);
	assert_int_equal(store_put(bench->store, "l300", 0), 0);
	assert_int_equal(store_put(bench->store, "c7", 0), 0);
	assert_int_equal(store_put(bench->store, "tl", 0), 0);
	/* Nothing was handed over. */
	store_each(bench->store, 'l', note, bench);
	assert_int_equal(bench->n_told, 0);
	restart(bench, 8, -1);
	int taken = store_take(bench->store, "l20");
	bench->n_told = 0;
	store_each(bench->store, 'l', note, bench);
	assert_int_equal(bench->n_told, 301);
	close(taken);
	assert_int_equal(store_room(bench->store), 5);
}

static void only_listening_sockets_are_let_in(void **state)
{
	struct bench *bench = *state;
	char pid[16];

	snprintf(pid, sizeof(pid), "%d", (int)getpid());
	assert_int_equal(open("/dev/null", O_RDONLY | O_CLOEXEC), 3);
	setenv("LISTEN_PID", pid, 1);
	setenv("LISTEN_FDS", "1", 1);
	setenv("LISTEN_FDNAMES", "varlink", 1);
	assert_int_equal(store_new(bench->loop, 8, &bench->listen_fd, &bench->store), -EINVAL);
	assert_null(bench->store);
	close(3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(nothing_without_systemd, setup, teardown),
		cmocka_unit_test_setup_teardown(no_room_is_no_store, setup, teardown),
		cmocka_unit_test_setup_teardown(what_is_put_comes_back, setup, teardown),
		cmocka_unit_test_setup_teardown(what_nobody_takes_is_removed, setup, teardown),
		cmocka_unit_test_setup_teardown(it_is_never_fuller_than_full, setup, teardown),
		cmocka_unit_test_setup_teardown(
			it_is_no_larger_than_what_may_be_open, setup, teardown),
		cmocka_unit_test_setup_teardown(
			its_names_fit_into_the_environment, setup, teardown),
		cmocka_unit_test_setup_teardown(who_is_busy_is_not_waited_for, setup, teardown),
		cmocka_unit_test_setup_teardown(last_words_are_said, setup, teardown),
		cmocka_unit_test_setup_teardown(many_share_a_barrier, setup, teardown),
		cmocka_unit_test_setup_teardown(who_is_no_more_is_not_told, setup, teardown),
		cmocka_unit_test_setup_teardown(all_of_a_kind, setup, teardown),
		cmocka_unit_test_setup_teardown(only_listening_sockets_are_let_in, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
