/* What the supervisor has to know of the lease: which device means what. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "client/vfioctl/shim.h"

/* Of what was opened: its node has the same number, by whatever name it goes. */
static int node_add(struct shim_lease *made, struct shim_node node, const char *name, int fd)
{
	struct stat status;
	int n = snprintf(node.name, sizeof node.name, "%s", name);

	if ((size_t)n >= sizeof node.name)
		return -ENAMETOOLONG;
	if (fstat(fd, &status) < 0)
		return -errno;
	node.device = status.st_rdev;
	made->nodes[made->n_nodes++] = node;
	return 0;
}

int shim_lease_make(const struct run_groups *groups, unsigned char which, const char *token,
	const int *fds, struct shim_lease *made)
{
	int r = 0;

	*made = (struct shim_lease){ .n_nodes = 0 };
	snprintf(made->token, sizeof made->token, "%s", token);
	for (size_t i = 0; which == HANDOVER_GROUPS && r == 0 && i < groups->n; i++)
		r = node_add(made,
			(struct shim_node){ .kind = SHIM_GROUP, .group = groups->groups[i].number },
			"", fds[i]);
	for (size_t i = 0; which == HANDOVER_DEVICES && r == 0 && i < groups->n_devices; i++)
		r = node_add(made, (struct shim_node){ .kind = SHIM_DEVICE },
			groups->devices[i].name, fds[i]);
	if (which == HANDOVER_DEVICES && r == 0)
		r = node_add(made, (struct shim_node){ .kind = SHIM_IOMMUFD }, "",
			fds[groups->n_devices]);
	return r;
}
