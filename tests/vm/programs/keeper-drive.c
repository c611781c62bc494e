/*
 * keeper-drive KEEPER GROUP_A DEVICE GROUP_B: plays the daemon for a keeper, with two groups that
 * are on VFIO drivers; DEVICE is QEMU's edu in the first. Waits for a line on stdin when the keeper
 * has started, and again when both groups are attached: for who wants to look at its process.
 */
#include "daemon/base/wire.h"
#include "tests/vm/programs/edu-device.h"
#include "tests/vm/programs/program.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define MIB (UINT64_C(1) << 20)
#define BYTES (4 * MIB)
#define PAGE 4096
#define IOVA 0x4000000

struct driver {
	pid_t pid;
	int socket, memory, book;
	char *address; /* of the memory, here */
	union wire_message got;
	int fd; /* that came with it, or -1 */
	uint64_t frames[BYTES / PAGE];
	size_t n_frames; /* of the runs that were sent */
};

#define CHECK(condition)                                                                           \
	do {                                                                                       \
		if (!(condition))                                                                  \
			errx(EXIT_WRONG, "line %d: not so: %s", __LINE__, #condition);             \
	} while (0)

static void start(struct driver *driver, const char *keeper)
{
	int ends[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
		err(EXIT_SYSTEM, "socketpair");
	driver->pid = fork();
	if (driver->pid < 0)
		err(EXIT_SYSTEM, "fork");
	if (driver->pid == 0) {
		int null = open("/dev/null", O_RDWR);
		/* Something of the daemon's that a keeper must not have. */
		dup2(null, 77);
		if (dup2(null, 0) < 0 || dup2(null, 1) < 0 || dup2(ends[1], 3) < 0)
			err(EXIT_SYSTEM, "dup2");
		execl(keeper, keeper, "keeper", NULL);
		err(EXIT_SYSTEM, "%s", keeper);
	}
	close(ends[1]);
	driver->socket = ends[0];
}

static void receive(struct driver *driver)
{
	int fds[WIRE_FDS_MAX];
	size_t n_fds;
	ssize_t r = wire_receive(driver->socket, &driver->got, fds, &n_fds, 0);
	if (r <= 0)
		errx(EXIT_WRONG, "the keeper: %s", r ? strerror((int)-r) : "has ended");
	driver->fd = n_fds > 0 ? fds[0] : -1;
}

/* The result; fd -1: none goes with it. */
static int tell(struct driver *driver, struct wire_request request, int fd)
{
	request.header.length = sizeof(request);
	int r = wire_send(driver->socket, &request, &fd, fd >= 0, 0);
	if (r < 0)
		errx(EXIT_WRONG, "the keeper: %s", strerror(-r));
	driver->n_frames = 0;
	for (receive(driver); driver->got.header.type == WIRE_RUNS; receive(driver)) {
		size_t n = (driver->got.header.length - offsetof(struct wire_runs, runs)) /
			   sizeof(frame_run);
		for (size_t i = 0; i < n; i++)
			for (uint64_t j = 0; j < run_length(driver->got.runs.runs[i]); j++) {
				CHECK(driver->n_frames < BYTES / PAGE);
				driver->frames[driver->n_frames++] =
					run_first(driver->got.runs.runs[i]) + j;
			}
	}
	CHECK(driver->got.header.type == WIRE_DONE);
	if (driver->got.done.text[0])
		printf("# %s\n", driver->got.done.text);
	return driver->got.done.result;
}
#define TELL_WITH(driver, fd, ...) tell(driver, (struct wire_request){ __VA_ARGS__ }, fd)
#define TELL(driver, ...) TELL_WITH(driver, -1, __VA_ARGS__)

/* What the kernel bills the keeper for, in bytes. */
static uint64_t locked(const struct driver *driver)
{
	char path[64], line[256];
	unsigned long kib;
	snprintf(path, sizeof(path), "/proc/%d/status", (int)driver->pid);
	FILE *file = fopen(path, "re");
	if (!file)
		err(EXIT_SYSTEM, "%s", path);
	while (fgets(line, sizeof(line), file))
		if (sscanf(line, "VmLck: %lu kB", &kib) == 1) {
			fclose(file);
			return kib * 1024;
		}
	errx(EXIT_WRONG, "no VmLck in %s", path);
}

static void limit(const struct driver *driver, uint64_t bytes)
{
	const struct rlimit limit = { bytes, bytes };
	if (prlimit(driver->pid, RLIMIT_MEMLOCK, &limit, NULL) < 0)
		err(EXIT_SYSTEM, "prlimit");
}

static int open_vfio(const char *name)
{
	char path[64];
	snprintf(path, sizeof(path), "/dev/vfio/%s", name);
	int fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		err(EXIT_SYSTEM, "%s", path);
	return fd;
}

/* The descriptor is the keeper's alone afterwards. */
static int attach(struct driver *driver, const char *group)
{
	int fd = open_vfio(group);
	int r = TELL_WITH(driver, fd, .header.type = WIRE_ATTACH, .group = (uint32_t)atoi(group),
		.max_groups = 1);
	close(fd);
	return r;
}

static int attach_new(struct driver *driver, const char *group)
{
	int fd = open_vfio("vfio");
	int r = TELL_WITH(
		driver, fd, .header.type = WIRE_ATTACH_NEW, .group = (uint32_t)atoi(group));
	close(fd);
	return r;
}

/* What the keeper has said against our own page map. */
static void check_frames(const struct driver *driver)
{
	static uint64_t own[BYTES / PAGE];
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);

	CHECK(driver->n_frames == BYTES / PAGE);
	if (pread(fd, own, sizeof(own), (off_t)((uintptr_t)driver->address / PAGE * 8)) !=
		sizeof(own))
		err(EXIT_SYSTEM, "pagemap");
	close(fd);
	for (size_t i = 0; i < driver->n_frames; i++)
		CHECK((own[i] & ((UINT64_C(1) << 55) - 1)) == driver->frames[i]);
}

/* From the mapping's first page into the device, and back to its last. */
static void check_dma(struct driver *driver, const char *group, const char *device)
{
	struct wire_request request = { .header.type = WIRE_GET_DEVICE,
		.group = (uint32_t)atoi(group) };
	struct edu_device edu;
	char *last = driver->address + BYTES - PAGE;

	snprintf(request.name, sizeof(request.name), "no-such-device");
	CHECK(tell(driver, request, -1) < 0);
	snprintf(request.name, sizeof(request.name), "%s", device);
	CHECK(tell(driver, request, -1) == 0 && driver->fd >= 0);
	edu_device_open(&edu, driver->fd);
	edu_pattern((uint8_t *)driver->address, 1);
	CHECK(memcmp(driver->address, last, EDU_BYTES) != 0);
	edu_to_device(&edu, IOVA);
	edu_to_memory(&edu, IOVA + BYTES - PAGE);
	CHECK(memcmp(driver->address, last, EDU_BYTES) == 0);

	/* The kernel lets no group go while a device is open. */
	CHECK(TELL(driver, .header.type = WIRE_DETACH, .group = request.group) == -EBUSY);
	CHECK(TELL(driver, .header.type = WIRE_DETACH, .group = request.group,
		      .flags = WIRE_FORCE) == -EBUSY);
	CHECK(locked(driver) == 2 * BYTES);
	edu_device_close(&edu);
	CHECK(TELL(driver, .header.type = WIRE_GROUP_GONE, .group = request.group) == 0);
	CHECK(driver->got.done.n_groups == 0);
	CHECK(locked(driver) == BYTES);
}

static void check_info(struct driver *driver)
{
	bool is_hole = true;

	CHECK(TELL(driver, .header.type = WIRE_INFO, .container = 0) == 0);
	receive(driver);
	const struct wire_info *info = &driver->got.info;
	CHECK(info->header.type == WIRE_INFO && (info->page_sizes & PAGE) && info->n_ranges >= 2);
	/* The window of interrupts is nobody's memory. */
	for (uint32_t i = 0; i < info->n_ranges; i++)
		if (info->ranges[i].first <= 0xfee00000 && info->ranges[i].last >= 0xfee00000)
			is_hole = false;
	CHECK(is_hole && !info->has_any_iova);
	printf("left %u\n", info->mappings_left);
}

int main(int argc, char *argv[])
{
	static struct driver driver;
	int status;

	if (argc != 5)
		errx(EXIT_USAGE, "usage: keeper-drive KEEPER GROUP_A DEVICE GROUP_B");
	const char *a = argv[2], *b = argv[4];
	driver.memory = memfd_create("memory", MFD_CLOEXEC);
	driver.book = memfd_create("book", MFD_CLOEXEC);
	if (driver.memory < 0 || driver.book < 0 || ftruncate(driver.memory, BYTES) < 0)
		err(EXIT_SYSTEM, "memfd");
	driver.address = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, driver.memory, 0);
	if (driver.address == MAP_FAILED)
		err(EXIT_SYSTEM, "mmap");

	start(&driver, argv[1]);
	receive(&driver);
	CHECK(driver.got.header.type == WIRE_HELLO && driver.got.hello.page_bytes == PAGE);
	printf("keeper %d\n", (int)driver.pid);
	program_wait_for_line();

	CHECK(TELL_WITH(&driver, driver.book, .header.type = WIRE_START) == 0);
	CHECK(TELL_WITH(&driver, driver.memory, .header.type = WIRE_ADD_MEMORY) == 0);
	CHECK(driver.got.done.size == BYTES);
	/* Nobody has touched it: so it stays. */
	CHECK(TELL(&driver, .header.type = WIRE_PREPARE, .mapping = 1, .iova = IOVA,
		      .length = BYTES,
		      .flags = WIRE_READ_ALLOWED | WIRE_WRITE_ALLOWED) == WIRE_HOLES);
	CHECK(driver.got.done.n_pages == BYTES / PAGE);
	memset(driver.address, 1, BYTES);
	CHECK(TELL(&driver, .header.type = WIRE_READ, .mapping = 1) == 0);
	check_frames(&driver);
	CHECK(locked(&driver) == 0);

	/* Nothing is pinned beyond what it may, and what fails leaves nothing. */
	CHECK(attach(&driver, a) == WIRE_NEEDS_CONTAINER);
	CHECK(attach_new(&driver, a) == -ENOMEM && driver.got.done.mapping == 1);
	CHECK(locked(&driver) == 0);
	limit(&driver, BYTES);
	CHECK(attach_new(&driver, a) == 0 && locked(&driver) == BYTES);
	CHECK(attach(&driver, b) == WIRE_NEEDS_CONTAINER);
	CHECK(attach_new(&driver, b) == -ENOMEM && locked(&driver) == BYTES);
	limit(&driver, 2 * BYTES);
	CHECK(attach_new(&driver, b) == 0 && driver.got.done.container == 1);
	printf("locked %llu\n", (unsigned long long)locked(&driver));
	CHECK(locked(&driver) == 2 * BYTES);
	CHECK(TELL(&driver, .header.type = WIRE_AUDIT, .mapping = 1) == 0);
	CHECK(driver.got.done.n_pages == 0);
	check_info(&driver);
	program_wait_for_line();

	/* A second one fits into neither, and an overlap not into the first. */
	CHECK(TELL(&driver, .header.type = WIRE_PREPARE, .mapping = 2, .iova = IOVA + PAGE,
		      .length = PAGE, .flags = WIRE_READ_ALLOWED) == 0);
	CHECK(TELL(&driver, .header.type = WIRE_MAP, .mapping = 2) == -EEXIST);
	CHECK(driver.got.done.container == 0);
	CHECK(TELL(&driver, .header.type = WIRE_UNMAP, .mapping = 2) == 0);
	CHECK(TELL(&driver, .header.type = WIRE_PREPARE, .mapping = 2, .iova = 0, .length = PAGE,
		      .flags = WIRE_READ_ALLOWED) == 0);
	CHECK(TELL(&driver, .header.type = WIRE_MAP, .mapping = 2) == -ENOMEM);
	CHECK(locked(&driver) == 2 * BYTES);
	limit(&driver, 2 * BYTES + 2 * PAGE);
	CHECK(TELL(&driver, .header.type = WIRE_MAP, .mapping = 2) == 0);
	CHECK(locked(&driver) == 2 * BYTES + 2 * PAGE);
	CHECK(TELL(&driver, .header.type = WIRE_UNMAP, .mapping = 2) == 0);
	CHECK(driver.n_frames == 1 && locked(&driver) == 2 * BYTES);

	check_dma(&driver, a, argv[3]);
	/* Punched out of the file, and pinned all the same. */
	CHECK(fallocate(driver.memory, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, PAGE) == 0);
	CHECK(TELL(&driver, .header.type = WIRE_AUDIT, .mapping = 1) == 0);
	CHECK(driver.got.done.n_pages == 1);
	CHECK(attach(&driver, a) == WIRE_NEEDS_CONTAINER);
	CHECK(attach_new(&driver, a) == WIRE_CHANGED && driver.got.done.mapping == 1);
	CHECK(locked(&driver) == BYTES);
	CHECK(TELL(&driver, .header.type = WIRE_UNMAP, .mapping = 1) == 0);
	CHECK(driver.n_frames == BYTES / PAGE && locked(&driver) == 0);

	close(driver.socket);
	if (waitpid(driver.pid, &status, 0) < 0)
		err(EXIT_SYSTEM, "waitpid");
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	puts("done");
	return 0;
}
