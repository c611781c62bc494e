/*
 * varlink-call SOCKET MESSAGE: sends one message as it is, with the NUL that ends it, and prints
 * the first answer. Knows nothing of Varlink beyond that, and nothing of vfiod.
 */
#include "tests/vm/programs/program.h"

#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static int connect_to(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	size_t n = strlen(path);
	if (n >= sizeof(address.sun_path))
		errx(EXIT_USAGE, "too long for a socket: %s", path);
	memcpy(address.sun_path, path, n);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		err(EXIT_SYSTEM, "socket");
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)))
		err(EXIT_SYSTEM, "connect %s", path);
	return fd;
}

static void send_all(int fd, const char *bytes, size_t n)
{
	while (n > 0) {
		ssize_t sent = send(fd, bytes, n, MSG_NOSIGNAL);
		if (sent < 0)
			err(EXIT_SYSTEM, "send");
		bytes += sent;
		n -= (size_t)sent;
	}
}

int main(int argc, char *argv[])
{
	if (argc != 3)
		errx(EXIT_USAGE, "usage: varlink-call SOCKET MESSAGE");
	int fd = connect_to(argv[1]);
	send_all(fd, argv[2], strlen(argv[2]) + 1);
	for (;;) {
		char buffer[4096];
		ssize_t n = recv(fd, buffer, sizeof(buffer), 0);
		if (n < 0)
			err(EXIT_SYSTEM, "recv");
		if (n == 0)
			errx(EXIT_SYSTEM, "the connection was closed before the answer ended");
		size_t text = strnlen(buffer, (size_t)n);
		fwrite(buffer, 1, text, stdout);
		if (text < (size_t)n)
			break;
	}
	putchar('\n');
	close(fd);
	return 0;
}
