/*
 * What a new broker makes of what an earlier one had lent: it goes on, group by group, and what
 * does not fit ends safely; each write of a record failing. Real inventory, real children, the
 * kernel of kernel.h.
 */
#include "tests/mock/kernel.h"
#include "tests/mock/testbed.h"

#include "daemon/base/log.h"
#include "daemon/base/record.h"
#include "daemon/base/util.h"
#include "daemon/broker/restoring-parts.h"
#include "daemon/inventory/internal.h"

#include <errno.h>
#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include <cmocka.h>

#define FIRST "0000:01:00.0"
#define SECOND "0000:02:00.0"
#define CONNECTION 7
#define ALICE 1000

/* An administrator, so that no control group is asked. */
#define RULES                                                                                      \
	"[rule all]\nmatch = pci:address=0000:*\nallow = user:1000\nallow = user:1001\n"           \
	"[daemon]\nadmin = user:1000\n"

#define STAYING_RULES                                                                              \
	"[rule all]\nmatch = pci:address=0000:*\nallow = user:1000\nreturn = no\n"                 \
	"[daemon]\nadmin = user:1000\n"

struct client {
	struct lease *lease; /* NULL: over */
	bool is_granting, is_granted, is_stream, is_release_requested;
	unsigned n_visits;
	char end[64], gone[96];
	struct refusal refusal;
};

struct bench {
	struct testbed *bed;
	struct mock_kernel *kernel;
	struct ev_loop *loop;
	ev_timer tick; /* so that wait_for() looks, and ends */
	struct inventory *inventory;
	struct broker *broker;
	char directory[64], state[80];
	const char *rules;
	char *syspaths[2];
	struct client client, other;
	pid_t process; /* 0: none */
	bool cdev;     /* the next lease's mode */
};

static void tick(struct ev_loop *loop, ev_timer *timer, int revents)
{
	(void)loop;
	(void)timer;
	(void)revents;
}

static struct config *config_new(const struct bench *bench)
{
	char path[128];
	struct config *config;
	struct refusal refusal;

	snprintf(path, sizeof(path), "%s/vfiod.conf", bench->directory);
	assert_int_equal(file_write_atomic(path, bench->rules, strlen(bench->rules)), 0);
	if (config_read(path, &config, &refusal) != 0)
		fail_msg("%s", refusal.text);
	return config;
}

static void start(struct bench *bench)
{
	assert_int_equal(inventory_new_at(bench->loop, testbed_udev_directory(bench->bed),
				 &bench->inventory),
		0);
	assert_int_equal(broker_new(bench->loop, bench->inventory, config_new(bench), bench->state,
				 mock_kernel_ops(bench->kernel), NULL, &bench->broker),
		0);
	inventory_listen(bench->inventory, broker_on_inventory, bench->broker);
}

/* As kill -9 would, but for what this process has open. */
static void stop(struct bench *bench)
{
	broker_leave(bench->broker);
	inventory_listen(bench->inventory, NULL, NULL);
	bench->broker = broker_free(bench->broker);
	bench->inventory = inventory_free(bench->inventory);
}

static int set_up(void **state)
{
	struct bench *bench = calloc(1, sizeof(*bench));

	assert_non_null(bench);
	log_open(LOG_EMERG);
	bench->loop = ev_default_loop(EVFLAG_NOENV);
	bench->bed = testbed_new();
	bench->kernel = mock_kernel_new();
	snprintf(bench->directory, sizeof(bench->directory), "/tmp/vfiod-restoring.XXXXXX");
	assert_non_null(mkdtemp(bench->directory));
	snprintf(bench->state, sizeof(bench->state), "%s/state", bench->directory);
	ev_timer_init(&bench->tick, tick, 0.01, 0.01);
	ev_timer_start(bench->loop, &bench->tick);
	static const char *const names[] = { FIRST, SECOND };
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		bench->syspaths[i] = testbed_add_pci(bench->bed, names[i], (int)i + 1, "e1000");
		testbed_set_attribute(
			bench->bed, bench->syspaths[i], "driver_override", "(null)\n");
	}
	bench->rules = RULES;
	start(bench);
	*state = bench;
	return 0;
}

static int tear_down(void **state)
{
	struct bench *bench = *state;
	char command[128];

	if (bench->process)
		kill(bench->process, SIGKILL);
	inventory_listen(bench->inventory, NULL, NULL);
	broker_free(bench->broker);
	inventory_free(bench->inventory);
	for (size_t i = 0; i < ARRAY_SIZE(bench->syspaths); i++)
		free(bench->syspaths[i]);
	ev_timer_stop(bench->loop, &bench->tick);
	snprintf(command, sizeof(command), "rm -r %s", bench->directory);
	assert_int_equal(system(command), 0); /* NOLINT(cert-env33-c) */
	mock_kernel_free(bench->kernel);
	testbed_free(bench->bed);
	free(bench);
	return 0;
}

