/* Files that a client may send as memory: real ones. */
#include "daemon/keeper/memory.h"

#include "daemon/base/frames.h"
#include "daemon/base/util.h"
#include "daemon/keeper/holes.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#define SIZE (16 * 4096)

static char text[WIRE_TEXT_SIZE];

static int add(int fd, struct memory **memory)
{
	text[0] = '\0';
	assert_true(fd >= 0);
	int r = memory_new(1, fd, memory, text);
	if (r != 0)
		assert_int_equal(fcntl(fd, F_GETFD), -1); /* closed */
	return r;
}

static int new_memfd(unsigned seals)
{
	int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, SIZE), 0);
	assert_int_equal(fcntl(fd, F_ADD_SEALS, seals), 0);
	return fd;
}

static int reopen(int fd, int flags)
{
	char path[64];
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	int again = open(path, flags | O_CLOEXEC);
	close(fd);
	return again;
}

static void expect(int fd, uint32_t flags)
{
	struct memory *memory;
	assert_int_equal(add(fd, &memory), 0);
	assert_int_equal(memory->size, SIZE);
	assert_int_equal(memory->page_bytes, page_bytes());
	assert_int_equal(memory->flags, flags);
	assert_true(memory_is_whole(memory));
	memory_free(memory);
}

static void expect_refusal(int fd, const char *why)
{
	struct memory *memory;
	assert_int_equal(add(fd, &memory), WIRE_UNSUITABLE);
	assert_null(memory);
	if (!strstr(text, why))
		fail_msg("\"%s\" does not say \"%s\"", text, why);
}

static void test_what_it_permits(void **state)
{
	(void)state;
	const uint32_t both = WIRE_READ_ALLOWED | WIRE_WRITE_ALLOWED;

	expect(new_memfd(0), both);
	/* As QEMU seals its own. */
	expect(new_memfd(F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL), both);
	expect(new_memfd(F_SEAL_FUTURE_WRITE), WIRE_READ_ALLOWED);
	expect(reopen(new_memfd(0), O_RDONLY), WIRE_READ_ALLOWED);
	expect(reopen(new_memfd(F_SEAL_WRITE), O_RDONLY), WIRE_READ_ALLOWED);
	/* On /dev/shm as well: a file that has no seals but could not have any. */
	int fd = open("/dev/shm", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fd >= 0) {
		assert_int_equal(ftruncate(fd, SIZE), 0);
		expect(fd, both);
	}
}

/* Kernels up to 6.6 do not map it; where it is mapped nobody may write. */
static void test_sealed_but_open_for_writing(void **state)
{
	(void)state;
	struct memory *memory;
	int r = add(new_memfd(F_SEAL_WRITE), &memory);

	if (r == 0)
		assert_int_equal(memory->flags, WIRE_READ_ALLOWED);
	else
		assert_non_null(strstr(text, "for reading only"));
	memory_free(memory);
}

static void test_what_is_refused(void **state)
{
	(void)state;
	int ends[2];

	expect_refusal(reopen(new_memfd(0), O_WRONLY), "writing only");
	expect_refusal(reopen(new_memfd(0), O_PATH), "O_PATH");
	expect_refusal(open("/dev/zero", O_RDWR | O_CLOEXEC), "no file of memory");
	expect_refusal(open("/proc/self/exe", O_RDONLY | O_CLOEXEC), "no file of memory");
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	expect_refusal(ends[0], "no file of memory");
	close(ends[1]);
	expect_refusal(memfd_create("empty", MFD_CLOEXEC), "whole page");
	int fd = memfd_create("less", MFD_CLOEXEC);
	assert_int_equal(ftruncate(fd, 4095), 0);
	expect_refusal(fd, "whole page");
	fd = memfd_create("larger", MFD_CLOEXEC);
	assert_int_equal(ftruncate(fd, INT64_MAX / 4096 * 4096), 0);
	expect_refusal(fd, "cannot be mapped at once");
}

