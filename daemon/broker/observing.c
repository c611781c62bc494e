#include "daemon/base/host-memory.h"
#include "daemon/base/util.h"
#include "daemon/broker/observing-parts.h"
#include "daemon/broker/parts.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

/* --- all of it ------------------------------------------------------------------------------ */

static struct observing *observing_new(struct broker *broker)
{
	struct observing *observing = calloc(1, sizeof(*observing));
	if (!observing)
		return NULL;
	observing->broker = broker;
	observing->n_frames = host_n_frames();
	observing->ledger = ledger_new(observing->n_frames);
	if (!observing->ledger) {
		free(observing);
		return NULL;
	}
	TAILQ_INIT(&observing->reporters);
	TAILQ_INIT(&observing->users);
	TAILQ_INIT(&observing->processes);
	TAILQ_INIT(&observing->leases);
	observed_init(observing);
	observer_init(observing);
	return observing;
}

struct observing *observing_free(struct observing *observing)
{
	if (!observing)
		return NULL;
	assert(TAILQ_EMPTY(&observing->reporters));
	observer_stop(observing);
	observed_stop(observing);
	ledger_free(observing->ledger);
	free(observing);
	return NULL;
}

const struct ledger *observing_ledger(const struct broker *broker)
{
	return broker->observing ? broker->observing->ledger : NULL;
}

/* --- who reports ---------------------------------------------------------------------------- */

struct reporter *reporter_new(struct broker *broker, const struct subject *subject)
{
	if (!broker->observing)
		broker->observing = observing_new(broker);
	struct observing *observing = broker->observing;
	struct reporter *reporter = observing ? calloc(1, sizeof(*reporter)) : NULL;
	if (!reporter)
		return NULL;
	reporter->observing = observing;
	reporter->subject = subject;
	reporter->user = observed_user_get(observing, subject->uid);
	reporter->process = observed_process_get(observing, subject->pid, subject->start_ticks);
	TAILQ_INSERT_TAIL(&observing->reporters, reporter, of_observing);
	if (!reporter->user || !reporter->process)
		return reporter_free(reporter);
	return reporter;
}

struct reporter *reporter_free(struct reporter *reporter)
{
	if (!reporter)
		return NULL;
	struct observing *observing = reporter->observing;

	for (size_t i = 0; i < reporter->reports.n; i++)
		reported_leave(reporter->reports.list[i]);
	free(reporter->reports.list);
	observed_user_put(observing, reporter->user);
	observed_process_put(observing, reporter->process);
	TAILQ_REMOVE(&observing->reporters, reporter, of_observing);
	free(reporter);
	observed_sweep(observing);
	return NULL;
}

/* --- what is reported ------------------------------------------------------------------------ */

/* By the kernel's word alone. */
static bool is_process_of(const struct lease *lease, const struct subject *subject)
{
	return subject->start_ticks != 0 && lease->subject.pid == subject->pid &&
	       lease->subject.start_ticks == subject->start_ticks;
}

static const struct lease *lease_of_process(struct broker *broker, const struct subject *subject)
{
	const struct lease *lease;
	TAILQ_FOREACH (lease, &broker->book.leases, of_book)
		if (lease->state == LEASE_GRANTED && !lease->brokered &&
			is_process_of(lease, subject))
			return lease;
	return NULL;
}

static const struct lease *lease_by_token(
	struct broker *broker, const struct subject *subject, const char *token)
{
	const struct lease *lease = lease_book_by_token(&broker->book, token);

	if (!lease || lease->state != LEASE_GRANTED ||
		(lease->subject.uid != subject->uid && !is_process_of(lease, subject) &&
			!policy_is_admin(broker->config, subject)))
		return NULL;
	return lease;
}

static int find_lease(const struct reporter *reporter, const char *token,
	const struct lease **leasep, struct refusal *refusal)
{
	struct broker *broker = reporter->observing->broker;
	const struct subject *subject = reporter->subject;
	const struct lease *lease =
		token ? lease_by_token(broker, subject, token) : lease_of_process(broker, subject);

	if (!lease)
		return refuse(refusal, REFUSAL_NO_SUCH_LEASE, "%s",
			token ? "no lease has this token" : "this process has no lease");
	if (lease->brokered)
		return refuse(refusal, REFUSAL_NOT_SUPPORTED,
			"reports for lease %s, which is brokered: what its spaces map is known",
			lease->name);
	if (!lease->is_trusted)
		return refuse(refusal, REFUSAL_ACCESS_DENIED,
			"the rules do not trust the holder of lease %s, so what it says it maps is "
			"not observed; trusted = yes in its rule changes that",
			lease->name);
	*leasep = lease;
	return 0;
}

static int check_range(const char *name, uint64_t first, uint64_t length, struct refusal *refusal)
{
	uint64_t last;

	if (length == 0)
		return refuse(refusal, REFUSAL_INVALID_PARAMETER, "length");
	if (__builtin_add_overflow(first, length - 1, &last))
		return refuse(refusal, REFUSAL_INVALID_PARAMETER, "%s", name);
	if ((first | length) % page_bytes() != 0) {
		refuse(refusal, REFUSAL_MISALIGNED, "%s and length are multiples of the page size",
			name);
		refusal->number = page_bytes();
		return REFUSED;
	}
	return 0;
}

/* Of a user; an administrator's connections each by itself, like all that bounds those. */
static int check_bound(const struct reporter *reporter, size_t n_replaced, struct refusal *refusal)
{
	const struct config *config = reporter->observing->broker->config;
	size_t max = config->bounds.reports_per_user, n = reporter->user->n_reports;

	if (policy_is_admin(config, reporter->subject))
		n = reporter->reports.n;
	if (n - n_replaced < max)
		return 0;
	refuse(refusal, REFUSAL_TOO_MANY, "max-reports-per-user");
	refusal->max = (long)max;
	return REFUSED;
}

