/*
 * What a keeper says to the daemon that takes its space over → the space and the ledger. The input
 *is what it answers, one answer a request; each begins with a byte:
 *
 *	0	DONE with the result in the next byte, signed
 *	1	so many items as the next byte says, ten bytes each (struct packed), and DONE
 *	2	runs: their offset, their number, and what they are; and DONE
 *	3	an INFO with so many ranges
 *	4	a message of any type, of what follows
 *	5	it ends
 *
 * Whatever it says, mappings do not overlap, what is billed is what is mapped, and nothing is left
 * when the space ends.
 */
#include "daemon/base/util.h"
#include "daemon/memory/mappings.h"
#include "daemon/memory/space-parts.h"
#include "tests/fuzz/fuzz.h"

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

enum { N_FRAMES = 1 << 16, MAX_TURNS = 400 };

/* It waits to be killed, and is the process of all keepers. */
static pid_t process;
static unsigned long long start_ticks;
static struct ev_loop *loop;
static bool is_over;

struct input {
	const uint8_t *data;
	size_t size, at;
};

struct packed {
	uint8_t kind, number, flags, memory, container, is_held;
	uint8_t iova, length, offset, n_runs; /* pages, and runs of a page each */
};

static uint8_t next(struct input *input)
{
	return input->at < input->size ? input->data[input->at++] : 0;
}

static void need_process(void)
{
	if (process > 0 && waitpid(process, NULL, WNOHANG) == 0)
		return;
	process = fork();
	if (process < 0)
		err(1, "fork");
	if (process == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			pause();
	}
	if (process_start_time(process, &start_ticks) < 0)
		errx(1, "no start time");
}

/* --- the keeper ---------------------------------------------------------------------------------
 */

static void say(int socket, void *message, uint32_t type, size_t length)
{
	struct wire_header *header = message;

	*header = (struct wire_header){ type, (uint32_t)length };
	wire_send(socket, message, NULL, 0, MSG_DONTWAIT);
}

static void say_done(int socket, int result, uint64_t size, uint64_t n_runs)
{
	struct wire_done done = { .result = result, .size = size, .n_runs = n_runs };
	say(socket, &done, WIRE_DONE, sizeof(done));
}

static void say_items(int socket, struct input *input)
{
	static struct wire_items message;
	size_t n = next(input);

	memset(&message, 0, sizeof(message));
	for (size_t i = 0; i < n; i++) {
		struct packed packed = { 0 };
		for (size_t j = 0; j < sizeof(packed); j++)
			((uint8_t *)&packed)[j] = next(input);
		message.items[i] = (struct wire_item){
			.kind = packed.kind % 5,
			.number = packed.number,
			.flags = packed.flags % 4,
			.page_bytes = 4096,
			.memory = packed.memory % 4,
			.container = packed.container == 255 ? WIRE_NO_CONTAINER : packed.container,
			.is_held = packed.is_held & 1,
			.is_made = packed.is_held >> 1 & 1,
			.offset = packed.offset * UINT64_C(4096),
			.iova = packed.iova * UINT64_C(4096),
			.length = packed.length * UINT64_C(4096),
			.book_offset = packed.offset * UINT64_C(8),
			.n_runs = packed.n_runs,
		};
	}
	if (n > 0)
		say(socket, &message, WIRE_ITEMS,
			offsetof(struct wire_items, items) + n * sizeof(message.items[0]));
	say_done(socket, 0, n, 0);
}

static void say_runs(int socket, struct input *input, const struct wire_request *asked)
{
	static struct wire_runs message;
	uint64_t offset = next(input);
	size_t n = next(input);

	/* 255: as it was asked for. */
	message.book_offset = offset == 255 ? asked->book_offset : offset * sizeof(frame_run);
	if (n == 255)
		n = (size_t)(asked->n_runs < WIRE_RUNS_MAX ? asked->n_runs : WIRE_RUNS_MAX);
	for (size_t i = 0; i < n; i++) {
		uint64_t first = next(input) * UINT64_C(257);
		message.runs[i] = run_make(first, 1 + (next(input) & 7U));
	}
	if (n > 0)
		say(socket, &message, WIRE_RUNS,
			offsetof(struct wire_runs, runs) + n * sizeof(frame_run));
	say_done(socket, 0, 0, n);
}

static void say_info(int socket, struct input *input)
{
	static struct wire_info info;

	memset(&info, 0, sizeof(info));
	info.page_sizes = next(input) << 12;
	info.n_ranges = next(input);
	for (size_t i = 0; i < info.n_ranges; i++) {
		info.ranges[i].first = next(input) << 12;
		info.ranges[i].last = next(input) << 12;
	}
	say_done(socket, 0, 0, 0);
	say(socket, &info, WIRE_INFO, sizeof(info));
}

static void say_anything(int socket, struct input *input)
{
	static union wire_message message;
	uint8_t type = next(input);
	size_t length = (size_t)next(input) * 8;

	for (size_t i = 0; i < length; i++)
		message.bytes[i] = (char)next(input);
	say(socket, &message, type, length < 8 ? 8 : length);
}

