/* Which groups answer descriptions: patterns, sets and the choice itself. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "daemon/base/util.h"
#include "daemon/lease/choice.h"
#include "daemon/lease/pattern.h"

#include <fnmatch.h>
#include <string.h>

/* --- patterns --------------------------------------------------------------------------------- */

static void test_patterns_as_fnmatch(void **state)
{
	static const char alphabet[] = "ab*?[]!-^:";
	unsigned seed = 1;

	(void)state;
	for (int i = 0; i < 200000; i++) {
		char pattern[9] = "", text[7] = "";
		for (int j = 0; j < 8; j++) {
			seed = seed * 1103515245U + 12345U;
			pattern[j] = (seed >> 16) % 12 < 10 ? alphabet[(seed >> 16) % 12] : '\0';
		}
		for (int j = 0; j < 6; j++) {
			seed = seed * 1103515245U + 12345U;
			text[j] = "ab]-:"[(seed >> 16) % 5];
		}
		text[(seed >> 20) % 7] = '\0';
		bool fits = fnmatch(pattern, text, FNM_NOESCAPE) == 0;
		if (pattern_fits(pattern, text) != fits)
			fail_msg("'%s' and '%s': fnmatch(3) says %d", pattern, text, fits);
	}
	assert_true(pattern_fits("a[[:digit:]]*", "a1b"));
	assert_false(pattern_fits("a[[:digit:]]*", "ab"));
	assert_true(pattern_fits("\\*", "\\x"));
}

/* What fnmatch(3) takes longer for than anybody waits. */
static void test_pattern_of_stars(void **state)
{
	char text[4096];

	(void)state;
	memset(text, 'a', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	assert_false(pattern_fits("*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*b", text));
	assert_true(pattern_fits("*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*", text));
}

static void test_sets(void **state)
{
	struct group_set a = { 0 }, b = { 0 };

	(void)state;
	assert_int_equal(group_set_next(&a, NULL, 0), -1);
	assert_int_equal(group_set_add(&a, 63), 0);
	assert_int_equal(group_set_add(&a, 64), 0);
	assert_int_equal(group_set_add(&a, GROUP_SET_MAX - 1), 0);
	assert_true(group_set_add(&a, GROUP_SET_MAX) < 0);
	assert_true(group_set_add(&a, -1) < 0);
	assert_int_equal(group_set_next(&a, NULL, 0), 63);
	assert_int_equal(group_set_next(&a, NULL, 64), 64);
	assert_int_equal(group_set_next(&a, NULL, 65), GROUP_SET_MAX - 1);
	assert_false(group_set_meets(&a, &b));
	assert_int_equal(group_set_add(&b, 64), 0);
	assert_true(group_set_meets(&a, &b));
	assert_int_equal(group_set_next(&a, &b, 0), 64);
	assert_int_equal(group_set_count(&a), 3);
	group_set_remove(&a, 64);
	group_set_remove(&a, GROUP_SET_MAX + 7);
	assert_false(group_set_meets(&a, &b));
	assert_int_equal(group_set_join(&b, &a), 0);
	assert_true(group_set_has(&b, 63) && group_set_has(&b, 64));
	assert_false(group_set_has(&b, -5));
	group_set_clear(&a);
	group_set_clear(&b);
}

/* --- choice ----------------------------------------------------------------------------------- */

enum { N = 6 };
struct fixture {
	struct group groups[N];
	struct device devices[N];
	struct wishes *wishes;
	struct group_set free;
};

static int setup(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));

	for (int i = 0; i < N; i++) {
		struct group *group = &fixture->groups[i];
		struct device *device = &fixture->devices[i];
		group->number = i;
		group->n_holds = 1;
		group->n_devices = 1;
		TAILQ_INIT(&group->devices);
		device->group = group;
		device->numa_node = -1;
		snprintf(device->name, sizeof(device->name), "0000:0%d:00.0", i);
		strcpy(device->bus, "pci");
		TAILQ_INSERT_TAIL(&group->devices, device, of_group);
		group_set_add(&fixture->free, i);
	}
	fixture->wishes = wishes_new(8);
	*state = fixture;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *fixture = *state;

	wishes_free(fixture->wishes);
	group_set_clear(&fixture->free);
	for (int i = 0; i < N; i++)
		assert_int_equal(fixture->groups[i].n_holds, 1);
	free(fixture);
	return 0;
}

