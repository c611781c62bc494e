/* What CMD maps by itself, told to vfiod before the kernel does it (--observe). */
#include <errno.h>
#include <inttypes.h>
#include <linux/vfio.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#include "client/vfioctl/shim.h"

#define REPLY_MS 10000
#define QUIET_SECONDS 60 /* after which a vfiod that hung is asked again */
/* include/linux/miscdevice.h: MISC_MAJOR, VFIO_MINOR */
#define CONTAINER_DEVICE makedev(10, 196)

/* A connection for each process that maps: vfiod looks into its memory. */
struct shim_reporter {
	struct shim_reporter *next;
	pid_t process;
	int pidfd;
	struct vfiod *vfiod;
};

static void reporter_free(struct shim_reporter *reporter)
{
	vfiod_close(reporter->vfiod);
	if (reporter->pidfd >= 0)
		close(reporter->pidfd);
	free(reporter);
}

static bool has_ended(const struct shim_reporter *reporter)
{
	struct pollfd process = { .fd = reporter->pidfd, .events = POLLIN };

	return poll(&process, 1, 0) != 0;
}

static time_t seconds_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec;
}

/* 0 or -errno. */
static int reporter_connect(const struct shim *shim, struct shim_reporter *reporter)
{
	int r = vfiod_open(shim->socket, &reporter->vfiod);

	reporter->pidfd = pidfd_open(reporter->process, 0);
	if (reporter->pidfd < 0)
		return -errno;
	if (r == 0)
		r = vfiod_call(reporter->vfiod, "org.vfiod.Ledger.ReportFor",
			"{\"holderFileDescriptor\":0}", false, &reporter->pidfd, 1, REPLY_MS, NULL,
			NULL);
	return r;
}

/* NULL: it cannot be told of. A vfiod that hangs is waited for now and then, not at each mapping.
 */
static struct shim_reporter *reporter_of(struct shim *shim, pid_t process)
{
	struct shim_reporter **place = &shim->reporters, *reporter;
	int r;

	while ((reporter = *place)) {
		if (has_ended(reporter)) {
			*place = reporter->next;
			reporter_free(reporter);
		} else if (reporter->process == process) {
			return reporter;
		} else {
			place = &reporter->next;
		}
	}
	reporter = seconds_now() < shim->quiet_until ? NULL : calloc(1, sizeof *reporter);
	if (!reporter)
		return NULL;
	reporter->process = process;
	r = reporter_connect(shim, reporter);
	if (r < 0) {
		reporter_free(reporter);
		if (r == -ETIMEDOUT)
			shim->quiet_until = seconds_now() + QUIET_SECONDS;
		return NULL;
	}
	*place = reporter;
	return reporter;
}

static struct shim_reporter *reporter_anew(struct shim *shim, struct shim_reporter *reporter)
{
	struct shim_reporter **place = &shim->reporters;
	pid_t process = reporter->process;

	while (*place != reporter)
		place = &(*place)->next;
	*place = reporter->next;
	reporter_free(reporter);
	return reporter_of(shim, process);
}

/* That of a thread. -1: it has gone. */
static pid_t process_of(pid_t thread)
{
	char name[64], line[256];
	pid_t process = -1;
	FILE *status;

	snprintf(name, sizeof name, "/proc/%d/status", thread);
	status = fopen(name, "re");
	while (status && process < 0 && fgets(line, sizeof line, status))
		if (strncmp(line, "Tgid:", 5) == 0)
			process = (pid_t)strtol(line + 5, NULL, 10);
	if (status)
		fclose(status);
	return process;
}

/* The number of this ioctl is others' as well, of other files. */
static bool is_container(pid_t pid, int fd)
{
	char name[64];
	struct stat status;

	snprintf(name, sizeof name, "/proc/%d/fd/%d", pid, fd);
	return stat(name, &status) == 0 && S_ISCHR(status.st_mode) &&
	       status.st_rdev == CONTAINER_DEVICE;
}

struct mapping {
	bool is_map;
	uint64_t address, iova, length;
};

/* 0, or -errno where nothing is mapped or unmapped by it. */
static int mapping_read(const struct seccomp_notif *notif, struct mapping *mapping)
{
	struct vfio_iommu_type1_dma_unmap unmap;
	struct vfio_iommu_type1_dma_map map;
	pid_t pid = (pid_t)notif->pid;
	uint64_t at = notif->data.args[2];

	mapping->is_map = (uint32_t)notif->data.args[1] == VFIO_IOMMU_MAP_DMA;
	if (mapping->is_map) {
		if (shim_memory_read(pid, at, &map, sizeof map) != sizeof map ||
			map.argsz < sizeof map || (map.flags & VFIO_DMA_MAP_FLAG_VADDR))
			return -EINVAL;
		mapping->address = map.vaddr;
		mapping->iova = map.iova;
		mapping->length = map.size;
	} else {
		size_t size = offsetof(struct vfio_iommu_type1_dma_unmap, data);

		if (shim_memory_read(pid, at, &unmap, size) != (ssize_t)size ||
			unmap.argsz < size || (unmap.flags & VFIO_DMA_UNMAP_FLAG_VADDR))
			return -EINVAL;
		mapping->iova = unmap.iova;
		mapping->length = unmap.size;
		if (unmap.flags & VFIO_DMA_UNMAP_FLAG_ALL)
			mapping->length = INT64_MAX - 4095;
	}
	return 0;
}

static int report(const struct shim *shim, const struct shim_reporter *reporter, int container,
	const struct mapping *mapping)
{
	char parameters[256], address[64] = "";

	if (mapping->is_map)
		snprintf(address, sizeof address, "\"address\":\"0x%" PRIx64 "\",",
			mapping->address);
	snprintf(parameters, sizeof parameters,
		"{\"token\":\"%s\",\"container\":%d,\"iova\":\"0x%" PRIx64
		"\",%s\"length\":%" PRIu64 "}",
		shim->lease->token, container, mapping->iova, address, mapping->length);
	return vfiod_call(reporter->vfiod,
		mapping->is_map ? "org.vfiod.Ledger.ReportMap" : "org.vfiod.Ledger.ReportUnmap",
		parameters, false, NULL, 0, REPLY_MS, NULL, NULL);
}

void shim_observe(struct shim *shim, const struct seccomp_notif *notif)
{
	int container = (int)notif->data.args[0], r;
	pid_t pid = (pid_t)notif->pid;
	struct shim_reporter *reporter;
	struct mapping mapping = { 0 };

	if (!is_container(pid, container) || mapping_read(notif, &mapping) < 0)
		return;
	pthread_mutex_lock(&shim->observing);
	reporter = shim->tells ? reporter_of(shim, process_of(pid)) : NULL;
	r = reporter ? report(shim, reporter, container, &mapping) : 0;
	/* vfiod was restarted: the next one has to be told for whom this is. */
	if (r == -ECONNRESET && (reporter = reporter_anew(shim, reporter)))
		r = report(shim, reporter, container, &mapping);
	/* -EACCES: the rules do not trust him. Others are about this mapping alone, or will pass.
	 */
	if (r == -EACCES) {
		fprintf(stderr, "vfioctl: what is mapped is not observed: %s\n",
			vfiod_strerror(reporter->vfiod));
		shim->tells = false;
	}
	pthread_mutex_unlock(&shim->observing);
}
