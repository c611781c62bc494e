/* libvfiod's calls: every errno, streams, descriptors, time-outs, a daemon that goes away. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "client/include/vfiod.h"
#include "tests/unit/client/client.h"
#include "tests/unit/client/fake.h"

#define B "org.vfiod.Broker."
#define V "org.varlink.service."
#define S "org.vfiod.Space."
#define DESCRIBE B "Describe"

/* Every error of org.vfiod(7) that a client can be told: errno and sentence. */
static const struct {
	const char *name, *parameters;
	int error;
	const char *sentence;
} errors[] = {
	{ B "NoSuchGroup", "{\"group\":7}", -ENODEV, "there is no group 7" },
	{ B "NoSuchDevice",
		"{\"device\":\"enp9\",\"reason\":\"no device with an IOMMU group has this name\"}",
		-ENODEV, "no device enp9 in an IOMMU group" },
	{ B "NoSuchDevice", "{\"device\":\"enp9\",\"reason\":\"no such interface\"}", -ENODEV,
		"no device enp9: no such interface" },
	{ B "GroupBusy", "{\"group\":7,\"ownerPid\":312,\"ownerUid\":1001}", -EBUSY,
		"group 7 is held by pid 312 (uid 1001)" },
	{ B "GroupBusy", "{\"group\":0,\"ownerPid\":312,\"ownerUid\":null}", -EBUSY,
		"group 0 is held by pid 312" },
	{ B "GroupBusy", "{\"group\":7,\"ownerPid\":null,\"ownerUid\":0}", -EBUSY,
		"group 7 is held by a process of uid 0" },
	{ B "GroupBusy", "{\"group\":7}", -EBUSY,
		"group 7 is held by a process that vfiod cannot name" },
	{ B "NotViable",
		"{\"group\":7,\"devices\":[\"0000:06:01.0\",\"0000:06:02.0\"],\"reason\":\"both "
		"are on e1000\"}",
		-EREMOTEIO,
		"group 7 is not viable: 0000:06:01.0, 0000:06:02.0: both are on e1000" },
	{ B "DeviceInUse",
		"{\"group\":3,\"device\":\"0000:04:00.0\",\"use\":\"block device nvme0n1 is "
		"mounted on /mnt\"}",
		-EBUSY,
		"0000:04:00.0 is in use: block device nvme0n1 is mounted on /mnt; nothing was "
		"changed. End that use, or set force = yes in its rule" },
	{ B "TakeFailed",
		"{\"group\":7,\"device\":\"0000:06:02.0\",\"step\":\"override\",\"errno\":28,"
		"\"rolledBack\":true,\"reason\":\"\"}",
		-EREMOTEIO,
		"group 7 was not taken: step override of 0000:06:02.0 failed (No space left on "
		"device); all is as before" },
	{ B "TakeFailed",
		"{\"group\":7,\"device\":\"0000:06:02.0\",\"step\":\"bind\",\"errno\":0,"
		"\"rolledBack\":false,\"reason\":\"0000:06:01.0 has no driver\"}",
		-EREMOTEIO,
		"group 7 was not taken: step bind of 0000:06:02.0 failed: 0000:06:01.0 has no "
		"driver; the group is left as failed, see vfioctl status" },
	{ B "ReturnFailed",
		"{\"group\":7,\"device\":\"0000:06:02.0\",\"step\":\"verify\",\"errno\":19,"
		"\"reason\":\"it has no driver\"}",
		-EREMOTEIO,
		"group 7 was not returned: step verify of 0000:06:02.0 failed (No such device): it "
		"has no driver; the group is left as failed, see vfioctl status" },
	{ B "GroupFailed", "{\"group\":7,\"reason\":\"its rollback failed\"}", -EREMOTEIO,
		"group 7 is left as failed by an earlier transaction: its rollback failed; an "
		"administrator has to return it" },
	{ B "AccessDenied", "{\"device\":\"0000:01:00.0\",\"reason\":\"no rule covers it\"}",
		-EACCES, "access denied to 0000:01:00.0: no rule covers it" },
	{ B "AccessDenied", "{\"reason\":\"no rule lets you\"}", -EACCES,
		"access denied: no rule lets you" },
	{ B "ResetRequired",
		"{\"group\":7,\"device\":\"0000:01:00.0\",\"reason\":\"0000:01:00.0 was lent to "
		"uid 1000\"}",
		-EACCES, "a reset is needed first: 0000:01:00.0 was lent to uid 1000" },
	{ B "NoSuchLease", "{}", -ENOKEY, "there is no such lease, or it is not yours" },
	{ B "NotSupported", "{\"missing\":\"iommufd\"}", -EOPNOTSUPP, "not supported: iommufd" },
	{ B "Stuck",
		"{\"group\":7,\"device\":\"0000:06:02.0\",\"step\":\"unbind\",\"holderPid\":99}",
		-EBUSY,
		"group 7 is stuck: the kernel does not let go of 0000:06:02.0 (step unbind); pid "
		"99 has it open" },
	{ B "TimedOut", "{\"group\":7,\"ownerPid\":312,\"ownerUid\":1001}", -ETIMEDOUT,
		"the wait is over: group 7 is held by pid 312 (uid 1001)" },
	{ B "TooMany", "{\"limit\":\"leases\",\"max\":64}", -EREMOTEIO,
		"too many: leases, at most 64" },
	{ B "Interrupted", "{}", -EREMOTEIO,
		"this was broken off before it was done: vfiod went down or was restarted, or the "
		"lease or space that it was for has ended; nothing of it is left, ask again" },
	{ B "Interrupted", "{\"reason\":\"vfiod was restarted\",\"isRestart\":true}", -EREMOTEIO,
		"this was broken off: vfiod was restarted; look whether it was done, and ask "
		"again" },
	{ "org.vfiod.Admin.ConfigurationInvalid", "{\"reason\":\"vfiod.conf:3: unknown key\"}",
		-EREMOTEIO,
		"the configuration was not read, the rules are as before: vfiod.conf:3: unknown "
		"key" },
	{ S "NoSuchSpace", "{}", -ENOKEY, "there is no such space, or it is not yours" },
	{ S "SpaceEnded", "{\"reason\":\"its keeper was killed\"}", -EOWNERDEAD,
		"the space has ended: its keeper was killed" },
	{ S "NoSuchMemory", "{\"memory\":3}", -ENOENT, "the space has no memory 3" },
	{ S "MemoryMapped", "{\"memory\":3,\"mappings\":1}", -EBUSY,
		"memory 3 still has 1 mapping: unmap it first" },
	{ S "MemoryMapped", "{\"memory\":0,\"mappings\":2}", -EBUSY,
		"memory 0 still has 2 mappings: unmap them first" },
	{ S "MemoryUnsuitable", "{\"reason\":\"it is no memfd\"}", -EPERM,
		"this memory cannot be given to devices: it is no memfd" },
	{ S "MemoryChanged",
		"{\"first\":\"0x0\",\"last\":\"0xfff\",\"reason\":\"a hole was punched\"}", -ESTALE,
		"the memory of the mapping 0x0-0xfff has changed: a hole was punched" },
	{ S "MappingOverlaps", "{\"first\":\"0x1000\",\"last\":\"0x1fff\"}", -EEXIST,
		"there is a mapping already, 0x1000-0x1fff" },
	{ S "UnmapSplitsMapping", "{\"first\":\"0x1000\",\"last\":\"0x2fff\"}", -EINVAL,
		"that would split the mapping 0x1000-0x2fff; nothing was unmapped" },
	{ S "IovaOutOfRange",
		"{\"ranges\":[{\"first\":\"0x0\",\"last\":\"0xfedfffff\"},{\"first\":"
		"\"0xfef00000\",\"last\":\"0xffffffffffff\"}]}",
		-ERANGE,
		"not all of it can be mapped here; what can is 0x0-0xfedfffff, "
		"0xfef00000-0xffffffffffff" },
	{ S "IovaOutOfRange", "{\"ranges\":[]}", -ERANGE, "not all of it can be mapped here" },
	{ S "Misaligned", "{\"pageBytes\":4096}", -EINVAL,
		"addresses, offsets and lengths have to be multiples of 4096 bytes here" },
	{ S "ReservedRegionConflict",
		"{\"group\":7,\"reserved\":{\"first\":\"0xfee00000\",\"last\":\"0xfeefffff\"},"
		"\"mapping\":{\"first\":\"0xfe000000\",\"last\":\"0xffffffff\"}}",
		-EBUSY,
		"group 7 was not attached: the mapping 0xfe000000-0xffffffff lies where it has "
		"the reserved region 0xfee00000-0xfeefffff" },
	{ S "ResetReachesFurther", "{\"device\":\"0000:01:00.0\",\"groups\":[8,9]}", -EXDEV,
		"resetting the bus of 0000:01:00.0 reaches groups that this space does not have: "
		"8, 9" },
	{ S "ResetReachesFurther", "{\"device\":\"0000:01:00.0\",\"groups\":[8]}", -EXDEV,
		"resetting the bus of 0000:01:00.0 reaches a group that this space does not have: "
		"8" },
	{ S "NotAttached", "{\"group\":7}", -ENOENT, "group 7 is not attached to this space" },
	{ "org.vfiod.Broker.LimitExceeded",
		"{\"account\":\"alice\",\"limit\":\"owed-limit\",\"limitBytes\":25769803776,"
		"\"stateBytes\":17179869184,\"requestedBytes\":17179869184}",
		-EDQUOT,
		"the owed-limit of account alice is 24.0 GiB: it owes 16.0 GiB, and 16.0 GiB was "
		"asked for; nothing was pinned" },
	{ "org.vfiod.Broker.LimitExceeded",
		"{\"account\":\"uid:1000\",\"limit\":\"kernel-bill-limit\",\"limitBytes\":67108864,"
		"\"stateBytes\":0,\"requestedBytes\":67112960}",
		-EDQUOT,
		"the kernel-bill-limit of account uid:1000 is 64.0 MiB: 0 B of it is billed or "
		"reserved, and 64.0 MiB was asked for; nothing was pinned or reserved" },
	{ "org.vfiod.Broker.LimitExceeded",
		"{\"account\":\"host\",\"limit\":\"host-limit\",\"limitBytes\":4096,"
		"\"stateBytes\":1,\"requestedBytes\":1023}",
		-EDQUOT,
		"the host-limit of this host is 4.0 KiB: all accounts together owe 1 B, and 1023 B "
		"was asked for; nothing was pinned" },
	{ "org.vfiod.Broker.LimitExceeded",
		"{\"account\":\"/user.slice\",\"limit\":\"memory.max\",\"limitBytes\":16777216,"
		"\"stateBytes\":12582912,\"requestedBytes\":33554432}",
		-EDQUOT,
		"the memory.max of control group /user.slice is 16.0 MiB: it has 12.0 MiB, and "
		"32.0 MiB was asked for; nothing was pinned" },
	/* A limit that a newer daemon has. */
	{ "org.vfiod.Broker.LimitExceeded",
		"{\"account\":\"alice\",\"limit\":\"new-limit\",\"limitBytes\":4096,"
		"\"stateBytes\":0,\"requestedBytes\":8192}",
		-EDQUOT,
		"the new-limit of account alice is 4.0 KiB: it owes 0 B, and 8.0 KiB was asked "
		"for; nothing was pinned" },
	{ B "NoMemoryBound",
		"{\"cgroup\":\"/user.slice\",\"reason\":\"those on its path are max. Do\"}", -EPERM,
		"no memory.max bounds what this process can pin (control group /user.slice): those "
		"on its path are max. Do" },
	{ B "NoMemoryBound", "{\"cgroup\":\"\",\"reason\":\"it has ended. Do\"}", -EPERM,
		"no memory.max bounds what this process can pin: it has ended. Do" },
	{ V "InvalidParameter", "{\"parameter\":\"selectors[0].group\"}", -EINVAL,
		"vfiod does not accept the parameter selectors[0].group" },
	{ V "PermissionDenied", "{}", -EACCES, "permission denied: this is for administrators" },
	{ V "MethodNotFound", "{\"method\":\"Why\"}", -EOPNOTSUPP,
		"this vfiod does not know the method Why" },
	{ V "MethodNotImplemented", "{\"method\":\"Why\"}", -EOPNOTSUPP,
		"this vfiod does not know the method Why" },
	{ V "InterfaceNotFound", "{\"interface\":\"org.vfiod.Space\"}", -EOPNOTSUPP,
		"this vfiod does not know the interface org.vfiod.Space" },
	{ V "ExpectedMore", "{}", -EREMOTEIO, "org.varlink.service.ExpectedMore" },
	{ "io.systemd.System", "{\"errno\":28,\"errnoName\":\"ENOSPC\",\"origin\":\"linux\"}",
		-EREMOTEIO, "vfiod failed: No space left on device (linux)" },
	{ "org.example.New", "{\"a\":1}", -EREMOTEIO, "org.example.New {\"a\":1}" },
	/* What steers a terminal does not get through: ESC, DEL, and CSI as U+009B. */
	{ B "AccessDenied", "{\"reason\":\"\\u001b[2J \\u007f \\u009b1m\"}", -EACCES,
		"access denied: ?[2J ? ??1m" },
};
#define N_ERRORS (sizeof errors / sizeof *errors)

