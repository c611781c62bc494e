/* vfioctl run in mode cdev: devices and an iommufd for CMD, asked for by its arguments or --mode.
 */
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "client/vfioctl/vfioctl.h"
#include "tests/unit/vfioctl/ctl.h"

#define DEVICE(name, is_bound)                                                                     \
	"{\"name\":\"" name "\",\"bus\":\"pci\",\"syspath\":\"/sys/x\",\"resetMethods\":[],"       \
	"\"isBound\":" is_bound ",\"isParked\":false}"
#define GROUP(number, devices)                                                                     \
	"{\"group\":{\"number\":" number ",\"type\":\"DMA\",\"binding\":\"host\",\"owner\":"       \
	"\"none\",\"isCovered\":true,\"mayLease\":true,\"devices\":[" devices                      \
	"],\"reservedRegions\":[]}}"
#define RUN "run", "--device", "01:00.0", "--group", "7"

static bool is(const char *text, const char *wanted)
{
	return strcmp(text, wanted) == 0;
}

/* --- the daemon ---------------------------------------------------------------------------- */

static const char *wanted_mode;   /* of Acquire; NULL: none */
static const char *acquire_reply; /* NULL: granted_cdev; else an error's name, or a grant */
static int holder = -1, stream;

/* Not in the order of the groups, nor of the names: indices count. /dev/full is the iommufd. */
static const char *const files[] = { "/dev/zero", "/dev/null", "/dev/random", "/dev/full" };
static const char granted_cdev[] =
	"{\"event\":\"granted\",\"lease\":\"3\",\"token\":\"secret\",\"mode\":\"cdev\",\"groups\":["
	"{\"number\":7,\"devices\":[\"0000:06:01.0\",\"0000:06:02.0\"],"
	"\"deviceFileDescriptors\":[2,0]},"
	"{\"number\":13,\"devices\":[\"0000:01:00.0\"],\"deviceFileDescriptors\":[1]}],"
	"\"iommufdFileDescriptor\":3}";
static const char granted_less[] =
	"{\"event\":\"granted\",\"lease\":\"3\",\"token\":\"secret\",\"mode\":\"cdev\",\"groups\":["
	"{\"number\":7,\"devices\":[\"0000:06:01.0\"],\"deviceFileDescriptors\":[2]},"
	"{\"number\":13,\"devices\":[\"0000:01:00.0\"],\"deviceFileDescriptors\":[1]}],"
	"\"iommufdFileDescriptor\":3}";
static const char granted_group[] =
	"{\"event\":\"granted\",\"lease\":\"3\",\"token\":\"secret\",\"mode\":\"group\",\"groups\":"
	"[{\"number\":13,\"devices\":[\"0000:01:00.0\"],\"groupFileDescriptor\":1},"
	"{\"number\":7,\"devices\":[],\"groupFileDescriptor\":0}]}";

static void answer_acquire(
	struct fake *fake, int peer, struct json_object *parameters, const int *fds, size_t n_fds)
{
	const char *mode = get_string(parameters, "mode");
	int sent[4];

	fake_expect(wanted_mode ? mode && is(mode, wanted_mode) : !mode, "the mode");
	fake_expect(n_fds == 1, "the holder's pidfd");
	if (acquire_reply && acquire_reply[0] != '{') {
		fake_error(fake, peer, acquire_reply,
			strstr(acquire_reply, "varlink") ? "{\"parameter\":\"mode\"}"
							 : "{\"missing\":\"CONFIG_IOMMUFD\"}");
		return;
	}
	holder = fcntl(fds[0], F_DUPFD_CLOEXEC, 0);
	stream = peer;
	for (int i = 0; i < 4; i++)
		sent[i] = open(files[i], O_RDONLY | O_CLOEXEC);
	fake_reply_fds(fake, peer, true, acquire_reply ? acquire_reply : granted_cdev, sent, 4);
	for (int i = 0; i < 4; i++)
		close(sent[i]);
}

