/* libvfiod's leases in mode cdev: descriptors of devices and an iommufd, and grants that lie. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "client/include/vfiod.h"
#include "tests/unit/client/client.h"
#include "tests/unit/client/fake.h"

#define N_FILES 4

static const char *const wanted[] = { "0000:01:00.0", "group:7" };

/* Three devices and the iommufd, told apart by what is in them: a digit, its index. */
static const char grant_cdev[] =
	"{\"event\":\"granted\",\"lease\":\"3\",\"token\":\"secret\",\"mode\":\"cdev\","
	"\"iommufdFileDescriptor\":3,\"groups\":["
	"{\"number\":13,\"devices\":[\"0000:01:00.0\",\"0000:01:00.1\"],"
	"\"groupFileDescriptor\":null,\"deviceFileDescriptors\":[1,0]},"
	"{\"number\":7,\"devices\":[\"0000:06:01.0\"],\"deviceFileDescriptors\":[2]}]}";

static void files_open(int fds[N_FILES])
{
	for (int i = 0; i < N_FILES; i++) {
		char digit = (char)('0' + i);
		int pair[2];

		fake_expect(
			pipe2(pair, O_CLOEXEC) == 0 && write(pair[1], &digit, 1) == 1, "a pipe");
		close(pair[1]);
		fds[i] = pair[0];
	}
}

static void files_close(const int fds[N_FILES])
{
	for (int i = 0; i < N_FILES; i++)
		close(fds[i]);
}

static void expect_mode(struct json_object *parameters, const char *mode)
{
	struct json_object *value;

	fake_expect(json_object_object_get_ex(parameters, "mode", &value) &&
			    strcmp(json_object_get_string(value), mode) == 0,
		mode);
}

static void answer_cdev(struct fake *fake, int peer, const char *method,
	struct json_object *parameters, const int *fds, size_t n_fds)
{
	int files[N_FILES];

	(void)fds;
	(void)n_fds;
	if (strcmp(method, "org.vfiod.Broker.Acquire") == 0) {
		expect_mode(parameters, "cdev");
		files_open(files);
		fake_reply_fds(fake, peer, true, grant_cdev, files, N_FILES);
		files_close(files);
		return;
	}
	fake_reply(fake, peer, false, "{\"lingering\":[]}");
	fake_reply(fake, 0, false, "{\"event\":\"ended\",\"reason\":\"released\"}");
}

static void assert_file(int fd, char wanted_digit)
{
	char digit = ' ';

	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	assert_int_equal(read(fd, &digit, 1), 1);
	assert_int_equal(digit, wanted_digit);
}

static void a_lease_hands_over_its_devices(void **state)
{
	struct fake *fake = fake_start(answer_cdev);
	int before = count_fds(), stolen[2];
	struct vfiod *vfiod = client_open(fake);
	struct vfiod_lease *lease;

	(void)state;
	assert_int_equal(vfiod_acquire_cdev(vfiod, wanted, 2, 10, &lease), 0);
	assert_int_equal(vfiod_lease_n_groups(lease), 2);
	assert_int_equal(vfiod_lease_group_number(lease, 1), 7);
	assert_int_equal(vfiod_lease_n_devices(lease, 0), 2);
	assert_string_equal(vfiod_lease_device(lease, 1, 0), "0000:06:01.0");
	assert_int_equal(vfiod_lease_group_fd(lease, 0), -EBADF);
	assert_int_equal(vfiod_lease_steal_group_fd(lease, 1), -EBADF);

	/* By the index in the message, not by order. */
	assert_file(vfiod_lease_device_fd(lease, "0000:01:00.0"), '1');
	assert_file(vfiod_lease_device_fd(lease, "0000:01:00.1"), '0');
	stolen[0] = vfiod_lease_steal_device_fd(lease, "0000:06:01.0");
	assert_file(stolen[0], '2');
	assert_int_equal(vfiod_lease_device_fd(lease, "0000:06:01.0"), -EBADF);
	assert_int_equal(vfiod_lease_steal_device_fd(lease, "0000:06:01.0"), -EBADF);
	assert_int_equal(vfiod_lease_device_fd(lease, "0000:06:02.0"), -EINVAL);
	assert_int_equal(vfiod_lease_steal_device_fd(lease, ""), -EINVAL);
	assert_int_equal(vfiod_lease_iommufd(lease), vfiod_lease_iommufd(lease));
	stolen[1] = vfiod_lease_steal_iommufd(lease);
	assert_file(stolen[1], '3');
	assert_int_equal(vfiod_lease_iommufd(lease), -EBADF);
	assert_int_equal(vfiod_lease_steal_iommufd(lease), -EBADF);

	assert_int_equal(vfiod_release(vfiod, lease), 0);
	vfiod_close(vfiod);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(fcntl(stolen[i], F_GETFD), FD_CLOEXEC);
		close(stolen[i]);
	}
	assert_int_equal(count_fds(), before);
	fake_stop(fake);
}

