/*
 * A space of an earlier daemon. Its keeper says what it has; that is charged again, from its book;
 * and what that daemon was in the middle of is finished or undone. Until then the space is
 * STARTING, and its operations wait.
 */
#include "daemon/base/log.h"
#include "daemon/base/util.h"
#include "daemon/memory/space-parts.h"

#include <errno.h>
#include <string.h>

struct adoption *adoption_free(struct adoption *adoption)
{
	struct group *group;

	if (!adoption)
		return NULL;
	while ((group = TAILQ_FIRST(&adoption->groups))) {
		TAILQ_REMOVE(&adoption->groups, group, of_space);
		space_group_free(group);
	}
	if (adoption->work)
		operation_drop(adoption->work);
	keeper_free(adoption->reader);
	free(adoption->payer);
	free(adoption->items);
	free(adoption);
	return NULL;
}

int adoption_new(struct space *space, const struct space_kept *kept)
{
	struct adoption *adoption = calloc(1, sizeof(*adoption));

	if (!adoption)
		return -ENOMEM;
	space->adoption = adoption;
	adoption->space = space;
	TAILQ_INIT(&adoption->groups);
	/* What is pinned is charged, if need be to whom it belongs. */
	int r = kept->payer ? asprintf(&adoption->payer, "%s", kept->payer)
			    : asprintf(&adoption->payer, "uid:%u", (unsigned)space->subject.uid);
	if (r < 0)
		adoption->payer = NULL;
	adoption->work = operation_make(space, NULL, -1, NULL, NULL);
	if (!adoption->payer || !adoption->work)
		return -ENOMEM;
	for (size_t i = 0; i < kept->n_groups; i++) {
		struct group *group = space_group_make(space, kept->groups[i]);
		if (!group)
			return -ENOMEM;
		TAILQ_INSERT_TAIL(&adoption->groups, group, of_space);
	}
	return 0;
}

int adoption_add_items(struct adoption *adoption, const struct wire_item *items, size_t n)
{
	size_t n_items = adoption->n_items + n;

	if (n_items > adoption->size) {
		size_t size = n_items * 2;
		struct wire_item *larger = reallocarray(adoption->items, size, sizeof(*larger));
		if (!larger)
			return -ENOMEM;
		adoption->items = larger;
		adoption->size = size;
	}
	memcpy(adoption->items + adoption->n_items, items, n * sizeof(*items));
	adoption->n_items = n_items;
	return 0;
}

/* --- what the keeper has -------------------------------------------------------------------- */

static int add_memory(struct space *space, const struct wire_item *item)
{
	if (item->number == 0 || space_memory(space, item->number) || item->length == 0)
		return -EBADMSG;
	struct memory *memory = calloc(1, sizeof(*memory));
	if (!memory)
		return -ENOMEM;
	*memory = (struct memory){
		.number = item->number,
		.page_bytes = item->page_bytes,
		.size = item->length,
		.is_writable = item->flags & WIRE_WRITE_ALLOWED,
	};
	TAILQ_INSERT_TAIL(&space->memories, memory, of_space);
	space->n_memories++;
	if (memory->number > space->last_memory)
		space->last_memory = memory->number;
	return 0;
}

struct group *adoption_take_group(struct adoption *adoption, int number)
{
	struct group *group;

	TAILQ_FOREACH (group, &adoption->groups, of_space)
		if (group->number == number) {
			TAILQ_REMOVE(&adoption->groups, group, of_space);
			return group;
		}
	return space_group_make(adoption->space, number);
}

static struct container *find_container(struct space *space, uint32_t number)
{
	struct container *container = space_container(space, number);

	if (container)
		return container;
	container = calloc(1, sizeof(*container));
	if (!container)
		return NULL;
	container->number = number;
	/* Not in the slot before all are known. */
	TAILQ_INSERT_TAIL(&space->containers, container, of_space);
	space->n_containers++;
	return container;
}

static int add_group(struct adoption *adoption, const struct wire_item *item)
{
	struct space *space = adoption->space;
	struct container *container = NULL;

	if (item->number > INT32_MAX || space_group(space, (int)item->number))
		return -EBADMSG;
	struct group *group = adoption_take_group(adoption, (int)item->number);
	if (!group)
		return -ENOMEM;
	if (item->container != WIRE_NO_CONTAINER) {
		container = find_container(space, item->container);
		if (!container) {
			space_group_free(group);
			return -ENOMEM;
		}
	}
	group->is_let_go = !item->is_held;
	space_add_group(space, group, container);
	return 0;
}

