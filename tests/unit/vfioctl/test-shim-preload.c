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

#define FULL_DEVICE ((long)makedev(1, 7))

#define CHECK(condition)                                                                           \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			fprintf(stderr, "line %d: %s (%s)\n", __LINE__, #condition,                \
				strerror(errno));                                                  \
			_exit(1);                                                                  \
		}                                                                                  \
	} while (0)

/* What was opened, which is closed: a device; 0: something else. Or -errno. */
static long opened(long fd)
{
	struct stat status;

	if (fd < 0)
		return -errno;
	CHECK(fstat((int)fd, &status) == 0);
	close((int)fd);
	return S_ISCHR(status.st_mode) ? (long)status.st_rdev : 0;
}

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

static void cmd_flags(void)
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
	close(15); /* one is too few: nothing is left behind by that */
	CHECK(opened(open("/dev/null", O_RDWR)) == -EMFILE);
	CHECK(dup(0) == 15);
}

static void *open_some(void *userdata)
{
	for (int i = 0; i < 3; i++)
		CHECK(opened(open("/dev/zero", O_RDWR)) == FULL_DEVICE);
	return userdata;
}

static void cmd_threads(void)
{
	pthread_t threads[4];
	int fds = count_fds();

	for (int i = 0; i < 4; i++)
		CHECK(pthread_create(&threads[i], NULL, open_some, NULL) == 0);
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

static void on_alarm(int signal)
{
	(void)signal;
}

/* The daemon takes its time: neither signals nor a cancellation break an open off. */
static void cmd_signals(void)
{
	struct sigaction action = { .sa_handler = on_alarm }; /* no SA_RESTART */
	struct itimerval often = { { 0, 1000 }, { 0, 1000 } }, never = { 0 };
	int fds = count_fds();
	pthread_t thread;

	CHECK(sigaction(SIGALRM, &action, NULL) == 0 && setitimer(ITIMER_REAL, &often, NULL) == 0);
	CHECK(opened(open("/dev/null", O_RDWR)) == FULL_DEVICE);
	CHECK(setitimer(ITIMER_REAL, &never, NULL) == 0);
	CHECK(pthread_create(&thread, NULL, open_and_wait, NULL) == 0);
	nanosleep(&(struct timespec){ .tv_nsec = 50000000 }, NULL);
	CHECK(pthread_cancel(thread) == 0 && pthread_join(thread, NULL) == 0);
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

/* Nothing of what it says is heard but a request; others are served meanwhile. */
static void cmd_hostile(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct shim_request request = { .device = (uint64_t)makedev(1, 3), .flags = O_RDWR };
	int sockets[40];
	struct shim_reply reply;

	snprintf(address.sun_path, sizeof address.sun_path, "%s", getenv(SHIM_ENVIRONMENT));
	for (int i = 0; i < 40; i++) {
		sockets[i] = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
		CHECK(connect(sockets[i], (struct sockaddr *)&address, sizeof address) == 0);
	}
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

static const struct {
	const char *name;
	void (*run)(void);
} cases[] = {
	{ "ways", cmd_ways },
	{ "flags", cmd_flags },
	{ "threads", cmd_threads },
	{ "signals", cmd_signals },
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
#define SHIM "run", "--shim=preload", "--group", "13", "--group", "7", "--"

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

static void succeeds(const char *name)
{
	struct fake *fake = fake_start(shim_daemon_answer);
	int exit_code = ctl(fake, SHIM, self, "cmd", name, NULL);

	assert_string_equal(ctl_err, "");
	assert_int_equal(exit_code, 0);
	fake_stop(fake);
}

static void whatever_opens_a_group_has_it(void **state)
{
	(void)state;
	succeeds("ways");
	succeeds("flags");
	succeeds("threads");
	succeeds("bare");
	shim_daemon_is_slow = true;
	succeeds("signals");
	shim_daemon_is_slow = false;
	succeeds("hostile");
}

static void what_it_starts_has_it_too(void **state)
{
	struct fake *fake = fake_start(shim_daemon_answer);

	(void)state;
	assert_int_equal(ctl(fake, SHIM, "sh", "-c",
				 "sh -c 'exec 5<>/dev/null; readlink /proc/$$/fd/5'; "
				 "readlink /proc/$$/fd/3; echo \"$LISTEN_FDS\"",
				 NULL),
		0);
	assert_string_equal(ctl_err, "");
	assert_string_equal(ctl_out, "/dev/full\n\n");
	assert_int_equal(ctl(fake, SHIM, "sh", "-c", "exit 42", NULL), 42);
	assert_int_equal(ctl(fake, SHIM, "sh", "-c", "kill -KILL $$", NULL), 128 + SIGKILL);
	fake_stop(fake);
}

static void of_any_it_is_told_which(void **state)
{
	(void)state;
	shim_case_any("--shim=preload");
}

static void what_the_daemon_refuses(void **state)
{
	struct fake *fake;

	(void)state;
	shim_daemon_refuses = true;
	fake = fake_start(shim_daemon_answer);
	assert_int_equal(ctl(fake, SHIM, self, "cmd", "refused", NULL), 0);
	assert_string_equal(ctl_err, "vfioctl: group 13 cannot be opened: there is no such lease, "
				     "or it is not yours\n");
	fake_stop(fake);
	shim_daemon_refuses = false;
}

static void with_mode_cdev_it_has_devices_and_an_iommufd(void **state)
{
	struct fake *fake;

	(void)state;
	shim_daemon_is_cdev = true;
	fake = fake_start(shim_daemon_answer);
	assert_int_equal(ctl(fake, "run", "--shim=preload", "--mode=cdev", "--device", "01:00.0",
				 "--", self, "cmd", "ways", NULL),
		0);
	assert_string_equal(ctl_err, "");
	fake_stop(fake);
	shim_daemon_is_cdev = false;
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
