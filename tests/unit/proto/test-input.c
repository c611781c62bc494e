/*
 * Input that leaves descriptors in the socket: with a TCP socket that lingers in it, a reader that
 * dropped the last reference would not come back for an hour.
 */
#include "proto/input.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

struct fixture {
	int socket, peer;
	struct input input;
};

static int setup(void **state)
{
	static struct fixture fixture;
	static const int yes = 1;
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	fixture = (struct fixture){ .socket = pair[0], .peer = pair[1] };
	assert_int_equal(
		setsockopt(fixture.socket, SOL_SOCKET, SO_OOBINLINE, &yes, sizeof(yes)), 0);
	*state = &fixture;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *fixture = *state;

	input_clear(&fixture->input);
	close(fixture->socket);
	close(fixture->peer);
	return 0;
}

/* The reading end of a pipe goes along; its writing end tells when the last reference has gone. */
static int send_pipe(const struct fixture *fixture, const char *bytes, size_t n, int flags)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = { .header = { .cmsg_level = SOL_SOCKET,
			      .cmsg_type = SCM_RIGHTS,
			      .cmsg_len = CMSG_LEN(sizeof(int)) } };
	struct iovec vector = { .iov_base = (char *)bytes, .iov_len = n };
	struct msghdr header = {
		.msg_iov = &vector,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	int ends[2];

	assert_int_equal(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
	memcpy(CMSG_DATA(&control.header), &ends[0], sizeof(int));
	assert_int_equal(sendmsg(fixture->peer, &header, flags), n);
	close(ends[0]);
	return ends[1];
}

static void send_text(const struct fixture *fixture, const char *bytes, size_t n)
{
	assert_int_equal(send(fixture->peer, bytes, n, 0), n);
}

static void assert_open_and_close(int pipe, bool is_open)
{
	assert_int_equal(write(pipe, "x", 1), is_open ? 1 : -1);
	close(pipe);
}

static int receive(struct fixture *fixture)
{
	return input_receive_plain(&fixture->input, fixture->socket, 100);
}

static void test_without_descriptors(void **state)
{
	struct fixture *fixture = *state;

	assert_int_equal(receive(fixture), 0);
	send_text(fixture, "{}\0{", 4);
	assert_int_equal(receive(fixture), 1);
	assert_true(input_is_whole(&fixture->input));
	assert_string_equal(fixture->input.bytes, "{}");
	input_clear(&fixture->input);
	assert_int_equal(receive(fixture), 1);
	assert_false(input_is_whole(&fixture->input));
	assert_int_equal(fixture->input.length, 1);
	close(fixture->peer);
	fixture->peer = -1;
	assert_int_equal(receive(fixture), -ECONNRESET);
}

static int look(const struct fixture *fixture, size_t size, struct sight *sight)
{
	char bytes[64];

	memset(bytes, 'x', sizeof(bytes));
	return input_look(fixture->socket, bytes, size, sight);
}

/* Seen, and not taken; whatever is behind it. */
static void test_look(void **state)
{
	struct fixture *fixture = *state;
	struct sight sight;

	assert_int_equal(look(fixture, 64, &sight), 0);
	send_text(fixture, "{", 1);
	assert_int_equal(look(fixture, 64, &sight), 1);
	assert_int_equal(sight.length, 1);
	assert_int_equal(sight.message_length, 0);
	send_text(fixture, "}", 2);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(look(fixture, 64, &sight), 1);
		assert_int_equal(sight.message_length, 3);
		assert_false(sight.has_more || sight.has_fds);
	}
	/* As large as what was looked at: there may be more. */
	assert_int_equal(look(fixture, 3, &sight), 1);
	assert_true(sight.has_more);
	send_text(fixture, "{", 1);
	assert_int_equal(look(fixture, 64, &sight), 1);
	assert_int_equal(sight.message_length, 3);
	assert_true(sight.has_more);
	assert_int_equal(receive(fixture), 1);
	input_clear(&fixture->input);
	assert_int_equal(receive(fixture), 1);
	close(fixture->peer);
	fixture->peer = -1;
	assert_int_equal(look(fixture, 64, &sight), -ECONNRESET);
}

/* Nobody can tell whose they are without taking them. */
static void test_look_at_descriptors(void **state)
{
	struct fixture *fixture = *state;
	struct sight sight;

	send_text(fixture, "{}", 3);
	int pipe = send_pipe(fixture, "{", 1, 0);
	assert_int_equal(look(fixture, 64, &sight), 1);
	assert_int_equal(sight.message_length, 3);
	assert_true(sight.has_fds);
	assert_int_equal(recv(fixture->socket, (char[3]){ 0 }, 3, 0), 3);
	assert_int_equal(look(fixture, 64, &sight), 1);
	assert_int_equal(sight.message_length, 0);
	assert_true(sight.has_fds);
	send_text(fixture, "}", 2);
	assert_int_equal(look(fixture, 64, &sight), 1);
	assert_true(sight.has_fds);
	assert_open_and_close(pipe, true);
}

