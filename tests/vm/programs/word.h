/* A word of an open VFIO device. What fails ends the program (program.h). */
#pragma once

#include <stdint.h>

/* Of its first BAR, 32 bits, as VFIO's user finds it; `value`, not NULL, is written first. */
uint32_t device_word(int device, uint64_t offset, const uint32_t *value);
