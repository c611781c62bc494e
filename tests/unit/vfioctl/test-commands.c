/* What the commands ask of the daemon, what they print, and how they exit. */
#include <dlfcn.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "client/vfioctl/format.h"
#include "client/vfioctl/vfioctl.h"
#include "tests/unit/vfioctl/ctl.h"

#define DEVICE(name, driver, description)                                                          \
	"{\"name\":\"" name "\",\"bus\":\"pci\",\"driver\":" driver                                \
	",\"description\":" description ",\"syspath\":\"/sys/devices/pci0000:00/" name             \
	"\",\"id\":\"10de:2704\",\"class\":\"030000\",\"numaNode\":1,\"resetMethods\":[\"flr\","   \
	"\"bus\"],\"isBound\":true,\"isParked\":false}"
#define GROUP(number, rest)                                                                        \
	"{\"number\":" number ",\"type\":\"DMA-FQ\",\"isCovered\":true,\"reservedRegions\":["      \
	"{\"first\":\"0xfee00000\",\"last\":\"0xfeefffff\",\"type\":\"msi\"}]," rest "}"
#define HOLDER                                                                                     \
	"\"holder\":{\"pid\":4711,\"uid\":0,\"command\":\"qemu\",\"unit\":\"vm.service\"},"        \
	"\"lease\":\"L3\","
#define GROUP_13                                                                                   \
	GROUP("13", "\"binding\":\"taken\",\"owner\":\"leased\"," HOLDER                           \
		    "\"mayLease\":false,\"denial\":\"no rule covers "                              \
		    "0000:01:00.1\",\"devices\":[" DEVICE("0000:01:00.0", "\"vfio-pci\"",          \
			    "\"NVIDIA RTX 4080\"") "," DEVICE("0000:01:00.1", "null", "null") "]")
#define GROUP_15                                                                                   \
	GROUP("15", "\"binding\":\"failed\",\"owner\":\"none\",\"mayLease\":true,\"failure\":"     \
		    "\"the rollback failed\",\"devices\":[" DEVICE("0000:3b:02.0", "\"vfio-pci\"", \
			    "\"Intel \\u001b[2JE810\"") "," DEVICE("0000:3b:02.1", "\"vfio-pci\"", \
			    "\"Red Hat\"") "]")

static bool is(const char *method, const char *name)
{
	return strcmp(method, name) == 0;
}

static const char *as_text(struct json_object *parameters)
{
	return json_object_to_json_string_ext(parameters, JSON_C_TO_STRING_PLAIN);
}

static void answer_list(struct fake *fake, int peer, const char *method,
	struct json_object *parameters, const int *fds, size_t n_fds)
{
	(void)fds;
	(void)n_fds;
	fake_expect(is(method, "org.vfiod.Broker.List"), "List");
	if (is(as_text(parameters), "{\"pool\":\"nics\"}"))
		fake_reply(fake, peer, false, "{\"group\":" GROUP_13 ",\"total\":41}");
	else if (is(as_text(parameters), "{\"pool\":\"none\"}"))
		fake_reply(fake, peer, false, "{\"total\":41}");
	else if (json_object_object_get(parameters, "pool"))
		fake_error(fake, peer, "org.vfiod.Broker.NoSuchPool",
			"{\"pool\":\"a\\\"b\",\"reason\":\"there is none\"}");
	else if (json_object_get_boolean(json_object_object_get(parameters, "all"))) {
		fake_reply(fake, peer, true, "{\"group\":" GROUP_13 ",\"total\":2}");
		fake_reply(fake, peer, false, "{\"group\":" GROUP_15 ",\"total\":2}");
	} else if (peer == 0) {
		fake_reply(fake, peer, false, "{\"total\":41}");
	} else if (peer == 1) {
		fake_reply(fake, peer, false, "{\"total\":0}");
	} else {
		fake_reply(fake, peer, false, "{\"group\":" GROUP_13 ",\"total\":41}");
	}
}

static void list_is_a_table(void **state)
{
	struct fake *fake = fake_start(answer_list);

	(void)state;
	assert_int_equal(ctl(fake, "list", NULL), 0);
	assert_string_equal(ctl_out, "no rule covers any group; --all shows all of them\n");
	assert_int_equal(ctl(fake, "list", NULL), 0);
	assert_string_equal(ctl_out, "This host has no IOMMU groups: is the IOMMU on? (firmware, "
				     "and intel_iommu=on)\n");
	assert_int_equal(ctl(fake, "list", NULL), 0);
	assert_string_equal(ctl_out,
		"GROUP STATE   DEVICE        DRIVER    OWNER           NAME\n"
		"13    leased  0000:01:00.0  vfio-pci  root qemu/4711  NVIDIA RTX 4080\n"
		"              0000:01:00.1  -                         10de:2704\n"
		"1 of 41 groups; --all shows the rest\n");
	assert_int_equal(ctl(fake, "list", "--no-legend", "--all", NULL), 0);
	assert_string_equal(ctl_out,
		"13 leased  0000:01:00.0  vfio-pci  root qemu/4711  NVIDIA RTX 4080\n"
		"           0000:01:00.1  -                         10de:2704\n"
		"15 failed  0000:3b:02.0  vfio-pci                  Intel ?[2JE810\n"
		"           0000:3b:02.1  vfio-pci                  Red Hat 10de:2704\n");
	assert_int_equal(ctl(fake, "list", "--all", "--json", NULL), 0);
	assert_non_null(strstr(ctl_out, "{\"total\":2,\"groups\":[{\"number\":13,"));
	assert_ptr_equal(strchr(ctl_out, '\n'), ctl_out + strlen(ctl_out) - 1);
	assert_string_equal(ctl_err, "");
	assert_int_equal(ctl(fake, "list", "7", NULL), EXIT_USAGE);
	assert_string_equal(ctl_err, "vfioctl list: no arguments; one group is: vfioctl status 7\n"
				     "See vfioctl list --help.\n");
	fake_stop(fake);
}

