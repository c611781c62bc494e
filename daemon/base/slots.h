/*
 * Small records in memory that outlives this process: a memfd in the store (store.h), mapped and
 * shared. What is written is there for the next vfiod even if the very next instruction is the last
 * one: no system call, no copy. For what changes too often to be a file: how far a call is, which
 * operation a space has begun.
 *
 * A slot is SLOT_BYTES, all zero when it is free. Its writer orders its own stores
 * (slot_publish()), the next vfiod finds any prefix of them.
 */
#pragma once

#include "daemon/base/store.h"

#include <stdint.h>

#define SLOT_BYTES 128

struct slots;

/*
 * The memfd `name` of the store, or a new one that is put there. Without a store it is memory as
 * any other. n: the most slots there can be (there are more if there were); memory is only used for
 * those that are written. 0 or -errno, and *slots is NULL then; but with -EBADMSG there are slots:
 * what was there is of another format, and was replaced, nothing of it is taken.
 */
int slots_open(
	struct store *store, const char *name, uint32_t format, size_t n, struct slots **slots);
struct slots *slots_free(struct slots *slots); /* unmaps; the store keeps it. NULL-safe */
size_t slots_count(const struct slots *slots);
/* None from this one on was in use when they were opened: who looks at all of them then stops
 * there, as looking takes memory, too. */
size_t slots_used(const struct slots *slots);
/* index < slots_count(). */
void *slots_at(struct slots *slots, size_t index);
/* One that is free, the lowest: its index, or -1. It is taken when something is written. */
int slots_free_one(struct slots *slots);
/* All zero, from its beginning on: what comes first in it says what the rest is. */
void slots_clear(struct slots *slots, size_t index);

/*
 * Of an operation that is over, and has a caller to be told: its word is to be zero as soon as the
 * caller's own slot says that the answer is being sent. Not before: a call that was done would be
 * answered Interrupted. Not after: what a caller was told to be done would be undone. One at a
 * time; NULL: he was told, or there was nobody.
 */
void slot_settles(uint32_t *word);
/* Now: an answer is being sent. */
void slot_settle(void);

/* All stores before it are made before all after it, in memory. */
static inline void slot_publish(void)
{
	__atomic_thread_fence(__ATOMIC_RELEASE);
}
