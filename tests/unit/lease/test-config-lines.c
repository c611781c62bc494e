/* What libinih would cut or take for something else is refused, and nothing more. */
#include "tests/unit/lease/config-bench.h"

#define RULE "[rule r]\nmatch = bus:pci\n"

static void test_line_length(void **state)
{
	/* "match = numa:0 … numa:12", the last term at the end of the line: seen whole or not at
	 * all. */
	for (size_t length = 197; length <= 203; length++) {
		char line[256], text[300];
		snprintf(line, sizeof(line), "match = numa:0%*s", (int)length - 14, "numa:12");
		for (int newline = 0; newline <= 1; newline++) {
			snprintf(text, sizeof(text), "[rule r]\n%s%s", line, newline ? "\n" : "");
			if (length > 199) {
				char part[128];
				snprintf(part, sizeof(part),
					"the line has %zu bytes; allowed: at most 199", length);
				bench_refuses(state, text, 2, part);
				continue;
			}
			const struct config *config = bench_accepts(state, text);
			const struct match *match = &config->rules[0].matches[0];
			assert_int_equal(match->n_terms, 2);
			assert_int_equal(match->terms[1].first, 12);
		}
	}
	/* Comments are lines, too. */
	char comment[300];
	memset(comment, '#', sizeof(comment));
	comment[200] = '\0';
	bench_refuses(state, comment, 1, "the line has 200 bytes");
	comment[199] = '\0';
	bench_accepts(state, comment);
}

static void test_section_length(void **state)
{
	/* "rule " and 44 letters are 49 bytes. */
	for (size_t length = 43; length <= 46; length++) {
		char name[64], text[160];
		memset(name, 'n', length);
		name[length] = '\0';
		snprintf(text, sizeof(text),
			"[rule %s]\nmatch = bus:pci\n[rule %.*sX]\nmatch = bus:ap\n", name,
			(int)length - 1, name);
		if (length > 44) {
			bench_refuses(state, text, 1,
				length == 45 ? "has 50 bytes; allowed: at most 49" : "51 bytes");
			continue;
		}
		/* Two names that differ in the last letter only stay two. */
		const struct config *config = bench_accepts(state, text);
		assert_int_equal(config->n_rules, 2);
		assert_string_equal(config->rules[0].name, name);
		assert_int_equal(strlen(config->rules[1].name), length);
		assert_string_equal(config->rules[1].matches[0].terms[0].text, "ap");
	}
}

static void test_key_length(void **state)
{
	/* libinih keeps 49 bytes of a key for continuation lines: there are none here. */
	char text[160], key[101];
	memset(key, 'k', 100);
	key[100] = '\0';
	snprintf(text, sizeof(text), RULE "%s = 1\n", key);
	char part[128];
	snprintf(part, sizeof(part), "unknown key '%s' in [rule r]", key);
	bench_refuses(state, text, 3, part);
}

static void test_comments(void **state)
{
	const struct config *config =
		bench_accepts(state, "# one\n;two\n\n  # indented\n\t; and so\n   \t\n" RULE
				     "# allow = user:1\n;allow = user:2\n  # allow = user:3\n");
	assert_int_equal(config->n_rules, 1);
	assert_int_equal(config->rules[0].n_allows, 0);
	assert_int_equal(config->rules[0].line, 7);

	bench_refuses(state, RULE "account = a ;b\n", 3,
		"';b' after a value; comments are lines of their own");
	bench_refuses(state, RULE "account = a\t; b\n", 3, "'; b' after a value");
	bench_refuses(state, RULE "account = ;b\n", 3, "';b' after a value");
	bench_refuses(state, RULE "account = a # b\n", 3, "'# b' after a value");
	bench_refuses(state, RULE "account ;b = c\n", 3, "';b = c' after a value");
	bench_refuses(state, "[rule r] ; b\n", 1, "text after ]");
	bench_refuses(state, "[rule r]# b\n", 1, "text after ]");
	/* Without a blank before it, it is no comment to libinih: it is the value's. */
	bench_refuses(state, RULE "account = a;b\n", 3, "'a;b' is no value for account");
	bench_refuses(state, RULE "account =;b\n", 3, "';b' is no value for account");
	config = bench_accepts(state, RULE "match = udev:property=A=b;c#d\n");
	assert_string_equal(config->rules[0].matches[1].terms[0].value, "b;c#d");
}

