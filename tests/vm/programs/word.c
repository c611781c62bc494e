#include "tests/vm/programs/word.h"

#include "tests/vm/programs/program.h"

#include <inttypes.h>
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

uint32_t device_word(int device, uint64_t offset, const uint32_t *value)
{
	uint32_t word;

	memory_enable(device);
	off_t at = region_offset(device, VFIO_PCI_BAR0_REGION_INDEX) + (off_t)offset;
	if (value && pwrite(device, value, sizeof(*value), at) != sizeof(*value))
		err(EXIT_SYSTEM, "writing 0x%" PRIx64, offset);
	if (pread(device, &word, sizeof(word), at) != sizeof(word))
		err(EXIT_SYSTEM, "reading 0x%" PRIx64, offset);
	return word;
}
