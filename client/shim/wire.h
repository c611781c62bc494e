/*
 * What a preloaded library and the supervisor of `vfioctl run --shim=preload` say to each other: a
 * connection (SOCK_SEQPACKET) for each open, a request, a reply, with the descriptor if there is
 * one.
 */
#pragma once

#include <stdint.h>

/* In the environment: the supervisor's socket. */
#define SHIM_ENVIRONMENT "VFIOD_SHIM"

struct shim_request {
	uint64_t device; /* st_rdev of what was to be opened */
	uint64_t flags;  /* O_… */
};

#define SHIM_AS_IT_IS (-1)
struct shim_reply {
	int32_t error; /* 0: the descriptor is here; SHIM_AS_IT_IS: what the kernel said holds */
};