static void answer_with_error(struct fake *fake, int peer, const char *method,
	struct json_object *parameters, const int *fds, size_t n_fds)
{
	int i = json_object_get_int(json_object_object_get(parameters, "group"));

	(void)method;
	(void)fds;
	(void)n_fds;
	fake_error(fake, peer, errors[i].name, errors[i].parameters);
}

static void each_error_has_its_errno_and_sentence(void **state)
{
	struct fake *fake = fake_start(answer_with_error);
	struct vfiod *vfiod = client_open(fake);

	(void)state;
	for (size_t i = 0; i < N_ERRORS; i++) {
		char parameters[32];

		snprintf(parameters, sizeof parameters, "{\"group\":%zu}", i);
		assert_int_equal(
			vfiod_call(vfiod, DESCRIBE, parameters, false, NULL, 0, 5000, NULL, NULL),
			errors[i].error);
		assert_string_equal(vfiod_strerror(vfiod), errors[i].sentence);
		assert_string_equal(vfiod_error_name(vfiod), errors[i].name);
		assert_non_null(vfiod_error_parameters(vfiod));
	}
	assert_string_equal(vfiod_error_parameters(vfiod), "{\"reason\":\"\\u001b[2J \x7f \xc2\x9b"
							   "1m\"}");
	/* The next call forgets it. */
	assert_int_equal(
		vfiod_call(vfiod, DESCRIBE, "[]", false, NULL, 0, 5000, NULL, NULL), -EINVAL);
	assert_null(vfiod_error_name(vfiod));
	assert_null(vfiod_error_parameters(vfiod));
	assert_string_equal(vfiod_strerror(vfiod), "the parameters are not a JSON object");
	vfiod_close(vfiod);
	fake_stop(fake);
}

