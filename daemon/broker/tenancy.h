/*
 * A lease on its way, for the two files that drive it:
 *
 *   tenancy-queue.c  how it comes in, and waits for its turn
 *   tenancy.c        prepare → take → grant → end, and how it is undone
 */
#pragma once

#include "daemon/base/record.h"
#include "daemon/broker/parts.h"
#include "daemon/lease/wish.h"

enum tenancy_phase {
	PHASE_QUEUED,
	PHASE_PREPARING, /* every group inspects or opens; no write yet */
	PHASE_TAKING,
	PHASE_UNDOING, /* one failed: what was taken goes back, then the client is told */
	PHASE_GRANTED,
};

struct tenancy {
	struct broker *broker;
	struct lease *lease;
	enum tenancy_phase phase;
	struct wishes *wishes; /* descriptions that wait for an answer; NULL: groups were named */
	unsigned
		looked; /* the round in which it was seen last what could answer them (wishing.h) */
	unsigned long long served_by; /* the number of the offer (offering.h) */
	ev_tstamp waits_until;        /* loop time; 0: it does not wait */
	bool is_late;                 /* that is over */
	bool tries_again;             /* UNDOING: then it is QUEUED once more, for another group */
	struct holding *
		*holdings; /* of lease->groups, in their order; NULL: not its own (any more) */
	size_t n_holdings;
	size_t n_pending; /* holdings, and `bounding`, that have not answered in this phase */
	struct bounding *bounding; /* PREPARING: looks what bounds the lease's process; NULL */
	bool is_abandoned;         /* ended before it was granted: it is not tried again */
	bool has_failed;
	struct refusal refusal; /* the first */
	size_t told_position;   /* in the queue */
	uint64_t memory_bytes;  /* to reserve when its turn comes */
	unsigned long checked; /* broker->n_changes when it was found that it may have its groups */
	bool only_takes;       /* an administrator's take: no lease stays when it is done */
	bool is_recorded;      /* the next daemon would have it */
	struct draft draft;    /* of its record; where it has become the record, its file */
	char record[LEASE_NAME_SIZE]; /* its record's file: its own name, or an earlier lease's */
	char **lost; /* devices that left while no daemon ran; its listener has not heard */
	ev_timer wait;
	ev_timer grace; /* GRANTED: its connection was lost, and it waits for a Resume */
	ev_io holder_ended;
	int holder_pidfd;
};

/* For so many groups, with no lease yet. NULL: no memory. */
struct tenancy *tenancy_make(struct broker *broker, size_t n_groups);
/* Its lease ends with this process, whose pidfd is taken over. */
void tenancy_follow(struct tenancy *tenancy, int holder_pidfd);
/*
 * Asked when it comes and again when its turn comes: rules and groups change while it waits. 0,
 * -errno, or REFUSED with *culprit: the group that it is refused for; NULL: none.
 */
int tenancy_check(struct tenancy *tenancy, const struct group **culprit, struct refusal *refusal);
/* Its turn has come: QUEUED → PREPARING. It may have been refused, and be no more, at once. */
void tenancy_start(struct tenancy *tenancy);
/* They are answered, or will not be. */
void tenancy_forget_wishes(struct tenancy *tenancy);
/* QUEUED, and it will not be granted: -errno, or REFUSED with tenancy->refusal. Frees it. */
void tenancy_give_up(struct tenancy *tenancy, int result, const char *origin);
/* UNDOING → QUEUED: all is as it was before its turn. */
void tenancy_requeue(struct tenancy *tenancy);
/* Not granted: the listener is told tenancy->refusal, and nothing is left. Frees it. */
void tenancy_refuse(struct tenancy *tenancy);
/* Frees it and its lease without a word. */
void tenancy_free(struct tenancy *tenancy);
void tenancy_news(struct tenancy *tenancy, const char *event, const char *text);
