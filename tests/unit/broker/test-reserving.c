/* What a lease's reservation charges, refuses and raises, and when it is refunded. */
#include "daemon/base/log.h"
#include "daemon/base/record.h"
#include "daemon/broker/restoring-parts.h"
#include "tests/unit/broker/fake-memlock.h"
#include "tests/unit/lease/config-bench.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define ALICE "uid:1000"
#define PID 100

/* Rule "more" is of the devices with the id ffff:0002. */
static const char configuration[] = "[rule less]\nmatch = pci:id=ffff:0001\nallow = user:1000\n"
				    "kernel-bill-limit = 100M\n"
				    "[rule more]\nmatch = pci:id=ffff:0002\nallow = user:1000\n"
				    "[account uid]\nkernel-bill-limit = 1G\n";
#define MIB (UINT64_C(1) << 20)

enum { N_LEASES = 3 };

struct bench {
	struct broker broker;
	struct group groups[N_LEASES];
	struct device devices[N_LEASES];
	struct lease *leases[N_LEASES]; /* each of its group */
	struct tenancy tenancies[N_LEASES];
	char directory[64];
	struct fake_process *process;
	struct refusal refusal;
};

static uint64_t page(void)
{
	return (uint64_t)sysconf(_SC_PAGESIZE);
}

static void add_lease(struct bench *bench, size_t i)
{
	struct group *group = &bench->groups[i];
	struct device *device = &bench->devices[i];
	const struct subject alice = {
		.uid = 1000,
		.process_uid = 1000,
		.pid = PID,
		.start_ticks = bench->process->start_ticks,
	};

	/* Never freed by the lease. */
	*group = (struct group){ .number = (int)i, .n_holds = 1 };
	TAILQ_INIT(&group->devices);
	*device = (struct device){ .group = group, .is_pci = true, .vendor = 0xffff, .product = 2 };
	strcpy(device->bus, "pci");
	TAILQ_INSERT_TAIL(&group->devices, device, of_group);
	assert_int_equal(lease_new(&bench->broker.book, &alice, &group, 1, &bench->leases[i]), 0);
	strcpy(bench->leases[i]->account, ALICE);
	bench->tenancies[i] = (struct tenancy){
		.broker = &bench->broker,
		.lease = bench->leases[i],
		.holder_pidfd = -1,
		.draft = NO_DRAFT,
	};
	bench->leases[i]->tenancy = &bench->tenancies[i];
}

static int set_up(void **state)
{
	struct bench *bench = calloc(1, sizeof(*bench));
	struct broker *broker;

	assert_non_null(bench);
	log_open(LOG_EMERG);
	broker = &bench->broker;
	TAILQ_INIT(&broker->spaces);
	TAILQ_INIT(&broker->holdings);
	snprintf(bench->directory, sizeof(bench->directory), "/tmp/vfiod-reserving-XXXXXX");
	assert_non_null(mkdtemp(bench->directory));
	broker->state_directory = bench->directory;
	assert_int_equal(record_init(bench->directory, LEASE_RECORDS), 0);
	lease_book_init(&broker->book);
	reservations_init(broker);
	fake_memlock_reset();
	broker->memlocks.ops = &fake_memlock_ops;
	broker->config = config_of(configuration);
	broker->ledger = ledger_new(UINT64_C(1) << 28);
	bench->process = fake_process_add(PID, 8 * MIB, 8 * MIB);
	for (size_t i = 0; i < N_LEASES; i++)
		add_lease(bench, i);
	*state = bench;
	return 0;
}

static const char *directory_of(struct bench *bench)
{
	static char path[96];
	snprintf(path, sizeof(path), "%s/" LEASE_RECORDS, bench->directory);
	return path;
}

/* All accounts are at zero, or ledger_free() aborts. */
static int tear_down(void **state)
{
	struct bench *bench = *state;

	for (size_t i = 0; i < N_LEASES; i++) {
		lease_end_reservation(bench->leases[i]);
		lease_unrecord(bench->leases[i]);
		lease_free(&bench->broker.book, bench->leases[i]);
	}
	assert_true(LIST_EMPTY(&bench->broker.reservations));
	assert_true(LIST_EMPTY(&bench->broker.memlocks.processes));
	ledger_free(bench->broker.ledger);
	config_free(bench->broker.config);
	/* No record is left. */
	assert_int_equal(rmdir(directory_of(bench)), 0);
	assert_int_equal(rmdir(bench->directory), 0);
	free(bench);
	return 0;
}