int adoption_add_mapping(struct space *space, const struct wire_item *item)
{
	const uint64_t page = space_page_bytes();
	uint64_t last;

	if (item->length == 0 || item->length % page || item->iova % page ||
		__builtin_add_overflow(item->iova, item->length - 1, &last) ||
		item->n_runs > item->length / page ||
		mappings_by_number(&space->mappings, item->number))
		return -EBADMSG;
	struct mapping *mapping = mappings_restore(&space->mappings, item->number);
	if (!mapping)
		return -ENOMEM;
	mapping->memory = item->memory;
	mapping->offset = item->offset;
	mapping->iova = item->iova;
	mapping->length = item->length;
	mapping->flags = item->flags;
	mapping->book_offset = item->book_offset;
	return 0;
}

static int add_item(struct adoption *adoption, const struct wire_item *item)
{
	struct space *space = adoption->space;
	struct memory *memory;

	switch (item->kind) {
	case WIRE_ITEM_MEMORY:
		return add_memory(space, item);
	case WIRE_ITEM_GROUP:
		return add_group(adoption, item);
	case WIRE_ITEM_MAPPING:
		memory = space_memory(space, item->memory);
		if (!memory)
			return -EBADMSG;
		memory->n_mappings++;
		return adoption_add_mapping(space, item);
	default:
		return 0; /* of a later keeper: it does not matter to us */
	}
}

/* Nothing is made where there is no container. */
static bool goes_together(const struct adoption *adoption)
{
	for (size_t i = 0; i < adoption->n_items; i++)
		if (adoption->items[i].kind == WIRE_ITEM_MAPPING && adoption->items[i].is_made &&
			adoption->space->n_containers == 0)
			return false;
	return true;
}

/* Room to describe it, so that describing cannot fail. */
static int make_room(struct space *space)
{
	size_t n = space->n_groups + 1;

	space->described_groups = calloc(n, sizeof(*space->described_groups));
	space->described = calloc(n, sizeof(*space->described));
	return space->described_groups && space->described ? 0 : -ENOMEM;
}

static int rebuild(struct adoption *adoption)
{
	struct space *space = adoption->space;
	int r = 0;

	for (size_t i = 0; r == 0 && i < adoption->n_items; i++)
		r = add_item(adoption, &adoption->items[i]);
	int restored = mappings_restored(&space->mappings);
	if (r == 0)
		r = restored;
	if (r == 0 && !goes_together(adoption))
		r = -EBADMSG;
	if (r == 0) {
		space->slot->n_containers = space->n_containers;
		r = make_room(space);
	}
	if (r == 0 && space->n_groups > 0)
		r = (space->payer = ledger_account(space->ledger, adoption->payer)) ? 0 : -ENOMEM;
	return r;
}

/* --- what it was in the middle of ------------------------------------------------------------ */

static bool memory_is_there(const struct space *space, uint32_t number)
{
	const struct memory *memory = space_memory(space, number);
	return memory && memory->n_mappings == 0;
}

static bool group_is_held(const struct space *space, uint32_t number)
{
	const struct group *group = space_group(space, (int)number);
	return group && !group->is_let_go;
}

/* A mapping that is not made, where there is a container, is half a mapping. */
static const struct mapping *half_mapping(const struct adoption *adoption)
{
	const struct space *space = adoption->space;
	const struct space_slot *slot = space->slot;

	if (slot->work == WORK_MAP && mappings_by_number(&space->mappings, slot->number))
		return mappings_by_number(&space->mappings, slot->number);
	for (size_t i = 0; space->n_containers > 0 && i < adoption->n_items; i++)
		if (adoption->items[i].kind == WIRE_ITEM_MAPPING && !adoption->items[i].is_made)
			return mappings_by_number(&space->mappings, adoption->items[i].number);
	return NULL;
}