/* With the first byte, behind it, behind another message, out of band: they stay where they are. */
static void test_they_stay(void **state)
{
	struct fixture *fixture = *state;
	int pipes[3];

	pipes[0] = send_pipe(fixture, "{}", 3, 0);
	send_text(fixture, "{", 1);
	pipes[1] = send_pipe(fixture, "}", 2, 0);
	pipes[2] = send_pipe(fixture, "!", 1, MSG_OOB);
	send_text(fixture, "{}", 3);
	for (int i = 0; i < 3; i++)
		assert_int_equal(receive(fixture), TRANSPORT_HAS_FDS);
	assert_int_equal(fixture->input.length, 0);
	for (int i = 0; i < 3; i++)
		assert_open_and_close(pipes[i], true);
}

static void test_behind_a_message(void **state)
{
	struct fixture *fixture = *state;

	send_text(fixture, "{}", 3);
	int pipe = send_pipe(fixture, "{\"a\":1}", 8, 0);
	int r = receive(fixture);
	/* Told of them already, or only when they are next: whatever the kernel peeks at. */
	if (r == 1) {
		assert_string_equal(fixture->input.bytes, "{}");
		r = receive(fixture);
	}
	assert_int_equal(r, TRANSPORT_HAS_FDS);
	assert_open_and_close(pipe, true);
}

/* What the other process does with the same socket. */
static void test_part_by_another(void **state)
{
	struct fixture *fixture = *state;

	int pipe = send_pipe(fixture, "{}\0{}", 6, 0);
	assert_int_equal(receive(fixture), TRANSPORT_HAS_FDS);
	assert_int_equal(input_receive_part(&fixture->input, fixture->socket, 100), 1);
	assert_true(input_is_whole(&fixture->input));
	assert_int_equal(fixture->input.n_fds, 1);
	input_clear(&fixture->input);
	assert_open_and_close(pipe, false);
	assert_int_equal(receive(fixture), 1);
	assert_string_equal(fixture->input.bytes, "{}");
}

/* In the middle of a message they are received, for who ends to close them, and it is an error. */
static void test_part_in_the_middle(void **state)
{
	struct fixture *fixture = *state;

	assert_int_equal(input_add(&fixture->input, "{", 1, NULL, 0), 0);
	int pipe = send_pipe(fixture, "}", 2, 0);
	assert_int_equal(input_receive_part(&fixture->input, fixture->socket, 100), -EBADMSG);
	assert_int_equal(fixture->input.n_fds, 1);
	input_clear(&fixture->input);
	assert_open_and_close(pipe, false);
}

static void test_drain(void **state)
{
	struct fixture *fixture = *state;
	char text[20000] = "";

	send_text(fixture, text, sizeof(text));
	shutdown(fixture->socket, SHUT_RDWR);
	assert_int_equal(input_drain(fixture->socket), 0);
	assert_int_equal(recv(fixture->socket, text, sizeof(text), MSG_DONTWAIT), 0);
	assert_int_equal(send(fixture->peer, text, 1, MSG_NOSIGNAL), -1);
}

static void test_drain_stops_at_descriptors(void **state)
{
	struct fixture *fixture = *state;
	char text[20000] = "";

	send_text(fixture, text, sizeof(text));
	int pipe = send_pipe(fixture, text, sizeof(text), 0);
	shutdown(fixture->socket, SHUT_RDWR);
	assert_int_equal(input_drain(fixture->socket), TRANSPORT_HAS_FDS);
	assert_open_and_close(pipe, true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_without_descriptors, setup, teardown),
		cmocka_unit_test_setup_teardown(test_look, setup, teardown),
		cmocka_unit_test_setup_teardown(test_look_at_descriptors, setup, teardown),
		cmocka_unit_test_setup_teardown(test_they_stay, setup, teardown),
		cmocka_unit_test_setup_teardown(test_behind_a_message, setup, teardown),
		cmocka_unit_test_setup_teardown(test_part_by_another, setup, teardown),
		cmocka_unit_test_setup_teardown(test_part_in_the_middle, setup, teardown),
		cmocka_unit_test_setup_teardown(test_drain, setup, teardown),
		cmocka_unit_test_setup_teardown(test_drain_stops_at_descriptors, setup, teardown),
	};
	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