static int reserve(struct bench *bench, size_t i, uint64_t bytes)
{
	return lease_reserve(&bench->broker, bench->leases[i], bytes, &bench->refusal);
}

static int reserve_more(struct bench *bench, size_t i, uint64_t bytes)
{
	return lease_reserve_more(&bench->broker, bench->leases[i], bytes, &bench->refusal);
}

static int grant(struct bench *bench, size_t i)
{
	return lease_record_grant(bench->leases[i], &bench->refusal);
}

static uint64_t reserved_bytes(const struct bench *bench, size_t i)
{
	return reservation_bytes(bench->leases[i]->reservation);
}

/* What the account has is what the host has: there is no other. */
static void assert_billed(const struct bench *bench, uint64_t bytes)
{
	const struct account *account = TAILQ_FIRST(ledger_accounts(bench->broker.ledger));

	assert_int_equal(account ? account_kernel_bill(account) * page() : 0, bytes);
	assert_int_equal(account_kernel_bill(ledger_host(bench->broker.ledger)) * page(), bytes);
	assert_int_equal(broker_reserved_pages(&bench->broker, NULL) * page(), bytes);
	assert_int_equal(broker_reserved_pages(&bench->broker, ALICE) * page(), bytes);
	assert_int_equal(broker_reserved_pages(&bench->broker, "uid:1"), 0);
}

static void assert_limit(const struct bench *bench, uint64_t bytes)
{
	assert_int_equal(bench->process->limit.rlim_cur, bytes);
	assert_int_equal(bench->process->limit.rlim_max, bytes);
}

static void assert_exceeded(
	const struct bench *bench, uint64_t limit, uint64_t state, uint64_t requested)
{
	assert_int_equal(bench->refusal.kind, REFUSAL_LIMIT_EXCEEDED);
	assert_string_equal(bench->refusal.account, ALICE);
	assert_string_equal(bench->refusal.limit, "kernel-bill-limit");
	assert_int_equal(bench->refusal.limit_bytes, limit);
	assert_int_equal(bench->refusal.state_bytes, state);
	assert_int_equal(bench->refusal.requested_bytes, requested);
}

static void test_nothing(void **state)
{
	struct bench *bench = *state;

	assert_int_equal(reserve(bench, 0, 0), 0);
	assert_null(bench->leases[0]->reservation);
	assert_int_equal(reserved_bytes(bench, 0), 0);
	assert_null(reservation_account(NULL));
	assert_int_equal(grant(bench, 0), 0);
	assert_int_equal(reserve_more(bench, 0, 0), 0);
	assert_null(bench->leases[0]->reservation);
	assert_int_equal(fake_memlock.n_calls, 0);
}

static void test_charged_raised_and_back(void **state)
{
	struct bench *bench = *state;

	assert_int_equal(reserve(bench, 0, 512 * MIB), 0);
	assert_billed(bench, 512 * MIB);
	assert_int_equal(account_kernel_bill(reservation_account(bench->leases[0]->reservation)),
		512 * MIB / page());
	assert_limit(bench, 8 * MIB);
	assert_int_equal(grant(bench, 0), 0);
	assert_limit(bench, 520 * MIB);
	assert_int_equal(reserve_more(bench, 0, 256 * MIB), 0);
	assert_int_equal(reserved_bytes(bench, 0), 768 * MIB);
	assert_billed(bench, 768 * MIB);
	assert_limit(bench, 776 * MIB);
	lease_end_reservation(bench->leases[0]);
	assert_null(bench->leases[0]->reservation);
	assert_billed(bench, 0);
	assert_limit(bench, 8 * MIB);
}

static void test_rounded_up(void **state)
{
	struct bench *bench = *state;

	assert_int_equal(reserve(bench, 0, 1), 0);
	assert_int_equal(reserved_bytes(bench, 0), page());
	assert_int_equal(grant(bench, 0), 0);
	assert_limit(bench, 8 * MIB + page());
	assert_int_equal(reserve_more(bench, 0, page() + 1), 0);
	assert_int_equal(reserved_bytes(bench, 0), 3 * page());
	assert_limit(bench, 8 * MIB + 3 * page());
}

