/* The ledger in `status`: a line an account. */
#include <string.h>

#include "client/vfioctl/format.h"
#include "client/vfioctl/ledger.h"

#define OVERVIEW_ACCOUNTS 3

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

		ledger_amount(account, "owedBytes", "owedLimitBytes", owed);
		ledger_amount(account, "kernelBillBytes", "kernelBillLimitBytes", bill);
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
