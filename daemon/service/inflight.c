#include "daemon/service/inflight.h"

#include "daemon/base/log.h"
#include "daemon/base/slots.h"
#include "daemon/base/util.h"
#include "daemon/service/parts.h"

#include <errno.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>

enum { FORMAT = 1, SLOTS_MAX = 65536, PROGRESS_MASK = 0xff };

struct connection_slot {
	uint32_t is_taken;
	uint32_t word; /* written at once: progress, stream << 8, is_oneway << 16 */
	uint64_t cookie;
	uint64_t start_ticks;
	char unused[SLOT_BYTES - 24];
};
_Static_assert(sizeof(struct connection_slot) == SLOT_BYTES, "a slot");

/* A number of this socket that no other has before the next boot: 0 or -errno. */
static int socket_cookie(int fd, uint64_t *cookie)
{
	socklen_t size = sizeof(*cookie);
	return getsockopt(fd, SOL_SOCKET, SO_COOKIE, cookie, &size) < 0 ? -errno : 0;
}

static void name_of(unsigned slot, char *name)
{
	snprintf(name, STORE_NAME_SIZE, "c%u", slot);
}

int inflight_open(struct service *service)
{
	struct rlimit limit;
	size_t n = SLOTS_MAX;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < n)
		n = limit.rlim_cur;
	int r = slots_open(service->hooks.store, "tc", FORMAT, n, &service->slots);
	if (r == -EBADMSG) {
		log_warning("the connections of the vfiod before this one are not understood: they "
			    "are closed");
		r = 0;
	}
	return r;
}

/* --- of this vfiod's sessions --------------------------------------------------------------- */

static enum progress progress_of(const struct session *session)
{
	const struct call *call = session->current;

	if (session->is_answering || transport_output_bytes(session->transport) > 0)
		return PROGRESS_SENDING;
	if (session->is_receiving)
		return PROGRESS_RECEIVING;
	return call && call->stream == STREAM_NONE ? PROGRESS_WORKING : PROGRESS_IDLE;
}

void inflight_publish(const struct session *session)
{
	const struct call *call = session->current;

	if (session->connection == 0 || session->service->is_leaving)
		return;
	uint32_t word = progress_of(session);
	if (call)
		word |= (uint32_t)call->stream << 8 | (uint32_t)call->varlink.oneway << 16;
	struct connection_slot *slot = slots_at(session->service->slots, session->connection - 1);
	uint32_t before = slot->word;
	__atomic_store_n(&slot->word, word, __ATOMIC_SEQ_CST);
	if ((before & PROGRESS_MASK) == PROGRESS_WORKING &&
		(word & PROGRESS_MASK) == PROGRESS_SENDING)
		slot_settle();
}

static void on_kept(bool is_kept, void *userdata)
{
	(void)is_kept; /* the store has told */
	session_kept(userdata);
}

static int slot_take(struct session *session)
{
	struct slots *slots = session->service->slots;
	int fd = transport_fd(session->transport);
	uint64_t cookie;

	int r = socket_cookie(fd, &cookie);
	int index = r < 0 ? r : slots_free_one(slots);
	if (index < 0)
		return r < 0 ? r : -ENOSPC;
	struct connection_slot *slot = slots_at(slots, (size_t)index);
	slot->cookie = cookie;
	slot->start_ticks = session->subject.start_ticks;
	slot_publish();
	slot->is_taken = 1;
	session->connection = (unsigned)index + 1;
	return 0;
}

static int store_connection(struct session *session)
{
	struct store *store = session->service->hooks.store;
	char name[STORE_NAME_SIZE];

	name_of(session->connection - 1, name);
	int r = store_put(store, name, transport_fd(session->transport));
	if (r == 0) {
		r = store_when_kept(store, on_kept, session);
		if (r < 0)
			store_remove(store, name);
	}
	return r;
}

void inflight_begin(struct session *session)
{
	bool is_possible = store_is_there(session->service->hooks.store);
	int r = slot_take(session);

	if (r == 0 && is_possible)
		r = store_connection(session);
	if (r < 0 && user_may_log(session->user))
		log_warning("the connection of pid %d, uid %u does not outlive a restart: %s",
			(int)session->subject.pid, (unsigned)session->subject.uid, strerror(-r));
	if (r < 0 || !is_possible)
		session_kept(session);
}

void inflight_end_with_us(struct session *session)
{
	char name[STORE_NAME_SIZE];

	if (session->connection == 0)
		return;
	/* That of no socket: what the store hands over is closed, if it cannot be told in time. */
	struct connection_slot *slot = slots_at(session->service->slots, session->connection - 1);
	slot->cookie = 0;
	slot_publish();
	name_of(session->connection - 1, name);
	store_remove(session->service->hooks.store, name);
}

void inflight_end(struct session *session)
{
	struct service *service = session->service;
	char name[STORE_NAME_SIZE];

	store_forget(service->hooks.store, session);
	if (session->connection == 0 || service->is_leaving)
		return;
	name_of(session->connection - 1, name);
	store_remove(service->hooks.store, name);
	slots_clear(service->slots, session->connection - 1);
	session->connection = 0;
}

/* --- of the vfiod before ---------------------------------------------------------------------- */

bool inflight_read(struct service *service, unsigned index, int fd, struct inflight *inflight)
{
	uint64_t cookie;

	if (index >= slots_count(service->slots))
		return false;
	const struct connection_slot *slot = slots_at(service->slots, index);
	if (!slot->is_taken || socket_cookie(fd, &cookie) < 0 || cookie != slot->cookie)
		return false;
	*inflight = (struct inflight){
		.progress = slot->word & PROGRESS_MASK,
		.stream = slot->word >> 8 & 0xff,
		.is_oneway = slot->word >> 16 & 1,
		.start_ticks = slot->start_ticks,
	};
	return true;
}

void inflight_clear_others(struct service *service)
{
	const struct session *session;
	size_t n = slots_count(service->slots);
	bool *is_there = calloc(n, sizeof(*is_there));

	/* Then those slots are lost, and nothing else. */
	if (!is_there)
		return;
	TAILQ_FOREACH (session, &service->sessions, of_service)
		if (session->connection > 0)
			is_there[session->connection - 1] = true;
	for (size_t i = 0; i < slots_used(service->slots); i++) {
		const struct connection_slot *slot = slots_at(service->slots, i);
		if (!is_there[i] && (slot->is_taken || slot->cookie))
			slots_clear(service->slots, i);
	}
	free(is_there);
}
