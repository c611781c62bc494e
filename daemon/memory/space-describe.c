#include "daemon/memory/space-parts.h"

static size_t list_groups(const struct space *space, const struct container *container, int *groups)
{
	const struct group *group;
	size_t n = 0;

	TAILQ_FOREACH (group, &space->groups, of_space)
		if (group->container == container)
			groups[n++] = group->number;
	return n;
}

void space_describe(const struct space *space, struct space_description *description)
{
	const struct container *container;
	int *groups = space->described_groups;
	uint64_t left = UINT64_MAX;

	*description = (struct space_description){
		.page_sizes = space->page_sizes,
		.ranges = space->ranges.ranges,
		.n_ranges = space->ranges.n,
		.is_coherent = space->n_containers > 0,
		.containers = space->described,
		.n_memories = space->n_memories,
		.n_mappings = (unsigned)space->mappings.n,
		.mapped_bytes = space->mappings.bytes,
	};
	TAILQ_FOREACH (container, &space->containers, of_space) {
		/* Its keeper died while it was taken over. */
		if (!space->described)
			break;
		struct space_container *described = &space->described[description->n_containers++];
		*described = (struct space_container){
			.number = container->number,
			.groups = groups,
			.n_groups = list_groups(space, container, groups),
		};
		groups += described->n_groups;
		description->n_of_mdevs += container->has_mdevs_alone;
		description->is_coherent = description->is_coherent && container->is_coherent;
		if (container->mappings_max < left)
			left = container->mappings_max;
	}
	if (left != UINT64_MAX)
		left = left > space->mappings.n ? left - space->mappings.n : 0;
	description->mappings_left = left < UINT32_MAX ? (uint32_t)left : UINT32_MAX;
}
