#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/vfioctl/format.h"
#include "client/vfioctl/table.h"
#include "client/vfioctl/vfioctl.h"

/* Where it is brokered: " in S4", " in S4,S5", or " in no space"; of other leases nothing. */
static void lease_spaces(
	struct json_object *lease, struct json_object *ledger, char *buffer, size_t size)
{
	const char *name = get_string(lease, "lease");
	size_t n, n_spaces;
	struct json_object *brokered = get_array(ledger, "leases", &n), *entry = NULL, *spaces;

	buffer[0] = '\0';
	for (size_t i = 0; i < n && !entry; i++) {
		struct json_object *other = json_object_array_get_idx(brokered, i);
		const char *its_name = get_string(other, "lease");

		if (name && its_name && strcmp(name, its_name) == 0)
			entry = other;
	}
	if (!entry || ledger_is_direct(entry))
		return;
	spaces = get_array(entry, "spaces", &n_spaces);
	snprintf(buffer, size, n_spaces ? " in" : " in no space");
	for (size_t i = 0; i < n_spaces; i++) {
		size_t used = strlen(buffer);
		const char *space = json_object_get_string(json_object_array_get_idx(spaces, i));

		snprintf(buffer + used, size - used, "%c%s", i ? ',' : ' ', space ? space : "?");
	}
}

static void lease_state(
	struct json_object *lease, struct json_object *ledger, char *buffer, size_t size)
{
	long long seconds = (long long)get_int(lease, "endsInSeconds", -1);
	const char *mode = get_string(lease, "mode");
	char spaces[96], ends[40] = "";

	lease_spaces(lease, ledger, spaces, sizeof spaces);
	if (seconds >= 0)
		snprintf(ends, sizeof ends, ", ends in %lld s", seconds);
	snprintf(buffer, size, "%s%s%s%s",
		!get_bool(lease, "isGranted")           ? "waiting"
		: get_bool(lease, "isReleaseRequested") ? "asked back"
							: "granted",
		ends, get_bool(lease, "isGranted") ? spaces : "",
		mode && strcmp(mode, "cdev") == 0 ? ", cdev" : "");
}

/* Which columns there are: two are for leases that map by themselves. */
struct columns {
	const char *titles[TABLE_MAX_COLUMNS + 1];
	bool has_reserved, has_bound;
};

static void columns_choose(struct columns *columns, struct json_object *leases, size_t n)
{
	size_t n_titles = 0;

	for (size_t i = 0; i < n; i++) {
		struct json_object *lease = json_object_array_get_idx(leases, i);

		columns->has_reserved |= get_int(lease, "memoryBytes", 0) > 0;
		columns->has_bound |=
			get_bool(lease, "isTrusted") || get_int(lease, "memoryMaxBytes", -1) >= 0;
	}
	columns->titles[n_titles++] = "LEASE";
	columns->titles[n_titles++] = "GROUPS";
	columns->titles[n_titles++] = "OWNER";
	columns->titles[n_titles++] = "ACCOUNT";
	columns->titles[n_titles++] = "AGE";
	if (columns->has_reserved)
		columns->titles[n_titles++] = "RESERVED";
	if (columns->has_bound)
		columns->titles[n_titles++] = "BOUND";
	columns->titles[n_titles++] = "STATE";
}

/* What keeps its holder from pinning more: the memory.max of a control group, or trust. */
static void lease_bound(struct json_object *lease, char *buffer, size_t size)
{
	int64_t max = get_int(lease, "memoryMaxBytes", -1);

	if (max >= 0)
		format_amount(max, -1, buffer, size);
	else
		snprintf(buffer, size, "%s", get_bool(lease, "isTrusted") ? "trusted" : "-");
}

static int lease_row(struct table *table, const struct columns *columns, struct json_object *lease,
	struct json_object *ledger)
{
	char groups[256], owner[160], age[32], state[128], reserved[48] = "-", bound[48];
	const char *cells[TABLE_MAX_COLUMNS] = {
		get_string(lease, "lease"),
		groups,
		owner,
		get_string(lease, "account"),
		age,
	};
	size_t n = 5;

