/*
 * edu-dma [--iova ADDRESS] [--iommufd FD] [--pause | --hold | --fork-holder] GROUP DEVICE
 *
 * Drives QEMU's edu device (edu.h) with the fd of its group, or its node, /dev/vfio/N: DMA both
 * ways at an IOVA, then the same addresses without a mapping. With --iommufd, GROUP is the device's
 * own descriptor, and DEVICE means nothing.
 *
 *   --pause        waits for a line on stdin before it unmaps: for who wants to look
 *   --hold         opens the device, and holds it until SIGTERM; no DMA
 *   --fork-holder  the same in a child that keeps only the device; the parent ends at once
 */
#include "tests/vm/programs/edu.h"
#include "tests/vm/programs/program.h"

#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <stdbool.h>
#include <unistd.h>

static void hold_in_child(struct edu *edu)
{
	fflush(stdout);
	pid_t pid = fork();
	if (pid < 0)
		err(EXIT_SYSTEM, "fork");
	if (pid > 0) {
		printf("holder %d\n", (int)pid);
		return;
	}
	if (edu->group >= 0)
		close(edu->group);
	close(edu->container);
	program_hold("holding the device only");
}

/* Its descriptor, or its node. */
static int group_of(const char *argument)
{
	bool is_node = *argument == '/';
	int group = is_node ? open(argument, O_RDWR | O_CLOEXEC)
			    : (int)program_number(argument, INT_MAX);

	if (group < 0 || fcntl(group, F_GETFD) < 0)
		err(EXIT_SYSTEM, "%s%s", is_node ? "" : "descriptor ", argument);
	return group;
}

static void usage(void)
{
	errx(EXIT_USAGE, "usage: edu-dma [--iova ADDRESS] [--iommufd FD] "
			 "[--pause | --hold | --fork-holder] GROUP DEVICE");
}

int main(int argc, char *argv[])
{
	static const struct option options[] = {
		{ "iova", required_argument, NULL, 'i' },
		{ "iommufd", required_argument, NULL, 'I' },
		{ "pause", no_argument, NULL, 'p' },
		{ "hold", no_argument, NULL, 'h' },
		{ "fork-holder", no_argument, NULL, 'f' },
		{ NULL, 0, NULL, 0 },
	};
	struct edu edu = { .iova = EDU_IOVA };
	int option, what = 0, iommufd = -1;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 'i')
			edu.iova = program_number(optarg, EDU_LAST_ADDRESS);
		else if (option == 'I')
			iommufd = (int)program_number(optarg, INT_MAX);
		else if (option == '?' || what)
			usage();
		else
			what = option;
	}
	if (argc - optind != 2)
		usage();
	int fd = group_of(argv[optind]);
	if (iommufd >= 0)
		edu_open_cdev(&edu, iommufd, fd);
	else
		edu_open(&edu, fd, argv[optind + 1]);
	if (what == 'h') {
		program_hold("holding");
		return 0;
	}
	if (what == 'f') {
		hold_in_child(&edu);
		return 0;
	}
	edu_prepare(&edu);
	edu_check_mapped(&edu);
	edu_print_memory(&edu);
	if (what == 'p')
		program_wait_for_line();
	edu_check_unmapped(&edu);
	return 0;
}
