/* org.vfiod.Admin.Metrics: for everybody, as the file of the same text is. */
#include "daemon/service/parts.h"

#include <errno.h>

static void metrics(struct call *call)
{
	_cleanup_free_ char *text = metrics_text(&call->session->service->metrics);
	struct json_object *reply = json_object_new_object();

	if (!text) {
		json_object_put(reply);
		call_fail(call, ENOMEM, "counting");
		return;
	}
	json_put(reply, "text", json_text(text));
	call_reply(call, reply);
}

const struct method metrics_methods[] = {
	{ .name = "org.vfiod.Admin.Metrics", .run = metrics },
	{ .name = NULL },
};