/* Runs the loop until it holds; 20 seconds, then the test has failed. */
#define wait_for(bench, condition)                                                                 \
	do {                                                                                       \
		int turns_ = 2000;                                                                 \
		while (!(condition) && turns_-- > 0)                                               \
			ev_run((bench)->loop, EVRUN_ONCE);                                         \
		assert_true(condition);                                                            \
	} while (0)

/* --- the client ---------------------------------------------------------------------------------
 */

static void on_granting(struct lease *lease, void *userdata)
{
	(void)lease;
	((struct client *)userdata)->is_granting = true;
}

static void on_granted(struct lease *lease, int *group_fds, void *userdata)
{
	(void)lease;
	(void)group_fds;
	((struct client *)userdata)->is_granted = true;
}

static void on_event(struct lease *lease, enum lease_event event, const char *text, void *userdata)
{
	struct client *client = userdata;
	size_t length = strlen(client->gone);

	(void)lease;
	if (event == LEASE_RELEASE_REQUESTED)
		client->is_release_requested = true;
	else
		snprintf(client->gone + length, sizeof(client->gone) - length, "%s ", text);
}

static void on_refused(struct lease *lease, const struct refusal *refusal, void *userdata)
{
	struct client *client = userdata;

	(void)lease;
	client->refusal = *refusal;
	client->lease = NULL;
}

static void on_ended(struct lease *lease, const char *reason, void *userdata)
{
	struct client *client = userdata;

	(void)lease;
	string_copy(client->end, sizeof(client->end), reason);
	client->lease = NULL;
}

static const struct lease_listener listener = {
	.granting = on_granting,
	.granted = on_granted,
	.event = on_event,
	.refused = on_refused,
	.ended = on_ended,
};

static struct subject subject_of(pid_t pid)
{
	static gid_t groups[] = { 27, 1000 };
	struct subject subject = {
		.uid = ALICE,
		.gid = ALICE,
		.groups = groups,
		.n_groups = ARRAY_SIZE(groups),
		.process_uid = ALICE,
		.pid = pid,
		.unit = "qemu.service",
		.command = "qemu",
	};
	assert_int_equal(process_start_time(pid, &subject.start_ticks), 0);
	return subject;
}

static void begin_to_ask(struct bench *bench, const struct subject *subject, int pidfd)
{
	struct group *groups[] = {
		inventory_group(bench->inventory, 1),
		inventory_group(bench->inventory, 2),
	};
	struct acquire_request request = {
		.subject = subject,
		.groups = groups,
		.n_groups = ARRAY_SIZE(groups),
		.holder_pidfd = pidfd,
		.connection = CONNECTION,
		.is_stream = true,
		.cdev = bench->cdev,
		.listener = &listener,
		.userdata = &bench->client,
	};
	bench->client = (struct client){ 0 };
	assert_int_equal(broker_acquire(bench->broker, &request, &bench->client.lease,
				 &bench->client.refusal),
		0);
}

static void ask(struct bench *bench, const struct subject *subject, int pidfd)
{
	begin_to_ask(bench, subject, pidfd);
	wait_for(bench, bench->client.is_granted || !bench->client.lease);
}

static void grant(struct bench *bench)
{
	struct subject subject = subject_of(getpid());

	ask(bench, &subject, -1);
	assert_true(bench->client.is_granting);
	assert_true(bench->client.is_granted);
}

/* One whose lease follows a process, which runs until it is killed. */
static void grant_following(struct bench *bench)
{
	bench->process = fork();
	assert_true(bench->process >= 0);
	if (bench->process == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			pause();
	}
	struct subject subject = subject_of(bench->process);
	ask(bench, &subject, pidfd_open(bench->process, 0));
	assert_true(bench->client.is_granted);
}

static void end_process(struct bench *bench)
{
	kill(bench->process, SIGKILL);
	/* libev may have reaped it. */
	waitpid(bench->process, NULL, 0);
	bench->process = 0;
}

static void visit(struct lease *lease, bool is_stream, void *userdata)
{
	struct client *client = userdata;

	client->n_visits++;
	client->lease = lease;
	client->is_stream = is_stream;
	lease_listen(lease, &listener, client);
}

/* A new daemon, and the client's connection has come back. */
static void restart(struct bench *bench)
{
	bench->client = (struct client){ 0 };
	start(bench);
	broker_reconnect(bench->broker, CONNECTION + 1, visit, &bench->client);
	assert_int_equal(bench->client.n_visits, 0);
	broker_reconnect(bench->broker, CONNECTION, visit, &bench->client);
	broker_restored(bench->broker);
}

/* --- what there is ------------------------------------------------------------------------------
 */

static struct group *group_of(const struct bench *bench, int number)
{
	return inventory_group(bench->inventory, number);
}

static bool is_leased(const struct bench *bench, int number)
{
	struct group *group = group_of(bench, number);
	return group->binding == BINDING_TAKEN && group->owner == OWNER_LEASED &&
	       lease_book_owner(broker_book(bench->broker), group);
}

static bool is_home(const struct bench *bench, int number)
{
	struct group *group = group_of(bench, number);
	return group->binding == BINDING_HOST && group->owner == OWNER_NONE &&
	       !holding_find(bench->broker, group);
}

