/* {group:…}, {device:…} and {iommufd} in the arguments of CMD. */
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
#define LEFT_ALONE(name)                                                                           \
	"{\"name\":\"" name "\",\"bus\":\"pci\",\"syspath\":\"/sys/x\",\"resetMethods\":[],"       \
	"\"isBound\":false,\"isParked\":false}"
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
	assert_wrong(&groups, "{group:13{device:0000:01:00.0}", "{group:13{device:0000:01:00.0}");
	run_groups_clear(&groups);
}

static void placeholders_name_devices(void **state)
{
	struct run_groups groups = { 0 };

	(void)state;
	assert_wrong(&groups, "{iommufd}", "{iommufd}");
	assert_wrong(&groups, "{device}", "{device}");
	/* What is left alone is not handed over, and does not count. */
	add_group(&groups, "enp3s0",
		GROUP("7", "none", LEFT_ALONE("0000:06:00.0") "," DEVICE("0000:06:01.0")));
	assert_int_equal(groups.n_devices, 1);
	assert_expands(&groups, "{device},{device:06:01.0},{device:enp3s0},{iommufd}", "3,3,3,4");
	add_group(&groups, "01:00.0", GROUP("13", "none", DEVICE("0000:01:00.0")));
	add_group(&groups, "group:9",
		GROUP("9", "none",
			DEVICE("0000:00:1f.0") "," DEVICE("0000:00:1f.2") "," LEFT_ALONE("x")));
	add_group(&groups, "sda",
		GROUP("9", "none",
			DEVICE("0000:00:1f.0") "," DEVICE("0000:00:1f.2") "," LEFT_ALONE("x")));
	assert_int_equal(groups.n_devices, 4);
	assert_expands(&groups, "a{device:0000:06:01.0}{device:01:00.0}{device:00:1f.0}", "a345");
	assert_expands(&groups, "{device:0000:00:1f.2}:{iommufd}", "6:7");
	assert_expands(&groups, "{devices} {iommufd:1} {iommu}", "{devices} {iommufd:1} {iommu}");
	assert_wrong(&groups, "{device}", "{device}"); /* there are four */
	assert_wrong(&groups, "{device:}", "{device:}");
	assert_wrong(&groups, "{device:06:00.0}", "{device:06:00.0}");
	assert_wrong(&groups, "{device:7}", "{device:7}");
	assert_wrong(&groups, "{device:group:9}", "{device:group:9}");
	assert_wrong(&groups, "{device:sda}", "{device:sda}"); /* which of two? */
	assert_wrong(&groups, "x{device:0000:01:00.0", "{device:0000:01:00.0");
	run_groups_clear(&groups);
}

/* What they are called, for a CMD that opens them by itself. */
static void placeholders_name_what_is_there(void **state)
{
	struct run_groups groups = { 0 };

	(void)state;
	assert_wrong(&groups, "{group-number}", "{group-number}");
	assert_wrong(&groups, "{device-name}", "{device-name}");
	add_group(&groups, "enp3s0",
		GROUP("13", "none", LEFT_ALONE("0000:06:00.0") "," DEVICE("0000:06:01.0")));
	assert_expands(&groups, "/dev/vfio/{group-number}", "/dev/vfio/13");
	assert_expands(&groups, "{device-name}{device-name:enp3s0}", "0000:06:01.00000:06:01.0");
	add_group(&groups, "group:7", GROUP("7", "none", DEVICE("0000:01:00.0")));
	assert_expands(&groups, "{group-number:01:00.0},{group-number:enp3s0}", "7,13");
	assert_expands(&groups, "{device-name:01:00.0}", "0000:01:00.0");
	assert_expands(&groups, "{device-names} {group-number-} {name}",
		"{device-names} {group-number-} {name}");
	assert_wrong(&groups, "{device-name}", "{device-name}");
	assert_wrong(&groups, "{group-number}", "{group-number}");
	assert_wrong(&groups, "{device-name:06:00.0}", "{device-name:06:00.0}"); /* left alone */
	assert_wrong(&groups, "{group-number:8}", "{group-number:8}");
	assert_wrong(&groups, "{group-number:", "{group-number:");
	run_groups_clear(&groups);
}

static void assert_mode(enum run_mode asked, const char *first, const char *second, int exit_code,
	enum run_mode becomes)
{
	char cmd[] = "{iommufd}"; /* it is no argument */
	char *argv[] = { cmd, (char *)first, (char *)second };
	enum run_mode mode = asked;

	assert_int_equal(run_mode_choose(3, argv, &mode), exit_code);
	assert_int_equal(mode, becomes);
}

static void arguments_choose_the_mode(void **state)
{
	enum run_mode mode;

	(void)state;
	assert_mode(RUN_AUTO, "", "x", 0, RUN_AUTO);
	assert_mode(RUN_GROUP, "{a}", "x", 0, RUN_GROUP);
	assert_mode(RUN_CDEV, "", "x", 0, RUN_CDEV);
	assert_mode(RUN_AUTO, "x={group}", "x", 0, RUN_GROUP);
	assert_mode(RUN_AUTO, "x", "{{group:7}", 0, RUN_GROUP);
	assert_mode(RUN_GROUP, "{group}", "x", 0, RUN_GROUP);
	assert_mode(RUN_AUTO, "{device}", "x", 0, RUN_CDEV);
	assert_mode(RUN_AUTO, "{device:x}", "{iommufd}", 0, RUN_CDEV);
	assert_mode(RUN_CDEV, "{iommufd}", "x", 0, RUN_CDEV);
	assert_mode(RUN_AUTO, "{iommufd}", "{group}", EXIT_RUN_FAILED, RUN_AUTO);
	assert_mode(RUN_AUTO, "{group:1}{device:x}", "", EXIT_RUN_FAILED, RUN_AUTO);
	assert_mode(RUN_GROUP, "{device}", "", EXIT_RUN_FAILED, RUN_GROUP);
	assert_mode(RUN_GROUP, "{iommufd}", "", EXIT_RUN_FAILED, RUN_GROUP);
	assert_mode(RUN_CDEV, "{group}", "", EXIT_RUN_FAILED, RUN_CDEV);

	assert_int_equal(run_mode_parse("cdev", &mode), 0);
	assert_int_equal(mode, RUN_CDEV);
	assert_int_equal(run_mode_parse("auto", &mode), 0);
	assert_int_equal(mode, RUN_AUTO);
	assert_int_equal(run_mode_parse("group", &mode), 0);
	assert_int_equal(mode, RUN_GROUP);
	assert_int_equal(run_mode_parse("brokered", &mode), -EINVAL);
	assert_int_equal(run_mode_parse("", &mode), -EINVAL);
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
		cmocka_unit_test(placeholders_name_devices),
		cmocka_unit_test(placeholders_name_what_is_there),
		cmocka_unit_test(arguments_choose_the_mode),
		cmocka_unit_test(numbers_are_groups),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