static const char *no_memory_for; /* such a text */

/* In place of the library's. */
struct json_object *json_object_new_string(const char *text)
{
	struct json_object *(*real)(const char *) = dlsym(RTLD_NEXT, __func__);

	return no_memory_for && is(text, no_memory_for) ? NULL : real(text);
}

/* Without its name, other groups would be shown as the pool's. */
static void no_memory_for_a_pool(void **state)
{
	struct fake *fake = fake_start(answer_list);

	(void)state;
	no_memory_for = "nics";
	assert_int_equal(ctl(fake, "list", "--pool", "nics", NULL), EXIT_REFUSED);
	no_memory_for = NULL;
	assert_string_equal(ctl_out, "");
	assert_string_equal(ctl_err, "vfioctl: out of memory\n");
	fake_stop(fake);
}

static void list_of_a_pool(void **state)
{
	struct fake *fake = fake_start(answer_list);

	(void)state;
	assert_int_equal(ctl(fake, "list", "--pool", "nics", NULL), 0);
	assert_string_equal(ctl_out,
		"GROUP STATE   DEVICE        DRIVER    OWNER           NAME\n"
		"13    leased  0000:01:00.0  vfio-pci  root qemu/4711  NVIDIA RTX 4080\n"
		"              0000:01:00.1  -                         10de:2704\n"
		"1 group of pool nics that you may lease\n");
	assert_int_equal(ctl(fake, "list", "--pool=none", NULL), 0);
	assert_string_equal(ctl_out, "nothing of pool none that you may lease\n");
	assert_int_equal(ctl(fake, "list", "--pool", "a\"b", NULL), EXIT_REFUSED);
	assert_string_equal(ctl_err, "vfioctl: cannot list groups: no pool a\"b: there is none\n");
	assert_int_equal(ctl(fake, "list", "--pool", "nics", "--all", NULL), EXIT_USAGE);
	assert_string_equal(
		ctl_err, "vfioctl list: either --all or --pool\nSee vfioctl list --help.\n");
	assert_int_equal(ctl(fake, "list", "--pool", "", NULL), EXIT_USAGE);
	fake_stop(fake);
}

#define POOLS                                                                                      \
	"{\"pools\":[{\"pool\":\"nics\",\"devices\":4,\"groups\":3,\"free\":1,\"leased\":1,"       \
	"\"waiting\":2},{\"pool\":\"gpu\\n\",\"devices\":1,\"groups\":1,\"free\":0,\"leased\":1,"  \
	"\"waiting\":0}]}"

static void answer_status(struct fake *fake, int peer, const char *method,
	struct json_object *parameters, const int *fds, size_t n_fds)
{
	(void)fds;
	(void)n_fds;
	if (is(method, "org.vfiod.Admin.Status"))
		fake_reply(fake, peer, false,
			"{\"version\":\"1.0\",\"uptimeSeconds\":259300,\"iommu\":\"Intel IOMMU\","
			"\"hasIommufd\":false,\"groups\":41,\"devices\":80,\"bindings\":{\"host\":"
			"37,"
			"\"taken\":3,\"failed\":1},\"owners\":{\"none\":39,\"leased\":1,"
			"\"lingering\":1},\"leases\":1,\"waiting\":2,\"rules\":3,\"configuration\":"
			"\"/etc/vfiod/"
			"vfiod.conf\",\"dropIns\":2,\"recoveries\":[{\"group\":15,\"found\":"
			"\"taking\",\"outcome\":\"returned\"},{\"group\":13,\"found\":"
			"\"failed\",\"outcome\":\"failed\"}],\"problems\":[{\"group\":15,\"text\":"
			"\"0000:3b:02.0 held open by testpmd (pid 902, uid 1001) for 4 min. End "
			"that process to return it; no other group is affected.\"},{\"group\":null,"
			"\"text\":\"\\u001b[1mno rules\"}]}");
	else if (is(method, "org.vfiod.Broker.Pools"))
		fake_reply(fake, peer, false, POOLS);
	else if (is(as_text(parameters), "{\"device\":\"0000:01:00.0\"}"))
		fake_reply(fake, peer, false,
			"{\"group\":" GROUP_13 ",\"resetSets\":["
			"{\"device\":\"0000:01:00.0\",\"others\":[{\"device\":\"0000:01:00.1\","
			"\"group\":13},"
			"{\"device\":\"0000:01:00.2\",\"group\":14}]},"
			"{\"device\":\"0000:01:00.1\",\"others\":[]}]}");
	else if (is(as_text(parameters), "{\"group\":15}"))
		fake_reply(fake, peer, false, "{\"group\":" GROUP_15 ",\"resetSets\":[]}");
	else if (is(as_text(parameters), "{\"device\":\"foo\"}"))
		fake_error(fake, peer, "org.vfiod.Broker.NoSuchDevice",
			"{\"device\":\"foo\",\"reason\":\"no device with an IOMMU group has this "
			"name\"}");
	else
		fake_error(fake, peer, "org.vfiod.Broker.NoSuchGroup", "{\"group\":16}");
}

