/*
 * The keeper has ended. Its pins live on for as long as a device or group of the space is open
 * anywhere; so the space is orphaned, and charged, until all of its groups could be opened again.
 * Then the charges are taken back: a process in role book says what they were.
 */
#include "daemon/base/log.h"
#include "daemon/base/message-id.h"
#include "daemon/base/util.h"
#include "daemon/memory/space-parts.h"

#include <errno.h>
#include <string.h>

struct refund {
	struct space *space;
	struct keeper *reader;
	bool has_failed;
};

struct refund *refund_free(struct refund *refund)
{
	if (!refund)
		return NULL;
	keeper_free(refund->reader);
	free(refund);
	return NULL;
}

/* Nothing is guessed: what cannot be taken back by the book stays charged, for all to see. */
static void refund_fail(struct space *space, const char *why)
{
	if (space->refund) {
		space->refund->has_failed = true;
		space->refund->reader = keeper_free(space->refund->reader);
	}
	log_error("space %s: %s. What its mappings are charged for cannot be told any more: "
		  "%llu pages stay charged until vfiod is restarted",
		space->name, why, (unsigned long long)account_owed(space->account));
	snprintf(space->why, sizeof(space->why), "its book cannot be read: %s", why);
	space->hooks.changed(space, space->why, space->userdata);
}

/* The last mapping that is charged, all behind it being settled. NULL: none. */
static struct mapping *refund_mapping(struct space *space)
{
	while (space->mappings.n > 0) {
		struct mapping *mapping = space->mappings.list[space->mappings.n - 1];
		if (mapping->charge.n_runs > 0)
			return mapping;
		/* Its containers are gone, but for one that it was never made in. */
		if (mapping->charge.payer)
			charge_unbill(&mapping->charge, mapping->charge.kernel_bill);
		mapping_settle(mapping);
		mappings_drop(&space->mappings, mapping, space->mappings.n - 1);
	}
	return NULL;
}

/* The last call: the space may be gone. */
static void refund_next(struct space *space)
{
	const struct mapping *mapping = refund_mapping(space);

	if (!mapping) {
		space->refund = refund_free(space->refund);
		space_end(space);
		return;
	}
	struct wire_request request = {
		.header.type = WIRE_BOOK,
		.book_offset = mapping->book_offset,
		.n_runs = mapping->charge.n_runs,
	};
	keeper_ask(space->refund->reader, &request, NULL, 0,
		space_seconds(space, mapping_pages(mapping)));
}

static void on_ready(struct keeper *keeper, void *userdata)
{
	(void)keeper;
	refund_next(userdata);
}

static void on_runs(
	struct keeper *keeper, const struct wire_runs *runs, size_t n_runs, void *userdata)
{
	struct space *space = userdata;
	struct mapping *mapping = refund_mapping(space);

	if (!mapping || mapping_take_back(mapping, runs, n_runs) < 0)
		keeper_kill(keeper, "the frames in the book are not those that were charged");
}

static void on_done(struct keeper *keeper, const struct wire_done *done,
	const struct wire_info *info, int fd, void *userdata)
{
	(void)keeper;
	(void)info;
	(void)fd;
	struct space *space = userdata;

	if (done->result != 0)
		refund_fail(space, strerror(done->result < 0 ? -done->result : EPROTO));
	else
		refund_next(space);
}

static void on_gone(struct keeper *keeper, int status, const char *text, void *userdata)
{
	(void)keeper;
	(void)status;
	refund_fail(userdata, text);
}

static const struct keeper_listener reader_listener = { on_ready, on_runs, on_done, on_gone };

/* The last call: the space may be gone. */
void space_refund(struct space *space)
{
	if (space->refund)
		return;
	if (!refund_mapping(space)) {
		space_end(space);
		return;
	}
	struct refund *refund = calloc(1, sizeof(*refund));
	space->refund = refund;
	if (!refund) {
		refund_fail(space, strerror(ENOMEM));
		return;
	}
	int r = keeper_new(space->loop, space->ops, space->settings.keeper_path, KEEPER_BOOK,
		&space->subject, space->book, &reader_listener, space, &refund->reader);
	if (r < 0)
		refund_fail(space, strerror(-r));
}

/* What was under way may have been done, or not: it stays charged as if it had been. */
static void abandon(struct operation *operation)
{
	struct space *space = operation->space;

	if (operation->has_made_mapping) {
		operation->has_made_mapping = false;
		mappings_insert(&space->mappings, operation->mapping);
	}
	struct container *container = operation->container;
	struct group *group = operation->group;
	operation->container = NULL;
	operation->group = NULL;
	if (container) {
		/* No keeper has this number. */
		container->number = UINT32_MAX;
		space_add_container(space, container);
	}
	if (group)
		space_add_group(space, group, container);
}

/* One that nobody waits for yet. */
static struct group *group_held(const struct space *space)
{
	struct group *group;

	TAILQ_FOREACH (group, &space->groups, of_space)
		if (!group->is_let_go)
			return group;
	return NULL;
}

/* They are free, but the keeper had not been told. */
static void forget_gone_groups(struct space *space)
{
	struct group *group = TAILQ_FIRST(&space->groups);

	while (group) {
		struct group *next = TAILQ_NEXT(group, of_space);
		if (group->is_gone)
			space_remove_group(space, group);
		group = next;
	}
}

void space_keeper_gone(struct space *space, const char *text)
{
	struct operation *operation = space->current;
	bool is_destroyed = space->state == SPACE_ENDING;

	if (space->adoption) {
		adoption_orphan(space, text);
		return;
	}
	if (operation)
		abandon(operation);
	forget_gone_groups(space);
	if (!is_destroyed)
		snprintf(space->why, sizeof(space->why), "%s", text);
	bool is_orphaned = space->n_groups > 0 || refund_mapping(space);
	space->state = is_orphaned ? SPACE_ORPHANED : SPACE_ENDING;
	if (operation)
		operation_finish(operation, space_refuse_ended(space, &operation->refusal));
	queue_end(space);
	if (!is_destroyed)
		log_fields(LOG_WARNING,
			(const char *[]){ "MESSAGE_ID",
				is_orphaned ? MESSAGE_SPACE_ORPHANED : MESSAGE_KEEPER_ENDED,
				"VFIOD_SPACE", space->name, NULL },
			"space %s: %s%s", space->name, text,
			is_orphaned ? "; what it has pinned is charged until its groups are free"
				    : "");
	if (is_orphaned) {
		space->hooks.changed(space, space->why, space->userdata);
	}
	struct group *group;
	while ((group = group_held(space))) {
		group->is_let_go = true;
		space->hooks.let_go(space, group->number, true, space->userdata);
	}
	if (space->n_groups == 0)
		space_refund(space);
}
