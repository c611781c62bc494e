/*
 * frames NAME PID…: how many distinct page frames these processes have mapped, all together, from
 * files whose path contains NAME ("/memfd:client"), as /proc/PID/pagemap has it. As root.
 */
#include "tests/vm/programs/program.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static uint64_t *frames;
static size_t n_frames, capacity;

/* Documentation/admin-guide/mm/pagemap.rst: bit 63 present, bits 0-54 the frame. */
static void take(uint64_t entry)
{
	if (!(entry >> 63))
		return;
	if (n_frames == capacity) {
		capacity = capacity ? 2 * capacity : 4096;
		frames = reallocarray(frames, capacity, sizeof(*frames));
		if (!frames)
			err(EXIT_SYSTEM, "memory");
	}
	frames[n_frames++] = entry & ((UINT64_C(1) << 55) - 1);
}

static void read_range(int pagemap, uint64_t begin, uint64_t end)
{
	static uint64_t entries[4096];

	for (uint64_t page = begin / 4096; page < end / 4096;) {
		size_t n = end / 4096 - page;
		if (n > sizeof(entries) / sizeof(*entries))
			n = sizeof(entries) / sizeof(*entries);
		ssize_t length = pread(pagemap, entries, n * 8, (off_t)page * 8);
		if (length <= 0)
			err(EXIT_SYSTEM, "pagemap");
		for (ssize_t i = 0; i < length / 8; i++)
			take(entries[i]);
		page += (uint64_t)length / 8;
	}
}

static void read_process(const char *name, const char *pid)
{
	char path[64], *line = NULL;
	uint64_t begin, end;
	size_t size = 0;

	snprintf(path, sizeof(path), "/proc/%s/maps", pid);
	FILE *maps = fopen(path, "re");
	if (!maps)
		err(EXIT_SYSTEM, "%s", path);
	snprintf(path, sizeof(path), "/proc/%s/pagemap", pid);
	int pagemap = open(path, O_RDONLY | O_CLOEXEC);
	if (pagemap < 0)
		err(EXIT_SYSTEM, "%s", path);
	while (getline(&line, &size, maps) > 0)
		if (strstr(line, name) && sscanf(line, "%lx-%lx", &begin, &end) == 2)
			read_range(pagemap, begin, end);
	free(line);
	fclose(maps);
	close(pagemap);
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return (x > y) - (x < y);
}

int main(int argc, char *argv[])
{
	size_t n = 0;

	if (argc < 3)
		errx(EXIT_USAGE, "usage: frames NAME PID…");
	for (int i = 2; i < argc; i++)
		read_process(argv[1], argv[i]);
	if (n_frames > 0)
		qsort(frames, n_frames, sizeof(*frames), compare);
	for (size_t i = 0; i < n_frames; i++)
		n += i == 0 || frames[i] != frames[i - 1];
	printf("%zu\n", n);
	free(frames);
	return 0;
}
