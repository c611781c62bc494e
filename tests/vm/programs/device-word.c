/*
 * device-word GROUP_FD DEVICE OFFSET [VALUE]
 *
 * Prints the 32-bit word at OFFSET of the device's first BAR, as VFIO's user finds it, in
 * hexadecimal. With VALUE, writes that first.
 */
#include "tests/vm/programs/edu.h"
#include "tests/vm/programs/program.h"
#include "tests/vm/programs/word.h"

#include <limits.h>
#include <stdio.h>

int main(int argc, char *argv[])
{
	struct edu opened = { .iova = 0 };
	uint32_t word = 0;

	if (argc < 4 || argc > 5)
		errx(EXIT_USAGE, "usage: device-word GROUP_FD DEVICE OFFSET [VALUE]");
	edu_open(&opened, (int)program_number(argv[1], INT_MAX), argv[2]);
	if (argc == 5)
		word = (uint32_t)program_number(argv[4], UINT32_MAX);
	printf("0x%x\n", device_word(opened.device.fd, program_number(argv[3], INT_MAX),
				 argc == 5 ? &word : NULL));
	edu_close(&opened);
	return 0;
}
