/*
 * _names: for the completion of shells. One name a line, a tab, and what it is; nothing where there
 * is no daemon, as there is nobody to read why.
 */
#include <stdlib.h>
#include <string.h>

#include "client/vfioctl/format.h"
#include "client/vfioctl/vfioctl.h"

struct kinds {
	struct context *context;
	bool devices, groups, leases, pools;
};

static void name_print(struct context *context, const char *name, const char *description)
{
	char printable[256];

	format_printable(name ? name : "?", printable, sizeof printable);
	fprintf(context->out, "%s\t", printable);
	format_printable(description ? description : "", printable, sizeof printable);
	fprintf(context->out, "%s\n", printable);
}

static void group_names(const struct kinds *kinds, struct json_object *group)
{
	size_t n;
	struct json_object *devices = get_array(group, "devices", &n);
	const char *first = get_string(json_object_array_get_idx(devices, 0), "name");
	char number[24], text[128];

	for (size_t i = 0; kinds->devices && i < n; i++) {
		struct json_object *device = json_object_array_get_idx(devices, i);
		const char *description = get_string(device, "description");

		name_print(kinds->context, get_string(device, "name"),
			description ? description : get_string(device, "bus"));
	}
	if (!kinds->groups)
		return;
	snprintf(number, sizeof number, "%lld", (long long)get_int(group, "number", -1));
	snprintf(text, sizeof text, "%s%s", n > 0 && first ? first : "no device",
		n > 1 ? " and others" : "");
	name_print(kinds->context, number, text);
}

static int on_group(const char *parameters, int *fds, size_t n_fds, void *userdata)
{
	struct json_object *reply = json_tokener_parse(parameters);
	struct json_object *group = get_object(reply, "group");

	(void)fds;
	(void)n_fds;
	if (group)
		group_names(userdata, group);
	json_object_put(reply);
	return 0;
}

static void leases_names(struct context *context)
{
	struct json_object *reply, *leases;
	size_t n;

	if (ask(context, "org.vfiod.Broker.Leases", NULL, &reply) < 0)
		return;
	leases = get_array(reply, "leases", &n);
	for (size_t i = 0; i < n; i++) {
		struct json_object *lease = json_object_array_get_idx(leases, i);
		char holder[160];

		format_holder(get_object(lease, "holder"), holder, sizeof holder);
		name_print(context, get_string(lease, "lease"), holder);
	}
	json_object_put(reply);
}

static void pools_names(struct context *context)
{
	struct json_object *pools = pools_ask(context);
	size_t n = pools ? json_object_array_length(pools) : 0;

	for (size_t i = 0; i < n; i++) {
		struct json_object *pool = json_object_array_get_idx(pools, i);
		char text[64];

		snprintf(text, sizeof text, "%lld free", (long long)get_int(pool, "free", 0));
		name_print(context, get_string(pool, "pool"), text);
	}
	json_object_put(pools);
}

static int names_run(struct context *context, int argc, char *argv[])
{
	struct kinds kinds = { .context = context };
	int exit_code;

	if (options_none(context, argc, argv, &exit_code))
		return exit_code;
	for (int i = optind; i < argc; i++) {
		kinds.devices = kinds.devices || strcmp(argv[i], "devices") == 0;
		kinds.groups = kinds.groups || strcmp(argv[i], "groups") == 0;
		kinds.leases = kinds.leases || strcmp(argv[i], "leases") == 0;
		kinds.pools = kinds.pools || strcmp(argv[i], "pools") == 0;
	}
	if (vfiod_open(context->socket, &context->vfiod) < 0)
		return EXIT_NO_DAEMON;
	if (kinds.devices || kinds.groups)
		vfiod_call(context->vfiod, "org.vfiod.Broker.List", "{\"all\":true}", true, NULL, 0,
			context->timeout_ms, on_group, &kinds);
	if (kinds.leases)
		leases_names(context);
	if (kinds.pools)
		pools_names(context);
	return EXIT_SUCCESS;
}

const struct command command_names = {
	.name = "_names",
	.arguments = "devices|groups|leases|pools…",
	.summary = "Print names, for the completion of shells",
	.help = "Not for people: it may change.\n",
	.run = names_run,
};
