#include "daemon/broker/reserving.h"

#include "daemon/base/log.h"
#include "daemon/broker/parts.h"

#include <errno.h>
#include <string.h>

struct reservation {
	LIST_ENTRY(reservation) of_broker;
	struct broker *broker;
	struct lease *lease; /* NULL: over */
	pid_t pid;           /* the lease's process */
	unsigned long long start_ticks;
	size_t n_references; /* the lease's, and those of its groups that have not settled */
	bool is_of_user;     /* the kernel bills not the process, but its user */
	uid_t uid;           /* the process's */
	struct charge charge;
	struct memlock memlock;
	struct memlock_note noted; /* as its lease is written down */
	bool is_left;              /* by a lease that is over: it has a record of its own */
};

static uint64_t page_bytes(void)
{
	return (uint64_t)sysconf(_SC_PAGESIZE);
}

void reservations_init(struct broker *broker)
{
	LIST_INIT(&broker->reservations);
	memlock_book_init(&broker->memlocks);
}

/* --- one of them ------------------------------------------------------------------------------ */

/* Nothing is charged yet. NULL: no memory. */
static struct reservation *reservation_make(
	struct broker *broker, const char *account, const char *lease)
{
	struct reservation *reservation = calloc(1, sizeof(*reservation));
	struct account *payer = ledger_account(broker->ledger, account),
		       *own = ledger_space_account(broker->ledger, lease);

	if (reservation && payer && own) {
		charge_open(&reservation->charge, payer, own);
		reservation->broker = broker;
		reservation->n_references = 1;
		LIST_INSERT_HEAD(&broker->reservations, reservation, of_broker);
	} else {
		free(reservation);
		reservation = NULL;
	}
	account_release(payer);
	account_release(own);
	return reservation;
}

static void reservation_of_user(struct reservation *reservation, uid_t uid)
{
	reservation->is_of_user = true;
	reservation->uid = uid;
	memlock_of_user(&reservation->memlock, uid);
}

static int reservation_new(struct broker *broker, struct lease *lease)
{
	struct reservation *reservation = reservation_make(broker, lease->account, lease->name);

	if (!reservation)
		return -ENOMEM;
	reservation->lease = lease;
	reservation_of_process(reservation, lease->subject.pid, lease->subject.start_ticks);
	if (lease->cdev)
		reservation_of_user(reservation, lease->subject.process_uid);
	lease->reservation = reservation;
	return 0;
}

void reservation_of_process(
	struct reservation *reservation, pid_t pid, unsigned long long start_ticks)
{
	reservation->pid = pid;
	reservation->start_ticks = start_ticks;
}

struct reservation *reservation_hold(struct reservation *reservation)
{
	if (reservation)
		reservation->n_references++;
	return reservation;
}

/*
 * Other leases of the user's, whose processes were looked at: what they have by themselves may be
 * another than was written down.
 */
static void reservations_follow(const struct reservation *reservation)
{
	struct reservation *other;
	struct memlock_note now;

	if (!reservation->is_of_user)
		return;
	LIST_FOREACH (other, &reservation->broker->reservations, of_broker) {
		if (other == reservation || !other->is_of_user || !other->lease ||
			other->uid != reservation->uid)
			continue;
		memlock_note(&other->memlock, &now);
		if (memcmp(&now, &other->noted, sizeof(now)) == 0)
			continue;
		other->noted = now;
		lease_record_follow(other->lease);
	}
}

/* What other processes of its user have of it, too. */
static void reservation_end_lock(struct reservation *reservation)
{
	struct broker *broker = reservation->broker;

	if (broker->is_leaving) {
		memlock_leave(&reservation->memlock);
		return;
	}
	int r = memlock_end(&broker->memlocks, &reservation->memlock);
	if (r < 0 && r != -ESRCH)
		log_warning("a process of uid %u keeps the memory lock limit (RLIMIT_MEMLOCK) that "
			    "it had for lease %s: %s",
			(unsigned)reservation->uid, reservation->charge.space->name, strerror(-r));
	reservations_follow(reservation);
}

struct reservation *reservation_release(struct reservation *reservation)
{
	if (!reservation || --reservation->n_references > 0)
		return NULL;
	if (reservation->is_left && !reservation->broker->is_leaving)
		reserved_unrecord(reservation->broker, reservation->charge.space->name);
	reservation_end_lock(reservation);
	charge_unbill(&reservation->charge, reservation->charge.kernel_bill);
	charge_close(&reservation->charge);
	LIST_REMOVE(reservation, of_broker);
	free(reservation);
	return NULL;
}

void reservation_lower(struct reservation *reservation)
{
	if (!reservation)
		return;
	int r = memlock_lower(&reservation->broker->memlocks, &reservation->memlock);
	if (r < 0 && r != -ESRCH)
		log_warning("process %d keeps the memory lock limit (RLIMIT_MEMLOCK) that it had "
			    "for lease %s: %s",
			(int)reservation->pid, reservation->lease->name, strerror(-r));
}

