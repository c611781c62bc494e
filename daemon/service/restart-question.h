/*
 * systemd sends SIGTERM for a stop and for a restart alike; which it is says the job that it has
 * for our unit. It is asked by its private socket, where there is no D-Bus either, in a child:
 * systemd may be busy, and may even be waiting for us.
 */
#pragma once

#include <ev.h>
#include <stdbool.h>

struct errand;

/* True: another vfiod is started when this one has ended. False also where nobody answers. */
typedef void (*restart_answered)(bool is_restart, void *userdata);

struct restart_question {
	struct errand *errand; /* NULL: not asked */
	restart_answered answered;
	void *userdata;
};

/* Once; answered() comes from the loop, or at once where there is no systemd to ask. */
void restart_ask(struct restart_question *question, struct ev_loop *loop, restart_answered answered,
	void *userdata);
void restart_forget(struct restart_question *question);
/* What a job of this type ("stop", "restart", …; "": there is none) means. */
bool restart_is_meant(const char *job_type, const char *restart_setting);
