/*
 * kill-points --what take|return --how lease|admin --who daemon|child [--all-calls]
 *             [--every K [--from N]] [--only N] CONFIGURATION SOCKET STATE-DIRECTORY DEVICE
 *
 * Kills the daemon, or its bind child, at each system call with an effect that it makes in a take
 * or a return of the device's group (tracer.h), one run for each. A killed daemon is started again.
 * Each time, when all has settled, the group has to be wholly the host's, with its drivers and
 * overrides, and the journal empty; or wholly taken, if it was to stay so, with one entry, from
 * which it goes back.
 *
 *   --how lease   a client acquires; the lease ends with its connection
 *   --how admin   an administrator takes the group, to stay, and returns it
 *                 To the child both are the same.
 *   --all-calls   at the calls without an effect, too
 *   --every K     only each K-th point, beginning with the N-th of --from
 *   --only N      only that point
 *
 * Prints one line: how many calls an undisturbed run makes, how many of these have an effect, and
 * how many points were tried.
 */
#include "tests/vm/programs/group-state.h"
#include "tests/vm/programs/program.h"
#include "tests/vm/programs/tracer.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PATIENCE_SECONDS 60

struct sweep {
	bool returns;  /* else takes */
	bool is_admin; /* else a lease */
	bool all_calls;
	enum tracer_who who;
	const char *what_text, *how_text, *who_text;
	const char *configuration, *socket, *state_directory, *device;
	struct group_state group;
	pid_t daemon;
	int client; /* the connection that has the lease, or works for the administrator; -1: none
		     */
	int group_fd;
	unsigned point;
};

static double now_seconds(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void pause_briefly(void)
{
	static const struct timespec pause = { .tv_nsec = 2000000 };
	nanosleep(&pause, NULL);
}

static _Noreturn void wrong(const struct sweep *sweep, const char *what)
{
	char text[8192];

	printf("FAILED: %s of %s, %s, %s killed at call %u: %s\n", sweep->what_text, sweep->device,
		sweep->how_text, sweep->who_text, sweep->point, what);
	group_state_print(&sweep->group);
	journal_text(sweep->state_directory, sweep->group.number, text, sizeof(text));
	printf("%zu files in the journal. %s\n", journal_count(sweep->state_directory), text);
	exit(EXIT_WRONG);
}

/* --- the daemon ------------------------------------------------------------------------- */

static int try_connect(const struct sweep *sweep)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", sweep->socket);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		err(EXIT_SYSTEM, "socket");
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
		return fd;
	close(fd);
	return -1;
}

static bool daemon_has_ended(struct sweep *sweep)
{
	int status;

	if (sweep->daemon && waitpid(sweep->daemon, &status, WNOHANG) == sweep->daemon) {
		sweep->daemon = 0;
		if (WIFSIGNALED(status) && WTERMSIG(status) != SIGKILL)
			wrong(sweep, "the daemon has crashed");
	}
	return !sweep->daemon;
}

static void daemon_start(struct sweep *sweep)
{
	sweep->daemon = fork();
	if (sweep->daemon < 0)
		err(EXIT_SYSTEM, "fork");
	if (sweep->daemon == 0) {
		execlp("vfiod", "vfiod", "--config", sweep->configuration, "--socket",
			sweep->socket, "--state-dir", sweep->state_directory, NULL);
		err(EXIT_SYSTEM, "vfiod");
	}
}

/*
 * Has a connection to a daemon afterwards. For a moment after its fork a child of the one that was
 * killed has the listening socket, too: the next daemon finds it in use then, and is started once
 * more, as systemd would; or this connection is one that nobody will ever accept.
 */
static void daemon_need(struct sweep *sweep)
{
	double end = now_seconds() + PATIENCE_SECONDS;
	int n_starts = 0;

	do {
		if (daemon_has_ended(sweep) && n_starts++ == 3)
			wrong(sweep, "the daemon does not start");
		if (!sweep->daemon)
			daemon_start(sweep);
		pause_briefly();
		sweep->client = try_connect(sweep);
		if (sweep->client < 0 && now_seconds() > end)
			wrong(sweep, "the daemon does not answer");
	} while (sweep->client < 0);
}

static void daemon_end(struct sweep *sweep)
{
	int status;

	kill(sweep->daemon, SIGTERM);
	while (waitpid(sweep->daemon, &status, 0) < 0)
		if (errno != EINTR)
			err(EXIT_SYSTEM, "waitpid");
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		wrong(sweep, "the daemon did not end well");
	sweep->daemon = 0;
}

/* --- messages ---------------------------------------------------------------------------- */

static void client_close(struct sweep *sweep)
{
	if (sweep->group_fd >= 0)
		close(sweep->group_fd);
	if (sweep->client >= 0)
		close(sweep->client);
	sweep->group_fd = sweep->client = -1;
}

static void keep_fd(struct sweep *sweep, struct msghdr *message)
{
	struct cmsghdr *header = CMSG_FIRSTHDR(message);

	if (header && header->cmsg_type == SCM_RIGHTS && header->cmsg_len == CMSG_LEN(sizeof(int)))
		memcpy(&sweep->group_fd, CMSG_DATA(header), sizeof(sweep->group_fd));
}

