/*
 * vfioctl run --shim, with the daemon of shim-daemon.h. CMD is this program once more: what it
 * opens is in the tables below.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/filter.h>
#include <linux/openat2.h>
#include <linux/seccomp.h>
#include <linux/vfio.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "client/vfioctl/run.h"
#include "tests/unit/vfioctl/shim-cases.h"
#include "tests/unit/vfioctl/shim-daemon.h"

/* --- CMD ---------------------------------------------------------------------------------- */

static long by_openat2(int dirfd, const char *path, uint64_t flags, uint64_t resolve, size_t size)
{
	struct open_how how[2] = { { .flags = flags, .resolve = resolve } };

	return opened(syscall(SYS_openat2, dirfd, path, how, size));
}

static void cmd_ways(void)
{
	int dev = open("/dev", O_PATH | O_DIRECTORY | O_CLOEXEC), cwd;
	char text[64], directory[] = "/tmp/test-shim-XXXXXX";

	CHECK(dev >= 0 && mkdtemp(directory));
	CHECK(opened(syscall(SYS_openat, AT_FDCWD, "/dev/null", O_RDWR)) == FULL_DEVICE);
	CHECK(opened(syscall(SYS_openat, -77, "//dev/../dev/.//null", O_RDONLY)) == FULL_DEVICE);
	CHECK(opened(syscall(SYS_openat, dev, "null", O_WRONLY)) == FULL_DEVICE);
	CHECK(by_openat2(AT_FDCWD, "/dev/null", O_RDWR, 0, 24) == FULL_DEVICE);
	CHECK(by_openat2(dev, "null", O_RDWR, RESOLVE_BENEATH, 24) == FULL_DEVICE);
	CHECK(by_openat2(dev, "/../null", O_RDWR, RESOLVE_IN_ROOT, 24) == FULL_DEVICE);
#ifdef SYS_open
	CHECK(opened(syscall(SYS_open, "/dev/null", O_RDWR)) == FULL_DEVICE);
	CHECK(opened(syscall(SYS_creat, "/dev/null", 0600)) == FULL_DEVICE);
#endif
	CHECK(opened(open("/dev/null", O_CREAT | O_TRUNC | O_RDWR, 0600)) == FULL_DEVICE);
	snprintf(text, sizeof text, "/proc/self/fd/%d/null", dev);
	CHECK(opened(open(text, O_RDWR)) == FULL_DEVICE);
	snprintf(text, sizeof text, "/dev/fd/%d/zero", dev);
	CHECK(opened(open(text, O_RDWR)) == FULL_DEVICE);
	CHECK(opened(open("/proc/thread-self/root/dev/null", O_RDWR)) == FULL_DEVICE);
	cwd = open(".", O_PATH | O_CLOEXEC);
	CHECK(chdir("/dev") == 0);
	CHECK(opened(open("null", O_RDWR)) == FULL_DEVICE);
	CHECK(opened(open("../dev/zero", O_RDWR)) == FULL_DEVICE);
	CHECK(opened(open("/proc/self/cwd/null", O_RDWR)) == FULL_DEVICE);
	CHECK(fchdir(cwd) == 0);
	snprintf(text, sizeof text, "%s/link", directory);
	CHECK(symlink("../../dev/null", text) == 0);
	CHECK(opened(open(text, O_RDWR)) == FULL_DEVICE);
	CHECK(opened(open(text, O_RDWR | O_NOFOLLOW)) == -ELOOP);
	CHECK(unlink(text) == 0 && rmdir(directory) == 0);
}

