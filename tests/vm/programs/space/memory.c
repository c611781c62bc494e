/* Memory, and what a client may do to it behind the daemon's back. */
#include "tests/vm/programs/space/space-client.h"

#include "tests/vm/programs/program.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static int fd_of(const struct words *words)
{
	return object_find(MEMORY, words->word[1])->fd;
}

static void answer_result(const struct words *words, bool is_well)
{
	if (is_well)
		answer("ok");
	else
		answer_failed(words->word[0]);
}

static bool has_word(const struct words *words, size_t from, const char *word)
{
	for (size_t i = from; i < words->n; i++)
		if (strcmp(words->word[i], word) == 0)
			return true;
	return false;
}

static void keep(const struct words *words, int fd)
{
	if (fd >= 0)
		object_new(MEMORY, words->word[1])->fd = fd;
	answer_result(words, fd >= 0);
}

static void command_memfd(const struct words *words)
{
	unsigned flags = MFD_CLOEXEC;
	if (!has_word(words, 3, "unsealable"))
		flags |= MFD_ALLOW_SEALING;
	if (has_word(words, 3, "hugetlb"))
		flags |= MFD_HUGETLB;
	int fd = memfd_create("client", flags);
	if (fd >= 0 && ftruncate(fd, (off_t)word_number(words, 2)) < 0)
		err(EXIT_SYSTEM, "ftruncate");
	keep(words, fd);
}

static void open_path(const struct words *words, const char *path, size_t options)
{
	int access = has_word(words, options, "ro") ? O_RDONLY : O_RDWR;
	keep(words, open(path, access | O_CLOEXEC));
}

static void command_file(const struct words *words)
{
	open_path(words, words->word[2], 3);
}

static void command_reopen(const struct words *words)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", object_find(MEMORY, words->word[2])->fd);
	open_path(words, path, 3);
}

static void command_receive(const struct words *words)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%s/fd/%s", words->word[2], words->word[3]);
	open_path(words, path, 4);
}

static void command_fd(const struct words *words)
{
	answer("ok %d", fd_of(words));
}

static void command_forget(const struct words *words)
{
	object_forget(object_find(MEMORY, words->word[1]));
	answer("ok");
}

static void command_seal(const struct words *words)
{
	static const struct {
		const char *name;
		int seal;
	} seals[] = {
		{ "seal", F_SEAL_SEAL },
		{ "shrink", F_SEAL_SHRINK },
		{ "grow", F_SEAL_GROW },
		{ "write", F_SEAL_WRITE },
		{ "future-write", F_SEAL_FUTURE_WRITE },
	};
	int all = 0;

	for (size_t i = 0; i < sizeof(seals) / sizeof(*seals); i++)
		if (has_word(words, 2, seals[i].name))
			all |= seals[i].seal;
	answer_result(words, fcntl(fd_of(words), F_ADD_SEALS, all) == 0);
}

static uint8_t *map(int fd, uint64_t offset, size_t length)
{
	void *address = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)offset);
	return address == MAP_FAILED ? NULL : address;
}

static bool touch(int fd, uint64_t offset, size_t length)
{
	volatile uint8_t *memory = map(fd, offset, length);

	if (!memory)
		return false;
	for (size_t at = 0; at < length; at += 4096)
		memory[at] = (uint8_t)(at >> 12);
	return munmap((void *)memory, length) == 0;
}

static void command_touch(const struct words *words)
{
	answer_result(words, touch(fd_of(words), word_number(words, 2), word_number(words, 3)));
}

static bool punch(int fd, uint64_t offset, uint64_t length)
{
	return fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset,
		       (off_t)length) == 0;
}

static void command_punch(const struct words *words)
{
	answer_result(words, punch(fd_of(words), word_number(words, 2), word_number(words, 3)));
}

static void command_truncate(const struct words *words)
{
	answer_result(words, ftruncate(fd_of(words), (off_t)word_number(words, 2)) == 0);
}

static void command_pageout(const struct words *words)
{
	size_t length = word_number(words, 3);
	uint8_t *memory = map(fd_of(words), word_number(words, 2), length);

	/* Only what is in the page tables goes out. */
	for (size_t at = 0; memory && at < length; at += 4096)
		(void)((volatile uint8_t *)memory)[at];
	answer_result(words, memory && madvise(memory, length, MADV_PAGEOUT) == 0);
	if (memory)
		munmap(memory, length);
}

static void command_present(const struct words *words)
{
	struct stat status;

	if (fstat(fd_of(words), &status) < 0)
		answer_failed("present");
	else
		answer("ok %jd", (intmax_t)status.st_blocks * 512);
}

static void command_pattern(const struct words *words)
{
	uint8_t bytes[EDU_BYTES];
	off_t at = (off_t)word_number(words, 2);

	edu_pattern(bytes, word_number(words, 3));
	answer_result(words, pwrite(fd_of(words), bytes, sizeof(bytes), at) == sizeof(bytes));
}

static void command_holds(const struct words *words)
{
	uint8_t bytes[EDU_BYTES], there[EDU_BYTES];
	off_t at = (off_t)word_number(words, 2);

	edu_pattern(bytes, word_number(words, 3));
	if (pread(fd_of(words), there, sizeof(there), at) != sizeof(there))
		answer_failed("holds");
	else
		answer("ok %s", memcmp(bytes, there, sizeof(there)) == 0 ? "yes" : "no");
}

static struct {
	pthread_t thread;
	atomic_bool stop;
	unsigned long n_rounds;
	int fd;
	uint64_t offset;
	size_t length;
} churn;

static void *churn_run(void *unused)
{
	while (!atomic_load(&churn.stop)) {
		if (!punch(churn.fd, churn.offset, churn.length) ||
			!touch(churn.fd, churn.offset, churn.length))
			err(EXIT_SYSTEM, "churn");
		churn.n_rounds++;
	}
	return unused;
}

static void command_churn(const struct words *words)
{
	atomic_store(&churn.stop, false);
	churn.n_rounds = 0;
	churn.fd = fd_of(words);
	churn.offset = word_number(words, 2);
	churn.length = word_number(words, 3);
	errno = pthread_create(&churn.thread, NULL, churn_run, NULL);
	answer_result(words, errno == 0);
}

static void command_still(const struct words *words)
{
	(void)words;
	atomic_store(&churn.stop, true);
	pthread_join(churn.thread, NULL);
	answer("ok %lu", churn.n_rounds);
}

static void command_hog(const struct words *words)
{
	size_t length = word_number(words, 1);
	void *memory = mmap(NULL, length, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	answer_result(words, memory != MAP_FAILED);
}

const struct command memory_commands[] = {
	{ "memfd", 2, command_memfd },
	{ "file", 2, command_file },
	{ "reopen", 2, command_reopen },
	{ "receive", 3, command_receive },
	{ "fd", 1, command_fd },
	{ "forget", 1, command_forget },
	{ "seal", 2, command_seal },
	{ "touch", 3, command_touch },
	{ "punch", 3, command_punch },
	{ "truncate", 2, command_truncate },
	{ "pageout", 3, command_pageout },
	{ "present", 1, command_present },
	{ "pattern", 3, command_pattern },
	{ "holds", 3, command_holds },
	{ "churn", 3, command_churn },
	{ "still", 0, command_still },
	{ "hog", 1, command_hog },
	{ NULL },
};
