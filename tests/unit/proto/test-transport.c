/*
 * The transport over socket pairs, against raw sockets and against itself. Descriptors that are
 * left open are found by listing /proc/self/fd at the end of every test.
 */
#include "proto/json.h"
#include "proto/transport.h"
#include "tests/unit/count-fds.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cmocka.h>

/* The system calls of the transport are counted, and fail where a test says so. */
static struct {
	int fail_recv, fail_recvmsg, fail_sendmsg; /* errno for the next call; 0: none */
	size_t n_calls, n_peeked_bytes;
	size_t control_size; /* > 0: what the next recvmsg has room for */
	int feed_fd;         /* > 0: a byte is written to it before each recv */
} calls;

static bool fails(int *error)
{
	calls.n_calls++;
	if (!*error)
		return false;
	errno = *error;
	*error = 0;
	return true;
}

/* In place of libc's; the linker finds these first. */
ssize_t recv(int fd, void *buffer, size_t size, int flags)
{
	ssize_t n;

	if (fails(&calls.fail_recv))
		return -1;
	if (calls.feed_fd > 0)
		assert_int_equal(write(calls.feed_fd, " ", 1), 1);
	n = syscall(SYS_recvfrom, fd, buffer, size, flags, NULL, NULL);
	if (n > 0 && (flags & MSG_PEEK))
		calls.n_peeked_bytes += (size_t)n;
	return n;
}
ssize_t recvmsg(int fd, struct msghdr *header, int flags)
{
	if (fails(&calls.fail_recvmsg))
		return -1;
	if (calls.control_size > 0)
		header->msg_controllen = calls.control_size;
	calls.control_size = 0;
	return syscall(SYS_recvmsg, fd, header, flags);
}
ssize_t sendmsg(int fd, const struct msghdr *header, int flags)
{
	return fails(&calls.fail_sendmsg) ? -1 : syscall(SYS_sendmsg, fd, header, flags);
}

/* The characters without a NUL. */
static void put(char *to, const char *characters)
{
	while (*characters)
		*to++ = *characters++;
}

/* A transport at one end, a raw socket at the other. */
struct fixture {
	struct transport *transport;
	int peer;
	int n_fds_before;
};

static const struct transport_limits small_limits = {
	.max_message_bytes = 1000, .max_output_bytes = 2000, .max_depth = 3, .max_fds = 2
};

static void open_pair(struct fixture *fixture, const struct transport_limits *limits)
{
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(transport_new(pair[0], limits, &fixture->transport), 0);
	fixture->peer = pair[1];
}

static int setup(void **state)
{
	static struct fixture fixture;

	memset(&calls, 0, sizeof(calls));
	fixture.n_fds_before = count_fds();
	open_pair(&fixture, &small_limits);
	*state = &fixture;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *fixture = *state;

	transport_free(fixture->transport);
	if (fixture->peer >= 0)
		close(fixture->peer);
	return count_fds() == fixture->n_fds_before ? 0 : -1;
}

static void use_default_limits(struct fixture *fixture)
{
	transport_free(fixture->transport);
	close(fixture->peer);
	open_pair(fixture, &transport_default_limits);
}

/* Writes bytes with n_fds descriptors, as one write. */
static void peer_send(const struct fixture *fixture, const char *bytes, size_t n, size_t n_fds)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(TRANSPORT_MAX_FDS * sizeof(int))];
	} control = { .bytes = { 0 } };
	int fds[TRANSPORT_MAX_FDS];
	struct iovec vector = { .iov_base = (char *)bytes, .iov_len = n };
	struct msghdr header = { .msg_iov = &vector, .msg_iovlen = 1 };

	for (size_t i = 0; i < n_fds; i++) {
		fds[i] = open("/dev/null", O_RDONLY | O_CLOEXEC);
		assert_true(fds[i] >= 0);
	}
	if (n_fds > 0) {
		control.header.cmsg_level = SOL_SOCKET;
		control.header.cmsg_type = SCM_RIGHTS;
		control.header.cmsg_len = CMSG_LEN(n_fds * sizeof(int));
		memcpy(CMSG_DATA(&control.header), fds, n_fds * sizeof(int));
		header.msg_control = &control;
		header.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
	}
	assert_int_equal(syscall(SYS_sendmsg, fixture->peer, &header, MSG_NOSIGNAL), n);
	for (size_t i = 0; i < n_fds; i++)
		close(fds[i]);
}

