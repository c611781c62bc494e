/* Leases with mode cdev: what the kernel has to have for them, and what they hand out. */
#include "daemon/base/util.h"
#include "daemon/bind/nodes.h"
#include "daemon/broker/parts.h"

#include <errno.h>
#include <string.h>

/* With the context, what fits into one message (SCM_MAX_FD of the kernel). */
enum { MAX_NODES = 252 };

static int open_context(const struct broker *broker, struct refusal *refusal)
{
	const struct sysfs_ops *ops = broker->ops;
	int fd = ops->open_context ? ops->open_context(ops->userdata) : -ENOENT;

	if (fd >= 0)
		return fd;
	if (fd == -ENOENT || fd == -ENODEV || fd == -ENXIO)
		refuse(refusal, REFUSAL_NOT_SUPPORTED,
			"mode cdev: this kernel has no /dev/iommu: it was built without "
			"CONFIG_IOMMUFD, or the module iommufd is not loaded");
	else
		refuse(refusal, REFUSAL_NOT_SUPPORTED, "mode cdev: /dev/iommu cannot be opened: %s",
			strerror(-fd));
	return -1;
}

int cdev_check(struct broker *broker, struct refusal *refusal)
{
	const struct sysfs_ops *ops = broker->ops;

	if (ops->makes_nodes && !ops->makes_nodes(ops->userdata))
		return refuse(refusal, REFUSAL_NOT_SUPPORTED,
			"mode cdev: in this kernel, devices have no nodes of their own "
			"(/dev/vfio/devices): it was built without CONFIG_VFIO_DEVICE_CDEV");
	int fd = open_context(broker, refusal);
	if (fd < 0)
		return REFUSED;
	close(fd);
	return 0;
}

int cdev_begin(struct broker *broker, size_t n_groups, struct lease_nodes **nodesp,
	struct refusal *refusal)
{
	struct lease_nodes *nodes = calloc(1, sizeof(*nodes));

	*nodesp = NULL;
	if (!nodes)
		return -ENOMEM;
	nodes->context = -1;
	nodes->of_groups = calloc(n_groups, sizeof(struct nodes *));
	if (!nodes->of_groups) {
		cdev_end(nodes, 0);
		return -ENOMEM;
	}
	nodes->context = open_context(broker, refusal);
	if (nodes->context < 0) {
		cdev_end(nodes, n_groups);
		return REFUSED;
	}
	*nodesp = nodes;
	return 0;
}

int cdev_count(const struct lease_nodes *nodes, size_t n_groups, struct refusal *refusal)
{
	size_t n = 0;

	for (size_t i = 0; i < n_groups; i++)
		for (size_t j = 0; nodes->of_groups[i] && j < nodes->of_groups[i]->n; j++)
			n += nodes->of_groups[i]->all[j].fd >= 0;
	if (n <= MAX_NODES)
		return 0;
	return refuse(refusal, REFUSAL_NOT_SUPPORTED,
		"mode cdev with more than %d devices: their descriptors do not fit into one "
		"message",
		MAX_NODES);
}

struct lease_nodes *cdev_end(struct lease_nodes *nodes, size_t n_groups)
{
	if (!nodes)
		return NULL;
	for (size_t i = 0; i < n_groups; i++)
		nodes_free(nodes->of_groups[i]);
	if (nodes->context >= 0)
		close(nodes->context);
	free(nodes->of_groups);
	free(nodes);
	return NULL;
}
