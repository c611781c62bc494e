/*
 * sticky-fds SOCKET DIRECTORY UID: as UID, sends the daemon descriptors that nobody can close in
 * peace, with calls that take them and calls that do not, and keeps the connections:
 *
 *   a file of a FUSE file system, mounted at DIRECTORY, whose server never answers a FLUSH, which
 *   each close(2) sends and waits for, nor a READ
 *   a TCP socket with unsent data and SO_LINGER of an hour
 *
 * Prints "sent N" when all calls are out, and a line "flush" or "read" for each that came from then
 * on. SIGTERM: the server ends, and with it whatever hung.
 *
 * sticky-fds DIRECTORY: the server alone, for somebody else to send DIRECTORY/file.
 */
#include "tests/vm/programs/program.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define ACQUIRE                                                                                    \
	"{\"method\":\"org.vfiod.Broker.Acquire\",\"parameters\":"                                 \
	"{\"selectors\":[{\"group\":0}],\"holderFileDescriptor\":0}}"
#define GET_INFO "{\"method\":\"org.varlink.service.GetInfo\"}"
#define MONITOR "{\"method\":\"org.vfiod.Broker.Monitor\",\"more\":true}"

/* --- the server ---------------------------------------------------------------------------- */

static void answer(int fuse, uint64_t unique, int error, const void *data, size_t size)
{
	static char bytes[4096];
	struct fuse_out_header header = {
		.len = (uint32_t)(sizeof(header) + size),
		.error = -error,
		.unique = unique,
	};

	memcpy(bytes, &header, sizeof(header));
	if (size > 0)
		memcpy(bytes + sizeof(header), data, size);
	if (write(fuse, bytes, header.len) < 0)
		err(EXIT_SYSTEM, "answering the kernel");
}

static struct fuse_attr attributes(uint64_t node)
{
	bool is_root = node == FUSE_ROOT_ID;
	return (struct fuse_attr){
		.ino = node,
		.mode = is_root ? S_IFDIR | 0755 : S_IFREG | 0666,
		.nlink = 1,
		.size = is_root ? 0 : 4096,
		.blksize = 4096,
	};
}

static void serve(int fuse, const struct fuse_in_header *in)
{
	struct fuse_init_out init = {
		.major = FUSE_KERNEL_VERSION,
		.minor = 31,
		.max_write = 4096,
	};
	struct fuse_entry_out entry = { .nodeid = 2, .attr = attributes(2) };
	struct fuse_attr_out attr = { .attr = attributes(in->nodeid) };
	struct fuse_open_out open = { .fh = 1 };

	switch (in->opcode) {
	case FUSE_INIT:
		answer(fuse, in->unique, 0, &init, sizeof(init));
		break;
	case FUSE_LOOKUP:
		answer(fuse, in->unique, 0, &entry, sizeof(entry));
		break;
	case FUSE_GETATTR:
		answer(fuse, in->unique, 0, &attr, sizeof(attr));
		break;
	case FUSE_OPEN:
		answer(fuse, in->unique, 0, &open, sizeof(open));
		break;
	case FUSE_FLUSH:
	case FUSE_READ:
		puts(in->opcode == FUSE_READ ? "read" : "flush");
		fflush(stdout);
		break;
	case FUSE_FORGET:
	case FUSE_BATCH_FORGET:
	case FUSE_INTERRUPT:
		break;
	default:
		answer(fuse, in->unique, ENOSYS, NULL, 0);
	}
}

/* Ends with SIGTERM, as its parent does: the kernel then ends all that waits for it. */
_Noreturn static void server(int fuse)
{
	static char request[FUSE_MIN_READ_BUFFER];

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (;;) {
		ssize_t n = read(fuse, request, sizeof(request));
		if (n < 0 && errno != EINTR && errno != ENOENT)
			_exit(0);
		if (n > 0)
			serve(fuse, (const struct fuse_in_header *)request);
	}
}

static int mount_fuse(const char *directory)
{
	char options[128];

	int fuse = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	if (fuse < 0)
		err(EXIT_SYSTEM, "/dev/fuse");
	snprintf(options, sizeof(options), "fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other",
		fuse);
	if (mount("sticky", directory, "fuse.sticky", 0, options) < 0)
		err(EXIT_SYSTEM, "mounting at %s", directory);
	return fuse;
}