/* A string and its NUL. */
static void peer_text(const struct fixture *fixture, const char *text)
{
	peer_send(fixture, text, strlen(text) + 1, 0);
}

static void received(const struct fixture *fixture, const char *wanted, size_t n_fds)
{
	struct message message;

	assert_int_equal(transport_receive(fixture->transport, &message), 1);
	assert_string_equal(
		json_object_to_json_string_ext(message.json, JSON_C_TO_STRING_PLAIN), wanted);
	assert_int_equal(message.n_fds, n_fds);
	message_clear(&message);
}

/* Nothing, or a failure; the message is empty, and no descriptor is kept after a failure. */
static void not_received(const struct fixture *fixture, int wanted)
{
	struct message message = { .n_fds = 7 };

	assert_int_equal(transport_receive(fixture->transport, &message), wanted);
	assert_null(message.json);
	assert_int_equal(message.n_fds, 0);
	if (wanted < 0)
		assert_int_equal(count_fds() - fixture->n_fds_before, fixture->peer >= 0 ? 2 : 1);
}

static void peer_close(struct fixture *fixture)
{
	close(fixture->peer);
	fixture->peer = -1;
}

static int new_fd(void)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

static int queue_text(const struct fixture *fixture, const char *text, const int *fds, size_t n_fds)
{
	struct json_object *json = json_tokener_parse(text);
	int r;

	assert_non_null(json);
	r = transport_send(fixture->transport, json, fds, n_fds);
	json_object_put(json);
	return r;
}

static void test_one_message(void **state)
{
	struct fixture *fixture = *state;

	not_received(fixture, 0);
	peer_text(fixture, "{\"a\":1}");
	received(fixture, "{\"a\":1}", 0);
	not_received(fixture, 0);
}

static void test_coalesced(void **state)
{
	struct fixture *fixture = *state;
	static const char texts[] = "{\"a\":1}\0 {} \0{\"b\":2}\0{\"c\"";

	peer_send(fixture, texts, sizeof(texts) - 1, 0);
	received(fixture, "{\"a\":1}", 0);
	received(fixture, "{}", 0);
	received(fixture, "{\"b\":2}", 0);
	not_received(fixture, 0);
	peer_text(fixture, ":3}");
	received(fixture, "{\"c\":3}", 0);
	not_received(fixture, 0);
}

/* The second message's descriptors are there when the first is read, and stay where they are. */
static void test_coalesced_fds_of_second(void **state)
{
	struct fixture *fixture = *state;

	peer_text(fixture, "{\"a\":1}");
	peer_send(fixture, "{\"b\":2}", 8, 2);
	peer_text(fixture, "{\"c\":3}");
	peer_send(fixture, "{\"d\":4}", 8, 1);
	received(fixture, "{\"a\":1}", 0);
	received(fixture, "{\"b\":2}", 2);
	received(fixture, "{\"c\":3}", 0);
	received(fixture, "{\"d\":4}", 1);
	not_received(fixture, 0);
}

/* A write that ends one message and begins the next: its descriptors are not of a first byte. */
static void test_fds_of_a_write_across(void **state)
{
	struct fixture *fixture = *state;

	peer_send(fixture, "{\"a\"", 4, 0);
	not_received(fixture, 0);
	peer_send(fixture, ":1}\0{}", 7, 1);
	not_received(fixture, -EBADMSG);
}

static void test_byte_at_a_time(void **state)
{
	struct fixture *fixture = *state;
	static const char text[] = "{\"key\":[1,2,\"\xe2\x82\xac\"]}";

	for (size_t i = 0; i < sizeof(text) - 1; i++) {
		peer_send(fixture, text + i, 1, i == 0 ? 2 : 0);
		not_received(fixture, 0);
	}
	peer_send(fixture, "", 1, 0);
	received(fixture, text, 2);
}

