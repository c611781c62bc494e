/* What an audit reads of a process, and what it makes of it. */
#include "daemon/service/lease-facts.h"

#include "daemon/base/util.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <cmocka.h>

#define MIB (UINT64_C(1) << 20)

/* --- judging ------------------------------------------------------------------------------------
 */

/* A lease of 512 MiB, of which 256 are mapped; its process had 8 by itself. */
static const struct lease_facts right = {
	.process = {
		.locked_bytes = 256 * MIB,
		.limit = { 520 * MIB, 520 * MIB },
		.max_bytes = 1024 * MIB,
	},
	.is_lock_known = true,
	.limit = { 520 * MIB, 520 * MIB },
	.bill_bytes = 520 * MIB,
};

static void assert_judged(const struct lease_facts *facts, bool is_wrong, const char *part)
{
	char finding[512];

	assert_int_equal(lease_facts_judge(facts, finding, sizeof(finding)), is_wrong);
	if (!strstr(finding, part))
		fail_msg("\"%s\" is not in \"%s\"", part, finding);
}

static void test_right(void **state)
{
	struct lease_facts facts = right;

	(void)state;
	assert_judged(&facts, false, "cannot be known");
	assert_judged(&facts, false, "its memory.max bounds that");
	facts.is_trusted = true;
	facts.process.max_bytes = UINT64_MAX;
	assert_judged(&facts, false, "nothing bounds that");
	/* To the byte. */
	facts.process.locked_bytes = facts.bill_bytes;
	assert_judged(&facts, false, "cannot be known");
	/* The process may raise its soft limit as far as its hard one goes. */
	facts.limit.rlim_cur = 8 * MIB;
	assert_judged(&facts, false, "cannot be known");
	/* Nobody raised anything: what it locks is its own affair. */
	facts.process.locked_bytes = UINT64_MAX;
	facts.is_lock_known = false;
	assert_judged(&facts, false, "cannot be known");
}

static void test_no_limit(void **state)
{
	struct lease_facts facts = right;

	(void)state;
	facts.bill_bytes = UINT64_MAX;
	facts.limit = (struct rlimit){ RLIM_INFINITY, RLIM_INFINITY };
	facts.process.limit = facts.limit;
	facts.process.locked_bytes = UINT64_MAX;
	assert_judged(&facts, false, "cannot be known");
}

static void test_more_than_reserved(void **state)
{
	struct lease_facts facts = right;

	(void)state;
	facts.process.locked_bytes = 520 * MIB + 1024;
	assert_judged(&facts, true, "bills its process 545260544 bytes (VmLck); 545259520");
	/* By iommufd, it is what is pinned. */
	facts.is_cdev = true;
	facts.process.pinned_bytes = 520 * MIB;
	assert_int_equal(lease_facts_billed(&facts), 520 * MIB);
	facts.process.pinned_bytes += 4096;
	assert_judged(&facts, true, "bills its process 545263616 bytes (VmPin); 545259520");
	facts.is_cdev = false;
}

