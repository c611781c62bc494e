/* The book, a real memfd: what is dropped gives its memory back, and its neighbours keep theirs. */
#include "daemon/keeper/book.h"

#include "daemon/base/frames.h"
#include "daemon/base/util.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cmocka.h>

#define N_PARTS 600
#define RUNS_A_PAGE (4096 / sizeof(frame_run))

static int set_up(void **state)
{
	struct book *book = calloc(1, sizeof(*book));
	assert_non_null(book);
	book_open(book, memfd_create("book", MFD_CLOEXEC));
	assert_true(book->fd >= 0);
	*state = book;
	return 0;
}

static int tear_down(void **state)
{
	struct book *book = *state;
	close(book->fd);
	free(book);
	return 0;
}

static size_t pages_of(const struct book *book)
{
	struct stat stat;
	assert_int_equal(fstat(book->fd, &stat), 0);
	return (size_t)stat.st_blocks * 512 / page_bytes();
}

static void write_part(struct book *book, struct book_part *part, size_t n, uint64_t seed)
{
	for (size_t i = 0; i < n; i++) {
		frame_run run = run_make(seed * 10000 + i, 1);
		assert_int_equal(book_append(book, part, &run, 1), 0);
	}
}

static void check_part(
	const struct book *book, const struct book_part *part, size_t n, uint64_t seed)
{
	assert_int_equal(part->n_runs, n);
	for (size_t i = 0; i < n; i++) {
		frame_run run;
		assert_int_equal(book_read(book->fd, part->offset + i * sizeof(run), &run, 1), 0);
		assert_int_equal(run, run_make(seed * 10000 + i, 1));
	}
}

static void test_one_part(void **state)
{
	struct book *book = *state;
	struct book_part part = { .n_runs = 0 };
	frame_run runs[3] = { 1, 2, 3 }, got[3];

	assert_int_equal(book_append(book, &part, runs, 2), 0);
	assert_int_equal(book_append(book, &part, runs + 2, 1), 0);
	assert_int_equal(part.n_runs, 3);
	assert_int_equal(book_read(book->fd, part.offset, got, 3), 0);
	assert_memory_equal(runs, got, sizeof(runs));
	assert_int_equal(book_read(book->fd, part.offset, got, 0), 0);
	assert_int_equal(book_read(book->fd, part.offset + sizeof(runs), got, 1), -EIO);
	book_drop(book, &part);
	assert_int_equal(part.n_runs, 0);
	assert_int_equal(pages_of(book), 0);
	book_drop(book, &part);
	/* The place is used again. */
	assert_int_equal(book_append(book, &part, runs, 1), 0);
	assert_int_equal(part.offset, BOOK_INDEX_BYTES);
}

static void test_an_empty_part(void **state)
{
	struct book *book = *state;
	struct book_part part = { .n_runs = 0 };

	assert_int_equal(book_append(book, &part, NULL, 0), 0);
	assert_int_equal(part.n_runs, 0);
	assert_true(TAILQ_EMPTY(&book->parts));
}

/* Parts of sizes around a page's, dropped in some order: the others are whole, the memory goes. */
static void test_in_any_order(void **state)
{
	struct book *book = *state;
	static const size_t sizes[] = { 1, RUNS_A_PAGE - 1, RUNS_A_PAGE, RUNS_A_PAGE + 1, 7,
		3 * RUNS_A_PAGE };
	/* Numbers prime to the count: each is an order. */
	static const unsigned orders[] = { 1, 5, 7, 11 };

	for (size_t o = 0; o < ARRAY_SIZE(orders); o++) {
		struct book_part parts[12] = { 0 };
		for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
			write_part(book, &parts[i], sizes[i % ARRAY_SIZE(sizes)], i);
		for (size_t n = 0; n < ARRAY_SIZE(parts); n++) {
			size_t n_live = 0;
			book_drop(book, &parts[n * orders[o] % ARRAY_SIZE(parts)]);
			for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
				if (parts[i].n_runs == 0)
					continue;
				check_part(book, &parts[i], sizes[i % ARRAY_SIZE(sizes)], i);
				n_live += parts[i].n_runs / RUNS_A_PAGE + 2;
			}
			assert_true(pages_of(book) <= n_live);
		}
		assert_int_equal(pages_of(book), 0);
	}
}

/* Of many small parts, those that stay are scattered: a page each at most. */
static void test_small_parts(void **state)
{
	struct book *book = *state;
	static struct book_part parts[N_PARTS];

	memset(parts, 0, sizeof(parts));
	for (size_t i = 0; i < N_PARTS; i++)
		write_part(book, &parts[i], 100, i);
	for (size_t i = 0; i < N_PARTS; i++)
		if (i % 100 != 50)
			book_drop(book, &parts[i]);
	assert_true(pages_of(book) <= 2 * N_PARTS / 100);
	for (size_t i = 50; i < N_PARTS; i += 100) {
		check_part(book, &parts[i], 100, i);
		book_drop(book, &parts[i]);
	}
	assert_int_equal(pages_of(book), 0);
}

static void test_a_book_that_cannot_be_written(void **state)
{
	struct book *book = *state;
	struct book_part part = { .n_runs = 0 };
	frame_run run = 1;
	int fd = book->fd;

	book->fd = -1;
	assert_int_equal(book_append(book, &part, &run, 1), -EBADF);
	assert_int_equal(part.n_runs, 0);
	assert_true(TAILQ_EMPTY(&book->parts));
	assert_int_equal(book_read(-1, 0, &run, 1), -EBADF);
	book->fd = fd;
}

#define book_test(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
int main(void)
{
	const struct CMUnitTest tests[] = {
		book_test(test_one_part),
		book_test(test_an_empty_part),
		book_test(test_in_any_order),
		book_test(test_small_parts),
		book_test(test_a_book_that_cannot_be_written),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
