/* libvfiod's calls for spaces: what they ask for, and what they make of the answers. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/client/client.h"

#define B "org.vfiod.Broker."
#define S "org.vfiod.Space."

static bool is(const char *method, const char *name)
{
	return strcmp(method, name) == 0;
}

static void expect_parameters(struct json_object *parameters, const char *expected)
{
	const char *text = json_object_to_json_string_ext(parameters, JSON_C_TO_STRING_PLAIN);

	if (strcmp(text, expected) != 0)
		fprintf(stderr, "fake daemon: %s\n", text);
	fake_expect(strcmp(text, expected) == 0, expected);
}

/* --- a space from its beginning to its end --------------------------------------------- */

#define DESCRIPTION(ranges)                                                                        \
	"{\"name\":\"S4\",\"state\":\"live\",\"keeperPid\":99,\"backend\":\"type1\",\"account\":"  \
	"\"uid:1000\","                                                                            \
	"\"pageSizes\":[4096,2097152],\"iovaRanges\":[" ranges "],\"mappingsLeft\":65533,"         \
	"\"isCoherent\":true,\"containers\":[{\"number\":0,\"groups\":[7]},{\"number\":1,"         \
	"\"groups\":[8,9]}],\"memories\":1,\"mappings\":2,\"mappedBytes\":8192,"                   \
	"\"owedBytes\":4096,\"kernelBillBytes\":16384}"
#define RANGES                                                                                     \
	"{\"first\":\"0x0\",\"last\":\"0xfedfffff\"},{\"first\":\"0xfef00000\","                   \
	"\"last\":\"0xffffffffffffffff\"}"

static void answer(struct fake *fake, int peer, const char *method, struct json_object *parameters,
	const int *fds, size_t n_fds)
{
	if (is(method, B "Acquire")) {
		expect_parameters(parameters,
			"{\"selectors\":[{\"device\":\"0000:01:00.0\"}],\"waitSeconds\":5,"
			"\"mode\":\"brokered\"}");
		fake_reply(fake, peer, false,
			"{\"event\":\"granted\",\"lease\":\"L3\",\"token\":\"l\",\"groups\":[{"
			"\"number\":7,\"devices\":[\"0000:01:00.0\"]}]}");
	} else if (is(method, S "Create")) {
		expect_parameters(parameters,
			"{\"holderFileDescriptor\":0,\"maxGroupsPerContainer\":4294967295}");
		fake_expect(n_fds == 1 && write(fds[0], "h", 1) == 1, "the holder");
		fake_reply(fake, peer, false, "{\"space\":\"t\",\"name\":\"S4\"}");
	} else if (is(method, S "AddMemory")) {
		expect_parameters(parameters, "{\"space\":\"t\",\"memoryFileDescriptor\":0}");
		fake_expect(n_fds == 1 && write(fds[0], "m", 1) == 1, "the memory");
		fake_reply(fake, peer, false,
			"{\"memory\":4294967295,\"lengthBytes\":8192,\"pageBytes\":4096,"
			"\"isWritable\":true}");
	} else if (is(method, S "RemoveMemory")) {
		expect_parameters(parameters, "{\"space\":\"t\",\"memory\":4294967295}");
		fake_reply(fake, peer, false, "{}");
	} else if (is(method, S "Attach")) {
		expect_parameters(parameters, "{\"space\":\"t\",\"token\":\"l\",\"group\":7}");
		fake_reply(fake, peer, false, "{\"container\":1}");
	} else if (is(method, S "Detach")) {
		expect_parameters(parameters, "{\"space\":\"t\",\"group\":7}");
		fake_reply(fake, peer, false, "{}");
	} else if (is(method, S "Map")) {
		expect_parameters(parameters,
			"{\"space\":\"t\",\"memory\":4294967295,\"offset\":4096,"
			"\"iova\":\"0xfffffffffffff000\",\"length\":9223372036854775806,"
			"\"read\":true,\"write\":false}");
		fake_reply(fake, peer, false, "{\"newOwedBytes\":4096}");
	} else if (is(method, S "Unmap")) {
		expect_parameters(parameters, "{\"space\":\"t\",\"iova\":\"0x0\",\"length\":8192}");
		fake_reply(fake, peer, false, "{\"mappings\":2,\"lengthBytes\":8192}");
	} else if (is(method, S "GetDevice")) {
		int fd = open("/dev/zero", O_RDONLY);

		expect_parameters(
			parameters, "{\"space\":\"t\",\"group\":7,\"device\":\"0000:01:00.0\"}");
		fake_reply_fds(fake, peer, false, "{\"deviceFileDescriptor\":0}", &fd, 1);
		close(fd);
	} else if (is(method, S "ResetDevice")) {
		expect_parameters(parameters, "{\"space\":\"t\",\"group\":7,\"device\":"
					      "\"0000:01:00.0\",\"scope\":\"bus\"}");
		fake_reply(fake, peer, false, "{}");
	} else if (is(method, S "Describe")) {
		expect_parameters(parameters, "{\"space\":\"t\"}");
		fake_reply(fake, peer, false, DESCRIPTION(RANGES));
	} else if (is(method, S "Destroy")) {
		expect_parameters(parameters, "{\"space\":\"t\"}");
		fake_reply(fake, peer, false, "{\"lingering\":[7]}");
	} else {
		fake_expect(is(method, B "Release"), "Release");
		fake_reply(fake, peer, false, "{\"lingering\":[]}");
	}
}

