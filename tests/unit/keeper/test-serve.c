/* Conversations in each role, the other end in a child. */
#include "bench.h"

#include "daemon/base/util.h"
#include "daemon/keeper/serve.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

struct peer {
	int socket;
	pid_t pid;
	union wire_message got;
	int fd; /* that came with it; -1: none */
	frame_run runs[4096];
	size_t n_runs;
	unsigned n_messages; /* with runs */
	struct wire_item items[16];
	size_t n_items;
};

static _Noreturn void child(enum role role, int socket)
{
	static struct keeping keeping;
	static struct fake_io fake;
	int r = serve_hello(socket);

	alarm(60);
	if (r < 0)
		_exit(100);
	switch (role) {
	case ROLE_KEEPER:
		fake_io_init(&fake);
		keeping_open(&keeping, &fake.backend);
		keeping.frames = fake.frames;
		r = serve_keeper(socket, &keeping);
		keeping_close(&keeping);
		break;
	case ROLE_BOOK:
		r = serve_book(socket);
		break;
	case ROLE_POPULATE:
		r = serve_populate(socket);
		break;
	default:
		r = serve_punch(socket);
	}
	_exit(r == 0 ? 0 : 1);
}

static void receive(struct peer *peer)
{
	int fds[WIRE_FDS_MAX];
	size_t n;
	ssize_t r = wire_receive(peer->socket, &peer->got, fds, &n, 0);

	assert_true(r > 0);
	assert_in_range(n, 0, 1);
	peer->fd = n > 0 ? fds[0] : -1;
}

static struct peer *start(enum role role)
{
	int ends[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		close(ends[0]);
		child(role, ends[1]);
	}
	close(ends[1]);
	struct peer *peer = calloc(1, sizeof(*peer));
	assert_non_null(peer);
	peer->pid = pid;
	peer->socket = ends[0];
	receive(peer);
	assert_int_equal(peer->got.header.type, WIRE_HELLO);
	assert_int_equal(peer->got.hello.version, WIRE_VERSION);
	assert_int_equal(peer->got.hello.page_bytes, page_bytes());
	return peer;
}

/* It ends when its socket closes: with this status. */
static void end(struct peer *peer, int should)
{
	int status;
	close(peer->socket);
	assert_int_equal(waitpid(peer->pid, &status, 0), peer->pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), should);
	free(peer);
}

static void ask(struct peer *peer, struct wire_request request, const int *fds, size_t n_fds)
{
	request.header.length = sizeof(request);
	assert_int_equal(wire_send(peer->socket, &request, fds, n_fds, 0), 0);
}

/* Runs, up to the DONE that ends them: its result. */
static int hear(struct peer *peer)
{
	peer->n_runs = peer->n_items = peer->n_messages = 0;
	for (;;) {
		receive(peer);
		if (peer->got.header.type == WIRE_ITEMS) {
			size_t bytes = peer->got.header.length - offsetof(struct wire_items, items);
			assert_true(bytes <=
				    sizeof(peer->items) - peer->n_items * sizeof(struct wire_item));
			memcpy(peer->items + peer->n_items, peer->got.items.items, bytes);
			peer->n_items += bytes / sizeof(struct wire_item);
			continue;
		}
		if (peer->got.header.type != WIRE_RUNS)
			break;
		size_t size = peer->got.header.length - offsetof(struct wire_runs, runs);
		assert_true(peer->n_runs * sizeof(frame_run) + size <= sizeof(peer->runs));
		memcpy(peer->runs + peer->n_runs, peer->got.runs.runs, size);
		peer->n_runs += size / sizeof(frame_run);
		peer->n_messages++;
	}
	assert_int_equal(peer->got.header.type, WIRE_DONE);
	return peer->got.done.result;
}

#define TELL(peer, ...) (ask(peer, (struct wire_request){ __VA_ARGS__ }, NULL, 0), hear(peer))
#define TELL_WITH(peer, fd, ...)                                                                   \
	(ask(peer, (struct wire_request){ __VA_ARGS__ }, (int[]){ fd }, 1), hear(peer))

static int new_memory(unsigned n_pages)
{
	int fd = memfd_create("memory", MFD_CLOEXEC);
	char page[PAGE] = "x";

	assert_true(fd >= 0);
	for (unsigned i = 0; i < n_pages; i++)
		assert_int_equal(write(fd, page, PAGE), PAGE);
	return fd;
}

