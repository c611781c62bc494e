/* A memfd of slots behind a head of the size of one. */
#include "daemon/base/slots.h"

#include "daemon/base/util.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

static const char MAGIC[8] = "vfiodSLT";
/* The smallest that there are; where they are larger, madvise(2) refuses, and they stay. */
enum { PAGE_BYTES = 4096 };

struct head {
	char magic[8];
	uint32_t format, slot_bytes;
	char unused[SLOT_BYTES - 16];
};
_Static_assert(sizeof(struct head) == SLOT_BYTES, "the head is as large as a slot");

struct slots {
	struct head *head;
	size_t size; /* mapped */
	size_t n;
	size_t n_used;     /* slots_used() */
	size_t maybe_free; /* none below is free, as far as we have cleared them */
};

static char *slot(const struct slots *slots, size_t index)
{
	return (char *)(slots->head + 1) + index * SLOT_BYTES;
}

/* The end of what is no hole (mm/shmem.c, shmem_file_llseek). */
static size_t data_end(int fd)
{
	off_t end = 0, at = 0;

	while ((at = lseek(fd, at, SEEK_DATA)) >= 0 && (at = lseek(fd, at, SEEK_HOLE)) > end)
		end = at;
	return (size_t)end;
}

/* 0, -EBADMSG, or -errno; the memory is mapped then. */
static int slots_map(struct slots *slots, int fd, uint32_t format, size_t n, bool is_new)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	size_t size = (size_t)st.st_size;
	if (!is_new && (!S_ISREG(st.st_mode) || size < SLOT_BYTES))
		return -EBADMSG;
	if (size < (n + 1) * SLOT_BYTES) {
		size = (n + 1) * SLOT_BYTES;
		if (ftruncate(fd, (off_t)size) < 0)
			return -errno;
	}
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (memory == MAP_FAILED)
		return -errno;
	slots->head = memory;
	slots->size = size;
	slots->n = size / SLOT_BYTES - 1;
	/* Of data, the first is the head. */
	size_t n_data = is_new ? 0 : data_end(fd) / SLOT_BYTES;
	slots->n_used = n_data > slots->n ? slots->n : n_data;
	struct head head = { .format = format, .slot_bytes = SLOT_BYTES };
	memcpy(head.magic, MAGIC, sizeof(head.magic));
	if (is_new)
		*slots->head = head;
	if (memcmp(slots->head, &head, sizeof(head)) == 0)
		return 0;
	munmap(memory, size);
	slots->head = NULL;
	return -EBADMSG;
}

static int slots_make(
	struct slots *slots, struct store *store, const char *name, uint32_t format, size_t n)
{
	_cleanup_close_ int fd = memfd_create("vfiod-slots", MFD_CLOEXEC);

	if (fd < 0)
		return -errno;
	/* First what is in it, then the store: another vfiod finds a head, or nothing. */
	int r = slots_map(slots, fd, format, n, true);
	if (r < 0 || !store_is_there(store))
		return r;
	return store_put(store, name, fd);
}

static int slots_find(
	struct slots *slots, struct store *store, const char *name, uint32_t format, size_t n)
{
	_cleanup_close_ int fd = store_take(store, name);

	if (fd < 0)
		return slots_make(slots, store, name, format, n);
	int r = slots_map(slots, fd, format, n, false);
	if (r != -EBADMSG)
		return r;
	store_remove(store, name);
	r = slots_make(slots, store, name, format, n);
	return r < 0 ? r : -EBADMSG;
}

int slots_open(
	struct store *store, const char *name, uint32_t format, size_t n, struct slots **slotsp)
{
	*slotsp = NULL;
	struct slots *slots = calloc(1, sizeof(*slots));
	if (!slots)
		return -ENOMEM;
	int r = slots_find(slots, store, name, format, n);
	if (r < 0 && r != -EBADMSG) {
		slots_free(slots);
		return r;
	}
	*slotsp = slots;
	return r;
}

struct slots *slots_free(struct slots *slots)
{
	if (slots && slots->head)
		munmap(slots->head, slots->size);
	free(slots);
	return NULL;
}

size_t slots_count(const struct slots *slots)
{
	return slots->n;
}

size_t slots_used(const struct slots *slots)
{
	return slots->n_used;
}

void *slots_at(struct slots *slots, size_t index)
{
	return slot(slots, index);
}

static bool is_free(const struct slots *slots, size_t index)
{
	static const char nothing[SLOT_BYTES];
	return memcmp(slot(slots, index), nothing, SLOT_BYTES) == 0;
}

int slots_free_one(struct slots *slots)
{
	/* From where one may be free; and, as a slot may be cleared by hand, from the beginning. */
	for (size_t i = slots->maybe_free; i < slots->n; i++)
		if (is_free(slots, i)) {
			slots->maybe_free = i;
			return (int)i;
		}
	for (size_t i = 0; i < slots->maybe_free; i++)
		if (is_free(slots, i))
			return (int)i;
	return -1;
}

/* Nobody wants the memory of a page of which no slot is in use; the head keeps the first. */
static void release_page(struct slots *slots, size_t index)
{
	static const char nothing[PAGE_BYTES];
	size_t offset = (index + 1) * SLOT_BYTES / PAGE_BYTES * PAGE_BYTES;
	char *page = (char *)slots->head + offset;

	if (offset > 0 && offset + PAGE_BYTES <= slots->size &&
		memcmp(page, nothing, PAGE_BYTES) == 0)
		madvise(page, PAGE_BYTES, MADV_REMOVE);
}

void slots_clear(struct slots *slots, size_t index)
{
	uint64_t *word = slots_at(slots, index);

	if (is_free(slots, index))
		return;
	for (size_t i = 0; i < SLOT_BYTES / sizeof(*word); i++) {
		word[i] = 0;
		slot_publish();
	}
	release_page(slots, index);
	if (index < slots->maybe_free)
		slots->maybe_free = index;
}

static uint32_t *settling;

void slot_settles(uint32_t *word)
{
	settling = word;
}

void slot_settle(void)
{
	if (!settling)
		return;
	slot_publish();
	*settling = 0;
	slot_publish();
	settling = NULL;
}
