#include "daemon/memory/iova.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define SET(list, ...)                                                                             \
	assert_int_equal(iova_list_set(&(list), (const struct iova_range[]){ __VA_ARGS__ },        \
				 sizeof((const struct iova_range[]){ __VA_ARGS__ }) /              \
					 sizeof(struct iova_range)),                               \
		0)

static void assert_list(const struct iova_list *list, const struct iova_range *ranges, size_t n)
{
	assert_int_equal(list->n, n);
	for (size_t i = 0; i < n; i++) {
		assert_true(list->ranges[i].first == ranges[i].first);
		assert_true(list->ranges[i].last == ranges[i].last);
	}
}

static void test_sorted_and_apart(void **state)
{
	(void)state;
	struct iova_list list = { 0 };

	SET(list, { 30, 39 }, { 0, 9 }, { 10, 12 }, { 31, 35 }, { 39, 45 }, { 47, 47 });
	assert_list(&list, (struct iova_range[]){ { 0, 12 }, { 30, 45 }, { 47, 47 } }, 3);
	SET(list, { 5, UINT64_MAX }, { 10, 20 }, { UINT64_MAX, UINT64_MAX });
	assert_list(&list, (struct iova_range[]){ { 5, UINT64_MAX } }, 1);
	assert_int_equal(iova_list_set(&list, &(struct iova_range){ 2, 1 }, 1), -EINVAL);
	assert_int_equal(list.n, 1);
	assert_int_equal(iova_list_set(&list, NULL, 0), 0);
	assert_int_equal(list.n, 0);
	iova_list_clear(&list);
}

static void test_intersection(void **state)
{
	(void)state;
	struct iova_list list = { 0 }, with = { 0 };

	/* As Intel's IOMMU has them, and a narrower one. */
	SET(list, { 0, 0xfedfffff }, { 0xfef00000, 0xffffffffffff });
	SET(with, { 0x1000, 0x7fffffffff }, { 0x9000000000, UINT64_MAX });
	assert_int_equal(iova_list_intersect(&list, &with), 0);
	assert_list(&list,
		(struct iova_range[]){ { 0x1000, 0xfedfffff }, { 0xfef00000, 0x7fffffffff },
			{ 0x9000000000, 0xffffffffffff } },
		3);
	/* With itself it is itself. */
	assert_int_equal(iova_list_intersect(&with, &with), 0);
	assert_int_equal(with.n, 2);
	SET(with, { 0, 0xfff });
	assert_int_equal(iova_list_intersect(&list, &with), 0);
	assert_int_equal(list.n, 0);
	assert_int_equal(iova_list_intersect(&list, &with), 0);
	assert_int_equal(list.n, 0);
	iova_list_clear(&list);
	iova_list_clear(&with);
}

static void test_contains(void **state)
{
	(void)state;
	struct iova_list list = { 0 };

	assert_false(iova_list_contains(&list, 0, 0));
	SET(list, { 0, 0xfedfffff }, { 0xfef00000, UINT64_MAX });
	assert_true(iova_list_contains(&list, 0, 0xfedfffff));
	assert_false(iova_list_contains(&list, 0, 0xfee00000));
	assert_false(iova_list_contains(&list, 0xfee00000, 0xfee00fff));
	assert_false(iova_list_contains(&list, 0xfedff000, 0xfef00000));
	assert_true(iova_list_contains(&list, 0xfef00000, UINT64_MAX));
	assert_true(iova_list_contains(&list, UINT64_MAX, UINT64_MAX));
	iova_list_clear(&list);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sorted_and_apart),
		cmocka_unit_test(test_intersection),
		cmocka_unit_test(test_contains),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
