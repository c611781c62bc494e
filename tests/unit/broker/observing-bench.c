#include "tests/unit/broker/observing-bench.h"

#include "daemon/lease/config-parse.h"

#include <unistd.h>

uint64_t fake_frames[FAKE_PROCESSES][FAKE_PAGES];
int fake_open[FAKE_PROCESSES], fake_read;

/* All this is done by the child, which has the test's memory. */
static unsigned opened;

static int open_fake(pid_t pid, unsigned long long start_ticks)
{
	opened = (unsigned)pid - 1;
	if (start_ticks != TICKS)
		return -ESRCH;
	while (fake_open[opened] == HANGS)
		pause();
	return fake_open[opened] < 0 ? fake_open[opened] : dup(STDERR_FILENO);
}

static int read_fake(void *pagemap, const void *address, uint64_t *frames, size_t n_pages)
{
	(void)pagemap;
	size_t first = ((uintptr_t)address - BASE) / PAGE;

	if ((uintptr_t)address < BASE || first + n_pages > FAKE_PAGES)
		return -EIO;
	memcpy(frames, &fake_frames[opened][first], n_pages * sizeof(*frames));
	return fake_read;
}

static const struct observer_ops fake_ops = { open_fake, read_fake };

int observing_setup(void **state)
{
	struct observing_bench *bench = calloc(1, sizeof(*bench));
	assert_non_null(bench);
	bench->broker.loop = ev_default_loop(0);
	bench->broker.config = &bench->config;
	bounds_default(&bench->config.bounds);
	lease_book_init(&bench->broker.book);
	bench->pace = (struct observer_pace){
		.pages_per_second = 1e9,
		.deadline_seconds = 600,
		.again_seconds = 600,
		.failed_first_seconds = 600,
		.failed_last_seconds = 600,
	};
	for (unsigned i = 0; i < FAKE_PROCESSES; i++) {
		bench->subjects[i] = (struct subject){
			.uid = UID,
			.process_uid = UID,
			.pid = (pid_t)i + 1,
			.start_ticks = TICKS,
		};
		bench->reporters[i] = reporter_new(&bench->broker, &bench->subjects[i]);
		assert_non_null(bench->reporters[i]);
		fake_open[i] = 0;
		for (size_t page = 0; page < FAKE_PAGES; page++)
			fake_frames[i][page] = 1000000 * (i + 1) + page;
	}
	fake_read = 0;
	bench->broker.observing->observer_ops = &fake_ops;
	bench->broker.observing->observer_pace = &bench->pace;
	*state = bench;
	return 0;
}

int observing_teardown(void **state)
{
	struct observing_bench *bench = *state;
	struct lease *lease;

	for (unsigned i = 0; i < FAKE_PROCESSES; i++)
		reporter_free(bench->reporters[i]);
	/* Asserts that nothing is covered, nor billed. */
	observing_free(bench->broker.observing);
	while ((lease = TAILQ_FIRST(&bench->broker.book.leases)))
		lease_free(&bench->broker.book, lease);
	free(bench);
	return 0;
}

struct lease *bench_lease(struct observing_bench *bench, unsigned process, const char *account)
{
	struct lease *lease;

	assert_int_equal(
		lease_new(&bench->broker.book, &bench->subjects[process], NULL, 0, &lease), 0);
	lease->state = LEASE_GRANTED;
	lease->is_trusted = true;
	string_copy(lease->account, sizeof(lease->account), account);
	return lease;
}

int bench_map(struct observing_bench *bench, unsigned process, const struct lease *lease,
	uint64_t container, uint64_t page, uint64_t n_pages)
{
	const struct report report = {
		.container = container,
		.iova = page * PAGE,
		.address = BASE + page * PAGE,
		.length = n_pages * PAGE,
	};
	return report_map(
		bench->reporters[process], lease ? lease->token : NULL, &report, &bench->refusal);
}

int bench_unmap(struct observing_bench *bench, unsigned process, const struct lease *lease,
	uint64_t container, uint64_t page, uint64_t n_pages)
{
	const struct report report = {
		.container = container,
		.iova = page * PAGE,
		.length = n_pages * PAGE,
	};
	return report_unmap(
		bench->reporters[process], lease ? lease->token : NULL, &report, &bench->refusal);
}

static bool is_at_work(const struct observing_bench *bench)
{
	const struct observing *observing = bench->broker.observing;
	const struct observed_process *process;

	if (observing->n_children > 0 || !TAILQ_EMPTY(&observing->leaving))
		return true;
	TAILQ_FOREACH (process, &observing->processes, of_observing)
		if (!TAILQ_EMPTY(&process->fresh) && process->not_before == 0)
			return true;
	return false;
}

void bench_settle(struct observing_bench *bench)
{
	while (is_at_work(bench))
		ev_run(bench->broker.loop, EVRUN_ONCE);
}

static void assert_figures(const struct observing_figures *figures, uint64_t bill,
	uint64_t distinct, uint64_t unobserved)
{
	assert_int_equal(figures->is_any, bill > 0);
	assert_int_equal(figures->bill_pages, bill);
	assert_int_equal(figures->distinct_pages, distinct);
	assert_int_equal(figures->unobserved_pages, unobserved);
}

void assert_account(struct observing_bench *bench, const char *account, uint64_t bill,
	uint64_t distinct, uint64_t unobserved)
{
	struct observing_figures figures;

	observing_figures_of_account(&bench->broker, account, &figures);
	assert_figures(&figures, bill, distinct, unobserved);
}

void assert_lease(struct observing_bench *bench, const struct lease *lease, uint64_t bill,
	uint64_t distinct, uint64_t unobserved)
{
	struct observing_figures figures;

	observing_figures_of_lease(&bench->broker, lease, &figures);
	assert_figures(&figures, bill, distinct, unobserved);
}