/* Sets adoption->work up; its `start` is NULL where there is nothing to do. */
static void choose_work(struct adoption *adoption)
{
	struct space *space = adoption->space;
	const struct space_slot *slot = space->slot;
	const struct mapping *half = half_mapping(adoption);
	struct operation *work = adoption->work;

	if (half) {
		work->start = unmap_start;
		work->iova = half->iova;
		work->length = half->length;
		log_info("space %s: a Map was under way, and is undone", space->name);
		if (slot->work == WORK_MAP && slot->is_filling)
			log_warning("space %s: what it had filled of the holes of memory %u stays "
				    "filled",
				space->name, half->memory);
	} else if (slot->work == WORK_UNMAP) {
		work->start = unmap_start;
		work->iova = slot->iova;
		work->length = slot->length;
		log_info("space %s: an Unmap was under way, and is finished", space->name);
	} else if ((slot->work == WORK_ADD_MEMORY || slot->work == WORK_REMOVE_MEMORY) &&
		   memory_is_there(space, slot->number)) {
		work->start = remove_memory_start;
		work->memory = slot->number;
		log_info("space %s: memory %u was under way, and is removed", space->name,
			slot->number);
	} else if ((slot->work == WORK_ATTACH || slot->work == WORK_DETACH) &&
		   group_is_held(space, slot->number)) {
		work->start = detach_start;
		work->group_number = (int)slot->number;
		work->force = slot->work == WORK_ATTACH || slot->is_forced;
		log_info("space %s: group %u was under way, and is detached", space->name,
			slot->number);
	}
}

/* The last call: the space may be no more. */
static void become_live(struct space *space)
{
	struct group *group;

	space->state = SPACE_LIVE;
	log_info("space %s goes on: %zu mappings, %llu pages charged", space->name,
		space->mappings.n, (unsigned long long)account_owed(space->account));
	TAILQ_FOREACH (group, &space->groups, of_space)
		if (group->is_let_go)
			space->hooks.let_go(space, group->number, true, space->userdata);
	space_schedule(space);
	space->hooks.changed(space, "vfiod was started again", space->userdata);
	if (space->is_to_end)
		space_destroy(space, space->why);
}

static void work_done(struct space *space, const struct space_answer *answer, void *userdata)
{
	(void)userdata;
	char text[REFUSAL_TEXT_SIZE] = "";

	if (answer->result == REFUSED)
		refusal_describe(answer->refusal, text, sizeof(text));
	if (answer->result != 0)
		log_warning("space %s: what was under way stays as it is: %s", space->name,
			*text ? text : strerror(-answer->result));
	/* Its keeper may have died of it. */
	if (space->state == SPACE_STARTING)
		become_live(space);
}

/* All is charged. */
static void adopted(struct operation *operation)
{
	struct space *space = operation->space;
	struct adoption *adoption = space->adoption;

	choose_work(adoption);
	struct operation *work = steal_pointer(&adoption->work);
	space->adoption = adoption_free(adoption);
	/* The slot stays as it is until that is done. */
	space->current = NULL;
	operation_drop(operation);
	if (space_limit_locked(space) < 0)
		log_warning("space %s: what its keeper may have locked is not known", space->name);
	if (work->start) {
		work->done = work_done;
		operation_start(work);
		return;
	}
	operation_drop(work);
	space->slot->work = WORK_NONE;
	become_live(space);
}

/* --- the charges ------------------------------------------------------------------------------ */

int adoption_bill(struct adoption *adoption, struct mapping *mapping, unsigned n_containers)
{
	static const struct limits none = { LIMIT_NONE, LIMIT_NONE };
	struct refusal refusal;

	unsigned times = space_times(adoption->space, n_containers);
	int r = mapping_bill(adoption->space, mapping, times, &none, &refusal);
	return r == REFUSED ? -EOVERFLOW : r;
}

int adoption_cover(struct mapping *mapping, const struct wire_runs *runs, size_t n_runs)
{
	static const struct limits none = { LIMIT_NONE, LIMIT_NONE };
	struct charge *charge = &mapping->charge;
	struct refusal refusal;

	if (runs->book_offset != mapping->book_offset + charge->n_runs * sizeof(frame_run))
		return -EBADMSG;
	/* They are pinned: a limit is not asked, the host's neither. */
	int r = charge_cover(charge, runs->runs, n_runs, &none, mapping_pages(mapping), &refusal);
	return r == REFUSED ? -EBADMSG : r;
}

