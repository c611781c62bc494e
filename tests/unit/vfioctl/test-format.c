/* Text for people, at its boundaries. */
#include <pwd.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "client/vfioctl/format.h"
#include "client/vfioctl/table.h"
#include "client/vfioctl/vfioctl.h"

static void assert_printable(const char *text, const char *expected)
{
	char buffer[64];

	format_printable(text, buffer, sizeof buffer);
	assert_string_equal(buffer, expected);
}

static void what_steers_a_terminal_is_replaced(void **state)
{
	char small[5];

	(void)state;
	assert_printable("NVIDIA RTX 4080 ~", "NVIDIA RTX 4080 ~");
	assert_printable("a\x1b[31mb\n\tc\x7f", "a?[31mb??c?");
	assert_printable("\xc2\x9b"
			 "1m",
		"??1m"); /* CSI as U+009B */
	assert_printable("\xc2\xa0", "\xc2\xa0");
	assert_printable("µ→𝄞", "µ→𝄞");
	assert_printable("\x9b\xff\xc0\x80", "????");
	assert_printable("\xe2\x86", "??");
	assert_printable("\xe2\x80\xae"
			 "x\xe2\x81\xa6",
		"???x???"); /* right-to-left override, isolate */

	/* Cut between characters: "→" is three bytes. */
	format_printable("ab→", small, sizeof small);
	assert_string_equal(small, "ab");
	format_printable("a→b", small, sizeof small);
	assert_string_equal(small, "a→");
	format_printable("x", small, 1);
	assert_string_equal(small, "");
}

