/* The search as a whole, and what is concluded from what it found. */
#include "daemon/bind/opener-parts.h"

#include "daemon/base/util.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static double clock_seconds(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

bool search_has_time(struct search *search)
{
	if (!search->is_cut && clock_seconds() >= search->until)
		search->is_cut = true;
	return !search->is_cut;
}

/*
 * How strongly a process is suspected. Of equals above NEAR the first is named: they are one
 * family. Of strangers only if there is one.
 */
enum suspicion {
	SUSPICION_NONE,
	SUSPICION_FITS, /* its device may be ours, and nothing else speaks against it */
	SUSPICION_NEAR,
	SUSPICION_PROOF = SUSPICION_NEAR + RELATION_DESCENT + 1,
};

static int judge(
	const struct search *search, const struct process *process, const struct finding *finding)
{
	bool is_possible = false, is_asked = false;

	if (finding->has_it)
		return SUSPICION_PROOF;
	for (size_t i = 0; i < finding->n_unidentified; i++) {
		enum device_match match =
			search->query->ask_devices
				? search_match(search, process->pid, finding->unidentified[i])
				: MATCH_UNTOLD;
		if (match == MATCH_OURS)
			return SUSPICION_PROOF;
		is_possible = is_possible || match != MATCH_NONE;
		is_asked = is_asked || match == MATCH_SOME;
	}
	if (!is_possible)
		return SUSPICION_NONE;
	enum relation relation = process_relation(search, process);
	if (relation >= RELATION_CGROUP)
		return SUSPICION_NEAR + (int)relation;
	return is_asked ? SUSPICION_FITS : SUSPICION_NONE;
}

static void name(const struct process *process, struct opener *opener)
{
	opener->pid = process->pid;
	opener->start_ticks = process->start_ticks;
	opener->uid = process->uid;
	memcpy(opener->command, process->command, sizeof(opener->command));
	opener->n_more = 0;
}

static void look_at_all(struct search *search, struct opener *opener)
{
	int strongest = SUSPICION_NONE;

	for (size_t i = 0; i < search->n_processes && search_has_time(search); i++) {
		const struct process *process = &search->processes[i];
		struct finding finding;

		search_files(search, process->pid, &finding);
		int suspicion = judge(search, process, &finding);
		/* Another process may have its number by now, and what was seen is that one's. */
		if (suspicion != SUSPICION_NONE && !process_lives(search, process))
			continue;
		if (suspicion > strongest) {
			name(process, opener);
			strongest = suspicion;
		} else if (suspicion == strongest && suspicion != SUSPICION_NONE) {
			opener->n_more++;
		}
	}
	if (strongest == SUSPICION_PROOF)
		opener->certainty = OPENER_SURE;
	else if (strongest >= SUSPICION_NEAR ||
		 (strongest == SUSPICION_FITS && opener->n_more == 0))
		opener->certainty = OPENER_PROBABLE;
	else
		*opener = (struct opener){ .certainty = OPENER_UNKNOWN };
}

static int run(struct search *search, struct opener *opener)
{
	search->device_nodes = calloc(search->query->n_syspaths + 1, sizeof(dev_t));
	if (!search->device_nodes)
		return -ENOMEM;
	if (!search_read_nodes(search) && search->query->nodes_only)
		return 0;
	int r = search->query->ask_devices ? search_read_candidates(search) : 0;
	if (r == 0)
		r = search_read_processes(search);
	if (r == 0)
		look_at_all(search, opener);
	return r;
}

int opener_find(
	const struct opener_query *query, const struct opener_ops *ops, struct opener *opener)
{
	struct search search = {
		.query = query,
		.ops = ops,
		.until = clock_seconds() + query->seconds,
	};

	*opener = (struct opener){ .certainty = OPENER_UNKNOWN };
	snprintf(search.proc, sizeof(search.proc), "%s/proc", query->root);
	int r = run(&search, opener);
	opener->is_cut = search.is_cut;
	free(search.processes);
	free(search.device_nodes);
	free(search.candidates);
	return r;
}

bool opener_lives(const struct opener *opener)
{
	unsigned long long start_ticks;

	return opener->certainty != OPENER_UNKNOWN &&
	       process_start_time(opener->pid, &start_ticks) == 0 &&
	       start_ticks == opener->start_ticks;
}

void opener_describe(const struct opener *opener, char *buffer, size_t size)
{
	char more[48] = "";

	if (opener->n_more > 0)
		snprintf(more, sizeof(more), " and %u more process%s", opener->n_more,
			opener->n_more == 1 ? "" : "es");
	snprintf(buffer, size, "%s (pid %d, uid %u)%s", opener->command, (int)opener->pid,
		(unsigned)opener->uid, more);
}
