/* Sizes for people, in libvfiod's sentences and vfioctl's tables. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define SIZE_TEXT 16 /* room for any of them */

/* "0 B", "4.0 KiB", "23.5 GiB": the largest unit of which it is one at least. */
void size_describe(uint64_t bytes, char *buffer, size_t size);
/* As in vfiod.conf(5): "512M", with a suffix K, M, G, T (powers of 1024) or none. 0, -EINVAL,
 * -ERANGE. */
int size_parse(const char *text, uint64_t *bytes);