static void test_limit_changed(void **state)
{
	static const struct {
		struct rlimit limit;
		bool is_wrong;
		const char *part;
	} cases[] = {
		{ { 520 * MIB, RLIM_INFINITY }, true, "somebody else has raised" },
		{ { 520 * MIB, 520 * MIB + 1 }, true, "should be 545259520" },
		{ { 520 * MIB - 1, 520 * MIB }, false, "somebody has lowered" },
		{ { 8 * MIB, 8 * MIB }, false, "somebody has lowered" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct lease_facts facts = right;
		facts.process.limit = cases[i].limit;
		assert_judged(&facts, cases[i].is_wrong, cases[i].part);
	}
}

static void test_bound(void **state)
{
	struct lease_facts facts = right;

	(void)state;
	facts.process.max_bytes = UINT64_MAX;
	assert_judged(&facts, true, "no memory.max bounds what it can pin any more");
	facts.process.bound_result = -EXDEV;
	assert_judged(&facts, false, "could not be read: Invalid cross-device link");
}

static void test_reports(void **state)
{
	struct lease_facts facts = right;

	(void)state;
	facts.different_pages = 3;
	assert_judged(&facts, false, "cannot be known");
	facts.is_reported = true;
	assert_judged(&facts, true, "3 pages that it reported are not those");
	facts.compared = -ETIMEDOUT;
	assert_judged(&facts, false, "could not be compared: Connection timed out");
}

/* All of it, and nothing runs over. */
static void test_several(void **state)
{
	struct lease_facts facts = right;
	char finding[512];

	(void)state;
	facts.process.locked_bytes = UINT64_MAX - 1;
	facts.process.limit.rlim_max = RLIM_INFINITY;
	facts.process.max_bytes = UINT64_MAX;
	facts.is_reported = true;
	facts.different_pages = 1;
	assert_judged(&facts, true, "(VmLck)");
	assert_judged(&facts, true, "; somebody else has raised");
	assert_judged(&facts, true, "; no memory.max");
	assert_judged(&facts, true, "; 1 pages");
	for (size_t size = 1; size < sizeof(finding); size++) {
		memset(finding, '#', sizeof(finding));
		assert_true(lease_facts_judge(&facts, finding, size));
		assert_true(strlen(finding) < size);
		assert_int_equal(finding[size], '#');
	}
}

static void test_not_asked(void **state)
{
	struct lease_facts facts = right;

	(void)state;
	facts.process.result = -ESRCH;
	facts.is_reported = true;
	facts.different_pages = 1;
	assert_judged(&facts, false, "its process has ended");
	facts.process.result = -ETIMEDOUT;
	assert_judged(&facts, false, "could not be asked: Connection timed out");
}

/* --- reading ------------------------------------------------------------------------------------
 */

static void read_process(pid_t pid, unsigned long long start_ticks, struct lease_process *process)
{
	_cleanup_free_ char *text = NULL;
	size_t size = 0;
	FILE *answer = open_memstream(&text, &size);

	assert_non_null(answer);
	int r = lease_process_read(pid, start_ticks, answer);
	assert_int_equal(fclose(answer), 0);
	lease_process_parse(r, text, process);
}

static void test_read(void **state)
{
	struct rlimit limit;
	struct lease_process process;
	unsigned long long ticks;
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);

	(void)state;
	assert_int_equal(process_start_time(getpid(), &ticks), 0);
	void *memory =
		mmap(NULL, 4 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(memory, MAP_FAILED);
	read_process(getpid(), ticks, &process);
	uint64_t before = process.locked_bytes;
	/* Not by way of libc: sanitizers have it do nothing. */
	assert_int_equal(syscall(SYS_mlock, memory, 4 * page), 0);
	read_process(getpid(), ticks, &process);
	assert_int_equal(process.result, 0);
	assert_int_equal(process.locked_bytes, before + 4 * page);
	assert_int_equal(getrlimit(RLIMIT_MEMLOCK, &limit), 0);
	assert_true(process.limit.rlim_cur == limit.rlim_cur);
	assert_true(process.limit.rlim_max == limit.rlim_max);
	assert_int_equal(munmap(memory, 4 * page), 0);
	read_process(getpid(), ticks + 1, &process);
	assert_int_equal(process.result, -ESRCH);
}

static void test_read_ended(void **state)
{
	struct lease_process process;
	unsigned long long ticks;

	(void)state;
	pid_t child = fork();
	assert_true(child >= 0);
	if (child == 0)
		_exit(0);
	assert_int_equal(process_start_time(child, &ticks), 0);
	assert_int_equal(waitid(P_PID, (id_t)child, &(siginfo_t){ 0 }, WEXITED | WNOWAIT), 0);
	read_process(child, ticks, &process);
	assert_int_equal(process.result, -ESRCH);
	assert_int_equal(waitpid(child, NULL, 0), child);
	read_process(child, ticks, &process);
	assert_int_equal(process.result, -ESRCH);
}

static void test_parse(void **state)
{
	struct lease_process process;

	(void)state;
	lease_process_parse(0, "1 5 2 18446744073709551615 -18 4", &process);
	assert_int_equal(process.result, 0);
	assert_int_equal(process.locked_bytes, 1);
	assert_int_equal(process.pinned_bytes, 5);
	assert_int_equal(process.limit.rlim_cur, 2);
	assert_true(process.limit.rlim_max == RLIM_INFINITY);
	assert_int_equal(process.bound_result, -EXDEV);
	assert_int_equal(process.max_bytes, 4);
	lease_process_parse(0, "1 2 3", &process);
	assert_int_equal(process.result, -EBADMSG);
	lease_process_parse(-ETIMEDOUT, "", &process);
	assert_int_equal(process.result, -ETIMEDOUT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_right),
		cmocka_unit_test(test_no_limit),
		cmocka_unit_test(test_more_than_reserved),
		cmocka_unit_test(test_limit_changed),
		cmocka_unit_test(test_bound),
		cmocka_unit_test(test_reports),
		cmocka_unit_test(test_several),
		cmocka_unit_test(test_not_asked),
		cmocka_unit_test(test_read),
		cmocka_unit_test(test_read_ended),
		cmocka_unit_test(test_parse),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
