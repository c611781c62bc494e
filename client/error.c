#include "client/error-words.h"
#include "client/handle.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void say(struct sentence *sentence, const char *format, ...)
{
	va_list arguments;
	int n;

	va_start(arguments, format);
	n = vsnprintf(sentence->buffer + sentence->length, sentence->size - sentence->length,
		format, arguments);
	va_end(arguments);
	if (n > 0)
		sentence->length += (size_t)n;
	if (sentence->length >= sentence->size)
		sentence->length = sentence->size - 1;
}

const char *field_string(struct json_object *object, const char *key)
{
	struct json_object *value;

	if (!json_object_object_get_ex(object, key, &value) ||
		!json_object_is_type(value, json_type_string))
		return NULL;
	return json_object_get_string(value);
}

int64_t field_int(struct json_object *object, const char *key, int64_t otherwise)
{
	struct json_object *value;

	if (!json_object_object_get_ex(object, key, &value) ||
		!json_object_is_type(value, json_type_int))
		return otherwise;
	return json_object_get_int64(value);
}

const char *word(struct json_object *parameters, const char *key, const char *otherwise)
{
	const char *value = field_string(parameters, key);

	return value && *value ? value : otherwise;
}

void say_group(struct sentence *s, struct json_object *p)
{
	int64_t group = field_int(p, "group", -1);

	if (group >= 0)
		say(s, "group %lld", (long long)group);
	else
		say(s, "a group");
}

/* "by pid 312 (uid 1001)", with what is known of it. */
static void say_owner(struct sentence *s, struct json_object *p)
{
	int64_t pid = field_int(p, "ownerPid", -1), uid = field_int(p, "ownerUid", -1);

	if (pid > 0 && uid >= 0)
		say(s, "by pid %lld (uid %lld)", (long long)pid, (long long)uid);
	else if (pid > 0)
		say(s, "by pid %lld", (long long)pid);
	else if (uid >= 0)
		say(s, "by a process of uid %lld", (long long)uid);
	else
		say(s, "by a process that vfiod cannot name");
}

static void say_group_busy(struct sentence *s, struct json_object *p)
{
	say_group(s, p);
	say(s, " is held ");
	say_owner(s, p);
}

static void say_timed_out(struct sentence *s, struct json_object *p)
{
	say(s, "the wait is over: ");
	say_group_busy(s, p);
}

static void say_device_in_use(struct sentence *s, struct json_object *p)
{
	say(s,
		"%s is in use: %s; nothing was changed. End that use, or set force = yes in its "
		"rule",
		word(p, "device", "a device"), word(p, "use", "vfiod does not say what for"));
}

static void say_no_such_group(struct sentence *s, struct json_object *p)
{
	say(s, "there is no group %lld", (long long)field_int(p, "group", -1));
}

static void say_no_such_device(struct sentence *s, struct json_object *p)
{
	const char *device = word(p, "device", "of this name"), *reason = word(p, "reason", NULL);

	/* Without more to say than the name of the error: once is enough. */
	if (!reason || strcmp(reason, "no device with an IOMMU group has this name") == 0)
		say(s, "no device %s in an IOMMU group", device);
	else
		say(s, "no device %s: %s", device, reason);
}

static void say_no_such_pool(struct sentence *s, struct json_object *p)
{
	say(s, "no pool %s", word(p, "pool", "of this name"));
	say_reason(s, p);
}

static void say_invalid_match(struct sentence *s, struct json_object *p)
{
	say(s, "%s", word(p, "reason", "a match that cannot be read"));
}

static void say_not_viable(struct sentence *s, struct json_object *p)
{
	struct json_object *devices;

	say_group(s, p);
	say(s, " is not viable: ");
	if (json_object_object_get_ex(p, "devices", &devices) &&
		json_object_is_type(devices, json_type_array) &&
		json_object_array_length(devices) > 0) {
		for (size_t i = 0; i < json_object_array_length(devices); i++)
			say(s, "%s%s", i ? ", " : "",
				json_object_get_string(json_object_array_get_idx(devices, i)));
		say(s, ": ");
	}
	say(s, "%s", word(p, "reason", "a device is on a driver that does DMA for the host"));
}

static void say_step(struct sentence *s, struct json_object *p)
{
	int64_t errnum = field_int(p, "errno", 0);
	const char *description = errnum > 0 && errnum < 4096 ? strerrordesc_np((int)errnum) : NULL;

	say(s, "step %s of %s failed", word(p, "step", "?"), word(p, "device", "a device"));
	if (description)
		say(s, " (%s)", description);
}

void say_reason(struct sentence *s, struct json_object *p)
{
	const char *reason = field_string(p, "reason");

	if (reason && *reason)
		say(s, ": %s", reason);
}

