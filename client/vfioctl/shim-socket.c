/* The supervisor's socket, and its threads, for what client/shim/preload.c asks: one an open. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "client/shim/wire.h"
#include "client/vfioctl/shim.h"

#define REQUEST_SECONDS 10

/* Like mkdtemp(3): only its user gets in. False: there it cannot be. */
static bool directory_make(const char *parent, char path[SHIM_SOCKET_SIZE])
{
	int n = parent && *parent == '/'
			? snprintf(path, SHIM_SOCKET_SIZE, "%s/vfioctl-XXXXXX", parent)
			: -1;

	return n > 0 && (size_t)n + sizeof "/shim" <= SHIM_SOCKET_SIZE && mkdtemp(path);
}

int shim_socket_make(char path[SHIM_SOCKET_SIZE], int *listener)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int r = 0;

	*listener = -1;
	if (!directory_make(getenv("XDG_RUNTIME_DIR"), path) && !directory_make("/tmp", path)) {
		r = -errno;
		*path = '\0';
		return r;
	}
	memcpy(path + strlen(path), "/shim", sizeof "/shim"); /* directory_make() */
	snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
	*listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (*listener < 0 ||
		bind(*listener, (const struct sockaddr *)&address, sizeof address) < 0 ||
		listen(*listener, SOMAXCONN) < 0)
		r = -errno;
	if (r < 0) {
		if (*listener >= 0)
			close(*listener);
		*listener = -1;
		shim_socket_remove(path);
	}
	return r;
}

void shim_socket_remove(char path[SHIM_SOCKET_SIZE])
{
	if (!*path)
		return;
	unlink(path);
	*strrchr(path, '/') = '\0';
	rmdir(path);
	*path = '\0';
}

struct connected {
	struct shim_asker asker;
	struct shim *shim;
	int socket;
};

/* Nobody says more than once what he wants: whatever comes is his end. */
static bool is_waiting(const struct shim_asker *asker)
{
	struct pollfd end = { .fd = ((const struct connected *)asker)->socket,
		.events = POLLIN | POLLRDHUP };

	return poll(&end, 1, 0) == 0;
}

static int give(const struct shim_asker *asker, int fd, uint64_t flags)
{
	const struct connected *connected = (const struct connected *)asker;
	struct shim_reply reply = { .error = 0 };

	(void)flags; /* O_CLOEXEC is his to see to */
	/* If it cannot be sent, he has gone, and needs none. */
	fds_send(connected->socket, &reply, sizeof reply, &fd, 1);
	return 0;
}

/* Who gets as far as the socket is our user, or root, who needs nothing of us. */
static bool is_ours(int socket)
{
	struct ucred peer;
	socklen_t size = sizeof peer;

	return getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 &&
	       peer.uid == geteuid();
}

static void *connected_serve(void *userdata)
{
	struct connected *connected = userdata;
	const struct timeval patience = { .tv_sec = REQUEST_SECONDS };
	struct shim_request request;
	struct shim_reply reply = { .error = SHIM_AS_IT_IS };
	int r = SHIM_NOT_OURS;
	ssize_t n = -1;

	setsockopt(connected->socket, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
	/* Who was stopped is interrupted where there is a timeout, without a handler: signal(7). */
	while (is_ours(connected->socket)) {
		n = recv(connected->socket, &request, sizeof request, 0);
		if (n >= 0 || errno != EINTR)
			break;
	}
	if (n == sizeof request)
		r = shim_answer(connected->shim, &connected->asker, request.device, request.flags);
	if (r < 0)
		reply.error = -r;
	if (r != 0)
		send(connected->socket, &reply, sizeof reply, MSG_NOSIGNAL);
	close(connected->socket);
	free(connected);
	return NULL;
}

static void connection_serve(struct shim *shim, int socket)
{
	struct connected *connected = malloc(sizeof *connected);
	pthread_t thread;

	if (!connected) {
		close(socket); /* for him, it is as without us */
		return;
	}
	*connected = (struct connected){ { is_waiting, give }, shim, socket };
	/* If there can be no other thread, the next one waits. */
	if (pthread_create(&thread, NULL, connected_serve, connected) == 0)
		pthread_detach(thread);
	else
		connected_serve(connected);
}

static void *listener_serve(void *userdata)
{
	const struct timespec moment = { .tv_nsec = 10000000 };
	struct shim *shim = userdata;

	for (;;) {
		int socket = accept4(shim->listener, NULL, NULL, SOCK_CLOEXEC);

		if (socket >= 0)
			connection_serve(shim, socket);
		else if (errno != EINTR && errno != ECONNABORTED)
			nanosleep(&moment, NULL); /* EMFILE: others are about to close theirs */
	}
	return NULL;
}

int shim_socket_serve(struct shim *shim)
{
	pthread_t thread;
	int error = pthread_create(&thread, NULL, listener_serve, shim);

	if (error == 0)
		pthread_detach(thread);
	return -error;
}
