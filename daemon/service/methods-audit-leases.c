#include "daemon/service/methods-audit-leases.h"

#include "daemon/base/errand.h"
#include "daemon/base/util.h"
#include "daemon/broker/observing.h"
#include "daemon/broker/reserving.h"
#include "daemon/service/lease-facts.h"

#include <errno.h>
#include <string.h>

#define FINDING_SIZE 512

static const double DEADLINE_SECONDS = 5;

/* One lease. */
struct item {
	struct lease_audits *audits;
	char name[16];
	pid_t pid;
	unsigned long long start_ticks;
	struct errand *errand;         /* NULL: it has brought something, or never will */
	struct comparison *comparison; /* likewise */
	struct lease_facts facts;
};

struct lease_audits {
	struct service *service;
	lease_audits_done done;
	void *userdata;
	struct item *items;
	size_t n_items, n_pending;
	ev_timer nothing; /* where there is nothing to wait for */
};

struct lease_audits *lease_audits_free(struct lease_audits *audits)
{
	if (!audits)
		return NULL;
	ev_timer_stop(audits->service->loop, &audits->nothing);
	for (size_t i = 0; i < audits->n_items; i++) {
		errand_free(audits->items[i].errand);
		comparison_free(audits->items[i].comparison);
	}
	free(audits->items);
	free(audits);
	return NULL;
}

/* --- asking -------------------------------------------------------------------------------------
 */

static void audits_heard(struct lease_audits *audits)
{
	if (--audits->n_pending == 0)
		audits->done(audits->userdata);
}

static int look(FILE *answer, void *userdata)
{
	const struct item *item = userdata;
	return lease_process_read(item->pid, item->start_ticks, answer);
}

static void on_answer(
	struct errand *errand, int result, const char *answer, size_t length, void *userdata)
{
	struct item *item = userdata;

	(void)length;
	lease_process_parse(result, answer, &item->facts.process);
	item->errand = errand_free(errand);
	audits_heard(item->audits);
}

static void on_compared(int result, uint64_t different_pages, void *userdata)
{
	struct item *item = userdata;

	item->facts.compared = result;
	item->facts.different_pages = different_pages;
	item->comparison = NULL;
	audits_heard(item->audits);
}

static void item_ask(struct item *item, struct lease_audits *audits, const struct lease *lease)
{
	struct service *service = audits->service;

	item->audits = audits;
	item->pid = lease->subject.pid;
	item->start_ticks = lease->subject.start_ticks;
	memcpy(item->name, lease->name, sizeof(item->name));
	item->facts.is_lock_known = lease_lock(lease, &item->facts.limit, &item->facts.bill_bytes);
	item->facts.process.result = errand_new(service->loop, "vfiod-audit", look, item,
		DEADLINE_SECONDS, on_answer, item, &item->errand);
	audits->n_pending += item->facts.process.result == 0;
	item->facts.compared =
		observing_compare(service->broker, lease, on_compared, item, &item->comparison);
	audits->n_pending += item->facts.compared == 0;
}

static void on_nothing(struct ev_loop *loop, ev_timer *timer, int revents)
{
	(void)loop;
	(void)revents;
	struct lease_audits *audits = timer->data;
	audits->done(audits->userdata);
}

static bool is_audited(const struct lease *lease)
{
	return lease->state == LEASE_GRANTED && !lease->brokered;
}

int lease_audits_new(struct service *service, lease_audits_done done, void *userdata,
	struct lease_audits **auditsp)
{
	const struct lease_list *leases = &broker_book(service->broker)->leases;
	struct lease_audits *audits = calloc(1, sizeof(*audits));
	const struct lease *lease;
	size_t n = 0;

	TAILQ_FOREACH (lease, leases, of_book)
		n += is_audited(lease);
	if (audits)
		audits->items = calloc(n + 1, sizeof(*audits->items));
	if (!audits || !audits->items) {
		free(audits);
		return -ENOMEM;
	}
	audits->service = service;
	audits->done = done;
	audits->userdata = userdata;
	ev_timer_init(&audits->nothing, on_nothing, 0, 0);
	audits->nothing.data = audits;
	TAILQ_FOREACH (lease, leases, of_book)
		if (is_audited(lease))
			item_ask(&audits->items[audits->n_items++], audits, lease);
	if (audits->n_pending == 0)
		ev_timer_start(service->loop, &audits->nothing);
	*auditsp = audits;
	return 0;
}

/* --- what was found -----------------------------------------------------------------------------
 */

static bool is_lock_same(const struct lease_facts *facts, const struct lease *lease)
{
	struct rlimit limit;
	uint64_t bill_bytes;

	return lease_lock(lease, &limit, &bill_bytes) && bill_bytes == facts->bill_bytes &&
	       limit.rlim_cur == facts->limit.rlim_cur && limit.rlim_max == facts->limit.rlim_max;
}

static struct json_object *item_json(
	const struct item *item, const struct lease *lease, bool *is_right)
{
	struct json_object *json = json_object_new_object();
	struct lease_facts facts = item->facts;
	const struct lease_process *process = &facts.process;
	struct observing_figures figures;
	char finding[FINDING_SIZE];
	bool is_known = process->result == 0;

	/* Not where leases of its process have come or gone since it was asked. */
	facts.is_lock_known = facts.is_lock_known && is_lock_same(&facts, lease);
	facts.is_trusted = lease->is_trusted;
	facts.is_cdev = lease->cdev;
	observing_figures_of_lease(item->audits->service->broker, lease, &figures);
	facts.is_reported = figures.is_any;
	bool is_wrong = lease_facts_judge(&facts, finding, sizeof(finding));
	*is_right = *is_right && !is_wrong;
	json_put(json, "lease", json_text(lease->name));
	json_put(json, "account", json_text(lease->account));
	json_put(json, "pid", json_object_new_int(lease->subject.pid));
	json_put(json, "isTrusted", json_object_new_boolean(lease->is_trusted));
	json_put(json, "reservedBytes", json_bytes(reservation_bytes(lease->reservation)));
	json_put(json, "lockedBytes", is_known ? json_bytes(lease_facts_billed(&facts)) : NULL);
	json_put(json, "lockLimitBytes",
		is_known && process->limit.rlim_cur != RLIM_INFINITY
			? json_bytes(process->limit.rlim_cur)
			: NULL);
	json_put(json, "reportedBytes", figures.is_any ? json_pages(figures.bill_pages) : NULL);
	json_put(json, "differentPages", json_bytes(facts.different_pages));
	json_put(json, "memoryMaxBytes",
		is_known && process->bound_result == 0 && process->max_bytes != UINT64_MAX
			? json_bytes(process->max_bytes)
			: NULL);
	json_put(json, "finding", *finding ? json_text(finding) : NULL);
	json_put(json, "isWrong", json_object_new_boolean(is_wrong));
	return json;
}

struct json_object *lease_audits_json(const struct lease_audits *audits, bool *is_right)
{
	struct json_object *list = json_object_new_array();

	for (size_t i = 0; i < audits->n_items; i++) {
		const struct lease *lease = lease_book_by_name(
			broker_book(audits->service->broker), audits->items[i].name);
		if (lease && is_audited(lease))
			json_object_array_add(list, item_json(&audits->items[i], lease, is_right));
	}
	return list;
}