static void test_its_size_is_fixed(void **state)
{
	(void)state;
	struct memory *memory;
	int fd = new_memfd(0);

	assert_int_equal(ftruncate(fd, SIZE + 1), 0);
	assert_int_equal(add(fd, &memory), 0);
	assert_int_equal(memory->size, SIZE);
	assert_int_equal(ftruncate(fd, SIZE * 2), 0);
	assert_int_equal(memory->size, SIZE);
	assert_int_equal(ftruncate(fd, SIZE), 0);
	assert_true(memory_is_whole(memory));
	assert_int_equal(ftruncate(fd, SIZE - 1), 0);
	assert_false(memory_is_whole(memory));
	memory_free(memory);
}

static void test_nothing_of_it_is_touched(void **state)
{
	(void)state;
	struct memory *memory;
	uint64_t n_pages;

	assert_int_equal(add(new_memfd(0), &memory), 0);
	assert_int_equal(memory_count_holes(memory, 0, SIZE, &n_pages), 0);
	assert_int_equal(n_pages, SIZE / page_bytes());
	memory_free(memory);
}

struct found {
	uint64_t offsets[8], lengths[8];
	unsigned n;
};

static int note(void *userdata, uint64_t offset, uint64_t length)
{
	struct found *found = userdata;
	found->offsets[found->n] = offset / 4096;
	found->lengths[found->n] = length / 4096;
	return ++found->n == 8 ? -E2BIG : 0;
}

static void test_holes(void **state)
{
	(void)state;
	struct found found = { .n = 0 };
	struct memory *memory;
	uint64_t n_pages;
	int fd = new_memfd(0);

	/* Pages 2, 3, 7 and 15 are there. */
	assert_int_equal(pwrite(fd, "x", 1, 2 * 4096), 1);
	assert_int_equal(pwrite(fd, "x", 1, 3 * 4096 + 4095), 1);
	assert_int_equal(pwrite(fd, "x", 1, 7 * 4096), 1);
	assert_int_equal(pwrite(fd, "x", 1, 15 * 4096), 1);
	assert_int_equal(lseek(fd, 1234, SEEK_SET), 1234);

	assert_int_equal(holes_walk(fd, 0, SIZE, note, &found), 0);
	assert_int_equal(found.n, 3);
	const uint64_t should[][2] = { { 0, 2 }, { 4, 3 }, { 8, 7 } };
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(found.offsets[i], should[i][0]);
		assert_int_equal(found.lengths[i], should[i][1]);
	}
	/* The position is the client's. */
	assert_int_equal(file_size(fd), SIZE);
	assert_int_equal(lseek(fd, 0, SEEK_CUR), 1234);

	assert_int_equal(add(fd, &memory), 0);
	const struct {
		uint64_t first, n, holes;
	} parts[] = { { 0, 16, 12 }, { 0, 1, 1 }, { 1, 2, 1 }, { 2, 2, 0 }, { 3, 4, 3 },
		{ 7, 1, 0 }, { 9, 3, 3 }, { 14, 2, 1 }, { 15, 1, 0 } };
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		assert_int_equal(memory_count_holes(memory, parts[i].first * 4096,
					 parts[i].n * 4096, &n_pages),
			0);
		assert_int_equal(n_pages, parts[i].holes);
	}
	memory_free(memory);
}

static void test_huge_pages(void **state)
{
	(void)state;
	struct memory *memory;
	uint64_t n_pages;
	int fd = memfd_create("huge", MFD_CLOEXEC | MFD_HUGETLB);

	if (fd < 0)
		return; /* this kernel has none */
	if (ftruncate(fd, 2 << 20) < 0) {
		close(fd);
		return; /* they are larger here */
	}
	int r = add(fd, &memory);
	if (r == WIRE_UNSUITABLE) {
		assert_non_null(strstr(text, "huge pages"));
		return; /* this host has none to give */
	}
	assert_int_equal(r, 0);
	assert_int_equal(memory->page_bytes, 2 << 20);
	assert_int_equal(memory_count_holes(memory, 0, 2 << 20, &n_pages), 0);
	assert_int_equal(n_pages, 0);
	memory_free(memory);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_it_permits),
		cmocka_unit_test(test_sealed_but_open_for_writing),
		cmocka_unit_test(test_what_is_refused),
		cmocka_unit_test(test_its_size_is_fixed),
		cmocka_unit_test(test_nothing_of_it_is_touched),
		cmocka_unit_test(test_holes),
		cmocka_unit_test(test_huge_pages),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
