/*
 * vfioctl run --shim=preload, with the daemon of shim-daemon.h. CMD is this program once more, with
 * preload/refusing.c behind the library, so that /dev/null and /dev/zero are not to be opened.
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <link.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "client/shim/wire.h"
#include "client/vfioctl/run.h"
#include "client/vfioctl/shim.h"
#include "tests/unit/count-fds.h"
#include "tests/unit/vfioctl/shim-cases.h"
#include "tests/unit/vfioctl/shim-daemon.h"

/* --- CMD ---------------------------------------------------------------------------------- */

/* As headers have it with _FORTIFY_SOURCE. */
int fortified_open(const char *path, int flags) __asm__("__open_2");
int fortified_open64(const char *path, int flags) __asm__("__open64_2");
int fortified_openat(int dirfd, const char *path, int flags) __asm__("__openat_2");
int fortified_openat64(int dirfd, const char *path, int flags) __asm__("__openat64_2");
/* What the headers would make one of, where files are always large. */
int narrow_open(const char *path, int flags, ...) __asm__("open");
int narrow_openat(int dirfd, const char *path, int flags, ...) __asm__("openat");

static void cmd_ways(void)
{
	char directory[] = "/tmp/test-shim-XXXXXX", text[64];
	int dev = open("/dev", O_PATH | O_DIRECTORY | O_CLOEXEC);

	CHECK(dev >= 0 && mkdtemp(directory));
	CHECK(opened(narrow_open("/dev/null", O_RDWR)) == FULL_DEVICE);
	CHECK(opened(open64("/dev/../dev//null", O_RDWR)) == FULL_DEVICE);
	CHECK(opened(narrow_openat(dev, "null", O_RDWR)) == FULL_DEVICE);
	CHECK(opened(openat64(dev, "zero", O_RDONLY)) == FULL_DEVICE);
	CHECK(opened(fortified_open("/dev/null", O_WRONLY)) == FULL_DEVICE);
	CHECK(opened(fortified_open64("/dev/null", O_RDWR)) == FULL_DEVICE);
	CHECK(opened(fortified_openat(dev, "null", O_RDWR)) == FULL_DEVICE);
	CHECK(opened(fortified_openat64(AT_FDCWD, "/dev/null", O_RDWR)) == FULL_DEVICE);
	CHECK(opened(open("/dev/null", O_CREAT | O_TRUNC | O_RDWR, 0600)) == FULL_DEVICE);
	CHECK(opened(open("/proc/self/root/dev/null", O_RDWR)) == FULL_DEVICE);
	CHECK(chdir("/dev") == 0 && opened(open("null", O_RDWR)) == FULL_DEVICE);
	snprintf(text, sizeof text, "%s/link", directory);
	CHECK(symlink("/dev/null", text) == 0);
	CHECK(opened(open(text, O_RDWR)) == FULL_DEVICE);
	CHECK(opened(open(text, O_RDWR | O_NOFOLLOW)) == -ELOOP);
	CHECK(unlink(text) == 0);
	/* A file is made with its mode, and what is not ours is the kernel's. */
	CHECK(opened(open(text, O_CREAT | O_EXCL | O_WRONLY, 0640)) == 0);
	struct stat status;
	CHECK(stat(text, &status) == 0 && (status.st_mode & 0777) == 0640);
	CHECK(unlink(text) == 0);
	int unnamed = open(directory, O_TMPFILE | O_RDWR, 0600);
	CHECK(unnamed < 0 || (fstat(unnamed, &status) == 0 && (status.st_mode & 0777) == 0600));
	CHECK(rmdir(directory) == 0);
	CHECK(opened(open("/dev/vfio/999", O_RDWR)) == -ENOENT);
	CHECK(opened(open("/etc/passwd", O_RDONLY)) == 0);
	CHECK(opened(open("/dev/random", O_RDONLY)) == (long)makedev(1, 8));
	CHECK(opened(openat(-77, "null", O_RDWR)) == -EBADF);
}

/* One that is free is too few: nothing is left behind by that. */
static void cmd_flags(void)
{
	shim_cmd_flags();
	close(15);
	CHECK(opened(open("/dev/null", O_RDWR)) == -EMFILE);
	CHECK(dup(0) == 15);
}