static void count(const char *name, int version, struct json_object *json, const char *problem,
	void *userdata)
{
	(void)name;
	(void)version;
	(void)problem;
	json_object_put(json);
	++*(unsigned *)userdata;
}

static unsigned n_records(const struct bench *bench)
{
	unsigned n = 0;
	assert_int_equal(
		record_each(bench->state, LEASE_RECORDS, LEASE_RECORD_VERSION, count, &n), 0);
	return n;
}

static unsigned n_leases(const struct bench *bench)
{
	return (unsigned)lease_book_count(broker_book(bench->broker), LEASE_GRANTED);
}

static void assert_all_home(struct bench *bench)
{
	wait_for(bench, is_home(bench, 1) && is_home(bench, 2));
	assert_int_equal(n_records(bench), 0);
	assert_int_equal(n_leases(bench), 0);
}

static void end_lease(struct bench *bench)
{
	broker_end(bench->broker, bench->client.lease, "it was enough");
	assert_null(bench->client.lease);
	assert_string_equal(bench->client.end, "it was enough");
	assert_all_home(bench);
}

/* --- files --------------------------------------------------------------------------------------
 */

static void path_of(const struct bench *bench, const char *file, char path[PATH_MAX])
{
	snprintf(path, PATH_MAX, "%s/%s", bench->state, file);
}

static void edit(struct bench *bench, const char *file, const char *text, const char *other)
{
	char path[PATH_MAX], before[8192], after[8192];

	path_of(bench, file, path);
	assert_true(file_read(path, before, sizeof(before)) > 0);
	char *at = strstr(before, text);
	if (!at)
		fail_msg("no %s in %s", text, before);
	snprintf(after, sizeof(after), "%.*s%s%s", (int)(at - before), before, other,
		at + strlen(text));
	assert_int_equal(file_write_atomic(path, after, strlen(after)), 0);
}

/* No record can be written, nor removed, until it is shown again. */
static void hide_records(struct bench *bench, bool hidden)
{
	char there[PATH_MAX], elsewhere[PATH_MAX];

	path_of(bench, LEASE_RECORDS, there);
	path_of(bench, "elsewhere", elsewhere);
	assert_int_equal(rename(hidden ? there : elsewhere, hidden ? elsewhere : there), 0);
}

/* --- it goes on ---------------------------------------------------------------------------------
 */

static void test_goes_on(void **state)
{
	struct bench *bench = *state;

	grant(bench);
	const struct lease *before = bench->client.lease;
	char token[33];
	double granted_at = before->granted_at;
	string_copy(token, sizeof(token), before->token);
	assert_string_equal(before->name, "L1");
	unsigned n_writes = mock_kernel_n_writes(bench->kernel);
	stop(bench);
	restart(bench);

	assert_int_equal(bench->client.n_visits, 1);
	assert_true(bench->client.is_stream);
	const struct lease *lease = bench->client.lease;
	assert_non_null(lease);
	assert_string_equal(lease->name, "L1");
	assert_string_equal(lease->token, token);
	assert_string_equal(lease->account, "uid:1000");
	assert_true(
		lease->granted_at > granted_at - 0.001 && lease->granted_at < granted_at + 0.001);
	assert_int_equal(lease->connection, CONNECTION);
	assert_true(lease->is_stream && lease->is_trusted && !lease->stay && !lease->brokered);
	assert_true(lease->memory_max_bytes == UINT64_MAX);
	assert_int_equal(lease->subject.uid, ALICE);
	assert_int_equal(lease->subject.n_groups, 2);
	assert_int_equal(lease->subject.groups[0], 27);
	assert_int_equal(lease->subject.pid, getpid());
	assert_string_equal(lease->subject.unit, "qemu.service");
	assert_string_equal(lease->subject.command, "qemu");
	assert_true(is_leased(bench, 1) && is_leased(bench, 2));
	assert_int_equal(mock_kernel_n_writes(bench->kernel), n_writes);
	assert_string_equal(bench->client.gone, "");
	/* Once more, and nothing has been forgotten. */
	stop(bench);
	restart(bench);
	assert_int_equal(bench->client.n_visits, 1);
	assert_true(is_leased(bench, 1) && is_leased(bench, 2));
	end_lease(bench);
	grant(bench);
	assert_string_equal(bench->client.lease->name, "L2");
}

/* As the vfiod before has written it. */
static void test_first_version(void **state)
{
	struct bench *bench = *state;

	grant(bench);
	stop(bench);
	edit(bench, "leases/L1.json", "\"version\":2", "\"version\":1");
	edit(bench, "leases/L1.json", "\"cdev\":false,", "");
	restart(bench);
	assert_int_equal(bench->client.n_visits, 1);
	assert_string_equal(lease_mode(bench->client.lease), "group");
	assert_false(holding_find_number(bench->broker, 1)->by_nodes);
	end_lease(bench);
}

