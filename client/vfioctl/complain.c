/* Why something was refused, with what the error alone does not tell: who has a group now. */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "client/vfioctl/format.h"
#include "client/vfioctl/vfioctl.h"

#define BROKER "org.vfiod.Broker."

/* The library's last error, kept over a further call. */
struct refused {
	char name[128];
	char sentence[1024];
	int64_t group; /* that the error is about, or -1 */
};

static void refused_read(const struct context *context, struct refused *refused)
{
	const char *name = vfiod_error_name(context->vfiod);
	const char *text = vfiod_error_parameters(context->vfiod);
	struct json_object *parameters = text ? json_tokener_parse(text) : NULL;

	snprintf(refused->name, sizeof refused->name, "%s", name ? name : "");
	snprintf(refused->sentence, sizeof refused->sentence, "%s", vfiod_strerror(context->vfiod));
	refused->group = get_int(parameters, "group", -1);
	json_object_put(parameters);
}

static bool refused_is(const struct refused *refused, const char *name)
{
	return strcmp(refused->name, name) == 0;
}

/* Who has it open is found out a moment after the lease is over, and not always. */
static void lingering_print(const struct refused *refused, struct json_object *group)
{
	struct json_object *holder = get_object(group, "holder");
	const char *evidence = get_string(group, "holderEvidence");
	bool is_known = evidence && strcmp(evidence, "former") != 0;
	long long number = (long long)refused->group;
	char who[160];

	format_holder(holder, who, sizeof who);
	fprintf(stderr, "%sgroup %lld is %sheld open by %s",
		refused_is(refused, BROKER "TimedOut") ? "the wait is over: " : "", number,
		is_known && strcmp(evidence, "probable") == 0 ? "probably " : "",
		is_known ? who : "some process");
	if (holder && !is_known)
		fprintf(stderr, "; it was leased to %s", who);
	if (is_known)
		fputs("; when that ends, the group goes back", stderr);
	else
		fprintf(stderr, "; `vfioctl status %lld` names it once it is found", number);
}

static void leased_print(
	const struct context *context, const struct refused *refused, struct json_object *group)
{
	struct json_object *holder = get_object(group, "holder");
	const char *command = get_string(holder, "command"), *lease = get_string(group, "lease");
	char user[64], name[64], printable[64];

	fputs(refused->sentence, stderr);
	if (holder) {
		format_user((uid_t)get_int(holder, "uid", -1), user, sizeof user);
		format_printable(command ? command : "?", name, sizeof name);
		fprintf(stderr, ": %s %s", user, name);
	}
	if (lease) {
		format_printable(lease, printable, sizeof printable);
		fprintf(stderr, ", lease %s", printable);
	}
	if (context->command && strcmp(context->command, "run") == 0 &&
		refused_is(refused, BROKER "GroupBusy"))
		fputs("; --wait SECONDS waits for it", stderr);
}

static void busy_print(struct context *context, const struct refused *refused)
{
	struct json_object *parameters = json_object_new_object(), *reply = NULL, *group, *number;
	const char *owner = NULL;

	number = json_object_new_int64(refused->group);
	if (parameters && number && json_object_object_add(parameters, "group", number) == 0) {
		ask(context, BROKER "Describe", parameters, &reply); /* if it fails: no reply */
	} else {
		json_object_put(number);
		json_object_put(parameters);
	}
	group = get_object(reply, "group");
	owner = get_string(group, "owner");
	if (owner && strcmp(owner, "lingering") == 0)
		lingering_print(refused, group);
	else if (owner && strcmp(owner, "leased") == 0)
		leased_print(context, refused, group);
	else
		fputs(refused->sentence, stderr);
	fputc('\n', stderr);
	json_object_put(reply);
}

int complain(struct context *context, const char *format, ...)
{
	struct refused refused;
	va_list arguments;

	refused_read(context, &refused);
	if (refused_is(&refused, BROKER "NoSuchDevice") ||
		refused_is(&refused, BROKER "NoSuchGroup")) {
		/* What was asked for is named in the sentence. */
		fprintf(stderr, "vfioctl: %s; `vfioctl list --all` shows them all\n",
			refused.sentence);
		return EXIT_REFUSED;
	}
	fputs("vfioctl: cannot ", stderr);
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fputs(": ", stderr);
	if (refused.group >= 0 && (refused_is(&refused, BROKER "GroupBusy") ||
					  refused_is(&refused, BROKER "TimedOut"))) {
		busy_print(context, &refused);
		return EXIT_REFUSED;
	}
	fprintf(stderr, "%s\n", refused.sentence);
	if (refused_is(&refused, "org.varlink.service.PermissionDenied"))
		fputs("Administrators only: try sudo.\n", stderr);
	return EXIT_REFUSED;
}