static void cmd_threads(void)
{
	pthread_t threads[4];
	int fds = count_fds();

	for (int i = 0; i < 4; i++)
		CHECK(pthread_create(&threads[i], NULL, shim_open_some, NULL) == 0);
	for (int i = 0; i < 4; i++) {
		pid_t pid = fork();
		int status;

		if (pid == 0)
			_exit(opened(open("/dev/null", O_RDWR)) != FULL_DEVICE);
		CHECK(waitpid(pid, &status, 0) == pid && status == 0);
	}
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	CHECK(count_fds() == fds);
}

static int opened_last = -1;

static void *open_and_wait(void *userdata)
{
	opened_last = open("/dev/zero", O_RDWR);
	pause();
	return userdata;
}

/* Neither does a cancellation, while the supervisor has to answer. */
static void cmd_cancelled(void)
{
	int fds = count_fds();
	pthread_t thread;

	CHECK(pthread_create(&thread, NULL, open_and_wait, NULL) == 0);
	wait_for_daemon();
	CHECK(pthread_cancel(thread) == 0);
	let_daemon_go();
	CHECK(pthread_join(thread, NULL) == 0);
	CHECK(opened(opened_last) == FULL_DEVICE);
	CHECK(count_fds() == fds);
}

/* Programs that close what they have not opened, and forget their environment. */
static void cmd_bare(void)
{
	CHECK(clearenv() == 0);
	for (int fd = 3; fd < 1024; fd++)
		close(fd);
	CHECK(opened(open("/dev/null", O_RDWR)) == FULL_DEVICE);
}

static void cmd_refused(void)
{
	CHECK(opened(open("/dev/null", O_RDWR)) == -EBUSY);
	CHECK(opened(open("/dev/null", O_RDWR)) == FULL_DEVICE); /* after a restart, say */
	CHECK(opened(open("/dev/null", O_RDWR)) == -EACCES);     /* as without us */
}

static void cmd_unsupervised(void)
{
	CHECK(kill(getppid(), SIGKILL) == 0);
	nanosleep(&(struct timespec){ .tv_nsec = 100000000 }, NULL);
	CHECK(opened(open("/dev/null", O_RDWR)) == -EACCES);
	CHECK(opened(open("/etc/passwd", O_RDONLY)) == 0);
}

static int supervisor_connect(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof address.sun_path, "%s", getenv(SHIM_ENVIRONMENT));
	CHECK(connect(fd, (struct sockaddr *)&address, sizeof address) == 0);
	return fd;
}

/* Nothing of what it says is heard but a request; others are served meanwhile. */
static void cmd_hostile(void)
{
	struct shim_request request = { .device = (uint64_t)makedev(1, 3), .flags = O_RDWR };
	int sockets[40];
	struct shim_reply reply;

	for (int i = 0; i < 40; i++)
		sockets[i] = supervisor_connect();
	CHECK(opened(open("/dev/null", O_RDWR)) == FULL_DEVICE);
	CHECK(send(sockets[0], &request, sizeof request - 1, 0) > 0);
	CHECK(recv(sockets[0], &reply, sizeof reply, 0) == sizeof reply &&
		reply.error == SHIM_AS_IT_IS);
	request.flags = UINT64_MAX;
	CHECK(send(sockets[1], &request, sizeof request, 0) > 0);
	CHECK(recv(sockets[1], &reply, sizeof reply, 0) == sizeof reply &&
		reply.error == SHIM_AS_IT_IS);
	request.flags = O_RDWR;
	CHECK(send(sockets[2], &request, sizeof request, 0) > 0);
	close(sockets[2]); /* and is gone */
	CHECK(opened(open("/dev/null", O_RDWR)) == FULL_DEVICE);
}

/* All of its threads: a stop that was not heeded yet is forgotten with SIGCONT. */
static bool is_stopped(pid_t pid)
{
	char pattern[64], line[512];
	glob_t threads;
	bool is = true;

	snprintf(pattern, sizeof pattern, "/proc/%d/task/*/stat", pid);
	CHECK(glob(pattern, 0, NULL, &threads) == 0);
	for (size_t i = 0; i < threads.gl_pathc; i++) {
		FILE *stat = fopen(threads.gl_pathv[i], "re");

		is = is && (!stat || (fgets(line, sizeof line, stat) &&
					     strncmp(strrchr(line, ')'), ") T", 3) == 0));
		if (stat)
			fclose(stat);
	}
	globfree(&threads);
	return is;
}

