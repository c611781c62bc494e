/* The supervisor's threads, for what the filter stops. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "client/vfioctl/shim.h"

#define MAX_IDLE 4

struct pool {
	struct shim *shim;
	struct seccomp_notif_sizes sizes; /* by the kernel: never less than ours */
	pthread_mutex_t lock;
	unsigned n_idle;
};

/* False: there are enough without it. */
static bool worker_is_idle(struct pool *pool)
{
	bool stays;

	pthread_mutex_lock(&pool->lock);
	stays = pool->n_idle < MAX_IDLE;
	pool->n_idle += stays;
	pthread_mutex_unlock(&pool->lock);
	return stays;
}

/* True: it was the last one that waited for somebody. */
static bool worker_is_busy(struct pool *pool)
{
	bool is_last;

	pthread_mutex_lock(&pool->lock);
	is_last = --pool->n_idle == 0;
	pthread_mutex_unlock(&pool->lock);
	return is_last;
}

static int worker_start(struct pool *pool);

static void serve(
	struct pool *pool, struct seccomp_notif *notif, struct seccomp_notif_resp *response)
{
	do {
		/* It fails if who it was has been killed meanwhile. */
		do
			memset(notif, 0, pool->sizes.seccomp_notif);
		while (ioctl(pool->shim->listener, SECCOMP_IOCTL_NOTIF_RECV, notif) < 0);
		/* If there can be no other, the next open waits for this one. */
		if (worker_is_busy(pool))
			worker_start(pool);
		shim_notified(pool->shim, notif, response);
	} while (worker_is_idle(pool));
}

static void *work(void *userdata)
{
	struct pool *pool = userdata;
	struct seccomp_notif *notif = malloc(pool->sizes.seccomp_notif);
	struct seccomp_notif_resp *response = calloc(1, pool->sizes.seccomp_notif_resp);

	if (notif && response)
		serve(pool, notif, response);
	else
		worker_is_busy(pool);
	free(notif);
	free(response);
	return NULL;
}

static int worker_start(struct pool *pool)
{
	pthread_t thread;
	int error;

	worker_is_idle(pool);
	error = pthread_create(&thread, NULL, work, pool);
	if (error)
		worker_is_busy(pool);
	else
		pthread_detach(thread);
	return -error;
}

int shim_serve(struct shim *shim)
{
	struct pool *pool = calloc(1, sizeof *pool);
	int r;

	if (!pool)
		return -ENOMEM;
	pool->shim = shim;
	pthread_mutex_init(&pool->lock, NULL);
	r = syscall(SYS_seccomp, SECCOMP_GET_NOTIF_SIZES, 0, &pool->sizes) < 0 ? -errno : 0;
	if (r == 0)
		r = worker_start(pool);
	if (r < 0)
		free(pool);
	return r;
}