static void opening_fails(void **state)
{
	struct vfiod *vfiod = (struct vfiod *)&vfiod;
	struct sockaddr_un address = { .sun_family = AF_UNIX,
		.sun_path = "/tmp/vfiod-test-nobody-listens" };
	char long_path[200];
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), before = count_fds();

	(void)state;
	assert_int_equal(vfiod_open("/nonexistent/socket", &vfiod), -ENOENT);
	assert_null(vfiod);
	assert_int_equal(vfiod_open("", &vfiod), -ENOENT);
	unlink(address.sun_path);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
	assert_int_equal(vfiod_open(address.sun_path, &vfiod), -ECONNREFUSED);
	assert_null(vfiod);
	unlink(address.sun_path);
	memset(long_path, 'a', sizeof long_path);
	long_path[sizeof long_path - 1] = '\0';
	assert_int_equal(vfiod_open(long_path, &vfiod), -ENAMETOOLONG);
	assert_int_equal(count_fds(), before);
	close(fd);
	vfiod_close(NULL);
	assert_string_equal(
		vfiod_strerror(NULL), "cannot connect to vfiod: is vfiod.socket running?");
	assert_null(vfiod_error_name(NULL));
	assert_null(vfiod_error_parameters(NULL));
}

static void answer_info(struct fake *fake, int peer, const char *method,
	struct json_object *parameters, const int *fds, size_t n_fds)
{
	(void)parameters;
	(void)fds;
	(void)n_fds;
	if (strcmp(method, V "GetInfo") == 0)
		fake_reply(fake, peer, false,
			"{\"vendor\":\"v\",\"product\":\"p\",\"version\":\"1\",\"url\":\"u\","
			"\"interfaces\":[]}");
}