/* Who is asked was stopped and goes on: what was not said yet is heard all the same. */
static void cmd_stopped(void)
{
	struct shim_request request = { .device = (uint64_t)makedev(1, 3), .flags = O_RDWR };
	struct shim_reply reply;
	int sockets[20];

	for (int i = 0; i < 20; i++)
		sockets[i] = supervisor_connect();
	/* They are waited for by then: it takes them in their order. */
	CHECK(opened(open("/dev/null", O_RDWR)) == FULL_DEVICE);
	CHECK(kill(getppid(), SIGSTOP) == 0);
	while (!is_stopped(getppid()))
		nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
	CHECK(kill(getppid(), SIGCONT) == 0);
	for (int i = 0; i < 20; i++) {
		CHECK(send(sockets[i], &request, sizeof request, MSG_NOSIGNAL) > 0);
		CHECK(recv(sockets[i], &reply, sizeof reply, 0) == sizeof reply);
		CHECK(reply.error == 0);
	}
}

static const struct {
	const char *name;
	void (*run)(void);
} cases[] = {
	{ "ways", cmd_ways },
	{ "flags", cmd_flags },
	{ "threads", cmd_threads },
	{ "signals", shim_cmd_signals },
	{ "cancelled", cmd_cancelled },
	{ "stopped", cmd_stopped },
	{ "bare", cmd_bare },
	{ "refused", cmd_refused },
	{ "unsupervised", cmd_unsupervised },
	{ "hostile", cmd_hostile },
};

/* Without what sanitizers do at the end. */
__attribute__((noreturn)) static void cmd(const char *name)
{
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		if (strcmp(cases[i].name, name) == 0) {
			cases[i].run();
			_exit(0);
		}
	_exit(2);
}

/* --- the tests ------------------------------------------------------------------------------ */

static char self[4096], directory[] = "/tmp/test-shim-XXXXXX";
#define HOW "--shim=preload"
#define SHIM "run", HOW, "--group", "13", "--group", "7", "--"

static int set_up(void **state)
{
	char refusing[4200];

	(void)state;
	/* Of what is preloaded already, the first is the first after ours. */
	snprintf(refusing, sizeof refusing, "%.*s/refusing.so", (int)(strrchr(self, '/') - self),
		self);
	return !mkdtemp(directory) || setenv("XDG_RUNTIME_DIR", directory, 1) < 0 ||
	       setenv("LD_PRELOAD", refusing, 1) < 0;
}

/* Of the supervisor's sockets nothing is left. */
static int tear_down(void **state)
{
	(void)state;
	return rmdir(directory);
}

static void whatever_opens_a_group_has_it(void **state)
{
	(void)state;
	shim_case_succeeds(HOW, self, "ways");
	shim_case_succeeds(HOW, self, "flags");
	shim_case_succeeds(HOW, self, "threads");
	shim_case_succeeds(HOW, self, "bare");
	shim_daemon_is_slow = true;
	shim_case_succeeds(HOW, self, "signals");
	shim_daemon_is_slow = false;
	shim_case_meeting(HOW, self, "cancelled");
	shim_case_succeeds(HOW, self, "stopped");
	shim_case_succeeds(HOW, self, "hostile");
}

static void what_it_starts_has_it_too(void **state)
{
	struct fake *fake;

	(void)state;
	shim_case_children(HOW);
	fake = fake_start(shim_daemon_answer);
	assert_int_equal(ctl(fake, SHIM, "sh", "-c", "exit 42", NULL), 42);
	assert_int_equal(ctl(fake, SHIM, "sh", "-c", "kill -KILL $$", NULL), 128 + SIGKILL);
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

static void of_a_supervisor_that_is_killed(void **state)
{
	struct fake *fake = fake_start(shim_daemon_answer);

	(void)state;
	assert_int_equal(ctl(fake, SHIM, self, "cmd", "unsupervised", NULL), EXIT_RUN_FAILED);
	assert_string_equal(ctl_err,
		"vfioctl: the supervisor of --shim was killed: no group can be "
		"opened any more\n");
	fake_stop(fake);
}

/* A program that is nothing but its header. */
static void program_write(const char *path, uint32_t type, uint16_t machine, mode_t mode)
{
	struct {
		ElfW(Ehdr) header;
		ElfW(Phdr) program;
	} file = { .header = { .e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, 1 },
			   .e_type = ET_EXEC,
			   .e_machine = machine,
			   .e_phoff = sizeof file.header,
			   .e_phentsize = sizeof file.program,
			   .e_phnum = 1 },
		.program = { .p_type = type } };
	int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0700);

	assert_int_equal(write(fd, &file, sizeof file), sizeof file);
	assert_int_equal(fchmod(fd, mode), 0);
	close(fd);
}

