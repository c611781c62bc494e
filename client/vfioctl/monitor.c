#include <errno.h>
#include <langinfo.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "client/vfioctl/format.h"
#include "client/vfioctl/vfioctl.h"

/* An event as a sentence has: everything printable, what is absent empty. */
struct event {
	char device[128], lease[64], space[64], before[80], after[80], text[512];
	long long group;
	const char *arrow;
};

static void event_field(struct json_object *reply, const char *key, const char *otherwise,
	char *buffer, size_t size)
{
	const char *value = get_string(reply, key);

	format_printable(value ? value : otherwise, buffer, size);
}

/* A file is read later, by something that reads UTF-8; a terminal may be without. */
static const char *arrow(const struct context *context)
{
	return context->is_terminal && strcmp(nl_langinfo(CODESET), "UTF-8") != 0 ? "->" : "→";
}

static void event_read(
	const struct context *context, struct json_object *reply, struct event *event)
{
	event_field(reply, "device", "?", event->device, sizeof event->device);
	event_field(reply, "lease", "?", event->lease, sizeof event->lease);
	event_field(reply, "space", "", event->space, sizeof event->space);
	event_field(reply, "before", "no driver", event->before, sizeof event->before);
	event_field(reply, "after", "no driver", event->after, sizeof event->after);
	event_field(reply, "text", "", event->text, sizeof event->text);
	event->group = (long long)get_int(reply, "group", -1);
	event->arrow = arrow(context);
}

static void print_ready(FILE *out, const struct event *event)
{
	(void)event;
	fputs("ready", out);
}

static void print_device_added(FILE *out, const struct event *event)
{
	fprintf(out, "%s: added to group %lld", event->device, event->group);
}

static void print_device_removed(FILE *out, const struct event *event)
{
	fprintf(out, "%s: removed from group %lld", event->device, event->group);
}

static void print_driver_changed(FILE *out, const struct event *event)
{
	fprintf(out, "%s: %s %s %s", event->device, event->before, event->arrow, event->after);
}

static void print_device_joined(FILE *out, const struct event *event)
{
	fprintf(out, "%s: joined group %lld", event->device, event->group);
}

static void print_group_added(FILE *out, const struct event *event)
{
	fprintf(out, "group %lld: added", event->group);
}

static void print_group_removed(FILE *out, const struct event *event)
{
	fprintf(out, "group %lld: removed", event->group);
}

static void print_binding_changed(FILE *out, const struct event *event)
{
	fprintf(out, "group %lld: %s %s %s", event->group, event->before, event->arrow,
		event->after);
}

static void print_owner_changed(FILE *out, const struct event *event)
{
	fprintf(out, "group %lld: owner %s %s %s", event->group, event->before, event->arrow,
		event->after);
}

static void print_lease_queued(FILE *out, const struct event *event)
{
	fprintf(out, "lease %s queued", event->lease);
}

static void print_lease_granted(FILE *out, const struct event *event)
{
	fprintf(out, "lease %s granted", event->lease);
}

static void print_lease_ended(FILE *out, const struct event *event)
{
	fprintf(out, "lease %s ended", event->lease);
}

static void print_lease_reduced(FILE *out, const struct event *event)
{
	fprintf(out, "lease %s has lost a group", event->lease);
}

static void print_device_leaving(FILE *out, const struct event *event)
{
	fprintf(out, "%s is leaving", event->device);
}

static void print_release_requested(FILE *out, const struct event *event)
{
	fprintf(out, "lease %s asked back", event->lease);
}

static void print_revoke_stage(FILE *out, const struct event *event)
{
	fprintf(out, "revoking lease %s", event->lease);
}

static void print_holder_found(FILE *out, const struct event *event)
{
	fprintf(out, "group %lld", event->group);
}

static void print_space_created(FILE *out, const struct event *event)
{
	fprintf(out, "space %s created", event->space);
}

static void print_space_changed(FILE *out, const struct event *event)
{
	fprintf(out, "space %s: %s %s %s", event->space, event->before, event->arrow, event->after);
}

static void print_space_ended(FILE *out, const struct event *event)
{
	fprintf(out, "space %s ended", event->space);
}

static void print_group_attached(FILE *out, const struct event *event)
{
	fprintf(out, "group %lld: attached to space %s", event->group, event->space);
}

static void print_group_detached(FILE *out, const struct event *event)
{
	fprintf(out, "group %lld: detached from space %s", event->group, event->space);
}