/* Who had nodes under an earlier daemon may have kept one. */
static void test_nodes(void **state)
{
	struct bench *bench = *state;

	bench->cdev = true;
	mock_kernel_make_nodes(bench->kernel, true);
	grant(bench);
	stop(bench);
	restart(bench);
	assert_int_equal(bench->client.n_visits, 1);
	assert_string_equal(lease_mode(bench->client.lease), "cdev");
	struct holding *holding = holding_find_number(bench->broker, 1);
	assert_true(holding->by_nodes);
	holding->stay = true;
	unsigned n_writes = mock_kernel_n_writes(bench->kernel);
	broker_end(bench->broker, bench->client.lease, "it was enough");
	wait_for(bench, holding->state == HOLDING_IDLE && is_home(bench, 2));
	assert_false(holding->by_nodes);
	/* An unbind and a bind; and override, unbind, bind of the other one. */
	assert_int_equal(mock_kernel_n_writes(bench->kernel), n_writes + 5);
}

static bool is_ready(const struct bench *bench, int number)
{
	struct group *group = group_of(bench, number);
	return group->binding == BINDING_TAKEN && group->owner == OWNER_NONE &&
	       group_is_free(bench->broker, group);
}

static bool is_there(const struct bench *bench, const char *file)
{
	char path[PATH_MAX];

	path_of(bench, file, path);
	return access(path, F_OK) == 0;
}

static void end_and_stay(struct bench *bench)
{
	if (bench->client.lease)
		broker_end(bench->broker, bench->client.lease, "it was enough");
	wait_for(bench, !bench->client.lease && is_ready(bench, 1) && is_ready(bench, 2));
}

/* The next one's draft is a file of its own. Who looks for records removes drafts. */
static void end_on_ready(struct bench *bench)
{
	end_and_stay(bench);
	drafts_free(bench->broker);
	assert_int_equal(n_records(bench), 0);
}

static bool is_kept(const struct bench *bench, int number)
{
	const struct holding *holding = holding_find_number(bench->broker, number);
	return holding && holding->state == HOLDING_IDLE && holding->group_fd >= 0;
}

/* A doorman is on his way to the first group, and does not come back. */
static void ask_at_gate(struct bench *bench)
{
	struct subject subject = subject_of(getpid());

	for (int number = 1; number <= 2; number++)
		if (is_kept(bench, number))
			holding_drop_kept(holding_find_number(bench->broker, number));
	mock_kernel_gate(bench->kernel, "/dev/vfio/1");
	begin_to_ask(bench, &subject, -1);
	wait_for(bench, mock_kernel_has_arrived(bench->kernel));
}

/* On groups that are taken already the record is drafted while they are opened. */
static void test_ready(void **state)
{
	struct bench *bench = *state;
	struct subject subject = subject_of(getpid());

	stop(bench);
	bench->rules = STAYING_RULES;
	start(bench);
	broker_restored(bench->broker);
	grant(bench);
	end_on_ready(bench);

	ask_at_gate(bench);
	assert_true(is_there(bench, "leases/L2.json"));
	assert_false(bench->client.is_granted);
	mock_kernel_gate(bench->kernel, "");
	wait_for(bench, bench->client.is_granted);
	assert_int_equal(n_records(bench), 1);
	stop(bench);
	restart(bench);
	assert_string_equal(bench->client.lease->name, "L2");
	assert_true(is_leased(bench, 1) && is_leased(bench, 2));
	end_on_ready(bench);

	/* It ends before it was granted. */
	ask_at_gate(bench);
	assert_true(is_there(bench, "leases/L3.json"));
	broker_end(bench->broker, bench->client.lease, "it was enough");
	mock_kernel_gate(bench->kernel, "");
	wait_for(bench, !bench->client.lease);
	end_on_ready(bench);
	assert_false(is_there(bench, "leases/L3.json"));

	/* The daemon ends before. */
	ask_at_gate(bench);
	assert_true(is_there(bench, "leases/L4.json"));
	stop(bench);
	mock_kernel_gate(bench->kernel, "");
	start(bench);
	broker_restored(bench->broker);
	assert_false(is_there(bench, "leases/L4.json"));
	assert_int_equal(n_leases(bench), 0);
	bench->client.lease = NULL;
	end_on_ready(bench);

	hide_records(bench, true);
	ask(bench, &subject, -1);
	hide_records(bench, false);
	assert_false(bench->client.is_granted);
	assert_int_equal(bench->client.refusal.errnum, ENOENT);
	end_on_ready(bench);
}

