#include "daemon/service/space-call.h"

#include "daemon/service/iova.h"

struct space_entry *call_space(struct call *call)
{
	struct session *session = call->session;
	struct space_entry *entry = space_entry_find(session->service->broker, &session->subject,
		json_field_text(call->varlink.parameters, "space"));
	struct refusal refusal;

	if (!entry) {
		refuse(&refusal, REFUSAL_NO_SUCH_SPACE, "no space has this token");
		call_refuse(call, &refusal);
	} else {
		space_entry_take_up(entry, session->connection, session);
	}
	return entry;
}

/* Nobody waits for the answer any more; what was asked for goes on. */
static void forget(struct call *call)
{
	struct space_entry *entry = call->state;
	space_forget(entry->space, call);
	attaching_forget(entry, call);
	space_entry_forget(entry, call);
}

bool call_failed(struct call *call, int result, const struct refusal *refusal)
{
	if (result == 0)
		return false;
	if (result == REFUSED && refusal->kind == REFUSAL_LIMIT_EXCEEDED && call->state)
		space_entry_tell_limit(call->state, refusal);
	if (result == REFUSED)
		call_refuse(call, refusal);
	else
		call_fail(call, -result, "the space");
	return true;
}

void call_asked(
	struct call *call, struct space_entry *entry, int result, const struct refusal *refusal)
{
	call->state = entry;
	if (!call_failed(call, result, refusal))
		call->cancel = forget;
}

bool call_unsigned(struct call *call, const char *key, uint64_t *value)
{
	int64_t number = json_object_get_int64(json_field(call->varlink.parameters, key));

	if (number < 0) {
		call_invalid(call, key);
		return false;
	}
	*value = (uint64_t)number;
	return true;
}

bool call_iova(struct call *call, uint64_t *iova)
{
	if (iova_parse(json_field_text(call->varlink.parameters, "iova"), iova) == 0)
		return true;
	call_invalid(call, "iova");
	return false;
}
