/*
 * What the kernel does when a device appears (drivers/iommu/iommu.c, pci_device_group), without
 * looking for groups that exist: two devices share one if the same device stands for both.
 */
#include "daemon/inventory/topology.h"

#include "daemon/base/util.h"

#include <stdio.h>
#include <string.h>

struct topology *topology_new(int group, size_t n_members)
{
	struct topology *topology = calloc(1, sizeof(*topology));
	if (!topology)
		return NULL;
	topology->members = calloc(n_members ? n_members : 1, sizeof(*topology->members));
	if (!topology->members) {
		free(topology);
		return NULL;
	}
	topology->group = group;
	topology->n_members = n_members;
	return topology;
}

struct topology *topology_free(struct topology *topology)
{
	if (!topology)
		return NULL;
	for (size_t i = 0; i < topology->n_members; i++) {
		free(topology->members[i].path);
		free(topology->members[i].siblings);
	}
	free(topology->members);
	free(topology);
	return NULL;
}

/* Does DMA from behind it carry its own requester id? (drivers/pci/search.c) */
static bool aliases(const struct pci_function *bridge)
{
	return bridge->kind == PCI_TO_PCI_BRIDGE || bridge->kind == PCI_TO_PCIE_BRIDGE ||
	       bridge->kind == PCI_CONVENTIONAL_BRIDGE;
}

static bool is_seen(const struct pci_function *function)
{
	return function->kind != PCI_UNKNOWN && function->acs != ACS_UNSEEN;
}

/* "0000:00:1f.*" of a function's name. */
static void slot_name(const char *function, char *slot, size_t size)
{
	const char *dot = strrchr(function, '.');
	snprintf(slot, size, "%.*s.*", dot ? (int)(dot - function) : (int)strlen(function),
		function);
}

void topology_resolve(struct topology_member *member)
{
	member->is_resolved = false;
	member->shares_slot = false;
	member->key[0] = '\0';
	if (*member->real_dma) {
		snprintf(member->key, sizeof(member->key), "%s", member->real_dma);
		member->is_resolved = true;
		return;
	}
	if (member->n_path == 0)
		return;
	for (size_t i = 0; i < member->n_path; i++)
		if (!is_seen(&member->path[i]))
			return;

	member->alias = member->n_path - 1;
	for (size_t i = member->n_path - 1; i-- > 0;)
		if (aliases(&member->path[i]))
			member->alias = i;
	/* The topmost that does not isolate: what is below it can get around all ACS there. */
	member->top = member->alias;
	for (size_t i = member->alias; i-- > 0;)
		if (!pci_function_isolates(&member->path[i]))
			member->top = i;
	const struct pci_function *top = &member->path[member->top];
	member->shares_slot = top->is_multifunction && !pci_function_isolates(top);
	if (member->shares_slot)
		slot_name(top->name, member->key, sizeof(member->key));
	else
		snprintf(member->key, sizeof(member->key), "%s", top->name);
	member->is_resolved = true;
}

static bool is_member(const struct topology *topology, const char *name)
{
	for (size_t i = 0; i < topology->n_members; i++)
		if (strcmp(topology->members[i].name, name) == 0)
			return true;
	return false;
}

/* A function that by the rules belongs here is in another group. */
static bool lacks_function(const struct topology *topology, const struct topology_member *member)
{
	if (member->n_path > 0 && !*member->real_dma &&
		!is_member(topology, member->path[member->top].name))
		return true;
	for (size_t i = 0; member->shares_slot && i < member->n_siblings; i++) {
		const struct pci_function *sibling = &member->siblings[i];
		if (is_seen(sibling) && !pci_function_isolates(sibling) &&
			!is_member(topology, sibling->name))
			return true;
	}
	return false;
}

bool topology_explains(const struct topology *topology)
{
	if (topology->is_noiommu)
		return true;
	/* The group of a device on another bus is made for it alone, unless firmware says more. */
	if (topology->n_members == 1 && !topology->members[0].is_pci)
		return true;
	for (size_t i = 0; i < topology->n_members; i++) {
		const struct topology_member *member = &topology->members[i];
		if (!member->is_pci || !member->is_resolved || lacks_function(topology, member) ||
			strcmp(member->key, topology->members[0].key) != 0)
			return false;
	}
	return topology->n_members > 0;
}
