/*
 * What an audit finds of a lease that maps by itself: what the kernel says of its process, against
 * what the books say. Much of what such a client has pinned cannot be known (design: "Direct
 * clients"), and that is said, too.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/types.h>

/* What a child has read of the process. */
struct lease_process {
	int result;            /* 0; -ESRCH: it has ended; another -errno: it could not be asked */
	uint64_t locked_bytes; /* VmLck */
	uint64_t pinned_bytes; /* VmPin: what iommufd bills */
	struct rlimit limit;   /* RLIMIT_MEMLOCK */
	int bound_result;      /* 0 or -errno, as memory_bound_find() */
	uint64_t max_bytes;    /* the memory.max that bounds it; UINT64_MAX: none does */
};
struct lease_facts {
	bool is_trusted;
	bool is_cdev; /* it maps through iommufd */
	struct lease_process process;
	/* What its limit should be, and what the kernel may bill it: as in lease_lock(). */
	bool is_lock_known;
	struct rlimit limit;
	uint64_t bill_bytes;
	/* observing_compare() */
	bool is_reported;
	int compared;
	uint64_t different_pages;
};

/* In a child: reads and writes it as text, for lease_process_parse(). 0 or -errno, as result. */
int lease_process_read(pid_t pid, unsigned long long start_ticks, FILE *answer);
/* result: of the errand. */
void lease_process_parse(int result, const char *text, struct lease_process *process);

/* What the kernel bills its process for mappings of this lease's kind, and others of the kind. */
uint64_t lease_facts_billed(const struct lease_facts *facts);
/*
 * In sentences: what is wrong, or else what cannot be known; "" for nothing. True: it disagrees
 * with the books.
 */
bool lease_facts_judge(const struct lease_facts *facts, char *finding, size_t size);