/* What the kernel says itself, as to anybody. */
static void cmd_others(void)
{
	char path[PATH_MAX + 2];

	memset(path, '/', sizeof path);
	memcpy(path + sizeof path - 9, "dev/null", 9);
	CHECK(opened(open(path, O_RDWR)) == -ENAMETOOLONG);
	CHECK(opened(open(path + 2, O_RDWR)) == FULL_DEVICE); /* the longest that is one */
	CHECK(opened(open("/dev/random", O_RDONLY)) == (long)makedev(1, 8));
	CHECK(opened(open("/dev/vfio/999", O_RDWR)) == -ENOENT);
	CHECK(opened(open("/etc/passwd", O_RDONLY)) == 0);
	CHECK(opened(open("", O_RDONLY)) == -ENOENT);
	CHECK(opened(open("/dev/null", O_PATH)) == NULL_DEVICE);
	CHECK(opened(open("/dev/null", O_RDWR | O_DIRECTORY)) == -ENOTDIR);
	CHECK(opened(open("/dev/null/", O_RDWR)) == -ENOTDIR);
	CHECK(opened(open("/dev/null", O_RDWR | O_CREAT | O_EXCL, 0600)) == -EEXIST);
	CHECK(opened(syscall(SYS_openat, AT_FDCWD, (char *)8, O_RDWR)) == -EFAULT);
	CHECK(opened(syscall(SYS_openat, 99, "null", O_RDWR)) == -EBADF);
	CHECK(by_openat2(AT_FDCWD, "/dev/null", O_RDWR, 0, 8) == -EINVAL);
	CHECK(by_openat2(AT_FDCWD, "/dev/null", O_RDWR, 1U << 30, 24) == -EINVAL);
	CHECK(by_openat2(AT_FDCWD, "/dev/null", O_RDWR, RESOLVE_BENEATH, 24) == -EXDEV);
	/* Longer than we know: the kernel's own, though it says nothing more. */
	CHECK(by_openat2(AT_FDCWD, "/dev/null", O_RDWR, 0, 32) == NULL_DEVICE);
}

#ifdef __x86_64__
static long by_int80(int number, long first, long second, long third)
{
	long result;

	__asm__ volatile("int $0x80"
			 : "=a"(result)
			 : "a"(number), "b"(first), "c"(second), "d"(third)
			 : "memory", "r8", "r9", "r10", "r11");
	errno = result < 0 ? (int)-result : 0;
	return result < 0 ? -1 : result;
}

/* As a program of 32 bits would, in the same kernel. */
static void cmd_i386(void)
{
	char *low = mmap(
		NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);

	CHECK(low != MAP_FAILED);
	if (by_int80(20, 0, 0, 0) < 0) /* getpid: a kernel without it */
		return;
	strcpy(low, "/dev/null");
	CHECK(opened(by_int80(5, (long)low, O_RDWR, 0)) == FULL_DEVICE);
	CHECK(opened(by_int80(8, (long)low, 0600, 0)) == FULL_DEVICE);
	CHECK(opened(by_int80(295, AT_FDCWD, (long)low, O_RDWR)) == FULL_DEVICE);
	strcpy(low, "/etc/passwd");
	CHECK(opened(by_int80(5, (long)low, O_RDONLY, 0)) == 0);
	/* And by the numbers of x32, if this kernel knows them. */
	strcpy(low, "/dev/null");
	long r = opened(syscall(0x40000000 | 257, AT_FDCWD, low, O_RDWR));
	CHECK(r == FULL_DEVICE || r == -ENOSYS);
}
#else
static void cmd_i386(void)
{
}
#endif

static void cmd_threads(void)
{
	pthread_t threads[4];

	for (int i = 0; i < 4; i++)
		CHECK(pthread_create(&threads[i], NULL, shim_open_some, NULL) == 0);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
}

/* Other opens do not wait for one that takes long. */
static void cmd_slow(void)
{
	pthread_t thread;

	CHECK(pthread_create(&thread, NULL, shim_open_some, NULL) == 0);
	wait_for_daemon();
	for (int i = 0; i < 20; i++)
		CHECK(opened(open("/etc/passwd", O_RDONLY)) == 0);
	let_daemon_go();
	pthread_join(thread, NULL);
}

/* Killed in the middle of an open. */
static void cmd_killed(void)
{
	pid_t pid = fork();
	int status;

	if (pid == 0)
		_exit(opened(open("/dev/null", O_RDWR)) == FULL_DEVICE);
	wait_for_daemon();
	CHECK(kill(pid, SIGKILL) == 0 && waitpid(pid, &status, 0) == pid);
	CHECK(WIFSIGNALED(status));
	let_daemon_go();
	CHECK(opened(open("/dev/null", O_RDWR)) == FULL_DEVICE);
}

