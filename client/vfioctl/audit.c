/* Are the books of pinned pages right? */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/size.h"
#include "client/vfioctl/format.h"
#include "client/vfioctl/table.h"
#include "client/vfioctl/vfioctl.h"

static void size_of(struct json_object *object, const char *key, char *buffer)
{
	int64_t bytes = get_int(object, key, -1);

	if (bytes < 0)
		snprintf(buffer, SIZE_TEXT, "-");
	else
		size_describe((uint64_t)bytes, buffer, SIZE_TEXT);
}

static int space_row(struct table *table, struct json_object *space)
{
	long long different = (long long)get_int(space, "differentPages", 0);
	char bill[SIZE_TEXT], locked[SIZE_TEXT], pages[48];
	const char *cells[] = { get_string(space, "space"), get_string(space, "state"), bill,
		locked, pages };

	size_of(space, "kernelBillBytes", bill);
	size_of(space, "lockedBytes", locked);
	if (get_int(space, "lockedBytes", -1) < 0)
		snprintf(pages, sizeof pages, "-"); /* nobody to look them up */
	else if (different == 0)
		snprintf(pages, sizeof pages, "as charged");
	else
		snprintf(pages, sizeof pages, "%lld %s", different,
			different == 1 ? "differs" : "differ");
	return table_add(table, cells);
}

/* A lease that maps by itself: of what it maps there is nothing but what it says. */
static int lease_row(struct table *table, struct json_object *lease)
{
	long long different = (long long)get_int(lease, "differentPages", 0);
	char pid[24], reserved[SIZE_TEXT], locked[SIZE_TEXT], limit[SIZE_TEXT];
	char reported[SIZE_TEXT], pages[48], bound[SIZE_TEXT];
	const char *cells[] = { get_string(lease, "lease"), pid, reserved, locked, limit, reported,
		pages, bound };

	snprintf(pid, sizeof pid, "%lld", (long long)get_int(lease, "pid", 0));
	size_of(lease, "reservedBytes", reserved);
	size_of(lease, "lockedBytes", locked);
	size_of(lease, "lockLimitBytes", limit);
	size_of(lease, "reportedBytes", reported);
	if (get_int(lease, "reportedBytes", -1) < 0)
		snprintf(pages, sizeof pages, "-");
	else if (different == 0)
		snprintf(pages, sizeof pages, "as observed");
	else
		snprintf(pages, sizeof pages, "%lld %s", different,
			different == 1 ? "differs" : "differ");
	size_of(lease, "memoryMaxBytes", bound);
	if (get_bool(lease, "isTrusted"))
		snprintf(bound, sizeof bound, "trusted");
	return table_add(table, cells);
}

static int rows_print(struct context *context, const char *const titles[],
	int (*row)(struct table *table, struct json_object *entry), struct json_object *entries,
	size_t n)
{
	struct table table;
	int r = 0;

	table_init(&table, titles);
	if (context->is_terminal)
		table_cut(&table, format_terminal_width(STDOUT_FILENO));
	for (size_t i = 0; i < n && r == 0; i++)
		r = row(&table, json_object_array_get_idx(entries, i));
	if (r == 0 && n > 0)
		table_print(&table, context->out, context->has_legend);
	table_clear(&table);
	return r;
}

/* "!! S1   …" of what is wrong, "?? L3   …" of what cannot be known. */
static void finding_print(
	struct context *context, struct json_object *entry, const char *name, bool is_wrong)
{
	const char *finding = get_string(entry, "finding");
	char first[32], printable[24];

	if (!finding)
		return;
	format_printable(name ? name : "?", printable, sizeof printable);
	snprintf(first, sizeof first, "%s %-4s ", is_wrong ? "!!" : "??", printable);
	text_print(context, first, 8, finding);
}