/* Billed, and in no book yet. NULL: no memory, or an absurd length. */
static struct reported *reported_new(
	struct reporter *reporter, const struct lease *lease, const struct report *report)
{
	static const struct limits no_limits = { LIMIT_NONE, LIMIT_NONE };
	struct reported *reported = calloc(1, sizeof(*reported));
	uint64_t n_pages = report->length / page_bytes();
	struct refusal refusal;

	struct observed_lease *observed =
		reported ? observed_lease_get(reporter->observing, lease) : NULL;
	if (!observed) {
		free(reported);
		return NULL;
	}
	observed->n_reports++;
	charge_open(&reported->charge, observed->payer, observed->account);
	if (charge_bill(&reported->charge, n_pages, &no_limits, n_pages, &refusal) != 0) {
		charge_close(&reported->charge);
		observed_lease_put(observed);
		free(reported);
		return NULL;
	}
	observed->bill_pages += n_pages;
	reported->reporter = reporter;
	reported->lease = observed;
	reported->container = report->container;
	reported->iova = report->iova;
	reported->address = report->address;
	reported->length = report->length;
	reporter->user->n_reports++;
	uint64_t n_pieces = (n_pages - 1) / PIECE_PAGES + 1;
	if (n_pieces <= USER_PIECES_MAX - reporter->user->n_pieces) {
		reported->n_pieces = n_pieces;
		reporter->user->n_pieces += n_pieces;
	}
	return reported;
}

static void forget(struct reporter *reporter, size_t begin, size_t end)
{
	for (size_t i = begin; i < end; i++)
		reported_leave(reporter->reports.list[i]);
	reports_remove(&reporter->reports, begin, end);
	observed_sweep(reporter->observing);
}

int report_map(struct reporter *reporter, const char *token, const struct report *report,
	struct refusal *refusal)
{
	const struct lease *lease = NULL;
	size_t begin, end;

	int r = find_lease(reporter, token, &lease, refusal);
	if (r == 0)
		r = check_range("iova", report->iova, report->length, refusal);
	if (r == 0)
		r = check_range("address", report->address, report->length, refusal);
	if (r != 0)
		return r;
	/* The kernel permits no overlap: what was there has been unmapped, and the word was lost.
	 */
	reports_overlapping(&reporter->reports, report->container, report->iova,
		report->iova + (report->length - 1), &begin, &end);
	r = check_bound(reporter, end - begin, refusal);
	if (r == 0)
		r = reports_reserve(&reporter->reports);
	if (r != 0)
		return r;
	struct reported *reported = reported_new(reporter, lease, report);
	if (!reported)
		return -ENOMEM;
	forget(reporter, begin, end);
	reports_insert(&reporter->reports, reported);
	if (reported->n_pieces > 0)
		observer_add(reported);
	return 0;
}

int report_unmap(struct reporter *reporter, const char *token, const struct report *report,
	struct refusal *refusal)
{
	const struct lease *lease = NULL;
	size_t begin, end;

	int r = find_lease(reporter, token, &lease, refusal);
	if (r == 0)
		r = check_range("iova", report->iova, report->length, refusal);
	if (r != 0)
		return r;
	reports_within(&reporter->reports, report->container, report->iova,
		report->iova + (report->length - 1), &begin, &end);
	forget(reporter, begin, end);
	return 0;
}

static void forget_lease(struct reporter *reporter, const struct observed_lease *lease)
{
	struct reports *reports = &reporter->reports;
	size_t n_kept = 0;

	for (size_t i = 0; i < reports->n; i++) {
		if (reports->list[i]->lease == lease)
			reported_leave(reports->list[i]);
		else
			reports->list[n_kept++] = reports->list[i];
	}
	reports->n = n_kept;
}

void observing_end_lease(struct broker *broker, const struct lease *lease)
{
	struct observing *observing = broker->observing;
	struct observed_lease *observed = observing ? observed_lease_find(observing, lease) : NULL;
	struct reporter *reporter;

	if (!observed)
		return;
	/* Not freed while reports are compared with it. */
	observed->n_reports++;
	TAILQ_FOREACH (reporter, &observing->reporters, of_observing)
		forget_lease(reporter, observed);
	observed_lease_put(observed);
	observed_sweep(observing);
}

/* --- figures --------------------------------------------------------------------------------- */

static void add(struct observing_figures *figures, const struct observed_lease *observed)
{
	figures->is_any = true;
	figures->bill_pages += observed->bill_pages;
	figures->unobserved_pages += observed->bill_pages - observed->covered_pages;
}

void observing_figures_of_account(
	const struct broker *broker, const char *account, struct observing_figures *figures)
{
	const struct observing *observing = broker->observing;
	const struct observed_lease *observed;

	*figures = (struct observing_figures){ 0 };
	if (!observing)
		return;
	TAILQ_FOREACH (observed, &observing->leases, of_observing)
		if (strcmp(observed->payer->name, account) == 0) {
			add(figures, observed);
			figures->distinct_pages = account_owed(observed->payer);
		}
}

void observing_figures_of_lease(
	const struct broker *broker, const struct lease *lease, struct observing_figures *figures)
{
	const struct observing *observing = broker->observing;
	const struct observed_lease *observed =
		observing ? observed_lease_find(observing, lease) : NULL;

	*figures = (struct observing_figures){ 0 };
	if (!observed)
		return;
	add(figures, observed);
	figures->distinct_pages = account_owed(observed->account);
}
