/*
 * Asks for what bounds the process that is to have a lease, in a child, and says what is missing
 * and what to do where nothing does: bound.h tells what counts.
 */
#pragma once

#include "daemon/broker/broker.h"

struct bounding;
/*
 * 0: its memory.max. REFUSED: NO_MEMORY_BOUND, also where it cannot be known. On the loop, once;
 * the bounding may be freed from within.
 */
typedef void (*bounded_fn)(
	int result, uint64_t max_bytes, const struct refusal *refusal, void *userdata);
/* The subject's process, at this moment. 0 or -errno. */
int bounding_new(struct broker *broker, const struct subject *subject, bounded_fn bounded,
	void *userdata, struct bounding **bounding);
struct bounding *bounding_free(struct bounding *bounding); /* NULL-safe */
