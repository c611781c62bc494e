/* Asking vfiod-privileged: as it is, in a process of its own; one that is not there; and what it
 * refuses. */
#include "daemon/base/packet.h"
#include "daemon/base/util.h"
#include "daemon/privilege/message.h"
#include "daemon/privilege/remote.h"
#include "daemon/privilege/serve.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <cmocka.h>

#define PATIENCE_MS 20000

struct bench {
	char path[64];
	int listening;
	pid_t server; /* 0: nobody accepts */
	pid_t other;  /* whom it is about: no program of vfiod's */
	int pidfd;
	struct process_id id;
};

/* --- the bench ----------------------------------------------------------------------------------
 */

static void serve(struct bench *bench, const char *keeper)
{
	const struct privilege_server server = { .keeper = keeper };

	bench->server = fork();
	assert_true(bench->server >= 0);
	if (bench->server > 0)
		return;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	/* Our ends of connections, above all: who serves would never see their end. */
	close_range(STDERR_FILENO + 1, (unsigned)bench->listening - 1, 0);
	close_range((unsigned)bench->listening + 1, ~0U, 0);
	_exit(privilege_serve(bench->listening, &server) < 0);
}

static int set_up(void **state)
{
	const char *const arguments[] = { "sleep", "1000", NULL };
	struct bench *bench = calloc(1, sizeof(*bench));
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	posix_spawn_file_actions_t actions;

	assert_non_null(bench);
	snprintf(bench->path, sizeof(bench->path), "/tmp/vfiod-privilege-%d", (int)getpid());
	unlink(bench->path);
	string_copy(address.sun_path, sizeof(address.sun_path), bench->path);
	bench->listening = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(bench->listening, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(bench->listening, 16), 0);
	/* It has open a device's node, to write; one only by name; and what is no node. */
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, 0, "/dev/zero", O_RDWR, 0);
	posix_spawn_file_actions_addopen(&actions, 1, "/proc/self/stat", O_RDONLY, 0);
	assert_int_equal(posix_spawnp(&bench->other, "sleep", &actions, NULL,
				 (char *const *)arguments, environ),
		0);
	posix_spawn_file_actions_destroy(&actions);
	bench->pidfd = pidfd_open(bench->other, 0);
	assert_true(bench->pidfd >= 0);
	bench->id.pid = bench->other;
	assert_int_equal(process_start_time(bench->other, &bench->id.start_ticks), 0);
	*state = bench;
	return 0;
}

static void end(pid_t *pid)
{
	if (*pid > 0) {
		kill(*pid, SIGKILL);
		assert_int_equal(waitpid(*pid, NULL, 0), *pid);
	}
	*pid = 0;
}

static int tear_down(void **state)
{
	struct bench *bench = *state;

	end(&bench->server);
	end(&bench->other);
	close(bench->pidfd);
	close(bench->listening);
	unlink(bench->path);
	free(bench);
	return 0;
}

static struct rlimit limit_of(pid_t pid)
{
	struct rlimit limit;

	assert_int_equal(prlimit(pid, RLIMIT_MEMLOCK, NULL, &limit), 0);
	return limit;
}

/* Whatever somebody sends who is not our own other side. */
static int connect_by_hand(const struct bench *bench)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	string_copy(address.sun_path, sizeof(address.sun_path), bench->path);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

static int send_by_hand(int socket, const struct privilege_request *request)
{
	struct privilege_reply reply;
	int none;

	assert_int_equal(packet_send(socket, request, sizeof(*request), -1, 0), 0);
	assert_int_equal(packet_receive(socket, &reply, sizeof(reply), &none, 0), sizeof(reply));
	assert_int_equal(none, -1);
	return reply.result;
}

/* Asks something, and is answered that there is no such device. */
static void assert_serves(const struct bench *bench)
{
	assert_int_equal(remote_config_space(bench->path, "/sys/devices/0000:fe:1f.7"), -ENOENT);
}

/* --- the loop's ---------------------------------------------------------------------------------
 */

static void test_memlock(void **state)
{
	struct bench *bench = *state;
	struct rlimit before, was = limit_of(bench->other);

	assert_int_equal(privilege_memlock(bench->pidfd, bench->other, NULL, &before), 0);
	assert_memory_equal(&before, &was, sizeof(was));
	/* Downwards anybody may. */
	const struct rlimit less = { 4096, 8192 };
	assert_int_equal(privilege_memlock(bench->pidfd, bench->other, &less, &before), 0);
	assert_memory_equal(&before, &was, sizeof(was));
	was = limit_of(bench->other);
	assert_memory_equal(&was, &less, sizeof(was));
	assert_int_equal(privilege_memlock(bench->pidfd, bench->other,
				 &(struct rlimit){ .rlim_cur = 2, .rlim_max = 1 }, NULL),
		-EINVAL);
	/* Whoever has the number then is not this process. */
	kill(bench->other, SIGKILL);
	struct pollfd ended = { .fd = bench->pidfd, .events = POLLIN };
	assert_int_equal(poll(&ended, 1, PATIENCE_MS), 1);
	assert_int_equal(privilege_memlock(bench->pidfd, bench->other, NULL, NULL), -ESRCH);
}

