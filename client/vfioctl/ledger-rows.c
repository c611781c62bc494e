/* The rows of the tables of the ledger. */
#include "client/vfioctl/ledger.h"

#include <string.h>

#include "client/vfioctl/format.h"

/* Of what is in spaces: what is reserved is billed, and may never be mapped. */
static int64_t saved(struct json_object *entry, int64_t reserved)
{
	int64_t bill = get_int(entry, "kernelBillBytes", 0) - reserved;
	int64_t owed = get_int(entry, "owedBytes", 0);

	return bill > owed ? bill - owed : 0;
}

void ledger_amount(struct json_object *entry, const char *key, const char *limit, char *buffer)
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
	ledger_amount(entry, "owedBytes", "owedLimitBytes", amounts->owed);
	ledger_amount(entry, "kernelBillBytes", "kernelBillLimitBytes", amounts->bill);
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

int ledger_account_row(struct table *table, struct json_object *account)
{
	struct amounts amounts;
	const char *cells[] = { get_string(account, "name"), amounts.owed, amounts.bill,
		amounts.saved };
	int r;

	amounts_read(account, get_int(account, "reservedBytes", 0), &amounts);
	r = table_add(table, cells);
	return r < 0 ? r : direct_rows(table, account);
}

int ledger_space_row(struct table *table, struct json_object *space)
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

int ledger_lease_row(struct table *table, struct json_object *lease)
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
