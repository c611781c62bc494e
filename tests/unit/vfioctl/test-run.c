/* vfioctl run: what CMD gets, how it ends, and what is asked of the daemon around it. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "client/vfioctl/run.h"
#include "tests/unit/vfioctl/ctl.h"

#define DEVICE(name)                                                                               \
	"{\"name\":\"" name "\",\"bus\":\"pci\",\"syspath\":\"/sys/x\",\"resetMethods\":[],"       \
	"\"isBound\":true,\"isParked\":false}"
#define GROUP(number, owner, devices)                                                              \
	"{\"group\":{\"number\":" number                                                           \
	",\"type\":\"DMA\",\"binding\":\"host\",\"owner\":\"" owner                                \
	"\",\"isCovered\":true,\"mayLease\":true,\"devices\":[" devices                            \
	"],\"reservedRegions\":[]}}"

static bool is(const char *text, const char *wanted)
{
	return strcmp(text, wanted) == 0;
}

/* --- the daemon ---------------------------------------------------------------------------- */

static int holder = -1; /* the daemon's copy of the pidfd */
static int stream;      /* the peer that acquired: it hears of the end */
static int n_releases;  /* that were asked for */
static int expect_memory;
static int expect_group;    /* CMD names one, so that nothing else will do */
static int expect_no_calls; /* a refusal before anything is acquired */
static const char *release_reply;

#define ACQUIRE(memory)                                                                            \
	"{\"selectors\":[{\"device\":\"0000:01:00.0\"},{\"group\":7}],\"waitSeconds\":5,"          \
	"\"holderFileDescriptor\":0" memory "}"
#define RUN_OPTIONS "--wait", "5", "--device", "01:00.0", "--group", "7", "--"

static void grant(struct fake *fake, int peer)
{
	/* In another order than the selectors, to see that the numbers count. */
	int fds[2] = { open("/dev/zero", O_RDONLY | O_CLOEXEC),
		open("/dev/null", O_RDONLY | O_CLOEXEC) };

	stream = peer;
	fake_reply_fds(fake, peer, true,
		"{\"event\":\"granted\",\"lease\":\"3\",\"token\":\"secret\",\"groups\":["
		"{\"number\":7,\"devices\":[],\"groupFileDescriptor\":0},"
		"{\"number\":13,\"devices\":[],\"groupFileDescriptor\":1}]}",
		fds, 2);
	close(fds[0]);
	close(fds[1]);
}

static void answer_describe(struct fake *fake, int peer, const char *parameters)
{
	bool is_lingering = release_reply && n_releases;

	if (is(parameters, "{\"device\":\"0000:01:00.0\"}") || is(parameters, "{\"group\":13}"))
		fake_reply(fake, peer, false, GROUP("13", "none", DEVICE("0000:01:00.0")));
	else if (is(parameters, "{\"group\":7}"))
		fake_reply(fake, peer, false,
			is_lingering ? GROUP("7", "lingering", DEVICE("0000:06:01.0"))
				     : GROUP("7", "none", DEVICE("0000:06:01.0")));
	else
		fake_error(fake, peer, "org.vfiod.Broker.NoSuchGroup", "{\"group\":99}");
}

static void answer_run(struct fake *fake, int peer, const char *method,
	struct json_object *parameters, const int *fds, size_t n_fds)
{
	const char *text = json_object_to_json_string_ext(parameters, JSON_C_TO_STRING_PLAIN);

	if (is(method, "org.vfiod.Broker.Describe")) {
		answer_describe(fake, peer, text);
	} else if (is(method, "org.vfiod.Broker.Acquire")) {
		fake_expect(!expect_no_calls, "no Acquire");
		fake_expect(is(text, expect_memory  ? ACQUIRE(",\"memoryBytes\":536870912")
				     : expect_group ? ACQUIRE(",\"mode\":\"group\"")
						    : ACQUIRE("")),
			"the selectors in order, a holder, and memory or a mode");
		fake_expect(n_fds == 1, "the holder's pidfd");
		holder = fcntl(fds[0], F_DUPFD_CLOEXEC, 0);
		grant(fake, peer);
	} else {
		struct pollfd ended = { .fd = holder, .events = POLLIN };

		fake_expect(is(method, "org.vfiod.Broker.Release"), "Release");
		fake_expect(poll(&ended, 1, 0) == 1, "Release after the holder has ended");
		n_releases++;
		fake_reply(fake, stream, false,
			"{\"event\":\"ended\",\"reason\":\"its process has ended\"}");
		if (release_reply)
			fake_reply(fake, peer, false, release_reply);
		else
			fake_error(fake, peer, "org.vfiod.Broker.NoSuchLease", "{}");
	}
}