/* One request. False: it has ended. */
static bool answer(int socket, struct input *input)
{
	static union wire_message message;
	int fds[WIRE_FDS_MAX];
	size_t n_fds;

	ssize_t n = wire_receive(socket, &message, fds, &n_fds, MSG_DONTWAIT);
	if (n <= 0)
		return n == -EAGAIN;
	while (n_fds > 0)
		close(fds[--n_fds]);
	if (message.header.type == WIRE_SYNC) {
		struct wire_state state = { .nonce = message.sync.nonce,
			.version = WIRE_VERSION,
			.page_bytes = (uint32_t)sysconf(_SC_PAGESIZE),
			.has_book = true };
		say(socket, &state, WIRE_STATE, sizeof(state));
		return true;
	}
	if (input->at >= input->size)
		return false;
	switch (next(input) % 6) {
	case 0:
		say_done(socket, (int8_t)next(input), 0, 0);
		break;
	case 1:
		say_items(socket, input);
		break;
	case 2:
		say_runs(socket, input, &message.request);
		break;
	case 3:
		say_info(socket, input);
		break;
	case 4:
		say_anything(socket, input);
		break;
	default:
		return false;
	}
	return true;
}

/* --- the daemon ---------------------------------------------------------------------------------
 */

/* Nothing but the keeper that is there: what reads its book cannot be started. */
static pid_t no_spawn(const char *path, enum keeper_role role, const struct subject *client,
	int socket, int *report)
{
	(void)report;
	(void)path;
	(void)role;
	(void)client;
	(void)socket;
	return -EAGAIN;
}
static int limit_locked(int pidfd, pid_t pid, uint64_t bytes)
{
	(void)pidfd;
	(void)pid;
	(void)bytes;
	return 0;
}
static int64_t locked(pid_t pid)
{
	(void)pid;
	return 0;
}
static int open_container(void)
{
	return -ENODEV;
}
static int headroom(const struct subject *client, struct cgroup_headroom *room)
{
	(void)client;
	(void)room;
	return -ENOENT;
}
static const struct keeper_ops ops = { no_spawn, limit_locked, locked, open_container,
	open_container, headroom };

static void on_limits(struct space *space, struct limits *limits, void *userdata)
{
	(void)space;
	(void)userdata;
	*limits = (struct limits){ LIMIT_NONE, LIMIT_NONE };
}

static void check(const struct space *space)
{
	const struct mappings *mappings = &space->mappings;
	uint64_t billed = 0;

	for (size_t i = 0; i < mappings->n; i++) {
		must(i == 0 || mapping_last(mappings->list[i - 1]) < mappings->list[i]->iova,
			"mapping %zu overlaps", i);
		must(mappings_by_number(mappings, mappings->list[i]->number) == mappings->list[i],
			"mapping %zu is not found by its number", i);
		billed += mappings->list[i]->charge.kernel_bill;
	}
	must(account_kernel_bill(space->account) == billed, "a bill without a mapping");
}

static void on_changed(struct space *space, const char *text, void *userdata)
{
	(void)userdata;
	must(text, "no reason is given");
	if (space_state(space) == SPACE_LIVE)
		check(space);
	is_over = space_state(space) != SPACE_LIVE;
}

static void on_let_go(struct space *space, int group, bool still_open, void *userdata)
{
	(void)space;
	(void)group;
	(void)still_open;
	(void)userdata;
}

static const struct space_hooks hooks = { on_limits, on_changed, on_let_go };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct subject client = { .pid = 1, .uid = 1000 };
	struct input input = { data, size, 0 };
	struct space_slot slot = { .is_used = true };
	struct space_settings settings = {
		.keeper_path = "/nothing",
		.keeper_seconds = 1000,
		.max_memories = 4,
		.max_mappings = 64,
		.max_containers = 3,
		.ops = &ops,
		.slot = &slot,
	};
	const int groups[] = { 1, 2 };
	struct space *space;
	int pair[2];

	if (!loop)
		loop = ev_default_loop(0);
	need_process();
	slot.work = next(&input) % 8;
	slot.number = next(&input);
	slot.is_forced = next(&input) & 1;
	slot.iova = next(&input) << 12;
	slot.length = next(&input) << 12;
	slot.n_containers = next(&input) % 4;
	struct ledger *ledger = ledger_new(N_FRAMES);
	if (!ledger || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		err(1, "no resources");
	struct space_kept kept = {
		.keeper = process,
		.keeper_start_ticks = start_ticks,
		.socket = pair[0],
		.book = memfd_create("book", MFD_CLOEXEC),
		.payer = "uid:1000",
		.groups = groups,
		.n_groups = slot.n_containers ? 2 : 0,
	};
	if (space_adopt(loop, ledger, "S1", &client, &settings, &kept, &hooks, NULL, &space) < 0)
		err(1, "space_adopt");
	is_over = false;
	bool is_there = true;
	for (int turn = 0; turn < MAX_TURNS && is_there && !is_over; turn++) {
		is_there = answer(pair[1], &input);
		ev_run(loop, EVRUN_NOWAIT);
		if (space_state(space) == SPACE_LIVE && input.at >= input.size)
			break;
	}
	close(pair[1]);
	space_leave(space);
	ledger_free(ledger);
	return 0;
}
