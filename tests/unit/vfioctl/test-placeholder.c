/* {group:…} in the arguments of CMD. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "client/vfioctl/run.h"

#define DEVICE(name)                                                                               \
	"{\"name\":\"" name "\",\"bus\":\"pci\",\"syspath\":\"/sys/x\",\"resetMethods\":[],"       \
	"\"isBound\":true,\"isParked\":false}"
#define GROUP(number, owner, devices)                                                              \
	"{\"group\":{\"number\":" number                                                           \
	",\"type\":\"DMA\",\"binding\":\"host\",\"owner\":\"" owner                                \
	"\",\"isCovered\":true,\"mayLease\":true,\"devices\":[" devices                            \
	"],\"reservedRegions\":[]}}"

static void add_group(struct run_groups *groups, const char *target, const char *description)
{
	struct json_object *reply = json_tokener_parse(description);

	assert_non_null(reply);
	assert_int_equal(run_groups_add_target(groups, target), 0);
	assert_int_equal(run_groups_describe(groups, groups->n_targets - 1,
				 json_object_object_get(reply, "group")),
		0);
	json_object_put(reply);
}

static void assert_expands(const struct run_groups *groups, const char *argument, const char *text)
{
	char *expanded, wrong[64] = "";

	assert_int_equal(placeholders_expand(groups, argument, &expanded, wrong, sizeof wrong), 0);
	assert_string_equal(expanded, text);
	free(expanded);
}

static void assert_wrong(const struct run_groups *groups, const char *argument, const char *what)
{
	char *expanded, wrong[64] = "";

	assert_int_equal(
		placeholders_expand(groups, argument, &expanded, wrong, sizeof wrong), -EINVAL);
	assert_null(expanded);
	assert_string_equal(wrong, what);
}

static void placeholders_name_descriptors(void **state)
{
	struct run_groups groups = { 0 };

	(void)state;
	add_group(&groups, "01:00.0", GROUP("13", "none", DEVICE("0000:01:00.0")));
	assert_expands(&groups, "{group}", "3");
	add_group(&groups, "enp3s0",
		GROUP("7", "none", DEVICE("0000:06:01.0") "," DEVICE("0000:06:02.0")));
	add_group(&groups, "group:13", GROUP("13", "none", DEVICE("0000:01:00.0")));
	assert_int_equal(groups.n, 2); /* each once */

	assert_expands(&groups, "", "");
	assert_expands(&groups, "--fd={group:13},{group:7}", "--fd=3,4");
	assert_expands(&groups, "{group:01:00.0}{group:0000:01:00.0}{group:group:13}", "333");
	assert_expands(&groups, "{group:enp3s0}{group:06:02.0}{group:0000:06:01.0}", "444");
	/* Braces of CMD's own: QEMU takes JSON. */
	assert_expands(&groups, "{\"driver\":\"vfio-pci\"} {groups} {x} {} {",
		"{\"driver\":"
		"\"vfio-pci\"} "
		"{groups} {x} {} {");
	assert_wrong(&groups, "{group}", "{group}"); /* there are two */
	assert_wrong(&groups, "a{group:}", "{group:}");
	assert_wrong(&groups, "{group:8}", "{group:8}");
	assert_wrong(&groups, "{group:13}{group:0000:01:00.1}b", "{group:0000:01:00.1}");
	assert_wrong(&groups, "{group:13", "{group:13");
	assert_wrong(&groups, "{device:0000:01:00.0}", "{device:0000:01:00.0}");
	assert_wrong(&groups, "{iommufd}", "{iommufd}");
	run_groups_clear(&groups);
}

/* The library would take "7" for a device's name. */
static void numbers_are_groups(void **state)
{
	struct run_groups groups = { 0 };

	(void)state;
	assert_int_equal(run_groups_add_target(&groups, "7"), 0);
	assert_int_equal(run_groups_add_target(&groups, "group:7"), 0);
	assert_int_equal(run_groups_add_target(&groups, "7:0"), 0);
	assert_string_equal(groups.targets[0].name, "group:7");
	assert_string_equal(groups.targets[1].name, "group:7");
	assert_string_equal(groups.targets[2].name, "7:0");
	run_groups_clear(&groups);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(placeholders_name_descriptors),
		cmocka_unit_test(numbers_are_groups),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