static void memory_is_asked_for(void **state)
{
	static const char *const wrong[] = { "", "x", "-1", "512MB", "1.5G", "16g", "infinity", "0",
		"9223372036854775807", "8388608T", "99999999999999999999" };
	static const char *const why[] = { "not a number of bytes, as 4096, 512M or 16G",
		"nothing to reserve", "more than there can be" };
	struct fake *fake;

	(void)state;
	expect_memory = 1;
	fake = fake_start(answer_run);
	assert_int_equal(ctl(fake, "run", "--memory", "512M", RUN_OPTIONS, "true", NULL), 0);
	assert_string_equal(ctl_err, "");
	expect_memory = 0;
	fake_stop(fake);
	expect_no_calls = 1;
	fake = fake_start(answer_run);
	for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
		const char *quote = i < 7 ? "'" : "";
		char text[160];

		assert_int_equal(ctl(fake, "run", "--memory", wrong[i], RUN_OPTIONS, "true", NULL),
			EXIT_RUN_FAILED);
		snprintf(text, sizeof text,
			"vfioctl run: --memory %s%s%s: %s\nSee vfioctl run --help.\n", quote,
			wrong[i], quote,
			why[i < 7        ? 0
				: i == 7 ? 1
					 : 2]);
		assert_string_equal(ctl_err, text);
	}
	assert_int_equal(ctl(fake, "run", "--dry-run", "--memory", "x", "--group", "7", NULL),
		EXIT_RUN_FAILED);
	expect_no_calls = 0;
	fake_stop(fake);
}

#define RUN "run", RUN_OPTIONS

/* --- CMD --------------------------------------------------------------------------------- */

static const char show_script[] =
	"echo \"$LISTEN_FDS $LISTEN_FDNAMES $([ $LISTEN_PID = $$ ] && echo own)\"; "
	"ls -m /proc/$$/fd; readlink /proc/$$/fd/3 /proc/$$/fd/4; echo \"$0\" \"$@\"";

static void cmd_has_the_groups_and_nothing_else(void **state)
{
	struct fake *fake;

	(void)state;
	expect_group = 1;
	fake = fake_start(answer_run);
	expect_group = 0;
	assert_int_equal(ctl(fake, RUN, "sh", "-c", show_script, "{group:13}", "x={group:06:01.0}",
				 "{\"a\":1}", NULL),
		0);
	assert_string_equal(ctl_err, "");
	assert_string_equal(ctl_out, "2 group13:group7 own\n"
				     "0, 1, 2, 3, 4\n"
				     "/dev/null\n"
				     "/dev/zero\n"
				     "3 x=4 {\"a\":1}\n");
	fake_stop(fake);
}

static void the_exit_status_is_cmds(void **state)
{
	struct fake *fake = fake_start(answer_run);

	(void)state;
	assert_int_equal(ctl(fake, RUN, "sh", "-c", "exit 42", NULL), 42);
	assert_int_equal(ctl(fake, RUN, "sh", "-c", "kill -KILL $$", NULL), 128 + SIGKILL);
	assert_int_equal(ctl(fake, RUN, "/nonexistent/cmd", NULL), EXIT_RUN_NOT_FOUND);
	assert_string_equal(
		ctl_err, "vfioctl: cannot run /nonexistent/cmd: No such file or directory\n");
	assert_int_equal(ctl(fake, RUN, "/etc/passwd", NULL), EXIT_RUN_CANNOT_EXECUTE);
	assert_string_equal(ctl_err, "vfioctl: cannot run /etc/passwd: Permission denied\n");
	fake_stop(fake);
}

/* What somebody sends to vfioctl alone reaches CMD; CMD decides. */
static void signals_are_passed_on(void **state)
{
	static const char script[] = "trap 'echo got it; exit 7' %s; kill -%s $PPID; "
				     "while :; do sleep 0.05; done";
	static const char *const signals[] = { "TERM", "INT", "HUP", "QUIT" };
	struct fake *fake = fake_start(answer_run);

	(void)state;
	for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
		char text[160];

		snprintf(text, sizeof text, script, signals[i], signals[i]);
		assert_int_equal(ctl(fake, RUN, "sh", "-c", text, NULL), 7);
		assert_string_equal(ctl_out, "got it\n");
	}
	fake_stop(fake);
}

