/*
 * cdev-lease [--unbound | --hide] DEVICE
 *
 * Acquires QEMU's edu device by mode cdev, says what the daemon answered, binds the device's node
 * to the lease's context, does DMA, says "holding", and has it until SIGTERM. An error reply is a
 * line "error NAME PARAMETERS", and exit status 1.
 *
 *   --unbound  binds nothing, and says "holding" at once
 *   --hide     ends the lease, but keeps its node where nobody sees it: on its way through a
 * socket. Says "hidden PID". After a line on stdin tries to bind it, says "bind: " and what came of
 * it, and ends after another line
 */
#include "client/include/vfiod.h"
#include "daemon/base/iommufd-kernel.h"
#include "tests/vm/programs/edu.h"
#include "tests/vm/programs/program.h"

#include <errno.h>
#include <json-c/json.h>
#include <linux/vfio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

/* include/uapi/linux/vfio.h since 6.6. */
#define BIND_IOMMUFD _IO(VFIO_TYPE, VFIO_BASE + 18)
#define ATTACH_IOMMUFD_PT _IO(VFIO_TYPE, VFIO_BASE + 19)
struct bind_iommufd {
	__u32 argsz, flags;
	__s32 iommufd;
	__u32 out_devid;
};
struct attach_iommufd_pt {
	__u32 argsz, flags, pt_id;
};

struct granted {
	int node, context;
};

static int number_of(struct json_object *json)
{
	return json_object_get_int(json);
}

static int on_reply(const char *parameters, int *fds, size_t n_fds, void *userdata)
{
	struct granted *granted = userdata;
	struct json_object *reply = json_tokener_parse(parameters), *groups, *nodes, *context;

	puts(parameters);
	if (!json_object_object_get_ex(reply, "groups", &groups) ||
		!json_object_object_get_ex(
			json_object_array_get_idx(groups, 0), "deviceFileDescriptors", &nodes) ||
		!json_object_object_get_ex(reply, "iommufdFileDescriptor", &context))
		errx(EXIT_WRONG, "there are no descriptors in the reply");
	int node = number_of(json_object_array_get_idx(nodes, 0)), own = number_of(context);
	if (n_fds != 2 || node != 0 || own != 1)
		errx(EXIT_WRONG, "%zu descriptors, node %d, context %d", n_fds, node, own);
	granted->node = fds[node];
	granted->context = fds[own];
	fds[node] = fds[own] = -1;
	json_object_put(reply);
	return 0;
}

static int bind_node(const struct granted *granted)
{
	struct bind_iommufd bind = { .argsz = sizeof(bind), .iommufd = granted->context };
	return ioctl(granted->node, BIND_IOMMUFD, &bind) < 0 ? -errno : 0;
}

static uint32_t ioas_new(int context)
{
	struct iommu_ioas_alloc ioas = { .size = sizeof(ioas) };
	if (ioctl(context, IOMMU_IOAS_ALLOC, &ioas) < 0)
		err(EXIT_SYSTEM, "IOMMU_IOAS_ALLOC");
	return ioas.out_ioas_id;
}

