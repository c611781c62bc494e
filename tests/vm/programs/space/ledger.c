/* The book, in a line. */
#include "tests/vm/programs/space/space-client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct json_object *field(struct json_object *object, const char *key)
{
	return json_object_object_get(object, key);
}

enum { PAGE = 4096 };

static intmax_t pages(struct json_object *account, const char *key)
{
	return (intmax_t)json_object_get_int64(field(account, key)) / PAGE;
}

static void print_owed(FILE *text, const char *name, struct json_object *account)
{
	fprintf(text, " %s=%jd/%jd", name, pages(account, "owedBytes"),
		pages(account, "kernelBillBytes"));
}

static void print_reserved(FILE *text, const char *name, struct json_object *account)
{
	if (pages(account, "reservedBytes") > 0)
		fprintf(text, " %s=%jd", name, pages(account, "reservedBytes"));
}

static void print_observed(FILE *text, const char *name, struct json_object *account)
{
	if (field(account, "observedBytes"))
		fprintf(text, " %s=%jd/%jd", name, pages(account, "observedBytes"),
			pages(account, "observedBillBytes"));
}

static int compare_names(const void *a, const void *b)
{
	struct json_object *const *x = a, *const *y = b;
	return strcmp(json_object_get_string(field(*x, "name")),
		json_object_get_string(field(*y, "name")));
}

typedef void (*print_fn)(FILE *text, const char *name, struct json_object *account);

static void print_accounts(FILE *text, struct json_object *book, print_fn print)
{
	struct json_object *accounts = field(book, "accounts");

	json_object_array_sort(accounts, compare_names);
	for (size_t i = 0; i < json_object_array_length(accounts); i++) {
		struct json_object *account = json_object_array_get_idx(accounts, i);
		print(text, json_object_get_string(field(account, "name")), account);
	}
}

static void answer_book(print_fn print, bool with_host)
{
	struct json_object *book =
		call("org.vfiod.Ledger.Describe", json_object_new_object(), -1, NULL);
	char *text = NULL;
	size_t size = 0;

	if (!book)
		return;
	FILE *stream = open_memstream(&text, &size);
	if (with_host)
		print(stream, "host", book);
	print_accounts(stream, book, print);
	fclose(stream);
	answer("ok%s", text);
	free(text);
	json_object_put(book);
}

static void command_ledger(const struct words *words)
{
	(void)words;
	answer_book(print_owed, true);
}

static void command_reserved(const struct words *words)
{
	(void)words;
	answer_book(print_reserved, false);
}

static void command_observed(const struct words *words)
{
	(void)words;
	answer_book(print_observed, false);
}

const struct command ledger_commands[] = {
	{ "ledger", 0, command_ledger },
	{ "reserved", 0, command_reserved },
	{ "observed", 0, command_observed },
	{ NULL },
};
