/* Messages on a real socket pair. */
#include "daemon/base/wire.h"

#include "daemon/base/util.h"
#include "tests/unit/count-fds.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <cmocka.h>

struct bench {
	int ends[2], n_fds_before;
	union wire_message sent, got;
	int fds[WIRE_FDS_MAX];
	size_t n_fds;
};

static int set_up(void **state)
{
	struct bench *bench = calloc(1, sizeof(*bench));
	assert_non_null(bench);
	bench->n_fds_before = count_fds();
	assert_int_equal(
		socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, bench->ends),
		0);
	*state = bench;
	return 0;
}

static int tear_down(void **state)
{
	struct bench *bench = *state;
	for (size_t i = 0; i < bench->n_fds; i++)
		close(bench->fds[i]);
	close(bench->ends[0]);
	if (bench->ends[1] >= 0)
		close(bench->ends[1]);
	assert_int_equal(count_fds(), bench->n_fds_before);
	free(bench);
	return 0;
}

/* As a peer would that does not use wire_send(). */
static void send_raw(struct bench *bench, size_t length, unsigned n_fds)
{
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(8 * sizeof(int))];
	} control = { .space = { 0 } };
	struct iovec part = { .iov_base = &bench->sent, .iov_len = length };
	struct msghdr packet = { .msg_iov = &part, .msg_iovlen = 1 };
	int fds[8];

	assert_in_range(n_fds, 0, ARRAY_SIZE(fds));
	if (n_fds > 0) {
		for (unsigned i = 0; i < n_fds; i++)
			fds[i] = bench->ends[1];
		packet.msg_control = control.space;
		packet.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
		control.header.cmsg_level = SOL_SOCKET;
		control.header.cmsg_type = SCM_RIGHTS;
		control.header.cmsg_len = CMSG_LEN(n_fds * sizeof(int));
		memcpy(CMSG_DATA(&control.header), fds, n_fds * sizeof(int));
	}
	assert_int_equal(sendmsg(bench->ends[0], &packet, 0), length);
}

static ssize_t receive(struct bench *bench)
{
	memset(&bench->got, 0xaa, sizeof(bench->got));
	return wire_receive(bench->ends[1], &bench->got, bench->fds, &bench->n_fds, 0);
}

/* What is received of a message of this type that says and has this length. */
static ssize_t attempt(struct bench *bench, uint32_t type, size_t length)
{
	memset(&bench->sent, 0, sizeof(bench->sent));
	bench->sent.header = (struct wire_header){ .type = type, .length = (uint32_t)length };
	send_raw(bench, length, 0);
	return receive(bench);
}

static void test_each_type_has_its_length(void **state)
{
	struct bench *bench = *state;
	const size_t request = sizeof(struct wire_request);

	for (uint32_t type = 0; type <= WIRE_STATE + 1; type++) {
		if (type == WIRE_TYPE_MAX_ + 2)
			type = WIRE_SYNC - 1;
		for (size_t length = 8; length <= sizeof(struct wire_info) + 8; length++) {
			bool fits;
			if (type >= WIRE_START && type <= WIRE_PUNCH)
				fits = length == request ||
				       (type == WIRE_INFO && length == sizeof(struct wire_info));
			else if (type == WIRE_HELLO)
				fits = length == sizeof(struct wire_hello);
			else if (type == WIRE_DONE)
				fits = length == sizeof(struct wire_done);
			else if (type == WIRE_LIST || type == WIRE_MEMBER)
				fits = length == request;
			else if (type == WIRE_ITEMS)
				fits = length >= 8 + sizeof(struct wire_item) &&
				       length % sizeof(struct wire_item) == 8;
			else if (type == WIRE_SYNC || type == WIRE_STATE)
				fits = length == (type == WIRE_SYNC ? 16 : 32);
			else
				fits = type == WIRE_RUNS && length >= 24 && length % 8 == 0;
			if (attempt(bench, type, length) != (fits ? (ssize_t)length : -EBADMSG))
				fail_msg("type %u, length %zu", type, length);
		}
	}
}

