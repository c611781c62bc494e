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
		if (keeping->containers[i].handle == NO_CONTAINER)
			return &keeping->containers[i];
	return NULL;
}

static uint32_t container_number(const struct keeping *keeping, const struct container *container)
{
	return (uint32_t)(container - keeping->containers);
}

static int container_with_mappings(const struct keeping *keeping)
{
	/* One that has no group any more may lack some. */
	for (size_t i = 0; i < KEEPING_CONTAINERS_MAX; i++)
		if (keeping->containers[i].handle != NO_CONTAINER &&
			keeping->containers[i].n_groups_held > 0)
			return keeping->containers[i].handle;
	return NO_CONTAINER;
}

static int map_all(struct keeping *keeping, int container, struct wire_done *done)
{
	int from = container_with_mappings(keeping);

	for (struct mapping *mapping = keeping->mappings; mapping;
		mapping = mapping->by_number.next) {
		int r = mapping->part.n_runs == 0
				? -EINVAL
				: mapping_enter(keeping, mapping, container, from);
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

/* What the group leaves of the IOVAs is enough for what is mapped. */
static bool all_fit(const struct keeping *keeping, const struct wire_info *info)
{
	for (const struct mapping *mapping = keeping->mappings; mapping && !info->has_any_iova;
		mapping = mapping->by_number.next) {
		uint64_t last = mapping->iova + (mapping->length - 1);
		uint32_t i = 0;
		while (i < info->n_ranges &&
			(mapping->iova < info->ranges[i].first || last > info->ranges[i].last))
			i++;
		if (i == info->n_ranges)
			return false;
	}
	return true;
}

/* -EINVAL: not in this one. */
static int attach_to(struct keeping *keeping, struct group *group, struct container *container,
	struct wire_done *done)
{
	const struct backend *backend = keeping->backend;
	struct wire_info info;
	/* With nothing but mdevs in it, a container pins its mappings when the first other group
	 * comes. */
	bool pins_late = backend->info(backend->userdata, container->handle, &info) == 0 &&
			 info.has_any_iova;
	int r = backend->attach(backend->userdata, container->handle, &group->io);

	if (r < 0)
		return r;
	bool fits = backend->info(backend->userdata, container->handle, &info) < 0 ||
		    all_fit(keeping, &info);
	r = fits && pins_late ? compare_all(keeping, done) : 0;
	if (r == 0 && fits) {
		join(group, container);
		return 0;
	}
	int undone = backend->detach(backend->userdata, container->handle, &group->io);
	if (undone < 0)
		keeping_fail("leaving a container again", undone);
	if (!fits)
		return -EINVAL;
	/* A failure of our own: no reason to try the next. */
	return r == -EINVAL ? -EIO : r;
}

static void say_attach(
	const struct keeping *keeping, uint32_t number, int result, struct wire_done *done)
{
	if (result == -EOPNOTSUPP && keeping->backend->is_iommufd)
		say(done, result,
			"group %u: with iommufd nobody can tell when an mdev is closed; the space "
			"has to be made with backend = type1",
			number);
	else if (!done->text[0])
		say(done, result, "attaching group %u", number);
}

/* --- coming and going ------------------------------------------------------------------------- */

/* No system has as many functions behind one port. */
#define MEMBERS_MAX 4096

int group_announce(struct keeping *keeping, uint32_t number, const char *name)
{
	struct members *members = &keeping->members;

	/* Another one did not come. */
	if (keeping->coming != number)
		members->n = 0;
	keeping->coming = number;
	for (size_t i = 0; i < members->n; i++)
		if (strcmp(members->names[i], name) == 0)
			return 0;
	if (members->n == MEMBERS_MAX)
		return -EFBIG;
	char(*names)[WIRE_NAME_SIZE] = reallocarray(members->names, members->n + 1, sizeof(*names));
	if (!names)
		return -ENOMEM;
	members->names = names;
	return string_copy(names[members->n++], sizeof(*names), name);
}

static void group_begin(struct keeping *keeping, struct group *group, uint32_t number, int fd)
{
	*group = (struct group){ .io.fd = fd, .number = number, .is_here = true };
	if (keeping->coming == number) {
		group->io.members = keeping->members;
		keeping->members = (struct members){ 0 };
	}
}

void group_end(struct keeping *keeping, struct group *group)
{
	const struct backend *backend = keeping->backend;

	if (group->io.own && group->container)
		backend->forget(backend->userdata, group->container->handle, &group->io);
	if (group->io.fd >= 0)
		close(group->io.fd);
	free(group->io.members.names);
	*group = (struct group){ .is_here = false };
}

int group_attach(struct keeping *keeping, uint32_t number, int fd, unsigned max_groups,
	struct wire_done *done)
{
	struct group *group = keeping_group(keeping, number) ? NULL : free_group(keeping);
	if (!group) {
		close(fd);
		return say(done, -EINVAL, "group %u", number);
	}
	group_begin(keeping, group, number, fd);
	for (size_t i = 0; i < KEEPING_CONTAINERS_MAX; i++) {
		struct container *container = &keeping->containers[i];
		if (container->handle == NO_CONTAINER || container->n_groups_held == 0 ||
			(max_groups > 0 && container->n_groups >= max_groups))
			continue;
		int r = attach_to(keeping, group, container, done);
		if (r == -EINVAL)
			continue;
		done->container = (uint32_t)i;
		if (r != 0) {
			group_end(keeping, group);
			say_attach(keeping, number, r, done);
		}
		return r;
	}
	return WIRE_NEEDS_CONTAINER;
}

/* A container with the group alone, and all mappings; or nothing. */
static int fill_container(
	struct keeping *keeping, struct group *group, int handle, struct wire_done *done)
{
	const struct backend *backend = keeping->backend;
	int r = backend->begin(backend->userdata, handle, &group->io);
	if (r < 0) {
		say_attach(keeping, group->number, r, done);
		return r;
	}
	r = map_all(keeping, handle, done);
	if (r == 0)
		r = compare_all(keeping, done);
	if (r == 0)
		return 0;
	/* With its only group go its mappings. */
	int undone = backend->detach(backend->userdata, handle, &group->io);
	if (undone < 0)
		keeping_fail("leaving a container again", undone);
	return r;
}

int group_attach_new(
	struct keeping *keeping, uint32_t number, int container_fd, struct wire_done *done)
{
	const struct backend *backend = keeping->backend;
	struct group *group = keeping_group(keeping, number);
	struct container *container = free_container(keeping);

	if (!group || group->container || !container) {
		if (container_fd >= 0)
			close(container_fd);
		return say(done, -EINVAL, "group %u", number);
	}
	int handle = backend->open(backend->userdata, container_fd);
	if (handle < 0)
		return say(done, handle, "opening a container");
	int r = fill_container(keeping, group, handle, done);
	if (r != 0) {
		backend->close(backend->userdata, handle);
		return r;
	}
	*container = (struct container){ .handle = handle };
	join(group, container);
	set_all_made(keeping, true);
	done->container = container_number(keeping, container);
	return 0;
}

static void leave(struct keeping *keeping, struct group *group, struct wire_done *done)
{
	const struct backend *backend = keeping->backend;
	struct container *container = group->container;

	group_end(keeping, group);
	done->container = container_number(keeping, container);
	done->n_groups = --container->n_groups;
	if (container->n_groups > 0)
		return;
	backend->close(backend->userdata, container->handle);
	container->handle = NO_CONTAINER;
	for (size_t i = 0; i < KEEPING_CONTAINERS_MAX; i++)
		if (keeping->containers[i].handle != NO_CONTAINER)
			return;
	set_all_made(keeping, false);
}

int group_detach(struct keeping *keeping, uint32_t number, bool force, struct wire_done *done)
{
	const struct backend *backend = keeping->backend;
	struct group *group = keeping_group(keeping, number);

	if (!group || group->io.fd < 0)
		return say(done, -ENOENT, "group %u", number);
	struct container *container = group->container;
	if (!container) {
		group_end(keeping, group);
		return 0;
	}
	int r = backend->detach(backend->userdata, container->handle, &group->io);
	if (r < 0 && !force)
		return say(done, r, "detaching group %u", number);
	/* The devices that are open hold the group's file, and so its place in the container. */
	close(steal_fd(&group->io.fd));
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

	if (!group || group->io.fd >= 0)
		return say(done, -ENOENT, "group %u", number);
	leave(keeping, group, done);
	return 0;
}

int group_get_device(struct keeping *keeping, uint32_t number, const char *name)
{
	const struct backend *backend = keeping->backend;
	struct group *group = keeping_group(keeping, number);

	if (!group || group->io.fd < 0 || !group->container)
		return -ENOENT;
	return backend->get_device(backend->userdata, group->container->handle, &group->io, name);
}

int container_info(struct keeping *keeping, uint32_t number, struct wire_info *info)
{
	const struct backend *backend = keeping->backend;

	if (number >= KEEPING_CONTAINERS_MAX || keeping->containers[number].handle == NO_CONTAINER)
		return -ENOENT;
	return backend->info(backend->userdata, keeping->containers[number].handle, info);
}
