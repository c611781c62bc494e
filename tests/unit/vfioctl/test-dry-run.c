/* can, and --dry-run: what they ask, what they print, and how they exit. */
#include <pwd.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "client/vfioctl/vfioctl.h"
#include "tests/unit/vfioctl/ctl.h"

#define PLANNED(device, group, action, more)                                                       \
	"{\"device\":\"" device "\",\"group\":" group ",\"action\":\"" action "\"" more "}"
#define IN_USE                                                                                     \
	"{\"group\":9,\"device\":\"0000:05:00.0\",\"error\":\"org.vfiod.Broker.DeviceInUse\","     \
	"\"reason\":\"0000:05:00.0 is in use: nvme0n1 is mounted on \\u001b[2J/mnt\"}"

static const char *as_text(struct json_object *parameters)
{
	return json_object_to_json_string_ext(parameters, JSON_C_TO_STRING_PLAIN);
}

static void answer_plan(struct fake *fake, int peer, const char *method,
	struct json_object *parameters, const int *fds, size_t n_fds)
{
	const char *text = as_text(parameters);

	(void)fds;
	(void)n_fds;
	fake_expect(strcmp(method, "org.vfiod.Broker.Plan") == 0, "nothing but Plan");
	if (strstr(text, "\"purpose\":\"return\""))
		fake_error(fake, peer, "org.varlink.service.PermissionDenied", "{}");
	else if (strstr(text, "{\"purpose\":\"take\",\"selectors\":[{\"device\":\"0000:02:01.0\"},"
			      "{\"group\":9}]}"))
		fake_reply(fake, peer, false,
			"{\"devices\":[" PLANNED("0000:01:00.0", "7", "leave", "") "," PLANNED(
				"0000:02:01.0", "7", "bind",
				",\"driver\":\"e1000\",\"driverAfter\":\"vfio-pci\","
				"\"overrideAfter\":\"vfio-pci\"") "],\"vetoes\":[" IN_USE "]}");
	else
		fake_reply(fake, peer, false,
			"{\"devices\":[" PLANNED("0000:02:01.0", "7", "already",
				",\"driver\":\"vfio-pci\",\"driverAfter\":\"vfio-pci\"") "],"
											 "\"vetoes"
											 "\":[]}");
}

static void dry_runs_do_nothing(void **state)
{
	struct fake *fake = fake_start(answer_plan);

	(void)state;
	assert_int_equal(ctl(fake, "take", "--dry-run", "02:01.0", "9", NULL), EXIT_REFUSED);
	assert_string_equal(ctl_out,
		"GROUP DEVICE        ACTION  DRIVER            OVERRIDE\n"
		"7     0000:01:00.0  leave   -                 -\n"
		"      0000:02:01.0  bind    e1000 > vfio-pci  - > vfio-pci\n"
		"!! 9    0000:05:00.0 is in use: nvme0n1 is mounted on ?[2J/mnt\n"
		"It would be refused. Nothing was done.\n");
	assert_string_equal(ctl_err, "");
	assert_int_equal(ctl(fake, "take", "7", "--dry-run", "--no-legend", NULL), 0);
	assert_string_equal(ctl_out, "7 0000:02:01.0  already  vfio-pci  -\n");
	assert_int_equal(ctl(fake, "return", "7", "--dry-run", NULL), EXIT_REFUSED);
	assert_string_equal(ctl_err,
		"vfioctl: cannot make a dry run of return: permission denied: this is for "
		"administrators\nAdministrators only: try sudo.\n");
	/* Nothing is run, so there need not be anything to run. */
	assert_int_equal(ctl(fake, "run", "--dry-run", "--group", "7", NULL), 0);
	assert_non_null(strstr(ctl_out, "Nothing is in the way. Nothing was done.\n"));
	assert_int_equal(
		ctl(fake, "run", "--dry-run", "--group", "7", "--json", "--", "x", NULL), 0);
	assert_int_equal(strncmp(ctl_out, "{\"devices\":[{", 13), 0);
	assert_int_equal(ctl(fake, "run", "--dry-run", NULL), EXIT_RUN_FAILED);
	fake_stop(fake);
}