/* Sends `length` bytes and a NUL, `step` bytes at a time; what was peeked must be linear. */
static void check_linear(struct fixture *fixture, size_t length, size_t step)
{
	char *text = malloc(length + 1);
	struct message message;
	int r = 0;

	assert_non_null(text);
	memset(text, 'x', length);
	put(text, "{\"k\":\"");
	put(text + length - 2, "\"}");
	text[length] = '\0';
	memset(&calls, 0, sizeof(calls));
	for (size_t at = 0; at <= length; at += step) {
		assert_int_equal(r, 0);
		peer_send(fixture, text + at, step < length + 1 - at ? step : length + 1 - at, 0);
		r = transport_receive(fixture->transport, &message);
	}
	assert_int_equal(r, 1);
	message_clear(&message);
	assert_in_range(calls.n_peeked_bytes, length, length + 1);
	assert_in_range(calls.n_calls, 1, 3 * ((length + step) / step) + 100);
	free(text);
}

static void test_linear(void **state)
{
	struct fixture *fixture = *state;

	use_default_limits(fixture);
	check_linear(fixture, 100000, 1);
	check_linear(fixture, 100000, 7);
	check_linear(fixture, 1048576, 4096);
	check_linear(fixture, 100000, 100001);
}

/* Peeking at a message does not read all that is queued behind it, again for each. */
static void test_linear_when_pipelined(void **state)
{
	struct fixture *fixture = *state;
	const size_t n = 100;

	for (size_t i = 0; i < n; i++)
		peer_text(fixture, "{\"some\":\"message of forty bytes, roughly\"}");
	memset(&calls, 0, sizeof(calls));
	for (size_t i = 0; i < n; i++)
		received(fixture, "{\"some\":\"message of forty bytes, roughly\"}", 0);
	assert_in_range(calls.n_peeked_bytes, n, n * 512);
	assert_int_equal(calls.n_calls, 3 * n);
}

/* A peer that writes as fast as we read does not keep us: the call ends all the same. */
static void test_bounded_call(void **state)
{
	struct fixture *fixture = *state;

	use_default_limits(fixture);
	peer_send(fixture, "{", 1, 0);
	memset(&calls, 0, sizeof(calls));
	calls.feed_fd = fixture->peer;
	not_received(fixture, 0);
	calls.feed_fd = 0;
	assert_in_range(calls.n_calls, 1, 100);
	peer_text(fixture, "}");
	received(fixture, "{}", 0);
}

static void test_message_bound(void **state)
{
	struct fixture *fixture = *state;
	char text[1100];

	memset(text, ' ', sizeof(text));
	text[0] = '{';
	text[999] = '}';
	peer_send(fixture, text, 1000, 0);
	not_received(fixture, 0);
	peer_send(fixture, "", 1, 0); /* exactly 1000 bytes and the NUL fit */
	received(fixture, "{}", 0);

	text[999] = ' ';
	text[1000] = '}';
	text[1001] = '\0';
	peer_send(fixture, text, 1002, 0);
	not_received(fixture, -EMSGSIZE);
}

/* Without a NUL: known to be too large by the first byte too many, not at some end. */
static void test_message_bound_without_end(void **state)
{
	struct fixture *fixture = *state;
	char text[1000];

	memset(text, ' ', sizeof(text));
	text[0] = '{';
	peer_send(fixture, text, sizeof(text), 0);
	not_received(fixture, 0);
	peer_send(fixture, " ", 1, 0);
	not_received(fixture, -EMSGSIZE);
}

static void test_too_deep(void **state)
{
	struct fixture *fixture = *state;

	peer_text(fixture, "{\"a\":[[]]}");
	received(fixture, "{\"a\":[[]]}", 0);
	peer_send(fixture, "{\"a\":[[[]]]}", 13, 1);
	not_received(fixture, -EBADMSG);
}

