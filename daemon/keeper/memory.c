#include "daemon/keeper/memory.h"

#include "daemon/base/frames.h"
#include "daemon/base/util.h"
#include "daemon/keeper/holes.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/vfs.h>

static int unsuitable(char *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
static int unsuitable(char *text, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, WIRE_TEXT_SIZE, format, arguments);
	va_end(arguments);
	return WIRE_UNSUITABLE;
}

/* Is it a file of memory? Then its seals, its access mode and its page size are known. */
static int look_at(struct memory *memory, int *seals, char *text)
{
	struct statfs file_system;

	/* First of all: what is no memory file says EINVAL, and nobody else's code has run
	 * (mm/memfd.c). statfs of FUSE would wait for its server. */
	int mode = fcntl(memory->fd, F_GETFL);
	if (mode < 0)
		return -errno;
	if (mode & O_PATH)
		return unsuitable(text, "it was opened with O_PATH");
	*seals = fcntl(memory->fd, F_GET_SEALS);
	if (*seals < 0)
		return unsuitable(text, "it is no file of memory: send a memfd, or one of tmpfs or "
					"hugetlbfs");
	if (fstatfs(memory->fd, &file_system) < 0)
		return -errno;
	if (file_system.f_type == HUGETLBFS_MAGIC && file_system.f_bsize > 0)
		memory->page_bytes = (uint32_t)file_system.f_bsize;
	else if (file_system.f_type != TMPFS_MAGIC)
		return unsuitable(text, "its file system is neither tmpfs nor hugetlbfs");

	if ((mode & O_ACCMODE) == O_WRONLY)
		return unsuitable(text, "its descriptor is for writing only");
	memory->flags = WIRE_READ_ALLOWED;
	if ((mode & O_ACCMODE) == O_RDWR && !(*seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE)))
		memory->flags |= WIRE_WRITE_ALLOWED;
	return 0;
}

static int map(struct memory *memory, int seals, char *text)
{
	int protection =
		PROT_READ | (memory->flags & WIRE_WRITE_ALLOWED ? (unsigned)PROT_WRITE : 0);
	int64_t size = file_size(memory->fd);

	if (size < 0)
		return (int)size;
	memory->size = (uint64_t)size / memory->page_bytes * memory->page_bytes;
	if (memory->size == 0)
		return unsuitable(text, "it has not a whole page of %u bytes", memory->page_bytes);
	void *address = mmap(NULL, memory->size, protection, MAP_SHARED, memory->fd, 0);
	if (address != MAP_FAILED) {
		memory->address = address;
		return 0;
	}
	/* Up to Linux 6.6 a descriptor that can write makes this a writable mapping (mm/mmap.c). */
	if (errno == EPERM && (seals & F_SEAL_WRITE))
		return unsuitable(text, "it is sealed against writing: send a descriptor that was "
					"opened for reading only, by /proc/self/fd");
	if (errno == ENOMEM && memory->page_bytes != page_bytes())
		return unsuitable(text, "there are not as many huge pages as it has");
	/* A file may be larger than any address space. */
	if (errno == ENOMEM || errno == EOVERFLOW || errno == EINVAL)
		return unsuitable(text, "its %llu bytes cannot be mapped at once",
			(unsigned long long)memory->size);
	return -errno;
}

int memory_new(uint32_t number, int fd, struct memory **result, char *text)
{
	struct memory *memory = calloc(1, sizeof(*memory));
	int seals = 0;

	if (!memory) {
		close(fd);
		return -ENOMEM;
	}
	memory->number = number;
	memory->fd = fd;
	memory->page_bytes = (uint32_t)page_bytes();
	int r = look_at(memory, &seals, text);
	if (r == 0)
		r = map(memory, seals, text);
	if (r != 0)
		memory = memory_free(memory);
	*result = memory;
	return r;
}

struct memory *memory_free(struct memory *memory)
{
	if (!memory)
		return NULL;
	if (memory->address)
		munmap(memory->address, memory->size);
	close(memory->fd);
	free(memory);
	return NULL;
}

bool memory_is_whole(const struct memory *memory)
{
	int64_t size = file_size(memory->fd);
	return size >= 0 && (uint64_t)size >= memory->size;
}

static int count(void *userdata, uint64_t offset, uint64_t length)
{
	uint64_t *n_pages = userdata;
	(void)offset;
	*n_pages += length / page_bytes();
	return 0;
}

int memory_count_holes(
	const struct memory *memory, uint64_t offset, uint64_t length, uint64_t *n_pages)
{
	*n_pages = 0;
	if (memory->page_bytes != page_bytes())
		return 0;
	return holes_walk(memory->fd, offset, length, count, n_pages);
}