static void answer_revoke(struct fake *fake, int peer, const char *method,
	struct json_object *parameters, const int *fds, size_t n_fds)
{
	(void)parameters;
	(void)fds;
	(void)n_fds;
	fake_expect(strcmp(method, "org.vfiod.Broker.Leases") == 0, "nothing but Leases");
	fake_reply(fake, peer, false,
		"{\"leases\":[{\"lease\":\"L3\",\"groups\":[7,9],\"holder\":{\"pid\":4711,\"uid\":"
		"0,\"command\":\"qemu\"},\"mode\":\"group\",\"account\":\"uid:0\",\"ageSeconds\":1,"
		"\"followsProcess\":true,\"isGranted\":true,\"isReleaseRequested\":false,"
		"\"isTrusted\":false,\"memoryBytes\":0},"
		"{\"lease\":\"L5\",\"groups\":[8],\"holder\":{\"pid\":4711,\"uid\":"
		"0,\"command\":\"qemu\"},\"mode\":\"group\",\"account\":\"uid:0\",\"ageSeconds\":1,"
		"\"followsProcess\":true,\"isGranted\":true,\"isReleaseRequested\":false,"
		"\"revokeSeconds\":60,\"revokeEndsProcess\":true,"
		"\"isTrusted\":false,\"memoryBytes\":0}]}");
}

static void revoke_says_whose_it_is(void **state)
{
	struct fake *fake = fake_start(answer_revoke);

	(void)state;
	assert_int_equal(ctl(fake, "revoke", "--dry-run", "L3", "--end", NULL), 0);
	assert_string_equal(ctl_out,
		"lease L3 of root qemu/4711, groups 7, 9, would be ended. Nothing was done.\n");
	assert_int_equal(ctl(fake, "revoke", "--dry-run", "L3", NULL), 0);
	assert_string_equal(ctl_out,
		"lease L3 of root qemu/4711: groups 7, 9 would be asked back. Nothing was "
		"done.\n");
	assert_int_equal(ctl(fake, "revoke", "--dry-run", "L5", NULL), 0);
	assert_string_equal(ctl_out,
		"lease L5 of root qemu/4711: group 8 would be asked back; after 60 s it would be "
		"ended, and its holder, if he still had a device open. Nothing was done.\n");
	assert_int_equal(ctl(fake, "revoke", "--dry-run", "L5", "--end", NULL), 0);
	assert_string_equal(ctl_out,
		"lease L5 of root qemu/4711, group 8, would be ended, and its holder, if he still "
		"had a device open. Nothing was done.\n");
	assert_int_equal(ctl(fake, "revoke", "--dry-run", "L4", NULL), EXIT_REFUSED);
	assert_string_equal(
		ctl_err, "vfioctl: there is no lease L4; `vfioctl leases` shows them\n");
	fake_stop(fake);
}

/* --- can ----------------------------------------------------------------------------------- */

#define COVERED(device, rule) "{\"device\":\"" device "\",\"needsRule\":true,\"rule\":" rule "}"

static void answer_can(struct fake *fake, int peer, const char *method,
	struct json_object *parameters, const int *fds, size_t n_fds)
{
	struct json_object *subject = json_object_object_get(parameters, "subject");
	int64_t uid = json_object_get_int64(json_object_object_get(subject, "uid"));

