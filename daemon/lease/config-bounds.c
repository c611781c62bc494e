/* The keys of [daemon] that bound what clients can do: one line for each. */
#include "daemon/base/util.h"
#include "daemon/lease/config-parse.h"

#include <stddef.h>
#include <string.h>

static const struct bound_key {
	const char *name;
	size_t offset; /* in struct bounds */
	unsigned by_default, min, max;
	bool is_size;
} bound_keys[] = {
#define BOUND(field) offsetof(struct bounds, field)
	{ "max-connections", BOUND(connections), 512, 1, 65536 },
	{ "max-connections-per-user", BOUND(connections_per_user), 128, 1, 65536 },
	{ "max-leases-per-user", BOUND(leases_per_user), 256, 1, 65536 },
	{ "max-waiting-per-user", BOUND(waiting_per_user), 32, 1, 65536 },
	{ "max-monitors-per-user", BOUND(monitors_per_user), 16, 1, 65536 },
	{ "max-transactions-per-user", BOUND(transactions_per_user), 4, 1, 1024 },
	{ "max-memory-per-user", BOUND(memory_per_user_bytes), 16U << 20, 64U << 10, 1U << 30,
		true },
	{ "max-spaces-per-user", BOUND(spaces_per_user), 16, 1, 1024 },
	{ "max-memories-per-space", BOUND(memories_per_space), 64, 1, 1024 },
	{ "max-mappings-per-space", BOUND(mappings_per_space), 65535, 1, 1048576 },
	{ "max-reports-per-user", BOUND(reports_per_user), 65535, 1, 1048576 },
	{ "max-message", BOUND(message_bytes), 16U << 10, 4U << 10, 64U << 20, true },
	{ "max-output", BOUND(output_bytes), 4U << 20, 64U << 10, 1U << 30, true },
	{ "max-calls", BOUND(calls), 16, 1, 1024 },
	{ "max-depth", BOUND(depth), 32, 8, 1024 },
	{ "max-values", BOUND(values), 512, 512, 65536 },
	{ "max-descriptors", BOUND(descriptors), 4, 1, 253 },
	{ "max-selectors", BOUND(selectors), 64, 1, 64 },
	{ "message-timeout", BOUND(message_timeout_seconds), 30, 1, 3600 },
	{ "output-timeout", BOUND(output_timeout_seconds), 60, 1, 3600 },
	{ "keeper-timeout", BOUND(keeper_timeout_seconds), 60, 1, 3600 },
#undef BOUND
};

static unsigned *bound_of(struct bounds *bounds, const struct bound_key *key)
{
	return (unsigned *)((char *)bounds + key->offset);
}

void bounds_default(struct bounds *bounds)
{
	for (size_t i = 0; i < ARRAY_SIZE(bound_keys); i++)
		*bound_of(bounds, &bound_keys[i]) = bound_keys[i].by_default;
}

int parse_bound(struct parser *parser, const char *value)
{
	const struct bound_key *key = bound_keys;
	while (strcmp(key->name, parser->key) != 0)
		key++; /* config-keys.c has no other names for it */
	unsigned *bound = bound_of(&parser->config->bounds, key);
	return key->is_size ? parse_size(parser, value, key->min, key->max, bound)
			    : parse_number(parser, value, key->min, key->max, bound);
}
