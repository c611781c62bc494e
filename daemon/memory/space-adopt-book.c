/*
 * A space of an earlier daemon, whose keeper has ended. Its groups may be open still, and what they
 * have pinned is in its book, with an index: it is charged from there, by a process in role book,
 * and the space is orphaned.
 */
#include "daemon/base/log.h"
#include "daemon/base/util.h"
#include "daemon/memory/space-parts.h"

#include <errno.h>
#include <string.h>

/* The last call: the space may be no more. */
static void orphaned(struct space *space)
{
	struct adoption *adoption = space->adoption;
	struct group *group;
	char why[sizeof(space->why)];

	/* Of all that it may have had it is told that they may be open. */
	TAILQ_FOREACH (group, &space->groups, of_space)
		group->is_let_go = false;
	while ((group = TAILQ_FIRST(&adoption->groups))) {
		TAILQ_REMOVE(&adoption->groups, group, of_space);
		space_add_group(space, group, NULL);
	}
	space->adoption = adoption_free(adoption);
	space->slot->work = WORK_NONE;
	memcpy(why, space->why, sizeof(why));
	space_keeper_gone(space, why);
}

static void give_up(struct space *space, const char *why)
{
	log_error("space %s: what it had pinned is not charged, as its book cannot be read: %s",
		space->name, why);
	orphaned(space);
}

/* An attach that was under way may have had one more. */
static unsigned containers_at_most(const struct space *space)
{
	const struct space_slot *slot = space->slot;
	return slot->n_containers + (slot->work == WORK_ATTACH);
}

static struct mapping *mapping_of(struct adoption *adoption)
{
	const struct wire_item *item = &adoption->items[adoption->index];
	return mappings_by_number(&adoption->space->mappings, item->number);
}

/* The last call, as it may come to the end. */
static void charge_next(struct adoption *adoption)
{
	struct space *space = adoption->space;
	int r = 0;

	for (; adoption->index < adoption->n_items; adoption->index++) {
		const struct wire_item *item = &adoption->items[adoption->index];
		struct mapping *mapping = mapping_of(adoption);
		if (mapping->charge.n_runs >= item->n_runs)
			continue;
		if (mapping->charge.kernel_bill == 0)
			r = adoption_bill(adoption, mapping, containers_at_most(space));
		if (r < 0) {
			give_up(space, strerror(-r));
			return;
		}
		struct wire_request request = adoption_rest(mapping, item);
		keeper_ask(adoption->reader, &request, NULL, 0,
			space_seconds(space, mapping_pages(mapping)));
		return;
	}
	orphaned(space);
}

static void on_ready(struct keeper *keeper, void *userdata)
{
	struct space *space = userdata;
	struct wire_request request = { .header.type = WIRE_LIST };

	keeper_ask(keeper, &request, NULL, 0, space->settings.keeper_seconds);
}

static void on_items(
	struct keeper *keeper, const struct wire_item *items, size_t n_items, void *userdata)
{
	struct space *space = userdata;

	if (adoption_add_items(space->adoption, items, n_items) < 0)
		keeper_kill(keeper, strerror(ENOMEM));
}

static int rebuild(struct adoption *adoption)
{
	struct space *space = adoption->space;
	int r = 0;

	for (size_t i = 0; r == 0 && i < adoption->n_items; i++) {
		const struct wire_item *item = &adoption->items[i];
		const struct mapping *there = mappings_by_number(&space->mappings, item->number);
		/* The living keeper may have said it before. */
		if (there && there->iova == item->iova && there->length == item->length &&
			there->book_offset == item->book_offset)
			continue;
		r = adoption_add_mapping(space, item);
	}
	int restored = mappings_restored(&space->mappings);
	if (r == 0)
		r = restored;
	if (r == 0 && !space->payer)
		r = (space->payer = ledger_account(space->ledger, adoption->payer)) ? 0 : -ENOMEM;
	return r;
}

static void on_runs(
	struct keeper *keeper, const struct wire_runs *runs, size_t n_runs, void *userdata)
{
	struct space *space = userdata;
	struct adoption *adoption = space->adoption;

	if (adoption->index >= adoption->n_items ||
		adoption_cover(mapping_of(adoption), runs, n_runs) < 0)
		keeper_kill(keeper, "the book does not say what was pinned");
}

static void on_done(struct keeper *keeper, const struct wire_done *done,
	const struct wire_info *info, int fd, void *userdata)
{
	(void)keeper;
	(void)info;
	(void)fd;
	struct space *space = userdata;
	struct adoption *adoption = space->adoption;
	bool is_list = adoption->index == SIZE_MAX;
	int r = done->result;

	if (is_list) {
		adoption->index = 0;
		if (r == 0)
			r = done->size == adoption->n_items ? rebuild(adoption) : -EBADMSG;
	} else if (r == 0) {
		const struct wire_item *item = &adoption->items[adoption->index++];
		const struct mapping *mapping = mappings_by_number(&space->mappings, item->number);
		if (mapping->charge.n_runs != item->n_runs)
			r = -EBADMSG;
	}
	if (r != 0)
		give_up(space, strerror(r < 0 ? -r : EPROTO));
	else
		charge_next(adoption);
}

static void on_gone(struct keeper *keeper, int status, const char *text, void *userdata)
{
	(void)keeper;
	(void)status;
	give_up(userdata, text);
}

static const struct keeper_listener reader_listener = { on_ready, on_runs, on_done, on_gone,
	on_items };

void adoption_orphan(struct space *space, const char *text)
{
	struct adoption *adoption = space->adoption;
	struct operation *operation = steal_pointer(&space->current);

	snprintf(space->why, sizeof(space->why), "%s", text);
	if (operation)
		operation_drop(operation);
	adoption->n_items = 0;
	adoption->index = SIZE_MAX;
	/* Nothing was attached: nothing was pinned. */
	if (containers_at_most(space) == 0) {
		orphaned(space);
		return;
	}
	int r = keeper_new(space->loop, space->ops, space->settings.keeper_path, KEEPER_BOOK,
		&space->subject, space->book, &reader_listener, space, &adoption->reader);
	if (r < 0)
		give_up(space, strerror(-r));
}