static void status_is_an_overview(void **state)
{
	struct fake *fake = fake_start(answer_status);

	(void)state;
	assert_int_equal(ctl(fake, "status", NULL), 0);
	assert_string_equal(ctl_out,
		"vfiod 1.0, up 3 days; Intel IOMMU; iommufd: not in this kernel\n"
		"Groups  41: 37 host, 1 leased, 1 lingering, 1 taken, 1 failed\n"
		"Rules   3 from /etc/vfiod/vfiod.conf and 2 files of vfiod.conf.d\n"
		"Leases  1, 2 waiting\n"
		"Pools   nics: 4 devices in 3 groups, 1 free, 1 leased, 2 waiting\n"
		"        gpu?: 1 device in 1 group, 0 free, 1 leased, 0 waiting\n"
		"Found   group 15, left in the middle of a take by an earlier vfiod: returned\n"
		"Found   group 13, left failed by an earlier vfiod: failed\n"
		"!! 15   0000:3b:02.0 held open by testpmd (pid 902, uid 1001) for 4 min. End\n"
		"        that process to return it; no other group is affected.\n"
		"!!      ?[1mno rules\n");
	assert_int_equal(ctl(fake, "status", "--json", NULL), 0);
	assert_non_null(strstr(ctl_out, "\"pools\":[{\"pool\":\"nics\",\"devices\":4,"));
	assert_int_equal(ctl(fake, "_names", "pools", NULL), 0);
	assert_string_equal(ctl_out, "nics\t1 free\ngpu?\t0 free\n");
	fake_stop(fake);
}

static void status_of_one_group_is_all_of_it(void **state)
{
	struct fake *fake = fake_start(answer_status);

	(void)state;
	assert_int_equal(ctl(fake, "status", "01:00.0", NULL), 0);
	assert_string_equal(ctl_out,
		"Group 13: leased; 2 devices; default domain DMA-FQ\n"
		"  Holder    root qemu/4711, unit vm.service, lease L3\n"
		"  You       not allowed: no rule covers 0000:01:00.1\n"
		"  Rules     a rule matches it\n"
		"0000:01:00.0  NVIDIA RTX 4080\n"
		"  Bus       pci 10de:2704, class 030000, NUMA node 1\n"
		"  Driver    vfio-pci\n"
		"  Reset     flr, bus\n"
		"  Bus reset reaches 0000:01:00.1 (group 13), 0000:01:00.2 (group 14)\n"
		"  Sysfs     /sys/devices/pci0000:00/0000:01:00.0\n"
		"0000:01:00.1\n"
		"  Bus       pci 10de:2704, class 030000, NUMA node 1\n"
		"  Driver    none\n"
		"  Reset     flr, bus\n"
		"  Bus reset reaches no other device\n"
		"  Sysfs     /sys/devices/pci0000:00/0000:01:00.1\n"
		"Reserved, cannot be mapped\n"
		"  0xfee00000-0xfeefffff  msi\n");
	assert_int_equal(ctl(fake, "status", "group:15", NULL), 0);
	assert_non_null(strstr(ctl_out, "Group 15: failed; 2 devices; default domain DMA-FQ\n"
					"  !!        the rollback failed\n"
					"  Holder    nobody\n"
					"  You       allowed by the rules, but it is failed: an "
					"administrator has to\n"
					"            return it\n"));
	assert_int_equal(ctl(fake, "status", "16", NULL), EXIT_REFUSED);
	assert_string_equal(
		ctl_err, "vfioctl: there is no group 16; `vfioctl list --all` shows them all\n");
	assert_int_equal(ctl(fake, "status", "foo", NULL), EXIT_REFUSED);
	assert_string_equal(ctl_err, "vfioctl: no device foo in an IOMMU group; `vfioctl list "
				     "--all` shows them all\n");
	assert_int_equal(ctl(fake, "status", "", NULL), EXIT_USAGE);
	assert_string_equal(ctl_err, "vfioctl status: '': neither a device nor a group\n"
				     "See vfioctl status --help.\n");
	assert_int_equal(ctl(fake, "status", "group:x", NULL), EXIT_USAGE);
	assert_int_equal(ctl(fake, "status", "--socket", "", NULL), EXIT_USAGE);
	assert_string_equal(ctl_err, "vfioctl status: --socket '': not a path\n"
				     "See vfioctl status --help.\n");
	assert_int_equal(ctl(fake, "status", "1", "2", NULL), EXIT_USAGE);
	fake_stop(fake);
}

