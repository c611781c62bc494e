/* The daemon and its configuration, as the daemon sees them. */
#include "client/vfioctl/check.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "client/vfioctl/format.h"

static void status_check(struct findings *findings, struct json_object *status)
{
	const char *version = get_string(status, "version");
	struct json_object *problems;
	char text[256];
	size_t n;

	if (!version || strcmp(version, VFIOD_VERSION) != 0) {
		snprintf(text, sizeof text, "vfiod is of version %s, and vfioctl of " VFIOD_VERSION,
			version ? version : "?");
		finding_add(findings, FINDING_WARNING, "vfiod", text,
			"After an update, `systemctl restart vfiod` starts the new one.");
	} else {
		finding_add(findings, FINDING_OK, "vfiod", "answers; version " VFIOD_VERSION, NULL);
	}
	problems = get_array(status, "problems", &n);
	for (size_t i = 0; i < n; i++) {
		struct json_object *problem = json_object_array_get_idx(problems, i);
		const char *what = get_string(problem, "text");
		int64_t group = get_int(problem, "group", -1);

		/* Without a group it is about the host, which is looked at already. */
		if (group < 0)
			continue;
		snprintf(text, sizeof text, "group %lld wants attention", (long long)group);
		finding_add(findings, FINDING_PROBLEM, "groups", text, what ? what : "?");
	}
}

/* "0000:01:00.0, 0000:01:00.1 and 3 more" */
static void names_join(struct json_object *array, size_t n, char *text, size_t size)
{
	const size_t shown = 4;
	size_t used = 0;

	text[0] = '\0';
	for (size_t i = 0; i < n && i < shown && used < size; i++) {
		const char *name = json_object_get_string(json_object_array_get_idx(array, i));

		used += (size_t)snprintf(
			text + used, size - used, "%s%s", i ? ", " : "", name ? name : "?");
	}
	if (n > shown && used < size)
		snprintf(text + used, size - used, " and %zu more", n - shown);
}

static const char *get_first(struct json_object *array)
{
	const char *text = json_object_get_string(json_object_array_get_idx(array, 0));

	return text ? text : "?";
}

static void rule_check(struct findings *findings, struct json_object *rule)
{
	const char *name = get_string(rule, "rule"), *file = get_string(rule, "file");
	char where[512], text[640], devices[256], advice[400];
	size_t n;
	struct json_object *uncovered = get_array(rule, "uncovered", &n);

	snprintf(where, sizeof where, "rule '%s' (%s:%lld)", name ? name : "?", file ? file : "?",
		(long long)get_int(rule, "line", 0));
	if (get_int(rule, "devices", 0) == 0) {
		snprintf(text, sizeof text, "%s matches no device of this host", where);
		finding_add(findings, FINDING_WARNING, "rules", text,
			"`vfioctl list --all --json` shows addresses, ids and classes; only "
			"devices with an IOMMU group count.");
	}
	if (n > 0) {
		names_join(uncovered, n, devices, sizeof devices);
		snprintf(text, sizeof text,
			"%s covers a part of a group: no rule covers %s, so nobody may lease it",
			where, devices);
		snprintf(advice, sizeof advice,
			"Groups are leased whole: whole-group = yes in the rule covers them; "
			"`vfioctl why %s` tells why they belong together.",
			get_first(uncovered));
		finding_add(findings, FINDING_PROBLEM, "rules", text, advice);
	}
}

static void configuration_check(struct findings *findings, struct json_object *reply)
{
	const char *error = get_string(reply, "configurationError");
	size_t n, before;
	struct json_object *rules = get_array(reply, "rules", &n);
	char text[64];

	if (error)
		finding_add(findings, FINDING_PROBLEM, "configuration", error,
			"The rules that were read before are in force. When it is right: `vfioctl "
			"reload`, as an administrator.");
	else
		finding_add(findings, FINDING_OK, "configuration", "is valid", NULL);
	if (n == 0) {
		finding_add(findings, FINDING_WARNING, "rules", "none: nobody may lease anything",
			"vfiod.conf(5) shows how to write them.");
		return;
	}
	before = findings->n;
	for (size_t i = 0; i < n; i++)
		rule_check(findings, json_object_array_get_idx(rules, i));
	snprintf(text, sizeof text, "%zu in force", n);
	if (findings->n == before)
		finding_add(findings, FINDING_OK, "rules", text, NULL);
}

/* Without a word from the daemon: what `vfiod --check-config` says of the file is all there is. */
static void unreachable(struct findings *findings, int error, const char *socket)
{
	char text[256];

	snprintf(text, sizeof text, "does not answer at %s: %s", socket, strerrordesc_np(-error));
	finding_add(findings, FINDING_PROBLEM, "vfiod", text,
		"`systemctl enable --now vfiod.socket`, as root; `systemctl status vfiod` says why "
		"it did not start, and `vfiod --check-config` what its configuration is like.");
}

static void ask_check(struct findings *findings, struct context *context, const char *method,
	void (*check)(struct findings *, struct json_object *))
{
	struct json_object *reply;
	char text[256];

	if (ask(context, method, NULL, &reply) == 0) {
		check(findings, reply);
		json_object_put(reply);
		return;
	}
	snprintf(text, sizeof text, "%s failed: %s", method, vfiod_strerror(context->vfiod));
	finding_add(
		findings, FINDING_PROBLEM, "vfiod", text, "`journalctl -u vfiod` may say more.");
}

void check_daemon(struct findings *findings, struct context *context)
{
	int r = vfiod_open(context->socket, &context->vfiod);

	if (r < 0) {
		unreachable(findings, r, socket_name(context));
		return;
	}
	patience_begin();
	ask_check(findings, context, "org.vfiod.Admin.Status", status_check);
	ask_check(findings, context, "org.vfiod.Admin.Check", configuration_check);
}
