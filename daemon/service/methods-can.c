/* org.vfiod.Broker.Can: what the rules say of somebody. */
#include "daemon/base/util.h"
#include "daemon/lease/wish.h"
#include "daemon/service/parts.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>

/* What the kernel can have: no -1, which means "none" to it (kernel/user.c). */
static bool read_id(struct json_object *value, unsigned *id)
{
	int64_t number = json_object_get_int64(value);
	*id = (unsigned)number;
	return number >= 0 && number < UINT32_MAX;
}

/* 0 with *subject, whose groups are the caller's to clear; REFUSED. */
static int read_subject(struct json_object *json, struct subject *subject, struct refusal *refusal)
{
	struct json_object *groups = json_field(json, "groups");
	size_t n = json_object_array_length(groups);
	const char *unit = json_field_text(json, "unit");

	*subject = (struct subject){ 0 };
	if (!read_id(json_field(json, "uid"), &subject->uid))
		return refuse(refusal, REFUSAL_INVALID_PARAMETER, "subject.uid");
	if (!read_id(json_field(json, "gid"), &subject->gid))
		return refuse(refusal, REFUSAL_INVALID_PARAMETER, "subject.gid");
	if (unit && string_copy(subject->unit, sizeof(subject->unit), unit) < 0)
		return refuse(refusal, REFUSAL_INVALID_PARAMETER, "subject.unit");
	subject->process_uid = subject->uid;
	subject->groups = n > 0 ? calloc(n, sizeof(*subject->groups)) : NULL;
	if (n > 0 && !subject->groups)
		return -ENOMEM;
	for (; subject->n_groups < n; subject->n_groups++)
		if (!read_id(json_object_array_get_idx(groups, subject->n_groups),
			    &subject->groups[subject->n_groups])) {
			subject_clear(subject);
			return refuse(refusal, REFUSAL_INVALID_PARAMETER, "subject.groups");
		}
	return 0;
}

static struct json_object *covered_json(
	const struct config *config, const struct subject *subject, const struct device *device)
{
	struct json_object *json = json_object_new_object();
	const struct rule *rule = policy_rule_for(config, subject, device);

	json_put(json, "device", json_text(device->name));
	json_put(json, "needsRule", json_object_new_boolean(device_needs_rule(device)));
	json_put(json, "rule", rule ? json_text(rule->name) : NULL);
	return json;
}

static void answer(struct call *call, const struct subject *subject, const struct group *group,
	const char *selected)
{
	struct broker *broker = call->session->service->broker;
	const struct config *config = broker_config(broker);
	struct json_object *reply = json_object_new_object(), *devices = json_object_new_array();
	struct verdict verdict = { 0 };
	struct refusal refusal;
	const struct device *device;
	char account[256] = "";
	bool may = group_verdict(broker, subject, group, &verdict, &refusal) == 0;

	if (may)
		account_name(verdict.rule, subject, "", account, sizeof(account));
	TAILQ_FOREACH (device, &group->devices, of_group)
		json_object_array_add(devices, covered_json(config, subject, device));
	json_put(reply, "group", json_object_new_int(group->number));
	json_put(reply, "may", json_object_new_boolean(may));
	json_put(reply, "isAdministrator",
		json_object_new_boolean(policy_is_admin(config, subject)));
	json_put(reply, "isTrusted", json_object_new_boolean(verdict.trusted));
	json_put(reply, "rule", may && verdict.rule ? json_text(verdict.rule->name) : NULL);
	json_put(reply, "account", may ? json_text(account) : NULL);
	json_put(reply, "denial", may ? NULL : json_text(refusal.text));
	json_put(reply, "devices", devices);
	json_put(reply, "selected", selected ? json_text(selected) : NULL);
	call_reply(call, reply);
}

/* The group that is asked about, or that the subject would get: 0, REFUSED or -ENOMEM. */
static int find_group(const struct call *call, const struct subject *subject,
	struct wishes **wishes, struct group **group, struct refusal *refusal)
{
	struct broker *broker = call->session->service->broker;
	size_t n = 0;
	int r = selector_read(broker, call->varlink.parameters, wishes, refusal);

	return r == 0 ? broker_choose(broker, subject, *wishes, group, &n, refusal) : r;
}

static void can(struct call *call)
{
	struct session *session = call->session;
	struct json_object *json = json_field(call->varlink.parameters, "subject");
	bool is_admin = policy_is_admin(broker_config(session->service->broker), &session->subject);
	struct wishes *wishes = NULL;
	struct group *group = NULL;
	struct subject subject = { 0 };
	struct refusal refusal;
	int r = 0;

	if (json && !is_admin)
		r = refuse(&refusal, REFUSAL_PERMISSION_DENIED, "asking about others");
	else if (json)
		r = read_subject(json, &subject, &refusal);
	const struct subject *who = json ? &subject : &session->subject;
	if (r == 0)
		r = find_group(call, who, &wishes, &group, &refusal);
	if (r == REFUSED)
		call_refuse(call, &refusal);
	else if (r < 0)
		call_fail(call, -r, "asking the rules");
	else
		answer(call, who, group, wishes && wishes->selected ? wishes->selected[0] : NULL);
	wishes_free(wishes);
	subject_clear(&subject);
}

const struct method can_methods[] = {
	{ .name = "org.vfiod.Broker.Can", .run = can },
	{ .name = NULL },
};
