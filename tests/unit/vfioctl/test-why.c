/* why: prose on a page's width, and what the daemon said as it is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "client/vfioctl/vfioctl.h"
#include "tests/unit/vfioctl/ctl.h"

#define STEP(name, kind, acs) "{\"name\":\"" name "\",\"kind\":\"" kind "\",\"acs\":\"" acs "\"}"

static void answer(struct fake *fake, int peer, const char *method, struct json_object *parameters,
	const int *fds, size_t n_fds)
{
	(void)fds;
	(void)n_fds;
	fake_expect(strcmp(method, "org.vfiod.Broker.Why") == 0, "Why");
	if (json_object_object_get_ex(parameters, "group", NULL))
		fake_error(fake, peer, "org.vfiod.Broker.NoSuchGroup", "{\"group\":99}");
	else
		fake_reply(fake, peer, false,
			"{\"group\":7,\"isExplained\":true,\"reason\":\"0000:01:00.0 is a bridge, "
			"and what is behind it shares one requester id with \\u001b[2J it.\","
			"\"advice\":\"Use another slot.\",\"locations\":["
			"{\"device\":\"0000:01:00.0\",\"root\":\"pci0000:00\",\"path\":[" STEP(
				"0000:00:05.0", "root port", "none") "," STEP("0000:01:00.0",
				"PCIe-to-PCI bridge",
				"none") "]},"
					"{\"device\":\"0000:02:01.0\",\"root\":\"pci0000:00\","
					"\"path\":[" STEP("0000:02:01.0", "PCIe endpoint",
						"notNeeded") "]}]}");
}

static void why_is_prose(void **state)
{
	struct fake *fake = fake_start(answer);

	(void)state;
	assert_int_equal(ctl(fake, "why", "01:00.0", NULL), 0);
	assert_string_equal(ctl_out,
		"Group 7, 2 devices\n"
		"\n"
		"0000:01:00.0 is a bridge, and what is behind it shares one requester id with\n"
		"?[2J it.\n"
		"\n"
		"Use another slot.\n"
		"\n"
		"0000:01:00.0  pci0000:00 > root port 0000:00:05.0 (no ACS) > PCIe-to-PCI bridge\n"
		"              0000:01:00.0\n"
		"0000:02:01.0  pci0000:00 > PCIe endpoint 0000:02:01.0\n");
	assert_int_equal(ctl(fake, "why", "--json", "01:00.0", NULL), 0);
	assert_int_equal(strncmp(ctl_out, "{\"group\":7,\"isExplained\":true,", 30), 0);
	assert_int_equal(ctl(fake, "why", "99", NULL), EXIT_REFUSED);
	assert_string_equal(
		ctl_err, "vfioctl: there is no group 99; `vfioctl list --all` shows them all\n");
	assert_int_equal(ctl(fake, "why", NULL), EXIT_USAGE);
	assert_int_equal(ctl(fake, "why", "1", "2", NULL), EXIT_USAGE);
	assert_int_equal(ctl(fake, "why", "", NULL), EXIT_USAGE);
	fake_stop(fake);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(why_is_prose),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
