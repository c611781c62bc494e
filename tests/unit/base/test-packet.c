/* Packets with a descriptor, which comes or is closed. */
#include "daemon/base/packet.h"

#include "tests/unit/count-fds.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static int ends[2], n_fds_before;

static int set_up(void **state)
{
	(void)state;
	n_fds_before = count_fds();
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	close(ends[0]);
	if (ends[1] >= 0)
		close(ends[1]);
	assert_int_equal(count_fds(), n_fds_before);
	return 0;
}

static void test_comes(void **state)
{
	char got[4] = "";
	int fd = 99;

	(void)state;
	assert_int_equal(packet_receive(ends[0], got, sizeof(got), &fd, MSG_DONTWAIT), -EAGAIN);
	assert_int_equal(fd, -1);
	assert_int_equal(packet_send(ends[1], "one", 4, -1, 0), 0);
	assert_int_equal(packet_send(ends[1], "2", 2, ends[1], 0), 0);
	assert_int_equal(packet_receive(ends[0], got, sizeof(got), &fd, 0), 4);
	assert_string_equal(got, "one");
	assert_int_equal(fd, -1);
	assert_int_equal(packet_receive(ends[0], got, sizeof(got), &fd, 0), 2);
	assert_string_equal(got, "2");
	assert_true(fd >= 0);
	close(fd);
	close(ends[1]);
	ends[1] = -1;
	assert_int_equal(packet_receive(ends[0], got, sizeof(got), &fd, 0), 0);
	assert_int_equal(packet_send(ends[0], "one", 4, ends[0], 0), -EPIPE);
}

static void test_too_long(void **state)
{
	char got[4];
	int fd;

	(void)state;
	assert_int_equal(packet_send(ends[1], "four", 5, ends[1], 0), 0);
	assert_int_equal(packet_receive(ends[0], got, sizeof(got), &fd, 0), -EMSGSIZE);
	assert_int_equal(fd, -1);
}

static void test_too_many(void **state)
{
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(2 * sizeof(int))];
	} control = { .space = { 0 } };
	char got[4] = "";
	struct iovec part = { .iov_base = got, .iov_len = 1 };
	struct msghdr packet = {
		.msg_iov = &part,
		.msg_iovlen = 1,
		.msg_control = control.space,
		.msg_controllen = sizeof(control.space),
	};
	int fd;

	(void)state;
	control.header.cmsg_level = SOL_SOCKET;
	control.header.cmsg_type = SCM_RIGHTS;
	control.header.cmsg_len = CMSG_LEN(sizeof(ends));
	memcpy(CMSG_DATA(&control.header), ends, sizeof(ends));
	assert_int_equal(sendmsg(ends[1], &packet, 0), 1);
	assert_int_equal(packet_receive(ends[0], got, sizeof(got), &fd, 0), -EMFILE);
	assert_int_equal(fd, -1);
}

static void test_no_room(void **state)
{
	struct rlimit before, none;
	char got[4];
	int fd;

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	none = (struct rlimit){ .rlim_cur = 0, .rlim_max = before.rlim_max };
	assert_int_equal(packet_send(ends[1], "one", 4, ends[1], 0), 0);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	ssize_t n = packet_receive(ends[0], got, sizeof(got), &fd, 0);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	assert_int_equal(n, -EMFILE);
	assert_int_equal(fd, -1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(test_comes),
		TEST(test_too_long),
		TEST(test_too_many),
		TEST(test_no_room),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
