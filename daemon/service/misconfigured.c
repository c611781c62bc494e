#include "daemon/service/misconfigured.h"

#include "daemon/base/child.h"
#include "daemon/base/log.h"
#include "daemon/base/store.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sysexits.h>
#include <unistd.h>

/* Between two tries. systemd starts it at once. */
static const unsigned AGAIN_SECONDS = 2;
/* Backlog= of the socket; who is left starts another vfiod, which goes on with it. */
enum { WAITING_MAX = 512 };

static void turn_away(int listen_fd)
{
	int fds[WAITING_MAX];
	size_t n = 0;

	/* systemd's own flag is the same one; it sets it anew for whom it starts. */
	if (fcntl(listen_fd, F_SETFL, O_NONBLOCK) < 0)
		return;
	while (n < WAITING_MAX && (fds[n] = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC)) >= 0)
		shutdown(fds[n++], SHUT_RDWR);
	/* Whose descriptors may be queued there, and how long closing them takes, is not known. */
	fds_bury(fds, n);
}

static void count(const char *name, unsigned number, void *userdata)
{
	size_t *n = userdata;

	(void)name;
	(void)number;
	++*n;
}

/* The store is not freed: that would empty systemd's. */
_Noreturn void misconfigured_end(struct ev_loop *loop, size_t fd_store)
{
	struct store *store;
	size_t n = 0;
	int listen_fd;

	if (store_new(loop, fd_store, &listen_fd, &store) < 0)
		_exit(1);
	/* Tables of slots are nobody's. */
	for (const char *kind = "clsk"; *kind; kind++)
		store_each(store, *kind, count, &n);
	if (n > 0) {
		log_error("clients and devices of an earlier vfiod wait until the configuration is "
			  "mended "
			  "(%zu descriptors are kept): trying again",
			n);
		sleep(AGAIN_SECONDS);
		_exit(1);
	}
	if (listen_fd >= 0)
		turn_away(listen_fd);
	_exit(EX_CONFIG);
}