static void closing_closes_what_the_lease_owns(void **state)
{
	struct fake *fake = fake_start(answer_cdev);
	int before = count_fds();
	struct vfiod *vfiod = client_open(fake);
	struct vfiod_lease *lease;

	(void)state;
	assert_int_equal(vfiod_acquire_cdev(vfiod, wanted, 2, 10, &lease), 0);
	assert_int_equal(count_fds(), before + 1 + N_FILES);
	vfiod_close(vfiod);
	assert_int_equal(count_fds(), before);
	fake_stop(fake);
}

/* --- what is asked for, and what comes of it ----------------------------------------------- */

static const char grant_group[] =
	"{\"event\":\"granted\",\"lease\":\"3\",\"token\":\"t\",\"mode\":\"group\",\"groups\":["
	"{\"number\":7,\"devices\":[\"0000:06:01.0\"],\"groupFileDescriptor\":0}]}";
static const char grant_brokered[] =
	"{\"event\":\"granted\",\"lease\":\"3\",\"token\":\"t\",\"mode\":\"brokered\",\"groups\":["
	"{\"number\":7,\"devices\":[\"0000:06:01.0\"]}]}";

/* What a flag asks for, and what of the three grants may answer it. */
static const struct mode_case {
	unsigned flag;
	const char *asked;
	bool group, cdev, brokered;
} mode_cases[] = {
	{ 0, NULL, true, true, false },
	{ VFIOD_ACQUIRE_GROUP, "group", true, false, false },
	{ VFIOD_ACQUIRE_CDEV, "cdev", false, true, false },
	{ VFIOD_ACQUIRE_BROKERED, "brokered", false, false, true },
};
#define N_MODE_CASES (sizeof mode_cases / sizeof *mode_cases)
#define N_GRANTS 3

static const char *const grants[N_GRANTS] = { grant_group, grant_cdev, grant_brokered };

static void answer_modes(struct fake *fake, int peer, const char *method,
	struct json_object *parameters, const int *fds, size_t n_fds)
{
	const struct mode_case *mode = &mode_cases[peer / N_GRANTS];
	int files[N_FILES];

	(void)method;
	(void)fds;
	(void)n_fds;
	if (mode->asked)
		expect_mode(parameters, mode->asked);
	else
		fake_expect(!json_object_object_get(parameters, "mode"), "no mode");
	files_open(files);
	fake_reply_fds(fake, peer, false, grants[peer % N_GRANTS], files, N_FILES);
	files_close(files);
}

static void a_mode_that_was_not_asked_for_makes_no_sense(void **state)
{
	struct fake *fake = fake_start(answer_modes);
	int before = count_fds();

	(void)state;
	for (size_t i = 0; i < N_MODE_CASES * N_GRANTS; i++) {
		const struct mode_case *mode = &mode_cases[i / N_GRANTS];
		const bool fits[N_GRANTS] = { mode->group, mode->cdev, mode->brokered };
		const struct vfiod_acquire_options options = { .size = sizeof options,
			.flags = mode->flag };
		struct vfiod *vfiod = client_open(fake);
		struct vfiod_lease *lease;

		assert_int_equal(vfiod_acquire_with(vfiod, wanted, 2, &options, &lease),
			fits[i % N_GRANTS] ? 0 : -EPROTO);
		if (lease) {
			assert_int_equal(vfiod_lease_iommufd(lease) >= 0, i % N_GRANTS == 1);
			assert_int_equal(vfiod_lease_group_fd(lease, 0) >= 0, i % N_GRANTS == 0);
		}
		vfiod_close(vfiod);
		assert_int_equal(count_fds(), before);
	}
	fake_stop(fake);
}

static void answer_nothing(struct fake *fake, int peer, const char *method,
	struct json_object *parameters, const int *fds, size_t n_fds)
{
	(void)fake;
	(void)peer;
	(void)parameters;
	(void)fds;
	(void)n_fds;
	fake_expect(false, method);
}

