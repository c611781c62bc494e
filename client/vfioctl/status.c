#include <stdlib.h>
#include <string.h>

#include "client/vfioctl/format.h"
#include "client/vfioctl/vfioctl.h"

#define INDENT 8 /* of what belongs to a word at the start of the line */

/* ", 3 taken" unless there are none. */
static void count_print(FILE *out, const char **separator, int64_t n, const char *what)
{
	if (n <= 0)
		return;
	fprintf(out, "%s%lld %s", *separator, (long long)n, what);
	*separator = ", ";
}

/*
 * A group that is leased or lingering is called that, and not taken, as in `list`; of those
 * taken, the rest is what nobody has.
 */
static void counts_print(FILE *out, struct json_object *status)
{
	static const char *const bindings[] = { "host", "taking", "returning", "failed", "stuck",
		"gone" };
	struct json_object *binding = get_object(status, "bindings");
	struct json_object *owner = get_object(status, "owners");
	int64_t leased = get_int(owner, "leased", 0), lingering = get_int(owner, "lingering", 0);
	const char *separator = " ";

	fprintf(out, "Groups  %lld:", (long long)get_int(status, "groups", 0));
	for (size_t i = 0; i < sizeof bindings / sizeof *bindings; i++) {
		count_print(out, &separator, get_int(binding, bindings[i], 0), bindings[i]);
		if (i > 0)
			continue;
		count_print(out, &separator, leased, "leased");
		count_print(out, &separator, lingering, "lingering");
		count_print(out, &separator, get_int(binding, "taken", 0) - leased - lingering,
			"taken");
	}
	fprintf(out, "%s\n", separator[0] == ' ' ? " none" : "");
}

static void rules_print(FILE *out, struct json_object *status)
{
	const char *configuration = get_string(status, "configuration");
	long long rules = (long long)get_int(status, "rules", 0);
	long long leases = (long long)get_int(status, "leases", 0);
	long long drop_ins = (long long)get_int(status, "dropIns", 0);
	char path[512], files[600] = "";
	const char *slash;

	format_printable(configuration ? configuration : "", path, sizeof path);
	slash = strrchr(path, '/');
	if (drop_ins > 0)
		snprintf(files, sizeof files, " and %lld file%s of %s.d", drop_ins,
			drop_ins == 1 ? "" : "s", slash ? slash + 1 : path);
	if (rules == 0)
		fprintf(out, "Rules   none%s%s%s: nobody may lease anything, see vfiod.conf(5)\n",
			*path ? " in " : "", path, files);
	else
		fprintf(out, "Rules   %lld%s%s%s\n", rules, *path ? " from " : "", path, files);
	fprintf(out, "Leases  %lld, %lld waiting\n", leases,
		(long long)get_int(status, "waiting", 0));
}

static void problem_print(FILE *out, size_t width, struct json_object *problem)
{
	const char *text = get_string(problem, "text");
	long long group = (long long)get_int(problem, "group", -1);
	char first[32], printable[1024];

	if (group >= 0)
		snprintf(first, sizeof first, "!! %-4lld ", group);
	else
		snprintf(first, sizeof first, "!!%*s", INDENT - 2, "");
	format_printable(text ? text : "?", printable, sizeof printable);
	format_wrapped(out, first, INDENT, width, printable);
}

/* What an earlier daemon left behind: "Found   12 in the middle of a take: returned". */
static void recovery_print(FILE *out, size_t width, struct json_object *recovery)
{
	static const struct {
		const char *found, *text;
	} texts[] = {
		{ "taking", "in the middle of a take" },
		{ "returning", "on its way back" },
	};
	const char *found = get_string(recovery, "found");
	const char *outcome = get_string(recovery, "outcome");
	const char *text = found ? found : "?";
	char line[256], printable[256];

	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
		if (strcmp(texts[i].found, text) == 0)
			text = texts[i].text;
	snprintf(line, sizeof line, "group %lld, left %s by an earlier vfiod: %s",
		(long long)get_int(recovery, "group", -1), text, outcome ? outcome : "?");
	format_printable(line, printable, sizeof printable);
	format_wrapped(out, "Found   ", INDENT, width, printable);
}

