/*
 * lease [--wait SECONDS] [--follow] [--resume] [--dma | --leave | --open] DEVICE…
 *
 * A client as people write them with libvfiod: acquires the groups of all devices from the daemon
 *at $VFIOD_SOCKET, all or none, and says what it was given:
 *
 *	lease L1 0123456789abcdef0123456789abcdef
 *	group 7 fd 5 devices 0000:00:04.0
 *	granted
 *
 * Then it holds them until SIGTERM, saying what it hears of the lease ("event ended it was
 * revoked"), releases them, and says "released", or "lingering". An error reply is a line
 * "error NAME PARAMETERS", and exit status 1.
 *
 *   --wait SECONDS  waits in the queue
 *   --follow        the lease follows this process
 *   --resume        when the daemon has gone ("event gone"), takes the lease up again with the
 *                   next one ("event resumed")
 *   --dma           drives the first device, an edu (edu.h), and waits for a line on stdin while
 *                   its memory is mapped: "again" is once more; then releases
 *   --leave         ends on SIGTERM without releasing
 *   --open          opens the first device, and says "asked" when the kernel wants it back
 *                   (VFIO_PCI_REQ_IRQ_INDEX); closes it on SIGTERM
 */
#include "client/include/vfiod.h"
#include "tests/vm/programs/edu.h"
#include "tests/vm/programs/program.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <linux/vfio.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/pidfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

static void on_event(
	struct vfiod_lease *lease, enum vfiod_event event, const char *text, void *userdata)
{
	static const char *const names[] = {
		[VFIOD_RELEASE_REQUESTED] = "releaseRequested",
		[VFIOD_DEVICE_GONE] = "deviceGone",
		[VFIOD_ENDED] = "ended",
	};
	(void)lease;
	(void)userdata;
	printf("event %s %s\n", names[event], text);
	fflush(stdout);
}

static void fail(const struct vfiod *vfiod, const char *what)
{
	if (!vfiod_error_name(vfiod))
		errx(EXIT_SYSTEM, "%s: %s", what, vfiod_strerror(vfiod));
	printf("error %s %s\n", vfiod_error_name(vfiod), vfiod_error_parameters(vfiod));
	exit(EXIT_SYSTEM);
}

static void print_lease(const struct vfiod_lease *lease)
{
	printf("lease %s %s\n", vfiod_lease_name(lease), vfiod_lease_token(lease));
	for (size_t i = 0; i < vfiod_lease_n_groups(lease); i++) {
		printf("group %d fd %d devices", vfiod_lease_group_number(lease, i),
			vfiod_lease_group_fd(lease, i));
		for (size_t j = 0; j < vfiod_lease_n_devices(lease, i); j++)
			printf(" %s", vfiod_lease_device(lease, i, j));
		putchar('\n');
	}
	puts("granted");
	fflush(stdout);
}

static int signals_open(void)
{
	sigset_t ends;
	sigemptyset(&ends);
	sigaddset(&ends, SIGTERM);
	if (sigprocmask(SIG_BLOCK, &ends, NULL))
		err(EXIT_SYSTEM, "sigprocmask");
	int fd = signalfd(-1, &ends, SFD_CLOEXEC);
	if (fd < 0)
		err(EXIT_SYSTEM, "signalfd");
	return fd;
}

/* -1: it is over. */
static int come_back(struct vfiod *vfiod)
{
	int r = vfiod_resume(vfiod, 60000);
	if (r < 0)
		errx(EXIT_SYSTEM, "resume: %s", vfiod_strerror(vfiod));
	if (r == 0)
		puts("event resumed");
	fflush(stdout);
	return r == 0 ? vfiod_get_fd(vfiod) : -1;
}

static void hold(struct vfiod *vfiod, int signals, int asked, bool resumes)
{
	struct pollfd fds[] = {
		{ .fd = signals, .events = POLLIN },
		{ .fd = vfiod_get_fd(vfiod), .events = POLLIN },
		{ .fd = asked, .events = POLLIN },
	};
	for (;;) {
		if (poll(fds, 3, -1) < 0)
			err(EXIT_SYSTEM, "poll");
		if (fds[0].revents)
			return;
		if (fds[2].revents) {
			/* Once is enough: it asks every ten seconds. */
			puts("asked");
			fflush(stdout);
			fds[2].fd = -1;
		}
		if (!fds[1].revents)
			continue;
		int r = vfiod_dispatch(vfiod, 0);
		if (r == -ECONNRESET) {
			puts("event gone");
			fflush(stdout);
			fds[1].fd = resumes ? come_back(vfiod) : -1;
		} else if (r < 0) {
			errx(EXIT_SYSTEM, "dispatch: %s", vfiod_strerror(vfiod));
		}
	}
}

