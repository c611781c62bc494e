/* A keeper's conversation with the daemon (base/wire.h), in each role. */
#pragma once

#include "daemon/base/wire.h"
#include "daemon/keeper/isolate.h"
#include "daemon/keeper/keeping.h"

/*
 * Each answers one request after the other until the socket closes: 0; or -errno, and -EBADMSG
 * where a request is none of the role's.
 */
int serve_keeper(int socket, struct keeping *keeping);
int serve_book(int socket);
int serve_populate(int socket);
int serve_punch(int socket);

/* What they have in common. */
int serve_hello(int socket);
/*
 * The next request, with exactly the descriptors that it has to have: 1, 0 at the end, -errno.
 * n_fds: of a WIRE type.
 */
struct request {
	union wire_message message;
	int fds[WIRE_FDS_MAX];
};
typedef int (*request_fds)(uint32_t type); /* how many; negative: not ours */
int serve_receive(int socket, struct request *request, request_fds n_fds);
/* A DONE; fd -1: none, else it stays the caller's. */
int serve_done(int socket, struct wire_done *done, int fd);
/* All that it has, as WIRE_LIST says; *n: how many. 0 or -errno. */
int serve_list(int socket, const struct keeping *keeping, uint64_t *n);
int serve_list_of_book(int socket, int book, uint64_t *n);
/* Runs of the book, in as many messages as it takes. */
int serve_runs(int socket, int book, uint64_t offset, uint64_t n_runs);