static void socket_comes_from_the_environment(void **state)
{
	struct fake *fake = fake_start(answer_info);
	struct vfiod *vfiod;

	(void)state;
	assert_int_equal(setenv("VFIOD_SOCKET", fake_socket(fake), 1), 0);
	assert_int_equal(vfiod_open(NULL, &vfiod), 0);
	unsetenv("VFIOD_SOCKET");
	assert_int_equal(vfiod_call(vfiod, V "GetInfo", NULL, false, NULL, 0, 5000, NULL, NULL), 0);
	assert_string_equal(vfiod_strerror(vfiod), "no error");
	vfiod_close(vfiod);
	fake_stop(fake);
}

/* List answers 0, 1, 2; the second has two descriptors, both /dev/null and /dev/zero. */
static void answer_list(struct fake *fake, int peer, const char *method,
	struct json_object *parameters, const int *fds, size_t n_fds)
{
	int given[2] = { open("/dev/null", O_RDONLY | O_CLOEXEC),
		open("/dev/zero", O_RDONLY | O_CLOEXEC) };
	char byte = 0;

	(void)parameters;
	fake_expect(strcmp(method, B "List") == 0, "List");
	fake_expect(n_fds == 1 && write(fds[0], &byte, 1) == 1, "the pipe that the test sent");
	fake_reply(fake, peer, true, "{\"total\":0}");
	fake_reply_fds(fake, peer, true, "{\"total\":1}", given, 2);
	fake_reply(fake, peer, false, "{\"total\":2}");
	close(given[0]);
	close(given[1]);
}

