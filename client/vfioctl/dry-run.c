/* --dry-run: what would be done with each device, and what is in the way. */
#include "client/vfioctl/dry-run.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "client/vfioctl/format.h"
#include "client/vfioctl/table.h"

static bool add(struct json_object *object, const char *key, struct json_object *value)
{
	if (value && json_object_object_add(object, key, value) == 0)
		return true;
	json_object_put(value);
	return false;
}

static struct json_object *plan_parameters(
	const char *purpose, const char *mode, const char *const targets[], size_t n)
{
	struct json_object *parameters = json_object_new_object();
	struct json_object *selectors = json_object_new_array();
	bool is_whole = parameters && selectors;

	for (size_t i = 0; is_whole && i < n; i++) {
		struct json_object *selector = selector_parameters(targets[i]);

		is_whole = selector && json_object_array_add(selectors, selector) == 0;
		if (!is_whole)
			json_object_put(selector);
	}
	if (is_whole && add(parameters, "purpose", json_object_new_string(purpose)) &&
		add(parameters, "selectors", json_object_get(selectors)) &&
		(!mode || add(parameters, "mode", json_object_new_string(mode)))) {
		json_object_put(selectors);
		return parameters;
	}
	json_object_put(selectors);
	json_object_put(parameters);
	return NULL;
}

int plan_ask(struct context *context, const char *purpose, const char *mode,
	const char *const targets[], size_t n, struct json_object **reply)
{
	struct json_object *parameters = plan_parameters(purpose, mode, targets, n);

	*reply = NULL;
	if (!parameters)
		return -ENOMEM;
	return ask(context, "org.vfiod.Broker.Plan", parameters, reply);
}

/* "e1000 > vfio-pci", or the one that stays. */
static void change_format(const char *before, const char *after, char *buffer, size_t size)
{
	before = before ? before : "-";
	after = after ? after : "-";
	if (strcmp(before, after) == 0)
		snprintf(buffer, size, "%s", before);
	else
		snprintf(buffer, size, "%s > %s", before, after);
}

static int rows_add(struct table *table, struct json_object *devices, size_t n)
{
	int64_t before = -1;
	int r = 0;

	for (size_t i = 0; r == 0 && i < n; i++) {
		struct json_object *device = json_object_array_get_idx(devices, i);
		int64_t group = get_int(device, "group", -1);
		char number[24] = "", driver[160], override[160];
		const char *cells[] = { number, get_string(device, "device"),
			get_string(device, "action"), driver, override };

		if (group != before)
			snprintf(number, sizeof number, "%lld", (long long)group);
		before = group;
		change_format(get_string(device, "driver"), get_string(device, "driverAfter"),
			driver, sizeof driver);
		change_format(get_string(device, "override"), get_string(device, "overrideAfter"),
			override, sizeof override);
		r = table_add(table, cells);
	}
	return r;
}

static int devices_print(struct context *context, struct json_object *devices, size_t n)
{
	static const char *const titles[] = { "GROUP", "DEVICE", "ACTION", "DRIVER", "OVERRIDE",
		NULL };
	struct table table;
	int r;

	table_init(&table, titles);
	table.first_gap = 1;
	r = rows_add(&table, devices, n);
	if (context->is_terminal)
		table_cut(&table, line_width(context));
	if (r == 0)
		table_print(&table, context->out, context->has_legend);
	table_clear(&table);
	return r;
}

void vetoes_print(struct context *context, struct json_object *vetoes, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct json_object *veto = json_object_array_get_idx(vetoes, i);
		char first[32];

		snprintf(first, sizeof first, "!! %-4lld ", (long long)get_int(veto, "group", -1));
		text_print(context, first, strlen(first), get_string(veto, "reason"));
	}
}

static int plan_print(struct context *context, struct json_object *reply)
{
	size_t n_devices, n_vetoes;
	struct json_object *devices = get_array(reply, "devices", &n_devices);
	struct json_object *vetoes = get_array(reply, "vetoes", &n_vetoes);

	if (context->is_json) {
		json_print(context, reply);
	} else {
		if (n_devices > 0 && devices_print(context, devices, n_devices) < 0) {
			fputs("vfioctl: out of memory\n", stderr);
			return EXIT_REFUSED;
		}
		vetoes_print(context, vetoes, n_vetoes);
		if (context->has_legend)
			fputs(n_vetoes > 0 ? "It would be refused. Nothing was done.\n"
					   : "Nothing is in the way. Nothing was done.\n",
				context->out);
	}
	return n_vetoes > 0 ? EXIT_REFUSED : EXIT_SUCCESS;
}

int dry_run(struct context *context, const char *purpose, const char *mode,
	const char *const targets[], size_t n)
{
	struct json_object *reply;
	int exit_code, r = plan_ask(context, purpose, mode, targets, n, &reply);

	if (r == -ENOMEM && !vfiod_error_name(context->vfiod)) {
		fputs("vfioctl: out of memory\n", stderr);
		return EXIT_REFUSED;
	}
	if (r < 0)
		return complain(context, "make a dry run of %s", context->command);
	exit_code = plan_print(context, reply);
	json_object_put(reply);
	return exit_code;
}
