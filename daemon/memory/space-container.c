/* Containers and the groups in them, as the daemon remembers them. */
#include "daemon/base/util.h"
#include "daemon/memory/space-parts.h"

#include <assert.h>
#include <errno.h>

struct container *container_free(struct container *container)
{
	if (!container)
		return NULL;
	iova_list_clear(&container->ranges);
	free(container);
	return NULL;
}

int container_learn(struct space *space, struct container *container, const struct wire_info *info)
{
	static const struct iova_range everything = { 0, UINT64_MAX };
	struct iova_range ranges[WIRE_RANGES_MAX];
	int r;

	for (size_t i = 0; i < info->n_ranges; i++)
		ranges[i] = (struct iova_range){ info->ranges[i].first, info->ranges[i].last };
	if (info->has_any_iova)
		r = iova_list_set(&container->ranges, &everything, 1);
	else
		r = iova_list_set(&container->ranges, ranges, info->n_ranges);
	if (r < 0)
		return r;
	container->has_mdevs_alone = info->has_any_iova;
	container->page_sizes = info->page_sizes;
	container->is_coherent = info->is_coherent;
	/* The kernel counts down from there with each mapping. */
	container->mappings_max = info->mappings_left == UINT32_MAX
					  ? UINT64_MAX
					  : info->mappings_left + (uint64_t)space->mappings.n;
	return space_intersect(space);
}

int space_intersect(struct space *space)
{
	struct iova_list ranges = { 0 };
	uint64_t page_sizes = UINT64_MAX;
	const struct container *container;
	int r = 0;

	TAILQ_FOREACH (container, &space->containers, of_space) {
		page_sizes &= container->page_sizes;
		r = !ranges.ranges
			    ? iova_list_set(&ranges, container->ranges.ranges, container->ranges.n)
			    : iova_list_intersect(&ranges, &container->ranges);
		if (r < 0) {
			iova_list_clear(&ranges);
			return r;
		}
	}
	iova_list_clear(&space->ranges);
	space->ranges = ranges;
	space->page_sizes = space->n_containers > 0 ? page_sizes : 0;
	return 0;
}

void space_add_container(struct space *space, struct container *container)
{
	TAILQ_INSERT_TAIL(&space->containers, container, of_space);
	space->slot->n_containers = ++space->n_containers;
}

void space_add_group(struct space *space, struct group *group, struct container *container)
{
	TAILQ_INSERT_TAIL(&space->groups, group, of_space);
	space->n_groups++;
	group->container = container;
	if (container)
		container->n_groups++;
}

bool space_remove_group(struct space *space, struct group *group)
{
	struct container *container = group->container;

	TAILQ_REMOVE(&space->groups, group, of_space);
	space->n_groups--;
	space_group_free(group);
	if (!container || --container->n_groups > 0)
		return false;
	TAILQ_REMOVE(&space->containers, container, of_space);
	space->slot->n_containers = --space->n_containers;
	container_free(container);
	for (size_t i = 0; i < space->mappings.n; i++)
		mapping_unbill(space->mappings.list[i], space_times_more(space));
	return true;
}

void space_let_payer_go(struct space *space)
{
	assert(space->n_groups == 0);
	space->payer = account_release(space->payer);
}
