/* org.vfiod.Space: groups in a space, their devices, and what it looks like then. */
#include "daemon/base/util.h"
#include "daemon/broker/backend.h"
#include "daemon/service/space-call.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>

/* A group's number. False: the call has been answered. */
static bool call_number(struct call *call, int *group)
{
	uint64_t number;

	if (!call_unsigned(call, "group", &number))
		return false;
	*group = (int)number;
	if (number <= INT_MAX)
		return true;
	call_invalid(call, "group");
	return false;
}

static void on_attached(
	int result, const struct refusal *refusal, unsigned container, void *userdata)
{
	struct call *call = userdata;
	if (call_failed(call, result, refusal))
		return;
	struct json_object *reply = json_object_new_object();
	json_put(reply, "container", json_object_new_int64(container));
	call_reply(call, reply);
}

static void attach(struct call *call)
{
	struct space_entry *entry = call_space(call);
	struct refusal refusal;
	int group;
	if (entry && call_number(call, &group))
		call_asked(call, entry,
			group_attach(entry, &call->session->subject,
				json_field_text(call->varlink.parameters, "token"), group,
				on_attached, call, &refusal),
			&refusal);
}

static void on_detached(
	int result, const struct refusal *refusal, unsigned container, void *userdata)
{
	(void)container;
	struct call *call = userdata;
	if (!call_failed(call, result, refusal))
		call_reply(call, NULL);
}

static void detach(struct call *call)
{
	struct space_entry *entry = call_space(call);
	struct refusal refusal;
	int group;
	if (entry && call_number(call, &group))
		call_asked(call, entry, group_detach(entry, group, on_detached, call, &refusal),
			&refusal);
}

static void on_device(struct space *space, const struct space_answer *answer, void *userdata)
{
	(void)space;
	struct call *call = userdata;
	if (call_failed(call, answer->result, answer->refusal))
		return;
	int copy = fcntl(answer->device_fd, F_DUPFD_CLOEXEC, 3);
	if (copy < 0) {
		call_fail(call, errno, "the descriptor of the device");
		return;
	}
	struct json_object *reply = json_object_new_object();
	json_put(reply, "deviceFileDescriptor", json_object_new_int(0));
	call_reply_fds(call, reply, &copy, 1);
}

static void get_device(struct call *call)
{
	struct space_entry *entry = call_space(call);
	struct refusal refusal;
	int group;
	if (entry && call_number(call, &group))
		call_asked(call, entry,
			space_get_device(entry->space, group,
				json_field_text(call->varlink.parameters, "device"), on_device,
				call, &refusal),
			&refusal);
}

/* --- ResetDevice ---------------------------------------------------------------------------- */

static void on_reset(struct space *space, const struct space_answer *answer, void *userdata)
{
	(void)space;
	struct call *call = userdata;
	if (!call_failed(call, answer->result, answer->refusal))
		call_reply(call, NULL);
}

static void reset_device(struct call *call)
{
	struct space_entry *entry = call_space(call);
	const char *scope = json_field_text(call->varlink.parameters, "scope");
	struct refusal refusal;
	int group;
	if (entry && call_number(call, &group))
		call_asked(call, entry,
			space_reset_device(entry->space, group,
				json_field_text(call->varlink.parameters, "device"),
				scope && strcmp(scope, "bus") == 0, on_reset, call, &refusal),
			&refusal);
}

/* --- Describe ------------------------------------------------------------------------------- */

static struct json_object *page_sizes_json(uint64_t sizes)
{
	struct json_object *list = json_object_new_array();
	for (int bit = 0; bit < 63; bit++)
		if (sizes & UINT64_C(1) << bit)
			json_object_array_add(list, json_object_new_int64(INT64_C(1) << bit));
	return list;
}

static struct json_object *containers_json(const struct space_description *space)
{
	struct json_object *list = json_object_new_array();
	for (size_t i = 0; i < space->n_containers; i++) {
		const struct space_container *container = &space->containers[i];
		struct json_object *json = json_object_new_object(),
				   *groups = json_object_new_array();
		for (size_t j = 0; j < container->n_groups; j++)
			json_object_array_add(groups, json_object_new_int(container->groups[j]));
		json_put(json, "number", json_object_new_int64(container->number));
		json_put(json, "groups", groups);
		json_object_array_add(list, json);
	}
	return list;
}

static void tell(struct call *call, const struct space_entry *entry)
{
	struct space_description space;

	space_describe(entry->space, &space);
	const struct account *payer = space_payer(entry->space);
	const struct account *account = space_account(entry->space);
	pid_t keeper = space_keeper_pid(entry->space);
	struct json_object *reply = json_object_new_object();

	json_put(reply, "name", json_text(entry->name));
	json_put(reply, "state", json_text(space_state_name(space_state(entry->space))));
	json_put(reply, "keeperPid", keeper > 0 ? json_object_new_int(keeper) : NULL);
	json_put(reply, "backend", json_text(backend_name(entry->is_iommufd)));
	json_put(reply, "account", payer ? json_text(payer->name) : NULL);
	json_put(reply, "pageSizes", page_sizes_json(space.page_sizes));
	json_put(reply, "iovaRanges", json_ranges(space.ranges, space.n_ranges));
	json_put(reply, "mappingsLeft",
		space.mappings_left == UINT32_MAX ? NULL
						  : json_object_new_int64(space.mappings_left));
	json_put(reply, "isCoherent", json_object_new_boolean(space.is_coherent));
	json_put(reply, "containers", containers_json(&space));
	json_put(reply, "memories", json_object_new_int64(space.n_memories));
	json_put(reply, "mappings", json_object_new_int64(space.n_mappings));
	json_put(reply, "mappedBytes", json_bytes(space.mapped_bytes));
	json_put(reply, "owedBytes", json_pages(account ? account_owed(account) : 0));
	json_put(reply, "kernelBillBytes", json_pages(account ? account_kernel_bill(account) : 0));
	call_reply(call, reply);
}

static void on_known(struct space *space, const struct space_answer *answer, void *userdata)
{
	(void)space;
	(void)answer;
	struct call *call = userdata;
	tell(call, call->state);
}

/* After a restart, only its keeper can say what it has. */
static void describe(struct call *call)
{
	struct space_entry *entry = call_space(call);

	if (entry && entry->is_restored)
		call_asked(call, entry, space_wait(entry->space, on_known, call), NULL);
	else if (entry)
		tell(call, entry);
}

const struct method attach_methods[] = {
	{ .name = "org.vfiod.Space.Attach", .run = attach, .transacts = true },
	{ .name = "org.vfiod.Space.Detach", .run = detach },
	{ .name = "org.vfiod.Space.GetDevice", .run = get_device },
	{ .name = "org.vfiod.Space.ResetDevice", .run = reset_device },
	{ .name = "org.vfiod.Space.Describe", .run = describe },
	{ .name = NULL },
};