struct replies {
	char text[256];
	int n, stop_after, result, taken, left;
	struct vfiod *vfiod;
};

static int reply_note(const char *parameters, int *fds, size_t n_fds, void *userdata)
{
	struct replies *replies = userdata;

	strncat(replies->text, parameters, sizeof replies->text - strlen(replies->text) - 1);
	if (n_fds == 2) {
		replies->left = fds[0];
		replies->taken = fds[1];
		fds[1] = -1;
	}
	if (replies->vfiod)
		assert_int_equal(
			vfiod_call(replies->vfiod, DESCRIBE, NULL, false, NULL, 0, 1, NULL, NULL),
			-EBUSY);
	return ++replies->n == replies->stop_after ? replies->result : 0;
}

static void a_stream_is_delivered_with_its_descriptors(void **state)
{
	struct fake *fake = fake_start(answer_list);
	struct vfiod *vfiod = client_open(fake);
	struct replies replies = { .taken = -1, .left = -1, .vfiod = vfiod };
	int pipe_fds[2], before;
	char byte;

	(void)state;
	assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
	before = count_fds();
	assert_int_equal(vfiod_call(vfiod, B "List", "{\"all\":true}", true, &pipe_fds[1], 1, 5000,
				 reply_note, &replies),
		0);
	assert_string_equal(replies.text, "{\"total\":0}{\"total\":1}{\"total\":2}");
	/* Ours stayed ours, and its copy reached the daemon. */
	assert_int_equal(read(pipe_fds[0], &byte, 1), 1);
	assert_int_equal(fcntl(pipe_fds[1], F_GETFD), FD_CLOEXEC);
	/* The one taken over lives, close-on-exec; the other was closed. */
	assert_int_equal(fcntl(replies.taken, F_GETFD), FD_CLOEXEC);
	assert_int_equal(read(replies.taken, &byte, 1), 1); /* /dev/zero: index 1 */
	assert_int_equal(fcntl(replies.left, F_GETFD), -1);
	assert_int_equal(count_fds(), before + 1);
	close(replies.taken);
	close(pipe_fds[0]);
	close(pipe_fds[1]);
	vfiod_close(vfiod);
	fake_stop(fake);
}

