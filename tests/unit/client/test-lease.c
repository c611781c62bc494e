/* libvfiod's leases: acquired, watched, released, and a daemon that fails at every point of it. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "client/include/vfiod.h"
#include "tests/unit/client/client.h"
#include "tests/unit/client/fake.h"

#define B "org.vfiod.Broker."

#define GRANT                                                                                      \
	"{\"event\":\"granted\",\"lease\":\"3\",\"token\":\"secret\",\"groups\":["                 \
	"{\"number\":13,\"devices\":[\"0000:01:00.0\",\"0000:01:00.1\"],\"groupFileDescriptor\":"  \
	"1},"                                                                                      \
	"{\"number\":7,\"devices\":[],\"groupFileDescriptor\":0}]}"

static const char *const wanted[] = { "0000:01:00.0", "group:7" };

static void grant(struct fake *fake, int peer, bool continues)
{
	int fds[2] = { open("/dev/null", O_RDWR | O_CLOEXEC),
		open("/dev/zero", O_RDWR | O_CLOEXEC) };

	fake_reply_fds(fake, peer, continues, GRANT, fds, 2);
	close(fds[0]);
	close(fds[1]);
}

static bool is_method(const char *method, const char *name)
{
	return strcmp(method, name) == 0;
}

static void expect_parameters(struct json_object *parameters, const char *wanted_json)
{
	const char *text = json_object_to_json_string_ext(parameters, JSON_C_TO_STRING_PLAIN);

	fake_expect(strcmp(text, wanted_json) == 0, wanted_json);
}

/* The daemon of most tests: two notes from the queue, the grant; Release ends the stream. */
static void answer_lease(struct fake *fake, int peer, const char *method,
	struct json_object *parameters, const int *fds, size_t n_fds)
{
	(void)fds;
	(void)n_fds;
	if (is_method(method, B "Acquire")) {
		expect_parameters(parameters,
			"{\"selectors\":[{\"device\":\"0000:01:00.0\"},{\"group\":7}],"
			"\"waitSeconds\":10}");
		fake_reply(fake, peer, true, "{\"event\":\"queued\",\"position\":2}");
		fake_reply(fake, peer, true, "{\"event\":\"queued\",\"position\":1}");
		grant(fake, peer, true);
	} else if (is_method(method, B "Release")) {
		expect_parameters(parameters, "{\"token\":\"secret\"}");
		fake_expect(peer == 1, "a second connection");
		fake_reply(fake, peer, false, "{\"lingering\":[]}");
		/* Later than the answer, and after an event that no longer matters. */
		fake_reply(fake, 0, true, "{\"event\":\"releaseRequested\",\"reason\":\"late\"}");
		fake_reply(fake, 0, false, "{\"event\":\"ended\",\"reason\":\"released\"}");
	} else {
		fake_reply(fake, peer, false, "{\"leases\":[]}");
	}
}

static void a_lease_hands_over_its_groups(void **state)
{
	struct fake *fake = fake_start(answer_lease);
	int before = count_fds(), fd, stolen;
	struct vfiod *vfiod = client_open(fake);
	struct vfiod_lease *lease;
	char byte;

	(void)state;
	assert_int_equal(vfiod_acquire(vfiod, wanted, 2, 10, &lease), 0);
	assert_string_equal(vfiod_lease_name(lease), "3");
	assert_string_equal(vfiod_lease_token(lease), "secret");
	assert_int_equal(vfiod_lease_n_groups(lease), 2);
	assert_int_equal(vfiod_lease_group_number(lease, 0), 13);
	assert_int_equal(vfiod_lease_group_number(lease, 1), 7);
	assert_int_equal(vfiod_lease_group_number(lease, 2), -EINVAL);
	assert_int_equal(vfiod_lease_n_devices(lease, 0), 2);
	assert_string_equal(vfiod_lease_device(lease, 0, 0), "0000:01:00.0");
	assert_string_equal(vfiod_lease_device(lease, 0, 1), "0000:01:00.1");
	assert_null(vfiod_lease_device(lease, 0, 2));
	assert_int_equal(vfiod_lease_n_devices(lease, 1), 0);
	assert_int_equal(vfiod_lease_n_devices(lease, 2), 0);
	assert_null(vfiod_lease_device(lease, 2, 0));

	/* By the index in the message, not by order: group 13 is /dev/zero. */
	fd = vfiod_lease_group_fd(lease, 0);
	assert_int_equal(read(fd, &byte, 1), 1);
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	stolen = vfiod_lease_steal_group_fd(lease, 1);
	assert_int_equal(read(stolen, &byte, 1), 0);
	assert_int_equal(vfiod_lease_group_fd(lease, 1), -EBADF);
	assert_int_equal(vfiod_lease_steal_group_fd(lease, 1), -EBADF);
	assert_int_equal(vfiod_lease_group_fd(lease, 2), -EINVAL);
	assert_int_equal(vfiod_lease_steal_group_fd(lease, 2), -EINVAL);

	/* The stream's connection carries nothing else. */
	assert_int_equal(
		vfiod_call(vfiod, B "Leases", NULL, false, NULL, 0, 5000, NULL, NULL), -EBUSY);
	assert_int_equal(vfiod_acquire(vfiod, wanted, 2, 10, &lease), -EBUSY);

	/* Closing closes what the lease owns, and what was stolen stays. */
	vfiod_close(vfiod);
	assert_int_equal(fcntl(fd, F_GETFD), -1);
	assert_int_equal(fcntl(stolen, F_GETFD), FD_CLOEXEC);
	close(stolen);
	assert_int_equal(count_fds(), before);
	fake_stop(fake);
}

