/*
 * What clients that map by themselves say they have mapped, and which frames that is. An observer,
 * a child with a deadline, reads them from the page tables of the process that said so (pagemap
 * takes its mmap_lock, which it can make hang), in the background, so many pages a second and no
 * more. A page that two of them show is observed once. Nothing is refused because of it: it is what
 * trusted clients are told of, never what anybody is charged for.
 */
#pragma once

#include "daemon/broker/broker.h"
#include "daemon/memory/ledger.h"

struct observing;
/* Who reports: a connection. Freed when that is closed; forgets all that it reported. */
struct reporter;

struct observing_figures {
	bool is_any;             /* something is reported */
	uint64_t bill_pages;     /* what was reported: what the kernel bills for it */
	uint64_t distinct_pages; /* of those that were observed */
	uint64_t unobserved_pages;
};

struct reporter *reporter_new(struct broker *broker, const struct subject *subject);
struct reporter *reporter_free(struct reporter *reporter);
struct report {
	uint64_t container, iova, address, length;
};
/* For a lease of this subject which is granted, direct and trusted; else REFUSED (NO_SUCH_LEASE,
 * ACCESS_DENIED, NOT_SUPPORTED, TOO_MANY). token NULL: the lease that its process has. */
int report_map(struct reporter *reporter, const char *token, const struct report *report,
	struct refusal *refusal);
int report_unmap(struct reporter *reporter, const char *token, const struct report *report,
	struct refusal *refusal);
/* The lease is over: all that was reported for it is forgotten. */
void observing_end_lease(struct broker *broker, const struct lease *lease);
void observing_figures_of_account(
	const struct broker *broker, const char *account, struct observing_figures *figures);
void observing_figures_of_lease(
	const struct broker *broker, const struct lease *lease, struct observing_figures *figures);
/* The ledger of all that is observed, with accounts of the same names; no limits. NULL: none. */
const struct ledger *observing_ledger(const struct broker *broker);

/*
 * For an audit: how many pages of a lease that were observed have another frame now, or none. Read
 * by a child with a deadline, which the processes can make miss it: `result` is 0; -ESRCH, a
 * process has ended; -ETIMEDOUT or another -errno, it could not be known. Once, on the loop, later;
 * 0 or -errno. A lease for which nothing is reported has 0 such pages.
 */
struct comparison;
typedef void (*compared_fn)(int result, uint64_t different_pages, void *userdata);
int observing_compare(struct broker *broker, const struct lease *lease, compared_fn compared,
	void *userdata, struct comparison **comparison);
/* Before compared(), which frees it by itself: that is never called. NULL-safe. */
struct comparison *comparison_free(struct comparison *comparison);