static struct group *find(void *inventory, int number)
{
	struct fixture *fixture = inventory;
	return number < N ? &fixture->groups[number] : NULL;
}

/* "024": any of these groups; near this node. */
static struct wish *any(struct fixture *fixture, const char *groups, int near)
{
	struct wish *wish = &fixture->wishes->all[fixture->wishes->n++];

	fixture->wishes->n_described++;
	wish->near_node = near;
	for (; *groups; groups++)
		assert_int_equal(group_set_add(&wish->candidates, *groups - '0'), 0);
	return wish;
}

static void named(struct fixture *fixture, int group)
{
	struct wish *wish = &fixture->wishes->all[fixture->wishes->n++];
	wish->near_node = ANYWHERE;
	wish->group = &fixture->groups[group];
	wish->group->n_holds++;
}

static int choose(struct fixture *fixture)
{
	struct ranking ranking;
	assert_int_equal(ranking_make(&ranking, &fixture->free, find, fixture), 0);
	int n_without = choice_make(fixture->wishes, &fixture->free, &ranking);
	ranking_clear(&ranking);
	return n_without;
}

static int chosen(const struct wish *wish)
{
	return wish->chosen ? wish->chosen->number : -1;
}

static void test_first_by_name(void **state)
{
	struct wish *wish = any(*state, "420", ANYWHERE);
	assert_int_equal(choose(*state), 0);
	assert_int_equal(chosen(wish), 0);
}

static void test_free_only(void **state)
{
	struct fixture *fixture = *state;
	struct wish *wish = any(fixture, "024", ANYWHERE);

	group_set_remove(&fixture->free, 0);
	assert_int_equal(choose(fixture), 0);
	assert_int_equal(chosen(wish), 2);
	group_set_remove(&fixture->free, 2);
	group_set_remove(&fixture->free, 4);
	assert_int_equal(choose(fixture), 1);
	assert_int_equal(chosen(wish), -1);
}

/* In this order: near, taken, small, the first by name. */
static void test_best_fit(void **state)
{
	struct fixture *fixture = *state;
	struct wish *wish = any(fixture, "01234", 1);

	fixture->groups[0].n_devices = 3;
	assert_int_equal(choose(fixture), 0);
	assert_int_equal(chosen(wish), 1);
	fixture->groups[3].binding = BINDING_TAKEN;
	assert_int_equal(choose(fixture), 0);
	assert_int_equal(chosen(wish), 3);
	fixture->groups[2].binding = BINDING_TAKEN;
	assert_int_equal(choose(fixture), 0);
	assert_int_equal(chosen(wish), 2);
	fixture->devices[0].numa_node = 1;
	assert_int_equal(choose(fixture), 0);
	assert_int_equal(chosen(wish), 0);
	/* A node that nobody knows is better than another one. */
	fixture->devices[0].numa_node = 0;
	fixture->devices[2].numa_node = 0;
	fixture->devices[3].numa_node = 0;
	assert_int_equal(choose(fixture), 0);
	assert_int_equal(chosen(wish), 1);
	/* Preferred, not demanded; who does not care goes by the rest. */
	fixture->devices[1].numa_node = fixture->devices[4].numa_node = 0;
	assert_int_equal(choose(fixture), 0);
	assert_int_equal(chosen(wish), 2);
	wish->near_node = ANYWHERE;
	assert_int_equal(choose(fixture), 0);
	assert_int_equal(chosen(wish), 2);
}

