#include "space-bench.h"

#include "daemon/base/child.h"
#include "daemon/base/slots.h"
#include "daemon/base/util.h"
#include "daemon/memory/space-parts.h"
#include "tests/unit/count-fds.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define PATIENCE_SECONDS 20

struct bench bench;

/* What is closed here is quick to close: no child has to (tests/unit/base/test-bury.c). */
void fds_bury(const int *fds, size_t n_fds)
{
	for (size_t i = 0; i < n_fds; i++)
		if (fds[i] >= 0)
			close(fds[i]);
}
void fd_bury(int fd)
{
	fds_bury(&fd, 1);
}

/* --- the model: a kernel, and a keeper without a mistake ------------------------------------ */

static unsigned count_containers(void)
{
	unsigned n = 0;
	for (size_t i = 0; i < BENCH_NUMBERS; i++)
		n += bench.containers[i];
	return n;
}

static unsigned count_groups(int container)
{
	unsigned n = 0;
	for (size_t i = 0; i < BENCH_NUMBERS; i++)
		n += bench.groups[i].is_there && bench.groups[i].container == container;
	return n;
}

/* Pages in runs of a few, a frame apart: the same page of a memory is the same frame always. */
static uint64_t frame_of(uint32_t memory, uint64_t page)
{
	return memory * 4096 + page + page / bench.run_pages + bench.moved;
}

static void book_write(struct bench_mapping *mapping)
{
	mapping->offset = bench.book_end;
	for (uint64_t i = 0; i < mapping->n;) {
		uint64_t first = frame_of(mapping->memory, mapping->first + i), n = 1;
		while (i + n < mapping->n &&
			frame_of(mapping->memory, mapping->first + i + n) == first + n)
			n++;
		assert_true(bench.book_end < BENCH_FRAMES);
		bench.book[bench.book_end++] = run_make(first, n);
		i += n;
	}
	mapping->n_runs = bench.book_end - mapping->offset;
}

/* How often the kernel bills what is mapped. */
static unsigned count_bills(void)
{
	unsigned n = count_containers();
	return bench.settings.is_iommufd && n > 1 ? 1 : n;
}

struct reply {
	struct fake_keeper *keeper;
	const struct wire_request *request;
	struct wire_done done;
	struct wire_info info;
	uint64_t runs_offset, n_runs; /* that go first */
	struct wire_item items[3 * BENCH_NUMBERS];
	size_t n_items; /* likewise */
	int fd;
};

static void reply_part(struct reply *reply, const struct bench_mapping *mapping)
{
	reply->runs_offset = mapping->offset;
	reply->n_runs = mapping->n_runs;
	reply->done.book_offset = mapping->offset * sizeof(frame_run);
	reply->done.n_runs = mapping->n_runs;
}

static int do_read(struct reply *reply, struct bench_mapping *mapping)
{
	assert_false(mapping->is_made);
	if (bench.n_holes > 0) {
		reply->done.n_pages = bench.n_holes;
		return WIRE_HOLES;
	}
	book_write(mapping);
	reply_part(reply, mapping);
	return 0;
}

static int do_prepare(struct reply *reply, const struct wire_request *request)
{
	struct bench_mapping *mapping = &bench.mappings[request->mapping];

	assert_false(mapping->is_there);
	*mapping = (struct bench_mapping){
		.is_there = true,
		.memory = request->memory,
		.iova = request->iova,
		.first = request->offset / BENCH_PAGE,
		.n = request->length / BENCH_PAGE,
	};
	return do_read(reply, mapping);
}

static int do_map(struct reply *reply, struct bench_mapping *mapping)
{
	assert_true(mapping->is_there && mapping->n_runs > 0 && count_containers() > 0);
	/* The kernel would not pin more than that. */
	uint64_t pages = 0;
	for (size_t i = 0; i < BENCH_NUMBERS; i++)
		if (bench.mappings[i].is_made || &bench.mappings[i] == mapping)
			pages += bench.mappings[i].n * count_bills();
	assert_true(fake_host.locked_limit >= pages * BENCH_PAGE);
	if (bench.map_error) {
		reply->done.container = 0;
		return bench.map_error;
	}
	if (bench.n_changes > 0) {
		bench.n_changes--;
		bench.moved += 10000;
		return WIRE_CHANGED;
	}
	mapping->is_made = true;
	return 0;
}

