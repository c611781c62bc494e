/* libvfiod's leases with options: what is asked of the daemon, and what it reserves. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "client/include/vfiod.h"
#include "tests/unit/client/client.h"

#define ACQUIRE "org.vfiod.Broker.Acquire"
#define SELECTOR "{\"selectors\":[{\"device\":\"0000:01:00.0\"}],"
#define GRANT(groups)                                                                              \
	"{\"event\":\"granted\",\"lease\":\"L3\",\"token\":\"secret\",\"groups\":[" groups "]}"
#define GROUP_13 GRANT("{\"number\":13,\"devices\":[],\"groupFileDescriptor\":0}")
#define LIMIT_EXCEEDED                                                                             \
	"{\"account\":\"uid:1000\",\"limit\":\"kernel-bill-limit\",\"limitBytes\":1073741824,"     \
	"\"stateBytes\":536870912,\"requestedBytes\":805306368}"

static const char *const wanted[] = { "0000:01:00.0" };

static void grant(struct fake *fake, int peer, bool continues)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	fake_reply_fds(fake, peer, continues, GROUP_13, &fd, 1);
	close(fd);
}

/* Each connection asks in its own way. */
static const char *const asked[] = {
	SELECTOR "\"waitSeconds\":0}",
	SELECTOR "\"waitSeconds\":0}",
	SELECTOR "\"waitSeconds\":5,\"holderFileDescriptor\":0,\"memoryBytes\":536870912}",
	SELECTOR "\"waitSeconds\":0,\"mode\":\"brokered\"}",
	SELECTOR "\"waitSeconds\":0,\"memoryBytes\":9223372036854775806}",
};

static void answer_options(struct fake *fake, int peer, const char *method,
	struct json_object *parameters, const int *fds, size_t n_fds)
{
	const char *text = json_object_to_json_string_ext(parameters, JSON_C_TO_STRING_PLAIN);

	(void)fds;
	fake_expect(strcmp(method, ACQUIRE) == 0, ACQUIRE);
	fake_expect(strcmp(text, asked[peer]) == 0, asked[peer]);
	fake_expect(n_fds == (peer == 2), "a pidfd with the third");
	if (peer == 2)
		fake_reply(fake, peer, true, "{\"event\":\"queued\",\"position\":1}");
	if (peer == 3)
		fake_reply(fake, peer, false, GRANT("{\"number\":13,\"devices\":[]}"));
	else if (peer == 4)
		fake_error(fake, peer, "org.vfiod.Broker.LimitExceeded", LIMIT_EXCEEDED);
	else
		grant(fake, peer, peer == 2);
}

static void queued_note(unsigned position, void *userdata)
{
	*(unsigned *)userdata = position;
}

static struct vfiod_lease *acquired(
	struct vfiod *vfiod, const struct vfiod_acquire_options *options)
{
	struct vfiod_lease *lease;

	assert_int_equal(vfiod_acquire_with(vfiod, wanted, 1, options, &lease), 0);
	return lease;
}

static void options_say_what_is_asked_for(void **state)
{
	struct fake *fake = fake_start(answer_options);
	struct vfiod *vfiods[5];
	struct vfiod_lease *lease;
	unsigned position = 0;
	int pidfd = open("/dev/null", O_RDONLY | O_CLOEXEC); /* the library does not look */
	struct vfiod_acquire_options options = { .size = sizeof options };

	(void)state;
	for (size_t i = 0; i < 5; i++)
		vfiods[i] = client_open(fake);
	assert_true(vfiod_lease_group_fd(acquired(vfiods[0], NULL), 0) >= 0);
	acquired(vfiods[1], &options);
	options = (struct vfiod_acquire_options){
		.size = sizeof options,
		.flags = VFIOD_ACQUIRE_FOLLOW | VFIOD_ACQUIRE_WATCH,
		.pidfd = pidfd,
		.wait_seconds = 5,
		.memory_bytes = UINT64_C(512) << 20,
		.on_queued = queued_note,
		.userdata = &position,
	};
	acquired(vfiods[2], &options);
	assert_int_equal(position, 1);
	/* Who watches has no handle for calls; who does not, has. */
	assert_int_equal(vfiod_reserve(vfiods[2], "secret", 1, NULL), -EBUSY);
	options = (struct vfiod_acquire_options){
		.size = sizeof options,
		.flags = VFIOD_ACQUIRE_BROKERED,
	};
	assert_int_equal(vfiod_lease_group_fd(acquired(vfiods[3], &options), 0), -EBADF);
	options = (struct vfiod_acquire_options){
		.size = sizeof options,
		.memory_bytes = INT64_MAX - 1,
	};
	assert_int_equal(vfiod_acquire_with(vfiods[4], wanted, 1, &options, &lease), -EDQUOT);
	assert_null(lease);
	assert_string_equal(vfiod_strerror(vfiods[4]),
		"the kernel-bill-limit of account uid:1000 is 1.0 GiB: 512.0 MiB of it is billed "
		"or reserved, and 768.0 MiB was asked for; nothing was pinned or reserved");
	for (size_t i = 0; i < 5; i++)
		vfiod_close(vfiods[i]);
	close(pidfd);
	fake_stop(fake);
}

