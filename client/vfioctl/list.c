#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/vfioctl/format.h"
#include "client/vfioctl/table.h"
#include "client/vfioctl/vfioctl.h"

struct listing {
	struct json_object *groups; /* an array; owned */
	int64_t total;
};

/* One group a reply; where there is none to list, one reply without a group. */
static int listing_add(const char *parameters, int *fds, size_t n_fds, void *userdata)
{
	struct listing *listing = userdata;
	struct json_object *reply = json_tokener_parse(parameters), *group;
	int r = 0;

	(void)fds;
	(void)n_fds;
	if (!reply)
		return -1;
	patience_end();
	listing->total = get_int(reply, "total", 0);
	group = get_object(reply, "group");
	if (group) {
		json_object_get(group);
		r = json_object_array_add(listing->groups, group);
		if (r < 0)
			json_object_put(group);
	}
	json_object_put(reply);
	return r;
}

/*
 * Where the databases know the vendor only, the description is that, and is the same for all of
 * its devices: two words at most and no digit. Then the id tells which.
 */
static const char *device_name(struct json_object *device, char *buffer, size_t size)
{
	const char *name = get_string(device, "description"), *id = get_string(device, "id");
	const char *space = name ? strchr(name, ' ') : NULL;
	if (format_mdev(device, buffer, size))
		return buffer;
	if (!name || !id)
		return name ? name : id;
	if (strpbrk(name, "0123456789") || (space && strchr(space + 1, ' ')))
		return name;
	snprintf(buffer, size, "%s %s", name, id);
	return buffer;
}

/* One line a device; what is the group's stands in the first. */
static int group_rows(struct table *table, struct json_object *group)
{
	char number[24], owner[160];
	size_t n_devices;
	struct json_object *devices = get_array(group, "devices", &n_devices);

	snprintf(number, sizeof number, "%lld", (long long)get_int(group, "number", -1));
	format_holder(get_object(group, "holder"), owner, sizeof owner);
	for (size_t i = 0; i < n_devices || i == 0; i++) {
		struct json_object *device =
			i < n_devices ? json_object_array_get_idx(devices, i) : NULL;
		const char *driver = get_string(device, "driver");
		char name[512], marked[560];
		const char *text = device_name(device, name, sizeof name);

		if (format_is_noiommu(group)) {
			snprintf(marked, sizeof marked, "no IOMMU! %s", text ? text : "");
			text = marked;
		}
		const char *cells[] = {
			i ? "" : number,
			i ? "" : format_group_state(group),
			get_string(device, "name"),
			driver || !device ? driver : "-",
			i ? "" : owner,
			text,
		};
		int r = table_add(table, cells);

		if (r < 0)
			return r;
	}
	return 0;
}

static int table_fill(struct table *table, const struct listing *listing)
{
	for (size_t i = 0; i < json_object_array_length(listing->groups); i++) {
		int r = group_rows(table, json_object_array_get_idx(listing->groups, i));

		if (r < 0)
			return r;
	}
	return 0;
}

static void pool_legend_print(
	struct context *context, const struct listing *listing, const char *pool)
{
	size_t n = json_object_array_length(listing->groups);
	char name[256];

	format_printable(pool, name, sizeof name);
	if (n == 0)
		fprintf(context->out, "nothing of pool %s that you may lease\n", name);
	else
		fprintf(context->out, "%zu group%s of pool %s that you may lease\n", n,
			n == 1 ? "" : "s", name);
}

/* pool: of which they are; NULL: of the host. */
static int listing_print(struct context *context, const struct listing *listing, const char *pool)
{
	static const char *const titles[] = { "GROUP", "STATE", "DEVICE", "DRIVER", "OWNER", "NAME",
		NULL };
	long long n = (long long)json_object_array_length(listing->groups);
	struct table table;
	int r;

	table_init(&table, titles);
	table.first_gap = 1;
	if (context->is_terminal)
		table_cut(&table, format_terminal_width(STDOUT_FILENO));
	r = table_fill(&table, listing);
	if (r == 0 && table.n_rows > 0)
		table_print(&table, context->out, context->has_legend);
	table_clear(&table);
	if (r < 0) {
		fputs("vfioctl: out of memory\n", stderr);
		return EXIT_REFUSED;
	}
	if (!context->has_legend)
		return EXIT_SUCCESS;
	if (pool)
		pool_legend_print(context, listing, pool);
	else if (listing->total == 0)
		fputs("This host has no IOMMU groups: is the IOMMU on? (firmware, and "
		      "intel_iommu=on)\n",
			context->out);
	else if (n == 0)
		fputs("no rule covers any group; --all shows all of them\n", context->out);
	else if (n < listing->total)
		fprintf(context->out, "%lld of %lld groups; --all shows the rest\n", n,
			(long long)listing->total);
	return EXIT_SUCCESS;
}

