/*
 * Which VFIO driver is made for a PCI device: a variant of vfio-pci says so in its module's
 * aliases, which begin with "vfio_pci:" instead of "pci:" (drivers/vfio/pci, MODULE_DEVICE_TABLE
 * with PCI_DRIVER_OVERRIDE_DEVICE_VFIO;
 * Documentation/driver-api/vfio-pci-device-specific-driver-acceptance.rst).
 */
#include "daemon/bind/member.h"

#include "daemon/base/util.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>

static int read_modalias(const struct transaction *transaction, const struct plan_member *member,
	char *text, size_t size)
{
	const struct sysfs_ops *ops = transaction->ops;
	char path[PATH_MAX];

	int n = snprintf(path, sizeof(path), "%s/modalias", member->syspath);
	if (n < 0 || (size_t)n >= sizeof(path))
		return -ENAMETOOLONG;
	return ops->read(ops->userdata, path, text, size);
}

/* The driver is known by its module only once that is there. */
static int bring_variant(const struct transaction *transaction, struct plan_member *member)
{
	const struct sysfs_ops *ops = transaction->ops;

	int r = ops->load_module(ops->userdata, member->module);
	if (r < 0)
		return r;
	return ops->module_driver(
		ops->userdata, member->module, member->bus, member->target, sizeof(member->target));
}

int member_choose_variant(
	const struct transaction *transaction, size_t index, struct member_fault *fault)
{
	struct plan_member *member = &transaction->plan->members[index];
	const struct sysfs_ops *ops = transaction->ops;
	char modalias[256], module[DRIVER_NAME_SIZE];

	if (!member->may_vary)
		return 0;
	transaction_step(transaction, STEP_MODULE, (int)index);
	int r = read_modalias(transaction, member, modalias, sizeof(modalias));
	if (r >= 0)
		r = ops->find_variant(ops->userdata, modalias, module, sizeof(module));
	if (r > 0) {
		member->is_variant = true;
		r = string_copy(member->module, sizeof(member->module), module);
		if (r == 0)
			r = bring_variant(transaction, member);
	}
	if (r >= 0)
		return 0;
	*fault = (struct member_fault){ .step = STEP_MODULE, .errnum = -r };
	return -1;
}