/* A filter of its own is heard first, and it may have no supervisor of its own. */
static void cmd_filter(void)
{
	struct sock_filter none[] = { BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW) };
	struct sock_filter denies[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EXDEV),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { 1, none };

	CHECK(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1);
	CHECK(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER,
		      &program) < 0 &&
		errno == EBUSY);
	CHECK(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) == 0);
	CHECK(opened(open("/dev/null", O_RDWR)) == FULL_DEVICE);
	program = (struct sock_fprog){ 4, denies };
	CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
	CHECK(opened(syscall(SYS_openat, AT_FDCWD, "/dev/null", O_RDWR)) == -EXDEV);
	CHECK(by_openat2(AT_FDCWD, "/dev/null", O_RDWR, 0, 24) == FULL_DEVICE);
}

/* Numbers that containers have, and others: nothing is told of these (the daemon would complain).
 */
static void cmd_ioctls(void)
{
	struct vfio_iommu_type1_dma_map map = { .argsz = sizeof map, .size = 4096 };
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	CHECK(fd >= 0);
	CHECK(ioctl(fd, VFIO_IOMMU_MAP_DMA, &map) < 0 && errno == ENOTTY);
	CHECK(ioctl(fd, VFIO_IOMMU_UNMAP_DMA, &map) < 0 && errno == ENOTTY);
	CHECK(ioctl(99, VFIO_IOMMU_MAP_DMA, &map) < 0 && errno == EBADF);
	CHECK(ioctl(fd, VFIO_GET_API_VERSION) < 0 && errno == ENOTTY);
}

static volatile char rewritten[16] = "/dev/null";
static volatile bool is_enough;

static void *rewrite(void *userdata)
{
	for (unsigned turn = 0; !is_enough; turn++)
		for (size_t i = 0; i < 4; i++)
			rewritten[5 + i] = (turn % 2 ? "root" : "null")[i];
	return userdata;
}

/* /dev/root stands for what he may not open: it is never opened for him. */
static void cmd_hostile(void)
{
	pthread_t thread;
	int n_groups = 0;

	CHECK(pthread_create(&thread, NULL, rewrite, NULL) == 0);
	for (int i = 0; i < 2000 && n_groups < 20; i++) {
		long what = opened(open((const char *)rewritten, O_RDWR));

		/* Or, rewritten after we had looked, what the kernel gives him by itself. */
		CHECK(what == FULL_DEVICE || what == NULL_DEVICE || what == -ENOENT);
		n_groups += what == FULL_DEVICE;
	}
	is_enough = true;
	pthread_join(thread, NULL);
	CHECK(n_groups > 0);
}

static void cmd_refused(void)
{
	CHECK(opened(open("/dev/null", O_RDWR)) == -EBUSY);
	CHECK(opened(open("/dev/null", O_RDWR)) == FULL_DEVICE); /* after a restart, say */
	CHECK(opened(open("/dev/null", O_RDWR)) == NULL_DEVICE); /* as without us */
}

/* A daemon that CMD leaves behind: it has no vfioctl any more, and goes on. */
static void cmd_daemon(void)
{
	int pair[2];
	char byte;

	CHECK(pipe(pair) == 0);
	if (fork() > 0) {
		close(pair[1]);
		CHECK(read(pair[0], &byte, 1) == 0);
		exit(3);
	}
	if (fork() > 0)
		_exit(0);
	close(STDOUT_FILENO);
	close(STDERR_FILENO);
	close(pair[1]); /* now the first may end */
	for (int i = 0; i < 50; i++) {
		int fd = open("/etc/passwd", O_RDONLY);

		if (fd < 0)
			_exit(1);
		close(fd);
		nanosleep(&(struct timespec){ .tv_nsec = 10000000 }, NULL);
	}
	kill((pid_t)atoi(getenv("TEST_PID")), SIGUSR1);
	_exit(0);
}