/* What the rules allow, and what is in the way all the same. */
static void answer_state(struct fake *fake, int peer, const char *method,
	struct json_object *parameters, const int *fds, size_t n_fds)
{
	static const char *const states[] = {
		"\"binding\":\"host\",\"owner\":\"none\"",
		"\"binding\":\"taken\",\"owner\":\"none\"",
		"\"binding\":\"taken\",\"owner\":\"leased\"",
		"\"binding\":\"taken\",\"owner\":\"lingering\"",
		"\"binding\":\"failed\",\"owner\":\"none\"",
		"\"binding\":\"stuck\",\"owner\":\"lingering\"",
		"\"binding\":\"gone\",\"owner\":\"none\"",
		"\"binding\":\"returning\",\"owner\":\"none\"",
		"\"binding\":\"host\",\"owner\":\"none\"",
		"\"binding\":\"taken\",\"owner\":\"leased\"",
	};
	int group = json_object_get_int(json_object_object_get(parameters, "group"));
	char reply[512];

	(void)method;
	(void)fds;
	(void)n_fds;
	snprintf(reply, sizeof reply,
		"{\"group\":{\"number\":7,\"type\":\"DMA\",%s,\"isCovered\":%s,\"mayLease\":"
		"true,\"devices\":[],\"reservedRegions\":[]}}",
		states[group], group < 8 ? "true" : "false");
	fake_reply(fake, peer, false, reply);
}

static void status_tells_what_is_in_the_way(void **state)
{
	static const char *const texts[] = {
		"allowed by the rules\n",
		"allowed by the rules\n",
		"allowed by the rules, but it is leased now\n",
		"allowed by the rules, but some process still has it open\n",
		"allowed by the rules, but it is failed: an administrator has to\n",
		"allowed by the rules, but it is stuck: the kernel does not let go of\n",
		"allowed by the rules, but its devices have left the host\n",
		"allowed by the rules, but its drivers are changing now\n",
		/* No rule is about it. */
		"allowed: you are an administrator\n",
		"allowed: you are an administrator, but it is leased now\n",
	};
	struct fake *fake = fake_start(answer_state);

	(void)state;
	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
		char group[16], line[128];

		snprintf(group, sizeof group, "%zu", i);
		snprintf(line, sizeof line, "\n  You       %s", texts[i]);
		assert_int_equal(ctl(fake, "status", group, NULL), 0);
		assert_non_null(strstr(ctl_out, line));
	}
	fake_stop(fake);
}

#define LINGERING(number, evidence)                                                                \
	GROUP(number, "\"binding\":\"taken\",\"owner\":\"lingering\"," HOLDER                      \
		      "\"holderEvidence\":\"" evidence "\",\"mayLease\":false,\"devices\":[]")

static void answer_moves(struct fake *fake, int peer, const char *method,
	struct json_object *parameters, const int *fds, size_t n_fds)
{
	const char *text = as_text(parameters);

