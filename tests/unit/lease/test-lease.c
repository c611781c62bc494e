/* The book of leases: who owns what, and the fair queue. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "daemon/base/util.h"
#include "daemon/lease/lease.h"

#include <string.h>

struct fixture {
	struct lease_book book;
	struct group groups[4];
	struct subject subject;
};

static int setup(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));
	lease_book_init(&fixture->book);
	for (int i = 0; i < 4; i++) {
		fixture->groups[i].number = i;
		TAILQ_INIT(&fixture->groups[i].devices);
		/* The fixture's own: the groups are not freed when the last lease lets go. */
		fixture->groups[i].n_holds = 1;
	}
	fixture->subject.uid = 1000;
	*state = fixture;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *fixture = *state;
	struct lease *lease;
	while ((lease = TAILQ_FIRST(&fixture->book.leases)))
		lease_free(&fixture->book, lease);
	for (int i = 0; i < 4; i++)
		assert_int_equal(fixture->groups[i].n_holds, 1);
	free(fixture);
	return 0;
}

static struct lease *want(struct fixture *fixture, const char *groups)
{
	struct group *wanted[4];
	size_t n = 0;
	struct lease *lease = NULL;
	for (; *groups; groups++)
		wanted[n++] = &fixture->groups[*groups - '0'];
	assert_int_equal(lease_new(&fixture->book, &fixture->subject, wanted, n, &lease), 0);
	return lease;
}

static size_t position(struct fixture *fixture, struct lease *lease)
{
	(void)fixture;
	return lease_book_position(lease);
}

static void test_names_and_tokens_differ(void **state)
{
	struct lease *a = want(*state, "0"), *b = want(*state, "1");
	assert_string_equal(a->name, "L1");
	assert_string_equal(b->name, "L2");
	assert_int_equal(strlen(a->token), 32);
	assert_string_not_equal(a->token, b->token);
}

static void test_found_by_name_and_token_only_whole(void **state)
{
	struct fixture *fixture = *state;
	struct lease *a = want(fixture, "0"), *b = want(fixture, "1");
	char cut[33];

	assert_ptr_equal(lease_book_by_name(&fixture->book, "L2"), b);
	assert_null(lease_book_by_name(&fixture->book, "L"));
	assert_ptr_equal(lease_book_by_token(&fixture->book, a->token), a);
	assert_null(lease_book_by_token(&fixture->book, ""));
	memcpy(cut, a->token, 33);
	cut[31] = '\0';
	assert_null(lease_book_by_token(&fixture->book, cut));
	memcpy(cut, a->token, 33);
	cut[31] = cut[31] == '0' ? '1' : '0';
	assert_null(lease_book_by_token(&fixture->book, cut));
}

static void test_queued_owns_nothing(void **state)
{
	struct fixture *fixture = *state;
	struct lease *a = want(fixture, "01");
	assert_null(lease_book_owner(&fixture->book, &fixture->groups[0]));
	a->state = LEASE_ACQUIRING;
	assert_ptr_equal(lease_book_owner(&fixture->book, &fixture->groups[1]), a);
	a->state = LEASE_GRANTED;
	assert_ptr_equal(lease_book_owner(&fixture->book, &fixture->groups[0]), a);
	assert_null(lease_book_owner(&fixture->book, &fixture->groups[2]));
	a->state = LEASE_ENDED;
	assert_null(lease_book_owner(&fixture->book, &fixture->groups[0]));
}

static void test_opposite_orders_queue_up(void **state)
{
	struct fixture *fixture = *state;
	struct lease *a = want(fixture, "01"), *b = want(fixture, "10");
	assert_int_equal(position(fixture, a), 0);
	assert_int_equal(position(fixture, b), 1);
	lease_leave_queue(&fixture->book, a, LEASE_GRANTED); /* owners are no part of it */
	assert_int_equal(position(fixture, b), 0);
}

static void test_no_overtaking_of_competitors(void **state)
{
	struct fixture *fixture = *state;
	struct lease *first = want(fixture, "01"), *second = want(fixture, "12"),
		     *third = want(fixture, "2"), *apart = want(fixture, "3");
	assert_int_equal(position(fixture, first), 0);
	assert_int_equal(position(fixture, second), 1);
	/* Group 2 may be free, but `second` was first to want it: it would starve otherwise. */
	assert_int_equal(position(fixture, third), 1);
	assert_int_equal(position(fixture, apart), 0);
	lease_free(&fixture->book, second);
	assert_int_equal(position(fixture, third), 0);
}

static void test_drop_group(void **state)
{
	struct fixture *fixture = *state;
	struct lease *a = want(fixture, "012");
	lease_drop_group(a, &fixture->groups[1]);
	assert_int_equal(a->n_groups, 2);
	assert_true(lease_has_group(a, &fixture->groups[0]));
	assert_false(lease_has_group(a, &fixture->groups[1]));
	assert_true(lease_has_group(a, &fixture->groups[2]));
	lease_drop_group(a, &fixture->groups[3]);
	assert_int_equal(a->n_groups, 2);
}

static void test_counts(void **state)
{
	struct fixture *fixture = *state;
	want(fixture, "0");
	want(fixture, "1")->state = LEASE_GRANTED;
	want(fixture, "2")->state = LEASE_GRANTED;
	assert_int_equal(lease_book_count(&fixture->book, LEASE_GRANTED), 2);
	assert_int_equal(lease_book_count(&fixture->book, LEASE_QUEUED), 1);
	assert_int_equal(lease_book_count(&fixture->book, LEASE_ACQUIRING), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_names_and_tokens_differ, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_found_by_name_and_token_only_whole, setup, teardown),
		cmocka_unit_test_setup_teardown(test_queued_owns_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(test_opposite_orders_queue_up, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_overtaking_of_competitors, setup, teardown),
		cmocka_unit_test_setup_teardown(test_drop_group, setup, teardown),
		cmocka_unit_test_setup_teardown(test_counts, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
