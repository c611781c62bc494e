/*
 * fd-hold (file | path) PATH…: opens each until SIGTERM: as a file that it makes if need be, or
 * with O_PATH, which holds nothing. Alternating words and paths: fd-hold file a path b. fd-hold
 * queue FD: hides FD in the queue of a socket, in a child; the parent ends at once.
 */
#include "tests/vm/programs/program.h"

#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void send_fd(int socket, int fd)
{
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof(int))];
	} control = { .space = { 0 } };
	struct iovec part = { .iov_base = (void *)"x", .iov_len = 1 };
	struct msghdr message = {
		.msg_iov = &part,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control.space),
	};

	control.header.cmsg_level = SOL_SOCKET;
	control.header.cmsg_type = SCM_RIGHTS;
	control.header.cmsg_len = CMSG_LEN(sizeof(fd));
	memcpy(CMSG_DATA(&control.header), &fd, sizeof(fd));
	if (sendmsg(socket, &message, 0) < 0)
		err(EXIT_SYSTEM, "sendmsg");
}

static void hide_in_child(int fd)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair))
		err(EXIT_SYSTEM, "socketpair");
	pid_t pid = fork();
	if (pid < 0)
		err(EXIT_SYSTEM, "fork");
	if (pid > 0) {
		printf("holder %d\n", (int)pid);
		return;
	}
	send_fd(pair[0], fd);
	close(fd);
	program_hold("hidden");
}

static void open_one(const char *how, const char *path)
{
	int flags = strcmp(how, "path") == 0 ? O_PATH : O_RDWR | O_CREAT;

	if (open(path, flags, 0600) < 0)
		err(EXIT_SYSTEM, "%s", path);
}

int main(int argc, char *argv[])
{
	if (argc < 3 || argc % 2 == 0)
		errx(EXIT_USAGE, "usage: fd-hold {file PATH | path PATH}… | queue FD");
	if (strcmp(argv[1], "queue") == 0) {
		hide_in_child((int)program_number(argv[2], INT_MAX));
		return 0;
	}
	for (int i = 1; i < argc; i += 2)
		open_one(argv[i], argv[i + 1]);
	program_hold("holding");
	return 0;
}