	(void)fds;
	(void)n_fds;
	if (is(method, "org.vfiod.Broker.Describe") && is(text, "{\"group\":13}"))
		fake_reply(fake, peer, false, "{\"group\":" GROUP_13 "}");
	else if (is(method, "org.vfiod.Broker.Describe") && is(text, "{\"group\":2}"))
		fake_reply(fake, peer, false, "{\"group\":" LINGERING("2", "former") "}");
	else if (is(method, "org.vfiod.Broker.Describe") && is(text, "{\"group\":3}"))
		fake_reply(fake, peer, false,
			"{\"group\":" GROUP("3", "\"binding\":\"taken\",\"owner\":\"lingering\","
						 "\"mayLease\":false,\"devices\":[]") "}");
	else if (is(method, "org.vfiod.Broker.Describe") &&
		 (is(text, "{\"group\":5}") || is(text, "{\"group\":6}")))
		fake_reply(fake, peer, false,
			is(text, "{\"group\":5}") ? "{\"group\":" LINGERING("5", "open") "}"
						  : "{\"group\":" LINGERING("6", "probable") "}");
	else if (is(method, "org.vfiod.Broker.Describe") && is(text, "{\"device\":\"enp9s0\"}"))
		fake_error(fake, peer, "org.vfiod.Broker.NoSuchDevice",
			"{\"device\":\"enp9s0\",\"reason\":\"no device with an IOMMU group has "
			"this "
			"name\"}");
	else if (is(method, "org.vfiod.Broker.Describe"))
		fake_reply(fake, peer, false,
			"{\"group\":" GROUP("9", "\"binding\":\"host\",\"owner\":\"none\","
						 "\"mayLease\":false,\"devices\":[]") "}");
	else if (is(text, "{\"group\":5}") || is(text, "{\"group\":6}"))
		fake_error(fake, peer, "org.vfiod.Broker.GroupBusy",
			is(text, "{\"group\":5}")
				? "{\"group\":5,\"ownerPid\":4711,\"ownerUid\":0}"
				: "{\"group\":6,\"ownerPid\":4711,\"ownerUid\":0}");
	else if (is(text, "{\"group\":13}") || is(text, "{\"group\":2}") ||
		 is(text, "{\"group\":3}"))
		fake_error(fake, peer, "org.vfiod.Broker.GroupBusy",
			is(text, "{\"group\":13}")
				? "{\"group\":13,\"ownerPid\":4711,\"ownerUid\":0}"
				: (is(text, "{\"group\":2}")
						  ? "{\"group\":2,\"ownerPid\":4711,\"ownerUid\":0}"
						  : "{\"group\":3}"));
	else if (is(text, "{\"group\":8}"))
		fake_error(fake, peer, "org.varlink.service.PermissionDenied", "{}");
	else if (is(text, "{\"group\":9}"))
		fake_error(fake, peer, "org.vfiod.Broker.GroupBusy",
			"{\"group\":9,\"ownerPid\":312,\"ownerUid\":1001}");
	else if (is(method, "org.vfiod.Admin.Take") && is(text, "{\"device\":\"0000:06:01.0\"}"))
		fake_reply(fake, peer, false,
			"{\"group\":7,\"devices\":[\"0000:06:01.0\",\"0000:06:02.0\"]}");
	else if (is(method, "org.vfiod.Admin.Return") && is(text, "{\"device\":\"enp3s0\"}"))
		fake_reply(fake, peer, false, "{\"group\":7,\"devices\":[\"0000:06:01.0\"]}");
	else
		fake_reply(fake, peer, false, "{\"group\":4,\"devices\":[]}");
}

static void take_and_return_move_groups(void **state)
{
	struct fake *fake = fake_start(answer_moves);

	(void)state;
	assert_int_equal(ctl(fake, "take", "06:01.0", "4", NULL), 0);
	assert_string_equal(
		ctl_out, "group 7 taken: 0000:06:01.0, 0000:06:02.0\ngroup 4 was taken already\n");
	assert_int_equal(ctl(fake, "return", "enp3s0", "group:4", NULL), 0);
	assert_string_equal(
		ctl_out, "group 7 returned: 0000:06:01.0\ngroup 4 was with the host already\n");
	/* One that fails does not stop the others. */
	assert_int_equal(ctl(fake, "take", "8", "9", "4", NULL), EXIT_REFUSED);
	assert_string_equal(ctl_out, "group 4 was taken already\n");
	assert_string_equal(ctl_err,
		"vfioctl: cannot take group 8: permission denied: this is for administrators\n"
		"Administrators only: try sudo.\n"
		"vfioctl: cannot take group 9: group 9 is held by pid 312 (uid 1001)\n");
	/* Who has it is asked; what the former holder's pid is worth, too. */
	assert_int_equal(ctl(fake, "take", "13", "2", "3", "5", "6", NULL), EXIT_REFUSED);
	assert_string_equal(ctl_err,
		"vfioctl: cannot take group 13: group 13 is held by pid 4711 (uid 0): root qemu, "
		"lease L3\n"
		"vfioctl: cannot take group 2: group 2 is held open by some process; it was leased "
		"to root qemu/4711; `vfioctl status 2` names it once it is found\n"
		"vfioctl: cannot take group 3: group 3 is held open by some process; `vfioctl "
		"status 3` names it once it is found\n"
		"vfioctl: cannot take group 5: group 5 is held open by root qemu/4711; when that "
		"ends, the group goes back\n"
		"vfioctl: cannot take group 6: group 6 is probably held open by root qemu/4711; "
		"when that ends, the group goes back\n");
	/* A name that means nothing stops all of it. */
	assert_int_equal(ctl(fake, "take", "06:01.0", "enp9s0", "4", NULL), EXIT_REFUSED);
	assert_string_equal(ctl_out, "");
	assert_string_equal(ctl_err, "vfioctl: no device enp9s0 in an IOMMU group; `vfioctl list "
				     "--all` shows them all\nNothing was taken.\n");
	assert_int_equal(ctl(fake, "take", "06:01.0", "group:", NULL), EXIT_USAGE);
	assert_string_equal(ctl_out, "");
	assert_int_equal(ctl(fake, "return", "", NULL), EXIT_USAGE);
	assert_int_equal(ctl(fake, "take", "06:01.0", "--json", NULL), 0);
	assert_string_equal(
		ctl_out, "{\"group\":7,\"devices\":[\"0000:06:01.0\",\"0000:06:02.0\"]}\n");
	assert_int_equal(ctl(fake, "take", NULL), EXIT_USAGE);
	assert_string_equal(
		ctl_err, "vfioctl take: which device or group?\nSee vfioctl take --help.\n");
	fake_stop(fake);
}