static void release_frees_the_handle(void **state)
{
	struct fake *fake = fake_start(answer_lease);
	struct vfiod *vfiod = client_open(fake);
	int before = count_fds();
	struct vfiod_lease *lease;

	(void)state;
	assert_int_equal(vfiod_acquire(vfiod, wanted, 2, 10, &lease), 0);
	assert_int_equal(vfiod_release(vfiod, lease), 0);
	assert_int_equal(count_fds(), before);
	assert_int_equal(vfiod_call(vfiod, B "Leases", NULL, false, NULL, 0, 5000, NULL, NULL), 0);
	assert_int_equal(vfiod_dispatch(vfiod, 0), 0);
	vfiod_close(vfiod);
	fake_stop(fake);
}

/* --- events ------------------------------------------------------------------------------ */

static void answer_events(struct fake *fake, int peer, const char *method,
	struct json_object *parameters, const int *fds, size_t n_fds)
{
	static const char newer[] =
		"{\"parameters\":{\"event\":\"newerThanUs\"},\"continues\":true}";

	(void)parameters;
	(void)fds;
	(void)n_fds;
	if (is_method(method, B "Acquire")) {
		fake_raw(fake, peer, newer, sizeof newer, -1);
		grant(fake, peer, true);
		return;
	}
	/* Any call on a second connection: now things happen on the first. */
	fake_raw(fake, 0, newer, sizeof newer, -1);
	fake_reply(fake, 0, true, "{\"event\":\"releaseRequested\",\"reason\":\"maintenance\"}");
	fake_reply(fake, 0, true, "{\"event\":\"deviceGone\",\"device\":\"0000:01:00.1\"}");
	fake_reply(fake, 0, true, "{\"event\":\"releaseRequested\"}");
	fake_reply(fake, 0, false, "{\"event\":\"ended\",\"reason\":\"revoked\"}");
	fake_reply(fake, peer, false, "{\"leases\":[]}");
}

struct notes {
	char text[256];
	struct vfiod *release_with;
	int released;
};

static void on_event(
	struct vfiod_lease *lease, enum vfiod_event event, const char *text, void *userdata)
{
	struct notes *notes = userdata;
	size_t used = strlen(notes->text);

	snprintf(notes->text + used, sizeof notes->text - used, "%d:%s;", (int)event, text);
	if (notes->release_with)
		notes->released = vfiod_release(notes->release_with, lease);
}

static void poke(struct fake *fake)
{
	struct vfiod *second = client_open(fake);

	assert_int_equal(vfiod_call(second, B "Leases", NULL, false, NULL, 0, 5000, NULL, NULL), 0);
	vfiod_close(second);
}

