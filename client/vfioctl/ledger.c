/* The one book of pinned pages: who owes what for them, and what the kernel bills. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/vfioctl/format.h"
#include "client/vfioctl/table.h"
#include "client/vfioctl/vfioctl.h"

#define AMOUNT 48           /* room for "1023.9 KiB of 1023.9 EiB" */
#define OVERVIEW_ACCOUNTS 3 /* in `status` */

/* Of what is in spaces: what is reserved is billed, and may never be mapped. */
static int64_t saved(struct json_object *entry, int64_t reserved)
{
	int64_t bill = get_int(entry, "kernelBillBytes", 0) - reserved;
	int64_t owed = get_int(entry, "owedBytes", 0);

	return bill > owed ? bill - owed : 0;
}

static void amount(struct json_object *entry, const char *key, const char *limit, char *buffer)
{
	format_amount(
		get_int(entry, key, 0), limit ? get_int(entry, limit, -1) : -1, buffer, AMOUNT);
}

/* Owed, billed, saved: the last three columns of all tables. */
struct amounts {
	char owed[AMOUNT], bill[AMOUNT], saved[AMOUNT];
};
static void amounts_read(struct json_object *entry, int64_t reserved, struct amounts *amounts)
{
	amount(entry, "owedBytes", "owedLimitBytes", amounts->owed);
	amount(entry, "kernelBillBytes", "kernelBillLimitBytes", amounts->bill);
	format_amount(saved(entry, reserved), -1, amounts->saved, AMOUNT);
}

/* A row below that of an account or lease, for what its holders map by themselves. */
static int part_row(
	struct table *table, const char *part, int64_t distinct, int64_t bill, int64_t more)
{
	const int64_t bytes[] = { distinct, bill, more };
	const char *cells[TABLE_MAX_COLUMNS] = { part };
	char text[3][AMOUNT];

	for (size_t i = 0; i < 3; i++) {
		if (bytes[i] < 0)
			continue;
		format_amount(bytes[i], -1, text[i], AMOUNT);
		cells[table->n_columns - 3 + i] = text[i];
	}
	return table_add(table, cells);
}

static int direct_rows(struct table *table, struct json_object *entry)
{
	int64_t reserved = get_int(entry, "reservedBytes", 0);
	int64_t observed = get_int(entry, "observedBytes", -1);
	int64_t bill = get_int(entry, "observedBillBytes", 0);
	int64_t unobserved = get_int(entry, "unobservedBytes", 0);
	int r = 0;

	if (reserved > 0)
		r = part_row(table, "  reserved", -1, reserved, -1);
	if (r == 0 && observed >= 0)
		r = part_row(
			table, "  observed", observed, bill, bill > observed ? bill - observed : 0);
	if (r == 0 && unobserved > 0)
		r = part_row(table, "  unobserved", -1, unobserved, -1);
	return r;
}

static int account_row(struct table *table, struct json_object *account)
{
	struct amounts amounts;
	const char *cells[] = { get_string(account, "name"), amounts.owed, amounts.bill,
		amounts.saved };
	int r;

	amounts_read(account, get_int(account, "reservedBytes", 0), &amounts);
	r = table_add(table, cells);
	return r < 0 ? r : direct_rows(table, account);
}

static int space_row(struct table *table, struct json_object *space)
{
	const char *account = get_string(space, "account");
	char user[64], owner[96], groups[256];
	struct amounts amounts;
	const char *cells[] = { get_string(space, "name"), get_string(space, "state"),
		account ? account : "-", owner, groups, amounts.owed, amounts.bill, amounts.saved };

	format_user((uid_t)get_int(space, "uid", -1), user, sizeof user);
	snprintf(owner, sizeof owner, "%s/%lld", user, (long long)get_int(space, "pid", 0));
	format_numbers(get_object(space, "groups"), groups, sizeof groups);
	if (!*groups)
		snprintf(groups, sizeof groups, "-");
	amounts_read(space, 0, &amounts);
	return table_add(table, cells);
}