static void answer_leases(struct fake *fake, int peer, const char *method,
	struct json_object *parameters, const int *fds, size_t n_fds)
{
	(void)parameters;
	(void)fds;
	(void)n_fds;
	if (is(method, "org.vfiod.Ledger.Describe")) {
		fake_error(fake, peer, "org.varlink.service.InterfaceNotFound",
			"{\"interface\":\"org.vfiod.Ledger\"}");
		return;
	}
	fake_expect(is(method, "org.vfiod.Broker.Leases"), "Leases");
	if (peer == 0) {
		fake_reply(fake, peer, false, "{\"leases\":[]}");
		return;
	}
	fake_reply(fake, peer, false,
		"{\"leases\":[{\"lease\":\"3\",\"groups\":[13,14],\"holder\":{\"pid\":4711,\"uid\":"
		"0,"
		"\"command\":\"qemu\"},\"mode\":\"group\",\"account\":\"alice\",\"ageSeconds\":240,"
		"\"followsProcess\":"
		"false,\"isGranted\":true,\"isReleaseRequested\":false,\"isTrusted\":false,"
		"\"memoryBytes\":0},{\"lease\":\"4\","
		"\"groups\":"
		"[7],\"holder\":{\"pid\":5,\"uid\":0,\"command\":\"x\"},\"mode\":\"group\","
		"\"account\":\"bob\","
		"\"ageSeconds\":0,\"followsProcess\":true,\"isGranted\":false,"
		"\"isReleaseRequested\":false,\"isTrusted\":false,\"memoryBytes\":0},{\"lease\":"
		"\"5\",\"groups\":[8],\"holder\":{\"pid\":"
		"6,"
		"\"uid\":0,\"command\":\"y\"},\"mode\":\"cdev\",\"account\":\"bob\","
		"\"ageSeconds\":90000,"
		"\"followsProcess\":true,\"isGranted\":true,\"isReleaseRequested\":true,"
		"\"isTrusted\":false,\"memoryBytes\":0}]}");
}

static void leases_is_a_table(void **state)
{
	struct fake *fake = fake_start(answer_leases);

	(void)state;
	assert_int_equal(ctl(fake, "leases", NULL), 0);
	assert_string_equal(ctl_out, "No leases.\n");
	assert_int_equal(ctl(fake, "leases", NULL), 0);
	assert_string_equal(ctl_out,
		"LEASE  GROUPS  OWNER           ACCOUNT  AGE    STATE\n"
		"3      13,14   root qemu/4711  alice    4 min  granted\n"
		"4      7       root x/5        bob      -      waiting\n"
		"5      8       root y/6        bob      1 day  asked back, cdev\n");
	assert_int_equal(ctl(fake, "leases", "--json", NULL), 0);
	assert_memory_equal(ctl_out, "{\"leases\":[{\"lease\":\"3\"", 23);
	fake_stop(fake);
}

static void answer_revoke(struct fake *fake, int peer, const char *method,
	struct json_object *parameters, const int *fds, size_t n_fds)
{
	static const char *const wanted[] = { "{\"lease\":\"L3\",\"reason\":\"at six\"}",
		"{\"lease\":\"L3\",\"end\":true}" };

	(void)fds;
	(void)n_fds;
	if (is(method, "org.vfiod.Admin.Reload")) {
		if (peer == 3)
			fake_reply(fake, peer, false, "{\"rules\":1}");
		else
			fake_error(fake, peer, "org.vfiod.Admin.ConfigurationInvalid",
				"{\"reason\":\"/etc/vfiod/vfiod.conf:3: unknown key x\"}");
		return;
	}
	if (peer == 2) {
		fake_expect(is(as_text(parameters), "{\"lease\":\"L4\"}"), "L4");
		fake_error(fake, peer, "org.vfiod.Broker.NoSuchLease", "{}");
		return;
	}
	if (peer >= 5) {
		fake_reply(fake, peer, false,
			peer == 5   ? "{\"endsInSeconds\":60,\"endsProcess\":true}"
			: peer == 6 ? "{\"endsInSeconds\":60,\"endsProcess\":false}"
				    : "{\"endsProcess\":true}");
		return;
	}
	fake_expect(peer < 2 && is(as_text(parameters), wanted[peer]), wanted[peer & 1]);
	fake_reply(fake, peer, false, "{}");
}

