/* A lease that was granted: what it has, for whom it is, and its end in memory. */
#include "client/handle.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void fd_clear(int fd)
{
	if (fd >= 0)
		close(fd);
}

static void group_clear(struct granted_group *group)
{
	fd_clear(group->fd);
	for (size_t i = 0; i < group->n_devices; i++) {
		fd_clear(group->devices[i].fd);
		free(group->devices[i].name);
	}
	free(group->devices);
}

struct vfiod_lease *lease_free(struct vfiod_lease *lease)
{
	if (!lease)
		return NULL;
	LIST_REMOVE(lease, link);
	for (size_t i = 0; i < lease->n_groups; i++)
		group_clear(&lease->groups[i]);
	for (size_t i = 0; i < lease->n_selected; i++)
		free(lease->selected[i]);
	free(lease->selected);
	fd_clear(lease->iommufd);
	free(lease->groups);
	free(lease->name);
	free(lease->token);
	free(lease);
	return NULL;
}

const char *vfiod_lease_name(const struct vfiod_lease *lease)
{
	return lease->name;
}

const char *vfiod_lease_token(const struct vfiod_lease *lease)
{
	return lease->token;
}

const char *vfiod_lease_selected(const struct vfiod_lease *lease, size_t index)
{
	return index < lease->n_selected ? lease->selected[index] : NULL;
}

size_t vfiod_lease_n_groups(const struct vfiod_lease *lease)
{
	return lease->n_groups;
}

int vfiod_lease_group_number(const struct vfiod_lease *lease, size_t index)
{
	return index < lease->n_groups ? lease->groups[index].number : -EINVAL;
}

int vfiod_lease_group_fd(const struct vfiod_lease *lease, size_t index)
{
	if (index >= lease->n_groups)
		return -EINVAL;
	return lease->groups[index].fd >= 0 ? lease->groups[index].fd : -EBADF;
}

int vfiod_lease_steal_group_fd(struct vfiod_lease *lease, size_t index)
{
	int fd = vfiod_lease_group_fd(lease, index);

	if (fd >= 0)
		lease->groups[index].fd = -1;
	return fd;
}

size_t vfiod_lease_n_devices(const struct vfiod_lease *lease, size_t group_index)
{
	return group_index < lease->n_groups ? lease->groups[group_index].n_devices : 0;
}

const char *vfiod_lease_device(
	const struct vfiod_lease *lease, size_t group_index, size_t device_index)
{
	if (device_index >= vfiod_lease_n_devices(lease, group_index))
		return NULL;
	return lease->groups[group_index].devices[device_index].name;
}

static struct granted_device *device_find(const struct vfiod_lease *lease, const char *name)
{
	for (size_t i = 0; i < lease->n_groups; i++)
		for (size_t j = 0; j < lease->groups[i].n_devices; j++)
			if (strcmp(lease->groups[i].devices[j].name, name) == 0)
				return &lease->groups[i].devices[j];
	return NULL;
}

int vfiod_lease_device_fd(const struct vfiod_lease *lease, const char *device)
{
	const struct granted_device *found = device_find(lease, device);

	if (!found)
		return -EINVAL;
	return found->fd >= 0 ? found->fd : -EBADF;
}

int vfiod_lease_steal_device_fd(struct vfiod_lease *lease, const char *device)
{
	int fd = vfiod_lease_device_fd(lease, device);

	if (fd >= 0)
		device_find(lease, device)->fd = -1;
	return fd;
}

int vfiod_lease_iommufd(const struct vfiod_lease *lease)
{
	return lease->iommufd >= 0 ? lease->iommufd : -EBADF;
}

int vfiod_lease_steal_iommufd(struct vfiod_lease *lease)
{
	int fd = vfiod_lease_iommufd(lease);

	lease->iommufd = -1;
	return fd;
}