static void say_take_failed(struct sentence *s, struct json_object *p)
{
	struct json_object *rolled_back;

	say_group(s, p);
	say(s, " was not taken: ");
	say_step(s, p);
	say_reason(s, p);
	if (json_object_object_get_ex(p, "rolledBack", &rolled_back) &&
		json_object_get_boolean(rolled_back))
		say(s, "; all is as before");
	else
		say(s, "; the group is left as failed, see vfioctl status");
}

static void say_return_failed(struct sentence *s, struct json_object *p)
{
	say_group(s, p);
	say(s, " was not returned: ");
	say_step(s, p);
	say_reason(s, p);
	say(s, "; the group is left as failed, see vfioctl status");
}

static void say_group_failed(struct sentence *s, struct json_object *p)
{
	say_group(s, p);
	say(s,
		" is left as failed by an earlier transaction: %s; an administrator has to return "
		"it",
		word(p, "reason", "see vfioctl status"));
}

static void say_access_denied(struct sentence *s, struct json_object *p)
{
	const char *device = field_string(p, "device");

	say(s, "access denied");
	if (device && *device)
		say(s, " to %s", device);
	say_reason(s, p);
}

static void say_reset_required(struct sentence *s, struct json_object *p)
{
	/* The reason names the device. */
	say(s, "a reset is needed first: %s", word(p, "reason", word(p, "device", "a device")));
}

static void say_no_such_lease(struct sentence *s, struct json_object *p)
{
	(void)p;
	say(s, "there is no such lease, or it is not yours");
}

static void say_not_supported(struct sentence *s, struct json_object *p)
{
	say(s, "not supported: %s", word(p, "missing", "vfiod does not say what is missing"));
}

static void say_stuck(struct sentence *s, struct json_object *p)
{
	int64_t pid = field_int(p, "holderPid", -1);

	say_group(s, p);
	if (pid > 0 && strcmp(word(p, "step", ""), "none") == 0) {
		say(s, " is stuck: pid %lld, a child of an earlier vfiod, still works on it",
			(long long)pid);
		return;
	}
	say(s, " is stuck: the kernel does not let go of %s (step %s)",
		word(p, "device", "a device"), word(p, "step", "?"));
	if (pid > 0)
		say(s, "; pid %lld has it open", (long long)pid);
}

static void say_too_many(struct sentence *s, struct json_object *p)
{
	say(s, "too many: %s, at most %lld", word(p, "limit", "a limit of vfiod"),
		(long long)field_int(p, "max", 0));
}

static void say_interrupted(struct sentence *s, struct json_object *p)
{
	struct json_object *restart = json_object_object_get(p, "isRestart");
	const char *reason = word(p, "reason", NULL);

	/* An older vfiod says neither. */
	if (!reason || !restart)
		say(s, "this was broken off before it was done: vfiod went down or was restarted, "
		       "or the lease or space that it was for has ended; nothing of it is left, "
		       "ask again");
	else if (json_object_get_boolean(restart))
		say(s, "this was broken off: %s; look whether it was done, and ask again", reason);
	else
		say(s, "this was broken off: %s; nothing of it is left", reason);
}

static void say_configuration_invalid(struct sentence *s, struct json_object *p)
{
	say(s, "the configuration was not read, the rules are as before");
	say_reason(s, p);
}

static void say_invalid_parameter(struct sentence *s, struct json_object *p)
{
	say(s, "vfiod does not accept the parameter %s", word(p, "parameter", "given"));
}

static void say_permission_denied(struct sentence *s, struct json_object *p)
{
	(void)p;
	say(s, "permission denied: this is for administrators");
}

static void say_no_method(struct sentence *s, struct json_object *p)
{
	say(s, "this vfiod does not know the method %s", word(p, "method", "called"));
}

static void say_no_interface(struct sentence *s, struct json_object *p)
{
	say(s, "this vfiod does not know the interface %s", word(p, "interface", "called"));
}

static void say_system(struct sentence *s, struct json_object *p)
{
	int64_t errnum = field_int(p, "errno", 0);
	const char *description = errnum > 0 && errnum < 4096 ? strerrordesc_np((int)errnum) : NULL;

	say(s, "vfiod failed: %s",
		description ? description : word(p, "errnoName", "an error of the system"));
	if (field_string(p, "origin"))
		say(s, " (%s)", field_string(p, "origin"));
}

#define BROKER "org.vfiod.Broker."
#define SERVICE "org.varlink.service."