static void there_is_one_mode(void **state)
{
	static const unsigned several[] = { VFIOD_ACQUIRE_GROUP | VFIOD_ACQUIRE_CDEV,
		VFIOD_ACQUIRE_BROKERED | VFIOD_ACQUIRE_CDEV,
		VFIOD_ACQUIRE_BROKERED | VFIOD_ACQUIRE_GROUP,
		VFIOD_ACQUIRE_BROKERED | VFIOD_ACQUIRE_GROUP | VFIOD_ACQUIRE_CDEV,
		(VFIOD_ACQUIRE_CDEV << 1) };
	struct fake *fake = fake_start(answer_nothing);
	struct vfiod *vfiod = client_open(fake);

	(void)state;
	for (size_t i = 0; i < sizeof several / sizeof *several; i++) {
		const struct vfiod_acquire_options options = { .size = sizeof options,
			.flags = several[i] };
		struct vfiod_lease *lease;

		assert_int_equal(vfiod_acquire_with(vfiod, wanted, 2, &options, &lease), -EINVAL);
		assert_null(lease);
		assert_string_equal(
			vfiod_strerror(vfiod), i < 4 ? "an acquire has one mode, not several"
						     : "flags of an acquire that are not known");
	}
	vfiod_close(vfiod);
	fake_stop(fake);
}

/* A daemon before this mode, and a kernel without what it takes. */
static void answer_refusals(struct fake *fake, int peer, const char *method,
	struct json_object *parameters, const int *fds, size_t n_fds)
{
	static int n;

	(void)method;
	(void)parameters;
	(void)fds;
	(void)n_fds;
	if (n++ == 0)
		fake_error(fake, peer, "org.varlink.service.InvalidParameter",
			"{\"parameter\":\"mode\"}");
	else
		fake_error(fake, peer, "org.vfiod.Broker.NotSupported",
			"{\"missing\":\"/dev/iommu: the kernel has no CONFIG_IOMMUFD\"}");
}

static void refusals_are_told(void **state)
{
	struct fake *fake = fake_start(answer_refusals);
	struct vfiod *vfiod = client_open(fake);
	struct vfiod_lease *lease;

	(void)state;
	assert_int_equal(vfiod_acquire_cdev(vfiod, wanted, 2, 0, &lease), -EINVAL);
	assert_null(lease);
	assert_int_equal(vfiod_acquire_cdev(vfiod, wanted, 2, 0, &lease), -EOPNOTSUPP);
	assert_string_equal(vfiod_strerror(vfiod),
		"not supported: /dev/iommu: the kernel has no CONFIG_IOMMUFD");
	vfiod_close(vfiod);
	fake_stop(fake);
}

/* --- grants that make no sense -------------------------------------------------------------- */

#define GRANTED(rest)                                                                              \
	"{\"parameters\":{\"event\":\"granted\",\"lease\":\"3\",\"token\":\"t\"," rest             \
	"},\"continues\":true}"
