/* The one book of pinned pages: who owes what for them, and what the kernel bills. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/vfioctl/format.h"
#include "client/vfioctl/table.h"
#include "client/vfioctl/vfioctl.h"

#define AMOUNT 48           /* room for "1023.9 KiB of 1023.9 EiB" */
#define OVERVIEW_ACCOUNTS 3 /* in `status` */

int64_t ledger_saved(struct json_object *entry)
{
	int64_t bill = get_int(entry, "kernelBillBytes", 0), owed = get_int(entry, "owedBytes", 0);

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
static void amounts_read(struct json_object *entry, struct amounts *amounts)
{
	amount(entry, "owedBytes", "owedLimitBytes", amounts->owed);
	amount(entry, "kernelBillBytes", "kernelBillLimitBytes", amounts->bill);
	format_amount(ledger_saved(entry), -1, amounts->saved, AMOUNT);
}

static int account_row(struct table *table, struct json_object *account)
{
	struct amounts amounts;
	const char *cells[] = { get_string(account, "name"), amounts.owed, amounts.bill,
		amounts.saved };

	amounts_read(account, &amounts);
	return table_add(table, cells);
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
	amounts_read(space, &amounts);
	return table_add(table, cells);
}

static int lease_row(struct table *table, struct json_object *lease)
{
	char groups[256], spaces[256] = "";
	size_t n, used = 0;
	struct json_object *names = get_array(lease, "spaces", &n);
	struct amounts amounts;
	const char *cells[] = { get_string(lease, "lease"), get_string(lease, "account"), groups,
		spaces, amounts.owed, amounts.bill, amounts.saved };

	format_numbers(get_object(lease, "groups"), groups, sizeof groups);
	for (size_t i = 0; i < n && used < sizeof spaces; i++) {
		const char *name = json_object_get_string(json_object_array_get_idx(names, i));

		used += (size_t)snprintf(spaces + used, sizeof spaces - used, "%s%s", i ? "," : "",
			name ? name : "?");
	}
	if (n == 0)
		snprintf(spaces, sizeof spaces, "-");
	amounts_read(lease, &amounts);
	return table_add(table, cells);
}

static void host_print(struct context *context, struct json_object *reply)
{
	char pinned[AMOUNT], bill[AMOUNT];

	amount(reply, "owedBytes", "limitBytes", pinned);
	amount(reply, "kernelBillBytes", NULL, bill);
	fprintf(context->out, "This host: %s pinned; the kernel bills %s\n", pinned, bill);
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
	{ "account", "accounts", "Nothing is pinned.",
		{ "ACCOUNT", "OWED", "KERNEL BILL", "SAVED" }, account_row, host_print },
	{ "space", "spaces", "No spaces.",
		{ "SPACE", "STATE", "ACCOUNT", "OWNER", "GROUPS", "OWED", "KERNEL BILL", "SAVED" },
		space_row, orphans_print },
	{ "lease", "leases", "No leases with mode brokered.",
		{ "LEASE", "ACCOUNT", "GROUPS", "SPACES", "OWED", "KERNEL BILL", "SAVED" },
		lease_row, NULL },
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
		char printable[80], text[256], owed[AMOUNT], bill[AMOUNT];
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
		snprintf(text, sizeof text, "%s %s (kernel bills %s)", printable, owed, bill);
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
	.help = "Of spaces, which vfiod keeps for its clients.\n"
		"  --by account  who pays (the default)\n"
		"  --by space    each space by itself; the same page may be in several\n"
		"  --by lease    leases with mode brokered; those of one space share it\n"
		"OWED is the distinct pages, which limits are for; KERNEL BILL what the kernel\n"
		"charges for them, a page once for each container; SAVED the difference.\n"
		"\n"
		"Examples:\n"
		"  vfioctl ledger\n"
		"  vfioctl ledger --by space\n"
		"  vfioctl ledger --json | jq '.accounts[] | {name, owedBytes}'\n",
	.run = ledger_run,
};