static void assert_described(struct vfiod *vfiod, struct vfiod_space *space)
{
	struct vfiod_iova_range ranges[3] = { { 0 }, { 0 }, { 5, 5 } };
	struct vfiod_space_info info;

	assert_int_equal(vfiod_space_describe(vfiod, space, &info, NULL, 0), 0);
	assert_int_equal(info.n_ranges, 2);
	assert_int_equal(vfiod_space_describe(vfiod, space, &info, ranges, 1), 0);
	assert_int_equal(ranges[0].last, 0xfedfffff);
	assert_int_equal(ranges[1].last, 0);
	assert_int_equal(vfiod_space_describe(vfiod, space, &info, ranges, 3), 0);
	assert_true(ranges[1].first == 0xfef00000 && ranges[1].last == UINT64_MAX);
	assert_true(ranges[2].first == 5);
	assert_int_equal(info.page_sizes, 4096 | 2097152);
	assert_int_equal(info.mapped_bytes, 8192);
	assert_int_equal(info.owed_bytes, 4096);
	assert_int_equal(info.kernel_bill_bytes, 16384);
	assert_int_equal(info.n_mappings, 2);
	assert_int_equal(info.n_containers, 2);
	assert_int_equal(info.mappings_left, 65533);
	assert_true(info.is_coherent);
}

static void a_space_is_used(void **state)
{
	static const char *const devices[] = { "0000:01:00.0" };
	struct fake *fake = fake_start(answer);
	struct vfiod *vfiod = client_open(fake);
	struct vfiod_lease *lease;
	struct vfiod_space *space, *same;
	int pair[2], before, fd;
	uint32_t memory;
	uint64_t bytes;
	char sent[2];

	(void)state;
	assert_int_equal(pipe2(pair, O_CLOEXEC), 0);
	before = count_fds();
	assert_int_equal(vfiod_acquire_brokered(vfiod, devices, 1, 5, &lease), 0);
	assert_int_equal(vfiod_lease_group_number(lease, 0), 7);
	assert_int_equal(vfiod_lease_group_fd(lease, 0), -EBADF);
	assert_string_equal(vfiod_lease_device(lease, 0, 0), "0000:01:00.0");

	assert_int_equal(vfiod_space_create(vfiod, pair[1], 4294967295, &space), 0);
	assert_string_equal(vfiod_space_name(space), "S4");
	assert_string_equal(vfiod_space_token(space), "t");
	assert_int_equal(vfiod_space_add_memory(vfiod, space, pair[1], &memory), 0);
	assert_int_equal(memory, 4294967295);
	assert_int_equal(read(pair[0], sent, 2), 2);
	assert_int_equal(fcntl(pair[1], F_GETFD), FD_CLOEXEC); /* it stays ours */

	assert_int_equal(vfiod_space_attach(vfiod, space, vfiod_lease_token(lease), 7), 1);
	assert_int_equal(vfiod_space_map(vfiod, space, memory, 4096, 0xfffffffffffff000,
				 INT64_MAX - 1, VFIOD_MAP_READ, &bytes),
		0);
	assert_int_equal(bytes, 4096);
	assert_int_equal(vfiod_space_map(vfiod, space, memory, 4096, 0xfffffffffffff000,
				 INT64_MAX - 1, VFIOD_MAP_READ, NULL),
		0);
	assert_described(vfiod, space);
	fd = vfiod_space_get_device(vfiod, space, 7, "0000:01:00.0");
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	assert_int_equal(count_fds(), before + 1);
	close(fd);
	assert_int_equal(vfiod_space_reset_device(vfiod, space, 7, "0000:01:00.0", true), 0);
	assert_int_equal(vfiod_space_unmap(vfiod, space, 0, 8192, &bytes), 2);
	assert_int_equal(bytes, 8192);
	assert_int_equal(vfiod_space_unmap(vfiod, space, 0, 8192, NULL), 2);
	assert_int_equal(vfiod_space_detach(vfiod, space, 7), 0);
	assert_int_equal(vfiod_space_remove_memory(vfiod, space, memory), 0);

	assert_int_equal(vfiod_space_open(vfiod, "t", &same), 0);
	assert_string_equal(vfiod_space_name(same), "S4");
	vfiod_space_free(same);
	vfiod_space_free(NULL);
	assert_int_equal(vfiod_space_open(vfiod, "t", &same), 0); /* vfiod_close() frees it */
	assert_int_equal(vfiod_space_destroy(vfiod, space), 1);
	assert_int_equal(vfiod_release(vfiod, lease), 0);
	assert_int_equal(count_fds(), before);
	close(pair[0]);
	close(pair[1]);
	vfiod_close(vfiod);
	fake_stop(fake);
}

