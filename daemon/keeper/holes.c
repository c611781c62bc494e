#include "daemon/keeper/holes.h"

#include "daemon/base/frames.h"

#include <errno.h>
#include <sys/types.h>
#include <unistd.h>

/* The position of the descriptor is the client's, too: where it was it is left. */
static off_t seek_and_return(int fd, off_t offset, int whence)
{
	off_t before = lseek(fd, 0, SEEK_CUR);
	off_t found = lseek(fd, offset, whence);
	int error = errno;

	if (before >= 0)
		lseek(fd, before, SEEK_SET);
	errno = error;
	return found;
}

int64_t file_size(int fd)
{
	off_t size = seek_and_return(fd, 0, SEEK_END);
	return size < 0 ? -errno : size;
}

/* Of SEEK_HOLE, in parts of the range that is looked at. */
#define SEARCH_AT_MOST 4

/*
 * Where the data that begins at `position` ends, or `end`. SEEK_HOLE looks at every page up to a
 * hole, be it beyond a terabyte that nobody has asked for; SEEK_DATA says at once that there is
 * some.
 */
static off_t data_end(int fd, off_t position, off_t end, off_t size)
{
	const off_t page = (off_t)page_bytes();

	if (size - position <= SEARCH_AT_MOST * (end - position))
		return lseek(fd, position, SEEK_HOLE);
	for (position += page; position < end; position += page) {
		off_t data = lseek(fd, position, SEEK_DATA);
		if (data != position)
			return data < 0 && errno != ENXIO ? -1 : position;
	}
	return end;
}

static int walk(int fd, off_t position, off_t end, holes_take take, void *userdata)
{
	off_t size = lseek(fd, 0, SEEK_END);

	while (position < end) {
		off_t data = lseek(fd, position, SEEK_DATA);
		if (data < 0 && errno != ENXIO)
			return -errno;
		if (data < 0 || data > end)
			data = end; /* no data up to the end */
		if (data > position) {
			int r = take(userdata, (uint64_t)position, (uint64_t)(data - position));
			if (r != 0)
				return r;
		}
		if (data == end)
			return 0;
		position = data_end(fd, data, end, size);
		if (position < 0)
			/* ENXIO: it has been truncated meanwhile. What is left is no hole: to fill
			 * it will fail. */
			return errno == ENXIO ? 0 : -errno;
	}
	return 0;
}

int holes_walk(int fd, uint64_t offset, uint64_t length, holes_take take, void *userdata)
{
	off_t before = lseek(fd, 0, SEEK_CUR);
	int r = walk(fd, (off_t)offset, (off_t)(offset + length), take, userdata);

	if (before >= 0)
		lseek(fd, before, SEEK_SET);
	return r;
}