/* One message and its answer: false if the connection was closed instead. */
static bool call(struct sweep *sweep, const char *message, char *answer, size_t size)
{
	size_t used = 0;

	/* A daemon that is dead has closed its end: told by the recvmsg. */
	if (send(sweep->client, message, strlen(message) + 1, MSG_NOSIGNAL) < 0)
		return false;
	for (;;) {
		char control[CMSG_SPACE(sizeof(int))];
		struct iovec part = { answer + used, size - used };
		struct msghdr header = {
			.msg_iov = &part,
			.msg_iovlen = 1,
			.msg_control = control,
			.msg_controllen = sizeof(control),
		};
		ssize_t n = recvmsg(sweep->client, &header, MSG_CMSG_CLOEXEC);
		if (n <= 0)
			return false;
		keep_fd(sweep, &header);
		used += (size_t)n;
		if (answer[used - 1] == '\0')
			return true;
		if (used == size)
			errx(EXIT_SYSTEM, "an answer of more than %zu bytes", size);
	}
}

static bool is_error(const char *answer)
{
	return strstr(answer, "\"error\":");
}

static void make_message(const struct sweep *sweep, bool returns, char *message, size_t size)
{
	if (sweep->is_admin)
		snprintf(message, size,
			"{\"method\":\"org.vfiod.Admin.%s\",\"parameters\":{\"device\":\"%s\"}}",
			returns ? "Return" : "Take", sweep->device);
	else
		snprintf(message, size,
			"{\"method\":\"org.vfiod.Broker.Acquire\",\"more\":true,\"parameters\":"
			"{\"selectors\":[{\"device\":\"%s\"}]}}",
			sweep->device);
}

/* --- what must be so ------------------------------------------------------------------------ */

static bool is_home(const struct sweep *sweep)
{
	return journal_count(sweep->state_directory) == 0 && group_state_is_host(&sweep->group);
}

static bool is_taken(const struct sweep *sweep)
{
	char text[8192];

	if (journal_count(sweep->state_directory) != 1 || !group_state_is_taken(&sweep->group))
		return false;
	journal_text(sweep->state_directory, sweep->group.number, text, sizeof(text));
	return strstr(text, "\"phase\":\"taken\"") && strstr(text, "\"stay\":true");
}

static void expect(const struct sweep *sweep, bool (*is)(const struct sweep *), const char *what)
{
	double end = now_seconds() + PATIENCE_SECONDS;

	while (!is(sweep)) {
		if (now_seconds() > end)
			wrong(sweep, what);
		pause_briefly();
	}
}

/* Until the new daemon has settled what it found. */
static void expect_recovered(struct sweep *sweep)
{
	static const char status[] = "{\"method\":\"org.vfiod.Admin.Status\"}";
	double end = now_seconds() + PATIENCE_SECONDS;
	char answer[65536];

	for (;;) {
		bool is_there = call(sweep, status, answer, sizeof(answer));
		if (is_there && !is_error(answer) && !strstr(answer, "\"pending\""))
			return;
		if (now_seconds() > end)
			wrong(sweep, is_there ? "recovery does not end" : "no status");
		if (!is_there) {
			client_close(sweep);
			daemon_need(sweep);
		}
		pause_briefly();
	}
}

static void go_home(struct sweep *sweep)
{
	char message[256], answer[65536];

	make_message(sweep, true, message, sizeof(message));
	if (!call(sweep, message, answer, sizeof(answer)) || is_error(answer))
		wrong(sweep, "what is taken cannot be returned");
	expect(sweep, is_home, "it is not the host's after the return");
}

/* --- one point ------------------------------------------------------------------------------ */

/* What was asked for before the kill, to its end: 1 done, 0 refused, -1 the daemon has died. */
static int act(struct sweep *sweep, bool returns)
{
	char message[256], answer[65536];

	if (returns && !sweep->is_admin) {
		client_close(sweep);
		return 1;
	}
	make_message(sweep, returns, message, sizeof(message));
	if (!call(sweep, message, answer, sizeof(answer)))
		return -1;
	return is_error(answer) ? 0 : 1;
}

static void check_after_death(struct sweep *sweep, int answer)
{
	client_close(sweep);
	daemon_need(sweep);
	expect_recovered(sweep);
	/* A lease ends with its daemon. What an administrator was told is done is done. */
	if (!sweep->is_admin || (sweep->returns && answer == 1))
		expect(sweep, is_home, "it is not the host's again");
	else if (!sweep->returns && answer == 1)
		expect(sweep, is_taken, "it is not taken, as the administrator was told");
	else if (!is_taken(sweep) && !is_home(sweep))
		wrong(sweep, "it is neither taken nor the host's");
	/* The next run begins with the group at home. */
	if (!is_home(sweep))
		go_home(sweep);
}