static void test_too_many_values(void **state)
{
	struct fixture *fixture = *state;
	size_t length = 6 + 2 * (size_t)JSON_MAX_VALUES;
	char *text = malloc(length + 3);
	struct message message;
	int r = 0;

	assert_non_null(text);
	use_default_limits(fixture);
	put(text, "{\"k\":[");
	for (size_t i = 6; i < length; i++)
		text[i] = i % 2 ? ',' : '1';
	put(text + length - 1, "]}");
	text[length + 1] = '\0';
	for (size_t at = 0; at < length + 2; at += 4096) {
		assert_int_equal(r, 0);
		peer_send(fixture, text + at, length + 2 - at < 4096 ? length + 2 - at : 4096, 0);
		r = transport_receive(fixture->transport, &message);
	}
	assert_int_equal(r, -EMSGSIZE);
	free(text);
}

static void test_bad_messages(void **state)
{
	struct fixture *fixture = *state;
	static const char *const texts[] = { "", " ", "x", "[]", "1", "null", "{", "{}x", "{} {}",
		"{\"a\":NaN}", "{\"a\":\"\xff\"}", "{\"a\":\"\xc0\x80\"}",
		"{\"a\":\"\xed\xa0\x80\"}", "{\"a\\u0000b\":1}", "{'a':1}" };

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		peer_send(fixture, texts[i], strlen(texts[i]) + 1, 2);
		not_received(fixture, -EBADMSG);
		transport_free(fixture->transport);
		close(fixture->peer);
		open_pair(fixture, &small_limits);
	}
}

static void test_fds(void **state)
{
	struct fixture *fixture = *state;
	struct message message;
	int fd;

	peer_send(fixture, "{}", 3, 2);
	assert_int_equal(transport_receive(fixture->transport, &message), 1);
	assert_int_equal(message.n_fds, 2);
	assert_int_equal(message_take_fd(&message, -1), -EINVAL);
	assert_int_equal(message_take_fd(&message, 2), -EINVAL);
	assert_int_equal(message_take_fd(&message, INT64_MAX), -EINVAL);
	assert_int_equal(message_take_fd(&message, INT64_MIN), -EINVAL);
	assert_int_equal(message_take_fd(&message, (int64_t)1 << 32), -EINVAL);
	fd = message_take_fd(&message, 1);
	assert_true(fd >= 0);
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	assert_int_equal(message_take_fd(&message, 1), -EINVAL);
	message_clear(&message);
	assert_true(fcntl(fd, F_GETFD) >= 0); /* what was taken is not closed, the other is */
	close(fd);
	message_clear(&message);
	assert_int_equal(message_take_fd(&message, 0), -EINVAL);
}

static void test_too_many_fds(void **state)
{
	struct fixture *fixture = *state;

	peer_send(fixture, "{}", 3, 3);
	not_received(fixture, -E2BIG);
}

static void test_most_fds(void **state)
{
	struct fixture *fixture = *state;
	struct transport_limits limits = small_limits;

	limits.max_fds = TRANSPORT_MAX_FDS;
	transport_free(fixture->transport);
	close(fixture->peer);
	open_pair(fixture, &limits);
	peer_send(fixture, "{}", 3, TRANSPORT_MAX_FDS);
	received(fixture, "{}", TRANSPORT_MAX_FDS);
}

/* In one piece with the first part already there, or after it was read. */
static void test_fds_in_the_middle(void **state)
{
	struct fixture *fixture = *state;

	peer_send(fixture, "{", 1, 0);
	peer_send(fixture, "}", 2, 2);
	not_received(fixture, -EBADMSG);

	transport_free(fixture->transport);
	close(fixture->peer);
	open_pair(fixture, &small_limits);
	peer_send(fixture, "{", 1, 1);
	not_received(fixture, 0);
	peer_send(fixture, "}", 2, 1);
	not_received(fixture, -EBADMSG);
}

/* The kernel delivers what it can of the descriptors, and says MSG_CTRUNC. */
static void test_truncated_fds(void **state)
{
	struct fixture *fixture = *state;

	peer_send(fixture, "{}", 3, 2);
	calls.control_size = CMSG_LEN(sizeof(int)); /* room for one of two */
	not_received(fixture, -EBADMSG);
	assert_int_equal(calls.control_size, 0);
}

