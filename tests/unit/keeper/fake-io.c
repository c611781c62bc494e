#include "fake-io.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static bool fails(struct fake_io *fake)
{
	return ++fake->n_calls == fake->fail_at;
}

static int container_open(void *userdata, int fd)
{
	(void)userdata;
	return fd;
}

static void container_close(void *userdata, int container)
{
	(void)userdata;
	close(container);
}

static int attach(void *userdata, int container, struct backend_group *its_group)
{
	struct fake_io *fake = userdata;
	int group = its_group->fd;
	struct fake_container *its = &fake->state.containers[container];

	if (fails(fake))
		return fake->error;
	if (fake->refuses[group])
		return fake->refuses[group];
	if (fake->state.container_of[group] || !its->has_groups)
		return -EINVAL;
	fake->state.container_of[group] = container;
	its->n_groups++;
	return 0;
}

static int begin(void *userdata, int container, struct backend_group *group)
{
	struct fake_io *fake = userdata;
	struct fake_container *its = &fake->state.containers[container];

	if (its->has_groups)
		return -EINVAL;
	its->has_groups = true;
	int r = attach(fake, container, group);
	if (r < 0)
		its->has_groups = false;
	return r;
}

static int detach(void *userdata, int container, struct backend_group *its_group)
{
	struct fake_io *fake = userdata;
	int group = its_group->fd;
	struct fake_container *its = &fake->state.containers[container];

	if (fake->state.container_of[group] != container)
		return -EINVAL;
	if (fake->busy[group])
		return -EBUSY;
	fake->state.container_of[group] = 0;
	if (--its->n_groups == 0)
		memset(its, 0, sizeof(*its));
	return 0;
}

static void forget(void *userdata, int container, struct backend_group *group)
{
	(void)userdata;
	(void)container;
	(void)group;
}

static bool has_mapping(const struct fake_container *container, uint64_t iova, uint64_t length)
{
	for (unsigned i = 0; i < container->n_mappings; i++)
		if (container->mappings[i].iova == iova && container->mappings[i].length == length)
			return true;
	return false;
}

static int map(void *userdata, int container, int from, const struct backend_memory *memory,
	uint64_t iova, uint64_t length, uint32_t flags)
{
	struct fake_io *fake = userdata;
	struct fake_container *its = &fake->state.containers[container];

	if (fails(fake))
		return fake->error;
	if (!its->has_groups)
		return -EINVAL;
	/* What is copied is there. */
	if (from != NO_CONTAINER && !has_mapping(&fake->state.containers[from], iova, length))
		return -ENOENT;
	for (unsigned i = 0; i < its->n_mappings; i++)
		if (its->mappings[i].iova == iova)
			return -EEXIST;
	its->mappings[its->n_mappings++] =
		(struct fake_mapping){ iova, length, memory->address, flags };
	if (fake->on_map)
		fake->on_map(fake);
	return 0;
}

static int unmap(void *userdata, int container, uint64_t iova, uint64_t length)
{
	struct fake_io *fake = userdata;
	struct fake_container *its = &fake->state.containers[container];

	for (unsigned i = 0; i < its->n_mappings; i++) {
		if (its->mappings[i].iova != iova || its->mappings[i].length != length)
			continue;
		its->n_mappings--;
		memmove(&its->mappings[i], &its->mappings[i + 1],
			(its->n_mappings - i) * sizeof(its->mappings[0]));
		memset(&its->mappings[its->n_mappings], 0, sizeof(its->mappings[0]));
		return 0;
	}
	return -ENOENT;
}

static int info(void *userdata, int container, struct wire_info *info)
{
	struct fake_io *fake = userdata;

	if (!fake->state.containers[container].has_groups)
		return -EINVAL;
	info->page_sizes = 4096;
	info->ranges[0] = (struct wire_range){ 0, fake->last_iova };
	info->n_ranges = 1;
	info->has_any_iova = fake->has_only_mdevs;
	return 0;
}

static int get_device(void *userdata, int container, struct backend_group *group, const char *name)
{
	struct fake_io *fake = userdata;

	if (fake->state.container_of[group->fd] != container || strcmp(name, "device") != 0)
		return -ENODEV;
	return open("/dev/null", O_RDWR | O_CLOEXEC);
}

static int reset(void *userdata, int device)
{
	struct fake_io *fake = userdata;
	(void)device;
	fake->n_resets += fake->reset_error == 0;
	return fake->reset_error;
}

static int bus_groups(void *userdata, int device, uint32_t *numbers)
{
	struct fake_io *fake = userdata;
	(void)device;
	for (int i = 0; i < fake->n_bus_groups; i++)
		numbers[i] = fake->bus_groups[i];
	return fake->n_bus_groups;
}

static int reset_bus(void *userdata, int device, const int *groups, size_t n_groups)
{
	struct fake_io *fake = userdata;
	(void)device;
	for (size_t i = 0; i < n_groups; i++)
		if (fake->state.container_of[groups[i]] == 0)
			return -EINVAL;
	fake->n_bus_resets += fake->reset_error == 0;
	return fake->reset_error;
}

uint64_t fake_frame(const void *address)
{
	uint64_t page = (uintptr_t)address / page_bytes();
	/* Pieces of 16 pages, that do not lie side by side. */
	return (page / 16 * 1000 + page % 16) & ((UINT64_C(1) << 40) - 1);
}

static int populate(void *userdata, void *address, size_t length)
{
	struct fake_io *fake = userdata;
	(void)address;
	(void)length;
	fake->n_populated++;
	return fake->populate_error;
}

static bool is_hole(const struct fake_io *fake, const char *page)
{
	off_t offset = page - fake->base;
	return fake->base && (size_t)offset < fake->n_file_bytes &&
	       lseek(fake->file, offset, SEEK_DATA) != offset;
}

static int read_frames(void *userdata, const void *address, uint64_t *frames, size_t n_pages)
{
	struct fake_io *fake = userdata;
	const char *page = address;

	for (size_t i = 0; i < n_pages; i++, page += page_bytes()) {
		frames[i] = fake_frame(page) + fake->moved_by;
		if (page == fake->moved)
			frames[i] += 500;
		if (is_hole(fake, page))
			frames[i] = FRAME_ABSENT;
		if (page == fake->absent && fake->absent_reads > 0) {
			fake->absent_reads--;
			frames[i] = FRAME_ABSENT;
		}
	}
	return 0;
}

void fake_io_init(struct fake_io *fake)
{
	*fake = (struct fake_io){
		.backend = {
			.userdata = fake,
			.open = container_open,
			.close = container_close,
			.begin = begin,
			.attach = attach,
			.detach = detach,
			.forget = forget,
			.map = map,
			.unmap = unmap,
			.info = info,
			.get_device = get_device,
			.reset = reset,
			.bus_groups = bus_groups,
			.reset_bus = reset_bus,
		},
		.frames = { fake, populate, read_frames },
		.error = -ENOMEM,
		.last_iova = UINT64_MAX,
	};
}