static void the_callback_can_stop(void **state)
{
	struct fake *fake = fake_start(answer_list);
	struct vfiod *vfiod = client_open(fake);
	struct replies replies = { .stop_after = 1, .result = -42 };
	int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);

	(void)state;
	assert_int_equal(
		vfiod_call(vfiod, B "List", NULL, true, &fd, 1, 5000, reply_note, &replies), -42);
	assert_int_equal(replies.n, 1);
	assert_int_equal(
		vfiod_call(vfiod, DESCRIBE, NULL, false, NULL, 0, 5000, NULL, NULL), -ECONNRESET);
	assert_string_equal(vfiod_strerror(vfiod),
		"this connection was given up after a failure; open another");
	close(fd);
	vfiod_close(vfiod);
	fake_stop(fake);
}

static void answer_nothing(struct fake *fake, int peer, const char *method,
	struct json_object *parameters, const int *fds, size_t n_fds)
{
	(void)fake;
	(void)peer;
	(void)method;
	(void)parameters;
	(void)fds;
	(void)n_fds;
}

static void on_alarm(int number)
{
	(void)number;
}

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Signals every 10 ms, without SA_RESTART, neither end the wait nor make it longer. */
static void a_time_out_is_kept_under_signals(void **state)
{
	struct fake *fake = fake_start(answer_nothing);
	struct vfiod *vfiod = client_open(fake);
	struct sigaction action = { .sa_handler = on_alarm }, before;
	struct itimerval often = { { 0, 10000 }, { 0, 10000 } }, off = { 0 };
	int64_t start = now_ms(), took;

	(void)state;
	assert_int_equal(sigaction(SIGALRM, &action, &before), 0);
	assert_int_equal(setitimer(ITIMER_REAL, &often, NULL), 0);
	assert_int_equal(
		vfiod_call(vfiod, V "GetInfo", NULL, false, NULL, 0, 200, NULL, NULL), -ETIMEDOUT);
	took = now_ms() - start;
	assert_int_equal(setitimer(ITIMER_REAL, &off, NULL), 0);
	assert_int_equal(sigaction(SIGALRM, &before, NULL), 0);
	assert_in_range(took, 200, 5000);
	assert_string_equal(vfiod_strerror(vfiod), "vfiod did not answer in time");
	assert_int_equal(
		vfiod_call(vfiod, V "GetInfo", NULL, false, NULL, 0, 200, NULL, NULL), -ECONNRESET);
	vfiod_close(vfiod);
	fake_stop(fake);
}

static void hang_up(struct fake *fake, int peer, const char *method, struct json_object *parameters,
	const int *fds, size_t n_fds)
{
	(void)method;
	(void)parameters;
	(void)fds;
	(void)n_fds;
	fake_hang_up(fake, peer);
}

