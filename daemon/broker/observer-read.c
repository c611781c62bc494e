#include "daemon/base/util.h"
#include "daemon/broker/observer.h"
#include "daemon/broker/observing-parts.h"
#include "daemon/privilege/privilege.h"

#include <errno.h>
#include <fcntl.h>

static int open_pagemap(pid_t pid, unsigned long long start_ticks)
{
	return privilege_pagemap(&(struct process_id){ pid, start_ticks });
}

static int read_frames(void *pagemap, const void *address, uint64_t *frames, size_t n_pages)
{
	struct frame_ops ops;

	frames_use_pagemap(&ops, pagemap);
	return ops.read(ops.userdata, address, frames, n_pages);
}

const struct observer_ops observer_kernel = { open_pagemap, read_frames };

static int take_run(void *userdata, uint64_t first, uint64_t n)
{
	struct part_runs *part = userdata;

	part->runs[part->n++] = run_make(first == FRAME_ABSENT ? RUN_ABSENT_FIRST : first, n);
	return 0;
}

int observer_read_part(const struct observer_ops *observer, int *pagemap,
	const struct observer_part *part, struct part_runs *runs)
{
	const struct frame_ops ops = { .userdata = pagemap, .read = observer->read };

	runs->n = 0;
	/* An address of the client's: never touched, only looked up.
	 * NOLINTNEXTLINE(performance-no-int-to-ptr) */
	int r = frames_walk(&ops, (char *)(uintptr_t)part->address, part->n_pages * page_bytes(),
		false, take_run, runs);
	if (r < 0)
		runs->n = 0;
	return r == -EPERM ? r : 0;
}

int observer_read(FILE *answer, const struct observer_request *request)
{
	static struct part_runs runs;
	size_t n_runs = 0;
	_cleanup_close_ int pagemap = request->ops->open(request->pid, request->start_ticks);

	if (pagemap < 0)
		return pagemap;
	for (size_t i = 0; i < request->n_parts && n_runs < request->n_runs_max; i++) {
		int r = observer_read_part(request->ops, &pagemap, &request->parts[i], &runs);
		if (r < 0)
			return r;
		n_runs += runs.n;
		size_t size = sizeof(runs.n) + runs.n * sizeof(*runs.runs);
		if (fwrite(&runs, size, 1, answer) != 1)
			return -ENOMEM;
	}
	return 0;
}
