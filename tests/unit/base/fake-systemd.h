/* Plays systemd for the store: a datagram socket, and what was sent to it. */
#pragma once

#include "daemon/base/store.h"

#define KEPT_MAX 64

struct fake_systemd {
	struct ev_loop *loop;
	int socket;
	ev_io readable;
	char names[KEPT_MAX][STORE_NAME_SIZE];
	int fds[KEPT_MAX];
	size_t n_kept, n_barriers;
	bool is_forgetful; /* keeps nothing */
};

/* $NOTIFY_SOCKET is its. It answers while the loop runs and it is not busy. */
void fake_systemd_start(struct fake_systemd *systemd, struct ev_loop *loop);
void fake_systemd_stop(struct fake_systemd *systemd);
void fake_systemd_be_busy(struct fake_systemd *systemd, bool is_busy);
/* The descriptor that is kept under this name, or -1. */
int fake_systemd_has(const struct fake_systemd *systemd, const char *name);
/*
 * Hands over what it has, and `listening` besides if it is not -1: as descriptors from 3 on, and in
 * the environment. Those must be free.
 */
void fake_systemd_hand_over(struct fake_systemd *systemd, int listening);
/* Nobody else has anything open from 3 on. */
void close_everything(void);
