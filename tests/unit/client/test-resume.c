/* A daemon that was restarted: its clients' leases go on, with another connection. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <unistd.h>

#include <cmocka.h>

#include "client/include/vfiod.h"
#include "tests/unit/client/client.h"
#include "tests/unit/client/fake.h"

#define B "org.vfiod.Broker."

static const char *const wanted[] = { "0000:01:00.0" };

/* Each peer's lease has its number as its token. */
static void grant(struct fake *fake, int peer, bool continues)
{
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	char text[256];

	snprintf(text, sizeof text,
		"{\"event\":\"granted\",\"lease\":\"L%d\",\"token\":\"secret%d\",\"groups\":["
		"{\"number\":13,\"devices\":[],\"groupFileDescriptor\":0}]}",
		peer, peer);
	fake_reply_fds(fake, peer, continues, text, &fd, 1);
	close(fd);
}

static bool is_method(const char *method, const char *name)
{
	return strcmp(method, name) == 0;
}

static void expect_token(struct json_object *parameters, const char *token)
{
	const char *there = json_object_get_string(json_object_object_get(parameters, "token"));
	fake_expect(there && strcmp(there, token) == 0, token);
}

#define RESUMED "{\"event\":\"resumed\",\"lease\":\"L0\",\"token\":\"secret0\",\"groups\":[]}"

static void answer_stream(struct fake *fake, int peer, const char *method,
	struct json_object *parameters, const int *fds, size_t n_fds)
{
	(void)fds;
	(void)n_fds;
	if (is_method(method, B "Acquire")) {
		grant(fake, peer, true);
		fake_hang_up(fake, peer);
		return;
	}
	fake_expect(is_method(method, B "Resume"), "Resume");
	fake_expect(peer == 1, "a second connection");
	expect_token(parameters, "secret0");
	fake_reply(fake, peer, true, RESUMED);
	fake_reply(fake, peer, true, "{\"event\":\"releaseRequested\",\"reason\":\"x\"}");
	fake_reply(fake, peer, false, "{\"event\":\"ended\",\"reason\":\"enough\"}");
}

static void on_event(
	struct vfiod_lease *lease, enum vfiod_event event, const char *text, void *userdata)
{
	char *heard = userdata;

	(void)lease;
	snprintf(heard + strlen(heard), 128 - strlen(heard), "%d:%s;", (int)event, text);
}

static void a_stream_goes_on(void **state)
{
	struct fake *fake = fake_start(answer_stream);
	struct vfiod *vfiod = client_open(fake);
	struct vfiod_lease *lease;
	char heard[128] = "";
	int fd = vfiod_get_fd(vfiod);

	(void)state;
	assert_int_equal(vfiod_acquire(vfiod, wanted, 1, 0, &lease), 0);
	vfiod_lease_on_event(lease, on_event, heard);
	assert_int_equal(vfiod_dispatch(vfiod, 5000), -ECONNRESET);
	assert_string_equal(heard, "");
	assert_int_equal(vfiod_resume(vfiod, 5000), 0);
	/* Whoever waits for it goes on waiting for the same. */
	assert_int_equal(vfiod_get_fd(vfiod), fd);
	while (!strstr(heard, "2:"))
		assert_true(vfiod_dispatch(vfiod, 5000) >= 0);
	assert_string_equal(heard, "0:x;2:enough;");
	assert_true(vfiod_lease_group_fd(lease, 0) >= 0);
	vfiod_close(vfiod);
	fake_stop(fake);
}

static void answer_no_such_lease(struct fake *fake, int peer, const char *method,
	struct json_object *parameters, const int *fds, size_t n_fds)
{
	(void)parameters;
	(void)fds;
	(void)n_fds;
	if (is_method(method, B "Acquire")) {
		grant(fake, peer, true);
		fake_hang_up(fake, peer);
	} else {
		fake_error(fake, peer, B "NoSuchLease", "{}");
	}
}