static const struct known_error known_errors[] = {
	{ BROKER "NoSuchGroup", -ENODEV, say_no_such_group },
	{ BROKER "NoSuchDevice", -ENODEV, say_no_such_device },
	{ BROKER "NoSuchPool", -ENODEV, say_no_such_pool },
	{ BROKER "InvalidMatch", -EINVAL, say_invalid_match },
	{ BROKER "GroupBusy", -EBUSY, say_group_busy },
	{ BROKER "NotViable", -EREMOTEIO, say_not_viable },
	{ BROKER "DeviceInUse", -EBUSY, say_device_in_use },
	{ BROKER "TakeFailed", -EREMOTEIO, say_take_failed },
	{ BROKER "ReturnFailed", -EREMOTEIO, say_return_failed },
	{ BROKER "GroupFailed", -EREMOTEIO, say_group_failed },
	{ BROKER "AccessDenied", -EACCES, say_access_denied },
	{ BROKER "ResetRequired", -EACCES, say_reset_required },
	{ BROKER "NoSuchLease", -ENOKEY, say_no_such_lease },
	{ BROKER "NotSupported", -EOPNOTSUPP, say_not_supported },
	{ BROKER "Stuck", -EBUSY, say_stuck },
	{ BROKER "TimedOut", -ETIMEDOUT, say_timed_out },
	{ BROKER "TooMany", -EREMOTEIO, say_too_many },
	{ BROKER "Interrupted", -EREMOTEIO, say_interrupted },
	{ "org.vfiod.Admin.ConfigurationInvalid", -EREMOTEIO, say_configuration_invalid },
	{ SERVICE "InvalidParameter", -EINVAL, say_invalid_parameter },
	{ SERVICE "PermissionDenied", -EACCES, say_permission_denied },
	{ SERVICE "MethodNotFound", -EOPNOTSUPP, say_no_method },
	{ SERVICE "MethodNotImplemented", -EOPNOTSUPP, say_no_method },
	{ SERVICE "InterfaceNotFound", -EOPNOTSUPP, say_no_interface },
	{ "io.systemd.System", -EREMOTEIO, say_system },
};

static const struct known_error *known_error_find(const char *name)
{
	for (size_t i = 0; i < sizeof known_errors / sizeof *known_errors; i++)
		if (strcmp(known_errors[i].name, name) == 0)
			return &known_errors[i];
	return memory_error_find(name) ? memory_error_find(name) : space_error_find(name);
}

int error_number(const char *name)
{
	const struct known_error *known = known_error_find(name);

	return known ? known->error : -EREMOTEIO;
}

void text_make_printable(char *text)
{
	for (unsigned char *c = (unsigned char *)text; *c; c++)
		if (*c < 0x20 || *c == 0x7f)
			*c = '?';
		else if (c[0] == 0xc2 && c[1] >= 0x80 && c[1] < 0xa0)
			c[0] = c[1] = '?';
}

void error_sentence(const char *name, struct json_object *parameters, char *buffer, size_t size)
{
	const struct known_error *known = known_error_find(name);
	struct sentence sentence = { .buffer = buffer, .size = size };

	buffer[0] = '\0';
	if (known) {
		known->say(&sentence, parameters);
	} else {
		say(&sentence, "%s", name);
		if (parameters && json_object_object_length(parameters) > 0)
			say(&sentence, " %s",
				json_object_to_json_string_ext(
					parameters, JSON_C_TO_STRING_NOSLASHESCAPE));
	}
	text_make_printable(buffer);
}

void vfiod_error_clear(struct vfiod *vfiod)
{
	free(vfiod->error_name);
	free(vfiod->error_parameters);
	vfiod->error_name = vfiod->error_parameters = NULL;
	snprintf(vfiod->sentence, sizeof vfiod->sentence, "no error");
}

int vfiod_fail(struct vfiod *vfiod, int error, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(vfiod->sentence, sizeof vfiod->sentence, format, arguments);
	va_end(arguments);
	text_make_printable(vfiod->sentence);
	return error;
}

int vfiod_fail_reply(struct vfiod *vfiod, const struct varlink_reply *reply)
{
	const char *parameters =
		reply->parameters ? json_object_to_json_string_ext(reply->parameters,
					    JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE)
				  : "{}";

	vfiod_error_clear(vfiod);
	error_sentence(reply->error, reply->parameters, vfiod->sentence, sizeof vfiod->sentence);
	vfiod->error_name = strdup(reply->error);
	vfiod->error_parameters = parameters ? strdup(parameters) : NULL;
	/* The reply is the news; without memory for its data the sentence is still there. */
	return error_number(reply->error);
}

const char *vfiod_strerror(const struct vfiod *vfiod)
{
	return vfiod ? vfiod->sentence : "cannot connect to vfiod: is vfiod.socket running?";
}

const char *vfiod_error_name(const struct vfiod *vfiod)
{
	return vfiod ? vfiod->error_name : NULL;
}

const char *vfiod_error_parameters(const struct vfiod *vfiod)
{
	return vfiod ? vfiod->error_parameters : NULL;
}
