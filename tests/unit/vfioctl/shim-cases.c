#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "client/vfioctl/vfioctl.h"
#include "tests/unit/vfioctl/shim-cases.h"
#include "tests/unit/vfioctl/shim-daemon.h"

/* Which devices it will be is known when it has them: CMD is told, and opens them. */
void shim_case_any(const char *how)
{
	struct fake *fake = fake_start(shim_daemon_answer);

	assert_int_equal(ctl(fake, "run", how, "--any", "bus:pci", "--any", "pool:nics", "--", "sh",
				 "-c", "echo \"$*\"; exec 5<>/dev/null; readlink /proc/$$/fd/5",
				 "sh", "{device-name:any}", "{device-name:any2}",
				 "/dev/vfio/{group-number:any}", "{group-number:any2}", NULL),
		0);
	assert_string_equal(ctl_err, "");
	assert_string_equal(ctl_out, "0000:01:00.0 0000:06:00.0 /dev/vfio/13 7\n/dev/full\n");
	assert_int_equal(ctl(fake, "run", how, "--any", "bus:pci", "--any", "pool:nics", "--",
				 "echo", "{device-name:any3}", NULL),
		EXIT_RUN_FAILED);
	assert_string_equal(ctl_err,
		"vfioctl run: {device-name:any3}: none of the devices that are handed over: "
		"{device-name:0000:01:00.0}, {device-name:0000:06:00.0}; what was acquired goes "
		"back\n");
	assert_string_equal(ctl_out, "");
	assert_int_equal(ctl(fake, "run", how, "--any", "bus:pci", "--any", "pool:nics", "--",
				 "echo", "{device:any}", NULL),
		EXIT_RUN_FAILED);
	assert_non_null(strstr(ctl_err, "{device:any}: with --shim CMD has no descriptors"));
	assert_string_equal(ctl_out, "");
	fake_stop(fake);
}
