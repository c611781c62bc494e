/* A call of org.vfiod.Space on its way, for the files of its methods. */
#pragma once

#include "daemon/broker/spaces.h"
#include "daemon/service/parts.h"

/* The space that it names. NULL: it has been answered. */
struct space_entry *call_space(struct call *call);
/*
 * What came of asking the space (or the broker) for something. 0: the answer comes later, with the
 * call as its userdata; else the call has been answered.
 */
void call_asked(
	struct call *call, struct space_entry *entry, int result, const struct refusal *refusal);
/* True: the call has been answered with what is wrong. */
bool call_failed(struct call *call, int result, const struct refusal *refusal);
/* An integer of its parameters that is not negative: false: the call has been answered. */
bool call_unsigned(struct call *call, const char *key, uint64_t *value);
bool call_iova(struct call *call, uint64_t *iova);