static void revoke_and_reload_administer(void **state)
{
	struct fake *fake = fake_start(answer_revoke);

	(void)state;
	assert_int_equal(ctl(fake, "revoke", "L3", "--reason", "at six", NULL), 0);
	assert_string_equal(ctl_out, "asked the holder of lease L3 to give it back\n");
	assert_int_equal(ctl(fake, "revoke", "--end", "L3", NULL), 0);
	assert_string_equal(ctl_out, "lease L3 ended; what its holder still has open lingers "
				     "until he closes it, see vfioctl list\n");
	assert_int_equal(ctl(fake, "revoke", "L4", NULL), EXIT_REFUSED);
	assert_string_equal(
		ctl_err, "vfioctl: there is no lease L4; `vfioctl leases` shows them\n");
	assert_int_equal(ctl(fake, "reload", NULL), 0);
	assert_string_equal(ctl_out, "reloaded: 1 rule in force\n");
	assert_int_equal(ctl(fake, "reload", NULL), EXIT_REFUSED);
	assert_string_equal(ctl_err,
		"vfioctl: cannot reload: the configuration was not read, the rules are as before: "
		"/etc/vfiod/vfiod.conf:3: unknown key x\n");
	assert_int_equal(ctl(fake, "revoke", "L3", NULL), 0);
	assert_string_equal(ctl_out,
		"asked the holder of lease L3 to give it back; in 60 s the lease ends, and he, if "
		"he still has a device open\n");
	assert_int_equal(ctl(fake, "revoke", "L3", NULL), 0);
	assert_string_equal(
		ctl_out, "asked the holder of lease L3 to give it back; in 60 s the lease ends\n");
	assert_int_equal(ctl(fake, "revoke", "L3", "--end", NULL), 0);
	assert_string_equal(ctl_out, "lease L3 ended; if its holder still has a device open, he is "
				     "ended, see vfioctl monitor\n");
	assert_int_equal(ctl(fake, "revoke", NULL), EXIT_USAGE);
	assert_int_equal(ctl(fake, "revoke", "L3", "L4", NULL), EXIT_USAGE);
	fake_stop(fake);
}

static void answer_monitor(struct fake *fake, int peer, const char *method,
	struct json_object *parameters, const int *fds, size_t n_fds)
{
	static const char newer[] =
		"{\"parameters\":{\"event\":\"newer\\u001b\",\"text\":\"x\"},\"continues\":true}";

	(void)parameters;
	(void)fds;
	(void)n_fds;
	fake_expect(is(method, "org.vfiod.Broker.Monitor"), "Monitor");
	fake_reply(fake, peer, true, "{\"event\":\"ready\"}");
	fake_reply(fake, peer, true,
		"{\"event\":\"bindingChanged\",\"group\":7,\"before\":\"host\",\"after\":"
		"\"taking\"}");
	fake_reply(fake, peer, true,
		"{\"event\":\"driverChanged\",\"group\":7,\"device\":\"0000:06:01.0\",\"before\":"
		"\"e1000\",\"after\":\"vfio-pci\"}");
	fake_reply(fake, peer, true,
		"{\"event\":\"driverChanged\",\"device\":\"0000:06:02.0\",\"before\":null,"
		"\"after\":"
		"\"e1000\"}");
	fake_reply(fake, peer, true,
		"{\"event\":\"leaseGranted\",\"lease\":\"3\",\"text\":\"groups 7 (alice "
		"qemu/4711)\"}");
	fake_reply(fake, peer, true,
		"{\"event\":\"ownerChanged\",\"group\":7,\"before\":\"none\",\"after\":"
		"\"leased\"}");
	fake_reply(fake, peer, true,
		"{\"event\":\"deviceRemoved\",\"group\":7,\"device\":\"0000:06:02.0\"}");
	fake_reply(fake, peer, true, "{\"event\":\"spaceCreated\",\"space\":\"S4\"}");
	fake_reply(fake, peer, true,
		"{\"event\":\"groupAttached\",\"group\":7,\"space\":\"S4\",\"text\":\"container "
		"0\"}");
	fake_reply(
		fake, peer, true, "{\"event\":\"limitExceeded\",\"space\":\"S4\",\"text\":\"x\"}");
	fake_reply(fake, peer, true, "{\"event\":\"limitExceeded\",\"text\":\"x\"}");
	fake_reply(fake, peer, true, "{\"event\":\"groupDetached\",\"group\":7,\"space\":\"S4\"}");
	fake_reply(fake, peer, true,
		"{\"event\":\"spaceChanged\",\"space\":\"S4\",\"before\":\"live\",\"after\":"
		"\"orphaned\"}");
	fake_reply(fake, peer, true, "{\"event\":\"spaceEnded\",\"space\":\"S4\"}");
	fake_reply(fake, peer, true, "{\"event\":\"lost\"}");
	fake_raw(fake, peer, newer, sizeof newer, -1);
	fake_hang_up(fake, peer);
}

/* The times are today's: "12:00:01 " is left out of each line. */
static void drop_times(char *text)
{
	char *to = text;

	while (*text) {
		assert_true(text[2] == ':' && text[5] == ':' && text[8] == ' ');
		text += 9;
		do
			*to++ = *text;
		while (*text++ != '\n');
	}
	*to = '\0';
}

