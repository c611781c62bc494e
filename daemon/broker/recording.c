/* When a lease is written down for the next daemon, and when that is over. */
#include "daemon/base/fields.h"
#include "daemon/base/log.h"
#include "daemon/base/record.h"
#include "daemon/base/store.h"
#include "daemon/base/util.h"
#include "daemon/broker/restoring-parts.h"

#include <errno.h>
#include <string.h>

/* "l3", of lease L3. */
static void holder_name(const struct lease *lease, char name[STORE_NAME_SIZE])
{
	snprintf(name, STORE_NAME_SIZE, "l%.13s", lease->name + 1);
}

void tenancy_store_holder(struct tenancy *tenancy)
{
	struct store *store = tenancy->broker->store;
	char name[STORE_NAME_SIZE];

	if (!store || !store_is_there(store) || tenancy->holder_pidfd < 0)
		return;
	holder_name(tenancy->lease, name);
	int r = store_put(store, name, tenancy->holder_pidfd);
	if (r < 0 && r != -EEXIST)
		log_warning("lease %s: a restart will have to find process %d by its number: %s",
			tenancy->lease->name, (int)tenancy->lease->subject.pid, strerror(-r));
}

int tenancy_take_holder(struct tenancy *tenancy)
{
	char name[STORE_NAME_SIZE];

	holder_name(tenancy->lease, name);
	return tenancy->broker->store ? store_take(tenancy->broker->store, name) : -1;
}

/* --- drafts ---------------------------------------------------------------------------------- */

static void drop_spare(struct broker *broker)
{
	ev_timer_stop(broker->loop, &broker->spare_unused);
	record_drop(broker->state_directory, LEASE_RECORDS, &broker->spare);
}

static void on_spare_unused(struct ev_loop *loop, ev_timer *timer, int revents)
{
	(void)loop;
	(void)revents;
	drop_spare(timer->data);
}

void drafts_init(struct broker *broker)
{
	broker->spare = NO_DRAFT;
	ev_init(&broker->spare_unused, on_spare_unused);
	broker->spare_unused.data = broker;
}

void drafts_free(struct broker *broker)
{
	drop_spare(broker);
}

static struct draft take_spare(struct broker *broker)
{
	struct draft spare = broker->spare;

	ev_timer_stop(broker->loop, &broker->spare_unused);
	broker->spare = NO_DRAFT;
	return spare;
}

static void leave_spare(struct broker *broker, struct draft *draft)
{
	drop_spare(broker);
	broker->spare = *draft;
	*draft = NO_DRAFT;
	ev_timer_set(&broker->spare_unused, broker->keep_seconds, 0);
	ev_timer_start(broker->loop, &broker->spare_unused);
}

static void close_record(struct tenancy *tenancy)
{
	if (tenancy->broker->drafted == tenancy)
		tenancy->broker->drafted = NULL;
	record_let_go(&tenancy->draft);
}

/* It has become the record. One lease has its file open: the last, who may be the first to end. */
static void keep_open(struct tenancy *tenancy)
{
	struct broker *broker = tenancy->broker;

	if (broker->drafted)
		close_record(broker->drafted);
	broker->drafted = tenancy;
}

void lease_draft_record(struct lease *lease)
{
	static const struct memlock_note none = { 0 };
	struct tenancy *tenancy = lease->tenancy;
	_cleanup_writing_ struct writing writing = { 0 };

	/* Its limit is raised later. */
	if (lease->reservation)
		return;
	lease->granted_at = ev_now(tenancy->broker->loop);
	lease_write(&writing, lease, &none);
	if (writing.has_failed)
		return;
	tenancy->draft = take_spare(tenancy->broker);
	(void)record_draft(tenancy->broker->state_directory, LEASE_RECORDS, lease->name,
		writing.bytes, writing.length, &tenancy->draft);
}

void lease_drop_draft(struct lease *lease)
{
	record_drop(lease->tenancy->broker->state_directory, LEASE_RECORDS, &lease->tenancy->draft);
}

void lease_forget_draft(struct lease *lease)
{
	if (lease->tenancy->is_recorded)
		close_record(lease->tenancy);
	else
		lease_drop_draft(lease);
}

