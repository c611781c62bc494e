/* Pages that a file of memory does not have yet. */
#pragma once

#include <stdint.h>

/* 0 to go on; anything else ends the walk, and is its result. Bytes, whole pages. */
typedef int (*holes_take)(void *userdata, uint64_t offset, uint64_t length);
/*
 * The holes of a tmpfs file in [offset, offset + length): 0 or -errno. Pages that are swapped out
 * are none; those that fallocate(2) has reserved, and nobody has used, are. (A hugetlb file says of
 * none, and needs not: its pages are reserved when it is mapped, and no cgroup's memory.)
 */
int holes_walk(int fd, uint64_t offset, uint64_t length, holes_take take, void *userdata);
/* A file's size in bytes, or -errno. fstat(2) would bring a path with it into the filter. */
int64_t file_size(int fd);
