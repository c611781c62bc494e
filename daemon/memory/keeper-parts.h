/* What the files of a keeper share. Nobody outside of this room includes this. */
#pragma once

#include "daemon/memory/keeper.h"

#include <stdbool.h>

/* To be exec'ed and isolated; in a frozen cgroup that takes for ever. */
static const double START_SECONDS = 30;

enum keeper_state {
	KEEPER_STARTING,  /* no hello yet */
	KEEPER_SYNCING,   /* adopted: what it says is for the daemon before this one */
	KEEPER_BEGINNING, /* WIRE_START has no answer yet */
	KEEPER_IDLE,
	KEEPER_ASKED,
	KEEPER_ENDING, /* its socket is closed */
	KEEPER_DYING,  /* SIGKILL is on its way */
	KEEPER_GONE,
};

struct keeper {
	struct ev_loop *loop;
	const struct keeper_ops *ops;
	enum keeper_role role;
	struct keeper_listener listener;
	void *userdata;
	pid_t pid;
	int socket, pidfd, book;
	int report; /* who has started it tells of it there; -1: nobody does */
	ev_io readable;
	ev_child ended; /* or, of one that is not our child: */
	ev_io reported;
	ev_io left; /* of the pidfd; waitid(2) would say ECHILD */
	uint64_t nonce;
	ev_timer deadline;
	enum keeper_state state;
	bool has_hello; /* but no pid yet */
	bool has_ended; /* but what it said before that may not be read yet */
	int status;     /* then: as from waitpid(2) */
	uint32_t asked; /* the type */
	bool has_done;  /* `done` waits for its info */
	struct wire_done done;
	char why[128];       /* it was killed; empty: not by us */
	uint64_t limited_to; /* bytes that it may have locked; it begins with none */
};

/* With nothing yet. NULL: no memory. */
struct keeper *keeper_make(struct ev_loop *loop, const struct keeper_ops *ops,
	enum keeper_role role, const struct keeper_listener *listener, void *userdata);
void keeper_set_deadline(struct keeper *keeper, double seconds);