/* A record that is where an earlier lease's was is taken over, written anew and removed there. */
static void test_record_of_another_name(void **state)
{
	struct bench *bench = *state;

	stop(bench);
	bench->rules = STAYING_RULES;
	start(bench);
	broker_restored(bench->broker);
	for (int i = 0; i < 2; i++) {
		grant(bench);
		end_and_stay(bench);
	}
	grant(bench);
	assert_string_equal(bench->client.lease->name, "L3");
	assert_true(is_there(bench, "leases/L2.json"));
	stop(bench);
	restart(bench);
	assert_string_equal(bench->client.lease->name, "L3");
	assert_true(is_leased(bench, 1) && is_leased(bench, 2));
	broker_request_release(bench->broker, bench->client.lease, "it is wanted");
	assert_true(is_there(bench, "leases/L2.json"));
	assert_false(is_there(bench, "leases/L3.json"));
	stop(bench);
	restart(bench);
	assert_string_equal(bench->client.lease->name, "L3");
	assert_true(bench->client.lease->is_release_requested);
	assert_int_equal(n_records(bench), 1);
	end_on_ready(bench);
	assert_false(is_there(bench, "leases/L2.json"));
}

/*
 * A group that stays taken is open after a lease, for the next one: it needs nobody to open it.
 * Not for long, and not if a device of it has changed meanwhile.
 */
static void test_kept(void **state)
{
	struct bench *bench = *state;

	stop(bench);
	bench->rules = STAYING_RULES;
	start(bench);
	broker_restored(bench->broker);
	bench->broker->keep_seconds = 1000;
	grant(bench);
	assert_false(is_kept(bench, 1));
	end_and_stay(bench);
	assert_true(is_kept(bench, 1) && is_kept(bench, 2));
	mock_kernel_gate(bench->kernel, "/dev/vfio/1");
	grant(bench);
	assert_false(mock_kernel_has_arrived(bench->kernel));
	assert_false(is_kept(bench, 1));
	assert_string_equal(bench->client.lease->name, "L2");
	assert_true(is_there(bench, "leases/L2.json"));
	mock_kernel_gate(bench->kernel, "");
	end_and_stay(bench);

	/* One of two: the other one is opened. */
	holding_drop_kept(holding_find_number(bench->broker, 1));
	grant(bench);
	broker_end(bench->broker, bench->client.lease, "it was enough");
	/* Nor is the file of the last record, which is the next one's draft. */
	assert_true(is_there(bench, "leases/L2.json"));
	assert_false(is_there(bench, "leases/L3.json"));
	end_and_stay(bench);
	assert_true(is_there(bench, "leases/L2.json"));
	bench->broker->keep_seconds = 0.1;
	grant(bench);
	end_and_stay(bench);
	wait_for(bench, !is_there(bench, "leases/L2.json"));
	assert_false(is_there(bench, "leases/L4.json"));
	wait_for(bench, is_ready(bench, 1) && is_ready(bench, 2));
	wait_for(bench, !is_kept(bench, 1) && !is_kept(bench, 2));
	bench->broker->keep_seconds = 1000;
	grant(bench);
	end_and_stay(bench);
	free(testbed_add_pci(bench->bed, "0000:03:00.0", 1, "vfio-pci"));
	wait_for(bench, !is_kept(bench, 1));
}

/* No name is used again while the host runs, whatever became of its lease. */
static void test_names(void **state)
{
	struct bench *bench = *state;
	char path[PATH_MAX], before[256];

	grant(bench);
	end_lease(bench);
	path_of(bench, "counters/names.json", path);
	ssize_t length = file_read(path, before, sizeof(before));
	assert_true(length > 0);
	stop(bench);
	start(bench);
	broker_restored(bench->broker);
	grant(bench);
	assert_string_equal(bench->client.lease->name, "L2");
	end_lease(bench);
	stop(bench);
	/* It was killed, and could not say how far they have come. */
	assert_int_equal(file_write_atomic(path, before, (size_t)length), 0);
	start(bench);
	broker_restored(bench->broker);
	grant(bench);
	assert_string_equal(bench->client.lease->name, "L66");
	end_lease(bench);
	stop(bench);
	/* Damaged: they begin again, and that is all. */
	assert_int_equal(file_write_atomic(path, "{", 1), 0);
	start(bench);
	broker_restored(bench->broker);
	grant(bench);
	assert_string_equal(bench->client.lease->name, "L1");
	end_lease(bench);
}

/* What the client asks, and who asks it: only its own user, by its token. */
static void test_resumed(void **state)
{
	struct bench *bench = *state;
	struct subject alice = subject_of(getpid()), bob = alice;
	struct refusal refusal;
	struct lease *lease;
	char token[33];

	bob.uid = 1001;
	grant(bench);
	string_copy(token, sizeof(token), bench->client.lease->token);
	stop(bench);
	start(bench);
	broker_restored(bench->broker);
	assert_true(is_leased(bench, 1));
	assert_int_equal(broker_resume(bench->broker, &bob, token, 3, true, &listener,
				 &bench->other, &lease, &refusal),
		REFUSED);
	assert_int_equal(refusal.kind, REFUSAL_NO_SUCH_LEASE);
	assert_int_equal(broker_resume(bench->broker, &alice, "0123", 3, true, &listener,
				 &bench->other, &lease, &refusal),
		REFUSED);
	/* It cannot be written down: nothing has changed. */
	hide_records(bench, true);
	assert_int_equal(broker_resume(bench->broker, &alice, token, 3, true, &listener,
				 &bench->other, &lease, &refusal),
		-ENOENT);
	hide_records(bench, false);
	lease = lease_book_by_token(broker_book(bench->broker), token);
	assert_null(lease->listener);
	assert_int_equal(lease->connection, 0);
	assert_true(ev_is_active(&lease->tenancy->grace));

	assert_int_equal(broker_resume(bench->broker, &alice, token, 3, true, &listener,
				 &bench->other, &bench->other.lease, &refusal),
		0);
	assert_false(ev_is_active(&lease->tenancy->grace));
	assert_int_equal(lease->connection, 3);
	assert_false(bench->other.is_granted);
	/* A connection that is alive is told that another one has it. */
	assert_int_equal(broker_resume(bench->broker, &alice, token, CONNECTION, true, &listener,
				 &bench->client, &bench->client.lease, &refusal),
		0);
	assert_null(bench->other.lease);
	assert_string_equal(bench->other.end, "it was resumed elsewhere");
	stop(bench);
	restart(bench);
	assert_int_equal(bench->client.n_visits, 1);
	end_lease(bench);
}

