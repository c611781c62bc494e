/* Leases with descriptors: containers and mappings of the client's own. */
#include "tests/vm/programs/space/space-client.h"

#include "tests/vm/programs/program.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/vfio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static void answer_result(const char *what, bool is_well)
{
	if (is_well)
		answer("ok");
	else
		answer_failed(what);
}

/* --- leases -------------------------------------------------------------------------------- */

static void command_lease(const struct words *words)
{
	struct json_object *parameters = json_object_new_object();
	struct json_object *selectors = json_object_new_array();

	for (size_t i = 3; i < words->n; i++) {
		struct json_object *selector = json_object_new_object();
		json_object_object_add(selector, "device", json_object_new_string(words->word[i]));
		json_object_array_add(selectors, selector);
	}
	json_object_object_add(parameters, "selectors", selectors);
	json_object_object_add(parameters, "mode", json_object_new_string("group"));
	json_object_object_add(
		parameters, "memoryBytes", json_object_new_int64((int64_t)word_number(words, 2)));
	int fds[MAX_GROUPS];
	size_t n_fds;
	struct json_object *reply =
		call_for_fds("org.vfiod.Broker.Acquire", parameters, fds, &n_fds);
	if (!reply)
		return;
	struct object *lease = object_new(LEASE, words->word[1]);
	lease->token = strdup(json_object_get_string(json_object_object_get(reply, "token")));
	memcpy(lease->group_fds, fds, sizeof(fds));
	lease->n_group_fds = n_fds;
	answer("ok lease=%s", json_object_get_string(json_object_object_get(reply, "lease")));
	json_object_put(reply);
}

static void command_reserve(const struct words *words)
{
	struct json_object *parameters = json_object_new_object();

	json_object_object_add(parameters, "token",
		json_object_new_string(object_find(LEASE, words->word[1])->token));
	json_object_object_add(
		parameters, "memoryBytes", json_object_new_int64((int64_t)word_number(words, 2)));
	call_and_answer("org.vfiod.Ledger.Reserve", parameters);
}

void lease_close_groups(struct object *lease)
{
	while (lease->n_group_fds > 0)
		close(lease->group_fds[--lease->n_group_fds]);
}

static void command_close_groups(const struct words *words)
{
	lease_close_groups(object_find(LEASE, words->word[1]));
	answer("ok");
}

/* --- mappings --------------------------------------------------------------------------------- */

static void command_container(const struct words *words)
{
	struct object *lease = object_find(LEASE, words->word[2]);
	size_t i = words->n > 3 ? word_number(words, 3) : 0;

	if (i >= lease->n_group_fds)
		errx(EXIT_USAGE, "%s has no descriptor %zu", words->word[2], i);
	int fd = open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC);
	bool is_well = fd >= 0 && ioctl(lease->group_fds[i], VFIO_GROUP_SET_CONTAINER, &fd) == 0 &&
		       ioctl(fd, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU) == 0;
	if (is_well)
		object_new(CONTAINER, words->word[1])->fd = fd;
	answer_result("container", is_well);
}

void *memory_address(struct object *memory)
{
	struct stat status;

	if (!memory->address && fstat(memory->fd, &status) == 0) {
		int access = fcntl(memory->fd, F_GETFL) & O_ACCMODE;
		memory->n_bytes = (size_t)status.st_size;
		memory->address = mmap(NULL, memory->n_bytes,
			access == O_RDONLY ? PROT_READ : PROT_READ | PROT_WRITE, MAP_SHARED,
			memory->fd, 0);
	}
	if (!memory->address || memory->address == MAP_FAILED)
		err(EXIT_SYSTEM, "mmap of %s", memory->name);
	return memory->address;
}

static void command_address(const struct words *words)
{
	answer("ok %p", memory_address(object_find(MEMORY, words->word[1])));
}

static void command_anonymous(const struct words *words)
{
	size_t length = word_number(words, 2);
	void *address = mmap(NULL, length, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	if (address != MAP_FAILED) {
		struct object *memory = object_new(MEMORY, words->word[1]);
		memory->address = address;
		memory->n_bytes = length;
	}
	answer_result("anonymous", address != MAP_FAILED);
}

/* What is mapped for the device stays; the page tables show other memory. */
static void command_replace(const struct words *words)
{
	struct object *memory = object_find(MEMORY, words->word[1]);
	struct object *other = object_find(MEMORY, words->word[2]);

	const char *address = mmap(memory_address(memory), memory->n_bytes, PROT_READ | PROT_WRITE,
		MAP_SHARED | MAP_FIXED | MAP_POPULATE, other->fd, 0);
	answer_result("replace", address != MAP_FAILED);
}

bool container_pin(
	int container, const void *address, uint64_t iova, uint64_t length, uint32_t flags)
{
	struct vfio_iommu_type1_dma_map map = {
		.argsz = sizeof(map),
		.flags = flags,
		.vaddr = (uintptr_t)address,
		.iova = iova,
		.size = length,
	};
	return ioctl(container, VFIO_IOMMU_MAP_DMA, &map) == 0;
}

static uint32_t access_of(const struct words *words, size_t i)
{
	bool is_readable = words->n > i && strcmp(words->word[i], "r") == 0;
	return VFIO_DMA_MAP_FLAG_READ | (is_readable ? 0 : VFIO_DMA_MAP_FLAG_WRITE);
}

static void command_pin(const struct words *words)
{
	int container = object_find(CONTAINER, words->word[1])->fd;
	const void *address = memory_address(object_find(MEMORY, words->word[2]));

	answer_result("pin", container_pin(container, address, word_number(words, 3),
				     word_number(words, 4), access_of(words, 5)));
}

static void command_unpin(const struct words *words)
{
	struct vfio_iommu_type1_dma_unmap unmap = {
		.argsz = sizeof(unmap),
		.iova = word_number(words, 2),
		.size = word_number(words, 3),
	};
	int container = object_find(CONTAINER, words->word[1])->fd;
	answer_result("unpin", ioctl(container, VFIO_IOMMU_UNMAP_DMA, &unmap) == 0);
}

static void answer_told(const char *what, int result)
{
	errno = -result;
	answer_result(what, result >= 0);
}

static void command_dma_map(const struct words *words)
{
	answer_told("dma-map",
		vfiod_dma_map(handle(), object_find(LEASE, words->word[1])->token,
			object_find(CONTAINER, words->word[2])->fd,
			memory_address(object_find(MEMORY, words->word[3])), word_number(words, 4),
			word_number(words, 5), VFIOD_MAP_READ | VFIOD_MAP_WRITE));
}

static void command_dma_unmap(const struct words *words)
{
	answer_told(
		"dma-unmap", vfiod_dma_unmap(handle(), object_find(LEASE, words->word[1])->token,
				     object_find(CONTAINER, words->word[2])->fd,
				     word_number(words, 3), word_number(words, 4), NULL));
}

static void command_forget_container(const struct words *words)
{
	object_forget(object_find(CONTAINER, words->word[1]));
	answer("ok");
}

const struct command direct_commands[] = {
	{ "lease", 3, command_lease },
	{ "reserve", 2, command_reserve },
	{ "close-groups", 1, command_close_groups },
	{ "container", 2, command_container },
	{ "forget-container", 1, command_forget_container },
	{ "address", 1, command_address },
	{ "anonymous", 2, command_anonymous },
	{ "replace", 2, command_replace },
	{ "pin", 4, command_pin },
	{ "unpin", 3, command_unpin },
	{ "dma-map", 5, command_dma_map },
	{ "dma-unmap", 4, command_dma_unmap },
	{ NULL },
};
