#include "daemon/keeper/filter.h"

#include "daemon/base/util.h"
#include "daemon/keeper/backend.h"

#include <errno.h>
#include <seccomp.h>
#include <stdbool.h>
#include <sys/mman.h>

/* What every role does: it hears, answers, complains and ends. */
static const int common_calls[] = {
	SCMP_SYS(recvmsg),
	SCMP_SYS(sendmsg),
	SCMP_SYS(write),
	SCMP_SYS(close),
	SCMP_SYS(exit_group),
	/* The kernel itself makes it go on with, after it was stopped or frozen. */
	SCMP_SYS(restart_syscall),
};
static const int keeper_calls[] = {
	/* memories */
	SCMP_SYS(munmap),
	SCMP_SYS(madvise),
	SCMP_SYS(fcntl),
	SCMP_SYS(fstatfs),
	SCMP_SYS(lseek),
	/* the page map, and the book */
	SCMP_SYS(pread64),
	SCMP_SYS(pwrite64),
	SCMP_SYS(fallocate),
	/* malloc */
	SCMP_SYS(brk),
};
static const int populate_calls[] = { SCMP_SYS(munmap), SCMP_SYS(madvise), SCMP_SYS(lseek),
	SCMP_SYS(pread64), SCMP_SYS(pwrite64) };
static const int punch_calls[] = { SCMP_SYS(pread64), SCMP_SYS(fallocate) };
static const int book_calls[] = { SCMP_SYS(pread64) };

/* What the sanitizers do beside, when they have nothing to say. */
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifdef SANITIZED
static const int sanitizer_calls[] = { SCMP_SYS(mprotect), SCMP_SYS(munmap), SCMP_SYS(madvise),
	SCMP_SYS(futex), SCMP_SYS(sched_yield), SCMP_SYS(rt_sigprocmask), SCMP_SYS(sigaltstack),
	SCMP_SYS(getpid), SCMP_SYS(gettid), SCMP_SYS(clock_gettime) };
#endif

struct calls {
	const int *list;
	size_t n;
	bool maps;
	const unsigned long *ioctls; /* 0 behind the last; NULL: none at all */
};
#define CALLS(array, ...)                                                                          \
	{                                                                                          \
		array, ARRAY_SIZE(array), __VA_ARGS__                                              \
	}
static const struct calls role_calls[ROLE_MAX_] = {
	[ROLE_KEEPER] = CALLS(keeper_calls, true, type1_ioctls),
	[ROLE_KEEPER_IOMMUFD] = CALLS(keeper_calls, true, iommufd_ioctls),
	[ROLE_POPULATE] = CALLS(populate_calls, true),
	[ROLE_PUNCH] = CALLS(punch_calls, false),
	[ROLE_BOOK] = CALLS(book_calls, false),
};

static int allow(scmp_filter_ctx filter, const int *calls, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		int r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, calls[i], 0);
		if (r < 0)
			return r;
	}
	return 0;
}

/* Of ioctl(2) the backend's requests; the kernel looks at 32 bits of it only, and so do we. */
static int allow_ioctls(scmp_filter_ctx filter, const unsigned long *ioctls)
{
	for (size_t i = 0; ioctls[i]; i++) {
		int r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 1,
			SCMP_A1_64(SCMP_CMP_MASKED_EQ, UINT32_MAX, ioctls[i]));
		if (r < 0)
			return r;
	}
	return 0;
}

/* Memory, but none that could be run. */
static int allow_mmap(scmp_filter_ctx filter)
{
	return seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1,
		SCMP_A2_64(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
}

int filter_load(enum role role)
{
	const struct calls *calls = &role_calls[role];
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
	if (!filter)
		return -EPROTONOSUPPORT;

	int r = allow(filter, common_calls, ARRAY_SIZE(common_calls));
	if (r == 0)
		r = allow(filter, calls->list, calls->n);
	bool maps = calls->maps;
#ifdef SANITIZED
	maps = true;
	if (r == 0)
		r = allow(filter, sanitizer_calls, ARRAY_SIZE(sanitizer_calls));
#endif
	if (r == 0 && maps)
		r = allow_mmap(filter);
	if (r == 0 && calls->ioctls)
		r = allow_ioctls(filter, calls->ioctls);
	if (r == 0)
		r = seccomp_load(filter);
	seccomp_release(filter);
	return r;
}