static void answer_run(struct fake *fake, int peer, const char *method,
	struct json_object *parameters, const int *fds, size_t n_fds)
{
	if (is(method, "org.vfiod.Broker.Describe")) {
		fake_reply(fake, peer, false,
			get_string(parameters, "device") || get_int(parameters, "group", 0) == 13
				? GROUP("13", DEVICE("0000:01:00.0", "true"))
				: GROUP("7", DEVICE("0000:06:00.0", "false") "," DEVICE(
						     "0000:06:01.0", "true") "," DEVICE("0000:"
											"06:02."
											"0",
						     "true")));
	} else if (is(method, "org.vfiod.Broker.Acquire")) {
		answer_acquire(fake, peer, parameters, fds, n_fds);
	} else if (is(method, "org.vfiod.Broker.Plan")) {
		const char *mode = get_string(parameters, "mode");

		fake_expect(wanted_mode ? mode && is(mode, wanted_mode) : !mode, "the plan's mode");
		fake_reply(fake, peer, false, "{\"devices\":[],\"vetoes\":[]}");
	} else {
		struct pollfd ended = { .fd = holder, .events = POLLIN };

		fake_expect(is(method, "org.vfiod.Broker.Release"), "Release");
		fake_expect(poll(&ended, 1, 0) == 1, "Release after the holder has ended");
		fake_reply(fake, stream, false, "{\"event\":\"ended\",\"reason\":\"it ended\"}");
		fake_error(fake, peer, "org.vfiod.Broker.NoSuchLease", "{}");
	}
}

static struct fake *start(const char *mode, const char *reply)
{
	wanted_mode = mode;
	acquire_reply = reply;
	return fake_start(answer_run);
}

/* --- CMD ----------------------------------------------------------------------------------- */

static const char show_script[] =
	"echo \"$LISTEN_FDS $LISTEN_FDNAMES $([ $LISTEN_PID = $$ ] && echo own)\"; "
	"ls -m /proc/$$/fd; for fd in $(seq 3 $((LISTEN_FDS + 2))); do readlink /proc/$$/fd/$fd; "
	"done; echo \"$0\" \"$@\"";

#define SHOWN_CDEV                                                                                 \
	"4 device-0000-01-00.0:device-0000-06-01.0:device-0000-06-02.0:iommufd own\n"              \
	"0, 1, 2, 3, 4, 5, 6\n"                                                                    \
	"/dev/null\n/dev/random\n/dev/zero\n/dev/full\n"

static void cmd_has_the_devices_and_an_iommufd(void **state)
{
	struct fake *fake = start("cdev", NULL);

	(void)state;
	assert_int_equal(ctl(fake, RUN, "--", "sh", "-c", show_script, "{device:0000:01:00.0}",
				 "{device:06:02.0},iommufd={iommufd}", NULL),
		0);
	assert_string_equal(ctl_err, "");
	assert_string_equal(ctl_out, SHOWN_CDEV "3 5,iommufd=6\n");
	/* Without a placeholder: CMD goes by the names. */
	assert_int_equal(
		ctl(fake, RUN, "--mode", "cdev", "--", "sh", "-c", show_script, "x", NULL), 0);
	assert_string_equal(ctl_out, SHOWN_CDEV "x\n");
	assert_int_equal(ctl(fake, RUN, "--mode=auto", "--", "true", "{iommufd}", NULL), 0);
	fake_stop(fake);
}

/* It is the daemon who knows what auto comes to. */
static void auto_gives_what_there_is(void **state)
{
	struct fake *fake = start(NULL, NULL);

	(void)state;
	assert_int_equal(ctl(fake, RUN, "--", "sh", "-c", show_script, "x", NULL), 0);
	assert_string_equal(ctl_out, SHOWN_CDEV "x\n");
	fake_stop(fake);
	fake = start(NULL, granted_group);
	assert_int_equal(
		ctl(fake, RUN, "--mode", "auto", "--", "sh", "-c", show_script, "x", NULL), 0);
	assert_string_equal(ctl_out, "2 group13:group7 own\n0, 1, 2, 3, 4\n"
				     "/dev/null\n/dev/zero\nx\n");
	fake_stop(fake);
	fake = start("group", granted_group);
	assert_int_equal(ctl(fake, RUN, "--", "echo", "{group:7}", NULL), 0);
	assert_string_equal(ctl_out, "4\n");
	assert_int_equal(ctl(fake, RUN, "--mode", "group", "--", "echo", "x", NULL), 0);
	fake_stop(fake);
}

/* --- refusals ------------------------------------------------------------------------------ */

static void assert_refused(
	struct fake *fake, const char *mode, const char *argument, const char *why)
{
	char text[512];

	assert_int_equal(ctl(fake, RUN, mode, "--", "echo", argument, NULL), EXIT_RUN_FAILED);
	snprintf(text, sizeof text, "vfioctl run: %s; nothing was acquired\n", why);
	assert_string_equal(ctl_err, text);
	assert_string_equal(ctl_out, "");
}