/* Memory 3, group 7, and its mappings 1, of `n` runs, and 2. */
static void check_list(struct peer *peer, size_t n)
{
	const struct wire_item should[] = {
		{ .kind = WIRE_ITEM_MEMORY,
			.number = 3,
			.flags = WIRE_READ_ALLOWED | WIRE_WRITE_ALLOWED,
			.page_bytes = (uint32_t)page_bytes(),
			.length = 64 * PAGE },
		{ .kind = WIRE_ITEM_GROUP, .number = 7, .is_held = true },
		{ .kind = WIRE_ITEM_MAPPING,
			.number = 1,
			.flags = WIRE_READ_ALLOWED,
			.memory = 3,
			.is_made = true,
			.length = 64 * PAGE,
			.book_offset = BOOK_INDEX_BYTES,
			.n_runs = n },
		{ .kind = WIRE_ITEM_MAPPING,
			.number = 2,
			.flags = WIRE_READ_ALLOWED,
			.memory = 3,
			.is_made = true,
			.iova = 0x100000,
			.length = PAGE,
			/* It was read twice. */
			.book_offset = BOOK_INDEX_BYTES + n * sizeof(frame_run),
			.n_runs = 1 },
	};

	assert_int_equal(TELL(peer, .header.type = WIRE_LIST), 0);
	assert_int_equal(peer->got.done.size, ARRAY_SIZE(should));
	assert_int_equal(peer->n_items, ARRAY_SIZE(should));
	assert_memory_equal(peer->items, should, sizeof(should));
}

/* Whatever was under way for the former daemon comes before the answer to this. */
static void test_a_new_daemon(void **state)
{
	(void)state;
	struct peer *peer = start(ROLE_KEEPER);
	struct wire_sync sync = { { WIRE_SYNC, sizeof(sync) }, 0x1122334455667788 };
	int book = memfd_create("book", MFD_CLOEXEC), memory = new_memory(4);

	assert_int_equal(wire_send(peer->socket, &sync, NULL, 0, 0), 0);
	receive(peer);
	assert_int_equal(peer->got.header.type, WIRE_STATE);
	assert_int_equal(peer->got.state.nonce, 0x1122334455667788);
	assert_int_equal(peer->got.state.version, WIRE_VERSION);
	assert_int_equal(peer->got.state.page_bytes, page_bytes());
	assert_int_equal(peer->got.state.has_book, false);
	assert_int_equal(TELL_WITH(peer, book, .header.type = WIRE_START), 0);
	assert_int_equal(TELL_WITH(peer, memory, .header.type = WIRE_ADD_MEMORY, .memory = 1), 0);
	ask(peer,
		(struct wire_request){ .header.type = WIRE_PREPARE,
			.memory = 1,
			.length = 4 * PAGE,
			.flags = WIRE_READ_ALLOWED },
		NULL, 0);
	sync.nonce++;
	assert_int_equal(wire_send(peer->socket, &sync, NULL, 0, 0), 0);
	assert_int_equal(hear(peer), 0);
	receive(peer);
	assert_int_equal(peer->got.header.type, WIRE_STATE);
	assert_int_equal(peer->got.state.nonce, sync.nonce);
	assert_int_equal(peer->got.state.has_book, true);
	assert_int_equal(TELL(peer, .header.type = WIRE_LIST), 0);
	assert_int_equal(peer->n_items, 2);
	assert_int_equal(peer->items[1].is_made, false);
	assert_true(peer->items[1].n_runs > 0);
	/* Who only has the book sees the same of it. */
	struct peer *reader = start(ROLE_BOOK);
	struct wire_item item = peer->items[1];
	assert_int_equal(TELL_WITH(reader, book, .header.type = WIRE_START), 0);
	assert_int_equal(TELL(reader, .header.type = WIRE_LIST), 0);
	assert_int_equal(reader->n_items, 1);
	assert_memory_equal(&reader->items[0], &item, sizeof(item));
	assert_int_equal(TELL(peer, .header.type = WIRE_UNMAP, .mapping = 0), 0);
	assert_int_equal(TELL(reader, .header.type = WIRE_LIST), 0);
	assert_int_equal(reader->n_items, 0);
	end(reader, 0);
	end(peer, 0);
	close(memory);
	close(book);
}