/* A launcher that is killed leaves CMD running, and the lease is CMD's. */
static void killing_vfioctl_leaves_cmd_alone(void **state)
{
	struct fake *fake = fake_start(answer_run);
	char byte[8] = "";
	int pair[2], status;
	pid_t pid;

	(void)state;
	assert_int_equal(pipe(pair), 0); /* CMD inherits it through vfioctl's stdout */
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		struct context context = { .socket = fake_socket(fake),
			.timeout_ms = 10000,
			.command = "run",
			.out = stdout };
		const char *argv[] = { RUN, "sh", "-c", "kill -KILL $PPID; sleep 0.2; echo alive",
			NULL };

		dup2(pair[1], STDOUT_FILENO);
		close(pair[0]);
		close(pair[1]);
		_exit(command_run.run(&context, 11, (char **)argv));
	}
	close(pair[1]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(read(pair[0], byte, sizeof byte - 1), 6);
	assert_string_equal(byte, "alive\n");
	close(pair[0]);
	fake_stop(fake);
}

/* The daemon of a lease that is not to be had at once, nor for long. */
static bool has_ended_early;

static void answer_eventful(struct fake *fake, int peer, const char *method,
	struct json_object *parameters, const int *fds, size_t n_fds)
{
	if (!is(method, "org.vfiod.Broker.Acquire")) {
		fake_expect(!(has_ended_early && is(method, "org.vfiod.Broker.Release")),
			"no Release of what has ended");
		answer_run(fake, peer, method, parameters, fds, n_fds);
		return;
	}
	for (int position = 2; position >= 0; position--) {
		char text[64];
		snprintf(text, sizeof text, "{\"event\":\"queued\",\"position\":%d}", position);
		fake_reply(fake, peer, true, text);
	}
	holder = fcntl(fds[0], F_DUPFD_CLOEXEC, 0);
	grant(fake, peer);
	fake_reply(fake, peer, true,
		"{\"event\":\"releaseRequested\",\"reason\":\"update at \\u001b[2Jsix\"}");
	fake_reply(fake, peer, true, "{\"event\":\"deviceGone\",\"device\":\"0000:01:00.0\"}");
	if (has_ended_early)
		fake_reply(fake, peer, false,
			"{\"event\":\"ended\",\"reason\":\"an administrator has ended it\"}");
}

#define EVENTS                                                                                     \
	"vfioctl: waiting for 0000:01:00.0, group 7: 2 requests before this one\n"                 \
	"vfioctl: waiting for 0000:01:00.0, group 7: 1 request before this one\n"                  \
	"vfioctl: waiting for 0000:01:00.0, group 7: next in the queue\n"                          \
	"vfioctl: an administrator asks for the devices back: update at ?[2Jsix; they go back "    \
	"when sh ends\n"                                                                           \
	"vfioctl: 0000:01:00.0 has left the host\n"

static void what_happens_to_the_lease_is_told(void **state)
{
	struct fake *fake = fake_start(answer_eventful);

	(void)state;
	assert_int_equal(ctl(fake, RUN, "sh", "-c", "sleep 0.3; exit 4", NULL), 4);
	assert_string_equal(ctl_err, EVENTS);
	fake_stop(fake);

	has_ended_early = true;
	fake = fake_start(answer_eventful);
	assert_int_equal(ctl(fake, RUN, "sh", "-c", "sleep 0.3; exit 5", NULL), 5);
	assert_string_equal(ctl_err,
		EVENTS "vfioctl: the lease has ended: an administrator has ended it; sh goes on, "
		       "and its devices go back when it has closed them\n");
	fake_stop(fake);
}

/* It is restarted twice while CMD's request waits: once by SIGKILL, once as vfiod tells it. */
static int n_asked;

static void answer_forgetful(struct fake *fake, int peer, const char *method,
	struct json_object *parameters, const int *fds, size_t n_fds)
{
	if (!is(method, "org.vfiod.Broker.Acquire") || n_asked == 2) {
		answer_run(fake, peer, method, parameters, fds, n_fds);
		return;
	}
	fake_reply(fake, peer, true, "{\"event\":\"queued\",\"position\":0}");
	if (n_asked++ == 0)
		fake_hang_up(fake, peer);
	else
		fake_error(fake, peer, "org.vfiod.Broker.Interrupted",
			"{\"reason\":\"vfiod was restarted\",\"isRestart\":true}");
}