static void monitor_prints_a_line_an_event(void **state)
{
	struct fake *fake = fake_start(answer_monitor);

	(void)state;
	assert_int_equal(ctl(fake, "monitor", NULL), EXIT_REFUSED);
	drop_times(ctl_out);
	assert_string_equal(ctl_out, "ready\n"
				     "group 7: host → taking\n"
				     "0000:06:01.0: e1000 → vfio-pci\n"
				     "0000:06:02.0: no driver → e1000\n"
				     "lease 3 granted: groups 7 (alice qemu/4711)\n"
				     "group 7: owner none → leased\n"
				     "0000:06:02.0: removed from group 7\n"
				     "space S4 created\n"
				     "group 7: attached to space S4: container 0\n"
				     "space S4: limit exceeded: x\n"
				     "limit exceeded: x\n"
				     "group 7: detached from space S4\n"
				     "space S4: live → orphaned\n"
				     "space S4 ended\n"
				     "events were lost: list again\n"
				     "newer?: x\n");
	assert_string_equal(
		ctl_err, "vfioctl: cannot go on watching: vfiod has closed the connection\n");
	assert_int_equal(ctl(fake, "monitor", "--json", NULL), EXIT_REFUSED);
	assert_memory_equal(ctl_out, "{\"event\":\"ready\"}\n{\"event\":\"bindingChanged\",", 43);
	assert_non_null(strstr(ctl_out, "\"newer\\u001b\""));
	fake_stop(fake);
}

static void answer_nothing(struct fake *fake, int peer, const char *method,
	struct json_object *parameters, const int *fds, size_t n_fds)
{
	(void)fake;
	(void)peer;
	(void)method;
	(void)parameters;
	(void)fds;
	(void)n_fds;
}

static void without_an_answer(void **state)
{
	struct fake *fake = fake_start(answer_nothing);

	(void)state;
	assert_int_equal(ctl(fake, "leases", "--timeout", "1", NULL), EXIT_REFUSED);
	assert_string_equal(ctl_err, "vfioctl: cannot list leases: vfiod did not answer in time\n");
	fake_stop(fake);
	assert_int_equal(ctl(NULL, "leases", NULL), EXIT_NO_DAEMON);
	assert_string_equal(ctl_err,
		"vfioctl: cannot connect to /nonexistent/socket: No such file or directory\n");
	assert_int_equal(ctl(NULL, "leases", "--timeout", "0", NULL), EXIT_USAGE);
	assert_string_equal(ctl_err, "vfioctl leases: --timeout 0: no answer is as quick as that\n"
				     "See vfioctl leases --help.\n");
	assert_int_equal(ctl(NULL, "leases", "--timeout", "x", NULL), EXIT_USAGE);
	assert_int_equal(ctl(NULL, "leases", "--timeout", NULL), EXIT_USAGE);
	assert_string_equal(
		ctl_err, "vfioctl leases: --timeout wants a value\nSee vfioctl leases --help.\n");
	assert_int_equal(ctl(NULL, "leases", "--frobnicate", NULL), EXIT_USAGE);
	assert_string_equal(ctl_err,
		"vfioctl leases: unknown option --frobnicate\nSee vfioctl leases --help.\n");
}

static void assert_fits_80_columns(const char *text)
{
	while (*text) {
		size_t length = strcspn(text, "\n");
		char line[256];

		assert_true(length < sizeof line && text[length] == '\n');
		memcpy(line, text, length);
		line[length] = '\0';
		assert_in_range(format_width(line), 0, 80);
		text += length + 1;
	}
}

/* Each command explains itself, with examples, in lines that fit 80 columns. */
static void help_teaches(void **state)
{
	(void)state;
	for (size_t i = 0; commands[i]; i++) {
		assert_int_equal(ctl(NULL, commands[i]->name, "--help", NULL), 0);
		assert_non_null(strstr(ctl_out, "\nExamples:\n  "));
		assert_memory_equal(ctl_out, "vfioctl ", 8);
		assert_fits_80_columns(ctl_out);
		assert_int_equal(ctl(NULL, commands[i]->name, "-h", NULL), 0);
		assert_memory_equal(ctl_out, "vfioctl ", 8);
		assert_int_equal(ctl(NULL, "help", commands[i]->name, NULL), 0);
	}
	assert_int_equal(ctl(NULL, "list", "-V", NULL), 0);
	assert_string_equal(ctl_out, "vfioctl " VFIOD_VERSION "\n");
	assert_int_equal(ctl(NULL, "help", NULL), 0);
	assert_fits_80_columns(ctl_out);
	for (size_t i = 0; commands[i]; i++)
		assert_non_null(strstr(ctl_out, commands[i]->summary));
	assert_int_equal(ctl(NULL, "help", "frobnicate", NULL), EXIT_USAGE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(list_is_a_table),
		cmocka_unit_test(list_of_a_pool),
		cmocka_unit_test(no_memory_for_a_pool),
		cmocka_unit_test(status_is_an_overview),
		cmocka_unit_test(status_of_one_group_is_all_of_it),
		cmocka_unit_test(status_tells_what_is_in_the_way),
		cmocka_unit_test(take_and_return_move_groups),
		cmocka_unit_test(leases_is_a_table),
		cmocka_unit_test(revoke_and_reload_administer),
		cmocka_unit_test(monitor_prints_a_line_an_event),
		cmocka_unit_test(without_an_answer),
		cmocka_unit_test(help_teaches),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
