/*
 * A host for a daemon that is a process of its own: makes a testbed (tests/mock/testbed.h),
 * prints the directory that UMOCKDEV_DIR has to name, and obeys lines on its standard input,
 * each answered with "ok" when it is done and the event is sent (umockdev gives up, and this
 * program with it, when ten events are sent that the daemon has not received):
 *
 *	add ADDRESS GROUP DRIVER	a network controller; DRIVER "-" is none
 *	driver ADDRESS DRIVER
 *	remove ADDRESS
 *
 * Ends, and takes the host away, with its input. What fails ends it with a message of cmocka.
 */
#include "daemon/base/util.h"
#include "tests/mock/testbed.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static char *syspath_of(const char *address)
{
	char *path = NULL;
	assert_true(asprintf(&path, "/sys/devices/%s", address) >= 0);
	return path;
}

static void obey(struct testbed *bed, const char *verb, const char *address, char *arguments)
{
	_cleanup_free_ char *syspath = syspath_of(address);
	char *group = strtok(arguments, " ");
	char *driver = strtok(NULL, " ");

	if (strcmp(verb, "add") == 0 && driver) {
		int number = (int)strtol(group, NULL, 10);
		const char *name = strcmp(driver, "-") == 0 ? "" : driver;
		_cleanup_free_ char *added = testbed_add_pci(bed, address, number, name);
		assert_string_equal(added, syspath);
		/*
		 * umockdev's event came before the link to the group, and a daemon that runs may
		 * have looked in between. The kernel makes the link first.
		 */
		testbed_send(bed, added, "add");
	} else if (strcmp(verb, "driver") == 0 && group) {
		testbed_set_driver(bed, syspath, strcmp(group, "-") == 0 ? "" : group);
	} else if (strcmp(verb, "remove") == 0) {
		testbed_remove(bed, syspath);
	} else {
		fail_msg("mock-host does not know '%s'", verb);
	}
}

int main(void)
{
	char line[256];
	struct testbed *bed = testbed_new();

	printf("%s\n", getenv("UMOCKDEV_DIR"));
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin)) {
		line[strcspn(line, "\n")] = '\0';
		const char *verb = strtok(line, " ");
		const char *address = strtok(NULL, " ");
		char *arguments = strtok(NULL, "");
		char none[] = "";
		assert_non_null(address);
		obey(bed, verb, address, arguments ? arguments : none);
		puts("ok");
		fflush(stdout);
	}
	testbed_free(bed);
	return 0;
}
