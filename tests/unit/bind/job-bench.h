/* Real children on a real loop, with a kernel in shared memory. */
#pragma once

#include "fake-kernel.h"

#include "daemon/bind/job.h"

struct job_bench {
	struct ev_loop *loop;
	struct fake_kernel *kernel; /* shared with the children */
	struct sysfs_ops ops;
	struct plan *plan;
	struct doormen *doormen;
	struct job *job;
	int n_fds_before;

	bool keeps_waiting; /* no job_go() after job_new() where no "ready" comes */
	bool goes;          /* what the listener does when it hears "ready": job_go() */
	bool frees_ready;   /* or job_free() */
	bool releases;      /* when it is late: lets the kernel go on */
	unsigned n_ready, n_done, n_late;
	int result;
	int group_fd;
	struct nodes *nodes;
	struct refusal refusal;
	enum bind_step late_step;
	char late_device[DEVICE_NAME_SIZE];
};

void job_bench_init(struct job_bench *bench, struct ev_loop *loop, size_t n_devices);
/* Also says job_go() to kinds that are not inspected. */
void job_bench_start(struct job_bench *bench, enum job_kind kind, double deadline_seconds);
/* Runs the loop until the listener was called once more. */
void job_bench_news(struct job_bench *bench);
/* Runs the loop, for SIGCHLD, until no child is left, not even a dead one. */
void job_bench_no_child(struct job_bench *bench);
/* Until the child waits in the operation that hangs. */
void job_bench_hang(struct job_bench *bench);
/* Drops the group's descriptor, and the nodes. */
void job_bench_close(struct job_bench *bench);
/* Frees all; no child, no descriptor is left. */
void job_bench_end(struct job_bench *bench);
/* For a timer: sets the bool that is its data, and breaks the loop. */
void job_bench_give_up(struct ev_loop *loop, ev_timer *timer, int revents);