/* --- records --------------------------------------------------------------------------------- */

static int write_record(struct lease *lease, const struct memlock_note *lock)
{
	struct tenancy *tenancy = lease->tenancy;
	struct broker *broker = tenancy->broker;
	_cleanup_writing_ struct writing writing = { 0 };

	lease_write(&writing, lease, lock);
	if (writing.has_failed)
		return -ENOMEM;
	/* It will be another file, in its place: of a lease there is one record. */
	close_record(tenancy);
	if (!tenancy->is_recorded)
		string_copy(tenancy->record, sizeof(tenancy->record), lease->name);
	return record_write_text(broker->state_directory, LEASE_RECORDS, tenancy->record,
		writing.bytes, writing.length);
}

/* 0, -ESTALE: it has to be written, or -errno. */
static int commit_draft(struct tenancy *tenancy)
{
	const char *state_directory = tenancy->broker->state_directory;
	int r = record_commit(state_directory, LEASE_RECORDS, &tenancy->draft);

	if (r == -ESTALE)
		log_warning("somebody has removed or replaced %s/" LEASE_RECORDS
			    "/%s.json: lease %s is written down anew",
			state_directory, tenancy->draft.name, tenancy->lease->name);
	if (r < 0)
		return r;
	string_copy(tenancy->record, sizeof(tenancy->record), tenancy->draft.name);
	keep_open(tenancy);
	return 0;
}

int lease_record_as(struct lease *lease, const struct memlock_note *lock)
{
	struct tenancy *tenancy = lease->tenancy;
	bool is_drafted = !tenancy->is_recorded && tenancy->draft.fd >= 0;
	int r = is_drafted ? commit_draft(tenancy) : -ESTALE;

	if (r == -ESTALE)
		r = write_record(lease, lock);
	if (r == 0)
		tenancy->is_recorded = true;
	return r;
}

int lease_record(struct lease *lease)
{
	struct memlock_note lock;

	reservation_note(lease->reservation, &lock);
	return lease_record_as(lease, &lock);
}

void lease_record_follow(struct lease *lease)
{
	int r = lease->tenancy->is_recorded ? lease_record(lease) : 0;
	if (r < 0)
		log_error("lease %s not written down again, a restart takes it as it was: %s",
			lease->name, strerror(-r));
}

int lease_record_grant(struct lease *lease, struct refusal *refusal)
{
	int r;

	if (lease->listener && lease->listener->granting)
		lease->listener->granting(lease, lease->userdata);
	tenancy_store_holder(lease->tenancy);
	if (lease->reservation)
		return reservation_grant(lease->reservation, refusal);
	r = lease_record(lease);
	return r < 0 ? refuse_record(lease, r, refusal) : 0;
}

int refuse_record(const struct lease *lease, int result, struct refusal *refusal)
{
	refuse(refusal, REFUSAL_SYSTEM, "writing down lease %s", lease->name);
	refusal->errnum = -result;
	return REFUSED;
}

static int remove_record(struct tenancy *tenancy)
{
	struct broker *broker = tenancy->broker;

	if (broker->drafted == tenancy && record_strike(&tenancy->draft) == 0) {
		broker->drafted = NULL;
		leave_spare(broker, &tenancy->draft);
		return 0;
	}
	close_record(tenancy);
	return record_remove(broker->state_directory, LEASE_RECORDS, tenancy->record);
}

void lease_unrecord(struct lease *lease)
{
	struct tenancy *tenancy = lease->tenancy;
	struct broker *broker = tenancy->broker;
	char name[STORE_NAME_SIZE];

	if (!tenancy->is_recorded)
		return;
	int r = remove_record(tenancy);
	if (r < 0)
		log_error("lease %s is over, but a restart would take it up: %s/" LEASE_RECORDS
			  "/%s.json: %s",
			lease->name, broker->state_directory, tenancy->record, strerror(-r));
	tenancy->is_recorded = false;
	if (!broker->store || !store_is_there(broker->store) || tenancy->holder_pidfd < 0)
		return;
	holder_name(lease, name);
	store_remove(broker->store, name);
}
