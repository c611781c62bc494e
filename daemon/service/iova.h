/* I/O virtual addresses as Varlink has them. */
#pragma once

#include <stdint.h>

/* "0x" and one to sixteen hexadecimal digits, and nothing else: 0 or -EINVAL. */
int iova_parse(const char *text, uint64_t *iova);