struct wire_request adoption_rest(const struct mapping *mapping, const struct wire_item *item)
{
	uint64_t n_covered = mapping->charge.n_runs;

	return (struct wire_request){
		.header.type = WIRE_BOOK,
		.book_offset = item->book_offset + n_covered * sizeof(frame_run),
		.n_runs = item->n_runs - n_covered,
	};
}

static void charge_next(struct operation *operation);

/* As it cannot be told what it pins, it is not to pin anything for longer than need be. */
static void give_up(struct operation *operation, int error)
{
	space_distrust(operation->space, error == -ENOMEM ? "there is no memory to take it over"
							  : "what it has does not go together");
}

static int charge_runs(struct operation *operation, const struct wire_runs *runs, size_t n_runs)
{
	return adoption_cover(operation->mapping, runs, n_runs);
}

static void charge_answered(struct operation *operation, const struct wire_done *done,
	const struct wire_info *info, int fd)
{
	(void)info;
	(void)fd;
	struct adoption *adoption = operation->space->adoption;
	const struct charge *charge = &operation->mapping->charge;

	if (done->result != 0 || charge->n_runs != adoption->items[adoption->index].n_runs ||
		charge->n_pages != mapping_pages(operation->mapping)) {
		give_up(operation, -EBADMSG);
		return;
	}
	adoption->index++;
	charge_next(operation);
}

static void charge_next(struct operation *operation)
{
	struct space *space = operation->space;
	struct adoption *adoption = space->adoption;

	for (; adoption->index < adoption->n_items; adoption->index++) {
		const struct wire_item *item = &adoption->items[adoption->index];
		if (item->kind != WIRE_ITEM_MAPPING || !item->is_made)
			continue;
		operation->mapping = mappings_by_number(&space->mappings, item->number);
		int r = adoption_bill(adoption, operation->mapping, space->n_containers);
		if (r < 0) {
			give_up(operation, r);
			return;
		}
		struct wire_request request = adoption_rest(operation->mapping, item);
		operation->runs = charge_runs;
		operation_ask(operation, &request, NULL, 0, mapping_pages(operation->mapping),
			charge_answered);
		return;
	}
	operation->mapping = NULL;
	adopted(operation);
}

/* --- what is asked ---------------------------------------------------------------------------- */

static void info_next(struct operation *operation);

static void info_answered(struct operation *operation, const struct wire_done *done,
	const struct wire_info *info, int fd)
{
	(void)done;
	(void)fd;
	struct space *space = operation->space;
	struct adoption *adoption = space->adoption;
	int r = info ? container_learn(space, adoption->container, info) : -EBADMSG;

	if (r < 0) {
		give_up(operation, r);
		return;
	}
	adoption->container = TAILQ_NEXT(adoption->container, of_space);
	info_next(operation);
}

static void info_next(struct operation *operation)
{
	struct adoption *adoption = operation->space->adoption;

	if (!adoption->container) {
		charge_next(operation);
		return;
	}
	struct wire_request request = {
		.header.type = WIRE_INFO,
		.container = adoption->container->number,
	};
	operation_ask(operation, &request, NULL, 0, 0, info_answered);
}

static void list_answered(struct operation *operation, const struct wire_done *done,
	const struct wire_info *info, int fd)
{
	(void)info;
	(void)fd;
	struct space *space = operation->space;
	struct adoption *adoption = space->adoption;

	int r = done->result == 0 && done->size == adoption->n_items ? rebuild(adoption) : -EBADMSG;
	if (r < 0) {
		give_up(operation, r);
		return;
	}
	adoption->container = TAILQ_FIRST(&space->containers);
	info_next(operation);
}

static void list_start(struct operation *operation)
{
	struct wire_request request = { .header.type = WIRE_LIST };
	operation_ask(operation, &request, NULL, 0, operation->space->slot->n_pages, list_answered);
}

void adoption_start(struct space *space)
{
	/* Whatever it was, it is over. What comes next is kept out of the slot. */
	struct operation *operation = operation_make(space, list_start, -1, NULL, NULL);

	if (operation)
		operation_start(operation);
	else
		space_distrust(space, "there is no memory to take it over");
}