static void test_a_space_from_start_to_end(void **state)
{
	(void)state;
	struct peer *peer = start(ROLE_KEEPER);
	int book = memfd_create("book", MFD_CLOEXEC), memory = new_memory(64), null = bench_fd();
	struct stat is, should;
	frame_run runs[8];

	assert_int_equal(TELL_WITH(peer, book, .header.type = WIRE_START), 0);
	assert_int_equal(TELL_WITH(peer, book, .header.type = WIRE_START), -EBUSY);
	assert_int_equal(TELL_WITH(peer, memory, .header.type = WIRE_ADD_MEMORY, .memory = 3), 0);
	assert_int_equal(peer->got.done.size, 64 * PAGE);
	assert_int_equal(peer->got.done.page_bytes, page_bytes());
	assert_int_equal(peer->got.done.flags, WIRE_READ_ALLOWED | WIRE_WRITE_ALLOWED);
	assert_int_equal(TELL(peer, .header.type = WIRE_GIVE_MEMORY, .memory = 3), 0);
	assert_true(peer->fd >= 0);
	assert_int_equal(fstat(peer->fd, &is), 0);
	assert_int_equal(fstat(memory, &should), 0);
	assert_int_equal(is.st_ino, should.st_ino);
	close(peer->fd);
	assert_int_equal(TELL(peer, .header.type = WIRE_GIVE_MEMORY, .memory = 4), -ENOENT);
	assert_int_equal(peer->fd, -1);

	assert_int_equal(TELL(peer, .header.type = WIRE_PREPARE, .memory = 3, .mapping = 1,
				 .length = 64 * PAGE, .flags = WIRE_READ_ALLOWED),
		0);
	size_t n = peer->n_runs;
	assert_in_range(n, 4, 5);
	assert_int_equal(peer->got.done.n_runs, n);
	/* They are in the daemon's own file. */
	assert_int_equal(book_read(book, peer->got.done.book_offset, runs, n), 0);
	assert_memory_equal(runs, peer->runs, n * sizeof(frame_run));

	assert_int_equal(TELL_WITH(peer, null, .header.type = WIRE_ATTACH, .group = 7),
		WIRE_NEEDS_CONTAINER);
	assert_int_equal(TELL_WITH(peer, null, .header.type = WIRE_ATTACH_NEW, .group = 7), 0);
	assert_int_equal(TELL(peer, .header.type = WIRE_INFO, .container = 0), 0);
	receive(peer);
	assert_int_equal(peer->got.header.type, WIRE_INFO);
	assert_int_equal(peer->got.info.page_sizes, 4096);
	assert_int_equal(TELL(peer, .header.type = WIRE_INFO, .container = 1), -ENOENT);
	assert_int_equal(
		TELL(peer, .header.type = WIRE_GET_DEVICE, .group = 7, .name = "device"), 0);
	assert_true(peer->fd >= 0);
	close(peer->fd);
	assert_int_equal(
		TELL(peer, .header.type = WIRE_GET_DEVICE, .group = 7, .name = "none"), -ENODEV);
	assert_int_equal(TELL(peer, .header.type = WIRE_RESET, .group = 7, .name = "device"), 0);
	assert_int_equal(TELL(peer, .header.type = WIRE_RESET, .group = 7, .name = "none",
				 .flags = WIRE_BUS),
		-ENODEV);

	assert_int_equal(TELL(peer, .header.type = WIRE_PREPARE, .memory = 3, .mapping = 2,
				 .iova = 0x100000, .length = PAGE, .flags = WIRE_READ_ALLOWED),
		0);
	assert_int_equal(TELL(peer, .header.type = WIRE_READ, .mapping = 2), 0);
	assert_int_equal(peer->n_runs, 1);
	assert_int_equal(TELL(peer, .header.type = WIRE_MAP, .mapping = 2), 0);
	assert_int_equal(TELL(peer, .header.type = WIRE_MAP, .mapping = 9), -ENOENT);
	assert_int_equal(TELL(peer, .header.type = WIRE_AUDIT, .mapping = 1), 0);
	assert_int_equal(peer->got.done.n_pages, 0);
	assert_int_equal(TELL(peer, .header.type = WIRE_BOOK, .book_offset = BOOK_INDEX_BYTES + 8,
				 .n_runs = 2),
		0);
	assert_memory_equal(peer->runs, runs + 1, 2 * sizeof(frame_run));
	check_list(peer, n);

	assert_int_equal(TELL(peer, .header.type = WIRE_REMOVE_MEMORY, .memory = 3), -EBUSY);
	assert_int_equal(TELL(peer, .header.type = WIRE_UNMAP, .mapping = 1), 0);
	assert_int_equal(peer->n_runs, n);
	assert_memory_equal(runs, peer->runs, n * sizeof(frame_run));
	assert_int_equal(TELL(peer, .header.type = WIRE_UNMAP, .mapping = 2), 0);
	assert_int_equal(TELL(peer, .header.type = WIRE_UNMAP, .mapping = 2), -ENOENT);
	assert_int_equal(TELL(peer, .header.type = WIRE_REMOVE_MEMORY, .memory = 3), 0);
	assert_int_equal(TELL(peer, .header.type = WIRE_DETACH, .group = 7), 0);
	assert_int_equal(peer->got.done.n_groups, 0);
	assert_int_equal(TELL(peer, .header.type = WIRE_GROUP_GONE, .group = 7), -ENOENT);
	assert_int_equal(fstat(book, &is), 0);
	/* Of the index. */
	assert_in_range(is.st_blocks, 0, PAGE / 512);
	assert_int_equal(TELL(peer, .header.type = WIRE_LIST), 0);
	assert_int_equal(peer->n_items, 0);
	end(peer, 0);
	close(null);
	close(memory);
	close(book);
}