/* --- what is refused before anything is asked, and where it may not be asked --------------- */

static void answer_create(struct fake *fake, int peer, const char *method,
	struct json_object *parameters, const int *fds, size_t n_fds)
{
	(void)fds;
	if (is(method, S "Create")) {
		expect_parameters(parameters, "{}");
		fake_expect(n_fds == 0, "no descriptor");
		fake_reply(fake, peer, false, "{\"space\":\"t\",\"name\":\"S4\"}");
		return;
	}
	/* As a daemon does that has them beyond the limit. */
	fake_error(fake, peer, "org.vfiod.Broker.LimitExceeded",
		"{\"account\":\"uid:1000\",\"limit\":\"owed-limit\",\"limitBytes\":4096,"
		"\"stateBytes\":0,\"requestedBytes\":8192}");
}

static void errors_leave_the_handle_usable(void **state)
{
	struct fake *fake = fake_start(answer_create);
	struct vfiod *vfiod = client_open(fake);
	int before = count_fds();
	struct vfiod_space_info info;
	struct vfiod_space *space, *none = (struct vfiod_space *)&none;
	uint32_t memory;

	(void)state;
	assert_int_equal(vfiod_space_create(vfiod, -1, 0, &space), 0);
	assert_int_equal(vfiod_space_map(vfiod, space, 0, INT64_MAX, 0, 1, 3, NULL), -EINVAL);
	assert_string_equal(vfiod_strerror(vfiod),
		"an offset of 9223372036854775807 bytes is beyond all memory");
	assert_int_equal(vfiod_space_map(vfiod, space, 0, 0, 0, UINT64_MAX, 3, NULL), -EINVAL);
	assert_string_equal(vfiod_strerror(vfiod),
		"a length of 18446744073709551615 bytes is beyond all memory");
	assert_int_equal(vfiod_space_map(vfiod, space, 0, 0, 0, 4096, 4, NULL), -EINVAL);
	assert_int_equal(vfiod_space_unmap(vfiod, space, 0, INT64_MAX, NULL), -EINVAL);
	assert_int_equal(vfiod_space_add_memory(vfiod, space, 9999, &memory), -EBADF);

	assert_int_equal(vfiod_space_map(vfiod, space, 0, 0, 0, 8192, 3, NULL), -EDQUOT);
	assert_string_equal(vfiod_error_name(vfiod), "org.vfiod.Broker.LimitExceeded");
	assert_int_equal(vfiod_space_unmap(vfiod, space, 0, 4096, NULL), -EDQUOT);
	assert_int_equal(vfiod_space_attach(vfiod, space, "l", 7), -EDQUOT);
	assert_int_equal(vfiod_space_detach(vfiod, space, 7), -EDQUOT);
	assert_int_equal(vfiod_space_get_device(vfiod, space, 7, "a"), -EDQUOT);
	assert_int_equal(vfiod_space_remove_memory(vfiod, space, 7), -EDQUOT);
	assert_int_equal(vfiod_space_describe(vfiod, space, &info, NULL, 0), -EDQUOT);
	assert_int_equal(vfiod_space_open(vfiod, "x", &none), -EDQUOT);
	assert_null(none);
	/* It is freed all the same. */
	assert_int_equal(vfiod_space_destroy(vfiod, space), -EDQUOT);
	assert_int_equal(count_fds(), before);
	vfiod_close(vfiod);
	fake_stop(fake);
}

static void answer_stream(struct fake *fake, int peer, const char *method,
	struct json_object *parameters, const int *fds, size_t n_fds)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	(void)parameters;
	(void)fds;
	(void)n_fds;
	fake_expect(is(method, B "Acquire"), "nothing but Acquire");
	fake_reply_fds(fake, peer, true,
		"{\"event\":\"granted\",\"lease\":\"L3\",\"token\":\"l\",\"groups\":[{"
		"\"number\":7,\"devices\":[],\"groupFileDescriptor\":0}]}",
		&fd, 1);
	close(fd);
}