/* A lease that ended, of which a group is still open, keeps the charge, and not the limit. */
static void test_kept_by_groups(void **state)
{
	struct bench *bench = *state;
	struct reservation *of_group, *of_other;

	assert_int_equal(reserve(bench, 0, 900 * MIB), 0);
	assert_int_equal(grant(bench, 0), 0);
	of_group = reservation_hold(bench->leases[0]->reservation);
	of_other = reservation_hold(bench->leases[0]->reservation);
	lease_end_reservation(bench->leases[0]);
	assert_limit(bench, 8 * MIB);
	assert_billed(bench, 900 * MIB);
	assert_null(reservation_release(of_other));
	assert_billed(bench, 900 * MIB);
	assert_int_equal(reserve(bench, 1, 200 * MIB), REFUSED);
	assert_exceeded(bench, 1024 * MIB, 900 * MIB, 200 * MIB);
	assert_null(reservation_release(of_group));
	assert_billed(bench, 0);
	assert_int_equal(reserve(bench, 1, 200 * MIB), 0);
}

/* To the page: the account's, and all that it has in other leases. */
static void test_account_limit(void **state)
{
	struct bench *bench = *state;

	assert_int_equal(reserve(bench, 0, 1024 * MIB + 1), REFUSED);
	assert_exceeded(bench, 1024 * MIB, 0, 1024 * MIB + page());
	assert_null(bench->leases[0]->reservation);
	assert_billed(bench, 0);
	assert_int_equal(reserve(bench, 0, 600 * MIB), 0);
	assert_int_equal(reserve(bench, 1, 424 * MIB + 1), REFUSED);
	assert_exceeded(bench, 1024 * MIB, 600 * MIB, 424 * MIB + page());
	assert_int_equal(reserve(bench, 1, 424 * MIB), 0);
	assert_int_equal(grant(bench, 0), 0);
	assert_int_equal(reserve_more(bench, 0, 1), REFUSED);
	assert_exceeded(bench, 1024 * MIB, 1024 * MIB, page());
	assert_int_equal(reserved_bytes(bench, 0), 600 * MIB);
	assert_limit(bench, 608 * MIB);
	assert_int_equal(reserve_more(bench, 2, 1), REFUSED);
	assert_null(bench->leases[2]->reservation);
	assert_billed(bench, 1024 * MIB);
}

/* The rules of whatever has something reserved on it hold for all of the account. */
static void test_limits_of_rules(void **state)
{
	struct bench *bench = *state;
	struct byte_limits limits;

	bench->devices[1].product = 1;
	assert_int_equal(reserve(bench, 1, 100 * MIB + 1), REFUSED);
	assert_exceeded(bench, 100 * MIB, 0, 100 * MIB + page());
	assert_int_equal(reserve(bench, 0, 90 * MIB), 0);
	assert_int_equal(reserve(bench, 1, 10 * MIB), 0);
	assert_int_equal(reserve(bench, 2, 1), REFUSED);
	assert_exceeded(bench, 100 * MIB, 100 * MIB, page());
	broker_account_limits(&bench->broker, ALICE, &limits);
	assert_int_equal(limits.kernel_bill, 100 * MIB);
	broker_account_limits(&bench->broker, "uid:1", &limits);
	assert_int_equal(limits.kernel_bill, 1024 * MIB);
	lease_end_reservation(bench->leases[1]);
	assert_int_equal(reserve(bench, 2, 900 * MIB), 0);
}

/* A reload that lowers a limit takes nothing away, and grants nothing more. */
static void test_other_rules(void **state)
{
	struct bench *bench = *state;

	assert_int_equal(reserve(bench, 0, 500 * MIB), 0);
	assert_int_equal(grant(bench, 0), 0);
	config_free(bench->broker.config);
	bench->broker.config = config_of("[account " ALICE "]\nkernel-bill-limit = 10M\n");
	assert_int_equal(reserve_more(bench, 0, 1), REFUSED);
	assert_exceeded(bench, 10 * MIB, 500 * MIB, page());
	assert_billed(bench, 500 * MIB);
	assert_limit(bench, 508 * MIB);
}