static int do_unmap(struct reply *reply, struct bench_mapping *mapping)
{
	assert_true(mapping->is_there);
	reply_part(reply, mapping);
	*mapping = (struct bench_mapping){ 0 };
	return 0;
}

/* Groups of one ten fit into one container. */
static int do_attach(struct reply *reply, const struct wire_request *request)
{
	struct bench_group *group = &bench.groups[request->group];

	assert_false(group->is_there);
	/* A keeper with iommufd has been told of both devices of the group. */
	assert_int_equal(bench.n_members, bench.settings.is_iommufd ? 2 : 0);
	bench.n_members = 0;
	if (bench.attach_error)
		return bench.attach_error;
	*group = (struct bench_group){ .is_there = true, .has_fd = true, .container = -1 };
	for (size_t i = 0; i < BENCH_NUMBERS; i++) {
		int container = bench.groups[i].container;
		if (!bench.groups[i].is_there || container < 0 || i / 10 != request->group / 10 ||
			(request->max_groups > 0 && count_groups(container) >= request->max_groups))
			continue;
		group->container = container;
		reply->done.container = (uint32_t)container;
		return 0;
	}
	return WIRE_NEEDS_CONTAINER;
}

static int do_attach_new(struct reply *reply, const struct wire_request *request)
{
	struct bench_group *group = &bench.groups[request->group];
	int container = 0;

	assert_true(group->is_there && group->container < 0);
	if (bench.new_error)
		return bench.new_error;
	if (bench.n_changes > 0) {
		bench.n_changes--;
		bench.moved += 10000;
		while (reply->done.mapping < BENCH_NUMBERS &&
			!bench.mappings[reply->done.mapping].is_there)
			reply->done.mapping++;
		if (reply->done.mapping < BENCH_NUMBERS)
			return WIRE_CHANGED;
	}
	while (bench.containers[container])
		container++;
	bench.containers[container] = true;
	group->container = container;
	for (size_t i = 0; i < BENCH_NUMBERS; i++) {
		assert_true(!bench.mappings[i].is_there || bench.mappings[i].n_runs > 0);
		bench.mappings[i].is_made = bench.mappings[i].is_there;
	}
	reply->done.container = (uint32_t)container;
	return 0;
}

static void leave(struct reply *reply, struct bench_group *group)
{
	int container = group->container;

	group->is_there = false;
	reply->done.n_groups = container < 0 ? 0 : count_groups(container);
	if (container < 0 || reply->done.n_groups > 0)
		return;
	bench.containers[container] = false;
	for (size_t i = 0; count_containers() == 0 && i < BENCH_NUMBERS; i++)
		bench.mappings[i].is_made = false;
}

static int do_detach(struct reply *reply, const struct wire_request *request)
{
	struct bench_group *group = &bench.groups[request->group];

	assert_true(group->is_there && group->has_fd);
	bench.n_asked_to_leave++;
	if (bench.n_busy > 0) {
		bench.n_busy--;
		bench.dies_soon = bench.n_busy == 0 && bench.dies_when_busy;
		return -EBUSY;
	}
	if (bench.has_device_open[request->group] && group->container >= 0) {
		if (request->flags & WIRE_FORCE)
			group->has_fd = false;
		return -EBUSY;
	}
	leave(reply, group);
	return 0;
}

static int do_info(struct reply *reply, const struct wire_request *request)
{
	assert_true(bench.containers[request->container]);
	/* Each one has another hole in it, and another largest page. */
	reply->info = (struct wire_info){
		.page_sizes = 4096 | (UINT64_C(1) << (20 + request->container)),
		.mappings_left = 100,
		.is_coherent = request->container == 0,
		.n_ranges = 2,
		.ranges = { { 0, 0xfedfffff - request->container * UINT64_C(0x1000000) },
			{ 0xfef00000, 0xffffffffff } },
	};
	return 0;
}