static void test_no_grace(void **state)
{
	struct bench *bench = *state;

	grant(bench);
	stop(bench);
	bench->rules = RULES "resume-timeout = 0\n";
	start(bench);
	assert_true(is_leased(bench, 1));
	broker_restored(bench->broker);
	assert_all_home(bench);
}

static void test_grace_ends(void **state)
{
	struct bench *bench = *state;

	grant(bench);
	stop(bench);
	bench->rules = RULES "resume-timeout = 1\n";
	start(bench);
	broker_restored(bench->broker);
	assert_int_equal(n_leases(bench), 1);
	assert_int_equal(n_records(bench), 1);
	assert_all_home(bench);
}

/* The connection's number may be another's, when the next daemon comes. */
static void test_lost_number(void **state)
{
	struct bench *bench = *state;

	grant(bench);
	stop(bench);
	start(bench);
	broker_restored(bench->broker);
	stop(bench);
	restart(bench);
	assert_int_equal(bench->client.n_visits, 0);
	assert_int_equal(n_leases(bench), 1);
}

/* --- its process ---------------------------------------------------------------------------------
 */

static void test_process_lives(void **state)
{
	struct bench *bench = *state;

	grant_following(bench);
	stop(bench);
	/* Nobody needs its connection. */
	start(bench);
	broker_restored(bench->broker);
	assert_true(is_leased(bench, 1) && is_leased(bench, 2));
	assert_int_equal(n_leases(bench), 1);
	end_process(bench);
	assert_all_home(bench);
}

static void test_process_ended(void **state)
{
	struct bench *bench = *state;

	grant_following(bench);
	stop(bench);
	end_process(bench);
	restart(bench);
	assert_int_equal(bench->client.n_visits, 1);
	assert_string_equal(bench->client.end, "its process has ended");
	assert_all_home(bench);
}

/* Its number is another process's now. */
static void test_process_is_another(void **state)
{
	struct bench *bench = *state;
	struct lease_record record;
	char text[64], other[64];

	grant_following(bench);
	snprintf(text, sizeof(text), "\"startTicks\":\"%llu\"",
		bench->client.lease->subject.start_ticks);
	snprintf(other, sizeof(other), "\"startTicks\":\"%llu\"",
		bench->client.lease->subject.start_ticks - 1);
	(void)record;
	stop(bench);
	edit(bench, "leases/L1.json", text, other);
	restart(bench);
	assert_string_equal(bench->client.end, "its process has ended");
	assert_all_home(bench);
}

/* --- what has changed meanwhile ------------------------------------------------------------------
 */

static void test_group_gone(void **state)
{
	struct bench *bench = *state;

	grant(bench);
	stop(bench);
	testbed_remove(bench->bed, bench->syspaths[1]);
	restart(bench);
	assert_string_equal(bench->client.gone, SECOND " ");
	assert_int_equal(bench->client.lease->n_groups, 1);
	assert_true(is_leased(bench, 1));
	/* It is told once. */
	stop(bench);
	restart(bench);
	assert_string_equal(bench->client.gone, "");
	stop(bench);
	testbed_remove(bench->bed, bench->syspaths[0]);
	restart(bench);
	assert_string_equal(bench->client.gone, FIRST " ");
	assert_string_equal(bench->client.end, "none of its devices is left");
	assert_int_equal(n_records(bench), 0);
}

/* The number has been used again: for another group. */
static void test_group_reused(void **state)
{
	struct bench *bench = *state;

	grant(bench);
	stop(bench);
	testbed_reuse_group(bench->bed, 2);
	restart(bench);
	assert_string_equal(bench->client.gone, SECOND " ");
	assert_int_equal(bench->client.lease->n_groups, 1);
	assert_true(is_leased(bench, 1));
	wait_for(bench, is_home(bench, 2));
	end_lease(bench);
}