static int listing_print_json(struct context *context, struct listing *listing)
{
	struct json_object *document = json_object_new_object();
	struct json_object *total = json_object_new_int64(listing->total);

	if (!document || !total || json_object_object_add(document, "total", total) < 0) {
		json_object_put(total);
		json_object_put(document);
		fputs("vfioctl: out of memory\n", stderr);
		return EXIT_REFUSED;
	}
	json_object_get(listing->groups);
	json_object_object_add(document, "groups", listing->groups);
	json_print(context, document);
	json_object_put(document);
	return EXIT_SUCCESS;
}

static int list_groups(struct context *context, bool all, const char *pool)
{
	struct listing listing = { .groups = json_object_new_array() };
	struct json_object *parameters = json_object_new_object();
	struct json_object *which =
		pool ? json_object_new_string(pool) : json_object_new_boolean(all);
	const char *text = NULL;
	int r, exit_code;

	/* Without the name, other groups would be shown as the pool's. */
	if (parameters && which &&
		json_object_object_add(parameters, pool ? "pool" : "all", which) == 0) {
		which = NULL; /* the parameters' */
		text = json_object_to_json_string_ext(parameters, JSON_C_TO_STRING_PLAIN);
	}
	if (!listing.groups || !text) {
		json_object_put(listing.groups);
		json_object_put(parameters);
		json_object_put(which);
		fputs("vfioctl: out of memory\n", stderr);
		return EXIT_REFUSED;
	}
	r = vfiod_call(context->vfiod, "org.vfiod.Broker.List", text, true, NULL, 0,
		context->timeout_ms, listing_add, &listing);
	json_object_put(parameters);
	patience_end();
	if (r < 0)
		exit_code = complain(context, "list groups");
	else if (context->is_json)
		exit_code = listing_print_json(context, &listing);
	else
		exit_code = listing_print(context, &listing, pool);
	json_object_put(listing.groups);
	return exit_code;
}

static int list_run(struct context *context, int argc, char *argv[])
{
	static const struct option own[] = { { "all", no_argument, NULL, 'a' },
		{ "pool", required_argument, NULL, 'p' }, { 0 } };
	const char *pool = NULL;
	bool all = false;
	int option, exit_code;

	options_begin();
	while ((option = options_next(context, argc, argv, false, own, &exit_code)) != OPTION_END) {
		if (option == OPTION_EXIT)
			return exit_code;
		if (option == 'p')
			pool = optarg;
		else
			all = true;
	}
	if (pool && (all || !*pool))
		return usage_error(context, all ? "either --all or --pool" : "--pool '': which?");
	if (optind < argc)
		return usage_error(
			context, "no arguments; one group is: vfioctl status %s", argv[optind]);
	exit_code = connect_daemon(context);
	return exit_code ? exit_code : list_groups(context, all, pool);
}

const struct command command_list = {
	.name = "list",
	.arguments = "[--all | --pool NAME]",
	.summary = "Show groups, their devices and drivers, and who has them",
	.help = "Groups that a rule covers or that are not with the host; --all: every group.\n"
		"  --pool NAME  the groups of [pool NAME] in vfiod.conf(5) that you may lease,\n"
		"               and who has them; for administrators, all of them\n"
		"STATE is the owner's (leased, lingering) or where the devices are: host, taking,\n"
		"taken, returning, failed, stuck, gone (no device is left of it). OWNER is user,\n"
		"command and pid of who asked. NAME begins with \"no IOMMU!\" where nothing keeps\n"
		"devices from the host's memory. On a terminal, lines are cut to its width.\n"
		"\n"
		"Examples:\n"
		"  vfioctl list\n"
		"  vfioctl list --pool nics\n"
		"  vfioctl list --all --no-legend | grep -i nvme\n"
		"  vfioctl list --all --json | jq '.groups[] | select(.mayLease) | .number'\n",
	.run = list_run,
};