static void overview_print(struct context *context, struct json_object *status)
{
	const char *iommu = get_string(status, "iommu"), *version = get_string(status, "version");
	char uptime[32], printable[128], number[64];
	size_t n, n_recoveries;
	struct json_object *problems = get_array(status, "problems", &n);
	struct json_object *recoveries = get_array(status, "recoveries", &n_recoveries);

	format_duration(get_int(status, "uptimeSeconds", 0), uptime, sizeof uptime);
	format_printable(iommu ? iommu : "no IOMMU", printable, sizeof printable);
	format_printable(version ? version : "?", number, sizeof number);
	fprintf(context->out, "vfiod %s, up %s; %s; iommufd: %s\n", number, uptime, printable,
		get_bool(status, "hasIommufd") ? "yes" : "not in this kernel");
	counts_print(context->out, status);
	rules_print(context->out, status);
	pools_overview_print(context);
	ledger_overview_print(context);
	for (size_t i = 0; i < n_recoveries; i++)
		recovery_print(context->out, line_width(context),
			json_object_array_get_idx(recoveries, i));
	for (size_t i = 0; i < n; i++)
		problem_print(
			context->out, line_width(context), json_object_array_get_idx(problems, i));
}

/* "  Name      text", wrapped. */
static void field_print(struct context *context, const char *name, const char *text)
{
	char first[24], printable[1024];

	snprintf(first, sizeof first, "  %-10s", name);
	format_printable(text, printable, sizeof printable);
	format_wrapped(context->out, first, strlen(first), line_width(context), printable);
}

/* How it is known who has it, where that is not a lease. */
static const char *evidence_text(struct json_object *group)
{
	static const struct {
		const char *evidence, *text;
	} texts[] = {
		{ "open", ", has it open" },
		{ "probable", ", probably: has a VFIO device open that may be of this group" },
		{ "former", " had the lease; it is not known whether it has it open" },
	};
	const char *evidence = get_string(group, "holderEvidence");

	for (size_t i = 0; evidence && i < sizeof texts / sizeof *texts; i++)
		if (strcmp(texts[i].evidence, evidence) == 0)
			return texts[i].text;
	return "";
}

static void holder_print(struct context *context, struct json_object *group)
{
	struct json_object *holder = get_object(group, "holder");
	const char *unit = get_string(holder, "unit"), *lease = get_string(group, "lease");
	bool is_lingering = strcmp(format_group_state(group), "lingering") == 0;
	char who[160], text[512];

	if (!holder) {
		field_print(context, "Holder", is_lingering ? "unknown" : "nobody");
		return;
	}
	format_holder(holder, who, sizeof who);
	snprintf(text, sizeof text, "%s%s%s%s%s%s", who, unit ? ", unit " : "", unit ? unit : "",
		lease ? ", lease " : "", lease ? lease : "", evidence_text(group));
	field_print(context, "Holder", text);
	if (!lease)
		return;
	lease_memory_describe(context, lease, text, sizeof text);
	if (*text)
		field_print(context, "Memory", text);
}

/* What keeps those from leasing it now who may. */
static const char *obstacle(struct json_object *group)
{
	static const struct {
		const char *state, *text;
	} obstacles[] = {
		{ "leased", ", but it is leased now" },
		{ "lingering", ", but some process still has it open" },
		{ "failed", ", but it is failed: an administrator has to return it" },
		{ "stuck", ", but it is stuck: the kernel does not let go of a device" },
		{ "gone", ", but its devices have left the host" },
		{ "taking", ", but its drivers are changing now" },
		{ "returning", ", but its drivers are changing now" },
	};
	const char *state = format_group_state(group);

	for (size_t i = 0; i < sizeof obstacles / sizeof *obstacles; i++)
		if (strcmp(obstacles[i].state, state) == 0)
			return obstacles[i].text;
	return "";
}

