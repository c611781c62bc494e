/* The book of what systemd keeps for us. */

/* uthash would call exit() without memory; so it leaves the element out, with no table. */
#define HASH_NONFATAL_OOM 1
#include "daemon/base/store.h"

#include "daemon/base/barrier.h"
#include "daemon/base/log.h"
#include "daemon/base/notify.h"
#include "daemon/base/util.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <systemd/sd-daemon.h>
#include <uthash.h>

/* Descriptors that are ours and not in the store, at least. */
static const rlim_t OTHER_DESCRIPTORS = 128;
/*
 * One string of the environment has all names, with ':' between them; exec(2) takes no string
 * beyond 128 KiB (MAX_ARG_STRLEN, include/uapi/linux/binfmts.h). What is left is for the variable's
 * name and for the listening socket's.
 */
#define NAMES_MAX ((size_t)(128 << 10) - 256)
/* Of a name as they are today, and its ':'. */
enum { TYPICAL_NAME = 8 };

struct entry {
	char name[STORE_NAME_SIZE];
	int fd; /* was handed over and not taken; else -1 */
	UT_hash_handle by_name;
};

struct store {
	struct notify *notify; /* NULL: there is no store */
	struct barrier *barrier;
	size_t max, n, names_bytes;
	struct entry *entries;
};

/* A function's size here is uthash's macros.
 * NOLINTBEGIN(readability-function-size) */

static struct entry *entry_find(const struct store *store, const char *name)
{
	struct entry *entry;

	HASH_FIND(by_name, store->entries, name, strlen(name), entry);
	return entry;
}

static struct entry *entry_new(struct store *store, const char *name)
{
	struct entry *entry = calloc(1, sizeof(*entry));

	if (!entry)
		return NULL;
	entry->fd = -1;
	string_copy(entry->name, sizeof(entry->name), name);
	HASH_ADD(by_name, store->entries, name[0], strlen(entry->name), entry);
	if (!entry->by_name.tbl) {
		free(entry);
		return NULL;
	}
	store->n++;
	store->names_bytes += strlen(entry->name) + 1;
	return entry;
}

static void entry_free(struct store *store, struct entry *entry)
{
	HASH_DELETE(by_name, store->entries, entry);
	store->n--;
	store->names_bytes -= strlen(entry->name) + 1;
	if (entry->fd >= 0)
		close(entry->fd);
	free(entry);
}

/* NOLINTEND(readability-function-size) */

bool store_is_there(const struct store *store)
{
	return store->notify != NULL;
}

size_t store_room(const struct store *store)
{
	if (!store->notify || store->n >= store->max || store->names_bytes >= NAMES_MAX)
		return 0;
	size_t by_names = (NAMES_MAX - store->names_bytes) / TYPICAL_NAME;
	size_t by_number = store->max - store->n;
	return by_names < by_number ? by_names : by_number;
}

int store_take(struct store *store, const char *name)
{
	struct entry *entry = entry_find(store, name);
	return entry ? steal_fd(&entry->fd) : -1;
}

void store_each(struct store *store, char kind, store_visit visit, void *userdata)
{
	struct entry *entry, *next;

	HASH_ITER (by_name, store->entries, entry, next) {
		char *end;
		if (entry->fd < 0 || entry->name[0] != kind)
			continue;
		unsigned long number = strtoul(entry->name + 1, &end, 10);
		if (*end == '\0' && number <= UINT_MAX)
			visit(entry->name, (unsigned)number, userdata);
	}
}

static int tell(struct store *store, const char *what, const char *name, int fd)
{
	char text[64];

	snprintf(text, sizeof(text), "%s=1\nFDNAME=%s%s", what, name,
		/* Not to be removed when the other end has gone: we want to hear of that. */
		fd >= 0 ? "\nFDPOLL=0" : "");
	return notify_send(store->notify, text, fd);
}

int store_put(struct store *store, const char *name, int fd)
{
	if (!store->notify)
		return -EOPNOTSUPP;
	if (entry_find(store, name))
		return -EEXIST;
	if (store->n >= store->max || store->names_bytes + strlen(name) + 1 > NAMES_MAX)
		return -ENOSPC;
	struct entry *entry = entry_new(store, name);
	if (!entry)
		return -ENOMEM;
	int r = tell(store, "FDSTORE", name, fd);
	if (r < 0)
		entry_free(store, entry);
	return r;
}

void store_remove(struct store *store, const char *name)
{
	struct entry *entry = entry_find(store, name);
	if (!entry)
		return;
	int r = store->notify ? tell(store, "FDSTOREREMOVE", name, -1) : 0;
	/* It stays there then, and is counted. */
	if (r < 0)
		log_error("taking %s out of systemd's store: %s", name, strerror(-r));
	else
		entry_free(store, entry);
}