static void test_absurd(void **state)
{
	struct bench *bench = *state;
	static const uint64_t absurd[] = { UINT64_MAX, INT64_MAX, (uint64_t)INT64_MAX + 1,
		UINT64_MAX - 4095 };

	for (size_t i = 0; i < ARRAY_SIZE(absurd); i++)
		assert_int_equal(reserve(bench, 0, absurd[i]), -EOVERFLOW);
	config_free(bench->broker.config);
	bench->broker.config = config_of("[daemon]\n");
	assert_int_equal(reserve(bench, 0, INT64_MAX - page()), 0);
	assert_int_equal(grant(bench, 0), 0);
	for (size_t i = 0; i < ARRAY_SIZE(absurd); i++)
		assert_int_equal(reserve_more(bench, 0, absurd[i]), -EOVERFLOW);
	/* The process can lock as much twice, but not three times. */
	assert_int_equal(reserve(bench, 1, INT64_MAX - page()), 0);
	assert_int_equal(grant(bench, 1), REFUSED);
	assert_int_equal(bench->refusal.errnum, EOVERFLOW);
	assert_int_equal(broker_reserved_pages(&bench->broker, NULL),
		2 * ((INT64_MAX - page()) / page() + 1));
}

/* The process has ended, or the kernel says no: all or nothing. */
static void test_raise_fails(void **state)
{
	struct bench *bench = *state;

	fake_memlock.error = EPERM;
	assert_int_equal(reserve(bench, 0, MIB), 0);
	for (int call = 1; call <= 3; call++) {
		fake_memlock.n_calls = 0;
		fake_memlock.fail_at = call;
		assert_int_equal(grant(bench, 0), REFUSED);
		assert_int_equal(bench->refusal.kind, REFUSAL_SYSTEM);
		assert_int_equal(bench->refusal.errnum, EPERM);
		assert_limit(bench, 8 * MIB);
	}
	fake_memlock.fail_at = 0;
	assert_int_equal(grant(bench, 0), 0);
	for (int call = 1; call <= 3; call++) {
		fake_memlock.n_calls = 0;
		fake_memlock.fail_at = call;
		assert_int_equal(reserve_more(bench, 0, MIB), REFUSED);
		assert_int_equal(reserved_bytes(bench, 0), MIB);
		fake_memlock.n_calls = 0;
		assert_int_equal(reserve_more(bench, 1, MIB), REFUSED);
		assert_null(bench->leases[1]->reservation);
		assert_billed(bench, MIB);
		assert_limit(bench, 9 * MIB);
	}
	fake_memlock.fail_at = 0;
	bench->process->has_ended = true;
	assert_int_equal(reserve_more(bench, 0, MIB), REFUSED);
	assert_int_equal(bench->refusal.errnum, ESRCH);
	assert_int_equal(reserve(bench, 1, MIB), 0);
	assert_int_equal(grant(bench, 1), REFUSED);
	assert_int_equal(bench->refusal.errnum, ESRCH);
	assert_billed(bench, 2 * MIB);
}

/* --- mode cdev: the kernel bills the user ------------------------------------------------------
 */

/* The first two leases are of two processes of a user. */
static struct fake_process *of_user(struct bench *bench)
{
	struct fake_process *other = fake_process_add(PID + 1, 8 * MIB, 8 * MIB);

	for (size_t i = 0; i < 2; i++)
		bench->leases[i]->cdev = true;
	bench->leases[1]->subject.pid = other->pid;
	bench->leases[1]->subject.start_ticks = other->start_ticks;
	return other;
}

static void test_of_user(void **state)
{
	struct bench *bench = *state;
	const struct fake_process *other = of_user(bench);
	struct reservation *of_group;
	struct rlimit limit;
	uint64_t bill;

	assert_int_equal(reserve(bench, 0, 100 * MIB), 0);
	assert_int_equal(grant(bench, 0), 0);
	assert_int_equal(reserve(bench, 1, 200 * MIB), 0);
	assert_int_equal(grant(bench, 1), 0);
	/* Charged once, and each may lock the sum. */
	assert_billed(bench, 300 * MIB);
	assert_int_equal(reserved_bytes(bench, 0), 100 * MIB);
	assert_limit(bench, 308 * MIB);
	assert_int_equal(other->limit.rlim_max, 308 * MIB);
	assert_true(lease_lock(bench->leases[0], &limit, &bill));
	assert_int_equal(limit.rlim_max, 308 * MIB);
	assert_int_equal(bill, 308 * MIB);

	/* More for the second, which fails at each step of the first's, and then does not. */
	fake_memlock.error = EPERM;
	for (int call = 1; call <= 5; call++) {
		fake_memlock.n_calls = 0;
		fake_memlock.fail_at = call;
		assert_int_equal(reserve_more(bench, 1, MIB), REFUSED);
		assert_int_equal(bench->refusal.errnum, EPERM);
		fake_memlock.fail_at = 0;
		assert_billed(bench, 300 * MIB);
		assert_limit(bench, 308 * MIB);
		assert_int_equal(other->limit.rlim_max, 308 * MIB);
	}
	assert_int_equal(reserve_more(bench, 1, 10 * MIB), 0);
	assert_limit(bench, 318 * MIB);
	assert_int_equal(other->limit.rlim_cur, 318 * MIB);

	/* What is over is billed until its group is back, and the others need room for it. */
	of_group = reservation_hold(bench->leases[1]->reservation);
	lease_end_reservation(bench->leases[1]);
	assert_limit(bench, 318 * MIB);
	assert_int_equal(other->limit.rlim_max, 8 * MIB);
	assert_billed(bench, 310 * MIB);
	assert_true(lease_lock(bench->leases[0], &limit, &bill));
	assert_int_equal(bill, 318 * MIB);
	reservation_release(of_group);
	assert_limit(bench, 108 * MIB);
	assert_billed(bench, 100 * MIB);
}

