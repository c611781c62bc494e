/* Which system calls the supervisor is asked about. */
#include <errno.h>
#include <linux/filter.h>
#include <linux/vfio.h>
#include <seccomp.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "client/vfioctl/shim.h"

/* linux/seccomp.h, since 5.19: a signal does not interrupt an open that is being answered. */
#ifndef SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
#define SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (1UL << 5)
#endif

static const char *const names[SHIM_N_CALLS] = { "open", "creat", "openat", "openat2", "ioctl" };

/* The other ways into the same kernel; 0: there is none. */
static const uint32_t other_architectures[] = {
#if defined(__x86_64__)
	SCMP_ARCH_X86, SCMP_ARCH_X32,
#elif defined(__aarch64__)
	SCMP_ARCH_ARM,
#endif
	0
};

/* The kernel looks at 32 bits of a request only. */
static const uint64_t mappings[] = { VFIO_IOMMU_MAP_DMA, VFIO_IOMMU_UNMAP_DMA };

/*
 * All but these calls is allowed by its number alone, so that the kernel remembers it in a bitmap,
 * and runs no filter (kernel/seccomp.c, seccomp_cache_prepare()).
 */
static int filter_make(scmp_filter_ctx filter, bool observes)
{
	int r = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_ALLOW);

	for (const uint32_t *arch = other_architectures; r == 0 && *arch; arch++)
		r = seccomp_arch_add(filter, *arch);
	for (size_t i = 0; r == 0 && i < SHIM_IOCTL; i++) {
		int number = seccomp_syscall_resolve_name(names[i]);

		/* arm64 has no open(2): a negative number, which its 32-bit sister knows. */
		if (number != __NR_SCMP_ERROR)
			r = seccomp_rule_add(filter, SCMP_ACT_NOTIFY, number, 0);
	}
	for (size_t i = 0; r == 0 && observes && i < sizeof mappings / sizeof *mappings; i++)
		r = seccomp_rule_add(filter, SCMP_ACT_NOTIFY, SCMP_SYS(ioctl), 1,
			SCMP_A1_64(SCMP_CMP_MASKED_EQ, UINT32_MAX, mappings[i]));
	return r;
}

/* seccomp_load() knows neither of the flags that matter here. */
static int program_install(struct sock_fprog *program, int *listener)
{
	/* Or the kernel would switch speculation off, and CMD would be slower: before 5.16. */
	unsigned long flags = SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_SPEC_ALLOW;
	long fd;

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	fd = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
		flags | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, program);
	if (fd < 0 && errno == EINVAL)
		fd = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, program);
	if (fd < 0)
		return -errno;
	*listener = (int)fd; /* close-on-exec */
	return 0;
}

/* libseccomp writes it to a file, so that is where we read it. */
static int filter_install(scmp_filter_ctx filter, int *listener)
{
	struct sock_filter instructions[512];
	struct sock_fprog program = { .filter = instructions };
	int fd = memfd_create("filter", MFD_CLOEXEC);
	ssize_t size;
	int r;

	if (fd < 0)
		return -errno;
	r = seccomp_export_bpf(filter, fd);
	size = r == 0 ? pread(fd, instructions, sizeof instructions, 0) : 0;
	close(fd);
	if (r < 0)
		return r;
	if (size <= 0 || (size_t)size == sizeof instructions)
		return -E2BIG;
	program.len = (unsigned short)((size_t)size / sizeof *instructions);
	return program_install(&program, listener);
}

int shim_filter_install(bool observes, int *listener)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
	int r;

	if (!filter)
		return -ENOMEM;
	r = filter_make(filter, observes);
	if (r == 0)
		r = filter_install(filter, listener);
	seccomp_release(filter);
	return r;
}

enum shim_call shim_call_of(const struct seccomp_data *data)
{
	uint32_t arch = data->arch;

#if defined(__x86_64__)
	/* asm/unistd.h, __X32_SYSCALL_BIT: there, x32 is a range of numbers. */
	if (arch == SCMP_ARCH_X86_64 && (data->nr & 0x40000000))
		arch = SCMP_ARCH_X32;
#endif
	for (int i = 0; i < SHIM_N_CALLS; i++)
		if (seccomp_syscall_resolve_name_arch(arch, names[i]) == data->nr)
			return (enum shim_call)i;
	return SHIM_N_CALLS;
}