/* Where the kernel says that it wants the device back. */
static int request_eventfd(int device)
{
	_Alignas(struct vfio_irq_set) char space[sizeof(struct vfio_irq_set) + sizeof(int32_t)];
	struct vfio_irq_set *set = (struct vfio_irq_set *)space;
	int32_t fd = eventfd(0, EFD_CLOEXEC);

	*set = (struct vfio_irq_set){ .argsz = sizeof(space),
		.flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER,
		.index = VFIO_PCI_REQ_IRQ_INDEX,
		.count = 1 };
	memcpy(set->data, &fd, sizeof(fd));
	if (fd < 0 || ioctl(device, VFIO_DEVICE_SET_IRQS, set))
		err(EXIT_SYSTEM, "VFIO_DEVICE_SET_IRQS");
	return fd;
}

static void hold_open(struct vfiod *vfiod, const struct vfiod_lease *lease, int signals)
{
	struct edu edu = { .iova = EDU_IOVA };

	edu_open(&edu, vfiod_lease_group_fd(lease, 0), vfiod_lease_device(lease, 0, 0));
	int asked = request_eventfd(edu.device.fd);
	puts("open");
	fflush(stdout);
	hold(vfiod, signals, asked, false);
	close(asked);
	edu_close(&edu);
}

static void drive(const struct vfiod_lease *lease)
{
	struct edu edu = { .iova = EDU_IOVA };

	edu_open(&edu, vfiod_lease_group_fd(lease, 0), vfiod_lease_device(lease, 0, 0));
	edu_prepare(&edu);
	edu_check_mapped(&edu);
	edu_print_memory(&edu);
	fflush(stdout);
	char line[16];
	while (fgets(line, sizeof(line), stdin) && strcmp(line, "again\n") == 0) {
		edu_check_mapped(&edu);
		puts("again");
		fflush(stdout);
	}
	edu_check_unmapped(&edu);
	edu_close(&edu);
}

int main(int argc, char *argv[])
{
	static const struct option options[] = {
		{ "wait", required_argument, NULL, 'w' },
		{ "dma", no_argument, NULL, 'd' },
		{ "leave", no_argument, NULL, 'l' },
		{ "open", no_argument, NULL, 'o' },
		{ "follow", no_argument, NULL, 'f' },
		{ "resume", no_argument, NULL, 'r' },
		{ NULL, 0, NULL, 0 },
	};
	struct vfiod_acquire_options asked = {
		.size = sizeof(asked),
		.flags = VFIOD_ACQUIRE_WATCH,
	};
	bool resumes = false;
	struct vfiod_lease *lease;
	struct vfiod *vfiod;
	int option, what = 0;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 'w')
			asked.wait_seconds = (unsigned)program_number(optarg, UINT_MAX);
		else if (option == 'f')
			asked.flags |= VFIOD_ACQUIRE_FOLLOW;
		else if (option == 'r')
			resumes = true;
		else if (option == '?' || what)
			errx(EXIT_USAGE, "see tests/vm/programs/lib/lease.c");
		else
			what = option;
	}
	int signals = signals_open();
	if (vfiod_open(NULL, &vfiod) < 0)
		err(EXIT_SYSTEM, "the daemon's socket");
	asked.pidfd = pidfd_open(getpid(), 0);
	if (vfiod_acquire_with(vfiod, (const char *const *)argv + optind, (size_t)(argc - optind),
		    &asked, &lease) < 0)
		fail(vfiod, "acquire");
	vfiod_lease_on_event(lease, on_event, NULL);
	print_lease(lease);
	if (what == 'd')
		drive(lease);
	else if (what == 'o')
		hold_open(vfiod, lease, signals);
	else
		hold(vfiod, signals, -1, resumes);
	if (what == 'l')
		return 0;
	int r = vfiod_release(vfiod, lease);
	if (r < 0)
		fail(vfiod, "release");
	puts(r == 1 ? "lingering" : "released");
	vfiod_close(vfiod);
	return 0;
}