static void durations_are_in_the_largest_unit(void **state)
{
	static const struct {
		int64_t seconds;
		const char *text;
	} cases[] = {
		{ -5, "0 s" },
		{ 0, "0 s" },
		{ 59, "59 s" },
		{ 60, "1 min" },
		{ 3599, "59 min" },
		{ 3600, "1 h" },
		{ 86399, "23 h" },
		{ 86400, "1 day" },
		{ 172799, "1 day" },
		{ 172800, "2 days" },
		{ INT64_MAX - 1, "106751991167300 days" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		char text[40];

		format_duration(cases[i].seconds, text, sizeof text);
		assert_string_equal(text, cases[i].text);
	}
}

static void a_holder_is_user_command_and_pid(void **state)
{
	struct json_object *holder = json_tokener_parse(
		"{\"pid\":4711,\"uid\":0,\"command\":\"qemu\\u001b[2J\",\"unit\":null}");
	char text[64];

	(void)state;
	format_holder(holder, text, sizeof text);
	assert_string_equal(text, "root qemu?[2J/4711");
	json_object_put(holder);
	format_holder(NULL, text, sizeof text);
	assert_string_equal(text, "");
	assert_null(getpwuid(3999999999u));
	format_user(3999999999u, text, sizeof text);
	assert_string_equal(text, "3999999999");
}

static void numbers_are_joined_and_cut(void **state)
{
	struct json_object *array = json_tokener_parse("[7,13,14]");
	char text[16], small[6];

	(void)state;
	format_numbers(array, text, sizeof text);
	assert_string_equal(text, "7,13,14");
	format_numbers(array, small, sizeof small);
	assert_string_equal(small, "7,13,");
	format_numbers(NULL, text, sizeof text);
	assert_string_equal(text, "");
	json_object_put(array);
}

static void the_state_is_the_most_telling(void **state)
{
	static const char *const cases[][3] = {
		{ "host", "none", "host" },
		{ "taken", "none", "taken" },
		{ "taken", "leased", "leased" },
		{ "taken", "lingering", "lingering" },
		{ "taking", "leased", "taking" },
		{ "returning", "none", "returning" },
		{ "failed", "none", "failed" },
		{ "stuck", "lingering", "stuck" },
		{ "host", "leased", "leased" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		char text[64];
		struct json_object *group;

		snprintf(text, sizeof text, "{\"binding\":\"%s\",\"owner\":\"%s\"}", cases[i][0],
			cases[i][1]);
		group = json_tokener_parse(text);
		assert_string_equal(format_group_state(group), cases[i][2]);
		json_object_put(group);
	}
}

/* Prints into memory; the caller frees. */
struct paper {
	FILE *out;
	char *text;
	size_t size;
};

static void paper_open(struct paper *paper)
{
	paper->out = open_memstream(&paper->text, &paper->size);
	assert_non_null(paper->out);
}

static void assert_paper(struct paper *paper, const char *expected)
{
	fclose(paper->out);
	assert_string_equal(paper->text, expected);
	free(paper->text);
}

static void sentences_are_wrapped(void **state)
{
	struct paper paper;

	(void)state;
	paper_open(&paper);
	format_wrapped(paper.out, "!! 15   ", 8, 20, "0000:3b:02.0 is held");
	assert_paper(&paper, "!! 15   0000:3b:02.0\n        is held\n"); /* exactly 20 fit */
	paper_open(&paper);
	format_wrapped(paper.out, "!! 15   ", 8, 19, "0000:3b:02.0  is\nheld");
	assert_paper(&paper, "!! 15   0000:3b:02.0\n        is held\n"); /* a long word overflows */
	paper_open(&paper);
	format_wrapped(paper.out, "x ", 2, 80, "");
	assert_paper(&paper, "x \n");
}

static const char *const titles[] = { "GROUP", "STATE", "NAME", NULL };

static void tables_are_as_wide_as_their_cells(void **state)
{
	const char *const first[] = { "13", "lingering", "NVIDIA µ" };
	const char *const second[] = { "", NULL, "x\x1b" };
	const char *const third[] = { "100000", "host", NULL };
	struct table table;
	struct paper paper;

	(void)state;
	table_init(&table, titles);
	table.first_gap = 1;
	assert_int_equal(table_add(&table, first), 0);
	assert_int_equal(table_add(&table, second), 0);
	assert_int_equal(table_add(&table, third), 0);
	paper_open(&paper);
	table_print(&table, paper.out, true);
	assert_paper(&paper, "GROUP  STATE      NAME\n"
			     "13     lingering  NVIDIA µ\n"
			     "                  x?\n"
			     "100000 host\n");
	paper_open(&paper);
	table_print(&table, paper.out, false);
	assert_paper(&paper, "13     lingering  NVIDIA µ\n"
			     "                  x?\n"
			     "100000 host\n");
	table_clear(&table);
}

static void lines_are_cut_to_the_width(void **state)
{
	const char *const row[] = { "13", "host", "aµb" };
	struct table table;
	struct paper paper;

	(void)state;
	table_init(&table, titles);
	assert_int_equal(table_add(&table, row), 0);
	table.max_width = 16; /* the name starts at 14: two of its characters are left */
	paper_open(&paper);
	table_print(&table, paper.out, true);
	assert_paper(&paper, "GROUP  STATE  NA\n13     host   aµ\n");
	table.max_width = 17;
	paper_open(&paper);
	table_print(&table, paper.out, false);
	assert_paper(&paper, "13  host  aµb\n");
	table.max_width = 14;
	paper_open(&paper);
	table_print(&table, paper.out, true);
	assert_paper(&paper, "GROUP  STATE\n13     host\n");
	/* What was cut says so in its last column; what just fits does not. */
	table.has_ellipsis = true;
	paper_open(&paper);
	table_print(&table, paper.out, true);
	assert_paper(&paper, "GROUP  STATE\n13     host\n");
	table.max_width = 12;
	paper_open(&paper);
	table_print(&table, paper.out, false);
	assert_paper(&paper, "13  host  a…\n");
	table.max_width = 13;
	paper_open(&paper);
	table_print(&table, paper.out, false);
	assert_paper(&paper, "13  host  aµb\n");
	table_clear(&table);
}

static void arguments_name_groups_or_devices(void **state)
{
	static const struct {
		const char *argument;
		int group;
		const char *device;
	} cases[] = {
		{ "7", 7, "7" },
		{ "group:7", 7, "group:7" },
		{ "0", 0, "0" },
		{ "2147483647", 2147483647, "2147483647" },
		{ "2147483648", -1, "2147483648" },
		{ "group:", -1, "group:" },
		{ "group:x", -1, "group:x" },
		{ "7a", -1, "7a" },
		{ "", -1, "" },
		{ "01:00.0", -1, "0000:01:00.0" },
		{ "3B:02.1", -1, "0000:3b:02.1" },
		{ "0000:3B:02.1", -1, "0000:3b:02.1" },
		{ "ABCD:3b:02.1", -1, "abcd:3b:02.1" },
		{ "1:00.0", -1, "1:00.0" },
		{ "01:00.00", -1, "01:00.00" },
		{ "enP3s0", -1, "enP3s0" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		char device[64];

		assert_int_equal(group_argument(cases[i].argument), cases[i].group);
		device_argument(cases[i].argument, device, sizeof device);
		assert_string_equal(device, cases[i].device);
	}
}

static void seconds_are_decimal(void **state)
{
	int seconds = -7;

	(void)state;
	assert_int_equal(seconds_parse("60", 60, &seconds), 0);
	assert_int_equal(seconds, 60);
	assert_int_equal(seconds_parse("61", 60, &seconds), -22);
	assert_int_equal(seconds_parse("", 60, &seconds), -22);
	assert_int_equal(seconds_parse("-1", 60, &seconds), -22);
	assert_int_equal(seconds_parse("+1", 60, &seconds), -22);
	assert_int_equal(seconds_parse(" 1", 60, &seconds), -22);
	assert_int_equal(seconds_parse("1s", 60, &seconds), -22);
	assert_int_equal(seconds_parse("99999999999999999999", 60, &seconds), -22);
	assert_int_equal(seconds, 60);
}

static void assert_wraps(const char *text, const char *wrapped)
{
	char *is = NULL;
	size_t size;
	FILE *out = open_memstream(&is, &size);

	assert_non_null(out);
	lines_wrap(out, 20, text, strlen(text));
	assert_int_equal(fclose(out), 0);
	assert_string_equal(is, wrapped);
	free(is);
}

static void messages_wrap_on_terminals(void **state)
{
	static char longer[6000];

	(void)state;
	assert_wraps("", "");
	assert_wraps("exactly twenty chars\n", "exactly twenty chars\n");
	assert_wraps("exactly twenty-one ch\n", "exactly twenty-one\n  ch\n");
	assert_wraps("two lines: the first\nand a second that is too long\n",
		"two lines: the first\nand a second that is\n  too long\n");
	assert_wraps("\n", "\n");
	assert_wraps("without an end it is left alone", "without an end it is left alone");
	/* Longer than a message can be: nothing is lost. */
	memset(longer, 'x', sizeof longer - 2);
	longer[sizeof longer - 2] = '\n';
	assert_wraps(longer, longer);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(messages_wrap_on_terminals),
		cmocka_unit_test(what_steers_a_terminal_is_replaced),
		cmocka_unit_test(durations_are_in_the_largest_unit),
		cmocka_unit_test(a_holder_is_user_command_and_pid),
		cmocka_unit_test(numbers_are_joined_and_cut),
		cmocka_unit_test(the_state_is_the_most_telling),
		cmocka_unit_test(sentences_are_wrapped),
		cmocka_unit_test(tables_are_as_wide_as_their_cells),
		cmocka_unit_test(lines_are_cut_to_the_width),
		cmocka_unit_test(arguments_name_groups_or_devices),
		cmocka_unit_test(seconds_are_decimal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
