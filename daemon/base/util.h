/* What every room uses and no library gives: cleanup attributes, string lists, small files. */
#pragma once

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The one way of cleaning up in this tree: attributes for locals, noun_free() for objects. */
static inline void cleanup_free(void *pointer)
{
	free(*(void **)pointer);
}
static inline void cleanup_close(const int *fd)
{
	if (*fd >= 0)
		close(*fd);
}
static inline void cleanup_fclose(FILE **file)
{
	if (*file)
		fclose(*file);
}
#define _cleanup_free_ __attribute__((cleanup(cleanup_free)))
#define _cleanup_close_ __attribute__((cleanup(cleanup_close)))
#define _cleanup_fclose_ __attribute__((cleanup(cleanup_fclose)))

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))

/*
 * calloc(3) of one, for what comes and goes with each call: glibc's own does not use what free(3)
 * has put aside for the thread, as malloc(3) does (malloc/malloc.c, __libc_calloc; 2.41 does).
 */
static inline void *new_zeroed(size_t size)
{
	void *made = malloc(size);
	return made ? memset(made, 0, size) : NULL;
}

/* Hands an fd or pointer over to the caller, leaving nothing to clean up behind. */
static inline int steal_fd(int *fd)
{
	int stolen = *fd;
	*fd = -1;
	return stolen;
}
static inline void *steal_pointer_(void *pointer)
{
	void *stolen = *(void **)pointer;
	*(void **)pointer = NULL;
	return stolen;
}
#define steal_pointer(pointer) ((__typeof__(*(pointer)))steal_pointer_(pointer))

/*
 * NULL-terminated string lists, owned whole. strv_add copies `string`: 0 or -ENOMEM,
 * and then the list is as before. NULL is the empty list.
 */
char **strv_free(char **list);
int strv_add(char ***list, const char *string);
size_t strv_length(char *const *list);
int strv_contains(char *const *list, const char *string);

/* Copies at most size - 1 bytes and terminates: 0, or -ENAMETOOLONG with `to` empty. */
int string_copy(char *to, size_t size, const char *from);

/*
 * Reads a small text file, terminated, one trailing newline removed: its length or -errno.
 * -EFBIG if it does not fit.
 */
ssize_t file_read(const char *path, char *buffer, size_t size);

/* Writes `data` so that `path` is either the old file or the whole new one (tmp, fsync, rename). */
int file_write_atomic(const char *path, const void *data, size_t size);
/* The same, whoever is killed; but not for the next boot (no fsync). */
int file_replace(const char *path, const void *data, size_t size);
/* The same for everybody to read (0644). */
int file_publish(const char *path, const void *data, size_t size);

/* A process's start time in clock ticks since boot (proc(5), field 22): 0 or -errno. */
int process_start_time(pid_t pid, unsigned long long *ticks);

/*
 * What poll(2) says of one descriptor now, besides POLLERR and the like: its events, 0 for none.
 * A signal that arrives just then (a child has ended) is no event: poll(2) says EINTR for it, also
 * where it is not to wait.
 */
short poll_now(int fd, short events);
