#include "daemon/base/host-memory.h"

#include "daemon/base/util.h"

#include <fcntl.h>
#include <string.h>

/* PA and LPA2 of arm64, five levels of x86: none of them has more (arch/… asm/sparsemem.h). */
#define ADDRESS_BITS_MAX 52U
#define ADDRESS_BITS_MIN 32U
#define CPUINFO_FIRST 8192 /* the first CPU is described in less */

uint64_t host_memory_bytes(void)
{
	return (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
}

unsigned cpuinfo_address_bits(const char *text)
{
	/* "address sizes\t: 46 bits physical, 48 bits virtual" (arch/x86/kernel/cpu/proc.c) */
	const char *line = strstr(text, "\naddress sizes");
	const char *colon = line ? strchr(line, ':') : NULL;
	char *end;
	unsigned long bits = colon ? strtoul(colon + 1, &end, 10) : 0;
	if (bits == 0 || strncmp(end, " bits physical", strlen(" bits physical")) != 0)
		return 0;
	return bits < ADDRESS_BITS_MIN || bits > ADDRESS_BITS_MAX ? 0 : (unsigned)bits;
}

uint64_t host_n_frames(void)
{
	char text[CPUINFO_FIRST];
	_cleanup_close_ int fd = open("/proc/cpuinfo", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

	text[n < 0 ? 0 : n] = '\0';
	unsigned bits = cpuinfo_address_bits(text);
	return (UINT64_C(1) << (bits > 0 ? bits : ADDRESS_BITS_MAX)) /
	       (uint64_t)sysconf(_SC_PAGESIZE);
}