static void answer_nothing(struct fake *fake, int peer, const char *method,
	struct json_object *parameters, const int *fds, size_t n_fds)
{
	(void)peer;
	(void)parameters;
	(void)fds;
	(void)n_fds;
	(void)fake;
	fake_expect(false, method);
}

/* Of a library that has grown: the daemon is not asked for what this one would leave out. */
static void options_that_are_not_known_are_refused(void **state)
{
	struct {
		struct vfiod_acquire_options options;
		unsigned char newer[8];
	} grown = { .options = { .size = sizeof grown } };
	static const struct vfiod_acquire_options wrong[] = {
		{ .size = 0 },
		{ .size = sizeof(struct vfiod_acquire_options) - 1 },
		{ .size = sizeof(struct vfiod_acquire_options), .flags = 1 << 5 },
		{ .size = sizeof(struct vfiod_acquire_options),
			.flags = VFIOD_ACQUIRE_FOLLOW,
			.pidfd = -1 },
		{ .size = sizeof(struct vfiod_acquire_options), .on_queued = queued_note },
		{ .size = sizeof(struct vfiod_acquire_options), .memory_bytes = INT64_MAX },
		{ .size = sizeof(struct vfiod_acquire_options), .memory_bytes = UINT64_MAX },
	};
	struct fake *fake = fake_start(answer_nothing);
	struct vfiod *vfiod = client_open(fake);
	struct vfiod_lease *lease = (struct vfiod_lease *)&lease;

	(void)state;
	for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
		assert_int_equal(vfiod_acquire_with(vfiod, wanted, 1, &wrong[i], &lease), -EINVAL);
		assert_null(lease);
		assert_string_not_equal(vfiod_strerror(vfiod), "no error");
	}
	for (size_t i = 0; i < sizeof grown.newer; i++) {
		memset(grown.newer, 0, sizeof grown.newer);
		grown.newer[i] = 1;
		assert_int_equal(
			vfiod_acquire_with(vfiod, wanted, 1, &grown.options, &lease), -E2BIG);
	}
	/* Zeros ask for nothing: it gets as far as the devices. */
	memset(grown.newer, 0, sizeof grown.newer);
	assert_int_equal(vfiod_acquire_with(vfiod, wanted, 0, &grown.options, &lease), -EINVAL);
	assert_string_equal(vfiod_strerror(vfiod), "no device was named");
	assert_int_equal(vfiod_reserve(vfiod, "secret", INT64_MAX, NULL), -EINVAL);
	assert_string_equal(
		vfiod_strerror(vfiod), "9223372036854775807 bytes are beyond all memory");
	vfiod_close(vfiod);
	fake_stop(fake);
}

static void answer_reserve(struct fake *fake, int peer, const char *method,
	struct json_object *parameters, const int *fds, size_t n_fds)
{
	const char *text = json_object_to_json_string_ext(parameters, JSON_C_TO_STRING_PLAIN);
	static const char nonsense[] = "{\"parameters\":{\"memoryBytes\":\"512M\"}}";
	static int n;

	(void)fds;
	fake_expect(strcmp(method, "org.vfiod.Ledger.Reserve") == 0, "Reserve");
	fake_expect(strcmp(text, "{\"token\":\"secret\",\"memoryBytes\":4096}") == 0, text);
	fake_expect(n_fds == 0, "no descriptors");
	switch (n++) {
	case 0:
	case 1:
		fake_reply(fake, peer, false, "{\"memoryBytes\":536875008}");
		break;
	case 2:
		fake_error(fake, peer, "org.vfiod.Broker.LimitExceeded", LIMIT_EXCEEDED);
		break;
	case 3:
		fake_error(fake, peer, "org.vfiod.Broker.NoSuchLease", "{}");
		break;
	default:
		fake_raw(fake, peer, nonsense, sizeof nonsense, -1);
	}
}

static void more_is_reserved(void **state)
{
	struct fake *fake = fake_start(answer_reserve);
	struct vfiod *vfiod = client_open(fake);
	uint64_t total = 7;

	(void)state;
	assert_int_equal(vfiod_reserve(vfiod, "secret", 4096, &total), 0);
	assert_true(total == 536875008);
	assert_int_equal(vfiod_reserve(vfiod, "secret", 4096, NULL), 0);
	total = 7;
	assert_int_equal(vfiod_reserve(vfiod, "secret", 4096, &total), -EDQUOT);
	assert_string_equal(vfiod_error_parameters(vfiod), LIMIT_EXCEEDED);
	assert_int_equal(vfiod_reserve(vfiod, "secret", 4096, &total), -ENOKEY);
	assert_int_equal(vfiod_reserve(vfiod, "secret", 4096, &total), -EPROTO);
	assert_true(total == 7);
	vfiod_close(vfiod);
	fake_stop(fake);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(options_say_what_is_asked_for),
		cmocka_unit_test(options_that_are_not_known_are_refused),
		cmocka_unit_test(more_is_reserved),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
