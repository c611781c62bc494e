/* Leases with mode cdev: what the kernel has to have for them, and what they hand out. */
#include "daemon/base/util.h"
#include "daemon/bind/nodes.h"
#include "daemon/broker/tenancy.h"

#include <errno.h>
#include <string.h>

/* With the context, what fits into one message (SCM_MAX_FD of the kernel). */
enum { MAX_NODES = 252 };

int cdev_open_context(const struct broker *broker, struct refusal *refusal)
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
	int fd = cdev_open_context(broker, refusal);
	if (fd < 0)
		return REFUSED;
	close(fd);
	return 0;
}

/* Has it more than a message can carry? 0 or REFUSED. */
static int count_nodes(struct tenancy *tenancy)
{
	size_t n = 0;

	for (size_t i = 0; i < tenancy->n_holdings; i++) {
		const struct nodes *nodes = tenancy->holdings[i]->nodes;
		for (size_t j = 0; nodes && j < nodes->n; j++)
			n += nodes->all[j].fd >= 0;
	}
	if (n <= MAX_NODES)
		return 0;
	return refuse(&tenancy->refusal, REFUSAL_NOT_SUPPORTED,
		"mode cdev with more than %d devices: their descriptors do not fit into one "
		"message",
		MAX_NODES);
}

int cdev_begin(struct tenancy *tenancy, struct lease_nodes **nodesp)
{
	*nodesp = NULL;
	if (!tenancy->lease->cdev)
		return 0;
	int r = count_nodes(tenancy);
	if (r != 0)
		return r;
	struct lease_nodes *nodes = calloc(1, sizeof(*nodes));
	if (!nodes)
		return -ENOMEM;
	nodes->of_groups = calloc(tenancy->n_holdings, sizeof(struct nodes *));
	nodes->context =
		nodes->of_groups ? cdev_open_context(tenancy->broker, &tenancy->refusal) : -1;
	if (nodes->context >= 0) {
		*nodesp = nodes;
		return 0;
	}
	r = nodes->of_groups ? REFUSED : -ENOMEM;
	free(nodes->of_groups);
	free(nodes);
	return r;
}

int cdev_note(struct tenancy *tenancy)
{
	int r = 0;

	for (size_t i = 0; r == 0 && tenancy->lease->cdev && i < tenancy->n_holdings; i++)
		r = holding_note_nodes(tenancy->holdings[i]);
	if (r == 0)
		return 0;
	refuse(&tenancy->refusal, REFUSAL_SYSTEM, "writing the journal");
	tenancy->refusal.errnum = -r;
	return REFUSED;
}

void cdev_end(const struct tenancy *tenancy, struct lease_nodes *nodes)
{
	if (!nodes)
		return;
	for (size_t i = 0; i < tenancy->n_holdings; i++)
		nodes_free(nodes->of_groups[i]);
	if (nodes->context >= 0)
		close(nodes->context);
	free(nodes->of_groups);
	free(nodes);
}
