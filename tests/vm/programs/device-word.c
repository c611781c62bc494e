/*
 * device-word GROUP_FD DEVICE OFFSET [VALUE]
 *
 * Prints the 32-bit word at OFFSET of the device's first BAR, as VFIO's user finds it, in
 * hexadecimal. With VALUE, writes that first.
 */
#include "tests/vm/programs/edu.h"
#include "tests/vm/programs/program.h"

#include <limits.h>
#include <linux/pci_regs.h>
#include <linux/vfio.h>
#include <sys/ioctl.h>
#include <unistd.h>

static off_t region_offset(int device, uint32_t index)
{
	struct vfio_region_info info = { .argsz = sizeof(info), .index = index };

	if (ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &info))
		err(EXIT_SYSTEM, "VFIO_DEVICE_GET_REGION_INFO %u", index);
	return (off_t)info.offset;
}

/* A BAR answers only when the command register says so. */
static void memory_enable(int device)
{
	off_t at = region_offset(device, VFIO_PCI_CONFIG_REGION_INDEX) + PCI_COMMAND;
	uint16_t command = PCI_COMMAND_MEMORY;

	if (pwrite(device, &command, sizeof(command), at) != sizeof(command))
		err(EXIT_SYSTEM, "writing the PCI command register");
}

int main(int argc, char *argv[])
{
	struct edu opened = { .iova = 0 };
	uint32_t word;

	if (argc < 4 || argc > 5)
		errx(EXIT_USAGE, "usage: device-word GROUP_FD DEVICE OFFSET [VALUE]");
	edu_open(&opened, (int)program_number(argv[1], INT_MAX), argv[2]);
	memory_enable(opened.device.fd);
	off_t at = region_offset(opened.device.fd, VFIO_PCI_BAR0_REGION_INDEX) +
		   (off_t)program_number(argv[3], INT_MAX);
	if (argc == 5) {
		word = (uint32_t)program_number(argv[4], UINT32_MAX);
		if (pwrite(opened.device.fd, &word, sizeof(word), at) != sizeof(word))
			err(EXIT_SYSTEM, "writing %s of %s", argv[3], argv[2]);
	}
	if (pread(opened.device.fd, &word, sizeof(word), at) != sizeof(word))
		err(EXIT_SYSTEM, "reading %s of %s", argv[3], argv[2]);
	printf("0x%x\n", word);
	edu_close(&opened);
	return 0;
}
