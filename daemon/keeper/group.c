/* Groups find their containers, and leave them. */
#include "daemon/keeper/keeping.h"

#include "daemon/base/util.h"

#include <errno.h>
#include <string.h>

struct group *keeping_group(struct keeping *keeping, uint32_t number)
{
	for (size_t i = 0; i < KEEPING_GROUPS_MAX; i++)
		if (keeping->groups[i].is_here && keeping->groups[i].number == number)
			return &keeping->groups[i];
	return NULL;
}

static struct group *free_group(struct keeping *keeping)
{
	for (size_t i = 0; i < KEEPING_GROUPS_MAX; i++)
		if (!keeping->groups[i].is_here)
			return &keeping->groups[i];
	return NULL;
}

static struct container *free_container(struct keeping *keeping)
{
	for (size_t i = 0; i < KEEPING_CONTAINERS_MAX; i++)
		if (keeping->containers[i].fd < 0)
			return &keeping->containers[i];
	return NULL;
}

static uint32_t container_number(const struct keeping *keeping, const struct container *container)
{
	return (uint32_t)(container - keeping->containers);
}

static int map_all(struct keeping *keeping, int container, struct wire_done *done)
{
	const struct backend *backend = keeping->backend;

	for (struct mapping *mapping = keeping->mappings; mapping;
		mapping = mapping->by_number.next) {
		int r = mapping->part.n_runs == 0
				? -EINVAL
				: backend->map(backend->userdata, container,
					  mapping->memory->address + mapping->offset, mapping->iova,
					  mapping->length, mapping->flags);
		if (r < 0) {
			done->mapping = mapping->number;
			return say(done, map_result(r), "mapping %u: %s", mapping->number,
				strerror(-r));
		}
	}
	return 0;
}

static int compare_all(struct keeping *keeping, struct wire_done *done)
{
	for (struct mapping *mapping = keeping->mappings; mapping;
		mapping = mapping->by_number.next) {
		uint64_t n_different;
		int r = mapping_compare(keeping, mapping, &n_different);
		if (r == 0 && n_different == 0)
			continue;
		done->mapping = mapping->number;
		if (r < 0)
			return say(done, r, "frames of mapping %u", mapping->number);
		return say(done, WIRE_CHANGED, "%llu pages of mapping %u have moved",
			(unsigned long long)n_different, mapping->number);
	}
	return 0;
}

static void set_all_made(struct keeping *keeping, bool are_made)
{
	for (struct mapping *mapping = keeping->mappings; mapping;
		mapping = mapping->by_number.next)
		mapping->is_made = are_made;
}

static void join(struct group *group, struct container *container)
{
	group->container = container;
	container->n_groups++;
	container->n_groups_held++;
}

/* With nothing but mdevs in it, a container pins its mappings when the first other group comes. */
static bool pins_late(const struct keeping *keeping, const struct container *container)
{
	const struct backend *backend = keeping->backend;
	struct wire_info info;

	return backend->info(backend->userdata, container->fd, &info) == 0 && info.has_any_iova;
}

/* -EINVAL: not in this one. */
static int attach_to(struct keeping *keeping, struct group *group, struct container *container,
	struct wire_done *done)
{
	const struct backend *backend = keeping->backend;
	bool compares = pins_late(keeping, container);
	int r = backend->attach(backend->userdata, container->fd, group->fd);

	if (r < 0)
		return r;
	r = compares ? compare_all(keeping, done) : 0;
	if (r == 0) {
		join(group, container);
		return 0;
	}
	int undone = backend->detach(backend->userdata, container->fd, group->fd);
	if (undone < 0)
		keeping_fail("leaving a container again", undone);
	/* A failure of our own: no reason to try the next. */
	return r == -EINVAL ? -EIO : r;
}

