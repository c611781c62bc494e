/* org.vfiod.Space: a space, and the memory in it. */
#include "daemon/base/child.h"
#include "daemon/base/util.h"
#include "daemon/service/space-call.h"

#include <errno.h>
#include <limits.h>

/* Nobody knows its token: no process is to keep it. */
static void forget_new(struct call *call)
{
	struct space_entry *entry = call->state;

	space_entry_forget(entry, call);
	space_entry_end(entry, NULL, NULL);
}

/* The next vfiod has its keeper, too: now it can be told. */
static void on_kept(void *userdata)
{
	struct call *call = userdata;
	struct space_entry *entry = call->state;
	struct refusal none = { .kind = REFUSAL_NONE };

	call->cancel = NULL;
	/* It is written down: after a restart nobody could tell whether its client knows of it. */
	call->session->is_answering = true;
	inflight_publish(call->session);
	int r = space_entry_record(entry);
	if (r < 0) {
		space_entry_end(entry, NULL, NULL);
		call->state = NULL;
		call_failed(call, r, &none);
		return;
	}
	struct json_object *reply = json_object_new_object();
	json_put(reply, "space", json_text(entry->token));
	json_put(reply, "name", json_text(entry->name));
	if (!call_reply_fds(call, reply, NULL, 0))
		space_entry_end(entry, NULL, NULL);
}

static void create(struct call *call)
{
	struct session *session = call->session;
	struct json_object *max = json_field(call->varlink.parameters, "maxGroupsPerContainer");
	int64_t max_groups = max ? json_object_get_int64(max) : 0;
	struct subject holder = session->subject; /* its pointers stay the session's */
	struct space_request request = {
		.subject = &holder,
		.owner = session,
		.connection = session->connection,
		.holder_pidfd = -1,
		.max_groups_per_container = (unsigned)max_groups,
	};
	struct space_entry *entry = NULL;
	struct refusal refusal;

	if (max && (max_groups < 1 || max_groups > INT_MAX)) {
		call_invalid(call, "maxGroupsPerContainer");
		return;
	}
	int r = call_take_holder(call, &request.holder_pidfd, &holder, &refusal);
	if (r == 0)
		r = space_entry_new(session->service->broker, &request, &entry, &refusal);
	if (call_failed(call, r, &refusal) || !entry)
		return;
	call->state = entry;
	call->cancel = forget_new;
	r = space_entry_when_kept(entry, on_kept, call);
	if (r == 0)
		return;
	call->cancel = NULL;
	forget_new(call);
	call_failed(call, r, &refusal);
}

static void on_destroyed(const int *lingering, size_t n_lingering, void *userdata)
{
	struct json_object *reply = json_object_new_object(), *list = json_object_new_array();
	for (size_t i = 0; i < n_lingering; i++)
		json_object_array_add(list, json_object_new_int(lingering[i]));
	json_put(reply, "lingering", list);
	call_reply(userdata, reply);
}

static void destroy(struct call *call)
{
	struct session *session = call->session;
	struct space_entry *entry = call_space(call);
	if (!entry)
		return;
	int r = space_entry_end(entry, on_destroyed, call);
	/* Its keeper may be gone already: then so is the call. */
	if (session->current == call)
		call_asked(call, entry, r, NULL);
}

/* --- memory ------------------------------------------------------------------------------- */

/* Its descriptor, or -1 with what is wrong: others than of memory do not come through. */
static int take_memory(struct call *call, struct refusal *refusal)
{
	int64_t index =
		json_object_get_int64(json_field(call->varlink.parameters, "memoryFileDescriptor"));

	if (index < 0 || (uint64_t)index >= call->message.n_fds) {
		refuse(refusal, REFUSAL_INVALID_PARAMETER, "memoryFileDescriptor");
		return -1;
	}
	_cleanup_client_fd_ int fd = message_take_fd(&call->message, index);
	if (fd >= 0 && fd_is_memory(fd))
		return steal_fd(&fd);
	refuse(refusal, REFUSAL_MEMORY_UNSUITABLE,
		"it is neither a memfd nor another file of tmpfs or hugetlbfs");
	return -1;
}

