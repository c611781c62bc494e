#include "daemon/service/parts.h"

#include <string.h>

#define ERROR(name) "org.vfiod.Broker." name

static void put_group(struct json_object *json, const struct refusal *refusal)
{
	json_put(json, "group", json_object_new_int(refusal->group));
}

static void put_device(struct json_object *json, const struct refusal *refusal)
{
	json_put(json, "device", json_text(refusal->device));
}

static void put_owner(struct json_object *json, const struct refusal *refusal)
{
	bool known = refusal->owner_pid > 0;
	json_put(json, "ownerPid", known ? json_object_new_int(refusal->owner_pid) : NULL);
	json_put(json, "ownerUid", known ? json_object_new_int64(refusal->owner_uid) : NULL);
}

static void put_step(struct json_object *json, const struct refusal *refusal)
{
	json_put(json, "step", json_text(bind_step_name(refusal->step)));
	json_put(json, "errno", json_object_new_int(refusal->errnum));
}

/* What NotViable lists: the first that is in the way; the text has them all. */
static struct json_object *device_list(const struct refusal *refusal)
{
	struct json_object *list = json_object_new_array();
	if (list && *refusal->device)
		json_object_array_add(list, json_text(refusal->device));
	return list;
}

static const char *limit_error(const struct refusal *refusal, struct json_object *json)
{
	json_put(json, "account", json_text(refusal->account));
	json_put(json, "limit", json_text(refusal->limit));
	json_put(json, "limitBytes", json_bytes(refusal->limit_bytes));
	json_put(json, "stateBytes", json_bytes(refusal->state_bytes));
	json_put(json, "requestedBytes", json_bytes(refusal->requested_bytes));
	return ERROR("LimitExceeded");
}

static const char *take_errors(const struct refusal *refusal, struct json_object *json)
{
	switch (refusal->kind) {
	case REFUSAL_NOT_VIABLE:
		put_group(json, refusal);
		json_put(json, "devices", device_list(refusal));
		json_put(json, "reason", json_text(refusal->text));
		return ERROR("NotViable");
	case REFUSAL_DEVICE_IN_USE:
		put_group(json, refusal);
		put_device(json, refusal);
		json_put(json, "use", json_text(refusal->text));
		return ERROR("DeviceInUse");
	case REFUSAL_TAKE_FAILED:
		put_group(json, refusal);
		put_device(json, refusal);
		put_step(json, refusal);
		json_put(json, "rolledBack", json_object_new_boolean(refusal->rolled_back));
		json_put(json, "reason", json_text(refusal->text));
		return ERROR("TakeFailed");
	case REFUSAL_RETURN_FAILED:
		put_group(json, refusal);
		put_device(json, refusal);
		put_step(json, refusal);
		json_put(json, "reason", json_text(refusal->text));
		return ERROR("ReturnFailed");
	case REFUSAL_STUCK:
		put_group(json, refusal);
		put_device(json, refusal);
		json_put(json, "step", json_text(bind_step_name(refusal->step)));
		json_put(json, "holderPid",
			refusal->owner_pid > 0 ? json_object_new_int(refusal->owner_pid) : NULL);
		return ERROR("Stuck");
	default:
		return space_error(refusal, json);
	}
}

static const char *group_errors(const struct refusal *refusal, struct json_object *json)
{
	switch (refusal->kind) {
	case REFUSAL_NO_SUCH_GROUP:
		put_group(json, refusal);
		return ERROR("NoSuchGroup");
	case REFUSAL_NO_SUCH_DEVICE:
		put_device(json, refusal);
		json_put(json, "reason", json_text(refusal->text));
		return ERROR("NoSuchDevice");
	case REFUSAL_GROUP_BUSY:
		put_group(json, refusal);
		put_owner(json, refusal);
		return ERROR("GroupBusy");
	case REFUSAL_TIMED_OUT:
		put_group(json, refusal);
		put_owner(json, refusal);
		return ERROR("TimedOut");
	case REFUSAL_RESET_REQUIRED:
		put_group(json, refusal);
		put_device(json, refusal);
		json_put(json, "reason", json_text(refusal->text));
		return ERROR("ResetRequired");
	case REFUSAL_GROUP_FAILED:
		put_group(json, refusal);
		json_put(json, "reason", json_text(refusal->text));
		return ERROR("GroupFailed");
	default:
		return take_errors(refusal, json);
	}
}

const char *refusal_to_varlink(const struct refusal *refusal, struct json_object **parameters)
{
	struct json_object *json = *parameters = json_object_new_object();

	switch (refusal->kind) {
	case REFUSAL_ACCESS_DENIED:
		json_put(json, "device", *refusal->device ? json_text(refusal->device) : NULL);
		json_put(json, "reason", json_text(refusal->text));
		return ERROR("AccessDenied");
	case REFUSAL_NO_SUCH_POOL:
		json_put(json, "pool", json_text(refusal->account));
		json_put(json, "reason", json_text(refusal->text));
		return ERROR("NoSuchPool");
	case REFUSAL_INVALID_MATCH:
		json_put(json, "match", json_text(refusal->account));
		json_put(json, "reason", json_text(refusal->text));
		return ERROR("InvalidMatch");
	case REFUSAL_NO_SUCH_LEASE:
		return ERROR("NoSuchLease");
	case REFUSAL_NOT_SUPPORTED:
		json_put(json, "missing", json_text(refusal->text));
		return ERROR("NotSupported");
	case REFUSAL_TOO_MANY:
		json_put(json, "limit", json_text(refusal->text));
		json_put(json, "max", json_object_new_int64(refusal->max));
		return ERROR("TooMany");
	case REFUSAL_INTERRUPTED:
		json_put(json, "reason", json_text(refusal->text));
		json_put(json, "isRestart", json_object_new_boolean(refusal->is_restart));
		return ERROR("Interrupted");
	case REFUSAL_LIMIT_EXCEEDED:
		return limit_error(refusal, json);
	case REFUSAL_NO_MEMORY_BOUND:
		json_put(json, "cgroup", json_text(refusal->account));
		json_put(json, "reason", json_text(refusal->text));
		return ERROR("NoMemoryBound");
	case REFUSAL_CONFIGURATION:
		json_put(json, "reason", json_text(refusal->text));
		return "org.vfiod.Admin.ConfigurationInvalid";
	case REFUSAL_INVALID_PARAMETER:
		json_put(json, "parameter", json_text(refusal->text));
		return "org.varlink.service.InvalidParameter";
	case REFUSAL_PERMISSION_DENIED:
		return "org.varlink.service.PermissionDenied";
	case REFUSAL_SYSTEM:
	case REFUSAL_NONE:
		break;
	default:
		return group_errors(refusal, json);
	}
	const char *name = strerrorname_np(refusal->errnum);
	json_put(json, "errno", json_object_new_int(refusal->errnum));
	json_put(json, "errnoName", json_text(name ? name : "unknown"));
	json_put(json, "origin", json_text(refusal->text));
	return "io.systemd.System";
}
