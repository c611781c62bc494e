/*
 * How often something has happened, by its name: names are static strings of the code's own, never
 * a client's, so there are few of them. What does not fit counts for the last, "other".
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define TALLY_MAX 96

/* All zero: empty. */
struct tally {
	struct {
		const char *name;
		uint64_t count;
	} entries[TALLY_MAX];
	size_t n;
};

static inline void tally_add(struct tally *tally, const char *name)
{
	size_t i = 0;
	while (i < tally->n && tally->entries[i].name != name)
		i++;
	/* The same name may be written down in several places of the code. */
	if (i == tally->n)
		for (i = 0; i < tally->n && strcmp(tally->entries[i].name, name) != 0;)
			i++;
	if (i == TALLY_MAX)
		i--;
	else if (i == tally->n)
		tally->entries[tally->n++].name = i + 1 < TALLY_MAX ? name : "other";
	tally->entries[i].count++;
}