static void on_added(struct space *space, const struct space_answer *answer, void *userdata)
{
	(void)space;
	struct call *call = userdata;
	if (call_failed(call, answer->result, answer->refusal))
		return;
	struct json_object *reply = json_object_new_object();
	json_put(reply, "memory", json_object_new_int64(answer->memory));
	json_put(reply, "lengthBytes", json_bytes(answer->length_bytes));
	json_put(reply, "pageBytes", json_object_new_int64(answer->page_bytes));
	json_put(reply, "isWritable", json_object_new_boolean(answer->is_writable));
	call_reply(call, reply);
}

static void add_memory(struct call *call)
{
	struct space_entry *entry = call_space(call);
	struct refusal refusal;
	if (!entry)
		return;
	int fd = take_memory(call, &refusal);
	int r = REFUSED;
	if (fd >= 0)
		r = space_add_memory(entry->space, fd, on_added, call, &refusal);
	/* The call may have to wait: what else came with it would, too. */
	message_close_fds(&call->message);
	call_asked(call, entry, r, &refusal);
}

/* A number of 32 bits: no memory has another. False: the call has been answered. */
static bool call_memory(struct call *call, uint32_t *memory)
{
	uint64_t number;
	struct refusal refusal;

	if (!call_unsigned(call, "memory", &number))
		return false;
	*memory = (uint32_t)number;
	if (number <= UINT32_MAX)
		return true;
	refuse(&refusal, REFUSAL_NO_SUCH_MEMORY, "there is none with this number");
	refusal.number = number;
	call_refuse(call, &refusal);
	return false;
}

static void on_done(struct space *space, const struct space_answer *answer, void *userdata)
{
	(void)space;
	struct call *call = userdata;
	if (!call_failed(call, answer->result, answer->refusal))
		call_reply(call, NULL);
}

static void remove_memory(struct call *call)
{
	struct space_entry *entry = call_space(call);
	struct refusal refusal;
	uint32_t memory;
	if (entry && call_memory(call, &memory))
		call_asked(call, entry,
			space_remove_memory(entry->space, memory, on_done, call, &refusal),
			&refusal);
}

/* --- mappings ------------------------------------------------------------------------------- */

/* Null is yes. */
static bool is_wanted(struct call *call, const char *key)
{
	struct json_object *value = json_field(call->varlink.parameters, key);
	return !value || json_object_get_boolean(value);
}

static void on_mapped(struct space *space, const struct space_answer *answer, void *userdata)
{
	(void)space;
	struct call *call = userdata;
	if (call_failed(call, answer->result, answer->refusal))
		return;
	struct json_object *reply = json_object_new_object();
	json_put(reply, "newOwedBytes", json_bytes(answer->new_owed_bytes));
	call_reply(call, reply);
}

static void map(struct call *call)
{
	struct space_entry *entry = call_space(call);
	struct space_map map = { 0 };
	struct refusal refusal;

	if (!entry || !call_memory(call, &map.memory) ||
		!call_unsigned(call, "offset", &map.offset) || !call_iova(call, &map.iova) ||
		!call_unsigned(call, "length", &map.length))
		return;
	map.read = is_wanted(call, "read");
	map.write = is_wanted(call, "write");
	call_asked(call, entry, space_map(entry->space, &map, on_mapped, call, &refusal), &refusal);
}

static void on_unmapped(struct space *space, const struct space_answer *answer, void *userdata)
{
	(void)space;
	struct call *call = userdata;
	if (call_failed(call, answer->result, answer->refusal))
		return;
	struct json_object *reply = json_object_new_object();
	json_put(reply, "mappings", json_object_new_int64(answer->n_mappings));
	json_put(reply, "lengthBytes", json_bytes(answer->length_bytes));
	call_reply(call, reply);
}

static void unmap(struct call *call)
{
	struct space_entry *entry = call_space(call);
	struct refusal refusal;
	uint64_t iova, length;

	if (entry && call_iova(call, &iova) && call_unsigned(call, "length", &length))
		call_asked(call, entry,
			space_unmap(entry->space, iova, length, on_unmapped, call, &refusal),
			&refusal);
}

const struct method space_methods[] = {
	{ .name = "org.vfiod.Space.Create", .run = create, .takes_fds = true },
	{ .name = "org.vfiod.Space.Destroy", .run = destroy },
	{ .name = "org.vfiod.Space.AddMemory", .run = add_memory, .takes_fds = true },
	{ .name = "org.vfiod.Space.RemoveMemory", .run = remove_memory },
	{ .name = "org.vfiod.Space.Map", .run = map },
	{ .name = "org.vfiod.Space.Unmap", .run = unmap },
	{ .name = NULL },
};
