/* org.vfiod.Broker: Reopen, a group, device or iommufd of a lease once more. */
#include "daemon/base/util.h"
#include "daemon/broker/reopening.h"
#include "daemon/service/parts.h"

#include <limits.h>

/* Of `name`; `fd` is ours. */
static void reply_fd(struct call *call, const char *name, int fd)
{
	struct json_object *reply = json_object_new_object();

	json_put(reply, name, json_object_new_int(0));
	/* We have opened it: what it is is known. */
	call->close_fds = close_all_fds;
	call_reply_fds(call, reply, &fd, 1);
}

static void on_reopened(int result, int *fd, const struct refusal *refusal, void *userdata)
{
	struct call *call = userdata;
	bool is_device = json_field(call->varlink.parameters, "device");

	if (result == REFUSED)
		call_refuse(call, refusal);
	else if (result < 0)
		call_fail(call, -result, is_device ? "opening the device" : "opening the group");
	else
		reply_fd(call, is_device ? "deviceFileDescriptor" : "groupFileDescriptor",
			steal_fd(fd));
}

static void forget(struct call *call)
{
	lease_reopen_forget(call->session->service->broker, call);
}

static void open_context(struct call *call, const char *token)
{
	struct refusal refusal;
	int fd;

	if (lease_open_context(call->session->service->broker, &call->session->subject, token, &fd,
		    &refusal) == 0)
		reply_fd(call, "iommufdFileDescriptor", fd);
	else
		call_refuse(call, &refusal);
}

static void reopen(struct call *call)
{
	struct json_object *parameters = call->varlink.parameters;
	struct broker *broker = call->session->service->broker;
	const struct subject *subject = &call->session->subject;
	struct json_object *group = json_field(parameters, "group");
	const char *device = json_field_text(parameters, "device");
	const char *token = json_field_text(parameters, "token");
	bool iommufd = json_object_get_boolean(json_field(parameters, "iommufd"));
	int64_t number = json_object_get_int64(group);
	struct refusal refusal;

	if ((group != NULL) + (device != NULL) + iommufd != 1 || number < 0 || number > INT_MAX) {
		call_invalid(call, "group");
		return;
	}
	if (iommufd) {
		open_context(call, token);
		return;
	}
	int r = device ? lease_reopen_device(
				 broker, subject, token, device, on_reopened, call, &refusal)
		       : lease_reopen(
				 broker, subject, token, (int)number, on_reopened, call, &refusal);
	if (r == REFUSED)
		call_refuse(call, &refusal);
	else if (r < 0)
		call_fail(call, -r, device ? "opening the device" : "opening the group");
	else
		call->cancel = forget;
}

const struct method reopen_methods[] = {
	{ .name = "org.vfiod.Broker.Reopen", .run = reopen, .transacts = true },
	{ .name = NULL },
};
