/* A directory of a test's own, with all that is in it: remove_tree() is 0, or not, and then errno.
 */
#pragma once

#include <ftw.h>
#include <stdio.h>
#include <sys/stat.h>

static inline int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static inline int remove_tree(const char *directory)
{
	return nftw(directory, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}