static void test_moved_by_hand(void **state)
{
	struct bench *bench = *state;

	grant(bench);
	stop(bench);
	testbed_set_driver(bench->bed, bench->syspaths[1], "e1000");
	restart(bench);
	assert_string_equal(bench->client.gone, SECOND " ");
	assert_true(is_leased(bench, 1));
	/* Its journal says what the host had. */
	wait_for(bench, is_home(bench, 2));
	end_lease(bench);
}

static void test_journal_damaged(void **state)
{
	struct bench *bench = *state;

	grant(bench);
	stop(bench);
	edit(bench, "journal/2.json", "\"phase\"", "\"faze\"");
	restart(bench);
	assert_string_equal(bench->client.gone, SECOND " ");
	assert_true(is_leased(bench, 1));
	assert_int_equal(group_of(bench, 2)->binding, BINDING_FAILED);
	assert_non_null(strstr(group_of(bench, 2)->failure, "cannot be read"));
	broker_end(bench->broker, bench->client.lease, "it was enough");
	wait_for(bench, is_home(bench, 1));
}

/* Its client has it open, as far as we know: it stays his, and then where it is. */
static void test_journal_missing(void **state)
{
	struct bench *bench = *state;
	char path[PATH_MAX];

	grant(bench);
	stop(bench);
	path_of(bench, "journal/2.json", path);
	assert_int_equal(unlink(path), 0);
	restart(bench);
	assert_true(is_leased(bench, 1) && is_leased(bench, 2));
	broker_end(bench->broker, bench->client.lease, "it was enough");
	wait_for(bench, is_home(bench, 1));
	wait_for(bench, !holding_find(bench->broker, group_of(bench, 2)));
	assert_int_equal(group_of(bench, 2)->binding, BINDING_TAKEN);
	assert_int_equal(group_of(bench, 2)->owner, OWNER_NONE);
}

static void test_journal_and_drivers_missing(void **state)
{
	struct bench *bench = *state;
	char path[PATH_MAX];

	grant(bench);
	stop(bench);
	path_of(bench, "journal/2.json", path);
	assert_int_equal(unlink(path), 0);
	testbed_set_driver(bench->bed, bench->syspaths[1], "e1000");
	restart(bench);
	assert_string_equal(bench->client.gone, SECOND " ");
	assert_true(is_leased(bench, 1));
	assert_true(is_home(bench, 2));
	end_lease(bench);
}

/* The daemon was killed when the group was on its way back. */
static void test_on_its_way_back(void **state)
{
	struct bench *bench = *state;

	grant(bench);
	stop(bench);
	edit(bench, "journal/2.json", "\"taken\"", "\"returning\"");
	restart(bench);
	assert_string_equal(bench->client.gone, SECOND " ");
	wait_for(bench, is_home(bench, 2));
	assert_true(is_leased(bench, 1));
	end_lease(bench);
}

/* The last word of the take was not written: the next daemon writes it. */
static void test_take_not_written(void **state)
{
	struct bench *bench = *state;
	struct journal_entry entry;
	char text[REFUSAL_TEXT_SIZE];

	grant(bench);
	stop(bench);
	edit(bench, "journal/2.json", "\"taken\"", "\"taking\"");
	restart(bench);
	assert_true(is_leased(bench, 1) && is_leased(bench, 2));
	assert_int_equal(journal_read(bench->state, 2, &entry, text, sizeof(text)), 0);
	assert_int_equal(entry.phase, JOURNAL_TAKEN);
	assert_int_equal(entry.holder.pid, getpid());
	journal_entry_clear(&entry);
	end_lease(bench);
}

/* --- records that are none -----------------------------------------------------------------------
 */

static void given_up(void **state, const char *text, const char *other)
{
	struct bench *bench;

	tear_down(state);
	set_up(state);
	bench = *state;
	grant(bench);
	stop(bench);
	edit(bench, "leases/L1.json", text, other);
	restart(bench);
	assert_int_equal(bench->client.n_visits, 0);
	assert_all_home(bench);
}

static void test_damaged_records(void **state)
{
	given_up(state, "{", "");
	given_up(state, "\"version\":2", "\"version\":3");
	given_up(state, "\"cdev\":false,", "");
	given_up(state, "\"L1\"", "\"S1\"");
	given_up(state, "\"token\":\"", "\"token\":\"x");
	given_up(state, "\"uid\":1000", "\"uid\":-1");
	given_up(state, "\"groups\":[27", "\"groups\":[true");
	given_up(state, "\"number\":2", "\"number\":\"2\"");
	given_up(state, "\"softOwn\"", "\"own\"");
	given_up(state, "\"followsProcess\":false", "\"followsProcess\":0");
}

/* Each field, with another one in its place. */
static void test_missing_fields(void **state)
{
	static const char *const fields[] = { "lease", "token", "account", "subject", "stay",
		"brokered", "trusted", "connection", "stream", "releaseRequested", "memoryMax",
		"grantedAtMicroseconds", "reservedPages", "lock", "pid", "startTicks", "processUid",
		"unit", "command", "gid", "inode", "journalled", "devices" };

	for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
		char text[48];
		snprintf(text, sizeof(text), "\"%s\":", fields[i]);
		given_up(state, text, "\"x\":");
	}
}