static void a_daemon_that_goes_is_no_signal(void **state)
{
	struct fake *fake = fake_start(hang_up);
	struct vfiod *vfiod = client_open(fake);

	(void)state;
	assert_int_equal(vfiod_call(vfiod, V "GetInfo", NULL, false, NULL, 0, 5000, NULL, NULL),
		-ECONNRESET);
	assert_string_equal(vfiod_strerror(vfiod), "vfiod has closed the connection");
	vfiod_close(vfiod);

	/* Gone before the call: the write itself fails. SIGPIPE would end this program. */
	vfiod = client_open(fake);
	fake_stop(fake);
	assert_int_equal(vfiod_call(vfiod, V "GetInfo", NULL, false, NULL, 0, 5000, NULL, NULL),
		-ECONNRESET);
	vfiod_close(vfiod);
}

/* What is not Varlink, one a connection. */
static const char *const garbage[] = {
	"not json",
	"[]",
	"",
	"{\"parameters\":{},\"extra\":1}",
	"{\"error\":null}",
	"{\"parameters\":[]}",
	"{\"parameters\":{},\"continues\":true}", /* that was not asked for */
	"{\"parameters\":{\"a\":\"\xff\"}}",
};

static void answer_garbage(struct fake *fake, int peer, const char *method,
	struct json_object *parameters, const int *fds, size_t n_fds)
{
	(void)method;
	(void)parameters;
	(void)fds;
	(void)n_fds;
	fake_raw(fake, peer, garbage[peer], strlen(garbage[peer]) + 1, -1);
}

static void what_is_not_varlink_is_eproto(void **state)
{
	struct fake *fake = fake_start(answer_garbage);

	(void)state;
	for (size_t i = 0; i < sizeof garbage / sizeof *garbage; i++) {
		struct vfiod *vfiod = client_open(fake);

		assert_int_equal(
			vfiod_call(vfiod, V "GetInfo", NULL, false, NULL, 0, 5000, NULL, NULL),
			-EPROTO);
		assert_int_equal(
			vfiod_call(vfiod, V "GetInfo", NULL, false, NULL, 0, 5000, NULL, NULL),
			-ECONNRESET);
		vfiod_close(vfiod);
	}
	fake_stop(fake);
}

static void a_call_that_cannot_be_made_leaves_the_handle_whole(void **state)
{
	struct fake *fake = fake_start(answer_info);
	struct vfiod *vfiod = client_open(fake);
	int bad[254], before = count_fds();

	(void)state;
	for (size_t i = 0; i < 254; i++)
		bad[i] = i == 2 ? -1 : STDERR_FILENO;
	assert_int_equal(
		vfiod_call(vfiod, V "GetInfo", NULL, false, bad, 3, 5000, NULL, NULL), -EBADF);
	bad[2] = STDERR_FILENO;
	assert_int_equal(
		vfiod_call(vfiod, V "GetInfo", NULL, false, bad, 254, 5000, NULL, NULL), -ENOBUFS);
	assert_int_equal(
		vfiod_call(vfiod, V "GetInfo", "{", false, NULL, 0, 5000, NULL, NULL), -EINVAL);
	assert_int_equal(count_fds(), before);
	assert_int_equal(vfiod_call(vfiod, V "GetInfo", "{}", false, NULL, 0, 5000, NULL, NULL), 0);
	vfiod_close(vfiod);
	fake_stop(fake);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_error_has_its_errno_and_sentence),
		cmocka_unit_test(opening_fails),
		cmocka_unit_test(socket_comes_from_the_environment),
		cmocka_unit_test(a_stream_is_delivered_with_its_descriptors),
		cmocka_unit_test(the_callback_can_stop),
		cmocka_unit_test(a_time_out_is_kept_under_signals),
		cmocka_unit_test(a_daemon_that_goes_is_no_signal),
		cmocka_unit_test(what_is_not_varlink_is_eproto),
		cmocka_unit_test(a_call_that_cannot_be_made_leaves_the_handle_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