int group_attach(struct keeping *keeping, uint32_t number, int fd, unsigned max_groups,
	struct wire_done *done)
{
	struct group *group = keeping_group(keeping, number) ? NULL : free_group(keeping);
	if (!group) {
		close(fd);
		return say(done, -EINVAL, "group %u", number);
	}
	*group = (struct group){ .fd = fd, .number = number, .is_here = true };
	for (size_t i = 0; i < KEEPING_CONTAINERS_MAX; i++) {
		struct container *container = &keeping->containers[i];
		if (container->fd < 0 || container->n_groups_held == 0 ||
			(max_groups > 0 && container->n_groups >= max_groups))
			continue;
		int r = attach_to(keeping, group, container, done);
		if (r == -EINVAL)
			continue;
		done->container = (uint32_t)i;
		if (r != 0) {
			group->is_here = false;
			close(fd);
			if (!done->text[0])
				say(done, r, "attaching group %u", number);
		}
		return r;
	}
	return WIRE_NEEDS_CONTAINER;
}

int group_attach_new(
	struct keeping *keeping, uint32_t number, int container_fd, struct wire_done *done)
{
	const struct backend *backend = keeping->backend;
	struct group *group = keeping_group(keeping, number);
	struct container *container = free_container(keeping);

	if (!group || group->container || !container) {
		close(container_fd);
		return say(done, -EINVAL, "group %u", number);
	}
	int r = backend->begin(backend->userdata, container_fd, group->fd);
	if (r < 0) {
		close(container_fd);
		return say(done, r, "attaching group %u to a container of its own", number);
	}
	r = map_all(keeping, container_fd, done);
	if (r == 0)
		r = compare_all(keeping, done);
	if (r != 0) {
		/* With its only group go its mappings. */
		int undone = backend->detach(backend->userdata, container_fd, group->fd);
		if (undone < 0)
			keeping_fail("leaving a container again", undone);
		close(container_fd);
		return r;
	}
	*container = (struct container){ .fd = container_fd };
	join(group, container);
	set_all_made(keeping, true);
	done->container = container_number(keeping, container);
	return 0;
}

static void leave(struct keeping *keeping, struct group *group, struct wire_done *done)
{
	struct container *container = group->container;

	group->is_here = false;
	done->container = container_number(keeping, container);
	done->n_groups = --container->n_groups;
	if (container->n_groups > 0)
		return;
	close(container->fd);
	container->fd = -1;
	for (size_t i = 0; i < KEEPING_CONTAINERS_MAX; i++)
		if (keeping->containers[i].fd >= 0)
			return;
	set_all_made(keeping, false);
}

int group_detach(struct keeping *keeping, uint32_t number, bool force, struct wire_done *done)
{
	const struct backend *backend = keeping->backend;
	struct group *group = keeping_group(keeping, number);

	if (!group || group->fd < 0)
		return say(done, -ENOENT, "group %u", number);
	struct container *container = group->container;
	if (!container) {
		close(group->fd);
		group->is_here = false;
		return 0;
	}
	int r = backend->detach(backend->userdata, container->fd, group->fd);
	if (r < 0 && !force)
		return say(done, r, "detaching group %u", number);
	/* The devices that are open hold the group's file, and so its place in the container. */
	close(steal_fd(&group->fd));
	container->n_groups_held--;
	if (r == 0) {
		leave(keeping, group, done);
		return 0;
	}
	done->container = container_number(keeping, container);
	done->n_groups = container->n_groups;
	return r;
}

int group_gone(struct keeping *keeping, uint32_t number, struct wire_done *done)
{
	struct group *group = keeping_group(keeping, number);

	if (!group || group->fd >= 0)
		return say(done, -ENOENT, "group %u", number);
	leave(keeping, group, done);
	return 0;
}

int group_get_device(struct keeping *keeping, uint32_t number, const char *name)
{
	const struct backend *backend = keeping->backend;
	const struct group *group = keeping_group(keeping, number);

	if (!group || group->fd < 0 || !group->container)
		return -ENOENT;
	return backend->get_device(backend->userdata, group->container->fd, group->fd, name);
}

int container_info(struct keeping *keeping, uint32_t number, struct wire_info *info)
{
	const struct backend *backend = keeping->backend;

	if (number >= KEEPING_CONTAINERS_MAX || keeping->containers[number].fd < 0)
		return -ENOENT;
	return backend->info(backend->userdata, keeping->containers[number].fd, info);
}
