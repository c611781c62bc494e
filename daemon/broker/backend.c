#include "daemon/broker/backend.h"

#include "daemon/base/iommufd-kernel.h"
#include "daemon/base/util.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>

const char *backend_name(bool is_iommufd)
{
	return is_iommufd ? "iommufd" : "type1";
}

/*
 * What is missing for it, or NULL. A context costs nothing, and waits for nobody
 * (drivers/iommu/iommufd/main.c, iommufd_fops_open); a kernel that knows a request says EINVAL of
 * one that is too short for it, another ENOTTY.
 */
static const char *missing(void)
{
	uint32_t too_short = sizeof(too_short);
	_cleanup_close_ int fd = open("/dev/iommu", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return errno == ENOENT ? "this kernel has no /dev/iommu: CONFIG_IOMMUFD is off, or "
					 "the module "
					 "iommufd is not loaded"
				       : "/dev/iommu cannot be opened";
	if (ioctl(fd, IOMMU_HWPT_ALLOC, &too_short) < 0 && errno == ENOTTY)
		return "this kernel's iommufd has no IOMMU_HWPT_ALLOC (Linux 6.6)";
	return NULL;
}

int backend_choose(enum backend_choice wanted, bool *is_iommufd, struct refusal *refusal)
{
	*is_iommufd = wanted == BACKEND_IOMMUFD;
	const char *what = *is_iommufd ? missing() : NULL;
	if (what)
		return refuse(refusal, REFUSAL_NOT_SUPPORTED, "backend = iommufd: %s", what);
	return 0;
}