/* All, or of a keeper that is no more what its book has. */
static int do_list(struct reply *reply, bool is_book)
{
	size_t n = 0;

	for (uint32_t i = 0; !is_book && i < BENCH_NUMBERS; i++)
		if (bench.memories[i])
			reply->items[n++] = (struct wire_item){ .kind = WIRE_ITEM_MEMORY,
				.number = i,
				.flags = WIRE_READ_ALLOWED |
					 (i != 2 ? (unsigned)WIRE_WRITE_ALLOWED : 0),
				.page_bytes = BENCH_PAGE,
				.length = 64 * BENCH_PAGE };
	for (uint32_t i = 0; !is_book && i < BENCH_NUMBERS; i++)
		if (bench.groups[i].is_there)
			reply->items[n++] = (struct wire_item){ .kind = WIRE_ITEM_GROUP,
				.number = i,
				.container = bench.groups[i].container < 0
						     ? WIRE_NO_CONTAINER
						     : (uint32_t)bench.groups[i].container,
				.is_held = bench.groups[i].has_fd };
	for (uint32_t i = 0; i < BENCH_NUMBERS; i++) {
		const struct bench_mapping *mapping = &bench.mappings[i];
		if (!mapping->is_there || (is_book && mapping->n_runs == 0))
			continue;
		reply->items[n++] = (struct wire_item){ .kind = WIRE_ITEM_MAPPING,
			.number = i,
			.flags = WIRE_READ_ALLOWED | WIRE_WRITE_ALLOWED,
			.memory = mapping->memory,
			.is_made = !is_book && mapping->is_made,
			.offset = mapping->first * BENCH_PAGE,
			.iova = mapping->iova,
			.length = mapping->n * BENCH_PAGE,
			.book_offset = mapping->offset * sizeof(frame_run),
			.n_runs = mapping->n_runs };
	}
	reply->n_items = n;
	reply->done.size = n;
	return 0;
}

static int act(struct reply *reply)
{
	const struct wire_request *request = reply->request;
	struct bench_mapping *mapping = &bench.mappings[request->mapping];

	switch (request->header.type) {
	case WIRE_START:
	case WIRE_AUDIT:
		return 0;
	case WIRE_LIST:
		return do_list(reply, reply->keeper->role == KEEPER_BOOK);
	case WIRE_REMOVE_MEMORY:
		bench.memories[request->memory] = false;
		return 0;
	case WIRE_ADD_MEMORY:
		bench.memories[request->memory] = request->memory != 3;
		/* As large as the test says, in the place of a size that it would have. */
		reply->done.size = 64 * BENCH_PAGE;
		reply->done.page_bytes = BENCH_PAGE;
		reply->done.flags =
			WIRE_READ_ALLOWED | (request->memory != 2 ? WIRE_WRITE_ALLOWED : 0U);
		return request->memory == 3 ? WIRE_UNSUITABLE : 0;
	case WIRE_GIVE_MEMORY:
		reply->fd = open("/dev/null", O_RDWR | O_CLOEXEC);
		return 0;
	case WIRE_PREPARE:
		return do_prepare(reply, request);
	case WIRE_READ:
		assert_true(mapping->is_there);
		return do_read(reply, mapping);
	case WIRE_MAP:
		return do_map(reply, mapping);
	case WIRE_UNMAP:
		return do_unmap(reply, mapping);
	case WIRE_MEMBER:
		assert_true(bench.settings.is_iommufd);
		assert_string_equal(
			request->name, bench.n_members++ == 0 ? "0000:00:05.0" : "0000:00:05.1");
		return 0;
	case WIRE_ATTACH:
		return do_attach(reply, request);
	case WIRE_ATTACH_NEW:
		return do_attach_new(reply, request);
	case WIRE_DETACH:
		return do_detach(reply, request);
	case WIRE_GROUP_GONE:
		assert_true(!bench.groups[request->group].has_fd);
		leave(reply, &bench.groups[request->group]);
		return 0;
	case WIRE_INFO:
		return do_info(reply, request);
	case WIRE_GET_DEVICE:
		reply->fd = open("/dev/null", O_RDWR | O_CLOEXEC);
		return 0;
	case WIRE_RESET:
		if (bench.reset_error)
			return bench.reset_error;
		reply->done.n_groups = request->flags & WIRE_BUS ? bench.n_wanted : 0;
		reply->done.groups[0] = 30;
		return reply->done.n_groups > 0 ? WIRE_GROUPS_WANTED : 0;
	case WIRE_BOOK:
		reply->runs_offset = request->book_offset / sizeof(frame_run);
		reply->n_runs = request->n_runs;
		return 0;
	default:
		fail_msg("request %u", request->header.type);
		return -EINVAL;
	}
}

