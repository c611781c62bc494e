/* Children of a client with descriptors: what they pin outlives them, and limits are theirs. */
#include "tests/vm/programs/space/space-client.h"

#include "tests/vm/programs/program.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/vfio.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* Whoever runs out of memory, the first to be killed is not its parent. */
static void child_begin(void)
{
	int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, "1000", 4) != 4)
		_exit(EXIT_SYSTEM);
	close(fd);
}

/* Of its own, fresh. */
static int child_pin(int container, uint64_t iova, size_t length)
{
	void *memory =
		mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED || !container_pin(container, memory, iova, length,
					    VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE))
		return errno;
	return 0;
}

static void command_pinners(const struct words *words)
{
	int container = object_find(CONTAINER, words->word[1])->fd;
	uint64_t n = word_number(words, 2), length = word_number(words, 3);
	unsigned n_pinned = 0, n_refused = 0, n_killed = 0;

	for (uint64_t i = 0; i < n; i++) {
		int status;
		pid_t pid = fork();
		if (pid == 0) {
			child_begin();
			_exit(child_pin(container, i * length, length) ? EXIT_WRONG : 0);
		}
		if (pid < 0 || waitpid(pid, &status, 0) < 0)
			err(EXIT_SYSTEM, "fork");
		n_killed += WIFSIGNALED(status);
		n_pinned += WIFEXITED(status) && WEXITSTATUS(status) == 0;
		n_refused += WIFEXITED(status) && WEXITSTATUS(status) == EXIT_WRONG;
	}
	answer("ok pinned=%u refused=%u killed=%u", n_pinned, n_refused, n_killed);
}

struct order {
	int container;
	uint64_t iova, length;
};

_Noreturn static void child_serve(int socket)
{
	struct order order;

	child_begin();
	while (recv(socket, &order, sizeof(order), 0) == sizeof(order)) {
		int error = child_pin(order.container, order.iova, order.length);
		if (send(socket, &error, sizeof(error), MSG_NOSIGNAL) != sizeof(error))
			break;
	}
	_exit(0);
}

static void command_fork(const struct words *words)
{
	int sockets[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) < 0)
		err(EXIT_SYSTEM, "socketpair");
	pid_t pid = fork();
	if (pid < 0)
		err(EXIT_SYSTEM, "fork");
	if (pid == 0) {
		/* Whom its parent talks to is not its affair; its end has to be seen. */
		close(sockets[0]);
		child_serve(sockets[1]);
	}
	close(sockets[1]);
	struct object *child = object_new(CHILD, words->word[1]);
	child->fd = sockets[0];
	child->number = pid;
	answer("ok pid=%d", (int)pid);
}

static void command_child_pins(const struct words *words)
{
	int socket = object_find(CHILD, words->word[1])->fd, error;
	struct order order = {
		.container = object_find(CONTAINER, words->word[2])->fd,
		.iova = word_number(words, 3),
		.length = word_number(words, 4),
	};

	if (send(socket, &order, sizeof(order), MSG_NOSIGNAL) != sizeof(order) ||
		recv(socket, &error, sizeof(error), 0) != sizeof(error)) {
		answer("failed child-pins: it was killed");
		return;
	}
	errno = error;
	if (error)
		answer_failed("child-pins");
	else
		answer("ok");
}

static void command_child_ends(const struct words *words)
{
	struct object *child = object_find(CHILD, words->word[1]);
	pid_t pid = (pid_t)child->number;

	object_forget(child);
	if (waitpid(pid, NULL, 0) == pid)
		answer("ok");
	else
		answer_failed("child-ends");
}

const struct command child_commands[] = {
	{ "pinners", 3, command_pinners },
	{ "fork", 1, command_fork },
	{ "child-pins", 4, command_child_pins },
	{ "child-ends", 1, command_child_ends },
	{ NULL },
};