static void a_lease_that_is_over_says_so(void **state)
{
	struct fake *fake = fake_start(answer_no_such_lease);
	struct vfiod *vfiod = client_open(fake);
	struct vfiod_lease *lease;
	char heard[128] = "";

	(void)state;
	assert_int_equal(vfiod_acquire(vfiod, wanted, 1, 0, &lease), 0);
	vfiod_lease_on_event(lease, on_event, heard);
	assert_int_equal(vfiod_dispatch(vfiod, 5000), -ECONNRESET);
	assert_int_equal(vfiod_resume(vfiod, 5000), 1);
	assert_string_equal(heard, "2:it has ended while vfiod was away;");
	/* Nothing is left to release, and the handle can be used. */
	assert_int_equal(vfiod_release(vfiod, lease), 0);
	assert_int_equal(vfiod_call(vfiod, B "Release", "{\"token\":\"x\"}", false, NULL, 0, 5000,
				 NULL, NULL),
		-ENOKEY);
	vfiod_close(vfiod);
	fake_stop(fake);
}

static void answer_several(struct fake *fake, int peer, const char *method,
	struct json_object *parameters, const int *fds, size_t n_fds)
{
	const char *more = json_object_get_string(json_object_object_get(parameters, "token"));

	(void)fds;
	if (is_method(method, B "Acquire")) {
		fake_expect(peer == 0, "the first connection");
		grant(fake, peer, false);
		/* The second one follows a process. */
		if (n_fds > 0)
			fake_hang_up(fake, peer);
		return;
	}
	fake_expect(is_method(method, B "Resume") && more, "Resume");
	fake_reply(fake, peer, false, RESUMED);
}

/* One that lives with the connection is resumed, one that follows a process need not. */
static void leases_without_a_stream(void **state)
{
	struct fake *fake = fake_start(answer_several);
	struct vfiod *vfiod = client_open(fake);
	const struct vfiod_acquire_options options = { .size = sizeof options };
	struct vfiod_lease *lease, *following;
	int pidfd = pidfd_open(getpid(), 0);

	(void)state;
	assert_int_equal(vfiod_acquire_with(vfiod, wanted, 1, &options, &lease), 0);
	assert_int_equal(vfiod_acquire_for(vfiod, wanted, 1, 0, pidfd, &following), 0);
	close(pidfd);
	assert_int_equal(vfiod_dispatch(vfiod, 5000), -ECONNRESET);
	assert_int_equal(vfiod_resume(vfiod, 5000), 0);
	vfiod_close(vfiod);
	fake_stop(fake);
}

/* Asks without waiting, until it is said. */
static int resume_by_polling(struct vfiod *vfiod)
{
	struct pollfd pollfd = { .events = POLLIN };
	int r;

	while ((r = vfiod_resume(vfiod, 0)) == -ETIMEDOUT) {
		pollfd.fd = vfiod_get_fd(vfiod);
		assert_int_equal(poll(&pollfd, 1, 5000), 1);
	}
	return r;
}

/* Two that are asked for in turn, and each of them once. */
static void answer_late(struct fake *fake, int peer, const char *method,
	struct json_object *parameters, const int *fds, size_t n_fds)
{
	static unsigned n_asked;

	(void)parameters;
	(void)fds;
	(void)n_fds;
	if (is_method(method, B "Acquire")) {
		grant(fake, peer, false);
		if (++n_asked == 2)
			fake_hang_up(fake, peer);
		return;
	}
	fake_expect(is_method(method, B "Resume"), "Resume");
	fake_expect(peer == 1, "one connection");
	fake_expect(++n_asked <= 4, "each once");
	/* The first question comes long before this. */
	usleep(20000);
	fake_reply(fake, peer, false, RESUMED);
}

static void it_does_not_wait(void **state)
{
	struct fake *fake = fake_start(answer_late);
	struct vfiod *vfiod = client_open(fake);
	const struct vfiod_acquire_options options = { .size = sizeof options };
	struct vfiod_lease *leases[2];

	(void)state;
	for (size_t i = 0; i < 2; i++)
		assert_int_equal(vfiod_acquire_with(vfiod, wanted, 1, &options, &leases[i]), 0);
	assert_int_equal(vfiod_dispatch(vfiod, 5000), -ECONNRESET);
	assert_int_equal(vfiod_resume(vfiod, 0), -ETIMEDOUT);
	assert_non_null(strstr(vfiod_strerror(vfiod), "has not answered yet"));
	assert_int_equal(vfiod_dispatch(vfiod, 0), -ECONNRESET);
	assert_int_equal(resume_by_polling(vfiod), 0);
	assert_int_equal(vfiod_dispatch(vfiod, 0), 0);
	vfiod_close(vfiod);
	fake_stop(fake);
}