static void send_runs(struct fake_keeper *keeper, uint64_t offset, uint64_t n)
{
	/* A few at a time. */
	for (uint64_t i = 0; i < n; i += 3) {
		frame_run runs[3];
		size_t n_now = n - i < 3 ? (size_t)(n - i) : 3;
		memcpy(runs, &bench.book[offset + i], n_now * sizeof(*runs));
		if (bench.book_lies)
			runs[0] += UINT64_C(1) << RUN_BITS;
		fake_runs(keeper, (offset + i) * sizeof(frame_run), runs, n_now);
	}
}

static void send_items(const struct reply *reply)
{
	struct wire_items message;

	for (size_t i = 0; i < reply->n_items; i++) {
		message.items[0] = reply->items[i];
		fake_send(reply->keeper, &message, WIRE_ITEMS,
			offsetof(struct wire_items, items) + sizeof(message.items[0]), -1);
	}
}

static void send_answer(struct reply *reply)
{
	send_runs(reply->keeper, reply->runs_offset, reply->n_runs);
	send_items(reply);
	fake_done(reply->keeper, &reply->done, reply->fd);
	if (reply->request->header.type == WIRE_INFO && reply->done.result == 0)
		fake_send(reply->keeper, &reply->info, WIRE_INFO, sizeof(reply->info), -1);
}

/* What it says last, and how it ends. */
static void fail_so(struct reply *reply, enum fault fault)
{
	struct fake_keeper *keeper = reply->keeper;
	uint64_t half = reply->n_runs / 2;

	switch (fault) {
	case FAULT_DIES_HALFWAY:
		send_runs(keeper, reply->runs_offset, half);
		fake_die(keeper);
		break;
	case FAULT_DIES_AFTER:
		fake_die(keeper);
		break;
	case FAULT_DAEMON_HALFWAY:
		send_runs(keeper, reply->runs_offset, half);
		bench.late = keeper;
		bench.late_done = reply->done;
		bench.late_offset = reply->runs_offset + half;
		bench.late_runs = reply->n_runs - half;
		bench.is_killed = true;
		break;
	case FAULT_BOTH:
		fake_die(keeper);
		bench.is_killed = true;
		break;
	default:
		send_answer(reply);
		bench.is_killed = fault == FAULT_DAEMON_AFTER;
	}
	if (bench.is_killed)
		ev_break(bench.loop, EVBREAK_ALL);
}

static void answer_space(struct fake_keeper *keeper, const struct wire_request *request)
{
	static struct reply reply;
	bool is_faulty = request->header.type != WIRE_START && ++bench.n_requests == bench.fault_at;
	enum fault fault = is_faulty ? bench.fault : FAULT_NONE;

	reply = (struct reply){ .keeper = keeper, .request = request, .fd = -1 };
	bench.last_type = request->header.type;
	bench.coming = request->header.type == WIRE_ATTACH ? (int)request->group : -1;
	if (fault == FAULT_DAEMON_BEFORE) {
		bench.is_killed = true;
		ev_break(bench.loop, EVBREAK_ALL);
		return;
	}
	if (fault == FAULT_DIES_BEFORE) {
		fake_die(keeper);
		return;
	}
	reply.done.result = fault == FAULT_ERROR ? -EIO : act(&reply);
	/* The one request that is done also where it fails. */
	if (fault == FAULT_ERROR && request->flags & WIRE_FORCE)
		bench.groups[request->group].has_fd = false;
	fail_so(&reply, fault);
	if (bench.dies_soon)
		fake_die(keeper);
	bench.dies_soon = false;
	if (reply.fd >= 0)
		close(reply.fd);
}

static void answer_populate(struct fake_keeper *keeper)
{
	fake_done(keeper, &(struct wire_done){ .result = WIRE_HOLES, .n_runs = 1 }, -1);
	bench.n_populated++;
	if (bench.populate_dies) {
		fake_die(keeper);
		return;
	}
	if (!bench.populate_fails && !bench.keeps_holes)
		bench.n_holes = 0;
	fake_done(keeper, &(struct wire_done){ .result = bench.populate_fails ? -ENOSPC : 0 }, -1);
}

static void answer(struct fake_keeper *keeper, const struct wire_request *request, const int *fds,
	size_t n_fds)
{
	(void)fds;
	if (keeper->role == KEEPER_POPULATE) {
		assert_int_equal(n_fds, 2);
		answer_populate(keeper);
	} else if (keeper->role == KEEPER_PUNCH) {
		assert_int_equal(n_fds, 2);
		bench.n_punched++;
		fake_done(keeper, &(struct wire_done){ 0 }, -1);
	} else {
		if (request->header.type == WIRE_ATTACH_NEW)
			assert_int_equal(n_fds, !bench.settings.is_iommufd);
		answer_space(keeper, request);
	}
}

