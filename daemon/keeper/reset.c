/* A device is reset, alone or with its bus. */
#include "daemon/keeper/keeping.h"

#include "daemon/base/util.h"

#include <errno.h>
#include <string.h>

/* Which of these are not ours to give: named in the answer. */
static int want_groups(
	struct keeping *keeping, const uint32_t *numbers, int n, int *fds, struct wire_done *done)
{
	for (int i = 0; i < n; i++) {
		const struct group *group = keeping_group(keeping, numbers[i]);
		if (group && group->io.fd >= 0 && group->container) {
			fds[i] = group->io.fd;
			continue;
		}
		if (done->n_groups < WIRE_GROUPS_MAX)
			done->groups[done->n_groups] = numbers[i];
		done->n_groups++;
	}
	return done->n_groups > 0 ? WIRE_GROUPS_WANTED : 0;
}

static int reset_bus(struct keeping *keeping, int device, struct wire_done *done)
{
	const struct backend *backend = keeping->backend;
	uint32_t numbers[BUS_GROUPS_MAX];
	int fds[BUS_GROUPS_MAX];

	int n = backend->bus_groups(backend->userdata, device, numbers);
	if (n < 0)
		return n == -EOPNOTSUPP ? say(done, n, "its bus cannot be reset")
					: say(done, n, "what a reset of its bus reaches");
	int r = want_groups(keeping, numbers, n, fds, done);
	if (r != 0)
		return r;
	r = backend->reset_bus(backend->userdata, device, fds, (size_t)n);
	if (r == -EOPNOTSUPP)
		return say(done, r, "not every device on its bus is with VFIO");
	return r < 0 ? say(done, r, "resetting its bus") : 0;
}

int group_reset(struct keeping *keeping, uint32_t number, const char *name, bool bus,
	struct wire_done *done)
{
	const struct backend *backend = keeping->backend;
	/* Where nobody has it open, the kernel resets it for this alone, too. */
	int device = group_get_device(keeping, number, name);

	if (device < 0)
		return say(done, device, "opening the device");
	int r = bus ? reset_bus(keeping, device, done) : backend->reset(backend->userdata, device);
	close(device);
	if (r == -EOPNOTSUPP && !bus)
		return say(done, r, "it has no way of being reset by itself");
	return r < 0 && !bus ? say(done, r, "resetting it") : r;
}
