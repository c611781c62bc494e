/* What is mapped in a space, and what can be. */
#include "client/error.h"
#include "client/space.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What Varlink's integers cannot say is no offset and no length. */
static int size_check(struct vfiod *vfiod, const char *what, uint64_t bytes)
{
	int r = vfiod_begin(vfiod, false);

	if (r == 0 && bytes >= INT64_MAX)
		r = vfiod_fail(vfiod, -EINVAL, "%s of %" PRIu64 " bytes is beyond all memory", what,
			bytes);
	return r;
}

static void request_add_iova(struct request *request, uint64_t iova)
{
	char text[32];

	snprintf(text, sizeof text, "0x%" PRIx64, iova);
	request_add(request, "iova", json_object_new_string(text));
}

int vfiod_space_map(struct vfiod *vfiod, struct vfiod_space *space, uint32_t memory,
	uint64_t offset, uint64_t iova, uint64_t length, int flags, uint64_t *new_owed)
{
	struct request request;
	struct message message;
	struct json_object *reply;
	int r = size_check(vfiod, "an offset", offset);

	if (r == 0)
		r = size_check(vfiod, "a length", length);
	if (r == 0 && flags & ~(VFIOD_MAP_READ | VFIOD_MAP_WRITE))
		r = vfiod_fail(vfiod, -EINVAL, "flags of a mapping that are not known");
	if (r < 0)
		return r;
	request = request_new(space);
	request_add(&request, "memory", json_object_new_int64(memory));
	request_add(&request, "offset", json_object_new_int64((int64_t)offset));
	request_add_iova(&request, iova);
	request_add(&request, "length", json_object_new_int64((int64_t)length));
	request_add(&request, "read", json_object_new_boolean(flags & VFIOD_MAP_READ));
	request_add(&request, "write", json_object_new_boolean(flags & VFIOD_MAP_WRITE));
	r = request_send(vfiod, &request, "org.vfiod.Space.Map", NULL, 0, &message, &reply);
	if (r < 0)
		return r;
	if (new_owed)
		*new_owed = (uint64_t)field_int(reply, "newOwedBytes", 0);
	message_clear(&message);
	return 0;
}

int vfiod_space_unmap(struct vfiod *vfiod, struct vfiod_space *space, uint64_t iova,
	uint64_t length, uint64_t *unmapped)
{
	static const char method[] = "org.vfiod.Space.Unmap";
	struct request request;
	struct message message;
	struct json_object *reply;
	int64_t n;
	int r = size_check(vfiod, "a length", length);

	if (r < 0)
		return r;
	request = request_new(space);
	request_add_iova(&request, iova);
	request_add(&request, "length", json_object_new_int64((int64_t)length));
	r = request_send(vfiod, &request, method, NULL, 0, &message, &reply);
	if (r < 0)
		return r;
	n = field_int(reply, "mappings", -1);
	if (unmapped)
		*unmapped = (uint64_t)field_int(reply, "lengthBytes", 0);
	r = n < 0 || n > INT32_MAX ? reply_nonsense(vfiod, method) : (int)n;
	message_clear(&message);
	return r;
}

/* --- Describe ------------------------------------------------------------------- */

static bool array_of(struct json_object *object, const char *key, struct json_object **array)
{
	return json_object_object_get_ex(object, key, array) &&
	       json_object_is_type(*array, json_type_array);
}

static int address_read(struct json_object *range, const char *key, uint64_t *address)
{
	const char *text = field_string(range, key);
	char *end;

	if (!text || strncmp(text, "0x", 2) != 0)
		return -EPROTO;
	errno = 0;
	*address = strtoull(text, &end, 16);
	return *end || errno ? -EPROTO : 0;
}

static int ranges_read(struct json_object *reply, struct vfiod_space_info *info,
	struct vfiod_iova_range *ranges, size_t max_ranges)
{
	struct json_object *array;

	if (!array_of(reply, "iovaRanges", &array))
		return -EPROTO;
	info->n_ranges = json_object_array_length(array);
	for (size_t i = 0; ranges && i < info->n_ranges && i < max_ranges; i++) {
		struct json_object *range = json_object_array_get_idx(array, i);

		if (address_read(range, "first", &ranges[i].first) < 0 ||
			address_read(range, "last", &ranges[i].last) < 0)
			return -EPROTO;
	}
	return 0;
}

static int description_read(struct json_object *reply, struct vfiod_space_info *info)
{
	struct json_object *sizes, *containers, *is_coherent;

	if (!array_of(reply, "pageSizes", &sizes) || !array_of(reply, "containers", &containers) ||
		!json_object_object_get_ex(reply, "isCoherent", &is_coherent))
		return -EPROTO;
	for (size_t i = 0; i < json_object_array_length(sizes); i++)
		info->page_sizes |=
			(uint64_t)json_object_get_int64(json_object_array_get_idx(sizes, i));
	info->n_containers = (unsigned)json_object_array_length(containers);
	info->is_coherent = json_object_get_boolean(is_coherent);
	info->mapped_bytes = (uint64_t)field_int(reply, "mappedBytes", 0);
	info->owed_bytes = (uint64_t)field_int(reply, "owedBytes", 0);
	info->kernel_bill_bytes = (uint64_t)field_int(reply, "kernelBillBytes", 0);
	info->n_mappings = (unsigned)field_int(reply, "mappings", 0);
	info->mappings_left = field_int(reply, "mappingsLeft", -1);
	return 0;
}

int vfiod_space_describe(struct vfiod *vfiod, struct vfiod_space *space,
	struct vfiod_space_info *info, struct vfiod_iova_range *ranges, size_t max_ranges)
{
	static const char method[] = "org.vfiod.Space.Describe";
	struct request request = request_new(space);
	struct message message;
	struct json_object *reply;
	int r = request_send(vfiod, &request, method, NULL, 0, &message, &reply);

	if (r < 0)
		return r;
	*info = (struct vfiod_space_info){ 0 };
	if (description_read(reply, info) < 0 || ranges_read(reply, info, ranges, max_ranges) < 0)
		r = reply_nonsense(vfiod, method);
	message_clear(&message);
	return r;
}
