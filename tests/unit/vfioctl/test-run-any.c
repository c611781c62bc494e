/* vfioctl run --any: what CMD is told is known only when it has its lease. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "client/vfioctl/vfioctl.h"
#include "tests/unit/vfioctl/ctl.h"

static int stream;
static int expect_no_calls;

#define ACQUIRE                                                                                    \
	"{\"selectors\":[{\"match\":[\"pci:id=8086:10ed numa:0\"],\"nearNumaNode\":1},"            \
	"{\"device\":\"0000:01:00.0\"},{\"pool\":\"nics\",\"nearNumaNode\":1}],"                   \
	"\"waitSeconds\":0,\"holderFileDescriptor\":0,\"mode\":\"group\"}"

/* A bridge, which stays as it is: the lease does not name it. */
static const char described[] =
	"{\"group\":{\"number\":13,\"type\":\"DMA\",\"binding\":\"host\",\"owner\":\"none\","
	"\"isCovered\":true,\"mayLease\":true,\"devices\":[{\"name\":\"0000:01:00.0\",\"bus\":"
	"\"pci\",\"syspath\":\"/sys/x\",\"resetMethods\":[],\"isBound\":false,\"isParked\":"
	"false}],\"reservedRegions\":[]}}";

static void answer(struct fake *fake, int peer, const char *method, struct json_object *parameters,
	const int *fds, size_t n_fds)
{
	(void)fds;
	(void)n_fds;
	fake_expect(!expect_no_calls, "no call");
	if (strcmp(method, "org.vfiod.Broker.Acquire") == 0) {
		int files[3] = { open("/dev/null", O_RDONLY | O_CLOEXEC),
			open("/dev/zero", O_RDONLY | O_CLOEXEC),
			open("/dev/full", O_RDONLY | O_CLOEXEC) };

		fake_expect(
			strcmp(json_object_to_json_string_ext(parameters, JSON_C_TO_STRING_PLAIN),
				ACQUIRE) == 0,
			"descriptions and a name, in their order");
		stream = peer;
		fake_reply_fds(fake, peer, true,
			"{\"event\":\"granted\",\"lease\":\"3\",\"token\":\"secret\",\"groups\":["
			"{\"number\":7,\"devices\":[\"0000:06:00.1\",\"0000:06:00.0\"],"
			"\"groupFileDescriptor\":0},"
			"{\"number\":13,\"devices\":[\"0000:02:01.0\"],\"groupFileDescriptor\":1},"
			"{\"number\":2,\"devices\":[\"0000:08:00.0\"],\"groupFileDescriptor\":2}],"
			"\"selected\":[\"0000:06:00.0\",\"0000:01:00.0\",\"0000:08:00.0\"]}",
			files, 3);
		for (int i = 0; i < 3; i++)
			close(files[i]);
	} else if (strcmp(method, "org.vfiod.Broker.Describe") == 0 &&
		   json_object_object_get(parameters, "device")) {
		fake_reply(fake, peer, false, described);
	} else if (strcmp(method, "org.vfiod.Broker.Describe") == 0) {
		fake_error(fake, peer, "org.vfiod.Broker.NoSuchGroup", "{\"group\":99}");
	} else {
		fake_reply(fake, stream, false,
			"{\"event\":\"ended\",\"reason\":\"its process has ended\"}");
		fake_error(fake, peer, "org.vfiod.Broker.NoSuchLease", "{}");
	}
}

#define RUN                                                                                        \
	"run", "--near", "1", "--any", "pci:id=8086:10ed numa:0", "--device", "01:00.0", "--any",  \
		"pool:nics", "--"

static void cmd_is_told_what_it_has_got(void **state)
{
	static const char script[] =
		"[ \"$LISTEN_FDNAMES $*\" = \"group7:group13:group2 3 4 5 5 3 {x}\" ] && "
		"[ \"$(readlink /proc/self/fd/3 /proc/self/fd/4 /proc/self/fd/5 | tr '\\n' ' ')\" "
		"= '/dev/null /dev/zero /dev/full ' ] && exit 42";
	struct fake *fake = fake_start(answer);

	(void)state;
	assert_int_equal(ctl(fake, RUN, "sh", "-c", script, "sh", "{group:any}", "{group:01:00.0}",
				 "{group:any2}", "{group:2}", "{group:06:00.1}", "{x}", NULL),
		42);
	assert_string_equal(ctl_err, "");
	fake_stop(fake);
}

static void what_means_nothing_gives_all_back(void **state)
{
	struct fake *fake = fake_start(answer);

	(void)state;
	assert_int_equal(ctl(fake, RUN, "true", "{group:any3}", NULL), EXIT_RUN_FAILED);
	assert_non_null(strstr(ctl_err,
		"{group:any3}: none of the groups to be acquired; what was acquired goes back"));
	fake_stop(fake);
}

static void wrong_usage_asks_nobody(void **state)
{
	struct fake *fake;

	(void)state;
	expect_no_calls = 1;
	fake = fake_start(answer);
	assert_int_equal(ctl(fake, "run", "--any", "", "--", "true", NULL), EXIT_RUN_FAILED);
	assert_int_equal(ctl(fake, "run", "--any", "pool:", "--", "true", NULL), EXIT_RUN_FAILED);
	assert_int_equal(ctl(fake, "run", "--any", "bus:pci", "--near", "x", "--", "true", NULL),
		EXIT_RUN_FAILED);
	assert_int_equal(ctl(fake, "run", "--device", "01:00.0", "--near", "1", "--", "true", NULL),
		EXIT_RUN_FAILED);
	assert_non_null(strstr(ctl_err, "--near goes with --any"));
	expect_no_calls = 0;
	fake_stop(fake);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(cmd_is_told_what_it_has_got),
		cmocka_unit_test(what_means_nothing_gives_all_back),
		cmocka_unit_test(wrong_usage_asks_nobody),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
