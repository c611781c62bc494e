/*
 * Preloaded by `vfioctl run --shim=preload`: open(2) and its sisters, as the program's libraries
 * call them. The kernel is asked first, always. Only if it refuses a device for want of permission,
 * the supervisor is asked whether the lease has it; so no other call, and no open that succeeds,
 * does anything more than without us, whatever name the device goes by.
 *
 * Nothing is kept between calls, neither descriptors nor memory nor locks: it may fork, exec, have
 * threads, close what it likes, and open in a signal's handler. Libc only.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "client/shim/wire.h"

/* By another name than libc's, whose header has its own idea of them (_FORTIFY_SOURCE). */
#define INTERPOSES(name) __asm__(name) __attribute__((visibility("default")))

int shim_open(const char *path, int flags, ...) INTERPOSES("open");
int shim_open64(const char *path, int flags, ...) INTERPOSES("open64");
int shim_openat(int dirfd, const char *path, int flags, ...) INTERPOSES("openat");
int shim_openat64(int dirfd, const char *path, int flags, ...) INTERPOSES("openat64");
int shim_open_2(const char *path, int flags) INTERPOSES("__open_2");
int shim_open64_2(const char *path, int flags) INTERPOSES("__open64_2");
int shim_openat_2(int dirfd, const char *path, int flags) INTERPOSES("__openat_2");
int shim_openat64_2(int dirfd, const char *path, int flags) INTERPOSES("__openat64_2");

static struct sockaddr_un supervisor; /* sun_path is empty: there is none */

__attribute__((constructor)) static void begin(void)
{
	const char *path = secure_getenv(SHIM_ENVIRONMENT);

	if (!path || strlen(path) >= sizeof supervisor.sun_path)
		return;
	supervisor.sun_family = AF_UNIX;
	memcpy(supervisor.sun_path, path, strlen(path) + 1);
}

/* --- the supervisor is asked --------------------------------------------------------------- */

static int socket_connect(void)
{
	int r, socket_fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	if (socket_fd < 0)
		return -1;
	do
		r = connect(socket_fd, (const struct sockaddr *)&supervisor, sizeof supervisor);
	while (r < 0 && errno == EINTR);
	if (r == 0)
		return socket_fd;
	close(socket_fd);
	return -1;
}

/* The reply, and a descriptor or -1, close-on-exec. False: there is none. */
static bool reply_receive(int socket_fd, struct shim_reply *reply, int *fd)
{
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof(int))];
	} rights;
	struct iovec vector = { reply, sizeof *reply };
	struct msghdr message = { .msg_iov = &vector,
		.msg_iovlen = 1,
		.msg_control = rights.space,
		.msg_controllen = sizeof rights.space };
	const struct cmsghdr *header;
	ssize_t n;

	*fd = -1;
	do
		n = recvmsg(socket_fd, &message, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n != sizeof *reply)
		return false;
	header = CMSG_FIRSTHDR(&message);
	if (header && header->cmsg_type == SCM_RIGHTS)
		memcpy(fd, CMSG_DATA(header), sizeof *fd);
	/* There was one, and no room for it. */
	if (reply->error == 0 && *fd < 0)
		reply->error = EMFILE;
	return true;
}

/* The lowest number that is free, as open(2) has it: our socket's came first. */
static int descriptor_settle(int fd, int flags)
{
	int lowest = fcntl(fd, flags & O_CLOEXEC ? F_DUPFD_CLOEXEC : F_DUPFD, 0);

	close(fd);
	return lowest;
}