static void what_contradicts_is_refused(void **state)
{
	struct fake *fake = start("none: there is no Acquire", NULL);

	(void)state;
	assert_refused(fake, "--mode=auto", "{group:7}{iommufd}",
		"{group:7} and {iommufd}: CMD has either groups or devices with an iommufd");
	assert_refused(fake, "--mode=cdev", "{group}",
		"{group}: with --mode cdev there are {device:NAME} and {iommufd}, and no groups");
	assert_refused(fake, "--mode=group", "{device:x\033}",
		"{device:x?}: with --mode group there is only {group:NAME}");
	assert_refused(fake, "--mode=auto", "{device}",
		"{device}: ambiguous: name one of {device:0000:01:00.0}, {device:0000:06:01.0}, "
		"{device:0000:06:02.0}");
	assert_refused(fake, "--mode=auto", "{device:06:00.0}",
		"{device:06:00.0}: none of the devices that are handed over: "
		"{device:0000:01:00.0}, {device:0000:06:01.0}, {device:0000:06:02.0}");
	assert_refused(fake, "--shim", "{iommufd}",
		"{iommufd}: with --shim CMD has no descriptors to be named; {group-number} and "
		"{device-name} are what it opens by itself");
	assert_refused(fake, "--mode=auto", "{group-number}",
		"{group-number}: ambiguous: name one of {group-number:13}, {group-number:7}");
	assert_refused(fake, "--shim", "{device-name}",
		"{device-name}: ambiguous: name one of {device-name:0000:01:00.0}, "
		"{device-name:0000:06:01.0}, {device-name:0000:06:02.0}");
	assert_int_equal(ctl(fake, RUN, "--mode", "brokered", "--", "echo", NULL), EXIT_RUN_FAILED);
	assert_string_equal(ctl_err,
		"vfioctl run: --mode 'brokered': not one of group, cdev, auto\n"
		"See vfioctl run --help.\n");
	assert_int_equal(
		ctl(fake, RUN, "--shim", "--observe", "--mode", "cdev", "--", "echo", NULL),
		EXIT_RUN_FAILED);
	assert_string_equal(ctl_err,
		"vfioctl run: --observe goes with groups, not with --mode cdev\n"
		"See vfioctl run --help.\n");
	fake_stop(fake);
}

static void what_is_missing_is_told(void **state)
{
	struct fake *fake = start("cdev", "org.vfiod.Broker.NotSupported");

	(void)state;
	assert_int_equal(ctl(fake, RUN, "--", "echo", "{iommufd}", NULL), EXIT_RUN_FAILED);
	assert_string_equal(ctl_out, "");
	assert_string_equal(ctl_err,
		"vfioctl: cannot acquire 0000:01:00.0, group 7: not supported: CONFIG_IOMMUFD\n"
		"`vfioctl check` tells what this host has; groups are there without it: "
		"{group}.\n");
	fake_stop(fake);
	fake = start("cdev", "org.varlink.service.InvalidParameter");
	assert_int_equal(ctl(fake, RUN, "--", "echo", "{iommufd}", NULL), EXIT_RUN_FAILED);
	assert_non_null(
		strstr(ctl_err, "This vfiod is older than vfioctl: it hands over groups only.\n"));
	fake_stop(fake);
}

/* Hot-plug between Describe and Acquire: CMD's arguments would lie. */
static void devices_that_changed_meanwhile_start_nothing(void **state)
{
	struct fake *fake = start("cdev", granted_less);

	(void)state;
	assert_int_equal(ctl(fake, RUN, "--", "echo", "{iommufd}", NULL), EXIT_RUN_FAILED);
	assert_string_equal(ctl_out, "");
	assert_string_equal(ctl_err, "vfioctl: cannot hand the devices to echo: the devices have "
				     "changed, try again\n");
	fake_stop(fake);
}

static void a_dry_run_is_of_the_mode(void **state)
{
	struct fake *fake = start("cdev", NULL);

	(void)state;
	assert_int_equal(ctl(fake, RUN, "--dry-run", "--mode", "cdev", NULL), 0);
	assert_int_equal(ctl(fake, RUN, "--dry-run", "--", "echo", "{iommufd}", NULL), 0);
	fake_stop(fake);
	fake = start(NULL, NULL);
	assert_int_equal(ctl(fake, RUN, "--dry-run", NULL), 0);
	fake_stop(fake);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(cmd_has_the_devices_and_an_iommufd),
		cmocka_unit_test(auto_gives_what_there_is),
		cmocka_unit_test(what_contradicts_is_refused),
		cmocka_unit_test(what_is_missing_is_told),
		cmocka_unit_test(devices_that_changed_meanwhile_start_nothing),
		cmocka_unit_test(a_dry_run_is_of_the_mode),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
