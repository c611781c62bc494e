/* can: may a user lease a device, by which rule, and would it work now? */
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/vfioctl/dry-run.h"
#include "client/vfioctl/format.h"
#include "client/vfioctl/vfioctl.h"

/* The user database may be a slow server's: it is asked here, and the daemon gets numbers. */
struct user {
	char name[128];
	uid_t uid;
	gid_t gid;
	gid_t *groups; /* owned */
	size_t n_groups;
};

static int user_groups(struct user *user)
{
	int n = 64;

	for (;;) {
		gid_t *grown = reallocarray(user->groups, (size_t)n, sizeof *grown);
		int room = n;

		if (!grown)
			return -ENOMEM;
		user->groups = grown;
		if (getgrouplist(user->name, user->gid, user->groups, &n) >= 0) {
			user->n_groups = (size_t)n;
			return 0;
		}
		if (n <= room) /* it says how much room it wants, except when it fails */
			n = room * 2;
	}
}

/* "alice", or a number; -ENOENT: nobody. */
static int user_find(struct user *user, const char *argument)
{
	const struct passwd *entry;
	char *end;
	unsigned long number;

	errno = 0;
	entry = getpwnam(argument);
	number = strtoul(argument, &end, 10);
	if (!entry && *end == '\0' && argument[0] >= '0' && argument[0] <= '9' &&
		number < UINT32_MAX)
		entry = getpwuid((uid_t)number);
	else if (!entry)
		return -ENOENT;
	if (!entry) {
		/* Nobody knows it, and a rule may all the same: it is in no group that matters. */
		snprintf(user->name, sizeof user->name, "uid %lu", number);
		user->uid = (uid_t)number;
		user->gid = 65534;
		return 0;
	}
	snprintf(user->name, sizeof user->name, "%s", entry->pw_name);
	user->uid = entry->pw_uid;
	user->gid = entry->pw_gid;
	return user_groups(user);
}

static bool add(struct json_object *object, const char *key, struct json_object *value)
{
	if (value && json_object_object_add(object, key, value) == 0)
		return true;
	json_object_put(value);
	return false;
}

static struct json_object *groups_array(const struct user *user)
{
	struct json_object *array = json_object_new_array();

	for (size_t i = 0; array && i < user->n_groups; i++) {
		struct json_object *number = json_object_new_int64(user->groups[i]);

		if (!number || json_object_array_add(array, number) < 0) {
			json_object_put(number);
			json_object_put(array);
			return NULL;
		}
	}
	return array;
}

static struct json_object *can_parameters(
	const struct user *user, const char *unit, const char *target)
{
	struct json_object *parameters = selector_parameters(target);
	struct json_object *subject = json_object_new_object();
	bool is_self = user->uid == geteuid() && !unit;

	/* About yourself the daemon knows better: it asks the kernel. */
	if (parameters && is_self) {
		json_object_put(subject);
		return parameters;
	}
	if (parameters && subject && add(subject, "uid", json_object_new_int64(user->uid)) &&
		add(subject, "gid", json_object_new_int64(user->gid)) &&
		add(subject, "groups", groups_array(user)) &&
		(!unit || add(subject, "unit", json_object_new_string(unit))) &&
		add(parameters, "subject", json_object_get(subject))) {
		json_object_put(subject);
		return parameters;
	}
	json_object_put(subject);
	json_object_put(parameters);
	return NULL;
}

static void members_print(struct context *context, const char *who, struct json_object *reply)
{
	size_t n;
	struct json_object *devices = get_array(reply, "devices", &n);

	for (size_t i = 0; i < n; i++) {
		struct json_object *device = json_object_array_get_idx(devices, i);
		const char *name = get_string(device, "device"), *rule = get_string(device, "rule");
		char text[256], printable[256];

		if (!get_bool(device, "needsRule"))
			snprintf(text, sizeof text, "%s needs no rule: it stays as it is",
				name ? name : "?");
		else if (rule)
			snprintf(text, sizeof text, "%s is covered by rule '%s'", name ? name : "?",
				rule);
		else if (get_bool(reply, "isAdministrator"))
			snprintf(text, sizeof text, "%s is covered by no rule", name ? name : "?");
		else
			snprintf(text, sizeof text, "%s is not covered for %s", name ? name : "?",
				who);
		format_printable(text, printable, sizeof printable);
		fprintf(context->out, "  %s\n", printable);
	}
}

static void trust_print(struct context *context, struct json_object *reply)
{
	text_print(context, "  ", 4,
		get_bool(reply, "isTrusted")
			? "trusted: nothing has to bound what he maps by himself"
			: "not trusted: to map by himself he needs a memory.max that he cannot "
			  "raise; mode brokered needs none");
}

