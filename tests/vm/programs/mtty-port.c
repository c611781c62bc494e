/*
 * mtty-port [--iommufd FD] GROUP|DEVICE-FD NAME
 *
 * Drives a serial port of the kernel's sample driver mtty, an mdev: its scratch register keeps what
 * is written. With the descriptor of its group and a container, or of the device and an iommufd.
 */
#include "tests/vm/programs/edu.h"
#include "tests/vm/programs/program.h"

#include <getopt.h>
#include <limits.h>
#include <linux/serial_reg.h>
#include <linux/vfio.h>
#include <sys/ioctl.h>
#include <unistd.h>

static void scratch_check(int device, off_t port, uint8_t value)
{
	uint8_t back = 0;

	if (pwrite(device, &value, 1, port + UART_SCR) != 1)
		err(EXIT_SYSTEM, "writing the scratch register");
	if (pread(device, &back, 1, port + UART_SCR) != 1)
		err(EXIT_SYSTEM, "reading the scratch register");
	if (back != value)
		errx(EXIT_WRONG, "0x%02x came back for 0x%02x", back, value);
}

int main(int argc, char *argv[])
{
	static const struct option options[] = {
		{ "iommufd", required_argument, NULL, 'I' },
		{ NULL, 0, NULL, 0 },
	};
	struct vfio_region_info port = { .argsz = sizeof(port),
		.index = VFIO_PCI_BAR0_REGION_INDEX };
	struct edu edu = { .iova = EDU_IOVA };
	int option, iommufd = -1;

	while ((option = getopt_long(argc, argv, "", options, NULL)) == 'I')
		iommufd = (int)program_number(optarg, INT_MAX);
	if (option != -1 || argc - optind != 2)
		errx(EXIT_USAGE, "usage: mtty-port [--iommufd FD] GROUP|DEVICE-FD NAME");
	int fd = (int)program_number(argv[optind], INT_MAX);
	if (iommufd < 0)
		edu_open(&edu, fd, argv[optind + 1]);
	else
		edu_open_cdev(&edu, iommufd, fd);
	if (ioctl(edu.device.fd, VFIO_DEVICE_GET_REGION_INFO, &port))
		err(EXIT_SYSTEM, "VFIO_DEVICE_GET_REGION_INFO");
	scratch_check(edu.device.fd, (off_t)port.offset, 0x5a);
	scratch_check(edu.device.fd, (off_t)port.offset, 0xa5);
	puts("equal: 2 bytes, to the port and back");
	return 0;
}