/* --- for the next daemon ------------------------------------------------------------------------
 */

static void hide_records(struct bench *bench, bool hidden)
{
	char elsewhere[96];

	snprintf(elsewhere, sizeof(elsewhere), "%s/elsewhere", bench->directory);
	assert_int_equal(rename(hidden ? directory_of(bench) : elsewhere,
				 hidden ? elsewhere : directory_of(bench)),
		0);
}

/* What cannot be written down is not raised. */
static void test_not_written_down(void **state)
{
	struct bench *bench = *state;

	assert_int_equal(reserve(bench, 0, MIB), 0);
	hide_records(bench, true);
	assert_int_equal(grant(bench, 0), REFUSED);
	assert_int_equal(bench->refusal.kind, REFUSAL_SYSTEM);
	assert_int_equal(bench->refusal.errnum, ENOENT);
	assert_limit(bench, 8 * MIB);
	hide_records(bench, false);
	assert_int_equal(grant(bench, 0), 0);
	assert_limit(bench, 9 * MIB);
	hide_records(bench, true);
	assert_int_equal(reserve_more(bench, 0, MIB), REFUSED);
	assert_int_equal(reserve_more(bench, 1, MIB), REFUSED);
	assert_null(bench->leases[1]->reservation);
	hide_records(bench, false);
	assert_limit(bench, 9 * MIB);
	assert_billed(bench, MIB);
}

static void on_record(const char *name, int version, struct json_object *json, const char *problem,
	void *userdata)
{
	const char *key;

	(void)name;
	assert_null(problem);
	assert_int_equal(lease_decode(json, version, userdata, &key), 0);
	json_object_put(json);
}

static void read_record(struct bench *bench, struct lease_record *record)
{
	*record = (struct lease_record){ 0 };
	assert_int_equal(record_each(bench->directory, LEASE_RECORDS, LEASE_RECORD_VERSION,
				 on_record, record),
		0);
	assert_string_equal(record->name, "L1");
}

/* The next daemon knows what is charged, and takes the same away in the end. */
static void test_adopted(void **state)
{
	struct bench *bench = *state;
	struct lease *lease = bench->leases[0];
	struct lease_record record;

	assert_int_equal(reserve(bench, 0, MIB), 0);
	assert_int_equal(grant(bench, 0), 0);
	assert_int_equal(reserve_more(bench, 0, 2 * MIB), 0);
	assert_limit(bench, 11 * MIB);
	bench->broker.is_leaving = true;
	lease_end_reservation(lease);
	assert_limit(bench, 11 * MIB);
	assert_billed(bench, 0);
	bench->broker.is_leaving = false;

	read_record(bench, &record);
	assert_int_equal(record.reserved_pages, 3 * MIB / page());
	assert_int_equal(
		reservation_adopt(&bench->broker, lease, record.reserved_pages, &record.lock), 0);
	assert_billed(bench, 3 * MIB);
	assert_limit(bench, 11 * MIB);
	assert_int_equal(reserve_more(bench, 0, MIB), 0);
	assert_limit(bench, 12 * MIB);
	lease_end_reservation(lease);
	assert_limit(bench, 8 * MIB);
	assert_billed(bench, 0);
	lease_record_clear(&record);
}