static int program_check(const char *path)
{
	char library[4096];

	return shim_program_check(path, path, library, sizeof library);
}

static void where_nothing_can_be_preloaded(void **state)
{
	struct fake *fake = fake_start(shim_daemon_answer);
	char path[64];
	ElfW(Ehdr) own;
	int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);

	(void)state;
	assert_int_equal(read(fd, &own, sizeof own), sizeof own);
	close(fd);
	snprintf(path, sizeof path, "%s/program", directory);
	program_write(path, PT_INTERP, own.e_machine, 0700);
	assert_int_equal(program_check(path), 0);
	assert_int_equal(chmod(path, 04700), 0);
	assert_int_equal(program_check(path), EXIT_RUN_FAILED);
	assert_int_equal(chmod(path, 02710), 0);
	assert_int_equal(program_check(path), EXIT_RUN_FAILED);
	assert_int_equal(chmod(path, 02700), 0); /* does not run as its group */
	assert_int_equal(program_check(path), 0);
	program_write(path, PT_INTERP, EM_68K, 0700);
	assert_int_equal(program_check(path), EXIT_RUN_FAILED);
	program_write(path, PT_LOAD, own.e_machine, 0700);
	/* Nothing is asked of the daemon. */
	assert_int_equal(ctl(fake, SHIM, path, NULL), EXIT_RUN_FAILED);
	assert_non_null(strstr(ctl_err, "it is linked statically; --shim=seccomp does without\n"));
	assert_int_equal(truncate(path, sizeof own), 0); /* none of our business */
	assert_int_equal(program_check(path), 0);
	assert_int_equal(truncate(path, 2), 0);
	assert_int_equal(program_check(path), 0);
	assert_int_equal(program_check("/nonexistent"), 0);
	assert_int_equal(unlink(path), 0);

	assert_int_equal(
		ctl(fake, "run", "--shim=preload", "--observe", "--group", "7", "--", "true", NULL),
		EXIT_RUN_FAILED);
	assert_non_null(strstr(ctl_err, "--observe goes with --shim=seccomp\n"));
	assert_int_equal(ctl(fake, "run", "--shim=magic", "--group", "7", "--", "true", NULL),
		EXIT_RUN_FAILED);
	assert_non_null(strstr(ctl_err, "--shim='magic': not one of seccomp, preload\n"));
	fake_stop(fake);
}

static void where_its_socket_is(void **state)
{
	char path[SHIM_SOCKET_SIZE], deep[200];
	int listener, fds = count_fds();
	struct stat status;

	(void)state;
	assert_int_equal(shim_socket_make(path, &listener), 0);
	assert_int_equal(strncmp(path, directory, strlen(directory)), 0);
	close(listener);
	char *slash = strrchr(path, '/');
	*slash = '\0';
	assert_int_equal(stat(path, &status), 0);
	assert_int_equal(status.st_mode & 0777, 0700);
	*slash = '/';
	shim_socket_remove(path);
	assert_string_equal(path, "");
	shim_socket_remove(path);
	/* Where it does not fit, or there is nothing, it is in /tmp. */
	snprintf(deep, sizeof deep, "%s/%0120d", directory, 0);
	setenv("XDG_RUNTIME_DIR", deep, 1);
	assert_int_equal(shim_socket_make(path, &listener), 0);
	assert_int_equal(strncmp(path, "/tmp/vfioctl-", 13), 0);
	close(listener);
	shim_socket_remove(path);
	setenv("XDG_RUNTIME_DIR", directory, 1);
	assert_int_equal(count_fds(), fds);
}

int main(int argc, char *argv[])
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(whatever_opens_a_group_has_it),
		cmocka_unit_test(what_it_starts_has_it_too),
		cmocka_unit_test(of_any_it_is_told_which),
		cmocka_unit_test(what_the_daemon_refuses),
		cmocka_unit_test(with_mode_cdev_it_has_devices_and_an_iommufd),
		cmocka_unit_test(of_a_supervisor_that_is_killed),
		cmocka_unit_test(where_nothing_can_be_preloaded),
		cmocka_unit_test(where_its_socket_is),
	};

	if (argc == 3 && strcmp(argv[1], "cmd") == 0)
		cmd(argv[2]);
	if (!realpath("/proc/self/exe", self))
		return 1;
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
