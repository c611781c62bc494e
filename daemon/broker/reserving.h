/*
 * What a lease that maps by itself has reserved: memory that the kernel may bill its holder. It is
 * charged on the account's kernel bill from before the groups are taken until the last of them is
 * back, since what was mapped may live that long; and from the grant to the end of the lease its
 * holder's RLIMIT_MEMLOCK is that much higher, soft and hard, once, whatever the lease's groups.
 * What the process had by itself it keeps, and where several leases follow one process each has its
 * part. With mode cdev the kernel bills the user, and so it is higher in each of his processes that
 * has such a lease; in the others until the reservation is over.
 *
 * Nothing here is verified (design: "Direct clients"): a pin can outlive who pays for it, and a
 * child keeps a raised limit. The hard bound is memory.max, which bound.h demands.
 */
#pragma once

#include "daemon/broker/broker.h"
#include "daemon/memory/ledger.h"

#include <sys/resource.h>

struct reservation;

/*
 * For a lease that is not granted yet: charges; no limit is raised. 0, REFUSED (LIMIT_EXCEEDED,
 * NOT_SUPPORTED: no ledger), -EOVERFLOW, -ENOMEM. lease->reservation is set, unless bytes is 0.
 */
int lease_reserve(
	struct broker *broker, struct lease *lease, uint64_t bytes, struct refusal *refusal);
/*
 * More for a granted lease (not a brokered one: NOT_SUPPORTED), and its holder's limit with it. All
 * or nothing. REFUSED, too, where the limit cannot be raised (SYSTEM).
 */
int lease_reserve_more(
	struct broker *broker, struct lease *lease, uint64_t bytes, struct refusal *refusal);
/* 0: nothing is reserved. */
uint64_t reservation_bytes(const struct reservation *reservation);
/* Of the lease's own; NULL for NULL. */
const struct account *reservation_account(const struct reservation *reservation);
/*
 * What is reserved on this account (NULL: on all), also for leases that are over, of which a group
 * has not settled.
 */
uint64_t broker_reserved_pages(const struct broker *broker, const char *account);
/*
 * What RLIMIT_MEMLOCK of the lease's process should be: what it had by itself, and what leases have
 * added; and what the kernel may bill it, by that and by what is reserved for it (with mode cdev:
 * for its user), also by leases that are over (UINT64_MAX: no limit). False: nobody has had it
 * raised, and so nobody knows.
 */
bool lease_lock(const struct lease *lease, struct rlimit *limit, uint64_t *bill_bytes);
