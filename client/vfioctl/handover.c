/* What CMD is handed: the names of its descriptors, and those of the lease in this order. */
#include <errno.h>
#include <stdlib.h>

#include "client/vfioctl/run.h"

/* A colon would end the name: "device-0000-01-00.0". */
static void device_name_print(FILE *stream, const char *name)
{
	fputs("device-", stream);
	for (; *name; name++)
		fputc(*name == ':' ? '-' : *name, stream);
}

int handovers_make(const struct run_groups *groups, struct handover handovers[N_HANDOVERS])
{
	struct handover *of_groups = &handovers[HANDOVER_GROUPS];
	struct handover *of_devices = &handovers[HANDOVER_DEVICES];
	FILE *stream;
	size_t size;

	of_groups->n_fds = groups->n;
	stream = open_memstream(&of_groups->names, &size);
	if (!stream)
		return run_out_of_memory();
	for (size_t i = 0; i < groups->n; i++)
		fprintf(stream, "%sgroup%d", i ? ":" : "", groups->groups[i].number);
	if (fclose(stream) != 0)
		return run_out_of_memory();

	of_devices->n_fds = groups->n_devices + 1;
	stream = open_memstream(&of_devices->names, &size);
	if (!stream)
		return run_out_of_memory();
	for (size_t i = 0; i < groups->n_devices; i++, fputc(':', stream))
		device_name_print(stream, groups->devices[i].name);
	fputs("iommufd", stream);
	return fclose(stream) == 0 ? 0 : run_out_of_memory();
}

/* The lease's groups in the order that CMD's arguments were made for; now ours. */
static size_t groups_sort(const struct run_groups *groups, struct vfiod_lease *lease, int *fds)
{
	size_t n = 0;

	for (size_t i = 0; i < groups->n; i++) {
		for (size_t j = 0; j < vfiod_lease_n_groups(lease) && fds[i] < 0; j++)
			if (vfiod_lease_group_number(lease, j) == groups->groups[i].number)
				fds[i] = vfiod_lease_steal_group_fd(lease, j);
		n += fds[i] >= 0;
	}
	return n;
}

/* Likewise its devices, with the iommufd at the end. */
static size_t devices_sort(const struct run_groups *groups, struct vfiod_lease *lease, int *fds)
{
	size_t n = 0;

	for (size_t i = 0; i < groups->n_devices; i++) {
		fds[i] = vfiod_lease_steal_device_fd(lease, groups->devices[i].name);
		n += fds[i] >= 0;
	}
	fds[groups->n_devices] = vfiod_lease_steal_iommufd(lease);
	return n + (fds[groups->n_devices] >= 0);
}

int handover_take(const struct run_groups *groups, const struct handover handovers[N_HANDOVERS],
	struct vfiod_lease *lease, int fds[RUN_MAX_FDS], unsigned char *which)
{
	size_t n;

	*which = vfiod_lease_iommufd(lease) >= 0 ? HANDOVER_DEVICES : HANDOVER_GROUPS;
	for (size_t i = 0; i < RUN_MAX_FDS; i++)
		fds[i] = -1;
	if (handovers[*which].n_fds > RUN_MAX_FDS)
		return -ESTALE;
	n = *which == HANDOVER_DEVICES ? devices_sort(groups, lease, fds)
				       : groups_sort(groups, lease, fds);
	return n == handovers[*which].n_fds ? 0 : -ESTALE;
}