/* --- the client ------------------------------------------------------------------------------ */

static int lingering_socket(void)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct linger linger = { .l_onoff = 1, .l_linger = 3600 };
	socklen_t size = sizeof(address);
	static char bytes[65536];

	int listener = socket(AF_INET, SOCK_STREAM, 0), fd = socket(AF_INET, SOCK_STREAM, 0);
	if (listener < 0 || fd < 0 || bind(listener, (struct sockaddr *)&address, size) < 0 ||
		listen(listener, 1) < 0 ||
		getsockname(listener, (struct sockaddr *)&address, &size) < 0 ||
		connect(fd, (struct sockaddr *)&address, size) < 0 ||
		setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)) < 0)
		err(EXIT_SYSTEM, "a TCP socket");
	while (send(fd, bytes, sizeof(bytes), MSG_DONTWAIT) > 0)
		;
	return fd;
}

static int connect_to(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	strncpy(address.sun_path, path, sizeof(address.sun_path) - 1);
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		err(EXIT_SYSTEM, "%s", path);
	return fd;
}

/* Text and its NUL. fd < 0: without. */
static void send_part(int socket, const char *text, size_t size, int fd, int flags)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = { .header = { .cmsg_level = SOL_SOCKET,
			      .cmsg_type = SCM_RIGHTS,
			      .cmsg_len = CMSG_LEN(sizeof(int)) } };
	struct iovec vector = { .iov_base = (char *)text, .iov_len = size };
	struct msghdr header = { .msg_iov = &vector, .msg_iovlen = 1 };

	memcpy(CMSG_DATA(&control.header), &fd, sizeof(fd));
	if (fd >= 0) {
		header.msg_control = &control;
		header.msg_controllen = sizeof(control);
	}
	if (sendmsg(socket, &header, flags | MSG_NOSIGNAL) < 0)
		err(EXIT_SYSTEM, "sending");
}

static void send_text(int socket, const char *text, int fd)
{
	send_part(socket, text, strlen(text) + 1, fd, 0);
}

static int send_all_kinds(const char *path, int fd)
{
	/* With a call that takes one, that takes none, and with what is no call. */
	send_text(connect_to(path), ACQUIRE, fd);
	send_text(connect_to(path), GET_INFO, fd);
	send_text(connect_to(path), "no call", fd);
	/* In the middle of a message, and out of band. */
	int middle = connect_to(path);
	send_part(middle, "{", 1, -1, 0);
	send_text(middle, "}", fd);
	send_part(connect_to(path), "!", 1, fd, MSG_OOB);
	/* Behind a call that lasts, on a connection that is closed at once. */
	int behind = connect_to(path);
	send_text(behind, MONITOR, -1);
	send_text(behind, GET_INFO, fd);
	close(behind);
	return 6;
}

_Noreturn static void client(const char *socket, const char *directory, uid_t uid)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/file", directory);
	int file = open(path, O_RDONLY);
	if (file < 0)
		err(EXIT_SYSTEM, "%s", path);
	if (setgid(uid) < 0 || setuid(uid) < 0)
		err(EXIT_SYSTEM, "becoming uid %u", (unsigned)uid);
	int n = send_all_kinds(socket, file) + send_all_kinds(socket, lingering_socket());
	printf("sent %d\n", n);
	fflush(stdout);
	for (;;)
		pause();
}

int main(int argc, char *argv[])
{
	if (argc != 2 && argc != 4)
		errx(EXIT_USAGE, "usage: sticky-fds [SOCKET] DIRECTORY [UID]");
	const char *directory = argv[argc == 4 ? 2 : 1];
	int fuse = mount_fuse(directory);
	pid_t served = fork();
	if (served == 0)
		server(fuse);
	close(fuse);
	pid_t asks = argc == 4 ? fork() : -1;
	if (asks == 0)
		client(argv[1], directory, (uid_t)program_number(argv[3], 65535));
	program_hold("holding");
	kill(served, SIGKILL);
	if (asks > 0)
		kill(asks, SIGKILL);
	umount2(directory, MNT_DETACH);
	return 0;
}
