/* A device of the space is reset, alone or with its bus. */
#include "daemon/base/util.h"
#include "daemon/memory/space-parts.h"

#include <errno.h>

/* drivers/pci/pci.c, PCIE_RESET_READY_POLL_MS: for a device that does not come back. */
static const double RESET_SECONDS = 60;

/* The keeper has named the groups that are missing. False: it has not. */
static bool note_wanted(struct refusal *refusal, const struct wire_done *done)
{
	for (uint32_t i = 0; i < done->n_groups && i < WIRE_GROUPS_MAX; i++)
		refusal->groups[refusal->n_groups++] = (int)done->groups[i];
	return refusal->n_groups > 0;
}

static void reset_answered(struct operation *operation, const struct wire_done *done,
	const struct wire_info *info, int fd)
{
	(void)info;
	(void)fd;
	struct refusal *refusal = &operation->refusal;
	int r = done->result == 0 ? 0 : REFUSED;

	switch (done->result) {
	case 0:
		break;
	case WIRE_GROUPS_WANTED:
		refuse(refusal, REFUSAL_RESET_REACHES, "not all groups are attached");
		if (!note_wanted(refusal, done)) {
			space_distrust(operation->space, "it wants no group");
			return;
		}
		break;
	case -EOPNOTSUPP:
		refuse(refusal, REFUSAL_NOT_SUPPORTED, "such a reset of %s: %s", operation->device,
			done->text);
		break;
	case -ENODEV:
		refuse(refusal, REFUSAL_NO_SUCH_DEVICE, "group %d has no such device on VFIO",
			operation->group_number);
		break;
	default:
		r = operation_refuse(operation, done, "resetting the device");
	}
	if (r == REFUSED)
		string_copy(refusal->device, sizeof(refusal->device), operation->device);
	operation_finish(operation, r);
}

static void reset_start(struct operation *operation)
{
	struct space *space = operation->space;
	const struct group *group = space_group(space, operation->group_number);
	struct wire_request request = {
		.header.type = WIRE_RESET,
		.group = (uint32_t)operation->group_number,
		.flags = operation->resets_bus ? WIRE_BUS : 0,
	};

	if (!group || group->is_let_go) {
		refuse(&operation->refusal, REFUSAL_NOT_ATTACHED, "not attached");
		operation->refusal.group = operation->group_number;
		operation_finish(operation, REFUSED);
		return;
	}
	string_copy(request.name, sizeof(request.name), operation->device);
	operation->answered = reset_answered;
	keeper_ask(space->keeper, &request, NULL, 0, space_seconds(space, 0) + RESET_SECONDS);
}

int space_reset_device(struct space *space, int group, const char *device, bool bus,
	space_done done, void *userdata, struct refusal *refusal)
{
	int r;
	struct operation *operation =
		operation_new(space, reset_start, -1, done, userdata, refusal, &r);
	if (!operation)
		return r;
	operation->group_number = group;
	operation->resets_bus = bus;
	if (string_copy(operation->device, sizeof(operation->device), device) < 0) {
		operation_drop(operation);
		refuse(refusal, REFUSAL_NO_SUCH_DEVICE, "no device has so long a name");
		return REFUSED;
	}
	operation_queue(operation);
	return 0;
}