/* A descriptor; -1 with errno; -2: what the kernel said holds. */
static int supervisor_ask(dev_t device, int flags)
{
	struct shim_request request = { .device = device, .flags = (uint32_t)flags };
	struct shim_reply reply = { .error = SHIM_AS_IT_IS };
	int fd = -1, socket_fd = socket_connect();
	ssize_t n;

	if (socket_fd < 0)
		return errno == EMFILE || errno == ENFILE ? -1 : -2;
	do
		n = send(socket_fd, &request, sizeof request, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	if (n == sizeof request && !reply_receive(socket_fd, &reply, &fd))
		reply.error = SHIM_AS_IT_IS;
	close(socket_fd);
	if (reply.error == 0)
		return descriptor_settle(fd, flags);
	errno = reply.error;
	return reply.error == SHIM_AS_IT_IS ? -2 : -1;
}

/* --- open(2) ------------------------------------------------------------------------------- */

/* After the kernel's own answer. */
static int answer(int fd, int dirfd, const char *path, int flags)
{
	int error = errno, is_cancelable, r = -2;
	struct stat status;

	if (fd >= 0 || (error != EACCES && error != EPERM) || !supervisor.sun_path[0])
		return fd;
	/* Or what we hold for a moment would be left behind. */
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &is_cancelable);
	if (fstatat(dirfd, path, &status, 0) == 0 && S_ISCHR(status.st_mode))
		r = supervisor_ask(status.st_rdev, flags);
	if (r == -2)
		errno = error;
	pthread_setcancelstate(is_cancelable, NULL);
	return r < 0 ? -1 : r;
}

static mode_t mode_of(int flags, va_list arguments)
{
	return flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE ? va_arg(arguments, mode_t) : 0;
}

/* Whose we stand before: looked up once, by whoever comes first, or by several. */
static void *next_of(const char *name, void **place)
{
	void *next = __atomic_load_n(place, __ATOMIC_RELAXED);

	if (!next) {
		next = dlsym(RTLD_NEXT, name);
		__atomic_store_n(place, next, __ATOMIC_RELAXED);
	}
	return next;
}

#define OPEN(function, name)                                                                       \
	int function(const char *path, int flags, ...)                                             \
	{                                                                                          \
		static void *place;                                                                \
		int (*next)(const char *, int, ...) = next_of(name, &place);                       \
		va_list arguments;                                                                 \
                                                                                                   \
		va_start(arguments, flags);                                                        \
		mode_t mode = mode_of(flags, arguments);                                           \
		va_end(arguments);                                                                 \
		return answer(next(path, flags, mode), AT_FDCWD, path, flags);                     \
	}

#define OPENAT(function, name)                                                                     \
	int function(int dirfd, const char *path, int flags, ...)                                  \
	{                                                                                          \
		static void *place;                                                                \
		int (*next)(int, const char *, int, ...) = next_of(name, &place);                  \
		va_list arguments;                                                                 \
                                                                                                   \
		va_start(arguments, flags);                                                        \
		mode_t mode = mode_of(flags, arguments);                                           \
		va_end(arguments);                                                                 \
		return answer(next(dirfd, path, flags, mode), dirfd, path, flags);                 \
	}

/* What they are called by when the program was built with _FORTIFY_SOURCE. */
#define OPEN_2(function, name)                                                                     \
	int function(const char *path, int flags)                                                  \
	{                                                                                          \
		static void *place;                                                                \
		int (*next)(const char *, int) = next_of(name, &place);                            \
                                                                                                   \
		return answer(next(path, flags), AT_FDCWD, path, flags);                           \
	}

#define OPENAT_2(function, name)                                                                   \
	int function(int dirfd, const char *path, int flags)                                       \
	{                                                                                          \
		static void *place;                                                                \
		int (*next)(int, const char *, int) = next_of(name, &place);                       \
                                                                                                   \
		return answer(next(dirfd, path, flags), dirfd, path, flags);                       \
	}

OPEN(shim_open, "open")
OPEN(shim_open64, "open64")
OPENAT(shim_openat, "openat")
OPENAT(shim_openat64, "openat64")
OPEN_2(shim_open_2, "__open_2")
OPEN_2(shim_open64_2, "__open64_2")
OPENAT_2(shim_openat_2, "__openat_2")
OPENAT_2(shim_openat64_2, "__openat64_2")