static void do_dma(const struct granted *granted)
{
	uint32_t ioas = ioas_new(granted->context);
	struct attach_iommufd_pt attach = { .argsz = sizeof(attach), .pt_id = ioas };
	struct edu edu = { .iova = EDU_IOVA };
	struct iommu_ioas_map map = {
		.size = sizeof(map),
		.flags = IOMMU_IOAS_MAP_FIXED_IOVA | IOMMU_IOAS_MAP_READABLE |
			 IOMMU_IOAS_MAP_WRITEABLE,
		.ioas_id = ioas,
		.iova = EDU_IOVA,
	};

	if (ioctl(granted->node, ATTACH_IOMMUFD_PT, &attach) < 0)
		err(EXIT_SYSTEM, "VFIO_DEVICE_ATTACH_IOMMUFD_PT");
	edu.n_memory_bytes = 2 * (size_t)sysconf(_SC_PAGESIZE);
	edu.memory = mmap(NULL, edu.n_memory_bytes, PROT_READ | PROT_WRITE,
		MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (edu.memory == MAP_FAILED)
		err(EXIT_SYSTEM, "mmap");
	map.user_va = (uintptr_t)edu.memory;
	map.length = edu.n_memory_bytes;
	if (ioctl(granted->context, IOMMU_IOAS_MAP, &map) < 0)
		err(EXIT_SYSTEM, "IOMMU_IOAS_MAP");
	edu_device_open(&edu.device, granted->node);
	edu_check_mapped(&edu);
}

static void hide(const struct granted *granted, int *pair)
{
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof(int))];
	} control = { .space = { 0 } };
	char byte = 0;
	struct iovec part = { .iov_base = &byte, .iov_len = 1 };
	struct msghdr message = { .msg_iov = &part,
		.msg_iovlen = 1,
		.msg_control = control.space,
		.msg_controllen = sizeof(control.space) };

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		err(EXIT_SYSTEM, "socketpair");
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);
	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(header), &granted->node, sizeof(int));
	if (sendmsg(pair[0], &message, 0) < 0)
		err(EXIT_SYSTEM, "sendmsg");
	close(granted->node);
}

static int find_again(const int *pair)
{
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof(int))];
	} control;
	char byte;
	struct iovec part = { .iov_base = &byte, .iov_len = 1 };
	struct msghdr message = { .msg_iov = &part,
		.msg_iovlen = 1,
		.msg_control = control.space,
		.msg_controllen = sizeof(control.space) };
	int fd;

	if (recvmsg(pair[1], &message, MSG_CMSG_CLOEXEC) < 0)
		err(EXIT_SYSTEM, "recvmsg");
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(fd));
	return fd;
}

static void hide_and_seek(struct granted *granted, struct vfiod *vfiod)
{
	int pair[2];

	hide(granted, pair);
	vfiod_close(vfiod);
	printf("hidden %d\n", (int)getpid());
	program_wait_for_line();
	granted->node = find_again(pair);
	int r = bind_node(granted);
	printf("bind: %s\n", r < 0 ? strerrorname_np(-r) : "it is bound");
	program_wait_for_line();
}

int main(int argc, char *argv[])
{
	const char *mode = argc == 3 ? argv[1] : "";
	struct granted granted = { -1, -1 };
	struct vfiod *vfiod;
	char parameters[256];

	if (argc < 2 || argc > 3)
		errx(EXIT_USAGE, "usage: cdev-lease [--unbound | --hide] DEVICE");
	if (vfiod_open(NULL, &vfiod) < 0)
		err(EXIT_SYSTEM, "the daemon's socket");
	snprintf(parameters, sizeof(parameters),
		"{\"selectors\":[{\"device\":\"%.64s\"}],\"mode\":\"cdev\"}", argv[argc - 1]);
	int r = vfiod_call(vfiod, "org.vfiod.Broker.Acquire", parameters, false, NULL, 0, -1,
		on_reply, &granted);
	if (r < 0 && !vfiod_error_name(vfiod))
		errx(EXIT_SYSTEM, "%s", vfiod_strerror(vfiod));
	if (r < 0) {
		printf("error %s %s\n", vfiod_error_name(vfiod), vfiod_error_parameters(vfiod));
		return EXIT_SYSTEM;
	}
	if (strcmp(mode, "--hide") == 0) {
		hide_and_seek(&granted, vfiod);
		return 0;
	}
	if (!*mode) {
		r = bind_node(&granted);
		if (r < 0)
			errx(EXIT_SYSTEM, "VFIO_DEVICE_BIND_IOMMUFD: %s", strerror(-r));
		do_dma(&granted);
	}
	program_hold("holding");
	return 0;
}