static void test_a_whole_message_arrives(void **state)
{
	struct bench *bench = *state;
	const size_t full = offsetof(struct wire_runs, runs) + WIRE_RUNS_MAX * sizeof(frame_run);

	assert_int_equal(full, WIRE_MAX);
	bench->sent.header = (struct wire_header){ .type = WIRE_RUNS, .length = WIRE_MAX };
	for (size_t i = 0; i < WIRE_RUNS_MAX; i++)
		bench->sent.runs.runs[i] = run_make(i * 7, i + 1);
	assert_int_equal(wire_send(bench->ends[0], &bench->sent, NULL, 0, 0), 0);
	assert_int_equal(receive(bench), WIRE_MAX);
	assert_memory_equal(&bench->got, &bench->sent, WIRE_MAX);
	assert_int_equal(bench->n_fds, 0);
}

static void test_length_is_what_the_header_says(void **state)
{
	struct bench *bench = *state;

	bench->sent.header =
		(struct wire_header){ .type = WIRE_HELLO, .length = sizeof(struct wire_hello) + 8 };
	send_raw(bench, sizeof(struct wire_hello), 0);
	assert_int_equal(receive(bench), -EBADMSG);
	for (size_t length = 1; length < sizeof(struct wire_header); length++) {
		send_raw(bench, length, 0);
		assert_int_equal(receive(bench), -EBADMSG);
	}

	/* The kernel cuts what is longer than a message can be. */
	char long_message[WIRE_MAX + 8] = { 0 };
	bench->sent.header = (struct wire_header){ .type = WIRE_RUNS, .length = WIRE_MAX };
	memcpy(long_message, &bench->sent, sizeof(bench->sent));
	assert_int_equal(
		send(bench->ends[0], long_message, sizeof(long_message), 0), sizeof(long_message));
	assert_int_equal(receive(bench), -EBADMSG);
}

static void test_texts_are_terminated(void **state)
{
	struct bench *bench = *state;
	struct wire_request *request = &bench->sent.request;
	struct wire_done *done = &bench->sent.done;

	memset(&bench->sent, 0, sizeof(bench->sent));
	request->header = (struct wire_header){ WIRE_GET_DEVICE, sizeof(*request) };
	memset(request->name, 'x', sizeof(request->name));
	send_raw(bench, sizeof(*request), 0);
	assert_int_equal(receive(bench), -EBADMSG);
	request->name[sizeof(request->name) - 1] = '\0';
	send_raw(bench, sizeof(*request), 0);
	assert_int_equal(receive(bench), sizeof(*request));

	done->header = (struct wire_header){ WIRE_DONE, sizeof(*done) };
	memset(done->text, 'x', sizeof(done->text));
	send_raw(bench, sizeof(*done), 0);
	assert_int_equal(receive(bench), -EBADMSG);
	done->text[sizeof(done->text) - 1] = '\0';
	send_raw(bench, sizeof(*done), 0);
	assert_int_equal(receive(bench), sizeof(*done));
}

static void test_ranges_are_counted(void **state)
{
	struct bench *bench = *state;
	struct wire_info *info = &bench->sent.info;

	info->header = (struct wire_header){ WIRE_INFO, sizeof(*info) };
	info->n_ranges = WIRE_RANGES_MAX + 1;
	send_raw(bench, sizeof(*info), 0);
	assert_int_equal(receive(bench), -EBADMSG);
	info->n_ranges = WIRE_RANGES_MAX;
	send_raw(bench, sizeof(*info), 0);
	assert_int_equal(receive(bench), sizeof(*info));
}