/* Whoever talks nonsense is no daemon of ours. */
static void test_wrong_requests_end_it(void **state)
{
	(void)state;
	const struct {
		enum role role;
		uint32_t type;
		size_t n_fds;
	} wrong[] = {
		{ ROLE_KEEPER, WIRE_HELLO, 0 },
		{ ROLE_KEEPER, WIRE_DONE, 0 },
		{ ROLE_KEEPER, WIRE_POPULATE, 2 },
		{ ROLE_KEEPER, WIRE_START, 0 },
		{ ROLE_KEEPER, WIRE_ADD_MEMORY, 2 },
		{ ROLE_KEEPER, WIRE_UNMAP, 1 },
		{ ROLE_KEEPER, 0, 0 },
		{ ROLE_KEEPER, WIRE_TYPE_MAX_, 0 },
		{ ROLE_BOOK, WIRE_READ, 0 },
		{ ROLE_BOOK, WIRE_BOOK, 1 },
		{ ROLE_POPULATE, WIRE_PUNCH, 2 },
		{ ROLE_POPULATE, WIRE_POPULATE, 1 },
		{ ROLE_PUNCH, WIRE_POPULATE, 2 },
		{ ROLE_PUNCH, WIRE_PUNCH, 0 },
	};
	int null = bench_fd();

	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		struct peer *peer = start(wrong[i].role);
		ask(peer, (struct wire_request){ .header.type = wrong[i].type },
			(int[]){ null, null }, wrong[i].n_fds);
		end(peer, 1);
	}
	close(null);
}

static void test_a_book_that_is_read(void **state)
{
	(void)state;
	struct peer *peer = start(ROLE_BOOK);
	int fd = memfd_create("book", MFD_CLOEXEC);
	struct book book;
	struct book_part part = { .n_runs = 0 };
	static frame_run runs[4095];

	/* None was given. */
	assert_int_equal(TELL(peer, .header.type = WIRE_BOOK, .n_runs = 1), -EBADF);
	book_open(&book, fd);
	for (size_t i = 0; i < ARRAY_SIZE(runs); i++)
		runs[i] = run_make(i * 3, 2);
	assert_int_equal(book_append(&book, &part, runs, ARRAY_SIZE(runs)), 0);
	assert_int_equal(TELL_WITH(peer, fd, .header.type = WIRE_START), 0);
	assert_int_equal(TELL(peer, .header.type = WIRE_BOOK, .book_offset = part.offset,
				 .n_runs = ARRAY_SIZE(runs)),
		0);
	assert_int_equal(peer->n_runs, ARRAY_SIZE(runs));
	assert_int_equal(peer->n_messages, 2);
	assert_memory_equal(peer->runs, runs, sizeof(runs));
	assert_int_equal(TELL(peer, .header.type = WIRE_BOOK, .n_runs = 0), 0);
	assert_int_equal(TELL(peer, .header.type = WIRE_BOOK, .book_offset = BOOK_INDEX_BYTES + 8,
				 .n_runs = 4095),
		-EIO);
	end(peer, 0);
	close(fd);
}

