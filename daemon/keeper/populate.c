/* Roles populate and punch: the holes of a file are filled, and made again. */
#include "daemon/keeper/serve.h"

#include "daemon/base/util.h"
#include "daemon/keeper/holes.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>

#define SLICE_HOLES 1024

/* What is written down in the book of holes, or read from it, some at a time. */
struct hole_list {
	int fd;
	off_t offset;
	uint64_t n_holes, n_pages; /* in all */
	struct wire_hole holes[SLICE_HOLES];
	size_t n;
};

static int list_flush(struct hole_list *list)
{
	const char *bytes = (const char *)list->holes;
	size_t size = list->n * sizeof(*list->holes);

	while (size > 0) {
		ssize_t n = pwrite(list->fd, bytes, size, list->offset);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		bytes += n;
		list->offset += n;
		size -= (size_t)n;
	}
	list->n = 0;
	return 0;
}

static int list_add(void *userdata, uint64_t offset, uint64_t length)
{
	struct hole_list *list = userdata;

	list->holes[list->n++] = (struct wire_hole){ offset, length };
	list->n_holes++;
	list->n_pages += length / page_bytes();
	return list->n == SLICE_HOLES ? list_flush(list) : 0;
}

/* Calls take() for each of the first n_holes. */
static int list_walk(struct hole_list *list, holes_take take, void *userdata)
{
	list->offset = 0;
	while (list->n_holes > 0) {
		size_t n = list->n_holes < SLICE_HOLES ? (size_t)list->n_holes : SLICE_HOLES;
		ssize_t size = pread(list->fd, list->holes, n * sizeof(*list->holes), list->offset);
		if (size < 0 && errno == EINTR)
			continue;
		if (size < (ssize_t)(n * sizeof(*list->holes)))
			return size < 0 ? -errno : -EIO;
		for (size_t i = 0; i < n; i++) {
			int r = take(userdata, list->holes[i].offset, list->holes[i].length);
			if (r < 0)
				return r;
		}
		list->offset += size;
		list->n_holes -= n;
	}
	return 0;
}

/* Reading a hole of tmpfs allocates its page as writing does (mm/shmem.c, shmem_fault()), and a
 * descriptor for reading only is enough. */
static int fill(void *userdata, uint64_t offset, uint64_t length)
{
	const int *memory = userdata;
	void *address = mmap(NULL, length, PROT_READ, MAP_SHARED, *memory, (off_t)offset);
	if (address == MAP_FAILED)
		return -errno;
	int r = madvise(address, length, MADV_POPULATE_READ) < 0 ? -errno : 0;
	munmap(address, length);
	return r;
}

static int populate(int socket, const struct wire_request *asked, int memory, int book)
{
	static struct hole_list list;
	struct wire_done done = { .result = WIRE_HOLES };

	memset(&list, 0, sizeof(list));
	list.fd = book;
	int r = holes_walk(memory, asked->offset, asked->length, list_add, &list);
	if (r == 0)
		r = list_flush(&list);
	if (r < 0)
		done.result = r;
	done.n_runs = list.n_holes;
	done.n_pages = list.n_pages;
	int sent = serve_done(socket, &done, -1);
	if (r < 0 || sent < 0)
		return sent;

	/* They are in the book, and the daemon knows: now this may be the end. */
	done.result = list_walk(&list, fill, &memory);
	return serve_done(socket, &done, -1);
}

static int populate_fds(uint32_t type)
{
	return type == WIRE_POPULATE ? 2 : -1;
}

int serve_populate(int socket)
{
	static struct request request;
	int r;

	while ((r = serve_receive(socket, &request, populate_fds)) > 0) {
		r = populate(socket, &request.message.request, request.fds[0], request.fds[1]);
		close(request.fds[0]);
		close(request.fds[1]);
		if (r < 0)
			break;
	}
	return r;
}

static int punch(void *userdata, uint64_t offset, uint64_t length)
{
	const int *memory = userdata;
	return fallocate(*memory, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset,
		       (off_t)length) < 0
		       ? -errno
		       : 0;
}

static int punch_fds(uint32_t type)
{
	return type == WIRE_PUNCH ? 2 : -1;
}

int serve_punch(int socket)
{
	static struct request request;
	static struct hole_list list;
	int r;

	while ((r = serve_receive(socket, &request, punch_fds)) > 0) {
		struct wire_done done = { .n_runs = request.message.request.n_runs };

		memset(&list, 0, sizeof(list));
		list.fd = request.fds[1];
		list.n_holes = done.n_runs;
		done.result = list_walk(&list, punch, &request.fds[0]);
		close(request.fds[0]);
		close(request.fds[1]);
		r = serve_done(socket, &done, -1);
		if (r < 0)
			break;
	}
	return r;
}