#define WAITING "vfioctl: waiting for 0000:01:00.0, group 7: next in the queue\n"
#define LOST "vfioctl: lost vfiod while waiting; looking for the next one\n"

static void a_restart_does_not_end_the_wait(void **state)
{
	struct fake *fake = fake_start(answer_forgetful);

	(void)state;
	assert_int_equal(ctl(fake, RUN, "sh", "-c", "exit 4", NULL), 4);
	assert_string_equal(ctl_err, WAITING LOST WAITING);
	fake_stop(fake);
}

static const char *refusal, *refused_why;

static void answer_refusing(struct fake *fake, int peer, const char *method,
	struct json_object *parameters, const int *fds, size_t n_fds)
{
	if (!is(method, "org.vfiod.Broker.Acquire")) {
		answer_run(fake, peer, method, parameters, fds, n_fds);
		return;
	}
	fake_expect(n_asked++ == 0, "asked once");
	fake_error(fake, peer, refusal, refused_why);
}

/* Nor is it a reason to ask again that CMD's request was ended by somebody. */
static void what_is_refused_ends_the_wait(void **state)
{
	static const char *const cases[][3] = {
		{ "org.vfiod.Broker.TooMany", "{\"limit\":\"leases\",\"max\":64}",
			"vfioctl: cannot acquire 0000:01:00.0, group 7: too many: leases, at most "
			"64\n" },
		{ "org.vfiod.Broker.Interrupted",
			"{\"reason\":\"an administrator has ended it\",\"isRestart\":false}",
			"vfioctl: cannot acquire 0000:01:00.0, group 7: this was broken off: an "
			"administrator has ended it; nothing of it is left\n" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct fake *fake;

		n_asked = 0;
		refusal = cases[i][0];
		refused_why = cases[i][1];
		fake = fake_start(answer_refusing);
		assert_int_equal(ctl(fake, RUN, "true", NULL), EXIT_RUN_FAILED);
		assert_string_equal(ctl_err, cases[i][2]);
		fake_stop(fake);
	}
}

static bool is_over;

static void answer_and_go(struct fake *fake, int peer, const char *method,
	struct json_object *parameters, const int *fds, size_t n_fds)
{
	if (is(method, "org.vfiod.Broker.Resume") && is_over) {
		fake_error(fake, peer, "org.vfiod.Broker.NoSuchLease", "{}");
		return;
	}
	if (is(method, "org.vfiod.Broker.Resume")) {
		fake_reply(fake, peer, true,
			"{\"event\":\"resumed\",\"lease\":\"3\",\"token\":\"secret\","
			"\"groups\":[]}");
		fake_reply(fake, peer, true, "{\"event\":\"releaseRequested\",\"reason\":\"x\"}");
		return;
	}
	answer_run(fake, peer, method, parameters, fds, n_fds);
	if (is(method, "org.vfiod.Broker.Acquire"))
		fake_hang_up(fake, peer);
}

static void a_daemon_that_goes_takes_nothing_along(void **state)
{
	struct fake *fake = fake_start(answer_and_go);

	(void)state;
	release_reply = "{\"lingering\":[]}";
	assert_int_equal(ctl(fake, RUN, "sh", "-c", "sleep 1; exit 6", NULL), 6);
	assert_string_equal(ctl_err,
		"vfioctl: lost vfiod; sh goes on with its devices, `systemctl status vfiod` may "
		"say why\n"
		"vfioctl: vfiod is back, and sh has its lease as before\n"
		"vfioctl: an administrator asks for the devices back: x; they go back when sh "
		"ends\n");
	fake_stop(fake);

	is_over = true;
	fake = fake_start(answer_and_go);
	assert_int_equal(ctl(fake, RUN, "sh", "-c", "sleep 1; exit 7", NULL), 7);
	assert_string_equal(ctl_err,
		"vfioctl: lost vfiod; sh goes on with its devices, `systemctl status vfiod` may "
		"say why\n"
		"vfioctl: the lease has ended: it has ended while vfiod was away; sh goes on, and "
		"its devices go back when it has closed them\n");
	release_reply = NULL;
	fake_stop(fake);
}

static void a_group_that_stays_open_is_named(void **state)
{
	struct fake *fake;

	(void)state;
	release_reply = "{\"lingering\":[7]}";
	fake = fake_start(answer_run);
	assert_int_equal(ctl(fake, RUN, "sh", "-c", "exit 3", NULL), 3);
	assert_string_equal(ctl_err, "vfioctl: group 7 is still open in some process; its devices "
				     "go back when that ends\n");
	fake_stop(fake);
	release_reply = NULL;
}

/* The third Describe is the one after the refusal. */
static int busy_describe;
static const char *busy_group, *busy_error;

static void answer_busy(struct fake *fake, int peer, const char *method,
	struct json_object *parameters, const int *fds, size_t n_fds)
{
	(void)fds;
	(void)n_fds;
	if (is(method, "org.vfiod.Broker.Describe") && busy_describe++ >= 2)
		fake_reply(fake, peer, false, busy_group);
	else if (is(method, "org.vfiod.Broker.Describe"))
		answer_describe(fake, peer,
			json_object_to_json_string_ext(parameters, JSON_C_TO_STRING_PLAIN));
	else
		fake_error(
			fake, peer, busy_error, "{\"group\":7,\"ownerPid\":312,\"ownerUid\":1001}");
}

static void a_refusal_starts_nothing(void **state)
{
	struct fake *fake;

	(void)state;
	busy_group = GROUP("7", "none", DEVICE("0000:06:01.0"));
	busy_error = "org.vfiod.Broker.GroupBusy";
	fake = fake_start(answer_busy);
	assert_int_equal(ctl(fake, RUN, "sh", "-c", "echo started", NULL), EXIT_RUN_FAILED);
	assert_string_equal(ctl_out, "");
	assert_string_equal(ctl_err, "vfioctl: cannot acquire 0000:01:00.0, group 7: group 7 is "
				     "held by pid 312 (uid 1001)\n");
	fake_stop(fake);

	busy_group = "{\"group\":{\"number\":7,\"type\":\"DMA\",\"binding\":\"taken\",\"owner\":"
		     "\"leased\",\"holder\":{\"pid\":312,\"uid\":0,\"command\":\"my-driver\"},"
		     "\"lease\":\"L30\",\"isCovered\":true,\"mayLease\":true,\"devices\":[],"
		     "\"reservedRegions\":[]}}";
	fake = fake_start(answer_busy);
	assert_int_equal(ctl(fake, RUN, "echo", NULL), EXIT_RUN_FAILED);
	assert_string_equal(ctl_err,
		"vfioctl: cannot acquire 0000:01:00.0, group 7: group 7 is held by pid 312 (uid "
		"1001): root my-driver, lease L30; --wait SECONDS waits for it\n");
	fake_stop(fake);
	busy_error = "org.vfiod.Broker.TimedOut"; /* it has waited */
	fake = fake_start(answer_busy);
	assert_int_equal(ctl(fake, RUN, "echo", NULL), EXIT_RUN_FAILED);
	assert_string_equal(ctl_err,
		"vfioctl: cannot acquire 0000:01:00.0, group 7: the wait is over: group 7 is held "
		"by pid 312 (uid 1001): root my-driver, lease L30\n");
	fake_stop(fake);
	busy_group = GROUP("7", "lingering", DEVICE("0000:06:01.0"));
	fake = fake_start(answer_busy);
	assert_int_equal(ctl(fake, RUN, "echo", NULL), EXIT_RUN_FAILED);
	assert_string_equal(ctl_err,
		"vfioctl: cannot acquire 0000:01:00.0, group 7: the wait is over: group 7 is held "
		"open by some process; `vfioctl status 7` names it once it is found\n");
	fake_stop(fake);

	expect_no_calls = 1;
	fake = fake_start(answer_run);
	assert_int_equal(ctl(fake, RUN, "echo", "{group:8}", NULL), EXIT_RUN_FAILED);
	assert_string_equal(ctl_err, "vfioctl run: {group:8}: none of the groups to be acquired; "
				     "nothing was acquired\n");
	assert_int_equal(ctl(fake, RUN, "echo", "a{group}", NULL), EXIT_RUN_FAILED);
	assert_string_equal(ctl_err, "vfioctl run: {group}: ambiguous: name one of {group:13}, "
				     "{group:7}; nothing was acquired\n");
	/* What cannot be run is not worth a daemon's while. */
	assert_int_equal(ctl(fake, RUN, "no-such-command", NULL), EXIT_RUN_NOT_FOUND);
	assert_string_equal(
		ctl_err, "vfioctl: cannot run no-such-command: No such file or directory\n");
	assert_int_equal(ctl(fake, RUN, "", NULL), EXIT_RUN_NOT_FOUND);
	assert_int_equal(ctl(fake, RUN, "/etc", NULL), EXIT_RUN_CANNOT_EXECUTE);
	assert_int_equal(ctl(NULL, RUN, "/etc/passwd", NULL), EXIT_RUN_CANNOT_EXECUTE);
	assert_int_equal(ctl(fake, "run", "--device", "", "--", "echo", NULL), EXIT_RUN_FAILED);
	assert_string_equal(ctl_err, "vfioctl run: --device '': neither a device nor a group\n"
				     "See vfioctl run --help.\n");
	assert_int_equal(ctl(fake, "run", "--group", "99", "--", "echo", NULL), EXIT_RUN_FAILED);
	assert_string_equal(ctl_err, "vfioctl: there is no group 99; `vfioctl list "
				     "--all` shows them all\n");
	assert_int_equal(ctl(fake, "run", "--group", "x", "--", "echo", NULL), EXIT_RUN_FAILED);
	assert_int_equal(ctl(fake, "run", "--wait", "-1", "--", "echo", NULL), EXIT_RUN_FAILED);
	assert_int_equal(ctl(fake, "run", "--wait", "604801", "--", "echo", NULL), EXIT_RUN_FAILED);
	assert_string_equal(ctl_err, "vfioctl run: --wait 604801: not a number of seconds up to "
				     "604800 (7 days)\nSee vfioctl run --help.\n");
	assert_int_equal(ctl(fake, "run", "--wait", "604800", "--", "echo", NULL), EXIT_RUN_FAILED);
	assert_string_equal(ctl_err,
		"vfioctl run: which --device, --group or --any?\nSee vfioctl run --help.\n");
	assert_int_equal(ctl(fake, "run", "--group", "7", NULL), EXIT_RUN_FAILED);
	assert_string_equal(ctl_err, "vfioctl run: which command?\nSee vfioctl run --help.\n");
	assert_int_equal(ctl(fake, "run", "echo", NULL), EXIT_RUN_FAILED);
	assert_string_equal(ctl_err,
		"vfioctl run: which --device, --group or --any?\nSee vfioctl run --help.\n");
	assert_int_equal(ctl(NULL, RUN, "echo", NULL), EXIT_RUN_FAILED);
	fake_stop(fake);
	expect_no_calls = 0;
}

static void answer_other_groups(struct fake *fake, int peer, const char *method,
	struct json_object *parameters, const int *fds, size_t n_fds)
{
	if (is(method, "org.vfiod.Broker.Acquire")) {
		int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

		holder = fcntl(fds[0], F_DUPFD_CLOEXEC, 0);
		stream = peer;
		fake_reply_fds(fake, peer, true,
			"{\"event\":\"granted\",\"lease\":\"3\",\"token\":\"secret\",\"groups\":["
			"{\"number\":14,\"devices\":[],\"groupFileDescriptor\":0}]}",
			&fd, 1);
		close(fd);
	} else {
		answer_run(fake, peer, method, parameters, fds, n_fds);
	}
}

/* Hot-plug between Describe and Acquire: CMD's arguments would lie. */
static void groups_that_changed_meanwhile_start_nothing(void **state)
{
	struct fake *fake = fake_start(answer_other_groups);

	(void)state;
	assert_int_equal(ctl(fake, RUN, "echo", "started", NULL), EXIT_RUN_FAILED);
	assert_string_equal(ctl_out, "");
	assert_string_equal(ctl_err, "vfioctl: cannot hand the groups to echo: the groups have "
				     "changed, try again\n");
	fake_stop(fake);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_restart_does_not_end_the_wait),
		cmocka_unit_test(what_is_refused_ends_the_wait),
		cmocka_unit_test(cmd_has_the_groups_and_nothing_else),
		cmocka_unit_test(memory_is_asked_for),
		cmocka_unit_test(the_exit_status_is_cmds),
		cmocka_unit_test(signals_are_passed_on),
		cmocka_unit_test(killing_vfioctl_leaves_cmd_alone),
		cmocka_unit_test(what_happens_to_the_lease_is_told),
		cmocka_unit_test(a_daemon_that_goes_takes_nothing_along),
		cmocka_unit_test(a_group_that_stays_open_is_named),
		cmocka_unit_test(a_refusal_starts_nothing),
		cmocka_unit_test(groups_that_changed_meanwhile_start_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