static void test_each_its_own_whichever_order(void **state)
{
	struct fixture *fixture = *state;
	struct wish *one = any(fixture, "01", ANYWHERE), *other = any(fixture, "0", ANYWHERE);

	assert_int_equal(choose(fixture), 0);
	assert_int_equal(chosen(one), 1);
	assert_int_equal(chosen(other), 0);
	/* A long path: each has to give way to the next. */
	struct wish *third = any(fixture, "12", ANYWHERE), *fourth = any(fixture, "23", ANYWHERE);
	struct wish *fifth = any(fixture, "1", ANYWHERE);
	group_set_add(&one->candidates, 5);
	assert_int_equal(choose(fixture), 0);
	assert_int_equal(chosen(other), 0);
	assert_int_equal(chosen(fifth), 1);
	assert_int_equal(chosen(third), 2);
	assert_int_equal(chosen(fourth), 3);
	assert_int_equal(chosen(one), 5);
}

static void test_named_ones_are_nobody_elses(void **state)
{
	struct fixture *fixture = *state;
	struct wish *wish = any(fixture, "01", ANYWHERE);

	named(fixture, 0);
	named(fixture, 0);
	assert_int_equal(choose(fixture), 0);
	assert_int_equal(chosen(wish), 1);
	assert_true(wishes_has_chosen(fixture->wishes, &fixture->groups[1]));
	assert_false(wishes_has_chosen(fixture->wishes, &fixture->groups[0]));

	struct group *groups[8];
	assert_int_equal(wishes_named(fixture->wishes, groups), 1);
	assert_int_equal(wishes_chosen(fixture->wishes, groups), 2);
	assert_int_equal(groups[0]->number, 1); /* in the order of the selectors */
	assert_int_equal(groups[1]->number, 0);
	wishes_drop(fixture->wishes, 1);
	assert_int_equal(choose(fixture), 1);
}

/* All families of two or three descriptions over four groups, against trying everything. */
static bool can_all(const unsigned *masks, int n, unsigned used)
{
	if (n == 0)
		return true;
	for (unsigned bit = 1; bit < 16; bit <<= 1)
		if (masks[0] & bit && !(used & bit) && can_all(masks + 1, n - 1, used | bit))
			return true;
	return false;
}

static void test_all_that_can_be(void **state)
{
	struct fixture *fixture = *state;
	struct wish *wishes[] = { any(fixture, "", ANYWHERE), any(fixture, "", ANYWHERE),
		any(fixture, "", ANYWHERE) };

	for (unsigned i = 0; i < 4096; i++) {
		unsigned masks[] = { i & 15, i >> 4 & 15, i >> 8 };
		unsigned used = 0;
		for (int w = 0; w < 3; w++)
			for (int bit = 0; bit < 4; bit++) {
				group_set_remove(&wishes[w]->candidates, bit);
				if (masks[w] & 1U << bit)
					group_set_add(&wishes[w]->candidates, bit);
			}
		int n_without = choose(fixture), n_chosen = 0;
		assert_int_equal(n_without == 0, can_all(masks, 3, 0));
		for (int w = 0; w < 3; w++) {
			if (!wishes[w]->chosen)
				continue;
			unsigned bit = 1U << wishes[w]->chosen->number;
			assert_true(masks[w] & bit);
			assert_false(used & bit);
			used |= bit;
			n_chosen++;
		}
		assert_int_equal(n_chosen + n_without, 3);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_patterns_as_fnmatch),
		cmocka_unit_test(test_pattern_of_stars),
		cmocka_unit_test(test_sets),
		cmocka_unit_test_setup_teardown(test_first_by_name, setup, teardown),
		cmocka_unit_test_setup_teardown(test_free_only, setup, teardown),
		cmocka_unit_test_setup_teardown(test_best_fit, setup, teardown),
		cmocka_unit_test_setup_teardown(test_each_its_own_whichever_order, setup, teardown),
		cmocka_unit_test_setup_teardown(test_named_ones_are_nobody_elses, setup, teardown),
		cmocka_unit_test_setup_teardown(test_all_that_can_be, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