static void permission_print(struct context *context, struct json_object *group)
{
	const char *denial = get_string(group, "denial");
	char text[512];

	/* Whom no rule allows it, and may all the same, needs none. */
	if (get_bool(group, "mayLease"))
		snprintf(text, sizeof text, "allowed%s%s",
			get_bool(group, "isCovered") ? " by the rules"
						     : ": you are an administrator",
			obstacle(group));
	else
		snprintf(text, sizeof text, "not allowed%s%s", denial ? ": " : "",
			denial ? denial : "");
	field_print(context, "You", text);
}

static void hardware_print(struct context *context, struct json_object *device)
{
	const char *id = get_string(device, "id"), *class = get_string(device, "class");
	const char *bus = get_string(device, "bus");
	int64_t node = get_int(device, "numaNode", -1);
	char text[384], mdev[128], numa[40] = "";
	bool is_mdev = format_mdev(device, mdev, sizeof mdev);

	if (node >= 0)
		snprintf(numa, sizeof numa, ", NUMA node %lld", (long long)node);
	snprintf(text, sizeof text, "%s%s%s%s%s%s%s%s", bus ? bus : "?", id ? " " : "",
		id ? id : "", class ? ", class " : "", class ? class : "", is_mdev ? ", " : "",
		is_mdev ? mdev : "", numa);
	field_print(context, "Bus", text);
}

/* What else a reset of its bus reaches. */
static void reset_set_print(struct context *context, struct json_object *sets, const char *device)
{
	struct json_object *others = NULL;
	size_t n_sets = sets ? json_object_array_length(sets) : 0, n = 0, used = 0;
	char text[1024] = "";

	for (size_t i = 0; i < n_sets && !others; i++) {
		struct json_object *set = json_object_array_get_idx(sets, i);
		const char *name = get_string(set, "device");

		if (name && strcmp(name, device) == 0)
			others = get_array(set, "others", &n);
	}
	if (!others)
		return;
	for (size_t i = 0; i < n && used < sizeof text; i++) {
		struct json_object *other = json_object_array_get_idx(others, i);
		const char *name = get_string(other, "device");

		used += (size_t)snprintf(text + used, sizeof text - used, "%s%s (group %lld)",
			i ? ", " : "reaches ", name ? name : "?",
			(long long)get_int(other, "group", -1));
	}
	field_print(context, "Bus reset", n ? text : "reaches no other device");
}

static void reset_print(struct context *context, struct json_object *device)
{
	size_t n;
	struct json_object *methods = get_array(device, "resetMethods", &n);
	char text[256] = "";
	size_t used = 0;

	for (size_t i = 0; i < n && used < sizeof text; i++) {
		const char *method = json_object_get_string(json_object_array_get_idx(methods, i));

		used += (size_t)snprintf(text + used, sizeof text - used, "%s%s", i ? ", " : "",
			method ? method : "?");
	}
	field_print(context, "Reset", n ? text : "none that the kernel knows");
}

static void device_print(
	struct context *context, struct json_object *device, struct json_object *reset_sets)
{
	const char *name = get_string(device, "name"), *driver = get_string(device, "driver");
	const char *description = get_string(device, "description");
	const char *syspath = get_string(device, "syspath");
	char title[512], text[256];

	snprintf(title, sizeof title, "%s%s%s", name ? name : "?", description ? "  " : "",
		description ? description : "");
	format_printable(title, text, sizeof text);
	fprintf(context->out, "%s\n", text);
	hardware_print(context, device);
	snprintf(text, sizeof text, "%s%s", driver ? driver : "none",
		get_bool(device, "isBound") ? ""
		: get_bool(device, "isParked")
			? "; taking the group keeps every driver away from it"
			: "; taking the group leaves this device alone");
	field_print(context, "Driver", text);
	reset_print(context, device);
	reset_set_print(context, reset_sets, name ? name : "?");
	field_print(context, "Sysfs", syspath ? syspath : "?");
}