/* st_blocks is off by some while pages are on their way to swap (mm/shmem.c, shmem_recalc_inode).
 */
static unsigned pages_of(int fd)
{
	off_t from, to = 0, bytes = 0;

	while ((from = lseek(fd, to, SEEK_DATA)) >= 0) {
		to = lseek(fd, from, SEEK_HOLE);
		assert_true(to > from);
		bytes += to - from;
	}
	assert_int_equal(errno, ENXIO);
	return (unsigned)(bytes / PAGE);
}

static void test_holes_are_filled_and_made_again(void **state)
{
	(void)state;
	struct peer *peer = start(ROLE_POPULATE), *other;
	int memory = memfd_create("memory", MFD_CLOEXEC), book = memfd_create("holes", MFD_CLOEXEC);
	/* More holes than are written at once. */
	const unsigned n_pages = 5000;
	struct wire_hole hole;
	char path[64];

	assert_int_equal(ftruncate(memory, n_pages * PAGE), 0);
	for (unsigned i = 1; i < n_pages; i += 2)
		assert_int_equal(pwrite(memory, "x", 1, i * PAGE), 1);
	/* A descriptor that can only read is enough. */
	snprintf(path, sizeof(path), "/proc/self/fd/%d", memory);
	int reader = open(path, O_RDONLY | O_CLOEXEC);
	ask(peer,
		(struct wire_request){ .header.type = WIRE_POPULATE,
			.offset = PAGE,
			.length = (n_pages - 2) * PAGE },
		(int[]){ reader, book }, 2);
	assert_int_equal(hear(peer), WIRE_HOLES);
	assert_int_equal(peer->got.done.n_runs, n_pages / 2 - 1);
	assert_int_equal(peer->got.done.n_pages, n_pages / 2 - 1);
	assert_int_equal(pread(book, &hole, sizeof(hole), 0), sizeof(hole));
	assert_int_equal(hole.offset, 2 * PAGE);
	assert_int_equal(hole.length, PAGE);
	assert_int_equal(hear(peer), 0);
	/* All but the first page, which was not asked for. */
	assert_int_equal(pages_of(memory), n_pages - 1);

	/* Where there is none. */
	ask(peer,
		(struct wire_request){
			.header.type = WIRE_POPULATE, .offset = PAGE, .length = PAGE },
		(int[]){ reader, book }, 2);
	assert_int_equal(hear(peer), WIRE_HOLES);
	assert_int_equal(peer->got.done.n_runs, 0);
	assert_int_equal(hear(peer), 0);

	other = start(ROLE_PUNCH);
	ask(other, (struct wire_request){ .header.type = WIRE_PUNCH, .n_runs = n_pages / 2 - 1 },
		(int[]){ memory, book }, 2);
	assert_int_equal(hear(other), 0);
	assert_int_equal(pages_of(memory), n_pages / 2);
	/* Whoever may not write may not punch; and a book has an end. */
	ask(other, (struct wire_request){ .header.type = WIRE_PUNCH, .n_runs = 1 },
		(int[]){ reader, book }, 2);
	assert_int_equal(hear(other), -EBADF);
	ask(other, (struct wire_request){ .header.type = WIRE_PUNCH, .n_runs = n_pages },
		(int[]){ memory, book }, 2);
	assert_int_equal(hear(other), -EIO);
	end(other, 0);

	/* Shorter than what is asked for: a truncated file. */
	ask(peer,
		(struct wire_request){ .header.type = WIRE_POPULATE,
			.offset = (n_pages - 2) * PAGE,
			.length = 10 * PAGE },
		(int[]){ reader, book }, 2);
	assert_int_equal(hear(peer), WIRE_HOLES);
	assert_int_equal(hear(peer), -EFAULT);
	end(peer, 0);
	close(reader);
	close(memory);
	close(book);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_space_from_start_to_end),
		cmocka_unit_test(test_a_new_daemon),
		cmocka_unit_test(test_wrong_requests_end_it),
		cmocka_unit_test(test_a_book_that_is_read),
		cmocka_unit_test(test_holes_are_filled_and_made_again),
	};
	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