static void begin_with_two(struct bench *bench, bool is_another)
{
	char path[PATH_MAX], other[PATH_MAX], text[8192];

	grant(bench);
	stop(bench);
	path_of(bench, "leases/L1.json", path);
	path_of(bench, "leases/L5.json", other);
	ssize_t length = file_read(path, text, sizeof(text));
	assert_true(length > 0);
	assert_int_equal(file_write_atomic(other, text, (size_t)length), 0);
	if (is_another)
		edit(bench, "leases/L5.json", "\"L1\"", "\"L5\"");
	start(bench);
	broker_restored(bench->broker);
	assert_int_equal(n_leases(bench), 1);
	assert_int_equal(n_records(bench), 1);
	assert_true(is_leased(bench, 1) && is_leased(bench, 2));
	assert_string_equal(
		lease_book_owner(broker_book(bench->broker), group_of(bench, 1))->name, "L1");
}

/* A group has one lease, and a lease one record: the first. */
static void test_two_records(void **state)
{
	begin_with_two(*state, true);
	tear_down(state);
	set_up(state);
	begin_with_two(*state, false);
}

/* --- each write fails --------------------------------------------------------------------------
 */

static void test_not_granted(void **state)
{
	struct bench *bench = *state;
	struct subject subject = subject_of(getpid());

	hide_records(bench, true);
	ask(bench, &subject, -1);
	hide_records(bench, false);
	assert_false(bench->client.is_granted);
	assert_int_equal(bench->client.refusal.kind, REFUSAL_SYSTEM);
	assert_int_equal(bench->client.refusal.errnum, ENOENT);
	assert_all_home(bench);
}

/* What has happened already goes on; the next daemon knows of it what it can. */
static void test_not_followed(void **state)
{
	struct bench *bench = *state;

	grant(bench);
	hide_records(bench, true);
	broker_request_release(bench->broker, bench->client.lease, "please");
	assert_true(bench->client.is_release_requested);
	testbed_remove(bench->bed, bench->syspaths[1]);
	wait_for(bench, bench->client.lease->n_groups == 1);
	hide_records(bench, false);
	stop(bench);
	restart(bench);
	assert_false(bench->client.lease->is_release_requested);
	assert_string_equal(bench->client.gone, SECOND " ");
	assert_int_equal(bench->client.lease->n_groups, 1);
	broker_request_release(bench->broker, bench->client.lease, "please");
	stop(bench);
	restart(bench);
	assert_true(bench->client.lease->is_release_requested);
	/* A record that cannot be removed is a lease whose connection is lost. */
	hide_records(bench, true);
	broker_end(bench->broker, bench->client.lease, "it was enough");
	wait_for(bench, is_home(bench, 1));
	hide_records(bench, false);
	stop(bench);
	start(bench);
	broker_restored(bench->broker);
	assert_int_equal(n_leases(bench), 0);
	assert_true(is_home(bench, 1));
	assert_int_equal(n_records(bench), 0);
}

/* An administrator has asked, and the rules say what follows: it still does. */
static void test_revoked(void **state)
{
	struct bench *bench = *state;

	grant(bench);
	broker_request_release(bench->broker, bench->client.lease, "please");
	stop(bench);
	bench->rules = "[rule all]\nmatch = pci:address=0000:*\nallow = user:1000\n"
		       "revoke = end\nrevoke-timeout = 1\n[daemon]\nadmin = user:1000\n";
	restart(bench);
	assert_true(bench->client.is_release_requested);
	wait_for(bench, !bench->client.lease);
	assert_all_home(bench);
}

static void test_account_no_longer_there(void **state)
{
	struct bench *bench = *state;

	bench->rules = RULES "[rule one]\nmatch = numa:9\naccount = vm\n";
	grant(bench);
	stop(bench);
	edit(bench, "leases/L1.json", "uid:1000", "vm");
	bench->rules = RULES;
	restart(bench);
	assert_string_equal(bench->client.lease->account, "vm");
	end_lease(bench);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(test_goes_on),
		TEST(test_first_version),
		TEST(test_nodes),
		TEST(test_ready),
		TEST(test_record_of_another_name),
		TEST(test_kept),
		TEST(test_names),
		TEST(test_resumed),
		TEST(test_no_grace),
		TEST(test_grace_ends),
		TEST(test_lost_number),
		TEST(test_process_lives),
		TEST(test_process_ended),
		TEST(test_process_is_another),
		TEST(test_group_gone),
		TEST(test_group_reused),
		TEST(test_moved_by_hand),
		TEST(test_journal_damaged),
		TEST(test_journal_missing),
		TEST(test_journal_and_drivers_missing),
		TEST(test_on_its_way_back),
		TEST(test_take_not_written),
		TEST(test_damaged_records),
		TEST(test_missing_fields),
		TEST(test_two_records),
		TEST(test_not_granted),
		TEST(test_not_followed),
		TEST(test_revoked),
		TEST(test_account_no_longer_there),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
