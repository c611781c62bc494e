/* why: what keeps the devices of a group together. */
#include <stdlib.h>
#include <string.h>

#include "client/vfioctl/format.h"
#include "client/vfioctl/vfioctl.h"

/* Of functions that need none to be alone, nothing is said. */
static const char *acs_text(struct json_object *step)
{
	const char *acs = get_string(step, "acs"), *kind = get_string(step, "kind");
	bool is_port = kind && strstr(kind, "port");

	if (!acs || strcmp(acs, "notNeeded") == 0 || (strcmp(acs, "none") == 0 && !is_port))
		return "";
	if (strcmp(acs, "on") == 0)
		return " (ACS on)";
	if (strcmp(acs, "off") == 0)
		return " (ACS off)";
	return strcmp(acs, "none") == 0 ? " (no ACS)" : " (not to be seen)";
}

/* "pci0000:00 > root port 0000:00:05.0 (ACS on) > …" */
static void location_print(struct context *context, struct json_object *location, size_t width)
{
	const char *device = get_string(location, "device"), *root = get_string(location, "root");
	char text[4096], first[80], name[72];
	size_t n, used;
	struct json_object *path = get_array(location, "path", &n);

	used = (size_t)snprintf(text, sizeof text, "%s", root && *root ? root : "?");
	for (size_t i = 0; i < n && used < sizeof text; i++) {
		struct json_object *step = json_object_array_get_idx(path, i);
		const char *step_name = get_string(step, "name"), *kind = get_string(step, "kind");

		used += (size_t)snprintf(text + used, sizeof text - used, " > %s %s%s",
			kind ? kind : "?", step_name ? step_name : "?", acs_text(step));
	}
	format_printable(device ? device : "?", name, sizeof name);
	snprintf(first, sizeof first, "%-*s  ", (int)width, name);
	text_print(context, first, width + 2, text);
}

static void why_print(struct context *context, struct json_object *reply)
{
	const char *advice = get_string(reply, "advice");
	size_t n, width = 0;
	struct json_object *locations = get_array(reply, "locations", &n);

	fprintf(context->out, "Group %lld, %zu device%s\n\n",
		(long long)get_int(reply, "group", -1), n, n == 1 ? "" : "s");
	text_print(context, "", 0, get_string(reply, "reason"));
	if (advice) {
		fputc('\n', context->out);
		text_print(context, "", 0, advice);
	}
	if (n > 0)
		fputc('\n', context->out);
	for (size_t i = 0; i < n; i++) {
		const char *device = get_string(json_object_array_get_idx(locations, i), "device");

		if (device && format_width(device) > width)
			width = format_width(device);
	}
	for (size_t i = 0; i < n; i++)
		location_print(context, json_object_array_get_idx(locations, i), width);
}

static int why_ask(struct context *context, const char *argument)
{
	struct json_object *parameters = selector_parameters(argument), *reply;
	char target[256];

	target_describe(argument, target, sizeof target);
	if (!parameters) {
		fputs("vfioctl: out of memory\n", stderr);
		return EXIT_REFUSED;
	}
	if (ask(context, "org.vfiod.Broker.Why", parameters, &reply) < 0)
		return complain(context, "explain the group of %s", target);
	if (context->is_json)
		json_print(context, reply);
	else
		why_print(context, reply);
	json_object_put(reply);
	return EXIT_SUCCESS;
}

static int why_run(struct context *context, int argc, char *argv[])
{
	int exit_code;

	if (options_none(context, argc, argv, &exit_code))
		return exit_code;
	if (argc - optind != 1)
		return usage_error(context, "which device or group? One");
	if (!target_is_valid(argv[optind]))
		return usage_error(context, "'%s': neither a device nor a group", argv[optind]);
	exit_code = connect_daemon(context);
	return exit_code ? exit_code : why_ask(context, argv[optind]);
}

const struct command command_why = {
	.name = "why",
	.arguments = "DEVICE|GROUP",
	.summary = "Say why devices share a group, or why one is alone",
	.help = "From the PCI topology: bridges that hide who does DMA behind them, ports and\n"
		"functions that do not isolate (ACS); and what helps, where something does.\n"
		"Below that, the way from the root complex to each device. What only the kernel\n"
		"or firmware tables know of a device is not seen, and that is said.\n"
		"\n"
		"Examples:\n"
		"  vfioctl why 01:00.0\n"
		"  vfioctl why group:7\n",
	.run = why_run,
};