static void cmd_orphaned(void)
{
	/* vfioctl is our parent's parent. */
	char path[64], line[256];
	int parent = 0;

	snprintf(path, sizeof path, "/proc/%d/stat", getppid());
	FILE *stat = fopen(path, "r");
	CHECK(stat && fgets(line, sizeof line, stat));
	CHECK(sscanf(strrchr(line, ')'), ") %*c %d", &parent) == 1);
	fclose(stat);
	CHECK(kill(parent, SIGKILL) == 0);
	nanosleep(&(struct timespec){ .tv_nsec = 100000000 }, NULL);
	CHECK(opened(open("/dev/null", O_RDWR)) == FULL_DEVICE);
	puts("alive");
}

static void cmd_unsupervised(void)
{
	CHECK(kill(getppid(), SIGKILL) == 0);
	nanosleep(&(struct timespec){ .tv_nsec = 100000000 }, NULL);
	CHECK(opened(open("/etc/passwd", O_RDONLY)) == -ENOSYS);
}

static const struct {
	const char *name;
	void (*run)(void);
} cases[] = {
	{ "ways", cmd_ways },
	{ "others", cmd_others },
	{ "flags", shim_cmd_flags },
	{ "i386", cmd_i386 },
	{ "threads", cmd_threads },
	{ "ioctls", cmd_ioctls },
	{ "signals", shim_cmd_signals },
	{ "slow", cmd_slow },
	{ "killed", cmd_killed },
	{ "filter", cmd_filter },
	{ "hostile", cmd_hostile },
	{ "refused", cmd_refused },
	{ "daemon", cmd_daemon },
	{ "orphaned", cmd_orphaned },
	{ "unsupervised", cmd_unsupervised },
};

/* Without what sanitizers do at the end: they could not open what they want. */
__attribute__((noreturn)) static void cmd(const char *name)
{
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		if (strcmp(cases[i].name, name) == 0) {
			cases[i].run();
			fflush(stdout);
			_exit(0);
		}
	_exit(2);
}

static bool is(const char *text, const char *wanted)
{
	return strcmp(text, wanted) == 0;
}

/* --- the tests ------------------------------------------------------------------------------ */

static char self[4096];
#define HOW "--shim"
#define SHIM "run", HOW, "--group", "13", "--group", "7", "--"

static void whatever_means_a_group_is_one(void **state)
{
	(void)state;
	shim_case_succeeds(HOW, self, "ways");
	shim_case_succeeds(HOW, self, "i386");
	shim_case_succeeds(HOW, self, "flags");
}

static void everything_else_is_the_kernels(void **state)
{
	(void)state;
	shim_case_succeeds(HOW, self, "others");
	shim_case_succeeds(HOW, self, "filter");
	shim_case_succeeds(HOW, self, "hostile");
}

static void it_forks_execs_and_has_threads(void **state)
{
	(void)state;
	shim_case_children(HOW);
	shim_case_succeeds(HOW, self, "threads");
}

static void nobody_waits_for_a_slow_one(void **state)
{
	(void)state;
	shim_daemon_is_slow = true;
	shim_case_succeeds(HOW, self, "signals");
	shim_daemon_is_slow = false;
	shim_case_meeting(HOW, self, "slow");
	shim_case_meeting(HOW, self, "killed");
}

static void only_what_maps_is_told(void **state)
{
	struct fake *fake = fake_start(shim_daemon_answer);

	(void)state;
	assert_int_equal(ctl(fake, "run", "--shim", "--observe", "--group", "13", "--group", "7",
				 "--", self, "cmd", "ioctls", NULL),
		0);
	assert_string_equal(ctl_err, "");
	assert_int_equal(
		ctl(fake, "run", "--observe", "--group", "7", "--", "true", NULL), EXIT_RUN_FAILED);
	assert_string_equal(
		ctl_err, "vfioctl run: --observe goes with --shim\nSee vfioctl run --help.\n");
	fake_stop(fake);
}

static void of_any_it_is_told_which(void **state)
{
	(void)state;
	shim_case_any(HOW);
}

static void what_the_daemon_refuses(void **state)
{
	(void)state;
	shim_case_refused(HOW, self);
}