bool ledger_is_direct(struct json_object *lease)
{
	return get_int(lease, "reservedBytes", 0) > 0 || get_int(lease, "observedBytes", -1) >= 0;
}

static int lease_row(struct table *table, struct json_object *lease)
{
	char groups[256], spaces[256] = "";
	size_t n, used = 0;
	struct json_object *names = get_array(lease, "spaces", &n);
	struct amounts amounts;
	bool is_direct = ledger_is_direct(lease);
	int r;
	const char *cells[] = { get_string(lease, "lease"), get_string(lease, "account"), groups,
		spaces, amounts.owed, amounts.bill, amounts.saved };

	format_numbers(get_object(lease, "groups"), groups, sizeof groups);
	for (size_t i = 0; i < n && used < sizeof spaces; i++) {
		const char *name = json_object_get_string(json_object_array_get_idx(names, i));

		used += (size_t)snprintf(spaces + used, sizeof spaces - used, "%s%s", i ? "," : "",
			name ? name : "?");
	}
	if (n == 0)
		snprintf(spaces, sizeof spaces, is_direct ? "none: direct" : "-");
	amounts_read(lease, 0, &amounts);
	r = table_add(table, cells);
	return r < 0 ? r : direct_rows(table, lease);
}

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

	amount(reply, "owedBytes", "limitBytes", pinned);
	amount(reply, "kernelBillBytes", NULL, bill);
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
		{ "ACCOUNT", "OWED", "KERNEL BILL", "SAVED" }, account_row, host_print },
	{ "space", "spaces", "No spaces.",
		{ "SPACE", "STATE", "ACCOUNT", "OWNER", "GROUPS", "OWED", "KERNEL BILL", "SAVED" },
		space_row, orphans_print },
	{ "lease", "leases", "No leases that pin or reserve anything.",
		{ "LEASE", "ACCOUNT", "GROUPS", "SPACES", "OWED", "KERNEL BILL", "SAVED" },
		lease_row, direct_explain },
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

void ledger_overview_print(struct context *context)
{
	struct json_object *reply, *accounts;
	size_t n;

	if (ask(context, "org.vfiod.Ledger.Describe", NULL, &reply) < 0)
		return;
	accounts = get_array(reply, "accounts", &n);
	for (size_t i = 0; i < n && i < OVERVIEW_ACCOUNTS; i++) {
		struct json_object *account = json_object_array_get_idx(accounts, i);
		const char *name = get_string(account, "name");
		char printable[80], text[256], owed[AMOUNT], bill[AMOUNT], reserved[AMOUNT];
		bool is_reserved;
		const char *unit;
		char *its_unit;

		amount(account, "owedBytes", "owedLimitBytes", owed);
		amount(account, "kernelBillBytes", "kernelBillLimitBytes", bill);
		/* The unit that stands before is enough. */
		unit = strrchr(owed, ' ');
		its_unit = strchr(bill, ' ');
		if (unit && its_unit && strcmp(unit, its_unit) == 0)
			*its_unit = '\0';
		format_printable(name ? name : "?", printable, sizeof printable);
		format_amount(get_int(account, "reservedBytes", 0), -1, reserved, sizeof reserved);
		is_reserved = get_int(account, "reservedBytes", 0) > 0;
		snprintf(text, sizeof text, "%s %s (kernel bills %s%s%s%s)", printable, owed, bill,
			is_reserved ? ", " : "", is_reserved ? reserved : "",
			is_reserved ? " of it reserved" : "");
		format_wrapped(
			context->out, i ? "        " : "Ledger  ", 8, line_width(context), text);
	}
	if (n > OVERVIEW_ACCOUNTS)
		fprintf(context->out, "        and %zu more: vfioctl ledger\n",
			n - OVERVIEW_ACCOUNTS);
	json_object_put(reply);
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
