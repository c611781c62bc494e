/* A space: its object and its state. What happens in it is operations (space-queue.c). */
#include "daemon/base/log.h"
#include "daemon/base/util.h"
#include "daemon/memory/space-parts.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

/* Reading frames and pinning them, at worst: in software emulation, with the sanitizers. */
#define PAGES_PER_SECOND 20000.0

uint64_t space_page_bytes(void)
{
	return (uint64_t)sysconf(_SC_PAGESIZE);
}

double space_seconds(const struct space *space, uint64_t n_pages)
{
	return space->settings.keeper_seconds + (double)n_pages / PAGES_PER_SECOND;
}

uint64_t space_pages(const struct space *space)
{
	return space->mappings.bytes / space_page_bytes() * (space->n_containers + 1);
}

struct group *space_group(const struct space *space, int number)
{
	struct group *group;

	TAILQ_FOREACH (group, &space->groups, of_space)
		if (group->number == number)
			return group;
	return NULL;
}

struct memory *space_memory(const struct space *space, uint32_t number)
{
	struct memory *memory;

	TAILQ_FOREACH (memory, &space->memories, of_space)
		if (memory->number == number)
			return memory;
	return NULL;
}

struct container *space_container(const struct space *space, unsigned number)
{
	struct container *container;

	TAILQ_FOREACH (container, &space->containers, of_space)
		if (container->number == number)
			return container;
	return NULL;
}

static void on_turn(struct ev_loop *loop, ev_prepare *prepare, int revents)
{
	(void)revents;
	ev_prepare_stop(loop, prepare);
	queue_run(prepare->data);
}

void space_schedule(struct space *space)
{
	ev_prepare_start(space->loop, &space->turn);
}

int space_refuse_ended(const struct space *space, struct refusal *refusal)
{
	return refuse(refusal, REFUSAL_SPACE_ENDED, "%s", space->why);
}

void space_distrust(struct space *space, const char *why)
{
	log_error("space %s: its keeper is not to be trusted: %s", space->name, why);
	if (space->keeper)
		keeper_kill(space->keeper, why);
}

/* --- its keeper ----------------------------------------------------------------------------- */

static void on_ready(struct keeper *keeper, void *userdata)
{
	(void)keeper;
	struct space *space = userdata;

	if (space->state != SPACE_STARTING)
		return;
	if (space->adoption) {
		adoption_start(space);
		return;
	}
	space->state = SPACE_LIVE;
	space->hooks.changed(space, "its keeper has started", space->userdata);
	space_schedule(space);
}

static void on_runs(
	struct keeper *keeper, const struct wire_runs *runs, size_t n_runs, void *userdata)
{
	(void)keeper;
	struct space *space = userdata;
	struct operation *operation = space->current;

	if (!operation || !operation->runs)
		space_distrust(space, "it says what frames are pinned, unasked");
	else if (operation->runs(operation, runs, n_runs) < 0)
		space_distrust(space, "the frames that it gives back are not those it had");
}

static void on_done(struct keeper *keeper, const struct wire_done *done,
	const struct wire_info *info, int fd, void *userdata)
{
	(void)keeper;
	struct space *space = userdata;
	struct operation *operation = space->current;

	/* Whoever answers is the one who was asked: operations do not end in between. */
	operation->runs = NULL;
	operation->answered(operation, done, info, fd);
}

static void on_gone(struct keeper *keeper, int status, const char *text, void *userdata)
{
	(void)keeper;
	(void)status;
	struct space *space = userdata;

	space->keeper = keeper_free(space->keeper);
	space_keeper_gone(space, text);
}

static void on_items(
	struct keeper *keeper, const struct wire_item *items, size_t n_items, void *userdata)
{
	(void)keeper;
	struct space *space = userdata;

	if (!space->adoption || adoption_add_items(space->adoption, items, n_items) < 0)
		space_distrust(space, "what it has cannot be written down");
}

static const struct keeper_listener keeper_listener = { on_ready, on_runs, on_done, on_gone,
	on_items };

/* --- from beginning to end ------------------------------------------------------------------ */

/* All but its keeper and its book. 0 or -ENOMEM. */
static int space_make(struct ev_loop *loop, struct ledger *ledger, const char *name,
	const struct subject *subject, const struct space_settings *settings,
	const struct space_hooks *hooks, void *userdata, struct space **result)
{
	struct space *space = calloc(1, sizeof(*space));
	if (!space)
		return -ENOMEM;
	*space = (struct space){
		.loop = loop,
		.ledger = ledger,
		.settings = *settings,
		.ops = settings->ops ? settings->ops : &keeper_ops,
		.hooks = *hooks,
		.userdata = userdata,
		.book = -1,
	};
	space->slot = settings->slot ? settings->slot : &space->no_slot;
	space->slot->is_used = true;
	TAILQ_INIT(&space->memories);
	TAILQ_INIT(&space->containers);
	TAILQ_INIT(&space->groups);
	TAILQ_INIT(&space->queue);
	ev_prepare_init(&space->turn, on_turn);
	space->turn.data = space;

	int r = subject_copy(&space->subject, subject);
	if (r == 0 &&
		(!(space->name = strdup(name)) ||
			!(space->account = ledger_space_account(ledger, name)) ||
			!(space->destroyer = operation_make(space, destroy_start, -1, NULL, NULL))))
		r = -ENOMEM;
	if (r < 0)
		space = space_free(space);
	*result = space;
	return r;
}