static void regions_print(struct context *context, struct json_object *group)
{
	size_t n;
	struct json_object *regions = get_array(group, "reservedRegions", &n);

	if (n == 0)
		return;
	fputs("Reserved, cannot be mapped\n", context->out);
	for (size_t i = 0; i < n; i++) {
		struct json_object *region = json_object_array_get_idx(regions, i);
		const char *first = get_string(region, "first"), *last = get_string(region, "last");
		const char *type = get_string(region, "type");
		char text[128], printable[128];

		snprintf(text, sizeof text, "%s-%s  %s", first ? first : "?", last ? last : "?",
			type ? type : "?");
		format_printable(text, printable, sizeof printable);
		fprintf(context->out, "  %s\n", printable);
	}
}

static void group_print(struct context *context, struct json_object *reply)
{
	struct json_object *group = get_object(reply, "group");
	const char *failure = get_string(group, "failure"), *type = get_string(group, "type");
	char domain[64];
	size_t n, n_sets;
	struct json_object *devices = get_array(group, "devices", &n);
	struct json_object *reset_sets = get_array(reply, "resetSets", &n_sets);

	format_printable(type ? type : "?", domain, sizeof domain);
	fprintf(context->out, "Group %lld: %s; %zu device%s; %s%s\n",
		(long long)get_int(group, "number", -1), format_group_state(group), n,
		n == 1 ? "" : "s", format_is_noiommu(group) ? "" : "default domain ",
		format_is_noiommu(group) ? "no IOMMU: it isolates nothing" : domain);
	if (failure)
		field_print(context, "!!", failure);
	holder_print(context, group);
	permission_print(context, group);
	field_print(context, "Rules",
		get_bool(group, "isCovered") ? "a rule matches it"
					     : "none matches any of its devices");
	for (size_t i = 0; i < n; i++)
		device_print(context, json_object_array_get_idx(devices, i), reset_sets);
	regions_print(context, group);
}

/* In the document, what the overview shows of another method. */
static void overview_print_json(struct context *context, struct json_object *status)
{
	struct json_object *pools = pools_ask(context);

	if (pools)
		json_object_object_add(status, "pools", pools);
	json_print(context, status);
}

static int status_ask(struct context *context, const char *argument)
{
	struct json_object *parameters = NULL, *reply;
	char target[256] = "status";
	int r;

	if (argument) {
		target_describe(argument, target, sizeof target);
		parameters = selector_parameters(argument);
		if (!parameters) {
			fputs("vfioctl: out of memory\n", stderr);
			return EXIT_REFUSED;
		}
	}
	r = ask(context, argument ? "org.vfiod.Broker.Describe" : "org.vfiod.Admin.Status",
		parameters, &reply);
	if (r < 0)
		return complain(context, argument ? "describe %s" : "get the %s", target);
	if (context->is_json && argument)
		json_print(context, reply);
	else if (context->is_json)
		overview_print_json(context, reply);
	else if (argument)
		group_print(context, reply);
	else
		overview_print(context, reply);
	json_object_put(reply);
	return EXIT_SUCCESS;
}

static int status_run(struct context *context, int argc, char *argv[])
{
	int exit_code;

	if (options_none(context, argc, argv, &exit_code))
		return exit_code;
	if (argc - optind > 1)
		return usage_error(context, "one device or group at most");
	if (optind < argc && !target_is_valid(argv[optind]))
		return usage_error(context, "'%s': neither a device nor a group", argv[optind]);
	exit_code = connect_daemon(context);
	return exit_code ? exit_code : status_ask(context, optind < argc ? argv[optind] : NULL);
}

const struct command command_status = {
	.name = "status",
	.arguments = "[DEVICE|GROUP]",
	.summary = "Show how the daemon and the host are, or one group in full",
	.help = "Lines that begin with !! want a person's attention and say what to do;\n"
		"Pools are those of which you may lease something (vfioctl list --pool NAME).\n"
		"Found is what an earlier daemon left when it was killed, and what became of it.\n"
		"Of a group: who has it and what bounds his memory, whether the rules allow it to\n"
		"you and what stands in the way now, and its devices with drivers, ids, reset\n"
		"methods, what a reset of their bus reaches, and what cannot be mapped.\n"
		"\n"
		"Examples:\n"
		"  vfioctl status\n"
		"  vfioctl status 01:00.0\n"
		"  vfioctl status group:7\n",
	.run = status_run,
};
