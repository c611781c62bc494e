/*
 * Taking members back to where the host had them: the rollback of a take, and the return.
 * Nobody outside of this room includes this.
 */
#pragma once

#include "daemon/bind/member.h"

struct undo {
	size_t n_faults;
	size_t first; /* the member whose fault came first, and the fault */
	struct member_fault fault;
	char text[REFUSAL_TEXT_SIZE]; /* "0000:01:00.0 is on vfio-pci, was on e1000 (…), …" */
};

/* Restores the first `n` members in reverse, going on over faults. */
void undo_run(const struct transaction *transaction, size_t n, struct undo *undo);
/* Appends to the refusal's text, cut if it does not fit. */
void refusal_append(struct refusal *refusal, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
