/* Runs of frames, out of a page map that the test has written. */
#include "daemon/base/frames.h"

#include "daemon/base/util.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#define PAGES 20000 /* more than two slices */
/* An address of no memory: nobody touches it. */
#define BASE ((char *)0x100000000)

static uint64_t frames[PAGES];
static unsigned n_reads, n_populated, comes_after; /* absent pages come after so many populates */
static int populate_error, read_error;

static int populate(void *userdata, void *address, size_t length)
{
	(void)userdata;
	assert_true((char *)address >= BASE && length % page_bytes() == 0);
	if (++n_populated == comes_after)
		for (size_t i = 0; i < PAGES; i++)
			if (frames[i] == FRAME_ABSENT)
				frames[i] = i;
	return populate_error;
}

static int read_frames(void *userdata, const void *address, uint64_t *to, size_t n_pages)
{
	size_t first = (size_t)((const char *)address - BASE) / page_bytes();
	(void)userdata;
	n_reads++;
	assert_true(first + n_pages <= PAGES);
	memcpy(to, frames + first, n_pages * sizeof(*to));
	return read_error;
}

static const struct frame_ops ops = { NULL, populate, read_frames };

static int set_up(void **state)
{
	(void)state;
	for (size_t i = 0; i < PAGES; i++)
		frames[i] = i;
	n_reads = n_populated = comes_after = 0;
	populate_error = read_error = 0;
	return 0;
}

struct taken {
	uint64_t first[8], n[8];
	unsigned count;
	int result;
};

static int take(void *userdata, uint64_t first, uint64_t n)
{
	struct taken *taken = userdata;
	assert_true(taken->count < 8);
	taken->first[taken->count] = first;
	taken->n[taken->count++] = n;
	return taken->result;
}

static int walk(size_t n_pages, bool populates, struct taken *taken)
{
	memset(taken, 0, sizeof(*taken));
	return frames_walk(&ops, BASE, n_pages * page_bytes(), populates, take, taken);
}

static void test_runs_are_the_fewest(void **state)
{
	(void)state;
	struct taken taken;

	/* One, over slices. */
	assert_int_equal(walk(PAGES, true, &taken), 0);
	assert_int_equal(taken.count, 1);
	assert_int_equal(taken.n[0], PAGES);
	assert_int_equal(n_populated, 0);

	frames[0] = 77;
	frames[1] = 78;
	frames[5] = 4; /* the one before once more */
	frames[6] = 3; /* and backwards */
	assert_int_equal(walk(8, true, &taken), 0);
	const uint64_t should[][2] = { { 77, 2 }, { 2, 3 }, { 4, 1 }, { 3, 1 }, { 7, 1 } };
	assert_int_equal(taken.count, ARRAY_SIZE(should));
	for (size_t i = 0; i < ARRAY_SIZE(should); i++) {
		assert_int_equal(taken.first[i], should[i][0]);
		assert_int_equal(taken.n[i], should[i][1]);
	}
}

static void test_no_pages(void **state)
{
	(void)state;
	struct taken taken;
	assert_int_equal(walk(0, true, &taken), 0);
	assert_int_equal(taken.count, 0);
}

/* A run has a length that fits into its bits. */
static int read_endless(void *userdata, const void *address, uint64_t *to, size_t n_pages)
{
	(void)userdata;
	for (size_t i = 0; i < n_pages; i++)
		to[i] = (uintptr_t)address / page_bytes() + i;
	return 0;
}

static void test_the_longest_run(void **state)
{
	(void)state;
	const struct frame_ops endless = { NULL, populate, read_endless };
	struct taken taken = { .count = 0 };
	const uint64_t first = (uintptr_t)BASE / page_bytes();

	assert_int_equal(frames_walk(&endless, BASE, (RUN_FRAMES_MAX + 1) * page_bytes(), true,
				 take, &taken),
		0);
	assert_int_equal(taken.count, 2);
	assert_int_equal(taken.n[0], RUN_FRAMES_MAX);
	assert_int_equal(taken.first[1], first + RUN_FRAMES_MAX);
	assert_int_equal(taken.n[1], 1);
}

static void test_absent_pages_come(void **state)
{
	(void)state;
	struct taken taken;

	frames[9] = frames[10] = frames[PAGES - 1] = FRAME_ABSENT;
	comes_after = 3;
	assert_int_equal(walk(PAGES, true, &taken), 0);
	assert_int_equal(taken.count, 1);
	assert_int_equal(n_populated, 3);
}

static void test_absent_pages_stay(void **state)
{
	(void)state;
	struct taken taken;

	for (int error = 0; error >= -EFAULT; error -= EFAULT) {
		set_up(NULL);
		frames[9] = frames[10] = FRAME_ABSENT;
		populate_error = error;
		assert_int_equal(walk(12, true, &taken), 0);
		assert_int_equal(taken.count, 3);
		assert_int_equal(taken.first[1], FRAME_ABSENT);
		assert_int_equal(taken.n[1], 2);
		assert_true(n_populated > 1);
	}
	/* Not where nothing is to be populated. */
	n_populated = 0;
	assert_int_equal(walk(12, false, &taken), 0);
	assert_int_equal(taken.count, 3);
	assert_int_equal(n_populated, 0);
}

static void test_errors_end_it(void **state)
{
	(void)state;
	struct taken taken;

	read_error = -EPERM;
	assert_int_equal(walk(12, true, &taken), -EPERM);
	assert_int_equal(taken.count, 0);
	read_error = 0;
	frames[3] = FRAME_ABSENT;
	populate_error = -ENOMEM;
	assert_int_equal(walk(12, true, &taken), -ENOMEM);

	populate_error = 0;
	frames[3] = 100;
	memset(&taken, 0, sizeof(taken));
	taken.result = 42;
	assert_int_equal(frames_walk(&ops, BASE, 12 * page_bytes(), true, take, &taken), 42);
	assert_int_equal(taken.count, 1);
}

/* The kernel's own page map: hidden frames are 0, and refused. */
static void test_the_real_page_map(void **state)
{
	(void)state;
	struct frame_ops real;
	struct taken taken = { .count = 0 };
	FILE *file = fopen("/proc/self/pagemap", "re");
	assert_non_null(file);
	int pagemap = fileno(file);
	uint64_t got[2];
	char *memory = mmap(
		NULL, 2 * page_bytes(), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	assert_ptr_not_equal(memory, MAP_FAILED);
	frames_use_pagemap(&real, &pagemap);
	assert_int_equal(real.read(real.userdata, memory, got, 2), 0);
	assert_int_equal(got[0], FRAME_ABSENT);
	int r = frames_walk(&real, memory, 2 * page_bytes(), true, take, &taken);
	if (r == 0) {
		assert_in_range(taken.count, 1, 2);
		assert_int_not_equal(taken.first[0], FRAME_ABSENT);
	} else {
		assert_int_equal(r, -EPERM);
	}
	munmap(memory, 2 * page_bytes());
	/* Nothing is there any more, and nothing happens. */
	assert_int_equal(real.populate(real.userdata, memory, page_bytes()), -ENOMEM);
	fclose(file);
}

#define frames_test(test) cmocka_unit_test_setup(test, set_up)
int main(void)
{
	const struct CMUnitTest tests[] = {
		frames_test(test_runs_are_the_fewest),
		frames_test(test_no_pages),
		frames_test(test_the_longest_run),
		frames_test(test_absent_pages_come),
		frames_test(test_absent_pages_stay),
		frames_test(test_errors_end_it),
		frames_test(test_the_real_page_map),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