static void print_limit_exceeded(FILE *out, const struct event *event)
{
	fprintf(out, "%s%s%slimit exceeded", *event->space ? "space " : "", event->space,
		*event->space ? ": " : "");
}

static void print_reloaded(FILE *out, const struct event *event)
{
	(void)event;
	fputs("configuration reloaded", out);
}

static void print_not_reloaded(FILE *out, const struct event *event)
{
	(void)event;
	fputs("configuration not reloaded", out);
}

static void print_lost(FILE *out, const struct event *event)
{
	(void)event;
	fputs("events were lost: list again", out);
}

static const struct {
	const char *name;
	void (*print)(FILE *out, const struct event *event);
} printers[] = {
	{ "ready", print_ready },
	{ "deviceAdded", print_device_added },
	{ "deviceRemoved", print_device_removed },
	{ "driverChanged", print_driver_changed },
	{ "deviceLeaving", print_device_leaving },
	{ "deviceJoined", print_device_joined },
	{ "groupAdded", print_group_added },
	{ "groupRemoved", print_group_removed },
	{ "bindingChanged", print_binding_changed },
	{ "ownerChanged", print_owner_changed },
	{ "leaseQueued", print_lease_queued },
	{ "leaseGranted", print_lease_granted },
	{ "leaseEnded", print_lease_ended },
	{ "leaseReduced", print_lease_reduced },
	{ "releaseRequested", print_release_requested },
	{ "revokeStage", print_revoke_stage },
	{ "holderFound", print_holder_found },
	{ "spaceCreated", print_space_created },
	{ "spaceChanged", print_space_changed },
	{ "spaceEnded", print_space_ended },
	{ "groupAttached", print_group_attached },
	{ "groupDetached", print_group_detached },
	{ "limitExceeded", print_limit_exceeded },
	{ "configurationReloaded", print_reloaded },
	{ "configurationRefused", print_not_reloaded },
	{ "lost", print_lost },
};

static void event_print(struct context *context, struct json_object *reply)
{
	const char *name = get_string(reply, "event");
	char clock[16] = "", printable[64];
	time_t now = time(NULL);
	struct event event;
	struct tm local;
	size_t i = 0;

	event_read(context, reply, &event);
	if (localtime_r(&now, &local))
		strftime(clock, sizeof clock, "%H:%M:%S ", &local);
	fputs(clock, context->out);
	while (i < sizeof printers / sizeof *printers &&
		!(name && strcmp(printers[i].name, name) == 0))
		i++;
	if (i < sizeof printers / sizeof *printers) {
		printers[i].print(context->out, &event);
	} else {
		/* Of a newer daemon: its name and text are better than nothing. */
		format_printable(name ? name : "?", printable, sizeof printable);
		fputs(printable, context->out);
	}
	fprintf(context->out, "%s%s\n", *event.text ? ": " : "", event.text);
}

static int monitor_event(const char *parameters, int *fds, size_t n_fds, void *userdata)
{
	struct context *context = userdata;
	struct json_object *reply = json_tokener_parse(parameters);

	(void)fds;
	(void)n_fds;
	if (!reply)
		return -ENOMEM;
	patience_end();
	if (context->is_json)
		json_print(context, reply);
	else
		event_print(context, reply);
	json_object_put(reply);
	if (fflush(context->out) == 0)
		return 0;
	context->write_error = errno;
	return -errno;
}

static int monitor_run(struct context *context, int argc, char *argv[])
{
	int r, exit_code;

	if (options_none(context, argc, argv, &exit_code))
		return exit_code;
	if (optind < argc)
		return usage_error(context, "no arguments, but there is %s", argv[optind]);
	exit_code = connect_daemon(context);
	if (exit_code)
		return exit_code;
	r = vfiod_call(context->vfiod, "org.vfiod.Broker.Monitor", NULL, true, NULL, 0, -1,
		monitor_event, context);
	if (context->write_error)
		return EXIT_SUCCESS; /* main() tells a full disk from a reader that has gone */
	return r < 0 ? complain(context, "go on watching") : EXIT_SUCCESS;
}

const struct command command_monitor = {
	.name = "monitor",
	.arguments = "",
	.summary = "Print what happens to devices, groups, leases and spaces",
	.help = "One line an event, written at once. Ends with Ctrl-C; --timeout is without\n"
		"effect here.\n"
		"\n"
		"Examples:\n"
		"  vfioctl monitor\n"
		"  vfioctl monitor --json | jq --unbuffered 'select(.event == \"leaseGranted\")'\n",
	.run = monitor_run,
};
