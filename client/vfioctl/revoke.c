#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "client/vfioctl/format.h"
#include "client/vfioctl/vfioctl.h"

static bool add(struct json_object *object, const char *key, struct json_object *value)
{
	if (value && json_object_object_add(object, key, value) == 0)
		return true;
	json_object_put(value);
	return false;
}

static struct json_object *revoke_parameters(const char *lease, const char *reason, bool end)
{
	struct json_object *parameters = json_object_new_object();

	if (parameters && add(parameters, "lease", json_object_new_string(lease)) &&
		(!reason || add(parameters, "reason", json_object_new_string(reason))) &&
		(!end || add(parameters, "end", json_object_new_boolean(true))))
		return parameters;
	json_object_put(parameters);
	return NULL;
}

static int revoke(struct context *context, const char *lease, const char *reason, bool end)
{
	struct json_object *parameters = revoke_parameters(lease, reason, end), *reply;
	char name[64];
	int r;

	format_printable(lease, name, sizeof name);
	if (!parameters) {
		fputs("vfioctl: out of memory\n", stderr);
		return EXIT_REFUSED;
	}
	r = ask(context, "org.vfiod.Admin.Revoke", parameters, &reply);
	if (r == -ENOKEY) {
		fprintf(stderr, "vfioctl: there is no lease %s; `vfioctl leases` shows them\n",
			name);
		return EXIT_REFUSED;
	}
	if (r < 0)
		return complain(context, "revoke lease %s", name);
	long long seconds = (long long)get_int(reply, "endsInSeconds", -1);
	bool ends_process = get_bool(reply, "endsProcess");
	if (context->is_json)
		json_print(context, reply);
	else if (end && ends_process)
		fprintf(context->out,
			"lease %s ended; if its holder still has a device open, he is ended, see "
			"vfioctl monitor\n",
			name);
	else if (end)
		/* Whether its holder has let go as well, nobody knows yet. */
		fprintf(context->out,
			"lease %s ended; what its holder still has open lingers until he closes "
			"it, see vfioctl list\n",
			name);
	else if (seconds >= 0)
		fprintf(context->out,
			"asked the holder of lease %s to give it back; in %lld s the lease "
			"ends%s\n",
			name, seconds,
			ends_process ? ", and he, if he still has a device open" : "");
	else
		fprintf(context->out, "asked the holder of lease %s to give it back\n", name);
	json_object_put(reply);
	return EXIT_SUCCESS;
}

/* "group 7", "groups 7, 9" */
static void groups_format(struct json_object *groups, char *buffer, size_t size)
{
	size_t n = groups ? json_object_array_length(groups) : 0, used;

	used = (size_t)snprintf(buffer, size, n == 1 ? "group" : "groups");
	for (size_t i = 0; i < n && used < size; i++)
		used += (size_t)snprintf(buffer + used, size - used, "%s %lld", i ? "," : "",
			(long long)json_object_get_int64(json_object_array_get_idx(groups, i)));
}

/* By the rules, or nothing. */
static const char *what_follows(struct json_object *lease, bool end, char *buffer, size_t size)
{
	long long seconds = (long long)get_int(lease, "revokeSeconds", -1);
	const char *process = get_bool(lease, "revokeEndsProcess")
				      ? ", and its holder, if he still had a device open"
				      : "";

	if (seconds < 0)
		return "";
	if (end)
		return process;
	snprintf(buffer, size, "; after %lld s it would be ended%s", seconds, process);
	return buffer;
}

/* Whose lease it is, and what of: nothing else is known before the holder has answered. */
static int revoke_dry(struct context *context, const char *lease, bool end)
{
	struct json_object *reply, *leases, *found = NULL;
	char holder[160], groups[256], name[64], follows[160];
	size_t n;

	if (ask(context, "org.vfiod.Broker.Leases", NULL, &reply) < 0)
		return complain(context, "list the leases");
	leases = get_array(reply, "leases", &n);
	for (size_t i = 0; i < n && !found; i++) {
		struct json_object *one = json_object_array_get_idx(leases, i);
		const char *its_name = get_string(one, "lease");

		if (its_name && strcmp(its_name, lease) == 0)
			found = one;
	}
	format_printable(lease, name, sizeof name);
	if (!found) {
		fprintf(stderr, "vfioctl: there is no lease %s; `vfioctl leases` shows them\n",
			name);
	} else if (context->is_json) {
		json_print(context, found);
	} else {
		format_holder(get_object(found, "holder"), holder, sizeof holder);
		groups_format(get_array(found, "groups", &n), groups, sizeof groups);
		fprintf(context->out,
			end ? "lease %s of %s, %s, would be ended%s. Nothing was done.\n"
			    : "lease %s of %s: %s would be asked back%s. Nothing was done.\n",
			name, holder, groups, what_follows(found, end, follows, sizeof follows));
	}
	json_object_put(reply);
	return found ? EXIT_SUCCESS : EXIT_REFUSED;
}

static int revoke_run(struct context *context, int argc, char *argv[])
{
	static const struct option own[] = {
		{ "end", no_argument, NULL, 'e' },
		{ "reason", required_argument, NULL, 'r' },
		{ "dry-run", no_argument, NULL, 'n' },
		{ 0 },
	};
	const char *reason = NULL;
	bool end = false, is_dry = false;
	int option, exit_code;

	options_begin();
	while ((option = options_next(context, argc, argv, false, own, &exit_code)) != OPTION_END) {
		if (option == OPTION_EXIT)
			return exit_code;
		if (option == 'e')
			end = true;
		else if (option == 'n')
			is_dry = true;
		else
			reason = optarg;
	}
	if (argc - optind != 1)
		return usage_error(context, "which lease? One; vfioctl leases shows them");
	exit_code = connect_daemon(context);
	if (exit_code)
		return exit_code;
	return is_dry ? revoke_dry(context, argv[optind], end)
		      : revoke(context, argv[optind], reason, end);
}

const struct command command_revoke = {
	.name = "revoke",
	.arguments = "LEASE [--end] [--reason TEXT] [--dry-run]",
	.summary = "Ask the holder of a lease to give it back",
	.help = "Where a rule of its devices says revoke = end, the lease ends if it is not given\n"
		"back in time, and then its process, if that still has a device open.\n"
		"  --end          end the lease now; a holder that keeps its descriptors leaves\n"
		"                 the group lingering until it closes them, or is ended\n"
		"  --reason TEXT  what the holder is told\n"
		"  --dry-run      say whose lease it is and what would follow, and do nothing\n"
		"LEASE is a name that vfioctl leases shows, such as L3. Administrators only.\n"
		"\n"
		"Examples:\n"
		"  sudo vfioctl revoke L3 --reason 'the host is going down at six'\n"
		"  sudo vfioctl revoke L3 --end\n",
	.run = revoke_run,
};
