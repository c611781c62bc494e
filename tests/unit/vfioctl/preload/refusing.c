/*
 * Stands for a kernel that lets an ordinary user open neither /dev/null nor /dev/zero: preloaded
 * after the library that is tested, for programs that may be root's.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define EXPORTS(name) __asm__(name) __attribute__((visibility("default")))

int refusing_open(const char *path, int flags, ...) EXPORTS("open");
int refusing_open64(const char *path, int flags, ...) EXPORTS("open64");
int refusing_openat(int dirfd, const char *path, int flags, ...) EXPORTS("openat");
int refusing_openat64(int dirfd, const char *path, int flags, ...) EXPORTS("openat64");
int refusing_open_2(const char *path, int flags) EXPORTS("__open_2");
int refusing_open64_2(const char *path, int flags) EXPORTS("__open64_2");
int refusing_openat_2(int dirfd, const char *path, int flags) EXPORTS("__openat_2");
int refusing_openat64_2(int dirfd, const char *path, int flags) EXPORTS("__openat64_2");

static int open_or_refuse(int dirfd, const char *path, int flags, mode_t mode)
{
	int fd = (int)syscall(SYS_openat, dirfd, path, flags, mode);
	struct stat status;

	if (fd < 0 || (flags & O_PATH) || fstat(fd, &status) < 0 || !S_ISCHR(status.st_mode) ||
		(status.st_rdev != makedev(1, 3) && status.st_rdev != makedev(1, 5)))
		return fd;
	close(fd);
	errno = EACCES;
	return -1;
}

#define MODE(flags, mode)                                                                          \
	va_list arguments;                                                                         \
                                                                                                   \
	va_start(arguments, flags);                                                                \
	mode_t mode = (flags) & (O_CREAT | O_TMPFILE) ? va_arg(arguments, mode_t) : 0;             \
	va_end(arguments)

int refusing_open(const char *path, int flags, ...)
{
	MODE(flags, mode);
	return open_or_refuse(AT_FDCWD, path, flags, mode);
}

int refusing_open64(const char *path, int flags, ...)
{
	MODE(flags, mode);
	return open_or_refuse(AT_FDCWD, path, flags, mode);
}

int refusing_openat(int dirfd, const char *path, int flags, ...)
{
	MODE(flags, mode);
	return open_or_refuse(dirfd, path, flags, mode);
}

int refusing_openat64(int dirfd, const char *path, int flags, ...)
{
	MODE(flags, mode);
	return open_or_refuse(dirfd, path, flags, mode);
}

int refusing_open_2(const char *path, int flags)
{
	return open_or_refuse(AT_FDCWD, path, flags, 0);
}

int refusing_open64_2(const char *path, int flags)
{
	return open_or_refuse(AT_FDCWD, path, flags, 0);
}

int refusing_openat_2(int dirfd, const char *path, int flags)
{
	return open_or_refuse(dirfd, path, flags, 0);
}

int refusing_openat64_2(int dirfd, const char *path, int flags)
{
	return open_or_refuse(dirfd, path, flags, 0);
}
