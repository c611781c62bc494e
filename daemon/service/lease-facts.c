#include "daemon/service/lease-facts.h"

#include "daemon/base/util.h"
#include "daemon/broker/bound.h"
#include "daemon/privilege/privilege.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>
#include <sys/pidfd.h>

/* --- reading ------------------------------------------------------------------------------------
 */

static int check_process(pid_t pid, unsigned long long start_ticks)
{
	unsigned long long ticks;

	int r = process_start_time(pid, &ticks);
	if (r == 0 && ticks != start_ticks)
		return -ESRCH;
	return r == -ENOENT ? -ESRCH : r;
}

/* VmPin stands behind VmLck (fs/proc/task_mmu.c, task_mem). */
static int read_locked(pid_t pid, uint64_t *locked, uint64_t *pinned)
{
	char name[64], line[256];

	snprintf(name, sizeof(name), "/proc/%d/status", (int)pid);
	_cleanup_fclose_ FILE *status = fopen(name, "re");
	if (!status)
		return errno == ENOENT ? -ESRCH : -errno;
	while (fgets(line, sizeof(line), status)) {
		if (strncmp(line, "VmLck:", 6) == 0)
			*locked = strtoull(line + 6, NULL, 10) * 1024;
		if (strncmp(line, "VmPin:", 6) == 0) {
			*pinned = strtoull(line + 6, NULL, 10) * 1024;
			return 0;
		}
	}
	return -ESRCH; /* it has no memory any more */
}

int lease_process_read(pid_t pid, unsigned long long start_ticks, FILE *answer)
{
	struct memory_bound bound = { .max_bytes = UINT64_MAX };
	struct rlimit limit = { 0 };
	uint64_t locked = 0, pinned = 0;

	int r = check_process(pid, start_ticks);
	if (r == 0)
		r = read_locked(pid, &locked, &pinned);
	_cleanup_close_ int pidfd = pidfd_open(pid, 0);
	if (r == 0 && pidfd < 0)
		r = -errno;
	if (r == 0)
		r = privilege_memlock(pidfd, pid, NULL, &limit);
	int bound_result = memory_bound_find(&cgroup_mounts, pid, start_ticks, &bound);
	/* It was this process all the while, if it still is. */
	if (r == 0)
		r = check_process(pid, start_ticks);
	if (r < 0)
		return r;
	int n = fprintf(answer, "%" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %d %" PRIu64,
		locked, pinned, (uint64_t)limit.rlim_cur, (uint64_t)limit.rlim_max, bound_result,
		bound.max_bytes);
	return n < 0 ? -EIO : 0;
}

void lease_process_parse(int result, const char *text, struct lease_process *process)
{
	uint64_t soft, hard;

	*process = (struct lease_process){ .result = result < 0 ? result : 0 };
	if (result < 0)
		return;
	/* NOLINTNEXTLINE(cert-err34-c): by a child of our own. */
	if (sscanf(text, "%" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %d %" SCNu64,
		    &process->locked_bytes, &process->pinned_bytes, &soft, &hard,
		    &process->bound_result, &process->max_bytes) == 6)
		process->limit = (struct rlimit){ soft, hard };
	else
		process->result = -EBADMSG;
}

/* --- judging ------------------------------------------------------------------------------------
 */

struct finding {
	char *text;
	size_t size;
};

__attribute__((format(printf, 2, 3))) static void find(
	const struct finding *finding, const char *format, ...)
{
	size_t used = strlen(finding->text);
	va_list arguments;

	if (used > 0)
		used += (size_t)snprintf(finding->text + used, finding->size - used, "; ");
	if (used >= finding->size)
		return;
	va_start(arguments, format);
	vsnprintf(finding->text + used, finding->size - used, format, arguments);
	va_end(arguments);
}

uint64_t lease_facts_billed(const struct lease_facts *facts)
{
	return facts->is_cdev ? facts->process.pinned_bytes : facts->process.locked_bytes;
}

static bool judge_lock(const struct lease_facts *facts, const struct finding *finding)
{
	const struct lease_process *process = &facts->process;
	bool is_wrong = false;

	if (!facts->is_lock_known)
		return false;
	if (lease_facts_billed(facts) > facts->bill_bytes) {
		find(finding,
			"the kernel bills its process %" PRIu64 " bytes (%s); %" PRIu64
			" are reserved or were its own to lock",
			lease_facts_billed(facts), facts->is_cdev ? "VmPin" : "VmLck",
			facts->bill_bytes);
		is_wrong = true;
	}
	/* A soft limit up to the hard one is the process's own affair. */
	if (process->limit.rlim_max > facts->limit.rlim_max) {
		find(finding,
			"somebody else has raised what its process may lock: the hard "
			"RLIMIT_MEMLOCK should be %" PRIu64,
			(uint64_t)facts->limit.rlim_max);
		is_wrong = true;
	}
	return is_wrong;
}

static bool judge_bound(const struct lease_facts *facts, const struct finding *finding)
{
	if (facts->is_trusted || facts->process.bound_result < 0 ||
		facts->process.max_bytes != UINT64_MAX)
		return false;
	find(finding,
		"no memory.max bounds what it can pin any more, and the rules do not trust it");
	return true;
}

static bool judge_reports(const struct lease_facts *facts, const struct finding *finding)
{
	if (!facts->is_reported || facts->compared < 0 || facts->different_pages == 0)
		return false;
	find(finding,
		"%" PRIu64 " pages that it reported are not those that were observed: other memory "
		"is at their addresses now, and devices still see the old one",
		facts->different_pages);
	return true;
}

/* What is right as far as it goes. */
static void tell_unknown(const struct lease_facts *facts, const struct finding *finding)
{
	const struct lease_process *process = &facts->process;

	if (facts->is_lock_known && (process->limit.rlim_max < facts->limit.rlim_max ||
					    process->limit.rlim_cur < facts->limit.rlim_cur))
		find(finding,
			"its process may lock less than is reserved: somebody has lowered its "
			"RLIMIT_MEMLOCK");
	if (facts->is_reported && facts->compared < 0)
		find(finding, "what it reported could not be compared: %s",
			strerrordesc_np(-facts->compared));
	if (process->bound_result < 0)
		find(finding, "which memory.max bounds it could not be read: %s",
			strerrordesc_np(-process->bound_result));
	else
		find(finding,
			"what it has pinned cannot be known: a child may have mapped memory and "
			"ended, for which nobody is billed; %s",
			process->max_bytes == UINT64_MAX ? "nothing bounds that"
							 : "its memory.max bounds that");
}

bool lease_facts_judge(const struct lease_facts *facts, char *text, size_t size)
{
	const struct finding finding = { text, size };

	*text = '\0';
	if (facts->process.result == -ESRCH) {
		find(&finding, "its process has ended: what that has mapped may be pinned still, "
			       "and nobody "
			       "is billed for it");
		return false;
	}
	if (facts->process.result < 0) {
		find(&finding, "its process could not be asked: %s",
			strerrordesc_np(-facts->process.result));
		return false;
	}
	bool is_wrong = judge_lock(facts, &finding);
	is_wrong = judge_bound(facts, &finding) || is_wrong;
	is_wrong = judge_reports(facts, &finding) || is_wrong;
	if (!is_wrong)
		tell_unknown(facts, &finding);
	return is_wrong;
}