static void test_peer_closes(void **state)
{
	struct fixture *fixture = *state;

	peer_text(fixture, "{\"last\":1}");
	peer_close(fixture);
	received(fixture, "{\"last\":1}", 0);
	not_received(fixture, -ECONNRESET);
}

static void test_peer_closes_in_the_middle(void **state)
{
	struct fixture *fixture = *state;

	peer_send(fixture, "{\"half\"", 7, 0);
	not_received(fixture, 0);
	peer_close(fixture);
	not_received(fixture, -ECONNRESET);
}

/* A message of 1 MiB through a small socket buffer: parts go out, parts come in, fds with the
 * first. */
static void test_in_parts(void **state)
{
	struct fixture *fixture = *state;
	const size_t length = transport_default_limits.max_message_bytes;
	struct transport *peer;
	struct message message;
	char *text = malloc(length + 1);
	int fds[2] = { new_fd(), new_fd() };
	int n_fds_before = count_fds() - 2;
	size_t n_rounds = 0;
	int r, size = 4096;

	assert_non_null(text);
	use_default_limits(fixture);
	assert_int_equal(setsockopt(transport_fd(fixture->transport), SOL_SOCKET, SO_SNDBUF, &size,
				 sizeof(size)),
		0);
	assert_int_equal(transport_new(fixture->peer, &transport_default_limits, &peer), 0);
	fixture->peer = -1;
	memset(text, 'x', length);
	put(text, "{\"k\":\"");
	put(text + length - 2, "\"}");
	text[length] = '\0';
	assert_int_equal(queue_text(fixture, text, fds, 2), 0);
	assert_int_equal(queue_text(fixture, "{\"next\":1}", NULL, 0), 0);
	assert_int_equal(transport_output_bytes(fixture->transport), length + 1 + 11);
	assert_int_equal(count_fds() - n_fds_before, 2);
	assert_int_equal(transport_flush(fixture->transport), 1);
	assert_int_equal(
		count_fds() - n_fds_before, 0); /* they are on their way, ours are closed */
	assert_in_range(transport_output_bytes(fixture->transport), 1, length);
	do {
		r = transport_receive(peer, &message);
		assert_true(transport_flush(fixture->transport) >= 0);
		n_rounds++;
	} while (r == 0);
	assert_int_equal(r, 1);
	assert_in_range(n_rounds, 10, 10000);
	assert_int_equal(message.n_fds, 2);
	assert_string_equal(
		json_object_to_json_string_ext(message.json, JSON_C_TO_STRING_PLAIN), text);
	message_clear(&message);
	assert_int_equal(transport_flush(fixture->transport), 0);
	assert_int_equal(transport_output_bytes(fixture->transport), 0);
	assert_int_equal(transport_receive(peer, &message), 1);
	assert_int_equal(message.n_fds, 0);
	message_clear(&message);
	transport_free(peer);
	free(text);
}

/* One sendmsg each: the fds of two messages are not mixed, and arrive in their order. */
static void test_two_with_fds(void **state)
{
	struct fixture *fixture = *state;
	struct fixture other = { .n_fds_before = fixture->n_fds_before };
	int pipes[2];
	struct stat want, have;
	struct message message;
	int first, second[2];

	assert_int_equal(transport_new(fixture->peer, &small_limits, &other.transport), 0);
	fixture->peer = -1;
	assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
	assert_int_equal(fstat(pipes[0], &want), 0);
	first = new_fd();
	second[0] = new_fd();
	second[1] = pipes[0];
	assert_int_equal(queue_text(fixture, "{\"a\":0}", &first, 1), 0);
	assert_int_equal(queue_text(fixture, "{\"b\":1}", second, 2), 0);
	assert_int_equal(transport_flush(fixture->transport), 0);
	received(&other, "{\"a\":0}", 1);
	assert_int_equal(transport_receive(other.transport, &message), 1);
	assert_int_equal(message.n_fds, 2);
	assert_int_equal(fstat(message.fds[1], &have), 0);
	assert_int_equal(have.st_ino, want.st_ino);
	assert_int_equal(have.st_dev, want.st_dev);
	message_clear(&message);
	close(pipes[1]);
	transport_free(other.transport);
}