static void events_are_dispatched(void **state)
{
	struct fake *fake = fake_start(answer_events);
	struct vfiod *vfiod = client_open(fake);
	struct notes notes = { .text = "" };
	struct vfiod_lease *lease;
	struct pollfd poll_fd;

	(void)state;
	assert_int_equal(vfiod_acquire(vfiod, wanted, 2, 0, &lease), 0);
	vfiod_lease_on_event(lease, on_event, &notes);
	assert_int_equal(vfiod_dispatch(vfiod, 0), 0);
	assert_int_equal(vfiod_dispatch(vfiod, 20), 0);
	poke(fake);
	poll_fd = (struct pollfd){ .fd = vfiod_get_fd(vfiod), .events = POLLIN };
	assert_int_equal(poll(&poll_fd, 1, 5000), 1);
	assert_int_equal(vfiod_dispatch(vfiod, -1), 4);
	assert_string_equal(notes.text, "0:maintenance;1:0000:01:00.1;0:;2:revoked;");
	/* It is over: there is nothing to ask the daemon, which would answer with leases. */
	assert_int_equal(vfiod_release(vfiod, lease), 0);
	vfiod_close(vfiod);
	fake_stop(fake);
}

/* Events without a callback are dispatched into the void, and a daemon that goes is seen. */
static void answer_grant_and_hang_up(struct fake *fake, int peer, const char *method,
	struct json_object *parameters, const int *fds, size_t n_fds)
{
	(void)method;
	(void)parameters;
	(void)fds;
	(void)n_fds;
	grant(fake, peer, true);
	fake_reply(fake, peer, true, "{\"event\":\"deviceGone\",\"device\":\"0000:01:00.1\"}");
	fake_hang_up(fake, peer);
}

static void dispatch_tells_that_the_daemon_has_gone(void **state)
{
	struct fake *fake = fake_start(answer_grant_and_hang_up);
	struct vfiod *vfiod = client_open(fake);
	struct vfiod_lease *lease;

	(void)state;
	assert_int_equal(vfiod_acquire(vfiod, wanted, 2, 0, &lease), 0);
	assert_int_equal(vfiod_dispatch(vfiod, 5000), 1);
	assert_int_equal(vfiod_dispatch(vfiod, 5000), -ECONNRESET);
	assert_int_equal(vfiod_dispatch(vfiod, 5000), -ECONNRESET);
	vfiod_close(vfiod);
	fake_stop(fake);
}

static void answer_error_on_stream(struct fake *fake, int peer, const char *method,
	struct json_object *parameters, const int *fds, size_t n_fds)
{
	(void)method;
	(void)parameters;
	(void)fds;
	(void)n_fds;
	grant(fake, peer, true);
	fake_error(fake, peer, B "Interrupted", "{}");
}

static void an_error_ends_the_stream_as_well(void **state)
{
	struct fake *fake = fake_start(answer_error_on_stream);
	struct vfiod *vfiod = client_open(fake);
	struct notes notes = { .text = "" };
	struct vfiod_lease *lease;

	(void)state;
	assert_int_equal(vfiod_acquire(vfiod, wanted, 2, 0, &lease), 0);
	vfiod_lease_on_event(lease, on_event, &notes);
	assert_int_equal(vfiod_dispatch(vfiod, 5000), 1);
	assert_string_equal(notes.text,
		"2:this was broken off before it was done: vfiod went down or was restarted, or "
		"the lease or space that it was for has ended; nothing of it is left, ask "
		"again;");
	vfiod_close(vfiod);
	fake_stop(fake);
}

static void answer_request_then_release(struct fake *fake, int peer, const char *method,
	struct json_object *parameters, const int *fds, size_t n_fds)
{
	(void)parameters;
	(void)fds;
	(void)n_fds;
	if (is_method(method, B "Acquire")) {
		grant(fake, peer, true);
		fake_reply(fake, peer, true, "{\"event\":\"releaseRequested\",\"reason\":\"x\"}");
		fake_reply(fake, peer, true, "{\"event\":\"releaseRequested\",\"reason\":\"y\"}");
		return;
	}
	fake_expect(is_method(method, B "Release"), "Release");
	fake_reply(fake, 0, false, "{\"event\":\"ended\",\"reason\":\"released\"}");
	fake_reply(fake, peer, false, "{\"lingering\":[13]}");
}