/* The loop waits for nobody; what was asked is done when somebody is there, or not at all. */
static void test_nobody_there(void **state)
{
	struct bench *bench = *state;
	struct pollfd ended = { .fd = bench->pidfd, .events = POLLIN };

	assert_int_equal(remote_signal(bench->path, bench->pidfd, SIGKILL), 0);
	serve(bench, "/bin/true");
	assert_int_equal(poll(&ended, 1, PATIENCE_MS), 1);
	int socket = connect_by_hand(bench);
	assert_int_equal(send_by_hand(socket,
				 &(struct privilege_request){
					 .version = PRIVILEGE_VERSION,
					 .type = PRIVILEGE_CONFIG_SPACE,
				 }),
		-ETIMEDOUT);
	close(socket);
	/* Another process of ours has no connection yet. */
	pid_t child = fork();
	if (child == 0)
		_exit(-remote_config_space("/nowhere/socket", "/sys/devices/0000:fe:1f.7"));
	int status;
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(WEXITSTATUS(status), ENOENT);
}

/* It is killed: who is served goes on, and the next one serves who comes. */
static void test_killed(void **state)
{
	struct bench *bench = *state;

	serve(bench, "/bin/true");
	assert_serves(bench);
	end(&bench->server);
	assert_serves(bench);
	int connection = connect_by_hand(bench);
	serve(bench, "/bin/true");
	assert_int_equal(send_by_hand(connection,
				 &(struct privilege_request){
					 .version = PRIVILEGE_VERSION,
					 .until = UINT64_MAX,
				 }),
		-ENOSYS);
	close(connection);
}

static void test_signal(void **state)
{
	struct bench *bench = *state;
	struct pollfd ended = { .fd = bench->pidfd, .events = POLLIN };

	serve(bench, "/bin/true");
	assert_int_equal(remote_signal(bench->path, bench->pidfd, SIGUSR1), 0);
	/* Served in their order. */
	assert_serves(bench);
	assert_int_equal(poll(&ended, 1, 0), 0);
	assert_int_equal(remote_signal(bench->path, bench->pidfd, SIGTERM), 0);
	assert_int_equal(poll(&ended, 1, PATIENCE_MS), 1);
	assert_int_equal(waitpid(bench->other, NULL, 0), bench->other);
	bench->other = 0;
	assert_int_equal(privilege_signal(bench->pidfd, SIGKILL), -ESRCH);
}

/* --- children's ---------------------------------------------------------------------------------
 */

static void test_pagemap(void **state)
{
	struct bench *bench = *state;
	uint64_t entry;

	serve(bench, "/bin/true");
	int fd = remote_pagemap(bench->path, &bench->id);
	assert_true(fd >= 0);
	assert_true(pread(fd, &entry, sizeof(entry), 0) >= 0);
	close(fd);
	bench->id.start_ticks++;
	assert_int_equal(remote_pagemap(bench->path, &bench->id), -ESRCH);
}

static void test_config_space(void **state)
{
	struct bench *bench = *state;
	static const char *const bad[] = { "/sys/devices/..", "/sys/devices/0000:00:00.0 ",
		"/sys/devices/", "/sys/devices/pci0000:00", "/sys/devices/00..00" };

	serve(bench, "/bin/true");
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(remote_config_space(bench->path, bad[i]), -EINVAL);
	assert_int_equal(
		remote_config_space(bench->path, "/sys/devices/pci0000:00/0000:fe:1f.7"), -ENOENT);
	assert_int_equal(remote_config_space(bench->path, "/sys/00000000000000000000000000000000"),
		-ENAMETOOLONG);
}

struct seen {
	unsigned n;
	enum open_file_next answer;
};

static enum open_file_next see(void *userdata, const struct open_file *file)
{
	struct seen *seen = userdata;
	bool is_block;
	dev_t number;

	seen->n++;
	if (file->fd != 0)
		return seen->answer;
	assert_string_equal(file->target, "/dev/zero");
	assert_true(open_file_number(file, &is_block, &number));
	assert_int_equal(number, makedev(1, 5));
	assert_false(is_block);
	assert_true(open_file_can_write(file));
	return seen->answer;
}