/* {"k":"x…"} of this many bytes without the NUL. */
static int queue_sized(const struct fixture *fixture, size_t length, const int *fds, size_t n_fds)
{
	char text[3000];

	memset(text, 'x', sizeof(text));
	put(text, "{\"k\":\"");
	put(text + length - 2, "\"}");
	text[length] = '\0';
	return queue_text(fixture, text, fds, n_fds);
}

static void test_output_bound(void **state)
{
	struct fixture *fixture = *state;
	int fd = new_fd();

	assert_int_equal(queue_sized(fixture, 999, NULL, 0), 0);
	assert_int_equal(queue_sized(fixture, 1000, &fd, 1), -ENOBUFS); /* 1000 + 1001 > 2000 */
	assert_int_equal(fcntl(fd, F_GETFD), -1);
	assert_int_equal(transport_output_bytes(fixture->transport), 1000);
	assert_int_equal(queue_sized(fixture, 999, NULL, 0), 0);
	assert_int_equal(transport_output_bytes(fixture->transport), 2000);
	assert_int_equal(queue_text(fixture, "{}", NULL, 0), -ENOBUFS);
	assert_int_equal(transport_flush(fixture->transport), 0);
	assert_int_equal(queue_sized(fixture, 1999, NULL, 0), 0);
	assert_int_equal(transport_flush(fixture->transport), 0);
	assert_int_equal(queue_sized(fixture, 2000, NULL, 0), -ENOBUFS);
}

static void test_send_too_many_fds(void **state)
{
	struct fixture *fixture = *state;
	int fds[TRANSPORT_MAX_FDS + 1];
	int n_before = count_fds();

	for (size_t i = 0; i < TRANSPORT_MAX_FDS + 1; i++)
		fds[i] = new_fd();
	assert_int_equal(queue_text(fixture, "{}", fds, TRANSPORT_MAX_FDS + 1), -EINVAL);
	assert_int_equal(count_fds(), n_before);
	for (size_t i = 0; i < TRANSPORT_MAX_FDS; i++)
		fds[i] = new_fd();
	assert_int_equal(queue_text(fixture, "{}", fds, TRANSPORT_MAX_FDS), 0);
	assert_int_equal(transport_flush(fixture->transport), 0);
	assert_int_equal(count_fds(), n_before);
}

/* No SIGPIPE, and what is left in the queue is closed by transport_free(). */
static void test_send_to_closed(void **state)
{
	struct fixture *fixture = *state;
	int fd = new_fd();

	peer_close(fixture);
	assert_int_equal(queue_text(fixture, "{}", &fd, 1), 0);
	assert_int_equal(transport_flush(fixture->transport), -EPIPE);
	assert_true(fcntl(fd, F_GETFD) >= 0);
}

/* As with SO_PASSRIGHTS off at the peer: EPERM, and nothing of the message was sent. */
static void test_send_refused(void **state)
{
	struct fixture *fixture = *state;
	char byte;
	int fd = new_fd();

	assert_int_equal(queue_text(fixture, "{}", &fd, 1), 0);
	calls.fail_sendmsg = EPERM;
	assert_int_equal(transport_flush(fixture->transport), -EPERM);
	assert_int_equal(transport_output_bytes(fixture->transport), 3);
	assert_int_equal(recv(fixture->peer, &byte, 1, MSG_DONTWAIT), -1);
	assert_int_equal(errno, EAGAIN);
}

static void test_send_interrupted(void **state)
{
	struct fixture *fixture = *state;

	assert_int_equal(queue_text(fixture, "{}", NULL, 0), 0);
	calls.fail_sendmsg = EINTR;
	assert_int_equal(transport_flush(fixture->transport), 0);
	assert_int_equal(queue_text(fixture, "{}", NULL, 0), 0);
	calls.fail_sendmsg = EAGAIN;
	assert_int_equal(transport_flush(fixture->transport), 1);
	assert_int_equal(transport_flush(fixture->transport), 0);
}