static void the_callback_may_release(void **state)
{
	struct fake *fake = fake_start(answer_request_then_release);
	struct vfiod *vfiod = client_open(fake);
	struct notes notes = { .release_with = vfiod, .released = -1 };
	struct vfiod_lease *lease;

	(void)state;
	assert_int_equal(vfiod_acquire(vfiod, wanted, 2, 0, &lease), 0);
	vfiod_lease_on_event(lease, on_event, &notes);
	assert_int_equal(vfiod_dispatch(vfiod, 5000), 1);
	assert_string_equal(notes.text, "0:x;");
	assert_int_equal(notes.released, 1); /* group 13 lingers */
	vfiod_close(vfiod);
	fake_stop(fake);
}

/* --- releases that fail ------------------------------------------------------------------- */

static void answer_no_release(struct fake *fake, int peer, const char *method,
	struct json_object *parameters, const int *fds, size_t n_fds)
{
	(void)parameters;
	(void)fds;
	(void)n_fds;
	if (is_method(method, B "Acquire")) {
		grant(fake, peer, true);
	} else if (is_method(method, B "Release")) {
		fake_error(fake, peer, B "GroupFailed", "{\"group\":13,\"reason\":\"x\"}");
	} else {
		/* The third connection asks whether the stream is still there. */
		fake_expect(!fake_is_connected(fake, 0), "a stream that was closed");
		fake_reply(fake, peer, false, "{\"leases\":[]}");
	}
}

static void a_release_that_fails_closes_the_stream(void **state)
{
	struct fake *fake = fake_start(answer_no_release);
	struct vfiod *vfiod = client_open(fake);
	int before = count_fds();
	struct vfiod_lease *lease;

	(void)state;
	assert_int_equal(vfiod_acquire(vfiod, wanted, 2, 0, &lease), 0);
	assert_int_equal(vfiod_release(vfiod, lease), -EREMOTEIO);
	assert_string_equal(vfiod_error_name(vfiod), B "GroupFailed");
	assert_string_equal(vfiod_error_parameters(vfiod), "{\"group\":13,\"reason\":\"x\"}");
	assert_int_equal(count_fds(), before);
	poke(fake); /* a poll of the daemon's later than the hang-up */
	assert_int_equal(
		vfiod_call(vfiod, B "Leases", NULL, false, NULL, 0, 5000, NULL, NULL), -ECONNRESET);
	vfiod_close(vfiod);
	fake_stop(fake);
}

static void answer_ended_meanwhile(struct fake *fake, int peer, const char *method,
	struct json_object *parameters, const int *fds, size_t n_fds)
{
	(void)parameters;
	(void)fds;
	(void)n_fds;
	if (is_method(method, B "Acquire")) {
		grant(fake, peer, true);
		return;
	}
	fake_reply(fake, 0, false, "{\"event\":\"ended\",\"reason\":\"revoked\"}");
	fake_error(fake, peer, B "NoSuchLease", "{}");
}

static void a_lease_that_ended_meanwhile_is_released(void **state)
{
	struct fake *fake = fake_start(answer_ended_meanwhile);
	struct vfiod *vfiod = client_open(fake);
	struct vfiod_lease *lease;

	(void)state;
	assert_int_equal(vfiod_acquire(vfiod, wanted, 2, 0, &lease), 0);
	assert_int_equal(vfiod_release(vfiod, lease), 0);
	assert_null(vfiod_error_name(vfiod));
	assert_int_equal(vfiod_dispatch(vfiod, 0), 0);
	vfiod_close(vfiod);
	fake_stop(fake);
}

/* --- leases that follow a process --------------------------------------------------------- */

static void answer_holder(struct fake *fake, int peer, const char *method,
	struct json_object *parameters, const int *fds, size_t n_fds)
{
	if (is_method(method, B "Release")) {
		static int n_releases;

		fake_expect(peer == 0, "the same connection");
		if (n_releases++ == 0)
			fake_reply(fake, peer, false, "{\"lingering\":[7]}");
		else
			fake_error(fake, peer, B "NoSuchLease", "{}");
		return;
	}
	expect_parameters(parameters, "{\"selectors\":[{\"device\":\"0000:01:00.0\"},{\"group\":7}]"
				      ",\"waitSeconds\":4294967295,"
				      "\"holderFileDescriptor\":0}");
	fake_expect(n_fds == 1 && write(fds[0], "", 1) == 1, "the descriptor given as holder");
	grant(fake, peer, false);
}