/* Who releases what is being asked for has it begin anew. */
static void answer_release(struct fake *fake, int peer, const char *method,
	struct json_object *parameters, const int *fds, size_t n_fds)
{
	(void)parameters;
	(void)fds;
	(void)n_fds;
	if (is_method(method, B "Acquire")) {
		grant(fake, peer, false);
		fake_hang_up(fake, peer);
	} else if (is_method(method, B "Release")) {
		fake_reply(fake, peer, false, "{\"lingering\":[]}");
	}
}

static void released_while_it_waits(void **state)
{
	struct fake *fake = fake_start(answer_release);
	struct vfiod *vfiod = client_open(fake);
	const struct vfiod_acquire_options options = { .size = sizeof options };
	struct vfiod_lease *lease;

	(void)state;
	assert_int_equal(vfiod_acquire_with(vfiod, wanted, 1, &options, &lease), 0);
	assert_int_equal(vfiod_dispatch(vfiod, 5000), -ECONNRESET);
	assert_int_equal(vfiod_resume(vfiod, 0), -ETIMEDOUT);
	assert_int_equal(vfiod_release(vfiod, lease), 0);
	assert_int_equal(vfiod_resume(vfiod, 0), 0);
	vfiod_close(vfiod);
	fake_stop(fake);
}

/* It asks once, waits no longer than it may, and can be called again. */
static void nobody_is_there(void **state)
{
	struct fake *fake = fake_start(answer_stream);
	struct vfiod *vfiod = client_open(fake);
	struct vfiod_lease *lease;
	char path[128], elsewhere[160];

	(void)state;
	assert_int_equal(vfiod_acquire(vfiod, wanted, 1, 0, &lease), 0);
	snprintf(path, sizeof path, "%s", fake_socket(fake));
	snprintf(elsewhere, sizeof elsewhere, "%s.elsewhere", path);
	assert_int_equal(vfiod_dispatch(vfiod, 5000), -ECONNRESET);
	assert_int_equal(rename(path, elsewhere), 0);
	assert_int_equal(vfiod_resume(vfiod, 0), -ENOENT);
	assert_non_null(strstr(vfiod_strerror(vfiod), "cannot connect to "));
	assert_int_equal(vfiod_resume(vfiod, 120), -ENOENT);
	assert_int_equal(vfiod_dispatch(vfiod, 0), -ECONNRESET);
	assert_int_equal(rename(elsewhere, path), 0);
	assert_int_equal(resume_by_polling(vfiod), 0);
	vfiod_close(vfiod);
	fake_stop(fake);
}

static void answer_and_hang_up(struct fake *fake, int peer, const char *method,
	struct json_object *parameters, const int *fds, size_t n_fds)
{
	(void)parameters;
	(void)fds;
	(void)n_fds;
	if (is_method(method, B "Acquire"))
		grant(fake, peer, true);
	if (peer < 3)
		fake_hang_up(fake, peer);
	else
		fake_reply(fake, peer, true, RESUMED);
}

/* Restarted once more, in the middle of it. */
static void lost_again(void **state)
{
	struct fake *fake = fake_start(answer_and_hang_up);
	struct vfiod *vfiod = client_open(fake);
	struct vfiod_lease *lease;

	(void)state;
	assert_int_equal(vfiod_acquire(vfiod, wanted, 1, 0, &lease), 0);
	assert_int_equal(vfiod_dispatch(vfiod, 5000), -ECONNRESET);
	assert_int_equal(resume_by_polling(vfiod), -ECONNRESET);
	assert_int_equal(vfiod_dispatch(vfiod, 5000), -ECONNRESET);
	/* It is tried again in the time that there is. */
	assert_int_equal(vfiod_resume(vfiod, 5000), 0);
	vfiod_close(vfiod);
	fake_stop(fake);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_stream_goes_on),
		cmocka_unit_test(a_lease_that_is_over_says_so),
		cmocka_unit_test(leases_without_a_stream),
		cmocka_unit_test(it_does_not_wait),
		cmocka_unit_test(released_while_it_waits),
		cmocka_unit_test(nobody_is_there),
		cmocka_unit_test(lost_again),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
