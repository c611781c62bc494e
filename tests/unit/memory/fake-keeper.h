/*
 * The other end of a keeper's socket, on the loop of the test. Its process only waits to be killed,
 * so that it has a pid and can end.
 */
#pragma once

#include "daemon/memory/keeper.h"

#include <stdbool.h>

struct fake_keeper {
	enum keeper_role role;
	pid_t pid;
	int socket; /* -1: it has ended */
	bool has_book;
	ev_io readable;
};

/* What it does with a request; fds are its own, closed afterwards. */
typedef void (*fake_answer)(struct fake_keeper *keeper, const struct wire_request *request,
	const int *fds, size_t n_fds);

#define FAKE_KEEPERS_MAX 64
struct fake_host {
	struct ev_loop *loop;
	fake_answer answer;
	bool is_silent;    /* no hello, and no answer to a sync */
	uint32_t version;  /* that it says to a sync */
	int spawn_fails;   /* -errno */
	bool is_elsewhere; /* vfiod-privileged starts it: */
	int report;        /* its end; -1: closed */
	bool no_room;      /* headroom: 0 bytes */
	int no_container;  /* -errno */
	uint64_t locked_limit;
	int64_t locked;
	struct fake_keeper keepers[FAKE_KEEPERS_MAX];
	size_t n_keepers;
};
extern struct fake_host fake_host;
extern const struct keeper_ops fake_ops;

void fake_host_init(struct ev_loop *loop, fake_answer answer);
/* Every process has ended. */
void fake_host_clear(void);

/* What it says of the last keeper: -errno, its pid, or if it has ended, as from wait(2). */
void fake_report_failed(int result);
void fake_report_started(void);
void fake_report_ended(int status);
void fake_report_close(void);

void fake_hello(struct fake_keeper *keeper, uint32_t version);
void fake_done(struct fake_keeper *keeper, const struct wire_done *done, int fd);
void fake_runs(struct fake_keeper *keeper, uint64_t book_offset, const frame_run *runs, size_t n);
void fake_send(struct fake_keeper *keeper, void *message, uint32_t type, size_t length, int fd);
/* It dies, as by SIGKILL. */
void fake_die(struct fake_keeper *keeper);