static void a_holder_leaves_the_handle_free(void **state)
{
	struct fake *fake = fake_start(answer_holder);
	struct vfiod *vfiod = client_open(fake);
	struct vfiod_lease *lease, *other;
	int pair[2];
	char byte;

	(void)state;
	/* Any descriptor that can be recognised: the library passes it on unseen. */
	assert_int_equal(pipe2(pair, O_CLOEXEC), 0);
	assert_int_equal(vfiod_acquire_for(vfiod, wanted, 2, 0xffffffff, -1, &lease), -EINVAL);
	assert_null(lease);
	assert_int_equal(vfiod_acquire_for(vfiod, wanted, 2, 0xffffffff, pair[1], &lease), 0);
	assert_int_equal(vfiod_acquire_for(vfiod, wanted, 2, 0xffffffff, pair[1], &other), 0);
	assert_int_equal(read(pair[0], &byte, 1), 1);
	assert_int_equal(read(pair[0], &byte, 1), 1);
	assert_int_equal(fcntl(pair[1], F_GETFD), FD_CLOEXEC); /* it stays ours */
	assert_int_equal(vfiod_lease_n_groups(other), 2);
	assert_int_equal(vfiod_release(vfiod, lease), 1);
	assert_int_equal(vfiod_release(vfiod, other), -ENOKEY);
	close(pair[0]);
	close(pair[1]);
	vfiod_close(vfiod);
	fake_stop(fake);
}

/* --- requests and grants that make no sense ------------------------------------------------ */

static void answer_busy(struct fake *fake, int peer, const char *method,
	struct json_object *parameters, const int *fds, size_t n_fds)
{
	(void)method;
	(void)parameters;
	(void)fds;
	(void)n_fds;
	fake_reply(fake, peer, true, "{\"event\":\"queued\",\"position\":0}");
	fake_error(fake, peer, B "GroupBusy", "{\"group\":7,\"ownerPid\":1,\"ownerUid\":0}");
}

static void a_refusal_leaves_the_handle_usable(void **state)
{
	static const char *const bad[] = { "group:", "group:x", "group:-1", "group:7x", "group: 7",
		"group:2147483648", "group:99999999999999999999" };
	struct fake *fake = fake_start(answer_busy);
	struct vfiod *vfiod = client_open(fake);
	struct vfiod_lease *lease = (struct vfiod_lease *)&lease;

	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		char sentence[128];

		assert_int_equal(vfiod_acquire(vfiod, &bad[i], 1, 0, &lease), -EINVAL);
		assert_null(lease);
		snprintf(sentence, sizeof sentence, "%s: not the number of a group", bad[i]);
		assert_string_equal(vfiod_strerror(vfiod), sentence);
	}
	assert_int_equal(vfiod_acquire(vfiod, wanted, 0, 0, &lease), -EINVAL);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(vfiod_acquire(vfiod, wanted, 2, 0, &lease), -EBUSY);
		assert_string_equal(vfiod_strerror(vfiod), "group 7 is held by pid 1 (uid 0)");
		assert_null(lease);
	}
	vfiod_close(vfiod);
	fake_stop(fake);
}

#define GROUP(fields) "\"groups\":[{" fields "}]"
#define NAMES "\"lease\":\"3\",\"token\":\"t\","
#define STREAM(parameters) "{\"parameters\":{" parameters "},\"continues\":true}"
#define GRANTED(rest) STREAM("\"event\":\"granted\"," rest)
static const char *const bad_grants[] = {
	GRANTED("\"token\":\"t\"," GROUP("\"number\":1,\"devices\":[],\"groupFileDescriptor\":0")),
	GRANTED("\"lease\":\"3\"," GROUP("\"number\":1,\"devices\":[],\"groupFileDescriptor\":0")),
	GRANTED("\"lease\":\"3\",\"token\":\"t\""),
	GRANTED(NAMES "\"groups\":[]"),
	GRANTED(NAMES "\"groups\":{}"),
	GRANTED(NAMES "\"groups\":[7]"),
	GRANTED(NAMES GROUP("\"number\":-1,\"devices\":[],\"groupFileDescriptor\":0")),
	GRANTED(NAMES GROUP("\"number\":2147483648,\"devices\":[],\"groupFileDescriptor\":0")),
	GRANTED(NAMES GROUP("\"devices\":[],\"groupFileDescriptor\":0")),
	GRANTED(NAMES GROUP("\"number\":1,\"groupFileDescriptor\":0")),
	GRANTED(NAMES GROUP("\"number\":1,\"devices\":[1],\"groupFileDescriptor\":0")),
	GRANTED(NAMES GROUP("\"number\":1,\"devices\":[]")),
	GRANTED(NAMES GROUP("\"number\":1,\"devices\":[],\"groupFileDescriptor\":1")),
	GRANTED(NAMES GROUP("\"number\":1,\"devices\":[],\"groupFileDescriptor\":-1")),
	GRANTED(NAMES "\"groups\":[{\"number\":1,\"devices\":[],\"groupFileDescriptor\":0},"
		      "{\"number\":2,\"devices\":[],\"groupFileDescriptor\":0}]"),
	/* A stream that is over with its grant would be a lease that nothing holds. */
	"{\"parameters\":{\"event\":\"granted\"," NAMES GROUP(
		"\"number\":1,\"devices\":[],\"groupFileDescriptor\":0") "}}",
	"{\"parameters\":{\"event\":\"queued\"}}",
	"{\"parameters\":{}}",
};

