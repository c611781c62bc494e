#include <stdlib.h>
#include <unistd.h>

#include "client/vfioctl/format.h"
#include "client/vfioctl/table.h"
#include "client/vfioctl/vfioctl.h"

static const char *lease_state(struct json_object *lease)
{
	if (!get_bool(lease, "isGranted"))
		return "waiting";
	return get_bool(lease, "isReleaseRequested") ? "asked back" : "granted";
}

static int lease_row(struct table *table, struct json_object *lease)
{
	char groups[256], owner[160], age[32];
	const char *cells[] = {
		get_string(lease, "lease"),
		groups,
		owner,
		get_string(lease, "account"),
		age,
		lease_state(lease),
	};

	format_numbers(get_object(lease, "groups"), groups, sizeof groups);
	format_holder(get_object(lease, "holder"), owner, sizeof owner);
	if (get_bool(lease, "isGranted"))
		format_duration(get_int(lease, "ageSeconds", 0), age, sizeof age);
	else
		snprintf(age, sizeof age, "-"); /* it counts from the grant */
	return table_add(table, cells);
}

static int leases_print(struct context *context, struct json_object *reply)
{
	static const char *const titles[] = { "LEASE", "GROUPS", "OWNER", "ACCOUNT", "AGE", "STATE",
		NULL };
	size_t n;
	struct json_object *leases = get_array(reply, "leases", &n);
	struct table table;
	int r = 0;

	table_init(&table, titles);
	if (context->is_terminal)
		table_cut(&table, format_terminal_width(STDOUT_FILENO));
	for (size_t i = 0; i < n && r == 0; i++)
		r = lease_row(&table, json_object_array_get_idx(leases, i));
	if (r == 0 && n > 0)
		table_print(&table, context->out, context->has_legend);
	table_clear(&table);
	if (r < 0) {
		fputs("vfioctl: out of memory\n", stderr);
		return EXIT_REFUSED;
	}
	if (n == 0 && context->has_legend)
		fputs("No leases.\n", context->out);
	return EXIT_SUCCESS;
}

static int leases_run(struct context *context, int argc, char *argv[])
{
	struct json_object *reply;
	int r, exit_code;

	if (options_none(context, argc, argv, &exit_code))
		return exit_code;
	if (optind < argc)
		return usage_error(context, "no arguments, but there is %s", argv[optind]);
	exit_code = connect_daemon(context);
	if (exit_code)
		return exit_code;
	r = ask(context, "org.vfiod.Broker.Leases", NULL, &reply);
	if (r < 0)
		return complain(context, "list leases");
	if (context->is_json)
		json_print(context, reply);
	else
		exit_code = leases_print(context, reply);
	json_object_put(reply);
	return exit_code;
}

const struct command command_leases = {
	.name = "leases",
	.arguments = "",
	.summary = "Show who has which groups, and who waits",
	.help = "STATE: granted; waiting, for groups that others have or while drivers change;\n"
		"asked back, when an administrator has revoked it and the holder has not let go.\n"
		"\n"
		"Examples:\n"
		"  vfioctl leases\n"
		"  vfioctl leases --json | jq '.leases[] | select(.holder.uid == 1000)'\n",
	.run = leases_run,
};
