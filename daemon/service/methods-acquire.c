/* org.vfiod.Broker: Acquire, a lease as a stream, and Release. */
#include "daemon/base/log.h"
#include "daemon/base/message-id.h"
#include "daemon/base/util.h"
#include "daemon/bind/nodes.h"
#include "daemon/broker/restoring.h"
#include "daemon/lease/wish.h"
#include "daemon/service/parts.h"

#include <errno.h>
#include <string.h>

enum { MAX_WAIT_SECONDS = 7 * 24 * 3600 };

enum delivery {
	DELIVERY_NONE,  /* nothing to deliver yet */
	DELIVERY_WAITS, /* the descriptors are in the connection's output */
	DELIVERY_SENT,
	DELIVERY_FAILED,
};

/* The connection's end of a lease. */
struct acquisition {
	LIST_ENTRY(acquisition) of_session;
	struct session *session;
	struct call *call; /* NULL: answered; the lease lives on with the connection */
	struct lease *lease;
	enum delivery delivery;
};

static void acquisition_free(struct acquisition *acquisition)
{
	LIST_REMOVE(acquisition, of_session);
	free(acquisition);
}

void acquisitions_disconnect(struct session *session)
{
	struct acquisition *acquisition;
	while ((acquisition = LIST_FIRST(&session->acquisitions))) {
		struct lease *lease = acquisition->lease;
		bool is_lost = acquisition->delivery == DELIVERY_FAILED ||
			       (acquisition->delivery == DELIVERY_WAITS &&
				       transport_output_bytes(session->transport) > 0);
		acquisition_free(acquisition);
		if (is_lost) {
			/* Nobody got its descriptors: no process is to keep it. */
			lease->listener = NULL;
			broker_end(session->service->broker, lease,
				"its grant could not be delivered");
		} else {
			broker_disconnect(session->service->broker, lease);
		}
	}
}

static struct json_object *event_json(const char *event, const struct lease *lease)
{
	struct json_object *json = json_object_new_object();
	json_put(json, "event", json_text(event));
	json_put(json, "lease", json_text(lease->name));
	return json;
}

static void on_queued(struct lease *lease, size_t position, void *userdata)
{
	struct acquisition *acquisition = userdata;
	if (!acquisition->call)
		return;
	/* It waits for somebody else: that is no work, and keeps nobody from it. */
	transaction_end(acquisition->call);
	if (!acquisition->call->varlink.more)
		return;
	struct json_object *json = event_json("queued", lease);
	json_put(json, "position", json_object_new_int64((int64_t)position));
	call_reply_more(acquisition->call, json, NULL, 0);
}

/* Those of which there are nodes: a device that has only just joined is handed out by none. */
static void write_nodes(struct writing *reply, const struct nodes *nodes, size_t first)
{
	writing_open(reply, "devices", '[');
	for (size_t i = 0; i < nodes->n; i++)
		if (nodes->all[i].fd >= 0)
			writing_string(reply, NULL, nodes->all[i].device);
	writing_close(reply, ']');
	writing_open(reply, "deviceFileDescriptors", '[');
	for (size_t i = 0; i < nodes->n; i++)
		if (nodes->all[i].fd >= 0)
			writing_number(reply, NULL, (int64_t)first++);
	writing_close(reply, ']');
}

static void write_group(struct writing *reply, const struct group *group, int fd_index)
{
	const struct device *device;

	writing_open(reply, NULL, '{');
	writing_number(reply, "number", group->number);
	writing_open(reply, "devices", '[');
	TAILQ_FOREACH (device, &group->devices, of_group)
		if (device_on_vfio(device))
			writing_string(reply, NULL, device->name);
	writing_close(reply, ']');
	if (fd_index >= 0)
		writing_number(reply, "groupFileDescriptor", fd_index);
	writing_close(reply, '}');
}

/* Not of a lease that an earlier daemon has granted: who has it was told then. */
static void write_selected(struct writing *reply, const struct lease *lease)
{
	if (!lease->selected)
		return;
	writing_open(reply, "selected", '[');
	for (size_t i = 0; lease->selected[i]; i++)
		writing_string(reply, NULL, lease->selected[i]);
	writing_close(reply, ']');
}

