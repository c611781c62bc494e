/* From a message to its method: the interface files decide what may be called, and with what. */
#include "daemon/base/util.h"
#include "daemon/service/parts.h"

#include <errno.h>
#include <string.h>

static const struct varlink_interface *interface_find(struct service *service, const char *name)
{
	for (size_t i = 0; i < n_varlink_files; i++)
		if (strcmp(service->interfaces[i]->name, name) == 0)
			return service->interfaces[i];
	return NULL;
}

static const struct method *method_in(const struct method *methods, const char *name)
{
	for (; methods->name; methods++)
		if (strcmp(methods->name, name) == 0)
			return methods;
	return NULL;
}

static const struct method *method_find(const char *name)
{
	const struct method *const tables[] = {
		service_methods,
		broker_methods,
		acquire_methods,
		admin_methods,
		why_methods,
		check_methods,
		plan_methods,
		can_methods,
		pool_methods,
		space_methods,
		attach_methods,
		ledger_methods,
		report_methods,
		reopen_methods,
		audit_methods,
		metrics_methods,
	};
	for (size_t i = 0; i < ARRAY_SIZE(tables); i++) {
		const struct method *method = method_in(tables[i], name);
		if (method)
			return method;
	}
	return NULL;
}

void methods_bind(struct varlink_interface *interface)
{
	char name[128];

	for (size_t i = 0; i < interface->n_methods; i++) {
		snprintf(name, sizeof(name), "%s.%s", interface->name, interface->methods[i].name);
		interface->methods[i].server = method_find(name);
	}
}

static void call_service_error(
	struct call *call, const char *error, const char *key, const char *value)
{
	struct json_object *parameters = json_object_new_object();
	if (key)
		json_put(parameters, key, json_text(value));
	call_error(call, error, parameters);
}

static void call_dispatch(struct call *call)
{
	struct service *service = call->session->service;
	const char *name = call->varlink.method;
	char interface_name[128], path[256];
	const char *method_name =
		varlink_method_split(name, interface_name, sizeof(interface_name));
	const struct varlink_interface *interface =
		method_name ? interface_find(service, interface_name) : NULL;

	if (!interface) {
		call_service_error(call, "org.varlink.service.InterfaceNotFound", "interface",
			method_name ? interface_name : name);
		return;
	}
	const struct varlink_method *declared = varlink_interface_method(interface, method_name);
	if (!declared) {
		call_service_error(call, "org.varlink.service.MethodNotFound", "method", name);
		return;
	}
	call->method = declared->server;
	if (!call->method || call->varlink.upgrade) {
		call_service_error(
			call, "org.varlink.service.MethodNotImplemented", "method", name);
		return;
	}
	tally_add(&service->metrics.calls, call->method->name);
	metrics_touch(&service->metrics);
	if (call->method->for_admins &&
		!policy_is_admin(broker_config(service->broker), &call->session->subject)) {
		call_service_error(call, "org.varlink.service.PermissionDenied", NULL, NULL);
		return;
	}
	if (varlink_check(declared->in, call->varlink.parameters, path, sizeof(path)) < 0) {
		call_invalid(call, path);
		return;
	}
	if (declared->requires_more && !call->varlink.more) {
		call_service_error(call, "org.varlink.service.ExpectedMore", NULL, NULL);
		return;
	}
	if (strcmp(interface->name, "org.varlink.service") != 0)
		session_describe(call->session);
	if (!call->method->takes_fds)
		message_close_fds(&call->message);
	call->session->is_receiving = false;
	inflight_publish(call->session);
	if (!call->method->transacts || transaction_begin(call))
		call->method->run(call);
}

/*
 * What a call that goes on still needs of its message. Its JSON may be a hundred times as large as
 * its text, and some calls last for as long as their clients like.
 */
static void call_forget(struct call *call)
{
	bool more = call->varlink.more, oneway = call->varlink.oneway;

	varlink_call_clear(&call->varlink);
	call->varlink.more = more;
	call->varlink.oneway = oneway;
	message_forget(&call->message);
	if (!call->waits_for_transaction) {
		free(call->message.text);
		call->message.text = NULL;
		call_uncount(call);
	}
}

struct call *call_restore(struct session *session, const char *method, enum stream stream)
{
	struct call *call = calloc(1, sizeof(*call));
	if (!call)
		return NULL;
	call->session = session;
	call->method = method_find(method);
	call->varlink.more = true;
	call->stream = stream;
	session->current = call;
	return call;
}

int call_run(struct call *call)
{
	struct session *session = call->session;
	const struct bounds *bounds = &broker_config(session->service->broker)->bounds;

	int r = message_read(&call->message, bounds->depth, bounds->values);
	if (r == 0)
		r = varlink_call_read(call->message.json, &call->varlink);
	if (r < 0)
		return r;
	call_dispatch(call);
	session->is_receiving = false;
	/* It may have been answered, and is no more then. */
	if (session->current == call)
		call_forget(call);
	return 0;
}

/* --- org.varlink.service -------------------------------------------------------------------- */

static void get_info(struct call *call)
{
	struct service *service = call->session->service;
	struct json_object *info = json_object_new_object(), *names = json_object_new_array();

	for (size_t i = 0; i < n_varlink_files; i++)
		json_object_array_add(names, json_text(service->interfaces[i]->name));
	json_put(info, "vendor", json_text("vfiod"));
	json_put(info, "product", json_text("vfiod"));
	json_put(info, "version", json_text(VFIOD_VERSION));
	json_put(info, "url", json_text(""));
	json_put(info, "interfaces", names);
	call_reply(call, info);
}

static void get_interface_description(struct call *call)
{
	const char *name = json_field_text(call->varlink.parameters, "interface");
	const struct varlink_interface *interface = interface_find(call->session->service, name);

	if (!interface) {
		call_service_error(
			call, "org.varlink.service.InterfaceNotFound", "interface", name);
		return;
	}
	struct json_object *reply = json_object_new_object();
	json_put(reply, "description", json_text(interface->text));
	call_reply(call, reply);
}

const struct method service_methods[] = {
	{ .name = "org.varlink.service.GetInfo", .run = get_info },
	{ .name = "org.varlink.service.GetInterfaceDescription", .run = get_interface_description },
	{ .name = NULL },
};