	if (columns->has_reserved)
		cells[n++] = reserved;
	if (columns->has_bound)
		cells[n++] = bound;
	cells[n] = state;
	if (get_int(lease, "memoryBytes", 0) > 0)
		format_amount(get_int(lease, "memoryBytes", 0), -1, reserved, sizeof reserved);
	lease_bound(lease, bound, sizeof bound);
	lease_state(lease, ledger, state, sizeof state);
	format_numbers(get_object(lease, "groups"), groups, sizeof groups);
	format_holder(get_object(lease, "holder"), owner, sizeof owner);
	if (get_bool(lease, "isGranted"))
		format_duration(get_int(lease, "ageSeconds", 0), age, sizeof age);
	else
		snprintf(age, sizeof age, "-"); /* it counts from the grant */
	return table_add(table, cells);
}

static int leases_print(
	struct context *context, struct json_object *reply, struct json_object *ledger)
{
	size_t n;
	struct json_object *leases = get_array(reply, "leases", &n);
	struct columns columns = { 0 };
	struct table table;
	int r = 0;

	columns_choose(&columns, leases, n);
	table_init(&table, columns.titles);
	if (context->is_terminal)
		table_cut(&table, format_terminal_width(STDOUT_FILENO));
	for (size_t i = 0; i < n && r == 0; i++)
		r = lease_row(&table, &columns, json_object_array_get_idx(leases, i), ledger);
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

void lease_memory_describe(struct context *context, const char *name, char *buffer, size_t size)
{
	struct json_object *reply, *leases;
	size_t n;

	buffer[0] = '\0';
	if (ask(context, "org.vfiod.Broker.Leases", NULL, &reply) < 0)
		return;
	leases = get_array(reply, "leases", &n);
	for (size_t i = 0; i < n; i++) {
		struct json_object *lease = json_object_array_get_idx(leases, i);
		const char *its_name = get_string(lease, "lease");
		int64_t memory = get_int(lease, "memoryBytes", 0);
		int64_t max = get_int(lease, "memoryMaxBytes", -1);
		char reserved[48], bound[48];

		if (!its_name || strcmp(its_name, name) != 0)
			continue;
		format_amount(memory, -1, reserved, sizeof reserved);
		lease_bound(lease, bound, sizeof bound);
		snprintf(buffer, size, "%s%s%s%s%s", memory > 0 ? reserved : "",
			memory > 0 ? " reserved" : "", memory > 0 && bound[0] != '-' ? "; " : "",
			max >= 0 ? "bounded by a memory.max of " : "",
			bound[0] != '-' ? bound : "");
	}
	json_object_put(reply);
}

static int leases_run(struct context *context, int argc, char *argv[])
{
	struct json_object *reply, *ledger = NULL;
	size_t n;
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
	if (!context->is_json && get_array(reply, "leases", &n) && n > 0)
		ask(context, "org.vfiod.Ledger.Describe", NULL, &ledger); /* or none */
	if (context->is_json)
		json_print(context, reply);
	else
		exit_code = leases_print(context, reply, ledger);
	json_object_put(reply);
	json_object_put(ledger);
	return exit_code;
}

const struct command command_leases = {
	.name = "leases",
	.arguments = "",
	.summary = "Show who has which groups, and who waits",
	.help = "STATE: granted; waiting, for groups that others have or while drivers change;\n"
		"asked back, when an administrator has revoked it and the holder has not let go.\n"
		"Groups that vfiod keeps for the holder are in a space: see vfioctl ledger. cdev:\n"
		"the holder has the devices' own nodes and an iommufd, and not the groups.\n"
		"Of leases whose holders map by themselves: RESERVED is what the kernel may bill\n"
		"them for that, BOUND the memory.max that they cannot pin beyond, or trusted.\n"
		"\n"
		"Examples:\n"
		"  vfioctl leases\n"
		"  vfioctl leases --json | jq '.leases[] | select(.holder.uid == 1000)'\n",
	.run = leases_run,
};