/* has_fds: the descriptors of the groups are in the same message, in their order. */
static void write_lease(
	struct writing *reply, const char *event, const struct lease *lease, bool has_fds)
{
	reply_begin(reply);
	writing_string(reply, "event", event);
	writing_string(reply, "lease", lease->name);
	writing_string(reply, "token", lease->token);
	writing_string(reply, "mode", lease_mode(lease));
	writing_open(reply, "groups", '[');
	for (size_t i = 0; i < lease->n_groups; i++)
		write_group(reply, lease->groups[i], has_fds ? (int)i : -1);
	writing_close(reply, ']');
	write_selected(reply, lease);
}

/* Mode cdev: with all nodes, group by group, and then the context. How many they are. */
static size_t write_lease_nodes(
	struct writing *reply, const struct lease *lease, int fds[TRANSPORT_MAX_FDS])
{
	size_t n = 0;

	reply_begin(reply);
	writing_string(reply, "event", "granted");
	writing_string(reply, "lease", lease->name);
	writing_string(reply, "token", lease->token);
	writing_string(reply, "mode", lease_mode(lease));
	writing_open(reply, "groups", '[');
	for (size_t i = 0; i < lease->n_groups; i++) {
		struct nodes *nodes = lease->nodes->of_groups[i];

		writing_open(reply, NULL, '{');
		writing_number(reply, "number", lease->groups[i]->number);
		write_nodes(reply, nodes, n);
		writing_close(reply, '}');
		for (size_t j = 0; j < nodes->n; j++)
			if (nodes->all[j].fd >= 0)
				fds[n++] = steal_fd(&nodes->all[j].fd);
	}
	writing_close(reply, ']');
	write_selected(reply, lease);
	writing_number(reply, "iommufdFileDescriptor", (int64_t)n);
	fds[n++] = steal_fd(&lease->nodes->context);
	return n;
}

/* After a restart nobody could tell whether its client has heard of it. */
static void on_granting(struct lease *lease, void *userdata)
{
	(void)lease;
	struct acquisition *acquisition = userdata;

	acquisition->session->is_answering = true;
	inflight_publish(acquisition->session);
}

static void on_granted(struct lease *lease, int *group_fds, void *userdata)
{
	struct acquisition *acquisition = userdata;
	struct session *session = acquisition->session;
	struct call *call = acquisition->call;
	size_t n_fds = group_fds ? lease->n_groups : 0;
	bool goes_on = call->varlink.more;
	int fds[TRANSPORT_MAX_FDS];
	struct writing reply;

	transaction_end(call);
	for (size_t i = 0; i < n_fds; i++)
		fds[i] = steal_fd(&group_fds[i]);
	/* We have opened them: what they are is known. */
	call->close_fds = close_all_fds;
	if (lease->nodes)
		n_fds = write_lease_nodes(&reply, lease, fds);
	else
		write_lease(&reply, "granted", lease, !lease->brokered);
	if (goes_on)
		call->stream = STREAM_LEASE;
	else
		acquisition->call = NULL;
	bool is_queued = call_reply_text(call, &reply, goes_on, fds, n_fds);
	if (!is_queued)
		acquisition->delivery = DELIVERY_FAILED;
	else if (transport_output_bytes(session->transport) > 0)
		acquisition->delivery = DELIVERY_WAITS;
	else
		acquisition->delivery = DELIVERY_SENT;
}

static void on_event(struct lease *lease, enum lease_event event, const char *text, void *userdata)
{
	struct acquisition *acquisition = userdata;
	if (!acquisition->call || !acquisition->call->varlink.more)
		return;
	bool gone = event == LEASE_DEVICE_GONE;
	struct json_object *json = event_json(gone ? "deviceGone" : "releaseRequested", lease);
	json_put(json, gone ? "device" : "reason", json_text(text));
	call_reply_more(acquisition->call, json, NULL, 0);
}

static void on_refused(struct lease *lease, const struct refusal *refusal, void *userdata)
{
	(void)lease;
	struct acquisition *acquisition = userdata;
	struct call *call = acquisition->call;
	acquisition_free(acquisition);
	call_refuse(call, refusal);
}

static void on_ended(struct lease *lease, const char *reason, void *userdata)
{
	struct acquisition *acquisition = userdata;
	struct call *call = acquisition->call;

	acquisition_free(acquisition);
	if (!call)
		return;
	struct json_object *json = event_json("ended", lease);
	json_put(json, "reason", json_text(reason));
	call_reply(call, json);
}

static const struct lease_listener acquisition_listener = {
	.queued = on_queued,
	.granting = on_granting,
	.granted = on_granted,
	.event = on_event,
	.refused = on_refused,
	.ended = on_ended,
};

