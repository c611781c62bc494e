/* The functions are defined here, not called: no inline versions of them. */
#undef _FORTIFY_SOURCE
#include "tests/mock/faults.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <libudev.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define EXPORTED __attribute__((visibility("default")))

static struct {
	unsigned calls_left; /* 0: no fault ahead */
	bool struck;
	enum event_fault events;
	unsigned n_events;
	struct udev_device *endless;
} faults;

void faults_fail_call(unsigned k)
{
	faults.calls_left = k;
	faults.struck = false;
}

bool faults_struck(void)
{
	return faults.struck;
}

void faults_set_events(enum event_fault fault)
{
	faults.events = fault;
	faults.n_events = 0;
	faults.endless = udev_device_unref(faults.endless);
}

unsigned faults_n_events(void)
{
	return faults.n_events;
}

static bool strikes(const char *path)
{
	if (faults.calls_left == 0 || strncmp(path, "/sys/", 5) != 0 || --faults.calls_left > 0)
		return false;
	faults.struck = true;
	errno = EMFILE;
	return true;
}

/* The next definition: umockdev's, and behind it the C library's. */
#define NEXT(function) ((__typeof__(&(function)))dlsym(RTLD_NEXT, #function))

EXPORTED DIR *opendir(const char *path)
{
	return strikes(path) ? NULL : NEXT(opendir)(path);
}

EXPORTED FILE *fopen(const char *path, const char *mode)
{
	return strikes(path) ? NULL : NEXT(fopen)(path, mode);
}

EXPORTED int open(const char *path, int flags, ...)
{
	va_list arguments;
	va_start(arguments, flags);
	mode_t mode = flags & O_CREAT ? va_arg(arguments, mode_t) : 0;
	va_end(arguments);
	return strikes(path) ? -1 : NEXT(open)(path, flags, mode);
}

EXPORTED ssize_t readlink(const char *path, char *buffer, size_t size)
{
	return strikes(path) ? -1 : NEXT(readlink)(path, buffer, size);
}

EXPORTED char *realpath(const char *path, char *resolved)
{
	return strikes(path) ? NULL : NEXT(realpath)(path, resolved);
}

EXPORTED int lstat(const char *path, struct stat *st)
{
	return strikes(path) ? -1 : NEXT(lstat)(path, st);
}

EXPORTED struct udev_device *udev_monitor_receive_device(struct udev_monitor *monitor)
{
	struct udev_device *event;

	if (faults.endless) {
		faults.n_events++;
		return udev_device_ref(faults.endless);
	}
	if (faults.events == EVENTS_OVERRUN) {
		faults.events = EVENTS_ARRIVE;
		errno = ENOBUFS;
		return NULL;
	}
	event = NEXT(udev_monitor_receive_device)(monitor);
	if (event)
		faults.n_events++;
	if (faults.events == EVENTS_ENDLESS && event)
		faults.endless = udev_device_ref(event);
	if (faults.events == EVENTS_ARRIVE || faults.events == EVENTS_ENDLESS)
		return event;
	for (; event; event = NEXT(udev_monitor_receive_device)(monitor))
		udev_device_unref(event);
	errno = EAGAIN;
	return NULL;
}
