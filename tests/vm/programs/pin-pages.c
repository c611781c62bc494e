/*
 * pin-pages IOMMUFD DEVICE PAGES
 *
 * Drives one of tests/vm/module's mediated devices in mode cdev: the descriptor of an iommufd and
 * that of the device. So many pages are mapped and pinned by the device, which reads and writes the
 * last of them; then it holds, and so does the pin. What is not mapped cannot be pinned.
 */
#include "tests/vm/programs/iommufd.h"
#include "tests/vm/programs/program.h"

#include <limits.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define IOVA UINT64_C(0x100000)

static void check(int r, const char *what)
{
	if (r < 0)
		errx(EXIT_SYSTEM, "%s: %s", what, strerror(-r));
}

/* What vfiod-pin.c declares: at 0. */
static int pin(int device, uint64_t iova, uint64_t n_pages)
{
	uint64_t range[2] = { iova, n_pages };

	return pwrite(device, range, sizeof(range), 0) == sizeof(range) ? 0 : -1;
}

int main(int argc, char *argv[])
{
	uint64_t value = 0x1122334455667788;
	uint32_t ioas;

	if (argc != 4)
		errx(EXIT_USAGE, "usage: pin-pages IOMMUFD DEVICE PAGES");
	int iommufd = (int)program_number(argv[1], INT_MAX);
	int device = (int)program_number(argv[2], INT_MAX);
	uint64_t n_pages = program_number(argv[3], 1U << 20);
	size_t length = n_pages * 4096, last = length - 8;

	char *memory = mmap(NULL, length, PROT_READ | PROT_WRITE,
		MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (memory == MAP_FAILED)
		err(EXIT_SYSTEM, "mmap");
	check(cdev_bind(device, iommufd), "bind");
	check(ioas_allocate(iommufd, &ioas), "allocate");
	check(cdev_attach(device, ioas), "attach");
	check(ioas_map(iommufd, ioas, memory, IOVA, length), "map");
	if (pin(device, IOVA, n_pages) < 0)
		err(EXIT_SYSTEM, "pinning");
	if (pin(device, IOVA + length, 1) == 0)
		errx(EXIT_WRONG, "it has pinned what is not mapped");
	if (pwrite(device, &value, sizeof(value), (off_t)(IOVA + last)) != sizeof(value))
		err(EXIT_SYSTEM, "writing by the device");
	if (memcmp(memory + last, &value, sizeof(value)) != 0)
		errx(EXIT_WRONG, "the device wrote elsewhere");
	printf("pinned: %llu pages\n", (unsigned long long)n_pages);
	program_hold("holding");
	return 0;
}