static void test_receive_interrupted(void **state)
{
	struct fixture *fixture = *state;

	peer_send(fixture, "{}", 3, 1);
	calls.fail_recv = EINTR;
	not_received(fixture, 0);
	calls.fail_recvmsg = EINTR;
	not_received(fixture, 0);
	received(fixture, "{}", 1);
	peer_text(fixture, "{}");
	calls.fail_recv = EIO;
	not_received(fixture, -EIO);
	calls.fail_recvmsg = ENOMEM;
	not_received(fixture, -ENOMEM);
}

/* Names of the host may be anything; what goes out is UTF-8 all the same. */
static void test_output_is_utf8(void **state)
{
	struct fixture *fixture = *state;
	struct json_object *json = json_object_new_object();
	char bytes[64];

	json_object_object_add(json, "k", json_object_new_string("a\xff\xe2\x82\xac\xc3/\n"));
	assert_int_equal(transport_send(fixture->transport, json, NULL, 0), 0);
	json_object_put(json);
	assert_int_equal(transport_flush(fixture->transport), 0);
	assert_int_equal(recv(fixture->peer, bytes, sizeof(bytes), 0), 18);
	assert_memory_equal(bytes, "{\"k\":\"a?\xe2\x82\xac?/\\n\"}", 18);
}

static void test_new(void **state)
{
	struct transport_limits limits = small_limits;
	struct transport *transport = (void *)1;
	int pair[2];

	(void)state;
	assert_int_equal(transport_new(-1, &small_limits, &transport), -EBADF);
	assert_null(transport);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	limits.max_message_bytes = INT32_MAX;
	assert_int_equal(transport_new(pair[0], &limits, &transport), -EINVAL);
	assert_int_equal(fcntl(pair[0], F_GETFD), -1); /* taken over also on failure */
	assert_int_equal(transport_new(pair[1], &small_limits, &transport), 0);
	assert_int_equal(transport_fd(transport), pair[1]);
	assert_int_equal(fcntl(pair[1], F_GETFD), FD_CLOEXEC);
	assert_true(fcntl(pair[1], F_GETFL) & O_NONBLOCK);
	assert_null(transport_free(transport));
	assert_null(transport_free(NULL));
}

/* What is queued and what is half received, descriptors included, goes with the transport. */
static void test_free_closes_all(void **state)
{
	struct fixture *fixture = *state;
	int fds[2] = { new_fd(), new_fd() };

	peer_send(fixture, "{\"half\"", 7, 2);
	not_received(fixture, 0);
	assert_int_equal(queue_text(fixture, "{}", fds, 2), 0);
	assert_int_equal(count_fds() - fixture->n_fds_before, 6);
	fixture->transport = transport_free(fixture->transport);
	assert_int_equal(count_fds() - fixture->n_fds_before, 1);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_one_message),
		TEST(test_coalesced),
		TEST(test_coalesced_fds_of_second),
		TEST(test_fds_of_a_write_across),
		TEST(test_byte_at_a_time),
		TEST(test_linear),
		TEST(test_linear_when_pipelined),
		TEST(test_bounded_call),
		TEST(test_message_bound),
		TEST(test_message_bound_without_end),
		TEST(test_too_deep),
		TEST(test_too_many_values),
		TEST(test_bad_messages),
		TEST(test_fds),
		TEST(test_too_many_fds),
		TEST(test_most_fds),
		TEST(test_fds_in_the_middle),
		TEST(test_truncated_fds),
		TEST(test_peer_closes),
		TEST(test_peer_closes_in_the_middle),
		TEST(test_in_parts),
		TEST(test_two_with_fds),
		TEST(test_output_bound),
		TEST(test_send_too_many_fds),
		TEST(test_send_to_closed),
		TEST(test_send_refused),
		TEST(test_send_interrupted),
		TEST(test_receive_interrupted),
		TEST(test_output_is_utf8),
		TEST(test_new),
		TEST(test_free_closes_all),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
