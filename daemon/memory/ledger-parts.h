/* What ledger.c and charge.c share. Nobody else includes this. */
#pragma once

#include "daemon/memory/ledger.h"

struct ledger {
	uint64_t n_frames;
	uint64_t host_limit;
	struct account *host;
	struct account_list accounts;
	bool is_over;    /* a charge was dropped: accounts need not be at zero */
	size_t n_spaces; /* accounts of spaces, which are not listed */
};
