/*
 * An errand: a child process that runs one function which may block for as long as the kernel or a
 * client likes, and brings its answer back to the loop. For what only looks (at /proc, at a
 * device's config space, at a user database); what changes anything is a bind job (bind/job.h).
 *
 * The child has a copy of the daemon's memory as it was at errand_new(), none of its descriptors,
 * and is killed when it is late or no longer wanted. One that cannot be killed stays, alone.
 */
#pragma once

#include <ev.h>
#include <stdio.h>

struct errand;

/* In the child. What it writes to `answer` comes back. 0 or more, or -errno: the result. */
typedef int (*errand_work)(FILE *answer, void *userdata);

/*
 * On the loop, once; the errand may be freed from within. `result` is the work's, or -ETIMEDOUT, or
 * -ECHILD (the child was killed), or -EFBIG (more than ERRAND_ANSWER_MAX bytes). `answer`: what
 * came, terminated; `length` without that; it goes with the errand.
 */
typedef void (*errand_done)(
	struct errand *errand, int result, const char *answer, size_t length, void *userdata);

#define ERRAND_ANSWER_MAX (1U << 20)

/*
 * `name` is the child's command, 15 bytes at most. 0 or -errno. `loop` has to be libev's default
 * loop: it reaps the child.
 */
int errand_new(struct ev_loop *loop, const char *name, errand_work work, void *work_userdata,
	double deadline_seconds, errand_done done, void *userdata, struct errand **errand);
/* Before done(): the child is killed, and done() never called. NULL-safe. */
struct errand *errand_free(struct errand *errand);