/* --- hooks ---------------------------------------------------------------------------------- */

static void on_limits(struct space *space, struct limits *limits, void *userdata)
{
	(void)space;
	assert_ptr_equal(userdata, &bench);
	*limits = bench.limits;
}

static void on_changed(struct space *space, const char *text, void *userdata)
{
	(void)userdata;
	assert_non_null(text);
	bench.n_changed++;
	ev_break(bench.loop, EVBREAK_ALL);
	bench.state = space_state(space);
	if (bench.state != SPACE_ENDED)
		return;
	bench.has_ended = true;
	bench.space = space_free(space);
}

static void on_let_go(struct space *space, int group, bool still_open, void *userdata)
{
	(void)space;
	(void)userdata;
	bench.n_let_go++;
	bench.is_waiting[group] = still_open;
}

const struct space_hooks bench_hooks = { on_limits, on_changed, on_let_go };

/* What is under way, as the next daemon would find it. */
static uint32_t bench_work(void)
{
	const struct space_slot *slot = (const struct space_slot *)bench.slot;
	return slot->work;
}

static void on_done(struct space *space, const struct space_answer *answer_, void *userdata)
{
	(void)space;
	assert_ptr_equal(userdata, &bench);
	bench.n_done++;
	bench.work_before_answer = bench_work();
	slot_settle();
	bench.work_in_answer = bench_work();
	ev_break(bench.loop, EVBREAK_ALL);
	bench.answer = *answer_;
	bench.refusal = *answer_->refusal;
}

/* --- the bench ------------------------------------------------------------------------------ */

static unsigned steal(unsigned *number)
{
	unsigned value = *number;
	*number = 0;
	return value;
}

static void give_up(struct ev_loop *loop, ev_timer *timer, int revents)
{
	(void)loop;
	(void)revents;
	*(bool *)timer->data = true;
}

/* The daemon is no more, and what it has had charged neither; the next one finds its descriptors.
 */
static void start_again(void (*taken)(void))
{
	static const struct subject client = { .pid = 1, .uid = 1000 };
	struct space_kept kept = { .payer = "uid:1000" };
	int groups[BENCH_NUMBERS];

	bench.is_killed = false;
	bench.n_restarts++;
	if (bench.again_after > 0)
		bench.fault_at = bench.n_requests + steal(&bench.again_after);
	kept.keeper = fake_host.keepers[bench.keeper].pid;
	kept.keeper_start_ticks = bench.start_ticks;
	kept.socket = fcntl(space_keeper_socket(bench.space), F_DUPFD_CLOEXEC, 0);
	if (kept.socket < 0)
		kept.socket = open("/dev/null", O_RDONLY | O_CLOEXEC);
	kept.book = fcntl(space_book(bench.space), F_DUPFD_CLOEXEC, 0);
	for (int i = 0; i < BENCH_NUMBERS; i++)
		if (bench.groups[i].is_there || bench.is_waiting[i] || i == bench.coming)
			groups[kept.n_groups++] = i;
	kept.groups = groups;
	space_leave(bench.space);
	ledger_free(bench.ledger);
	bench.ledger = ledger_new(BENCH_FRAMES);
	memset(bench.is_waiting, 0, sizeof(bench.is_waiting));
	bench.n_changed = 0;
	bench.has_ended = false;
	assert_int_equal(space_adopt(bench.loop, bench.ledger, "S1", &client, &bench.settings,
				 &kept, &bench_hooks, &bench, &bench.space),
		0);
	/* Which is in the record of who made the space. */
	if (bench.is_destroyed)
		space_destroy(bench.space, "the test ends");
	/* The rest of what the former daemon had asked for comes before it hears of this one. */
	if (bench.late) {
		send_runs(bench.late, bench.late_offset, bench.late_runs);
		fake_done(bench.late, &bench.late_done, -1);
		bench.late = NULL;
	}
	if (taken)
		taken();
	while (bench.n_changed == 0 && !bench.is_killed)
		ev_run(bench.loop, EVRUN_ONCE);
	if (bench.is_killed)
		start_again(NULL);
}

void bench_kill_daemon(void (*taken)(void))
{
	start_again(taken);
}