static void a_stream_takes_no_calls(void **state)
{
	static const char *const devices[] = { "a" };
	struct fake *fake = fake_start(answer_stream);
	struct vfiod *vfiod = client_open(fake);
	struct vfiod_lease *lease;
	struct vfiod_space *space;

	(void)state;
	assert_int_equal(vfiod_acquire(vfiod, devices, 1, 0, &lease), 0);
	assert_int_equal(vfiod_space_create(vfiod, -1, 0, &space), -EBUSY);
	assert_null(space);
	assert_int_equal(vfiod_space_open(vfiod, "t", &space), -EBUSY);
	assert_null(space);
	vfiod_close(vfiod);
	fake_stop(fake);
}

/* --- answers that make no sense ------------------------------------------------------------- */

#define REPLY(parameters) "{\"parameters\":" parameters "}"
/* One to each peer, the first call of which is Create. */
static const struct {
	const char *method, *reply;
} nonsense[] = {
	{ "Create", REPLY("{}") },
	{ "Create", REPLY("{\"space\":\"t\"}") },
	{ "Create", REPLY("{\"name\":\"S4\",\"space\":7}") },
	{ "Create", "{\"parameters\":{\"space\":\"t\",\"name\":\"S4\"},\"continues\":true}" },
	{ "AddMemory", REPLY("{}") },
	{ "AddMemory", REPLY("{\"memory\":-1}") },
	{ "AddMemory", REPLY("{\"memory\":4294967296}") },
	{ "Attach", REPLY("{\"container\":-1}") },
	{ "Attach", REPLY("{\"container\":2147483648}") },
	{ "Unmap", REPLY("{}") },
	{ "GetDevice", REPLY("{}") },
	{ "GetDevice", REPLY("{\"deviceFileDescriptor\":1}") },
	{ "GetDevice", REPLY("{\"deviceFileDescriptor\":-1}") },
	{ "Describe", REPLY("{}") },
	{ "Describe", REPLY(DESCRIPTION("7")) },
	{ "Describe", REPLY(DESCRIPTION("{\"first\":\"0\",\"last\":\"0x1\"}")) },
	{ "Describe", REPLY(DESCRIPTION("{\"first\":\"0x0\",\"last\":\"0x1g\"}")) },
	{ "Describe", REPLY(DESCRIPTION("{\"first\":\"0x0\",\"last\":\"0x10000000000000000\"}")) },
};
#define N_NONSENSE (sizeof nonsense / sizeof *nonsense)
_Static_assert(N_NONSENSE <= FAKE_MAX_PEERS, "peers of the fake");

static void answer_nonsense(struct fake *fake, int peer, const char *method,
	struct json_object *parameters, const int *fds, size_t n_fds)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	(void)parameters;
	(void)fds;
	(void)n_fds;
	if (is(method + strlen(S), nonsense[peer].method))
		fake_raw(fake, peer, nonsense[peer].reply, strlen(nonsense[peer].reply) + 1, fd);
	else
		fake_reply(fake, peer, false, "{\"space\":\"t\",\"name\":\"S4\"}");
	close(fd);
}

static int call_it(struct vfiod *vfiod, struct vfiod_space *space, const char *method)
{
	struct vfiod_iova_range range;
	struct vfiod_space_info info;
	uint32_t memory;

	if (is(method, "AddMemory"))
		return vfiod_space_add_memory(vfiod, space, STDIN_FILENO, &memory);
	if (is(method, "Attach"))
		return vfiod_space_attach(vfiod, space, "l", 7);
	if (is(method, "Unmap"))
		return vfiod_space_unmap(vfiod, space, 0, 4096, NULL);
	if (is(method, "GetDevice"))
		return vfiod_space_get_device(vfiod, space, 7, "a");
	return vfiod_space_describe(vfiod, space, &info, &range, 1);
}

static void nonsense_leaks_nothing(void **state)
{
	struct fake *fake = fake_start(answer_nonsense);
	int before = count_fds();

	(void)state;
	for (size_t i = 0; i < N_NONSENSE; i++) {
		struct vfiod *vfiod = client_open(fake);
		struct vfiod_space *space;
		int r = vfiod_space_create(vfiod, -1, 0, &space);

		if (r == 0)
			r = call_it(vfiod, space, nonsense[i].method);
		if (r != -EPROTO)
			fail_msg("%s %s: %d", nonsense[i].method, nonsense[i].reply, r);
		/* What the daemon has done now, nobody knows. */
		assert_int_equal(vfiod_space_create(vfiod, -1, 0, &space), -ECONNRESET);
		vfiod_close(vfiod);
		assert_int_equal(count_fds(), before);
	}
	fake_stop(fake);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_space_is_used),
		cmocka_unit_test(errors_leave_the_handle_usable),
		cmocka_unit_test(a_stream_takes_no_calls),
		cmocka_unit_test(nonsense_leaks_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
