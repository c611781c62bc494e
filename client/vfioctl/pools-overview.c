/* The pools in `status`: a line each. */
#include "client/vfioctl/format.h"
#include "client/vfioctl/vfioctl.h"

static void pool_print(struct context *context, const char *first, struct json_object *pool)
{
	const char *name = get_string(pool, "pool");
	long long n_devices = (long long)get_int(pool, "devices", 0);
	long long n_groups = (long long)get_int(pool, "groups", 0);
	char printable[256], text[512];

	format_printable(name ? name : "?", printable, sizeof printable);
	snprintf(text, sizeof text,
		"%s: %lld device%s in %lld group%s, %lld free, %lld leased, %lld waiting",
		printable, n_devices, n_devices == 1 ? "" : "s", n_groups, n_groups == 1 ? "" : "s",
		(long long)get_int(pool, "free", 0), (long long)get_int(pool, "leased", 0),
		(long long)get_int(pool, "waiting", 0));
	format_wrapped(context->out, first, 8, line_width(context), text);
}

struct json_object *pools_ask(struct context *context)
{
	struct json_object *reply, *pools;
	size_t n;

	if (ask(context, "org.vfiod.Broker.Pools", NULL, &reply) < 0)
		return NULL;
	pools = json_object_get(get_array(reply, "pools", &n));
	json_object_put(reply);
	return pools;
}

void pools_overview_print(struct context *context)
{
	struct json_object *pools = pools_ask(context);
	size_t n = pools ? json_object_array_length(pools) : 0;

	for (size_t i = 0; i < n; i++)
		pool_print(
			context, i ? "        " : "Pools   ", json_object_array_get_idx(pools, i));
	json_object_put(pools);
}