void bench_wait(bool (*is_so)(void))
{
	bool is_over = false;
	ev_timer patience;

	ev_now_update(bench.loop);
	ev_timer_init(&patience, give_up, PATIENCE_SECONDS, 0);
	patience.data = &is_over;
	ev_timer_start(bench.loop, &patience);
	while (!is_so() && !is_over) {
		ev_run(bench.loop, EVRUN_ONCE);
		if (bench.is_killed)
			start_again(NULL);
	}
	ev_timer_stop(bench.loop, &patience);
	if (is_over)
		fail_msg("it never happens: request %u (type %u), fault %d at %u, state %d",
			bench.n_requests, bench.last_type, bench.fault, bench.fault_at,
			bench.space ? (int)space_state(bench.space) : -1);
}

static bool is_started(void)
{
	return bench.n_changed > 0;
}

bool bench_is_over(void)
{
	return bench.has_ended;
}

bool bench_is_iommufd;

int bench_set_up(void **state)
{
	(void)state;
	memset(&bench, 0, sizeof(bench));
	bench.loop = ev_default_loop(0);
	ev_run(bench.loop, EVRUN_NOWAIT);
	fake_host_init(bench.loop, answer);
	bench.n_fds_before = count_fds();
	bench.ledger = ledger_new(BENCH_FRAMES);
	bench.limits = (struct limits){ LIMIT_NONE, LIMIT_NONE };
	bench.run_pages = 3;
	bench.settings = (struct space_settings){
		.keeper_path = "keeper",
		.keeper_seconds = PATIENCE_SECONDS,
		.max_memories = 4,
		.max_mappings = 8,
		.max_containers = 3,
		.is_iommufd = bench_is_iommufd,
		.ops = &fake_ops,
		.slot = bench.slot,
	};
	return 0;
}

void bench_start(void)
{
	static const struct subject client = { .pid = 1, .uid = 1000 };

	bench.has_ended = bench.is_destroyed = false;
	bench.n_changed = 0;
	assert_int_equal(space_new(bench.loop, bench.ledger, "S1", &client, &bench.settings,
				 &bench_hooks, &bench, &bench.space),
		0);
	bench_wait(is_started);
	assert_int_equal(bench.state, SPACE_LIVE);
	bench.keeper = fake_host.n_keepers - 1;
	assert_int_equal(
		process_start_time(fake_host.keepers[bench.keeper].pid, &bench.start_ticks), 0);
}

void bench_close_devices(void)
{
	for (int i = 0; i < BENCH_NUMBERS; i++) {
		if (!bench.is_waiting[i])
			continue;
		bench.is_waiting[i] = bench.has_device_open[i] = false;
		if (bench.space)
			space_group_gone(bench.space, i);
	}
	/* With the keeper gone, nothing else kept the pins. */
	for (size_t i = 0;
		bench.space && space_state(bench.space) == SPACE_ORPHANED && i < BENCH_NUMBERS; i++)
		bench.mappings[i].is_made = false;
}

static bool is_over_when_closed(void)
{
	bench_close_devices();
	return bench.has_ended;
}

void bench_destroy(void)
{
	if (bench.space) {
		bench.is_destroyed = true;
		space_destroy(bench.space, "the test ends");
		bench_wait(is_over_when_closed);
	}
	assert_int_equal(bench_owed(), 0);
	assert_true(TAILQ_EMPTY(ledger_accounts(bench.ledger)));
	assert_int_equal(account_kernel_bill(ledger_host(bench.ledger)), 0);
}

int bench_tear_down(void **state)
{
	(void)state;
	if (bench.space)
		bench_destroy();
	ledger_free(bench.ledger);
	fake_host_clear();
	ev_run(bench.loop, EVRUN_NOWAIT);
	assert_int_equal(count_fds(), bench.n_fds_before);
	return 0;
}

static unsigned n_done_before, n_restarts_before;
static bool is_answered(void)
{
	return bench.n_done > n_done_before || bench.n_restarts > n_restarts_before;
}

/* `r`: what the call said. */
static int await(int r, const struct refusal *refusal)
{
	if (r != 0) {
		bench.refusal = *refusal;
		return r;
	}
	bench_wait(is_answered);
	/* Who has asked hears of it from the sessions. */
	if (bench.n_restarts > n_restarts_before)
		return -EINTR;
	assert_int_equal(bench.n_done, n_done_before + 1);
	return bench.answer.result;
}