int space_new(struct ev_loop *loop, struct ledger *ledger, const char *name,
	const struct subject *subject, const struct space_settings *settings,
	const struct space_hooks *hooks, void *userdata, struct space **result)
{
	*result = NULL;
	struct space *space;
	int r = space_make(loop, ledger, name, subject, settings, hooks, userdata, &space);
	if (r < 0)
		return r;
	if ((space->book = memfd_create("vfiod-book", MFD_CLOEXEC)) < 0)
		r = -errno;
	if (r == 0)
		r = keeper_new(loop, space->ops, settings->keeper_path,
			settings->is_iommufd ? KEEPER_SPACE_IOMMUFD : KEEPER_SPACE, subject,
			space->book, &keeper_listener, space, &space->keeper);
	if (r < 0) {
		space_free(space);
		return r;
	}
	*result = space;
	return 0;
}

int space_adopt(struct ev_loop *loop, struct ledger *ledger, const char *name,
	const struct subject *subject, const struct space_settings *settings,
	const struct space_kept *kept, const struct space_hooks *hooks, void *userdata,
	struct space **result)
{
	_cleanup_close_ int socket = kept->socket, book = kept->book;
	struct space *space;

	*result = NULL;
	int r = space_make(loop, ledger, name, subject, settings, hooks, userdata, &space);
	if (r < 0)
		return r;
	space->book = steal_fd(&book);
	space->last_memory = space->slot->last_memory;
	r = adoption_new(space, kept);
	if (r == 0)
		r = keeper_adopt(loop, space->ops,
			settings->is_iommufd ? KEEPER_SPACE_IOMMUFD : KEEPER_SPACE, kept->keeper,
			kept->keeper_start_ticks, steal_fd(&socket), space->book,
			space_seconds(space, space->slot->n_pages), &keeper_listener, space,
			&space->keeper);
	if (r < 0) {
		space_free(space);
		return r;
	}
	*result = space;
	return 0;
}

struct space *space_free(struct space *space)
{
	struct memory *memory;
	struct group *group;
	struct container *container;

	if (!space)
		return NULL;
	ev_prepare_stop(space->loop, &space->turn);
	queue_clear(space);
	space->adoption = adoption_free(space->adoption);
	space->refund = refund_free(space->refund);
	if (space->keeper)
		keeper_kill(space->keeper, "the daemon ends");
	keeper_free(space->keeper);
	for (size_t i = 0; i < space->mappings.n; i++)
		charge_drop(&space->mappings.list[i]->charge);
	mappings_clear(&space->mappings);
	while ((memory = TAILQ_FIRST(&space->memories))) {
		TAILQ_REMOVE(&space->memories, memory, of_space);
		free(memory);
	}
	while ((group = TAILQ_FIRST(&space->groups))) {
		TAILQ_REMOVE(&space->groups, group, of_space);
		space_group_free(group);
	}
	while ((container = TAILQ_FIRST(&space->containers))) {
		TAILQ_REMOVE(&space->containers, container, of_space);
		container_free(container);
	}
	iova_list_clear(&space->ranges);
	account_release(space->payer);
	account_release(space->account);
	if (space->book >= 0)
		close(space->book);
	subject_clear(&space->subject);
	free(space->described);
	free(space->described_groups);
	free(space->name);
	free(space);
	return NULL;
}

struct space *space_leave(struct space *space)
{
	if (space)
		space->keeper = keeper_leave(space->keeper);
	return space_free(space);
}

void space_end(struct space *space)
{
	space->state = SPACE_ENDED;
	space_let_payer_go(space);
	queue_end(space);
	space->hooks.changed(space, space->why, space->userdata);
}

const char *space_name(const struct space *space)
{
	return space->name;
}

enum space_state space_state(const struct space *space)
{
	return space->state;
}

const struct subject *space_subject(const struct space *space)
{
	return &space->subject;
}

pid_t space_keeper_pid(const struct space *space)
{
	return space->keeper ? keeper_pid(space->keeper) : 0;
}

int space_keeper_socket(const struct space *space)
{
	return space->keeper ? keeper_socket(space->keeper) : -1;
}

int space_book(const struct space *space)
{
	return space->book;
}

const struct account *space_payer(const struct space *space)
{
	return space->payer;
}

const struct account *space_account(const struct space *space)
{
	return space->account;
}

bool space_is_iommufd(const struct space *space)
{
	return space->settings.is_iommufd;
}

bool space_has_group(const struct space *space, int group)
{
	return space_group(space, group);
}

bool space_group_is_let_go(const struct space *space, int number)
{
	const struct group *group = space_group(space, number);
	return group && group->is_let_go;
}
