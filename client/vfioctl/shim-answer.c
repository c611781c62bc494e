/* What becomes of an open(2) that waits for the supervisor, however he has heard of it. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "client/vfioctl/shim.h"

#define AWAY_TRIES 100 /* of a tenth of a second: for a vfiod that is being restarted */
#define REPLY_MS 60000 /* it has a deadline of its own: take-timeout in vfiod.conf(5) */

/* Would the driver be asked, and nobody else? The kernel knows what is wrong with the others. */
static bool is_plain(uint64_t flags)
{
	return !(flags & ~(uint64_t)UINT32_MAX) && (flags & O_ACCMODE) != O_ACCMODE &&
	       !(flags & (O_PATH | O_TMPFILE | O_DIRECT | O_NOATIME)) &&
	       (flags & (O_CREAT | O_EXCL)) != (O_CREAT | O_EXCL);
}

static const struct shim_node *node_of(const struct shim *shim, dev_t device)
{
	for (size_t i = 0; i < shim->lease->n_nodes; i++)
		if (shim->lease->nodes[i].device == device)
			return &shim->lease->nodes[i];
	return NULL;
}

/* Of Reopen. NULL: no memory. */
static struct json_object *parameters_of(const struct shim *shim, const struct shim_node *node)
{
	struct json_object *parameters = json_object_new_object();

	if (!parameters)
		return NULL;
	json_object_object_add(parameters, "token", json_object_new_string(shim->lease->token));
	if (node->kind == SHIM_GROUP)
		json_object_object_add(parameters, "group", json_object_new_int(node->group));
	else if (node->kind == SHIM_DEVICE)
		json_object_object_add(parameters, "device", json_object_new_string(node->name));
	else
		json_object_object_add(parameters, "iommufd", json_object_new_boolean(true));
	return parameters;
}

static void complain_of(const struct shim_node *node, const char *why)
{
	if (node->kind == SHIM_GROUP)
		fprintf(stderr, "vfioctl: group %d cannot be opened: %s\n", node->group, why);
	else
		fprintf(stderr, "vfioctl: %s cannot be opened: %s\n",
			node->kind == SHIM_DEVICE ? node->name : "/dev/iommu", why);
}

static int on_reopened(const char *parameters, int *fds, size_t n_fds, void *fd)
{
	(void)parameters;
	if (n_fds != 1)
		return -EPROTO;
	*(int *)fd = fds[0];
	fds[0] = -1;
	return 0;
}

/* One try: a descriptor, or -errno; *is_away: vfiod may be back in a moment. */
static int reopen_once(const struct shim *shim, const struct shim_node *node, bool *is_away)
{
	struct json_object *parameters = parameters_of(shim, node);
	struct vfiod *vfiod;
	const char *name;
	int fd = -1, r = vfiod_open(shim->socket, &vfiod);

	if (r == 0)
		r = vfiod_call(vfiod, "org.vfiod.Broker.Reopen",
			json_object_to_json_string_ext(parameters, JSON_C_TO_STRING_PLAIN), false,
			NULL, 0, REPLY_MS, on_reopened, &fd);
	json_object_put(parameters);
	name = vfiod_error_name(vfiod);
	*is_away = r == -ECONNREFUSED || r == -ENOENT || r == -ECONNRESET ||
		   (name && strcmp(name, "org.vfiod.Broker.Interrupted") == 0);
	if (r < 0 && r != -EBUSY && !*is_away)
		complain_of(node, vfiod_strerror(vfiod));
	vfiod_close(vfiod);
	return r < 0 ? r : fd;
}

static int reopen(
	const struct shim *shim, const struct shim_asker *asker, const struct shim_node *node)
{
	const struct timespec tenth = { .tv_nsec = 100000000 };

	for (int tries = 0;; tries++) {
		bool is_away;
		int r = reopen_once(shim, node, &is_away);

		if (!is_away || tries == AWAY_TRIES || !asker->is_waiting(asker))
			return r;
		nanosleep(&tenth, NULL);
	}
}

static int hand_over(const struct shim_asker *asker, int fd, uint64_t flags)
{
	/* The others mean nothing to these; O_RDWR it is for everybody. */
	if (fcntl(fd, F_SETFL, (int)flags & (O_APPEND | O_NONBLOCK)) < 0)
		return -errno;
	return asker->give(asker, fd, flags);
}

/* Of a group, the kernel would say EBUSY as long as somebody has a copy: ours has gone when the
 * next asks. */
static int node_give(struct shim *shim, const struct shim_asker *asker,
	const struct shim_node *node, uint64_t flags)
{
	int fd, r;

	pthread_mutex_lock(&shim->lock);
	fd = reopen(shim, asker, node);
	r = fd < 0 ? fd : hand_over(asker, fd, flags);
	if (fd >= 0)
		close(fd);
	pthread_mutex_unlock(&shim->lock);
	if (r == 0 || r == -EBUSY || fd >= 0)
		return r;
	return SHIM_NOT_OURS; /* not to be had: as without us */
}

int shim_answer(struct shim *shim, const struct shim_asker *asker, dev_t device, uint64_t flags)
{
	const struct shim_node *node = is_plain(flags) ? node_of(shim, device) : NULL;

	return node && asker->is_waiting(asker) ? node_give(shim, asker, node, flags)
						: SHIM_NOT_OURS;
}