#define AWAIT(call)                                                                                \
	do {                                                                                       \
		struct refusal refusal_ = { 0 }, *refusal = &refusal_;                             \
		if (!bench.space)                                                                  \
			return -ESRCH;                                                             \
		n_done_before = bench.n_done;                                                      \
		n_restarts_before = bench.n_restarts;                                              \
		int r_ = (call);                                                                   \
		return await(r_, refusal);                                                         \
	} while (0)

int bench_add_memory(void)
{
	AWAIT(space_add_memory(
		bench.space, open("/dev/null", O_RDWR | O_CLOEXEC), on_done, &bench, refusal));
}

int bench_remove_memory(uint32_t memory)
{
	AWAIT(space_remove_memory(bench.space, memory, on_done, &bench, refusal));
}

int bench_map_exactly(const struct space_map *map)
{
	AWAIT(space_map(bench.space, map, on_done, &bench, refusal));
}

int bench_map(uint32_t memory, uint64_t page, uint64_t n, uint64_t iova)
{
	struct space_map map = {
		.memory = memory,
		.offset = page * BENCH_PAGE,
		.length = n * BENCH_PAGE,
		.iova = iova,
		.read = true,
		.write = true,
	};
	return bench_map_exactly(&map);
}

int bench_unmap(uint64_t iova, uint64_t n_pages)
{
	AWAIT(space_unmap(bench.space, iova, n_pages * BENCH_PAGE, on_done, &bench, refusal));
}

int bench_attach_for(const struct space_group *group)
{
	AWAIT(space_attach(bench.space, group, open("/dev/null", O_RDWR | O_CLOEXEC), on_done,
		&bench, refusal));
}

int bench_attach(int group)
{
	static const char *const members[] = { "0000:00:05.0", "0000:00:05.1" };
	struct space_group asked = {
		.number = group,
		.account = "uid:1000",
		.members = members,
		.n_members = 2,
	};
	bench.n_members = 0;
	return bench_attach_for(&asked);
}

int bench_detach(int group, bool force)
{
	AWAIT(space_detach(bench.space, group, force, on_done, &bench, refusal));
}

int bench_get_device(int group)
{
	AWAIT(space_get_device(bench.space, group, "0000:00:05.0", on_done, &bench, refusal));
}

int bench_reset_device(int group, bool bus)
{
	AWAIT(space_reset_device(
		bench.space, group, "0000:00:05.0", bus, on_done, &bench, refusal));
}

int bench_audit(void)
{
	AWAIT(space_audit(bench.space, on_done, &bench, refusal));
}

uint64_t bench_owed(void)
{
	return account_owed(ledger_host(bench.ledger));
}

static uint64_t distinct_frames(void)
{
	static bool is_pinned[BENCH_FRAMES];
	uint64_t n = 0;

	memset(is_pinned, 0, sizeof(is_pinned));
	for (size_t i = 0; i < BENCH_NUMBERS; i++) {
		const struct bench_mapping *mapping = &bench.mappings[i];
		for (uint64_t j = 0; mapping->is_made && j < mapping->n_runs; j++) {
			frame_run run = bench.book[mapping->offset + j];
			for (uint64_t k = 0; k < run_length(run); k++) {
				n += !is_pinned[run_first(run) + k];
				is_pinned[run_first(run) + k] = true;
			}
		}
	}
	return n;
}

void bench_check(void)
{
	uint64_t bill = 0;

	if (!bench.space) {
		assert_int_equal(bench_owed(), 0);
		return;
	}
	if (space_state(bench.space) == SPACE_ORPHANED) {
		/* No pin without a charge. */
		assert_true(bench_owed() >= distinct_frames());
		return;
	}
	for (size_t i = 0; i < BENCH_NUMBERS; i++)
		if (bench.mappings[i].is_made)
			bill += bench.mappings[i].n * count_bills();
	assert_int_equal(account_kernel_bill(space_account(bench.space)), bill);
	assert_int_equal(fake_host.locked_limit, bill * BENCH_PAGE);
	assert_int_equal(bench_owed(), distinct_frames());
	const struct account *payer = space_payer(bench.space);
	if (payer) {
		assert_int_equal(account_owed(payer), bench_owed());
		assert_int_equal(account_kernel_bill(payer), bill);
	} else {
		assert_int_equal(bill, 0);
	}
}