#define CDEV(rest) GRANTED("\"mode\":\"cdev\"," rest)
#define GROUP(fields) "\"groups\":[{\"number\":1," fields "}]"
#define TWO "\"devices\":[\"a\",\"b\"],"
static const char *const bad_grants[] = {
	GRANTED("\"mode\":\"other\",\"iommufdFileDescriptor\":0," GROUP(
		TWO "\"deviceFileDescriptors\":[1,2]")),
	GRANTED("\"iommufdFileDescriptor\":0," GROUP(TWO "\"deviceFileDescriptors\":[1,2]")),
	/* No iommufd, or none of this message. */
	CDEV(GROUP(TWO "\"deviceFileDescriptors\":[1,2]")),
	CDEV("\"iommufdFileDescriptor\":null," GROUP(TWO "\"deviceFileDescriptors\":[1,2]")),
	CDEV("\"iommufdFileDescriptor\":4," GROUP(TWO "\"deviceFileDescriptors\":[1,2]")),
	CDEV("\"iommufdFileDescriptor\":-1," GROUP(TWO "\"deviceFileDescriptors\":[1,2]")),
	CDEV("\"iommufdFileDescriptor\":4294967296," GROUP(TWO "\"deviceFileDescriptors\":[1,2]")),
	/* Too few, too many, none. */
	CDEV("\"iommufdFileDescriptor\":0," GROUP(TWO "\"deviceFileDescriptors\":[1]")),
	CDEV("\"iommufdFileDescriptor\":0," GROUP(TWO "\"deviceFileDescriptors\":[1,2,3]")),
	CDEV("\"iommufdFileDescriptor\":0," GROUP(TWO "\"deviceFileDescriptors\":[]")),
	CDEV("\"iommufdFileDescriptor\":0," GROUP(TWO "\"deviceFileDescriptors\":null")),
	CDEV("\"iommufdFileDescriptor\":0," GROUP("\"devices\":[\"a\",\"b\"]")),
	CDEV("\"iommufdFileDescriptor\":0," GROUP("\"deviceFileDescriptors\":[1,2]")),
	/* Out of range, twice the same, another's, no number. */
	CDEV("\"iommufdFileDescriptor\":0," GROUP(TWO "\"deviceFileDescriptors\":[1,4]")),
	CDEV("\"iommufdFileDescriptor\":0," GROUP(TWO "\"deviceFileDescriptors\":[1,-1]")),
	CDEV("\"iommufdFileDescriptor\":0," GROUP(TWO "\"deviceFileDescriptors\":[1,1]")),
	CDEV("\"iommufdFileDescriptor\":0," GROUP(TWO "\"deviceFileDescriptors\":[1,0]")),
	CDEV("\"iommufdFileDescriptor\":0," GROUP(TWO "\"deviceFileDescriptors\":[1,\"2\"]")),
	CDEV("\"iommufdFileDescriptor\":0," GROUP(TWO "\"deviceFileDescriptors\":[1,null]")),
	CDEV("\"iommufdFileDescriptor\":0," GROUP(TWO "\"deviceFileDescriptors\":{}")),
	/* A group's in their place. */
	CDEV("\"iommufdFileDescriptor\":0," GROUP(TWO "\"groupFileDescriptor\":1")),
	/* The second group fails after the first has its own. */
	CDEV("\"iommufdFileDescriptor\":0,\"groups\":[{\"number\":1," TWO
	     "\"deviceFileDescriptors\":[1,2]},{\"number\":2," TWO
	     "\"deviceFileDescriptors\":[3,4]}]"),
	CDEV("\"iommufdFileDescriptor\":0,\"groups\":[]"),
};
_Static_assert(sizeof bad_grants / sizeof *bad_grants <= FAKE_MAX_PEERS, "peers of the fake");

static const char *const *bad_answers;

static void answer_badly(struct fake *fake, int peer, const char *method,
	struct json_object *parameters, const int *fds, size_t n_fds)
{
	int files[N_FILES];

	(void)method;
	(void)parameters;
	(void)fds;
	(void)n_fds;
	files_open(files);
	fake_raw_fds(fake, peer, bad_answers[peer], strlen(bad_answers[peer]) + 1, files, N_FILES);
	files_close(files);
}

static void grants_that_make_no_sense_leak_nothing(void **state)
{
	struct fake *fake;
	int before;

	(void)state;
	bad_answers = bad_grants;
	fake = fake_start(answer_badly);
	before = count_fds();
	for (size_t i = 0; i < sizeof bad_grants / sizeof *bad_grants; i++) {
		struct vfiod *vfiod = client_open(fake);
		struct vfiod_lease *lease;

		assert_int_equal(vfiod_acquire_cdev(vfiod, wanted, 2, 0, &lease), -EPROTO);
		assert_null(lease);
		assert_string_equal(
			vfiod_strerror(vfiod), "vfiod granted a lease that makes no sense");
		vfiod_close(vfiod);
		assert_int_equal(count_fds(), before);
	}
	fake_stop(fake);
}

/* The same way, a grant that is right: so it was the grants. */
static const char *const good_grant[] = { CDEV(
	"\"iommufdFileDescriptor\":0," GROUP(TWO "\"deviceFileDescriptors\":[1,2]")) };

static void a_descriptor_too_many_is_closed(void **state)
{
	struct fake *fake;
	int before;
	struct vfiod *vfiod;
	struct vfiod_lease *lease;

	(void)state;
	bad_answers = good_grant;
	fake = fake_start(answer_badly);
	before = count_fds();
	vfiod = client_open(fake);
	assert_int_equal(vfiod_acquire_cdev(vfiod, wanted, 2, 0, &lease), 0);
	assert_file(vfiod_lease_iommufd(lease), '0');
	assert_file(vfiod_lease_device_fd(lease, "b"), '2');
	assert_int_equal(count_fds(), before + 1 + 3);
	vfiod_close(vfiod);
	assert_int_equal(count_fds(), before);
	fake_stop(fake);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_lease_hands_over_its_devices),
		cmocka_unit_test(closing_closes_what_the_lease_owns),
		cmocka_unit_test(a_mode_that_was_not_asked_for_makes_no_sense),
		cmocka_unit_test(there_is_one_mode),
		cmocka_unit_test(refusals_are_told),
		cmocka_unit_test(grants_that_make_no_sense_leak_nothing),
		cmocka_unit_test(a_descriptor_too_many_is_closed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