static void with_mode_cdev_it_has_devices_and_an_iommufd(void **state)
{
	(void)state;
	shim_case_cdev(HOW, self);
}

static void the_exit_status_is_cmds(void **state)
{
	struct fake *fake = fake_start(shim_daemon_answer);

	(void)state;
	assert_int_equal(ctl(fake, SHIM, "sh", "-c", "exit 42", NULL), 42);
	assert_int_equal(ctl(fake, SHIM, "sh", "-c", "kill -KILL $$", NULL), 128 + SIGKILL);
	assert_int_equal(ctl(fake, SHIM, "/nonexistent/cmd", NULL), EXIT_RUN_NOT_FOUND);
	assert_int_equal(ctl(fake, SHIM, "echo", "{group:7}", NULL), EXIT_RUN_FAILED);
	assert_string_equal(ctl_err,
		"vfioctl run: {group:7}: with --shim CMD has no descriptors to "
		"be named; {group-number} and {device-name} are what it opens by itself; nothing "
		"was acquired\n");
	/* What somebody sends to vfioctl alone reaches CMD. */
	assert_int_equal(ctl(fake, SHIM, "sh", "-c",
				 "trap 'echo got it; exit 7' TERM; "
				 "read -r _ _ _ up _ </proc/$PPID/stat; kill $up; "
				 "while :; do sleep 0.05; done",
				 NULL),
		7);
	assert_string_equal(ctl_out, "got it\n");
	fake_stop(fake);
}

/* Who reads the output of vfioctl need not wait for what CMD left behind, which can open files. */
static void what_cmd_leaves_behind_goes_on(void **state)
{
	struct fake *fake = fake_start(shim_daemon_answer);
	char pid[16];
	sigset_t set;
	const struct timespec patience = { .tv_sec = 30 };

	(void)state;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	snprintf(pid, sizeof pid, "%d", getpid());
	setenv("TEST_PID", pid, 1);
	assert_int_equal(ctl(fake, SHIM, self, "cmd", "daemon", NULL), 3);
	assert_int_equal(sigtimedwait(&set, NULL, &patience), SIGUSR1);
	fake_stop(fake);
}

static void of_those_who_are_killed(void **state)
{
	struct fake *fake = fake_start(shim_daemon_answer);
	char text[16] = "";
	int pair[2], status;

	(void)state;
	assert_int_equal(ctl(fake, SHIM, self, "cmd", "unsupervised", NULL), EXIT_RUN_FAILED);
	assert_string_equal(ctl_err, "vfioctl: the supervisor of --shim was killed: nothing can be "
				     "opened any more\n");
	assert_int_equal(pipe(pair), 0);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		struct context context = { .socket = fake_socket(fake),
			.timeout_ms = 10000,
			.command = "run",
			.out = stdout };
		const char *argv[] = { SHIM, self, "cmd", "orphaned", NULL };

		dup2(pair[1], STDOUT_FILENO);
		close(pair[0]);
		close(pair[1]);
		_exit(command_run.run(&context, 10, (char **)argv));
	}
	close(pair[1]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(read(pair[0], text, sizeof text - 1), 6);
	assert_string_equal(text, "alive\n");
	close(pair[0]);
	fake_stop(fake);
}

int main(int argc, char *argv[])
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(whatever_means_a_group_is_one),
		cmocka_unit_test(everything_else_is_the_kernels),
		cmocka_unit_test(it_forks_execs_and_has_threads),
		cmocka_unit_test(nobody_waits_for_a_slow_one),
		cmocka_unit_test(only_what_maps_is_told),
		cmocka_unit_test(of_any_it_is_told_which),
		cmocka_unit_test(what_the_daemon_refuses),
		cmocka_unit_test(with_mode_cdev_it_has_devices_and_an_iommufd),
		cmocka_unit_test(the_exit_status_is_cmds),
		cmocka_unit_test(what_cmd_leaves_behind_goes_on),
		cmocka_unit_test(of_those_who_are_killed),
	};

	if (argc == 3 && is(argv[1], "cmd"))
		cmd(argv[2]);
	if (!realpath("/proc/self/exe", self))
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
