/* Every refusal is an error that the interface files declare, with just the fields they say. */
#include "daemon/service/parts.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const char *file_text(const char *interface)
{
	for (size_t i = 0; i < n_varlink_files; i++)
		if (strcmp(varlink_files[i].name, interface) == 0)
			return varlink_files[i].text;
	fail_msg("no interface %s", interface);
	return NULL;
}

static void assert_declared(const char *error, struct json_object *parameters)
{
	struct varlink_interface *interface;
	char name[128], path[256] = "", message[256];
	const char *error_name = varlink_method_split(error, name, sizeof(name));

	assert_non_null(error_name);
	/* What belongs to the protocol itself is not in our files. */
	if (strcmp(name, "io.systemd") == 0)
		return;
	assert_int_equal(
		varlink_interface_parse(file_text(name), &interface, message, sizeof(message)), 0);
	const struct varlink_type *type = varlink_interface_error(interface, error_name);
	if (!type)
		fail_msg("%s is not declared", error);
	if (varlink_check(type, parameters, path, sizeof(path)) < 0)
		fail_msg("%s: %s", error, path);
	varlink_interface_free(interface);
}

static void all_are_declared(void **state)
{
	(void)state;
	for (int kind = REFUSAL_NO_SUCH_GROUP; kind <= REFUSAL_SYSTEM; kind++) {
		struct refusal refusal;
		struct json_object *parameters;
		refuse(&refusal, kind, "text");
		refusal.group = 3;
		refusal.errnum = EIO;
		const char *error = refusal_to_varlink(&refusal, &parameters);
		assert_non_null(error);
		assert_declared(error, parameters);
		json_object_put(parameters);
	}
}

static void assert_error(const struct refusal *refusal, const char *error, const char *json)
{
	struct json_object *parameters;
	assert_string_equal(refusal_to_varlink(refusal, &parameters), error);
	assert_string_equal(
		json_object_to_json_string_ext(parameters, JSON_C_TO_STRING_PLAIN), json);
	json_object_put(parameters);
}

static void of_spaces(void **state)
{
	(void)state;
	static const struct {
		enum refusal_kind kind;
		const char *error, *json;
	} cases[] = {
		{ REFUSAL_NO_SUCH_SPACE, "NoSuchSpace", "{}" },
		{ REFUSAL_SPACE_ENDED, "SpaceEnded", "{\"reason\":\"killed\"}" },
		{ REFUSAL_NO_SUCH_MEMORY, "NoSuchMemory", "{\"memory\":7}" },
		{ REFUSAL_MEMORY_MAPPED, "MemoryMapped", "{\"memory\":7,\"mappings\":2}" },
		{ REFUSAL_MEMORY_UNSUITABLE, "MemoryUnsuitable", "{\"reason\":\"killed\"}" },
		{ REFUSAL_MEMORY_CHANGED, "MemoryChanged",
			"{\"first\":\"0x1000\",\"last\":\"0x1fff\",\"reason\":\"killed\"}" },
		{ REFUSAL_MAPPING_OVERLAPS, "MappingOverlaps",
			"{\"first\":\"0x1000\",\"last\":\"0x1fff\"}" },
		{ REFUSAL_UNMAP_SPLITS, "UnmapSplitsMapping",
			"{\"first\":\"0x1000\",\"last\":\"0x1fff\"}" },
		{ REFUSAL_IOVA_OUT_OF_RANGE, "IovaOutOfRange",
			"{\"ranges\":[{\"first\":\"0x1000\",\"last\":\"0x1fff\"},"
			"{\"first\":\"0x0\",\"last\":\"0xffffffffffffffff\"}]}" },
		{ REFUSAL_MISALIGNED, "Misaligned", "{\"pageBytes\":7}" },
		{ REFUSAL_RESERVED_REGION, "ReservedRegionConflict",
			"{\"group\":13,\"reserved\":{\"first\":\"0x1000\",\"last\":\"0x1fff\"},"
			"\"mapping\":{\"first\":\"0x0\",\"last\":\"0xffffffffffffffff\"}}" },
		{ REFUSAL_NOT_ATTACHED, "NotAttached", "{\"group\":13}" },
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct refusal refusal;
		char error[128];
		refuse(&refusal, cases[i].kind, "killed");
		refusal.group = 13;
		refusal.number = 7;
		refusal.max = 2;
		refusal.ranges[0] = (struct iova_range){ 0x1000, 0x1fff };
		refusal.ranges[1] = (struct iova_range){ 0, UINT64_MAX };
		refusal.n_ranges = 2;
		snprintf(error, sizeof(error), "org.vfiod.Space.%s", cases[i].error);
		assert_error(&refusal, error, cases[i].json);
	}
}

static void of_limits(void **state)
{
	(void)state;
	struct refusal refusal;

	refuse(&refusal, REFUSAL_LIMIT_EXCEEDED, "too much");
	strcpy(refusal.account, "uid:1000");
	strcpy(refusal.limit, "owed-limit");
	refusal.limit_bytes = 8192;
	refusal.state_bytes = 4096;
	/* More than Varlink has numbers for. */
	refusal.requested_bytes = UINT64_MAX;
	assert_error(&refusal, "org.vfiod.Broker.LimitExceeded",
		"{\"account\":\"uid:1000\",\"limit\":\"owed-limit\",\"limitBytes\":8192,"
		"\"stateBytes\":4096,\"requestedBytes\":9223372036854775806}");
	refuse(&refusal, REFUSAL_NO_MEMORY_BOUND, "nothing bounds it");
	strcpy(refusal.account, "/user.slice");
	assert_error(&refusal, "org.vfiod.Broker.NoMemoryBound",
		"{\"cgroup\":\"\\/user.slice\",\"reason\":\"nothing bounds it\"}");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_are_declared),
		cmocka_unit_test(of_spaces),
		cmocka_unit_test(of_limits),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