void lease_leave_reservation(struct lease *lease)
{
	if (!lease->reservation)
		return;
	reservation_lower(lease->reservation);
	lease_record_reserved(lease);
	lease->reservation->is_left = true;
}

void lease_end_reservation(struct lease *lease)
{
	struct reservation *reservation = lease->reservation;

	if (!reservation)
		return;
	if (reservation->broker->is_leaving)
		memlock_leave(&reservation->memlock);
	else
		reservation_lower(reservation);
	reservation->lease = NULL;
	lease->reservation = reservation_release(reservation);
}

/* --- what is charged -------------------------------------------------------------------------- */

void reservations_limits(
	const struct broker *broker, const char *account, struct byte_limits *limits)
{
	const struct reservation *reservation;

	LIST_FOREACH (reservation, &broker->reservations, of_broker) {
		const struct lease *lease = reservation->lease;
		if (!lease || strcmp(lease->account, account) != 0)
			continue;
		for (size_t i = 0; i < lease->n_groups; i++)
			policy_limits(broker->config, &lease->subject, lease->groups[i],
				device_needs_rule, account, limits);
	}
}

static int reservation_charge(
	struct reservation *reservation, uint64_t pages, struct refusal *refusal)
{
	struct byte_limits bytes;

	broker_account_limits(reservation->broker, reservation->lease->account, &bytes);
	struct limits limits = {
		.owed = limit_pages(bytes.owed),
		.kernel_bill = limit_pages(bytes.kernel_bill),
	};
	return charge_bill(&reservation->charge, pages, &limits, pages, refusal);
}

/* Rounded up to pages, and such that all that it has then is a size in bytes still. */
static int pages_of(const struct lease *lease, uint64_t bytes, uint64_t *pages)
{
	uint64_t sum;

	*pages = bytes / page_bytes() + (bytes % page_bytes() > 0);
	if (__builtin_add_overflow(reservation_bytes(lease->reservation), bytes, &sum) ||
		sum > INT64_MAX - page_bytes())
		return -EOVERFLOW;
	return 0;
}

static void tell_limit(
	struct broker *broker, const struct lease *lease, const struct refusal *refusal)
{
	char text[REFUSAL_TEXT_SIZE];
	struct broker_news news = {
		.event = "limitExceeded",
		.group = lease->n_groups > 0 ? lease->groups[0]->number : -1,
		.lease = lease->name,
		.text = text,
	};
	refusal_describe(refusal, text, sizeof(text));
	broker_tell(broker, &news);
}

/* *pages: how many that is. */
static int reserve(struct broker *broker, struct lease *lease, uint64_t bytes, uint64_t *pages,
	struct refusal *refusal)
{
	bool is_first = !lease->reservation;

	*pages = 0;
	if (bytes == 0)
		return 0;
	if (!broker->ledger)
		return refuse(refusal, REFUSAL_NOT_SUPPORTED,
			"reserving memory: this vfiod was started without a ledger");
	int r = pages_of(lease, bytes, pages);
	if (r == 0 && is_first)
		r = reservation_new(broker, lease);
	if (r < 0)
		return r;
	r = reservation_charge(lease->reservation, *pages, refusal);
	if (r == REFUSED)
		tell_limit(broker, lease, refusal);
	if (r != 0 && is_first)
		lease->reservation = reservation_release(lease->reservation);
	return r;
}

int lease_reserve(
	struct broker *broker, struct lease *lease, uint64_t bytes, struct refusal *refusal)
{
	uint64_t pages;
	return reserve(broker, lease, bytes, &pages, refusal);
}

/* --- what its process may lock ------------------------------------------------------------------
 */

/*
 * Written down before: a limit that the next daemon does not know of would stay raised for ever. If
 * it comes to less then, that does no harm (memlock.h).
 */
static int reservation_raise(
	struct reservation *reservation, uint64_t pages, struct refusal *refusal)
{
	struct memlock_book *book = &reservation->broker->memlocks;
	struct lease *lease = reservation->lease;
	const struct subject *subject = &lease->subject;
	struct memlock_note foreseen, now;

	int r = memlock_foresee(book, &reservation->memlock, subject->pid, subject->start_ticks,
		pages * page_bytes(), &foreseen);
	if (r == 0) {
		r = lease_record_as(lease, &foreseen);
		if (r < 0)
			return refuse_record(lease, r, refusal);
		r = memlock_raise(book, &reservation->memlock, subject->pid, subject->start_ticks,
			pages * page_bytes());
	}
	if (r < 0) {
		refuse(refusal, REFUSAL_SYSTEM,
			"raising what process %d may lock (RLIMIT_MEMLOCK)%s%s", (int)subject->pid,
			reservation->is_of_user && r != -ESRCH
				? ", and others of its user that have leases with mode cdev"
				: "",
			r == -ESRCH ? ": it has ended" : "");
		refusal->errnum = -r;
		return REFUSED;
	}
	memlock_note(&reservation->memlock, &now);
	reservation->noted = now;
	if (memcmp(&now, &foreseen, sizeof(now)) != 0)
		lease_record_follow(lease);
	reservations_follow(reservation);
	return 0;
}