static void check_alive(struct sweep *sweep, int answer)
{
	if (answer < 0 || daemon_has_ended(sweep))
		wrong(sweep, "the daemon has ended");
	if (!sweep->returns && answer == 1 && sweep->is_admin) {
		expect(sweep, is_taken, "it is not taken, as the administrator was told");
		go_home(sweep);
	}
	if (!sweep->returns && answer == 1 && !sweep->is_admin &&
		!group_state_is_taken(&sweep->group))
		wrong(sweep, "it is not taken, as the client was told");
	client_close(sweep);
	expect(sweep, is_home, "it is not the host's again");
}

static struct tracer_result run(struct sweep *sweep, unsigned kill_at)
{
	struct tracer tracer;

	sweep->point = kill_at;
	daemon_need(sweep);
	if (sweep->returns && act(sweep, false) != 1)
		wrong(sweep, "the take before the return has failed");
	tracer_start(&tracer, sweep->daemon,
		&(struct tracer_plan){
			.who = sweep->who, .only_effects = !sweep->all_calls, .kill_at = kill_at });
	int answer = act(sweep, sweep->returns);
	/* A lease's end has no answer. */
	double end = now_seconds() + PATIENCE_SECONDS;
	while (sweep->returns && !sweep->is_admin && !tracer_has_ended(&tracer) &&
		!is_home(sweep)) {
		if (now_seconds() > end)
			wrong(sweep, "the lease's end does not give it back");
		pause_briefly();
	}
	struct tracer_result result = tracer_stop(&tracer);
	if (result.has_killed && sweep->who == TRACE_DAEMON)
		check_after_death(sweep, answer);
	else
		check_alive(sweep, answer);
	client_close(sweep);
	return result;
}

static void sweep_run(struct sweep *sweep, unsigned from, unsigned every, unsigned only)
{
	double began = now_seconds();
	unsigned n_tried = 0;

	daemon_need(sweep);
	if (!is_home(sweep))
		wrong(sweep, "the group is not the host's to begin with");
	client_close(sweep);
	struct tracer_result whole = { 0 };
	if (!only)
		whole = run(sweep, 0);
	unsigned n_points = sweep->all_calls ? whole.n_calls : whole.n_effects;
	for (unsigned point = only ? only : from;; point += every) {
		bool was_reached = run(sweep, point).has_killed;
		n_tried += was_reached;
		/* Runs differ by some calls: the end is where neither this one nor the first was.
		 */
		if (only || (!was_reached && point >= n_points))
			break;
	}
	daemon_need(sweep);
	client_close(sweep);
	daemon_end(sweep);
	printf("%s, %s, %s, devices: %zu: N = %u, with an effect %u; killed at %u (every %u. from "
	       "%u), "
	       "all is whole; %.0f s\n",
		sweep->what_text, sweep->how_text, sweep->who_text,
		group_state_n_moved(&sweep->group), whole.n_calls, whole.n_effects, n_tried, every,
		only ? only : from, now_seconds() - began);
}

static bool choose(const char *text, const char *no, const char *yes)
{
	if (strcmp(text, no) != 0 && strcmp(text, yes) != 0)
		errx(EXIT_USAGE, "neither %s nor %s: %s", no, yes, text);
	return strcmp(text, yes) == 0;
}

int main(int argc, char *argv[])
{
	static const struct option options[] = {
		{ "what", required_argument, NULL, 't' },
		{ "how", required_argument, NULL, 'h' },
		{ "who", required_argument, NULL, 'w' },
		{ "every", required_argument, NULL, 'e' },
		{ "from", required_argument, NULL, 'f' },
		{ "only", required_argument, NULL, 'o' },
		{ "all-calls", no_argument, NULL, 'a' },
		{ NULL, 0, NULL, 0 },
	};
	struct sweep sweep = {
		.what_text = "take",
		.how_text = "lease",
		.who_text = "daemon",
		.client = -1,
		.group_fd = -1,
	};
	unsigned from = 1, every = 1, only = 0;
	int option;

	setvbuf(stdout, NULL, _IOLBF, 0);
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 't')
			sweep.what_text = optarg;
		else if (option == 'h')
			sweep.how_text = optarg;
		else if (option == 'w')
			sweep.who_text = optarg;
		else if (option == 'a')
			sweep.all_calls = true;
		else if (option == 'e')
			every = (unsigned)program_number(optarg, UINT_MAX);
		else if (option == 'f')
			from = (unsigned)program_number(optarg, UINT_MAX);
		else if (option == 'o')
			only = (unsigned)program_number(optarg, UINT_MAX);
		else
			errx(EXIT_USAGE, "see tests/vm/programs/kill-points.c");
	}
	if (argc - optind != 4 || every == 0 || from == 0)
		errx(EXIT_USAGE, "see tests/vm/programs/kill-points.c");
	sweep.returns = choose(sweep.what_text, "take", "return");
	sweep.is_admin = choose(sweep.how_text, "lease", "admin");
	sweep.who = choose(sweep.who_text, "daemon", "child") ? TRACE_CHILDREN : TRACE_DAEMON;
	sweep.configuration = argv[optind];
	sweep.socket = argv[optind + 1];
	sweep.state_directory = argv[optind + 2];
	sweep.device = argv[optind + 3];
	group_state_read(&sweep.group, sweep.device);
	sweep_run(&sweep, from, every, only);
	return 0;
}
