/* The selectors of Acquire and Plan: JSON → wishes. */
#include "daemon/base/text.h"
#include "daemon/base/util.h"
#include "daemon/lease/wish.h"
#include "daemon/service/parts.h"

#include <errno.h>
#include <string.h>

/* Of all selectors together, as org.vfiod.Broker.varlink says: reading one costs a regular
 * expression, and it is held against each device. */
enum { MAX_TERMS = 64 };
/* As a line of vfiod.conf has. */
enum { MAX_MATCH_BYTES = 199, MAX_NODE = 1023 };

struct reading {
	struct broker *broker;
	struct refusal *refusal;
	size_t n_terms;
};

static int read_named(struct reading *reading, struct json_object *selector, struct wish *wish)
{
	const char *name = json_field_text(selector, "device");
	struct group *group = select_group(reading->broker, selector, reading->refusal);

	if (!group)
		return REFUSED;
	wish->group = group_hold(group);
	if (name)
		string_copy(wish->device, sizeof(wish->device),
			inventory_find(broker_inventory(reading->broker), name, NULL)->name);
	return 0;
}

static int read_match(struct reading *reading, const char *text, struct wish *wish)
{
	size_t length = strlen(text);
	int r = 0;

	if (length > MAX_MATCH_BYTES)
		r = refuse(reading->refusal, REFUSAL_INVALID_MATCH,
			"the line has %zu bytes; allowed: at most %d", length, MAX_MATCH_BYTES);
	else
		r = match_parse(text, &wish->matches, &wish->n_matches, reading->refusal);
	if (r == REFUSED)
		text_copy_printable(
			reading->refusal->account, sizeof(reading->refusal->account), text);
	if (r != 0)
		return r;
	reading->n_terms += wish->matches[wish->n_matches - 1].n_terms;
	return reading->n_terms > MAX_TERMS
		       ? refuse_too_many(reading->refusal, "terms of match", MAX_TERMS)
		       : 0;
}

static int read_matches(struct reading *reading, struct json_object *list, struct wish *wish)
{
	size_t n = json_object_array_length(list);
	int r = 0;

	if (n == 0)
		return refuse(reading->refusal, REFUSAL_INVALID_PARAMETER, "match");
	for (size_t i = 0; r == 0 && i < n; i++)
		r = read_match(
			reading, json_object_get_string(json_object_array_get_idx(list, i)), wish);
	if (r == 0)
		text_copy_printable(wish->text, sizeof(wish->text),
			json_object_get_string(json_object_array_get_idx(list, 0)));
	return r;
}

static int read_pool(struct reading *reading, const char *name, struct wish *wish)
{
	if (!config_pool(broker_config(reading->broker), name))
		return wish_refuse_pool(name, reading->refusal);
	wish->pool = strdup(name);
	return wish->pool ? 0 : -ENOMEM;
}

static int read_node(struct reading *reading, struct json_object *node, struct wish *wish)
{
	int64_t number = node ? json_object_get_int64(node) : ANYWHERE;

	if (node && (number < 0 || number > MAX_NODE || wish->group))
		return refuse(reading->refusal, REFUSAL_INVALID_PARAMETER, "nearNumaNode");
	wish->near_node = (int)number;
	return 0;
}

static int read_selector(struct reading *reading, struct json_object *selector, struct wish *wish)
{
	struct json_object *list = json_field(selector, "match");
	const char *pool = json_field_text(selector, "pool");
	bool is_named = json_field(selector, "device") || json_field(selector, "group");
	int r;

	if (list && (pool || is_named))
		return refuse(reading->refusal, REFUSAL_INVALID_PARAMETER, "match");
	if (pool && is_named)
		return refuse(reading->refusal, REFUSAL_INVALID_PARAMETER, "pool");
	if (list)
		r = read_matches(reading, list, wish);
	else if (pool)
		r = read_pool(reading, pool, wish);
	else
		r = read_named(reading, selector, wish);
	return r == 0 ? read_node(reading, json_field(selector, "nearNumaNode"), wish) : r;
}

int selector_read(struct broker *broker, struct json_object *selector, struct wishes **wishesp,
	struct refusal *refusal)
{
	struct reading reading = { .broker = broker, .refusal = refusal };
	struct wishes *wishes = wishes_new(1);

	*wishesp = wishes;
	if (!wishes)
		return -ENOMEM;
	wishes->n = 1;
	int r = read_selector(&reading, selector, &wishes->all[0]);
	wishes->n_described = !wishes->all[0].group;
	if (r != 0)
		*wishesp = wishes_free(wishes);
	return r;
}

int selectors_read(struct call *call, struct wishes **wishesp, struct refusal *refusal)
{
	struct json_object *selectors = json_field(call->varlink.parameters, "selectors");
	struct reading reading = { .broker = call->session->service->broker, .refusal = refusal };
	size_t n = json_object_array_length(selectors);
	unsigned max = broker_config(reading.broker)->bounds.selectors;
	int r = 0;

	*wishesp = NULL;
	if (n == 0)
		return refuse(refusal, REFUSAL_INVALID_PARAMETER, "selectors");
	if (n > max)
		return refuse_too_many(refusal, "max-selectors", max);
	struct wishes *wishes = wishes_new(n);
	if (!wishes)
		return -ENOMEM;
	while (r == 0 && wishes->n < n) {
		struct wish *wish = &wishes->all[wishes->n];
		r = read_selector(
			&reading, json_object_array_get_idx(selectors, wishes->n++), wish);
		wishes->n_described += r == 0 && !wish->group;
	}
	if (r != 0) {
		wishes_free(wishes);
		return r;
	}
	*wishesp = wishes;
	return 0;
}
