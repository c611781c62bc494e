/*
 * Descriptors that outlive this process: systemd's file descriptor store
 * (sd_pid_notify_with_fds(3), FDSTORE=1, FDPOLL=0). What is in it comes back to the next vfiod,
 * whatever became of this one, and is gone when the service is stopped.
 *
 * systemd takes what it is sent without an answer, and drops silently what is beyond
 * FileDescriptorStoreMax= (core/service.c, service_add_fd_store). So they are counted here, and a
 * barrier (BARRIER=1) tells when it has taken all that was put before; it is waited for on the
 * loop. systemd has a descriptor open for as long as it is stored: who closes a connection shuts it
 * down.
 *
 * Names, at most 15 characters, unique:  c7 a connection, by its slot;  l3 the holder's pidfd of
 * lease L3;  s2 that of space S2;  k2, b2 the keeper's socket of S2 and its book;  tc, ts the slots
 * of connections and of spaces (slots.h).
 */
#pragma once

#include <ev.h>
#include <stdbool.h>
#include <stddef.h>

struct store;

#define STORE_NAME_SIZE 16

/*
 * Takes over what systemd has handed to this process but for its listening socket, which is left
 * (*listen_fd; -1: none). `max`: FileDescriptorStoreMax, 0: there is no store, and nothing outlives
 * us. Call once, first of all: the environment is cleared. 0 or -errno, logged.
 */
int store_new(struct ev_loop *loop, size_t max, int *listen_fd, struct store **store);
/* Closes what was handed over and nobody has taken, and removes it from systemd's. NULL-safe. */
struct store *store_free(struct store *store);

/* False: no systemd, or no room was given. Then put() is -EOPNOTSUPP and nothing comes back. */
bool store_is_there(const struct store *store);
/* How many more can be put. */
size_t store_room(const struct store *store);

/* What an earlier vfiod has put: the descriptor, the caller's now (and still in the store); or -1.
 */
int store_take(struct store *store, const char *name);
/*
 * All names of this kind that were handed over and not taken, in no order: 'c' for c0, c1, … The
 * visitor may take it, and remove it.
 */
typedef void (*store_visit)(const char *name, unsigned number, void *userdata);
void store_each(struct store *store, char kind, store_visit visit, void *userdata);

/* What nobody has taken is closed and removed: all that is known of it was read. */
void store_settle(struct store *store);

/* A copy for systemd; fd stays the caller's. 0, -ENOSPC (it is full), -EEXIST, -EOPNOTSUPP,
 * -errno. */
int store_put(struct store *store, const char *name, int fd);
/*
 * No error if it is not there. systemd closes its copy some time after this: what must not be
 * closed by it at last (a connection, in which descriptors may be queued) is kept open until a
 * barrier has come back.
 */
void store_remove(struct store *store, const char *name);
/*
 * `kept` is called from the loop when systemd has all that was put before this; at once if there is
 * no store. Many callers share a barrier. False result: it did not answer (logged), go on all the
 * same. 0 or -ENOMEM.
 */
typedef void (*store_kept)(bool is_kept, void *userdata);
int store_when_kept(struct store *store, store_kept kept, void *userdata);
void store_forget(struct store *store, void *userdata); /* who waits is no more */
