/* org.vfiod.Broker: Reopen, a group of a lease once more. */
#include "daemon/base/util.h"
#include "daemon/broker/reopening.h"
#include "daemon/service/parts.h"

#include <limits.h>

static void on_reopened(int result, int *group_fd, const struct refusal *refusal, void *userdata)
{
	struct call *call = userdata;
	int fd = steal_fd(group_fd);

	if (result == REFUSED) {
		call_refuse(call, refusal);
	} else if (result < 0) {
		call_fail(call, -result, "opening the group");
	} else {
		struct json_object *reply = json_object_new_object();

		json_put(reply, "groupFileDescriptor", json_object_new_int(0));
		/* We have opened it: what it is is known. */
		call->close_fds = close_all_fds;
		call_reply_fds(call, reply, &fd, 1);
	}
}

static void forget(struct call *call)
{
	lease_reopen_forget(call->session->service->broker, call);
}

static void reopen(struct call *call)
{
	struct json_object *parameters = call->varlink.parameters;
	int64_t group = json_object_get_int64(json_field(parameters, "group"));
	struct refusal refusal;

	if (group < 0 || group > INT_MAX) {
		call_invalid(call, "group");
		return;
	}
	int r = lease_reopen(call->session->service->broker, &call->session->subject,
		json_field_text(parameters, "token"), (int)group, on_reopened, call, &refusal);
	if (r == REFUSED)
		call_refuse(call, &refusal);
	else if (r < 0)
		call_fail(call, -r, "opening the group");
	else
		call->cancel = forget;
}

const struct method reopen_methods[] = {
	{ .name = "org.vfiod.Broker.Reopen", .run = reopen, .transacts = true },
	{ .name = NULL },
};