int store_when_kept(struct store *store, store_kept kept, void *userdata)
{
	if (store->notify)
		return barrier_wait(store->barrier, kept, userdata);
	kept(true, userdata);
	return 0;
}

void store_forget(struct store *store, void *userdata)
{
	if (store->barrier)
		barrier_forget(store->barrier, userdata);
}

/* --- the start --------------------------------------------------------------------------- */

/* A letter and a number, or two letters: what FileDescriptorName= says of sockets is longer. */
static bool is_stored(const char *name)
{
	if (name[0] < 'a' || name[0] > 'z' || name[1] == '\0')
		return false;
	if (name[1] >= 'a' && name[1] <= 'z')
		return name[2] == '\0';
	return strlen(name) < STORE_NAME_SIZE && strspn(name + 1, "0123456789") == strlen(name + 1);
}

static int take_over(struct store *store, const char *name, int fd, int *listen_fd)
{
	if (is_stored(name)) {
		struct entry *entry = entry_find(store, name);
		if (entry) {
			log_warning("systemd's store has %s twice", name);
			close(fd);
			return 0;
		}
		entry = entry_new(store, name);
		if (!entry)
			return -ENOMEM;
		entry->fd = fd;
		return 0;
	}
	if (sd_is_socket_unix(fd, SOCK_STREAM, 1, NULL, 0) <= 0) {
		log_error("what systemd handed over as '%s' is no listening AF_UNIX stream socket",
			name);
		return -EINVAL;
	}
	if (*listen_fd >= 0) {
		log_error("systemd handed more than one socket over; one is wanted");
		return -EINVAL;
	}
	*listen_fd = fd;
	return 0;
}

static int take_all_over(struct store *store, int *listen_fd)
{
	char **names = NULL;
	int n = sd_listen_fds_with_names(1, &names);

	if (n < 0) {
		log_error("what systemd handed over: %s", strerror(-n));
		return n;
	}
	int r = 0;
	for (int i = 0; i < n && r == 0; i++)
		r = take_over(store, names[i], SD_LISTEN_FDS_START + i, listen_fd);
	strv_free(names);
	return r;
}

/* systemd cannot start who has more in its store than it may have open. */
static size_t max_possible(size_t max)
{
	const char *told = getenv("FDSTORE"); /* systemd 254: FileDescriptorStoreMax= */
	struct rlimit limit;

	if (told && strtoul(told, NULL, 10) < max)
		max = strtoul(told, NULL, 10);
	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur == RLIM_INFINITY ||
		limit.rlim_cur >= max + OTHER_DESCRIPTORS)
		return max;
	size_t possible = limit.rlim_cur > OTHER_DESCRIPTORS
				  ? (size_t)(limit.rlim_cur - OTHER_DESCRIPTORS)
				  : 0;
	log_warning("only %zu descriptors of %zu outlive a restart: LimitNOFILE= of vfiod.service "
		    "has to be at least FileDescriptorStoreMax= and %u more",
		possible, max, (unsigned)OTHER_DESCRIPTORS);
	return possible;
}

static int store_open(struct store *store, struct ev_loop *loop, size_t max, int *listen_fd)
{
	int r = 0;

	if (max > 0) {
		store->max = max_possible(max);
		r = notify_new(loop, &store->notify);
		if (r == 0)
			r = barrier_new(loop, store->notify, &store->barrier);
		/* Without systemd nothing outlives us, and that is all. */
		if (r == -EOPNOTSUPP)
			r = 0;
		if (r < 0)
			log_error("systemd's notification socket: %s", strerror(-r));
	}
	return r < 0 ? r : take_all_over(store, listen_fd);
}

int store_new(struct ev_loop *loop, size_t max, int *listen_fd, struct store **storep)
{
	*listen_fd = -1;
	*storep = NULL;
	struct store *store = calloc(1, sizeof(*store));
	if (!store)
		return -ENOMEM;
	int r = store_open(store, loop, max, listen_fd);
	if (r < 0) {
		store_free(store);
		return r;
	}
	*storep = store;
	return 0;
}

void store_settle(struct store *store)
{
	struct entry *entry, *next;

	HASH_ITER (by_name, store->entries, entry, next) {
		if (entry->fd < 0)
			continue;
		log_warning("%s of systemd's store belongs to nothing that there is: it is closed",
			entry->name);
		store_remove(store, entry->name);
	}
}

struct store *store_free(struct store *store)
{
	struct entry *entry, *next;

	if (!store)
		return NULL;
	store_settle(store);
	HASH_ITER (by_name, store->entries, entry, next) {
		entry_free(store, entry);
	}
	barrier_free(store->barrier);
	notify_free(store->notify);
	free(store);
	return NULL;
}