static void test_indented(void **state)
{
	bench_refuses(state, RULE " allow = user:1\n", 3, "the line is indented");
	bench_refuses(state, RULE "\tbus:ap\n", 3, "the line is indented");
	bench_refuses(state, " [rule r]\nmatch = bus:pci\n", 1, "the line is indented");
}

static void test_shape(void **state)
{
	static const char allowed[] = "allowed: [SECTION], KEY = VALUE, or a comment after # or ;";
	bench_refuses(state, RULE "whole-group\n", 3, allowed);
	bench_refuses(state, RULE "= yes\n", 3, allowed);
	bench_refuses(state, RULE "match: bus=pci\n", 3, allowed);
	bench_refuses(state, RULE "pci:id=8086:100e\n", 3, allowed);
	bench_refuses(state, "[rule r\nmatch = bus:pci\n", 1, "the section has no ]");
	bench_refuses(state, "[rule r] match = bus:pci\n", 1, "text after ]");
	bench_refuses(state, "[rule r]]\n", 1, "text after ]");

	/* Blanks around all of it do no harm. */
	const struct config *config =
		bench_accepts(state, "[rule r] \t\nmatch  =\t bus:pci   numa:1 \t\naccount=a");
	assert_int_equal(config->rules[0].matches[0].n_terms, 2);
	assert_string_equal(config->rules[0].account, "a");
}

static void test_characters(void **state)
{
	static const char nul[] = RULE "account = a\0b\n";
	bench_refuses_bytes(state, nul, sizeof(nul) - 1, 3, "the line has a NUL byte");
	static const char nul_comment[] = "# \0\n";
	bench_refuses_bytes(state, nul_comment, sizeof(nul_comment) - 1, 1, "NUL byte");

	bench_refuses(state, "[rule r]\r\nmatch = bus:pci\r\n", 1,
		"ends with a carriage return; save the file with Unix line ends");
	bench_refuses(state, "# a\rb\n", 1, "byte 4 is a control character (0x0d)");
	bench_refuses(state, "# \x1b[31m\n", 1, "byte 3 is a control character (0x1b)");
	bench_refuses(state, "# \x1f\n", 1, "(0x1f)");
	bench_refuses(state, "# \x7f\n", 1, "(0x7f)");
	bench_refuses(state, "# \xc2\x80\n", 1, "byte 3 is a control character (0x80)");
	bench_refuses(state, "# \xc2\x9f\n", 1, "(0x9f)");
	bench_accepts(state, "# \xc2\xa0 \xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80 \t ~\n");

	bench_refuses(state, "\n# \xe9t\xe9\n", 2, "byte 3 (0xe9) is not UTF-8");
	bench_refuses(state, "# \xc0\xaf\n", 1, "(0xc0) is not UTF-8");
	bench_refuses(state, "# \xed\xa0\x80\n", 1, "(0xed) is not UTF-8");
	bench_refuses(state, "# \xf4\x90\x80\x80\n", 1, "(0xf4) is not UTF-8");
	bench_refuses(state, "# \xe2\x82", 1, "(0xe2) is not UTF-8");
	bench_refuses(state, "# \xe2\x82\n", 1, "(0xe2) is not UTF-8");
	bench_refuses(state, "\xef\xbb\xbf[rule r]\n", 1, "byte order mark");
	bench_refuses(state, "\xef\xbb\xbf\xef\xbb\xbf[rule r]\n", 1, "byte order mark");
}

static void test_line_numbers(void **state)
{
	bench_refuses(state, "\n\n# x\n\n[rule r]\n\nmatch = bus:pci\n\n\nwhole = yes", 10,
		"unknown key 'whole'");
	/* The first error is the one that is told. */
	bench_refuses(state, "[rule r]\nmatch = x\nmatch = y\n whole\n", 2, "'x' in match");
	bench_refuses(state, "[rule r]\n match\nmatch = y\n", 2, "the line is indented");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_line_length),
		TEST(test_section_length),
		TEST(test_key_length),
		TEST(test_comments),
		TEST(test_indented),
		TEST(test_shape),
		TEST(test_characters),
		TEST(test_line_numbers),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
