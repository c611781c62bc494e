/* How much memory this host has, and can have. */
#pragma once

#include <stdint.h>

uint64_t host_memory_bytes(void);
/*
 * Frames are numbered below this, those of memory that is plugged in later included: by the
 * physical address bits of the CPU, which the text of /proc/cpuinfo has on x86; elsewhere, by the
 * most that any has.
 */
uint64_t host_n_frames(void);
/* 0: the text does not say. */
unsigned cpuinfo_address_bits(const char *text);
