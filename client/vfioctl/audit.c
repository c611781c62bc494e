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

static int spaces_print(struct context *context, struct json_object *spaces, size_t n)
{
	static const char *const titles[] = { "SPACE", "STATE", "KERNEL BILL", "LOCKED", "PAGES",
		NULL };
	struct table table;
	int r = 0;

	table_init(&table, titles);
	if (context->is_terminal)
		table_cut(&table, format_terminal_width(STDOUT_FILENO));
	for (size_t i = 0; i < n && r == 0; i++)
		r = space_row(&table, json_object_array_get_idx(spaces, i));
	if (r == 0 && n > 0)
		table_print(&table, context->out, context->has_legend);
	table_clear(&table);
	return r;
}

static void findings_print(
	struct context *context, struct json_object *reply, struct json_object *spaces, size_t n)
{
	size_t n_findings;
	struct json_object *findings = get_array(reply, "findings", &n_findings);

	for (size_t i = 0; i < n; i++) {
		struct json_object *space = json_object_array_get_idx(spaces, i);
		const char *finding = get_string(space, "finding"), *name;
		char first[32], printable[24];

		if (!finding)
			continue;
		name = get_string(space, "space");
		format_printable(name ? name : "?", printable, sizeof printable);
		snprintf(first, sizeof first, "!! %-4s ", printable);
		text_print(context, first, 8, finding);
	}
	for (size_t i = 0; i < n_findings; i++)
		text_print(context, "!!      ", 8,
			json_object_get_string(json_object_array_get_idx(findings, i)));
}

static int audit_print(struct context *context, struct json_object *reply)
{
	char bill[SIZE_TEXT], host[SIZE_TEXT];
	size_t n;
	struct json_object *spaces = get_array(reply, "spaces", &n);

	if (spaces_print(context, spaces, n) < 0) {
		fputs("vfioctl: out of memory\n", stderr);
		return -1;
	}
	findings_print(context, reply, spaces, n);
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
		"Lines that begin with !! say what is wrong.\n"
		"Exit status: 0 the books are right, 1 they are not.\n"
		"\n"
		"Examples:\n"
		"  sudo vfioctl audit\n"
		"  sudo vfioctl audit --json | jq .findings\n",
	.run = audit_run,
};
