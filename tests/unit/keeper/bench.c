#include "bench.h"

#include "daemon/base/util.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

int bench_set_up(void **state)
{
	struct bench *bench = calloc(1, sizeof(*bench));
	char page[PAGE] = "x";

	assert_non_null(bench);
	bench->n_fds_before = count_fds();
	fake_io_init(&bench->fake);
	keeping_open(&bench->keeping, &bench->fake.backend);
	bench->keeping.frames = bench->fake.frames;

	bench->book = memfd_create("book", MFD_CLOEXEC);
	bench->keeping.book.fd = fcntl(bench->book, F_DUPFD_CLOEXEC, 0);
	bench->memory = memfd_create("memory", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	assert_true(bench->book >= 0 && bench->memory >= 0);
	for (unsigned i = 0; i < MEMORY_PAGES; i++)
		assert_int_equal(write(bench->memory, page, PAGE), PAGE);
	assert_int_equal(keeping_add_memory(&bench->keeping, MEMORY,
				 fcntl(bench->memory, F_DUPFD_CLOEXEC, 0), &bench->done),
		0);
	bench->fake.file = bench->memory;
	bench->fake.n_file_bytes = MEMORY_PAGES * PAGE;
	bench->fake.base = bench_page(bench, 0);
	*state = bench;
	return 0;
}

int bench_tear_down(void **state)
{
	struct bench *bench = *state;

	keeping_close(&bench->keeping);
	close(bench->memory);
	close(bench->book);
	assert_int_equal(count_fds(), bench->n_fds_before);
	free(bench);
	return 0;
}

int bench_fd(void)
{
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	assert_in_range(fd, 0, FAKE_FDS - 1);
	return fd;
}

int bench_prepare(struct bench *bench, uint32_t number, unsigned first, unsigned n, uint64_t iova)
{
	const struct wire_request request = {
		.memory = MEMORY,
		.mapping = number,
		.offset = (uint64_t)first * PAGE,
		.iova = iova,
		.length = (uint64_t)n * PAGE,
		.flags = WIRE_READ_ALLOWED | WIRE_WRITE_ALLOWED,
	};
	memset(&bench->done, 0, sizeof(bench->done));
	return mapping_prepare(&bench->keeping, &request, &bench->done);
}

int bench_attach_new(struct bench *bench, uint32_t number)
{
	int fd = bench_fd();

	/* One group a container: no other is tried. */
	assert_int_equal(
		group_attach(&bench->keeping, number, fd, 1, &bench->done), WIRE_NEEDS_CONTAINER);
	assert_int_equal(group_attach_new(&bench->keeping, number, bench_fd(), &bench->done), 0);
	return fd;
}

void bench_map(struct bench *bench, uint32_t number, unsigned first, unsigned n, uint64_t iova)
{
	assert_int_equal(bench_prepare(bench, number, first, n, iova), 0);
	struct mapping *mapping = keeping_mapping(&bench->keeping, number);
	assert_non_null(mapping);
	assert_int_equal(mapping_make(&bench->keeping, mapping, &bench->done), 0);
}

char *bench_page(struct bench *bench, unsigned page)
{
	return keeping_memory(&bench->keeping, MEMORY)->address + (size_t)page * PAGE;
}
