/* Can a library be preloaded into CMD? And where is it? */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <link.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "client/vfioctl/shim.h"

#define MAX_HEADERS 64

static bool header_read(int fd, ElfW(Ehdr) * header)
{
	return pread(fd, header, sizeof *header, 0) == sizeof *header &&
	       memcmp(header->e_ident, ELFMAG, SELFMAG) == 0;
}

/* Our own: of the same class and machine is what can have the library. */
static bool is_of_this_machine(const ElfW(Ehdr) * header)
{
	ElfW(Ehdr) own;
	int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	bool is_read = fd >= 0 && header_read(fd, &own);

	if (fd >= 0)
		close(fd);
	return !is_read || (header->e_machine == own.e_machine &&
				   header->e_ident[EI_CLASS] == own.e_ident[EI_CLASS]);
}

static bool has_interpreter(int fd, const ElfW(Ehdr) * header)
{
	ElfW(Phdr) headers[MAX_HEADERS];
	size_t n = header->e_phnum, size = n * sizeof *headers;

	/* What is stranger than that, is not for us to judge. */
	if (n > MAX_HEADERS || header->e_phentsize != sizeof *headers ||
		pread(fd, headers, size, (off_t)header->e_phoff) != (ssize_t)size)
		return true;
	for (size_t i = 0; i < n; i++)
		if (headers[i].p_type == PT_INTERP)
			return true;
	return false;
}

/* ld.so(8), secure-execution mode */
static bool gains_privileges(int fd)
{
	struct stat status;

	return fstat(fd, &status) == 0 &&
	       ((status.st_mode & S_ISUID) ||
		       (status.st_mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP) ||
		       fgetxattr(fd, "security.capability", NULL, 0) > 0);
}

/* Why no library can be preloaded into this file; or NULL. */
static const char *refusal_of(const char *file)
{
	int fd = open(file, O_RDONLY | O_CLOEXEC);
	const char *why = NULL;
	ElfW(Ehdr) header;

	/* A script's interpreter, and what may be run but not read, have to be taken on trust. */
	if (fd < 0)
		return NULL;
	if (gains_privileges(fd))
		why = "is run with privileges of its own";
	else if (header_read(fd, &header) && !is_of_this_machine(&header))
		why = "is for another kind of processor";
	else if (header_read(fd, &header) && !has_interpreter(fd, &header))
		why = "is linked statically";
	close(fd);
	return why;
}

static int library_find(char *path, size_t size)
{
	char own[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", own, sizeof own - 1);
	char *slash;

	own[n > 0 ? n : 0] = '\0';
	slash = strrchr(own, '/');
	/* Not installed, but as it was built: beside us. */
	if (slash && (size_t)snprintf(path, size, "%.*s/shim.so", (int)(slash - own), own) < size &&
		access(path, R_OK) == 0)
		return 0;
	snprintf(path, size, "%s/shim.so", VFIOD_PKGLIBDIR);
	return access(path, R_OK) == 0 ? 0 : -errno;
}

int shim_program_check(const char *name, const char *file, char *library, size_t size)
{
	const char *why = refusal_of(file);
	int r = library_find(library, size);

	if (why)
		fprintf(stderr,
			"vfioctl: cannot preload anything into %s: it %s; --shim=seccomp does "
			"without\n",
			name, why);
	else if (r < 0)
		fprintf(stderr, "vfioctl: cannot preload %s: %s; --shim=seccomp does without\n",
			library, strerrordesc_np(-r));
	/* ld.so(8): what separates one library from the next */
	else if (strpbrk(library, ": "))
		fprintf(stderr, "vfioctl: cannot preload '%s': a space or colon in its path\n",
			library);
	else
		return 0;
	return EXIT_RUN_FAILED;
}
