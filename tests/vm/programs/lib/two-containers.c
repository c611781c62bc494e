/*
 * two-containers MEBIBYTES DEVICE…
 *
 * A client of a space, as people write them with libvfiod: one memory, mapped once, for the groups
 * of all devices, each in a container of its own. Says what the space is charged for,
 *
 *	space S1 of 2 containers: 1 mapping, owed 33554432, kernel bill 67108864
 *
 * and holds it until a line comes on stdin. An error reply is a line "error NAME PARAMETERS", and
 * exit status 1.
 */
#include "client/include/vfiod.h"
#include "tests/vm/programs/program.h"

#include <sys/mman.h>
#include <unistd.h>

#define IOVA 0x100000

static struct vfiod *vfiod;

static void check(int result, const char *what)
{
	if (result >= 0)
		return;
	if (!vfiod_error_name(vfiod))
		errx(EXIT_SYSTEM, "%s: %s", what, vfiod_strerror(vfiod));
	printf("error %s %s\n", vfiod_error_name(vfiod), vfiod_error_parameters(vfiod));
	exit(EXIT_SYSTEM);
}

static int memory_new(size_t n_bytes)
{
	int fd = memfd_create("memory", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0 || ftruncate(fd, (off_t)n_bytes) < 0)
		err(EXIT_SYSTEM, "memory");
	return fd;
}

static void attach_all(struct vfiod_space *space, const struct vfiod_lease *lease)
{
	for (size_t i = 0; i < vfiod_lease_n_groups(lease); i++)
		check(vfiod_space_attach(vfiod, space, vfiod_lease_token(lease),
			      vfiod_lease_group_number(lease, i)),
			"attach");
}

static void print_space(struct vfiod_space *space)
{
	struct vfiod_space_info info;

	check(vfiod_space_describe(vfiod, space, &info, NULL, 0), "describe");
	printf("space %s of %u containers: %u mapping, owed %llu, kernel bill %llu\n",
		vfiod_space_name(space), info.n_containers, info.n_mappings,
		(unsigned long long)info.owed_bytes, (unsigned long long)info.kernel_bill_bytes);
}

int main(int argc, char *argv[])
{
	struct vfiod_lease *lease;
	struct vfiod_space *space;
	uint32_t memory;

	if (argc < 3)
		errx(EXIT_USAGE, "usage: two-containers MEBIBYTES DEVICE…");
	size_t n_bytes = program_number(argv[1], 4096) << 20;
	if (vfiod_open(NULL, &vfiod) < 0)
		err(EXIT_SYSTEM, "the daemon's socket");
	check(vfiod_acquire_brokered(
		      vfiod, (const char *const *)argv + 2, (size_t)argc - 2, 0, &lease),
		"acquire");
	check(vfiod_space_create(vfiod, -1, 1, &space), "create");
	check(vfiod_space_add_memory(vfiod, space, memory_new(n_bytes), &memory), "add memory");
	check(vfiod_space_map(vfiod, space, memory, 0, IOVA, n_bytes,
		      VFIOD_MAP_READ | VFIOD_MAP_WRITE, NULL),
		"map");
	attach_all(space, lease);
	print_space(space);
	program_wait_for_line();

	uint64_t unmapped;
	check(vfiod_space_unmap(vfiod, space, IOVA, n_bytes, &unmapped), "unmap");
	printf("unmapped %llu\n", (unsigned long long)unmapped);
	check(vfiod_space_destroy(vfiod, space), "destroy");
	check(vfiod_release(vfiod, lease), "release");
	vfiod_close(vfiod);
	return 0;
}
