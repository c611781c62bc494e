/*
 * stand-in DIRECTORY
 *
 * vfiod on a host made of files, until it is killed: its rooms, its children and its socket are the
 * real ones, the devices are not. The group of 0000:01:00.0 is the file DIRECTORY/group, which is
 * open for as long as anybody has a copy of its descriptor (flock(2)). So what a broker costs can
 * be timed by the processor that this runs on, where the virtual machine has an emulated one. Runs
 * under umockdev-wrapper; serves DIRECTORY/socket.
 */
#include "tests/mock/kernel.h"
#include "tests/mock/testbed.h"

#include "daemon/base/log.h"
#include "daemon/base/store.h"
#include "daemon/base/util.h"
#include "daemon/broker/broker.h"
#include "daemon/broker/restoring.h"
#include "daemon/inventory/internal.h"
#include "daemon/lease/config.h"
#include "daemon/service/service.h"

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <unistd.h>

static char group_path[PATH_MAX];

static int open_group(void *userdata, int group)
{
	(void)userdata;
	(void)group;
	_cleanup_close_ int fd = open(group_path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		return errno == EWOULDBLOCK ? -EBUSY : -errno;
	return steal_fd(&fd);
}

/* One system call, as VFIO_GROUP_GET_STATUS is. */
static int group_viable(void *userdata, int group_fd)
{
	int n;

	(void)userdata;
	return ioctl(group_fd, FIONREAD, &n) < 0 ? -errno : 1;
}

static void path_in(char path[PATH_MAX], const char *directory, const char *name)
{
	int n = snprintf(path, PATH_MAX, "%s/%s", directory, name);

	if (n < 0 || n >= PATH_MAX)
		errx(1, "%s: too long", directory);
}

/* The caller may have it, and it stays taken, as in tests/bench/guest.sh. */
static struct config *configure(const char *directory)
{
	char path[PATH_MAX], rules[256];
	struct config *config = NULL;
	struct refusal refusal;

	path_in(path, directory, "vfiod.conf");
	snprintf(rules, sizeof(rules),
		"[daemon]\nadmin = user:%u\n[rule measured]\nmatch = pci:address=0000:01:00.0\n"
		"allow = user:%u\nrequire-reset = no\nreturn = no\ntrusted = yes\n",
		getuid(), getuid());
	int r = file_write_atomic(path, rules, strlen(rules));
	if (r == 0)
		r = config_read(path, &config, &refusal);
	if (r != 0)
		errx(1, "%s: %s", path, r == REFUSED ? "refused" : strerror(-r));
	return config;
}

static void on_term(struct ev_loop *loop, ev_signal *signal, int revents)
{
	(void)signal;
	(void)revents;
	ev_break(loop, EVBREAK_ALL);
}

int main(int argc, char *argv[])
{
	struct inventory *inventory;
	struct broker *broker;
	struct service *service;
	char path[PATH_MAX];

	if (argc != 2)
		errx(2, "see tests/bench/stand-in.c");
	path_in(group_path, argv[1], "group");
	close(open(group_path, O_RDWR | O_CREAT | O_CLOEXEC, 0600));
	log_open(LOG_INFO);
	struct ev_loop *loop = ev_default_loop(EVFLAG_NOENV);
	struct testbed *bed = testbed_new();
	struct mock_kernel *kernel = mock_kernel_new();
	char *syspath = testbed_add_pci(bed, "0000:01:00.0", 1, "e1000");
	testbed_set_attribute(bed, syspath, "driver_override", "(null)\n");
	free(syspath);
	struct sysfs_ops ops = *mock_kernel_ops(kernel);
	ops.open_group = open_group;
	ops.group_viable = group_viable;

	/* In the order of daemon/main.c. */
	struct store *store;
	int fd = -1;
	if (store_new(loop, 0, &fd, &store) < 0)
		errx(1, "no store");
	if (inventory_new_at(loop, testbed_udev_directory(bed), &inventory) < 0)
		errx(1, "no inventory");
	path_in(path, argv[1], "state");
	int r = broker_new(loop, inventory, configure(argv[1]), path, &ops, store, &broker);
	if (r < 0)
		errx(1, "no broker: %s", strerror(-r));
	inventory_listen(inventory, broker_on_inventory, broker);
	path_in(path, argv[1], "socket");
	fd = service_listen(path);
	if (fd < 0)
		errx(1, "%s: %s", path, strerror(-fd));
	r = service_new(loop, broker, fd,
		&(struct service_hooks){ .store = store, .owns_socket = true }, &service);
	if (r < 0)
		errx(1, "no service: %s", strerror(-r));
	broker_listen(broker, service_on_news, service);
	store_settle(store);
	broker_restored(broker);
	ev_signal term;
	ev_signal_init(&term, on_term, SIGTERM);
	ev_signal_start(loop, &term);
	ev_run(loop, 0);
	/* They have files of their own; the rest goes with the process. */
	mock_kernel_free(kernel);
	testbed_free(bed);
	return 0;
}