/* --- after a restart -------------------------------------------------------------------------- */

struct restoring {
	struct session *session;
	bool has_stream;
	int result;
};

static void on_restored(struct lease *lease, bool is_stream, void *userdata)
{
	struct restoring *restoring = userdata;
	struct session *session = restoring->session;
	bool goes_on = is_stream && restoring->has_stream && !session->current;
	struct acquisition *acquisition = calloc(1, sizeof(*acquisition));

	if (acquisition && goes_on)
		acquisition->call = call_restore(session, "org.vfiod.Broker.Acquire", STREAM_LEASE);
	if (!acquisition || (goes_on && !acquisition->call)) {
		free(acquisition);
		restoring->result = -ENOMEM;
		return;
	}
	/* It was granted, but the call that was to hear of it is interrupted. */
	lease->is_stream = goes_on;
	acquisition->session = session;
	acquisition->lease = lease;
	acquisition->delivery = DELIVERY_SENT;
	LIST_INSERT_HEAD(&session->acquisitions, acquisition, of_session);
	lease_listen(lease, &acquisition_listener, acquisition);
}

int acquisitions_restore(struct session *session, bool has_stream)
{
	struct restoring restoring = { .session = session, .has_stream = has_stream };

	broker_reconnect(session->service->broker, session->connection, on_restored, &restoring);
	return restoring.result;
}

/* What one user may have at a time: 0 or REFUSED. */
static int check_bounds(const struct session *session, bool waits, struct refusal *refusal)
{
	struct broker *broker = session->service->broker;
	const struct bounds *bounds = &broker_config(broker)->bounds;
	unsigned n_leases = 0, n_waiting = 0;
	const struct lease *lease;

	if (session_is_admin(session))
		return 0;
	TAILQ_FOREACH (lease, &broker_book(broker)->leases, of_book) {
		if (lease->subject.uid != session->subject.uid)
			continue;
		n_leases++;
		n_waiting += lease->state == LEASE_QUEUED;
	}
	if (n_leases >= bounds->leases_per_user)
		return refuse_too_many(refusal, "max-leases-per-user", bounds->leases_per_user);
	if (waits && n_waiting >= bounds->waiting_per_user)
		return refuse_too_many(refusal, "max-waiting-per-user", bounds->waiting_per_user);
	return 0;
}

static void acquire(struct call *call)
{
	struct session *session = call->session;
	struct json_object *wait = json_field(call->varlink.parameters, "waitSeconds");
	struct json_object *memory = json_field(call->varlink.parameters, "memoryBytes");
	const char *mode = json_field_text(call->varlink.parameters, "mode");
	int64_t wait_seconds = wait ? json_object_get_int64(wait) : 0;
	int64_t memory_bytes = memory ? json_object_get_int64(memory) : 0;
	struct group *groups[MAX_SELECTORS];
	struct refusal refusal;
	struct subject holder = session->subject; /* its pointers stay the session's */
	struct acquire_request request = {
		.subject = &holder,
		.groups = groups,
		.wait_seconds = (double)wait_seconds,
		.brokered = mode && strcmp(mode, "brokered") == 0,
		.cdev = mode && strcmp(mode, "cdev") == 0,
		.memory_bytes = (uint64_t)memory_bytes,
		.holder_pidfd = -1,
		.listener = &acquisition_listener,
		.connection = session->connection,
		.is_stream = call->varlink.more,
	};

	if (wait_seconds < 0 || wait_seconds > MAX_WAIT_SECONDS) {
		call_invalid(call, "waitSeconds");
		return;
	}
	if (memory_bytes < 0 || (memory_bytes > 0 && request.brokered)) {
		call_invalid(call, "memoryBytes");
		return;
	}
	int r = check_bounds(session, wait_seconds > 0, &refusal);
	if (r == 0)
		r = selectors_read(call, &request.wishes, &refusal);
	if (r == 0)
		request.n_groups = wishes_named(request.wishes, groups);
	if (r == 0)
		r = call_take_holder(call, &request.holder_pidfd, &holder, &refusal);
	/* The call may last as long as the lease: what else came with it would, too. */
	message_close_fds(&call->message);
	struct acquisition *acquisition = r == 0 ? new_zeroed(sizeof(*acquisition)) : NULL;
	if (!acquisition)
		wishes_free(request.wishes);
	if (r == 0 && !acquisition) {
		if (request.holder_pidfd >= 0)
			close(request.holder_pidfd);
		r = -ENOMEM;
	}
	if (r == 0) {
		acquisition->session = session;
		acquisition->call = call;
		LIST_INSERT_HEAD(&session->acquisitions, acquisition, of_session);
		request.userdata = acquisition;
		r = broker_acquire(
			session->service->broker, &request, &acquisition->lease, &refusal);
		if (r != 0)
			acquisition_free(acquisition);
	}
	/* Who was denied what is for the administrator to see, too. */
	if (r == REFUSED && refusal.kind == REFUSAL_ACCESS_DENIED && user_may_log(session->user))
		log_fields(LOG_NOTICE,
			(const char *[]){ "MESSAGE_ID", MESSAGE_DENIED, "VFIOD_DEVICE",
				refusal.device, NULL },
			"denied to pid %d (%s) of uid %u: %s", (int)session->subject.pid,
			session->subject.command, (unsigned)session->subject.uid, refusal.text);
	if (r < 0)
		call_fail(call, -r, "acquiring");
	else if (r == REFUSED)
		call_refuse(call, &refusal);
}