/* Killed when it was written down, and not yet raised: nothing of the process's own is taken. */
static void test_foreseen_only(void **state)
{
	struct bench *bench = *state;
	struct lease *lease = bench->leases[0];
	struct lease_record record;

	assert_int_equal(reserve(bench, 0, MIB), 0);
	fake_memlock.error = EPERM;
	fake_memlock.fail_at = 3;
	assert_int_equal(grant(bench, 0), REFUSED);
	fake_memlock.fail_at = 0;
	read_record(bench, &record);
	assert_int_equal(record.lock.bytes[MEMLOCK_HARD], MIB);
	assert_int_equal(record.lock.own[MEMLOCK_HARD], 8 * MIB);
	bench->broker.is_leaving = true;
	lease_end_reservation(lease);
	bench->broker.is_leaving = false;
	assert_int_equal(
		reservation_adopt(&bench->broker, lease, record.reserved_pages, &record.lock), 0);
	lease_end_reservation(lease);
	assert_limit(bench, 8 * MIB);
	lease_record_clear(&record);
}

/* Its process ended meanwhile: what is reserved stays charged, its children may have it mapped. */
static void test_adopted_without_process(void **state)
{
	struct bench *bench = *state;
	const struct memlock_note note = { .bytes = { MIB, MIB } };

	bench->process->has_ended = true;
	assert_int_equal(
		reservation_adopt(&bench->broker, bench->leases[0], MIB / page(), &note), 0);
	assert_billed(bench, MIB);
}

/* Two leases of a user, and one that is over: whichever is the last takes away what is left. */
static void test_of_user_adopted(void **state)
{
	struct bench *bench = *state;
	const struct fake_process *other = of_user(bench);
	const struct memlock_note notes[] = {
		{ .own = { 8 * MIB, 8 * MIB }, .bytes = { MIB, MIB } },
		{ .own = { 8 * MIB, 8 * MIB }, .bytes = { 2 * MIB, 2 * MIB } },
	};
	const uid_t uid = bench->leases[0]->subject.process_uid;
	struct reservation *left;

	for (size_t i = 0; i < 2; i++) {
		fake_process_of(PID + (pid_t)i)->limit = (struct rlimit){ 15 * MIB, 15 * MIB };
		assert_int_equal(reservation_adopt(&bench->broker, bench->leases[i],
					 (i + 1) * MIB / page(), &notes[i]),
			0);
	}
	assert_int_equal(
		reservation_left(&bench->broker, ALICE, "L9", &uid, 4 * MIB / page(), &left), 0);
	assert_billed(bench, 7 * MIB);
	lease_end_reservation(bench->leases[1]);
	assert_int_equal(other->limit.rlim_max, 8 * MIB);
	assert_limit(bench, 13 * MIB);
	assert_true(*reservation_user(left) == uid);
	reservation_release(left);
	assert_limit(bench, 9 * MIB);
	lease_end_reservation(bench->leases[0]);
	assert_limit(bench, 8 * MIB);
}

/* Of a lease that is brokered, or of a broker without a ledger. */
static void test_not_supported(void **state)
{
	struct bench *bench = *state;
	struct ledger *ledger = bench->broker.ledger;

	bench->leases[0]->brokered = true;
	assert_int_equal(reserve_more(bench, 0, MIB), REFUSED);
	assert_int_equal(bench->refusal.kind, REFUSAL_NOT_SUPPORTED);
	bench->broker.ledger = NULL;
	assert_int_equal(reserve(bench, 1, MIB), REFUSED);
	assert_int_equal(bench->refusal.kind, REFUSAL_NOT_SUPPORTED);
	assert_int_equal(reserve_more(bench, 1, MIB), REFUSED);
	assert_int_equal(bench->refusal.kind, REFUSAL_NOT_SUPPORTED);
	bench->broker.ledger = ledger;
}

#undef TEST
#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_nothing),
		TEST(test_charged_raised_and_back),
		TEST(test_rounded_up),
		TEST(test_kept_by_groups),
		TEST(test_account_limit),
		TEST(test_limits_of_rules),
		TEST(test_other_rules),
		TEST(test_absurd),
		TEST(test_raise_fails),
		TEST(test_not_supported),
		TEST(test_not_written_down),
		TEST(test_adopted),
		TEST(test_of_user),
		TEST(test_of_user_adopted),
		TEST(test_foreseen_only),
		TEST(test_adopted_without_process),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