static void test_descriptors(void **state)
{
	struct bench *bench = *state;
	struct wire_request *request = &bench->sent.request;
	int fds[WIRE_FDS_MAX + 1] = { bench->ends[0], bench->ends[1], bench->ends[1] };
	struct stat is, should;

	request->header = (struct wire_header){ WIRE_POPULATE, sizeof(*request) };
	assert_int_equal(wire_send(bench->ends[0], request, fds, WIRE_FDS_MAX + 1, 0), -EINVAL);
	for (size_t n = 0; n <= WIRE_FDS_MAX; n++) {
		assert_int_equal(wire_send(bench->ends[0], request, fds, n, 0), 0);
		assert_int_equal(receive(bench), sizeof(*request));
		assert_int_equal(bench->n_fds, n);
		for (; bench->n_fds > 0; bench->n_fds--) {
			int fd = bench->fds[bench->n_fds - 1];
			assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
			assert_int_equal(fstat(fd, &is), 0);
			assert_int_equal(fstat(fds[bench->n_fds - 1], &should), 0);
			assert_int_equal(is.st_ino, should.st_ino);
			close(fd);
		}
	}

	/* Too many, and some with what is no message: none is left open. */
	int n_before = count_fds();
	for (unsigned n = WIRE_FDS_MAX + 1; n <= 8; n++) {
		send_raw(bench, sizeof(*request), n);
		assert_int_equal(receive(bench), -EBADMSG);
	}
	for (unsigned n = 1; n <= 8; n++) {
		send_raw(bench, sizeof(*request) - 1, n);
		assert_int_equal(receive(bench), -EBADMSG);
	}
	assert_int_equal(count_fds(), n_before);
}

static void test_the_end(void **state)
{
	struct bench *bench = *state;
	struct wire_hello hello = { .header = { WIRE_HELLO, sizeof(hello) } };

	assert_int_equal(receive(bench), -EAGAIN);
	/* What is not read when one end closes makes the other's next call fail with ECONNRESET. */
	assert_int_equal(wire_send(bench->ends[1], &hello, NULL, 0, 0), 0);
	close(bench->ends[0]);
	assert_int_equal(receive(bench), 0);
	assert_int_equal(receive(bench), 0);
	assert_int_equal(wire_send(bench->ends[1], &hello, NULL, 0, 0), -EPIPE);
	bench->ends[0] = steal_fd(&bench->ends[1]);
}

static void test_what_cannot_be_sent(void **state)
{
	struct bench *bench = *state;
	struct wire_hello hello = { .header = { WIRE_HELLO, 0 } };
	int r;

	assert_int_equal(wire_send(bench->ends[0], &hello, NULL, 0, 0), -EINVAL);
	hello.header.length = WIRE_MAX + 1;
	assert_int_equal(wire_send(bench->ends[0], &hello, NULL, 0, 0), -EINVAL);

	hello.header.length = sizeof(hello);
	do
		r = wire_send(bench->ends[0], &hello, NULL, 0, MSG_DONTWAIT);
	while (r == 0);
	assert_int_equal(r, -EAGAIN);
}

static void test_runs(void **state)
{
	(void)state;
	frame_run one = run_make(0, 1);
	frame_run longest = run_make((UINT64_C(1) << 44) - RUN_FRAMES_MAX, RUN_FRAMES_MAX);

	assert_int_equal(run_first(one), 0);
	assert_int_equal(run_length(one), 1);
	assert_int_equal(run_first(longest), (UINT64_C(1) << 44) - RUN_FRAMES_MAX);
	assert_int_equal(run_length(longest), RUN_FRAMES_MAX);
}

#define bench_test(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
int main(void)
{
	const struct CMUnitTest tests[] = {
		bench_test(test_each_type_has_its_length),
		bench_test(test_a_whole_message_arrives),
		bench_test(test_length_is_what_the_header_says),
		bench_test(test_texts_are_terminated),
		bench_test(test_ranges_are_counted),
		bench_test(test_descriptors),
		bench_test(test_the_end),
		bench_test(test_what_cannot_be_sent),
		cmocka_unit_test(test_runs),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