/* --- Resume ----------------------------------------------------------------------------------- */

static void tell_resumed(struct acquisition *acquisition)
{
	struct lease *lease = acquisition->lease;
	struct call *call = acquisition->call;
	bool goes_on = call->varlink.more;
	struct writing reply;

	write_lease(&reply, "resumed", lease, false);
	if (goes_on)
		call->stream = STREAM_LEASE;
	else
		acquisition->call = NULL;
	call_reply_text(call, &reply, goes_on, NULL, 0);
	if (!goes_on)
		return;
	if (lease->is_release_requested)
		on_event(lease, LEASE_RELEASE_REQUESTED, "it was asked for while nobody listened",
			acquisition);
}

static void resume(struct call *call)
{
	struct session *session = call->session;
	const char *token = json_field_text(call->varlink.parameters, "token");
	struct acquisition *acquisition = calloc(1, sizeof(*acquisition));
	struct refusal refusal;
	int r = -ENOMEM;

	if (acquisition) {
		acquisition->session = session;
		acquisition->call = call;
		acquisition->delivery = DELIVERY_SENT;
		LIST_INSERT_HEAD(&session->acquisitions, acquisition, of_session);
		r = broker_resume(session->service->broker, &session->subject, token,
			session->connection, call->varlink.more, &acquisition_listener, acquisition,
			&acquisition->lease, &refusal);
		if (r != 0)
			acquisition_free(acquisition);
	}
	if (r < 0)
		call_fail(call, -r, "resuming");
	else if (r == REFUSED)
		call_refuse(call, &refusal);
	else
		tell_resumed(acquisition);
}

/* --- Release --------------------------------------------------------------------------------- */

static void release_cancel(struct call *call)
{
	settling_forget(call->state, call);
}

static void on_settled(
	const int *lingering, size_t n_lingering, const struct refusal *refusal, void *userdata)
{
	struct call *call = userdata;
	if (refusal) {
		call_refuse(call, refusal);
		return;
	}
	struct writing reply;

	reply_begin(&reply);
	writing_open(&reply, "lingering", '[');
	for (size_t i = 0; i < n_lingering; i++)
		writing_number(&reply, NULL, lingering[i]);
	writing_close(&reply, ']');
	call_reply_text(call, &reply, false, NULL, 0);
}

static void release(struct call *call)
{
	struct settling *settling = NULL;
	struct refusal refusal;

	/* It may settle before broker_release() comes back: nothing of the call is used then. */
	struct session *session = call->session;
	const char *token = json_field_text(call->varlink.parameters, "token");
	int r = broker_release(session->service->broker, &session->subject, token, on_settled, call,
		&settling, &refusal);
	if (r < 0)
		call_fail(call, -r, "releasing");
	else if (r == REFUSED)
		call_refuse(call, &refusal);
	else if (session->current == call) {
		call->state = settling;
		call->cancel = release_cancel;
	}
}

const struct method acquire_methods[] = {
	{ .name = "org.vfiod.Broker.Acquire",
		.run = acquire,
		.takes_fds = true,
		.lasts = true,
		.transacts = true },
	{ .name = "org.vfiod.Broker.Resume", .run = resume, .lasts = true },
	{ .name = "org.vfiod.Broker.Release", .run = release, .transacts = true },
	{ .name = NULL },
};
