/*
 * A set of groups, by their numbers: a bit each. The kernel numbers groups from 0, the lowest free
 * number first (drivers/iommu/iommu.c, iommu_group_ida), so a set is as large as the host.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* No host has so many; one of such a number is in no set. */
enum { GROUP_SET_MAX = 1 << 20 };

struct group_set {
	uint64_t *words;
	size_t n_words;
};

void group_set_clear(struct group_set *set);          /* frees it, too */
int group_set_add(struct group_set *set, int number); /* 0, -ENOMEM or -ERANGE */
void group_set_remove(struct group_set *set, int number);
bool group_set_has(const struct group_set *set, int number);
size_t group_set_count(const struct group_set *set);
bool group_set_is_empty(const struct group_set *set);
/* Have they a group in common? */
bool group_set_meets(const struct group_set *a, const struct group_set *b);
int group_set_join(struct group_set *set, const struct group_set *with); /* 0 or -ENOMEM */
/* The lowest number from this one on that is in `set`, and in `other` if that is given; -1: none.
 */
int group_set_next(const struct group_set *set, const struct group_set *other, int from);
