#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <time.h>

#include <cmocka.h>

#include "client/vfioctl/vfioctl.h"
#include "tests/unit/vfioctl/shim-cases.h"
#include "tests/unit/vfioctl/shim-daemon.h"

/* --- in CMD -------------------------------------------------------------------------------- */

long opened(long fd)
{
	struct stat status;

	if (fd < 0)
		return -errno;
	CHECK(fstat((int)fd, &status) == 0);
	close((int)fd);
	return S_ISCHR(status.st_mode) ? (long)status.st_rdev : 0;
}

void *shim_open_some(void *userdata)
{
	for (int i = 0; i < 3; i++)
		CHECK(opened(open("/dev/zero", O_RDWR)) == FULL_DEVICE);
	return userdata;
}

void wait_for_daemon(void)
{
	while (access("begun", F_OK) != 0)
		nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
}

void let_daemon_go(void)
{
	int fd = open("go", O_CREAT | O_WRONLY | O_CLOEXEC, 0600);

	CHECK(fd >= 0);
	close(fd);
}

void shim_cmd_flags(void)
{
	struct rlimit limit = { 16, 16 };
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC | O_NONBLOCK);

	CHECK(fd >= 0 && fcntl(fd, F_GETFD) == FD_CLOEXEC);
	CHECK((fcntl(fd, F_GETFL) & (O_NONBLOCK | O_APPEND)) == O_NONBLOCK);
	close(fd);
	CHECK(open("/dev/null", O_RDWR | O_APPEND) == fd); /* the lowest that is free */
	CHECK(fcntl(fd, F_GETFD) == 0);
	CHECK((fcntl(fd, F_GETFL) & (O_NONBLOCK | O_APPEND)) == O_APPEND);
	CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
	while (dup(0) >= 0)
		;
	CHECK(opened(open("/dev/null", O_RDWR)) == -EMFILE);
}

static void on_alarm(int signal)
{
	(void)signal;
}

void shim_cmd_signals(void)
{
	struct sigaction action = { .sa_handler = on_alarm }; /* no SA_RESTART */
	struct itimerval often = { { 0, 1000 }, { 0, 1000 } };

	CHECK(sigaction(SIGALRM, &action, NULL) == 0 && setitimer(ITIMER_REAL, &often, NULL) == 0);
	CHECK(opened(open("/dev/null", O_RDWR)) == FULL_DEVICE);
}

/* --- in the test --------------------------------------------------------------------------- */

#define GROUPS "--group", "13", "--group", "7", "--"

void shim_case_succeeds(const char *how, const char *self, const char *name)
{
	struct fake *fake = fake_start(shim_daemon_answer);
	int exit_code = ctl(fake, "run", how, GROUPS, self, "cmd", name, NULL);

	assert_string_equal(ctl_err, "");
	assert_int_equal(exit_code, 0);
	fake_stop(fake);
}

void shim_case_meeting(const char *how, const char *self, const char *name)
{
	char directory[] = "/tmp/test-shim-XXXXXX";
	int cwd = open(".", O_PATH | O_CLOEXEC);

	assert_true(mkdtemp(directory) && chdir(directory) == 0);
	shim_daemon_meets = true;
	shim_case_succeeds(how, self, name);
	shim_daemon_meets = false;
	assert_true(unlink("begun") == 0 && unlink("go") == 0);
	assert_true(fchdir(cwd) == 0 && rmdir(directory) == 0);
	close(cwd);
}

void shim_case_children(const char *how)
{
	struct fake *fake = fake_start(shim_daemon_answer);

	assert_int_equal(ctl(fake, "run", how, GROUPS, "sh", "-c",
				 "sh -c 'exec 5<>/dev/null; readlink /proc/$$/fd/5'; "
				 "readlink /proc/$$/fd/3; echo \"$LISTEN_FDS\"",
				 NULL),
		0);
	assert_string_equal(ctl_err, "");
	assert_string_equal(ctl_out, "/dev/full\n\n");
	fake_stop(fake);
}

void shim_case_refused(const char *how, const char *self)
{
	struct fake *fake;

	shim_daemon_refuses = true;
	fake = fake_start(shim_daemon_answer);
	assert_int_equal(ctl(fake, "run", how, GROUPS, self, "cmd", "refused", NULL), 0);
	assert_string_equal(ctl_err, "vfioctl: group 13 cannot be opened: there is no such lease, "
				     "or it is not yours\n");
	fake_stop(fake);
	shim_daemon_refuses = false;
}

void shim_case_cdev(const char *how, const char *self)
{
	struct fake *fake;

	shim_daemon_is_cdev = true;
	fake = fake_start(shim_daemon_answer);
	assert_int_equal(ctl(fake, "run", how, "--mode=cdev", "--device", "01:00.0", "--", self,
				 "cmd", "ways", NULL),
		0);
	assert_string_equal(ctl_err, "");
	fake_stop(fake);
	shim_daemon_is_cdev = false;
}

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
		"vfioctl run: {device-name:any3}: none of the lease's devices: "
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