static void test_files(void **state)
{
	struct bench *bench = *state;
	struct seen seen = { .answer = OPEN_FILE_NEXT };

	serve(bench, "/bin/true");
	assert_int_equal(remote_visit_files(bench->path, bench->other, 10, see, &seen), 0);
	assert_true(seen.n >= 1);
	for (unsigned i = 0; i < 2; i++) {
		seen = (struct seen){ .answer = OPEN_FILE_DONE };
		assert_int_equal(remote_visit_files(bench->path, bench->other, 10, see, &seen), 1);
		assert_int_equal(seen.n, 1);
	}
	seen = (struct seen){ .answer = OPEN_FILE_NEXT_PROCESS };
	assert_int_equal(remote_visit_files(bench->path, bench->other, 10, see, &seen), 0);
	assert_int_equal(seen.n, 1);
	assert_int_equal(remote_visit_files(bench->path, bench->other, -1, see, &seen), -ETIMEDOUT);
	/* Its own program's are for nobody. */
	seen.n = 0;
	assert_int_equal(remote_visit_files(bench->path, getpid(), 10, see, &seen), 0);
	assert_int_equal(seen.n, 0);
}

static void test_device(void **state)
{
	struct bench *bench = *state;
	struct device_facts facts;

	serve(bench, "/bin/true");
	int r = remote_device_facts(bench->path, bench->other, 0, &facts);
	assert_true(r == -ENODEV || r == -EPERM); /* a sandbox may have no pidfd_getfd(2) */
	end(&bench->other);
	assert_int_equal(remote_device_facts(bench->path, bench->id.pid, 0, &facts), -ESRCH);
}

/* --- keepers ------------------------------------------------------------------------------------
 */

static int hear(int report, struct keeper_report *heard)
{
	struct pollfd readable = { .fd = report, .events = POLLIN };

	assert_int_equal(poll(&readable, 1, PATIENCE_MS), 1);
	return privilege_hear_keeper(report, heard);
}

static void start(struct bench *bench, enum keeper_role role, int *report)
{
	int pair[2];
	struct keeper_report heard;

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(remote_start_keeper(bench->path, role, &bench->id, pair[1], report), 0);
	close(pair[0]);
	close(pair[1]);
	assert_int_equal(hear(*report, &heard), 1);
	assert_int_equal(heard.what, KEEPER_STARTED);
	assert_true(heard.pid > 0 && heard.pidfd >= 0);
	close(heard.pidfd);
}

static void test_keeper(void **state)
{
	struct bench *bench = *state;
	struct keeper_report heard;
	int report;

	serve(bench, "/bin/false");
	start(bench, KEEPER_PUNCH, &report);
	assert_int_equal(hear(report, &heard), 1);
	assert_int_equal(heard.what, KEEPER_ENDED);
	assert_true(WIFEXITED(heard.result) && WEXITSTATUS(heard.result) == 1);
	assert_int_equal(hear(report, &heard), 0);
	close(report);
	/* This one nobody waits for. */
	start(bench, KEEPER_SPACE, &report);
	assert_int_equal(hear(report, &heard), 0);
	close(report);
}

static void test_no_keeper(void **state)
{
	struct bench *bench = *state;
	struct keeper_report heard;
	int report;

	serve(bench, "/bin/false");
	assert_int_equal(
		remote_start_keeper(bench->path, KEEPER_ROLES_, &bench->id, bench->pidfd, &report),
		0);
	assert_int_equal(hear(report, &heard), 1);
	assert_int_equal(heard.what, KEEPER_FAILED);
	assert_int_equal(heard.result, -EINVAL);
	close(report);
	assert_int_equal(remote_start_keeper("/nowhere/socket", KEEPER_PUNCH, &bench->id,
				 bench->pidfd, &report),
		-ENOENT);
}

/* --- what it refuses ----------------------------------------------------------------------------
 */

static void test_nonsense(void **state)
{
	struct bench *bench = *state;
	struct privilege_request request = { .version = PRIVILEGE_VERSION + 1,
		.until = UINT64_MAX };
	char byte;

	serve(bench, "/bin/true");
	int socket = connect_by_hand(bench);
	assert_int_equal(send_by_hand(socket, &request), -EPROTO);
	request.version = PRIVILEGE_VERSION;
	assert_int_equal(send_by_hand(socket, &request), -ENOSYS);
	request.type = PRIVILEGE_CONFIG_SPACE;
	memset(request.name, '0', sizeof(request.name));
	assert_int_equal(send_by_hand(socket, &request), -EINVAL);
	assert_int_equal(packet_send(socket, &request, sizeof(request) - 1, -1, 0), 0);
	assert_int_equal(recv(socket, &byte, 1, 0), 0);
	close(socket);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(test_nobody_there),
		TEST(test_memlock),
		TEST(test_killed),
		TEST(test_signal),
		TEST(test_pagemap),
		TEST(test_config_space),
		TEST(test_files),
		TEST(test_device),
		TEST(test_keeper),
		TEST(test_no_keeper),
		TEST(test_nonsense),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