static void can_print(struct context *context, const char *who, struct json_object *reply)
{
	const char *rule = get_string(reply, "rule"), *account = get_string(reply, "account");
	const char *denial = get_string(reply, "denial");
	long long group = (long long)get_int(reply, "group", -1);
	size_t n_vetoes;
	struct json_object *vetoes = get_array(reply, "vetoes", &n_vetoes);
	char text[1024];

	if (!get_bool(reply, "may"))
		snprintf(text, sizeof text, "%s may not lease group %lld: %s", who, group,
			denial ? denial : "?");
	else if (rule)
		snprintf(text, sizeof text, "%s may lease group %lld, by rule '%s'; account %s",
			who, group, rule, account ? account : "?");
	else
		snprintf(text, sizeof text,
			"%s may lease group %lld: an administrator needs no rule; account %s", who,
			group, account ? account : "?");
	text_print(context, "", 2, text);
	members_print(context, who, reply);
	if (get_bool(reply, "may"))
		trust_print(context, reply);
	if (n_vetoes > 0) {
		fputs("It would be refused now:\n", context->out);
		vetoes_print(context, vetoes, n_vetoes);
	} else if (vetoes) {
		fputs("Nothing is in the way now.\n", context->out);
	}
}

/*
 * Would it work now? Asked only where it may be: for yourself, or, by an administrator, for
 * anybody; what the host does with a device is the same for all. No answer is no failure.
 */
static void add_vetoes(
	struct context *context, const char *target, bool is_self, struct json_object *reply)
{
	struct json_object *plan, *vetoes;

	if (plan_ask(context, is_self ? "acquire" : "take", NULL, &target, 1, &plan) < 0)
		return;
	vetoes = get_object(plan, "vetoes");
	if (vetoes)
		add(reply, "vetoes", json_object_get(vetoes));
	json_object_put(plan);
}

static int can(
	struct context *context, const struct user *user, const char *unit, const char *argument)
{
	struct json_object *parameters = can_parameters(user, unit, argument), *reply;
	char target[256];
	int exit_code;

	if (!parameters) {
		fputs("vfioctl: out of memory\n", stderr);
		return EXIT_REFUSED;
	}
	target_describe(argument, target, sizeof target);
	if (ask(context, "org.vfiod.Broker.Can", parameters, &reply) < 0)
		return complain(context, "say whether %s may lease %s", user->name, target);
	exit_code = get_bool(reply, "may") ? EXIT_SUCCESS : EXIT_REFUSED;
	if (exit_code == EXIT_SUCCESS)
		add_vetoes(context, argument, user->uid == geteuid() && !unit, reply);
	if (context->is_json)
		json_print(context, reply);
	else
		can_print(context, user->name, reply);
	json_object_put(reply);
	return exit_code;
}

static int can_run(struct context *context, int argc, char *argv[])
{
	static const struct option own[] = {
		{ "unit", required_argument, NULL, 'u' },
		{ 0 },
	};
	struct user user = { 0 };
	const char *unit = NULL;
	int option, exit_code, r;

	options_begin();
	while ((option = options_next(context, argc, argv, false, own, &exit_code)) != OPTION_END) {
		if (option == OPTION_EXIT)
			return exit_code;
		unit = optarg;
	}
	if (argc - optind != 2)
		return usage_error(context, "which user, and which device or group?");
	if (!target_is_valid(argv[optind + 1]))
		return usage_error(context, "'%s': neither a device nor a group", argv[optind + 1]);
	r = user_find(&user, argv[optind]);
	if (r < 0) {
		exit_code = r == -ENOENT ? usage_error(context, "there is no user %s", argv[optind])
					 : EXIT_REFUSED;
	} else {
		exit_code = connect_daemon(context);
		if (!exit_code)
			exit_code = can(context, &user, unit, argv[optind + 1]);
	}
	free(user.groups);
	return exit_code;
}

const struct command command_can = {
	.name = "can",
	.arguments = "USER DEVICE|GROUP [--unit UNIT]",
	.summary = "Say whether a user may lease a device, and by which rule",
	.help = "Which account would pay, which devices of the group no rule covers, what to\n"
		"write in the configuration; whether the rules trust him, so that no memory.max\n"
		"has to bound what he maps by himself; and, if he may, what is in the way now.\n"
		"About yourself anybody may ask, about others administrators.\n"
		"  --unit UNIT  as if asked from this systemd unit\n"
		"Exit status: 0 the rules let him, 1 they do not.\n"
		"\n"
		"Examples:\n"
		"  vfioctl can $USER 01:00.0\n"
		"  sudo vfioctl can alice group:7\n"
		"  sudo vfioctl can dpdk 3b:02.0 --unit dpdk@1.service\n",
	.run = can_run,
};
