/* Memory that a lease reserves, for what its holder maps by itself. */
#include "client/error.h"
#include "client/handle.h"

#include <errno.h>
#include <inttypes.h>

int memory_check(struct vfiod *vfiod, uint64_t bytes)
{
	/* Varlink's integers are those of int64_t, and its greatest is not taken for one. */
	if (bytes < INT64_MAX)
		return 0;
	return vfiod_fail(vfiod, -EINVAL, "%" PRIu64 " bytes are beyond all memory", bytes);
}

int vfiod_reserve(
	struct vfiod *vfiod, const char *lease_token, uint64_t memory_bytes, uint64_t *total)
{
	struct json_object *parameters, *reply;
	struct message message;
	int64_t reserved;
	int r = vfiod_begin(vfiod, false);

	if (r == 0)
		r = memory_check(vfiod, memory_bytes);
	if (r < 0)
		return r;
	parameters = json_object_new_object();
	if (!object_add(parameters, "token", json_object_new_string(lease_token)) ||
		!object_add(
			parameters, "memoryBytes", json_object_new_int64((int64_t)memory_bytes))) {
		json_object_put(parameters);
		return vfiod_fail(vfiod, -ENOMEM, "out of memory");
	}
	r = vfiod_exchange(
		vfiod, "org.vfiod.Ledger.Reserve", parameters, NULL, 0, &message, &reply);
	if (r < 0)
		return r;
	reserved = field_int(reply, "memoryBytes", -1);
	if (reserved < 0)
		r = vfiod_fail(vfiod, -EPROTO, "vfiod does not say what is reserved");
	else if (total)
		*total = (uint64_t)reserved;
	message_clear(&message);
	return r;
}