int reservation_grant(struct reservation *reservation, struct refusal *refusal)
{
	return reservation_raise(reservation, reservation->charge.kernel_bill, refusal);
}

int lease_reserve_more(
	struct broker *broker, struct lease *lease, uint64_t bytes, struct refusal *refusal)
{
	bool is_first = !lease->reservation;
	uint64_t pages;

	if (lease->brokered)
		return refuse(refusal, REFUSAL_NOT_SUPPORTED,
			"reserving memory with mode brokered: a space is charged for what it maps");
	int r = reserve(broker, lease, bytes, &pages, refusal);
	struct reservation *reservation = lease->reservation;
	if (r != 0 || !reservation)
		return r;
	r = reservation_raise(reservation, pages, refusal);
	if (r == 0)
		return 0;
	charge_unbill(&reservation->charge, pages);
	if (is_first)
		lease->reservation = reservation_release(reservation);
	lease_record_follow(lease);
	return r;
}

static int charge_beyond_limits(struct reservation *reservation, uint64_t pages)
{
	const struct limits none = { LIMIT_NONE, LIMIT_NONE };
	struct refusal refusal;

	int r = charge_bill(&reservation->charge, pages, &none, pages, &refusal);
	return r > 0 ? -EOVERFLOW : r;
}

int reservation_left(struct broker *broker, const char *account, const char *lease,
	const uid_t *uid, uint64_t pages, struct reservation **reservationp)
{
	struct reservation *reservation = reservation_make(broker, account, lease);

	if (!reservation)
		return -ENOMEM;
	if (uid)
		reservation_of_user(reservation, *uid);
	int r = charge_beyond_limits(reservation, pages);
	if (r == 0)
		r = memlock_adopt_lowered(
			&broker->memlocks, &reservation->memlock, reservation_bytes(reservation));
	if (r < 0) {
		reservation_release(reservation);
		return r;
	}
	reservation->is_left = true;
	*reservationp = reservation;
	return 0;
}

int reservation_adopt(
	struct broker *broker, struct lease *lease, uint64_t pages, const struct memlock_note *note)
{
	int r = reservation_new(broker, lease);
	if (r < 0)
		return r;
	struct reservation *reservation = lease->reservation;
	r = charge_beyond_limits(reservation, pages);
	if (r < 0) {
		lease->reservation = reservation_release(reservation);
		return r;
	}
	r = memlock_adopt(&broker->memlocks, &reservation->memlock, reservation->pid,
		reservation->start_ticks, note, reservation_bytes(reservation));
	reservation->noted = *note;
	/* What it has reserved may be mapped, by its children too. */
	if (r < 0 && r != -ESRCH)
		log_warning(
			"lease %s: what process %d may lock (RLIMIT_MEMLOCK) stays as it is: %s",
			lease->name, (int)reservation->pid, strerror(-r));
	return 0;
}

/* --- figures ------------------------------------------------------------------------------------
 */

uint64_t reservation_pages(const struct reservation *reservation)
{
	return reservation ? reservation->charge.kernel_bill : 0;
}

void reservation_note(const struct reservation *reservation, struct memlock_note *note)
{
	static const struct memlock none;
	memlock_note(reservation ? &reservation->memlock : &none, note);
}

uint64_t reservation_bytes(const struct reservation *reservation)
{
	return reservation ? reservation->charge.kernel_bill * page_bytes() : 0;
}

const struct account *reservation_account(const struct reservation *reservation)
{
	return reservation ? reservation->charge.space : NULL;
}

uint64_t broker_reserved_pages(const struct broker *broker, const char *account)
{
	const struct reservation *reservation;
	uint64_t pages = 0;

	LIST_FOREACH (reservation, &broker->reservations, of_broker)
		if (!account || strcmp(reservation->charge.payer->name, account) == 0)
			pages += reservation->charge.kernel_bill;
	return pages;
}

const uid_t *reservation_user(const struct reservation *reservation)
{
	return reservation && reservation->is_of_user ? &reservation->uid : NULL;
}

/* May the one's process be billed for what the other has reserved? */
static bool is_of_same(const struct reservation *own, const struct reservation *other)
{
	if (other->pid == own->pid && other->start_ticks == own->start_ticks)
		return true;
	return own->is_of_user && other->is_of_user && own->uid == other->uid;
}

bool lease_lock(const struct lease *lease, struct rlimit *limit, uint64_t *bill_bytes)
{
	const struct reservation *own = lease->reservation, *reservation;
	struct rlimit by_itself;

	if (!own || !memlock_expected(&own->memlock, limit, &by_itself))
		return false;
	*bill_bytes = by_itself.rlim_max == RLIM_INFINITY ? UINT64_MAX : by_itself.rlim_max;
	LIST_FOREACH (reservation, &own->broker->reservations, of_broker)
		if (is_of_same(own, reservation) &&
			__builtin_add_overflow(
				*bill_bytes, reservation_bytes(reservation), bill_bytes))
			*bill_bytes = UINT64_MAX;
	return true;
}