	(void)fds;
	(void)n_fds;
	if (strcmp(method, "org.vfiod.Broker.Plan") == 0) {
		const char *purpose =
			json_object_get_string(json_object_object_get(parameters, "purpose"));
		if (strcmp(purpose, "acquire") == 0)
			fake_reply(fake, peer, false, "{\"devices\":[],\"vetoes\":[]}");
		else
			fake_reply(fake, peer, false, "{\"devices\":[],\"vetoes\":[" IN_USE "]}");
		return;
	}
	fake_expect(strcmp(method, "org.vfiod.Broker.Can") == 0, "Can");
	if (!subject) {
		fake_reply(fake, peer, false,
			"{\"group\":7,\"may\":true,\"isAdministrator\":true,\"isTrusted\":true,"
			"\"account\":\"uid:0\","
			"\"devices\":[" COVERED("0000:02:01.0", "null") "]}");
	} else if (json_object_get_string(json_object_object_get(subject, "unit"))) {
		fake_expect(strcmp(json_object_get_string(json_object_object_get(subject, "unit")),
				    "dpdk.service") == 0,
			"the unit");
		fake_reply(fake, peer, false,
			"{\"group\":7,\"may\":true,\"isAdministrator\":false,\"isTrusted\":false,"
			"\"rule\":\"nics\","
			"\"account\":\"unit:dpdk.service\",\"devices\":[{\"device\":"
			"\"0000:01:00.0\",\"needsRule\":false}," COVERED(
				"0000:02:01.0", "\"nics\"") "]}");
	} else {
		fake_expect(uid == 4294967294 || uid == 12345678, "the uid");
		fake_expect(json_object_get_int64(json_object_object_get(subject, "gid")) == 65534,
			"the group");
		fake_reply(fake, peer, false,
			"{\"group\":7,\"may\":false,\"isAdministrator\":false,\"isTrusted\":false,"
			"\"denial\":\"no rule "
			"matches 0000:02:01.0 (8086:100e); add a rule with match = "
			"pci:address=0000:02:01.0 and allow = "
			"user:12345678\",\"devices\":[" COVERED("0000:02:01.0", "null") "]}");
	}
}

static void can_says_who_may(void **state)
{
	struct fake *fake = fake_start(answer_can);
	char self[32];

	(void)state;
	/* About oneself: nothing that could be wrong is told to the daemon. */
	snprintf(self, sizeof self, "%u", (unsigned)geteuid());
	assert_int_equal(ctl(fake, "can", self, "02:01.0", NULL), 0);
	assert_non_null(strstr(ctl_out, " may lease group 7: an administrator needs no rule; "
					"account uid:0\n"
					"  0000:02:01.0 is covered by no rule\n"
					"  trusted: nothing has to bound what he maps by himself\n"
					"Nothing is in the way now.\n"));
	/* A number that nobody has. */
	assert_int_equal(ctl(fake, "can", "12345678", "7", NULL), EXIT_REFUSED);
	assert_string_equal(ctl_out,
		"uid 12345678 may not lease group 7: no rule matches 0000:02:01.0 (8086:100e);\n"
		"  add a rule with match = pci:address=0000:02:01.0 and allow = user:12345678\n"
		"  0000:02:01.0 is not covered for uid 12345678\n");
	assert_int_equal(ctl(fake, "can", "root", "7", "--unit", "dpdk.service", NULL), 0);
	assert_string_equal(ctl_out,
		"root may lease group 7, by rule 'nics'; account unit:dpdk.service\n"
		"  0000:01:00.0 needs no rule: it stays as it is\n"
		"  0000:02:01.0 is covered by rule 'nics'\n"
		"  not trusted: to map by himself he needs a memory.max that he cannot raise;\n"
		"    mode brokered needs none\n"
		"It would be refused now:\n"
		"!! 9    0000:05:00.0 is in use: nvme0n1 is mounted on ?[2J/mnt\n");
	assert_int_equal(
		ctl(fake, "can", "--json", "root", "7", "--unit", "dpdk.service", NULL), 0);
	assert_non_null(strstr(ctl_out, "\"vetoes\":[{\"group\":9,"));
	assert_int_equal(ctl(fake, "can", "nobody-of-this-name", "7", NULL), EXIT_USAGE);
	assert_int_equal(ctl(fake, "can", "root", NULL), EXIT_USAGE);
	assert_int_equal(ctl(fake, "can", "root", "group:", NULL), EXIT_USAGE);
	fake_stop(fake);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(dry_runs_do_nothing),
		cmocka_unit_test(revoke_says_whose_it_is),
		cmocka_unit_test(can_says_who_may),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
