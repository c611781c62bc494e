/* Connections that come back after a restart, those that do not, and leases that change theirs. */
#include "daemon/base/log.h"
#include "daemon/base/util.h"
#include "daemon/broker/restoring-parts.h"
#include "daemon/broker/revoking.h"
#include "daemon/broker/space-record.h"

#include <string.h>

/* --- the connections that there are ------------------------------------------------------------
 */

static struct restored *restored_of(struct broker *broker, unsigned connection)
{
	struct restored *restored;

	TAILQ_FOREACH (restored, &broker->restored, of_broker)
		if (!restored->is_back && restored->lease->connection == connection)
			return restored;
	return NULL;
}

void broker_reconnect(
	struct broker *broker, unsigned connection, restored_lease visit, void *userdata)
{
	struct restored *restored;

	while (connection != 0 && (restored = restored_of(broker, connection))) {
		restored->is_back = true;
		visit(restored->lease, restored->lease->is_stream, userdata);
	}
}

void lease_listen(struct lease *lease, const struct lease_listener *listener, void *userdata)
{
	lease->listener = listener;
	lease->userdata = userdata;
}

/* --- and those that are lost -------------------------------------------------------------------
 */

static void tell_lost(struct lease *lease)
{
	char **lost = steal_pointer(&lease->tenancy->lost);

	for (size_t i = 0; lost && lost[i]; i++)
		if (lease->listener && lease->listener->event)
			lease->listener->event(lease, LEASE_DEVICE_GONE, lost[i], lease->userdata);
	strv_free(lost);
}

static void begin_grace(struct lease *lease)
{
	struct tenancy *tenancy = lease->tenancy;
	unsigned seconds = tenancy->broker->config->resume_timeout_seconds;

	log_fields(LOG_NOTICE, (const char *[]){ "VFIOD_LEASE", lease->name, NULL },
		"lease %s has lost its connection in the restart, and ends in %u s if nobody "
		"resumes it",
		lease->name, seconds);
	ev_timer_set(&tenancy->grace, seconds, 0);
	ev_timer_start(tenancy->broker->loop, &tenancy->grace);
}

/* A number that a later connection may get: neither this daemon nor the next mistakes it. */
static void lose_connection(struct lease *lease)
{
	lease->connection = 0;
	lease->is_stream = false;
	if (!lease->follows_process)
		begin_grace(lease);
}

/* What an administrator has begun is not over with the daemon: the holder has his time once more.
 */
static void revoke_again(struct broker *broker, struct lease *lease)
{
	if (!lease->is_release_requested || lease_revoke_seconds(broker, lease) < 0)
		return;
	int r = broker_revoke(broker, lease, "it was asked for before vfiod was restarted", false);
	if (r < 0)
		log_error("lease %s has been asked for, and is not revoked any more: %s",
			lease->name, strerror(-r));
}

void broker_restored(struct broker *broker)
{
	struct restored *restored;

	while ((restored = TAILQ_FIRST(&broker->restored))) {
		struct lease *lease = restored->lease;
		const char *end = restored->end;
		bool is_back = restored->is_back;

		TAILQ_REMOVE(&broker->restored, restored, of_broker);
		free(restored);
		tell_lost(lease);
		if (end) {
			tenancy_end(lease, end, NULL);
			continue;
		}
		if (!is_back)
			lose_connection(lease);
		lease_record_follow(lease);
		revoke_again(broker, lease);
	}
	spaces_restored(broker);
	broker_pump_later(broker);
}

/* --- Resume -------------------------------------------------------------------------------------
 */

int broker_resume(struct broker *broker, const struct subject *subject, const char *token,
	unsigned connection, bool is_stream, const struct lease_listener *listener, void *userdata,
	struct lease **leasep, struct refusal *refusal)
{
	struct lease *lease = lease_book_by_token(&broker->book, token);

	if (!lease || lease->state != LEASE_GRANTED || lease->subject.uid != subject->uid)
		return refuse(refusal, REFUSAL_NO_SUCH_LEASE, "no lease has this token");
	const struct lease before = *lease;
	lease->connection = connection;
	lease->is_stream = is_stream;
	int r = lease_record(lease);
	if (r < 0) {
		lease->connection = before.connection;
		lease->is_stream = before.is_stream;
		return r;
	}
	ev_timer_stop(broker->loop, &lease->tenancy->grace);
	lease_listen(lease, listener, userdata);
	if (before.listener && before.listener->ended)
		before.listener->ended(lease, "it was resumed elsewhere", before.userdata);
	*leasep = lease;
	return 0;
}

/* --- the end of this daemon ---------------------------------------------------------------------
 */

void broker_leave(struct broker *broker)
{
	broker->on_news = NULL;
	broker->is_leaving = true;
}