static void answer_bad_grant(struct fake *fake, int peer, const char *method,
	struct json_object *parameters, const int *fds, size_t n_fds)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	(void)method;
	(void)parameters;
	(void)fds;
	(void)n_fds;
	fake_raw(fake, peer, bad_grants[peer], strlen(bad_grants[peer]) + 1, fd);
	close(fd);
}

_Static_assert(sizeof bad_grants / sizeof *bad_grants <= FAKE_MAX_PEERS, "peers of the fake");

static void grants_that_make_no_sense_leak_nothing(void **state)
{
	struct fake *fake = fake_start(answer_bad_grant);
	int before = count_fds();

	(void)state;
	for (size_t i = 0; i < sizeof bad_grants / sizeof *bad_grants; i++) {
		struct vfiod *vfiod = client_open(fake);
		struct vfiod_lease *lease;

		assert_int_equal(vfiod_acquire(vfiod, wanted, 2, 0, &lease), -EPROTO);
		assert_null(lease);
		vfiod_close(vfiod);
		assert_int_equal(count_fds(), before);
	}
	fake_stop(fake);
}

static const char whole_grant[] =
	GRANTED(NAMES GROUP("\"number\":1,\"devices\":[\"a\"],\"groupFileDescriptor\":0"));
static size_t cut_at; /* set before the fork: one daemon a length */

static void answer_cut(struct fake *fake, int peer, const char *method,
	struct json_object *parameters, const int *fds, size_t n_fds)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	(void)method;
	(void)parameters;
	(void)fds;
	(void)n_fds;
	fake_raw(fake, peer, whole_grant, cut_at, fd);
	fake_hang_up(fake, peer);
	close(fd);
}

/* Cut after each of its bytes, the NUL at its end included: only the whole of it is a lease. */
static void a_grant_cut_anywhere_leaks_nothing(void **state)
{
	(void)state;
	for (cut_at = 0; cut_at <= sizeof whole_grant; cut_at++) {
		bool is_whole = cut_at == sizeof whole_grant;
		struct fake *fake = fake_start(answer_cut);
		int before = count_fds();
		struct vfiod *vfiod = client_open(fake);
		struct vfiod_lease *lease;

		assert_int_equal(
			vfiod_acquire(vfiod, wanted, 2, 0, &lease), is_whole ? 0 : -ECONNRESET);
		assert_int_equal(lease != NULL, is_whole);
		vfiod_close(vfiod);
		assert_int_equal(count_fds(), before);
		fake_stop(fake);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_lease_hands_over_its_groups),
		cmocka_unit_test(release_frees_the_handle),
		cmocka_unit_test(events_are_dispatched),
		cmocka_unit_test(dispatch_tells_that_the_daemon_has_gone),
		cmocka_unit_test(an_error_ends_the_stream_as_well),
		cmocka_unit_test(the_callback_may_release),
		cmocka_unit_test(a_release_that_fails_closes_the_stream),
		cmocka_unit_test(a_lease_that_ended_meanwhile_is_released),
		cmocka_unit_test(a_holder_leaves_the_handle_free),
		cmocka_unit_test(a_refusal_leaves_the_handle_usable),
		cmocka_unit_test(grants_that_make_no_sense_leak_nothing),
		cmocka_unit_test(a_grant_cut_anywhere_leaks_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