static void findings_print(struct context *context, struct json_object *reply)
{
	size_t n, n_leases, n_findings;
	struct json_object *spaces = get_array(reply, "spaces", &n);
	struct json_object *leases = get_array(reply, "leases", &n_leases);
	struct json_object *findings = get_array(reply, "findings", &n_findings);

	for (size_t i = 0; i < n; i++) {
		struct json_object *space = json_object_array_get_idx(spaces, i);

		finding_print(context, space, get_string(space, "space"), true);
	}
	for (size_t i = 0; i < n_leases; i++) {
		struct json_object *lease = json_object_array_get_idx(leases, i);

		finding_print(
			context, lease, get_string(lease, "lease"), get_bool(lease, "isWrong"));
	}
	for (size_t i = 0; i < n_findings; i++)
		text_print(context, "!!      ", 8,
			json_object_get_string(json_object_array_get_idx(findings, i)));
}

static int audit_print(struct context *context, struct json_object *reply)
{
	static const char *const of_spaces[] = { "SPACE", "STATE", "KERNEL BILL", "LOCKED", "PAGES",
		NULL };
	static const char *const of_leases[] = { "LEASE", "PID", "RESERVED", "LOCKED", "MAY LOCK",
		"REPORTED", "PAGES", "BOUND", NULL };
	char bill[SIZE_TEXT], host[SIZE_TEXT];
	size_t n, n_leases;
	struct json_object *spaces = get_array(reply, "spaces", &n);
	struct json_object *leases = get_array(reply, "leases", &n_leases);
	int r = rows_print(context, of_spaces, space_row, spaces, n);

	if (r == 0 && n > 0 && n_leases > 0 && context->has_legend)
		fputc('\n', context->out);
	if (r == 0)
		r = rows_print(context, of_leases, lease_row, leases, n_leases);
	if (r < 0) {
		fputs("vfioctl: out of memory\n", stderr);
		return -1;
	}
	findings_print(context, reply);
	if (!context->has_legend)
		return 0;
	size_of(reply, "kernelBillBytes", bill);
	size_of(reply, "hostPinnedBytes", host);
	fprintf(context->out, "Pinned  %s by the books", bill);
	if (get_int(reply, "hostPinnedBytes", -1) >= 0)
		fprintf(context->out, "; %s on this host in all, by vfiod or not", host);
	fprintf(context->out, "\nThe books are %s.\n",
		get_bool(reply, "isRight") ? "right" : "not right");
	return 0;
}

static int audit_run(struct context *context, int argc, char *argv[])
{
	struct json_object *reply;
	int exit_code;

	if (options_none(context, argc, argv, &exit_code))
		return exit_code;
	if (optind < argc)
		return usage_error(context, "no arguments, but there is %s", argv[optind]);
	exit_code = connect_daemon(context);
	if (exit_code)
		return exit_code;
	if (ask(context, "org.vfiod.Admin.Audit", NULL, &reply) < 0)
		return complain(context, "audit the ledger");
	exit_code = get_bool(reply, "isRight") ? EXIT_SUCCESS : EXIT_REFUSED;
	if (context->is_json)
		json_print(context, reply);
	else if (audit_print(context, reply) < 0)
		exit_code = EXIT_REFUSED;
	json_object_put(reply);
	return exit_code;
}

const struct command command_audit = {
	.name = "audit",
	.arguments = "",
	.summary = "Compare the ledger with keepers, page tables and the kernel",
	.help = "For administrators. KERNEL BILL is what the books say, LOCKED what the kernel\n"
		"says (VmLck of the keeper); PAGES whether what is mapped is what is charged.\n"
		"Of leases that map by themselves: what they have reserved, what their process\n"
		"has locked and may lock, what was reported, whether its pages are those that\n"
		"were observed, and the memory.max that bounds it, or trusted.\n"
		"Lines that begin with !! say what is wrong, with ?? what cannot be known.\n"
		"Exit status: 0 the books are right, 1 they are not.\n"
		"\n"
		"Examples:\n"
		"  sudo vfioctl audit\n"
		"  sudo vfioctl audit --json | jq .findings\n",
	.run = audit_run,
};
