/* The one book of pinned pages: who owes what for them, and what the kernel bills. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/vfioctl/format.h"
#include "client/vfioctl/ledger.h"

/* All that the accounts have reserved; *is_observed: somebody has something observed. */
static int64_t reserved_in_all(struct json_object *reply, bool *is_observed)
{
	size_t n;
	struct json_object *accounts = get_array(reply, "accounts", &n);
	int64_t sum = 0;

	*is_observed = false;
	for (size_t i = 0; i < n; i++) {
		struct json_object *account = json_object_array_get_idx(accounts, i);

		sum += get_int(account, "reservedBytes", 0);
		if (get_int(account, "observedBytes", -1) >= 0)
			*is_observed = true;
	}
	return sum;
}

static void observed_explain(struct context *context)
{
	text_print(context, "", 2,
		"observed: what clients that are trusted say they map by themselves: its pages, "
		"what the kernel bills for them, and the difference. Nobody verifies it, and no "
		"limit holds it");
}

static void host_print(struct context *context, struct json_object *reply)
{
	char pinned[AMOUNT], bill[AMOUNT], reserved[AMOUNT], text[256];
	bool is_observed;
	int64_t bytes = reserved_in_all(reply, &is_observed);

	ledger_amount(reply, "owedBytes", "limitBytes", pinned);
	ledger_amount(reply, "kernelBillBytes", NULL, bill);
	format_amount(bytes, -1, reserved, sizeof reserved);
	snprintf(text, sizeof text, "This host: %s pinned; the kernel bills %s%s%s%s", pinned, bill,
		bytes ? ", " : "", bytes ? reserved : "", bytes ? " of it reserved" : "");
	text_print(context, "", 2, text);
	if (is_observed)
		observed_explain(context);
}

static void direct_explain(struct context *context, struct json_object *reply)
{
	bool is_observed;

	reserved_in_all(reply, &is_observed);
	if (is_observed)
		observed_explain(context);
}

static void orphans_print(struct context *context, struct json_object *reply)
{
	size_t n;
	struct json_object *spaces = get_array(reply, "spaces", &n);

	for (size_t i = 0; i < n; i++) {
		struct json_object *space = json_object_array_get_idx(spaces, i);
		const char *state = get_string(space, "state"), *name = get_string(space, "name");
		char groups[256], text[512];

		if (!state || strcmp(state, "orphaned") != 0)
			continue;
		format_numbers(get_object(space, "groups"), groups, sizeof groups);
		snprintf(text, sizeof text,
			"%s: its keeper has ended, but a device of group %s may still be open; "
			"what it keeps pinned is owed until that is closed",
			name ? name : "?", groups);
		text_print(context, "", 2, text);
	}
}

/* One table of the book. */
static const struct view {
	const char *by, *array, *empty;
	const char *titles[TABLE_MAX_COLUMNS + 1];
	int (*row)(struct table *table, struct json_object *entry);
	void (*legend)(struct context *context, struct json_object *reply);
} views[] = {
	{ "account", "accounts", "Nothing is pinned or reserved.",
		{ "ACCOUNT", "OWED", "KERNEL BILL", "SAVED" }, ledger_account_row, host_print },
	{ "space", "spaces", "No spaces.",
		{ "SPACE", "STATE", "ACCOUNT", "OWNER", "GROUPS", "OWED", "KERNEL BILL", "SAVED" },
		ledger_space_row, orphans_print },
	{ "lease", "leases", "No leases that pin or reserve anything.",
		{ "LEASE", "ACCOUNT", "GROUPS", "SPACES", "OWED", "KERNEL BILL", "SAVED" },
		ledger_lease_row, direct_explain },
};

static const struct view *view_find(const char *by)
{
	for (size_t i = 0; i < sizeof views / sizeof *views; i++)
		if (strcmp(views[i].by, by) == 0)
			return &views[i];
	return NULL;
}

static int ledger_print(struct context *context, const struct view *view, struct json_object *reply)
{
	size_t n;
	struct json_object *entries = get_array(reply, view->array, &n);
	struct table table;
	int r = 0;

	table_init(&table, view->titles);
	if (context->is_terminal)
		table_cut(&table, format_terminal_width(STDOUT_FILENO));
	for (size_t i = 0; i < n && r == 0; i++)
		r = view->row(&table, json_object_array_get_idx(entries, i));
	if (r == 0 && n > 0)
		table_print(&table, context->out, context->has_legend);
	table_clear(&table);
	if (r < 0) {
		fputs("vfioctl: out of memory\n", stderr);
		return EXIT_REFUSED;
	}
	if (n == 0 && context->has_legend)
		fprintf(context->out, "%s\n", view->empty);
	else if (context->has_legend && view->legend)
		view->legend(context, reply);
	return EXIT_SUCCESS;
}

static int ledger_run(struct context *context, int argc, char *argv[])
{
	static const struct option own[] = {
		{ "by", required_argument, NULL, 'b' },
		{ 0 },
	};
	const struct view *view = &views[0];
	struct json_object *reply;
	int option, exit_code;

	options_begin();
	while ((option = options_next(context, argc, argv, false, own, &exit_code)) != OPTION_END) {
		if (option == OPTION_EXIT)
			return exit_code;
		view = view_find(optarg);
		if (!view)
			return usage_error(context, "--by %s: not account, space or lease", optarg);
	}
	if (optind < argc)
		return usage_error(context, "no arguments, but there is %s", argv[optind]);
	exit_code = connect_daemon(context);
	if (exit_code)
		return exit_code;
	if (ask(context, "org.vfiod.Ledger.Describe", NULL, &reply) < 0)
		return complain(context, "read the ledger");
	if (context->is_json)
		json_print(context, reply);
	else
		exit_code = ledger_print(context, view, reply);
	json_object_put(reply);
	return exit_code;
}

const struct command command_ledger = {
	.name = "ledger",
	.arguments = "[--by account|space|lease]",
	.summary = "Show what is pinned for devices, who owes it, and the limits",
	.help = "In spaces, which vfiod keeps for its clients, and by themselves.\n"
		"  --by account  who pays (the default)\n"
		"  --by space    each space by itself; the same page may be in several\n"
		"  --by lease    leases that pin or reserve; brokered ones of one space share it\n"
		"OWED is the distinct pages in spaces, which limits are for; KERNEL BILL what the\n"
		"kernel charges for them, a page once for each container, and what is reserved;\n"
		"SAVED the difference for spaces. Below those who map by themselves:\n"
		"  reserved      how much of the kernel's bill is for what they may map\n"
		"  observed      of what trusted ones report: distinct pages, the kernel's bill,\n"
		"                the difference. Not verified, and not owed\n"
		"  unobserved    reported, and not observed yet\n"
		"\n"
		"Examples:\n"
		"  vfioctl ledger\n"
		"  vfioctl ledger --by space\n"
		"  vfioctl ledger --json | jq '.accounts[] | {name, owedBytes}'\n",
	.run = ledger_run,
};
