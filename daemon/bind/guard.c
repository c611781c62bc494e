/* The guard's order of questions, and its answer. */
#include "daemon/bind/guard.h"

#include "daemon/base/util.h"
#include "daemon/bind/guard-netlink.h"
#include "daemon/bind/guard-tree.h"
#include "daemon/bind/kernel.h"
#include "daemon/privilege/open-files.h"

#include <errno.h>
#include <ifaddrs.h>
#include <stdarg.h>

void guard_add(struct guard_uses *uses, const char *format, ...)
{
	va_list arguments;

	if (uses->n++ > 0)
		return;
	va_start(arguments, format);
	vsnprintf(uses->first, sizeof(uses->first), format, arguments);
	va_end(arguments);
}

/* Without the driver, its virtual functions and mediated devices are gone. */
static void ask_children(
	const struct guard_tree *tree, const char *syspath, struct guard_uses *uses)
{
	char first[NAME_MAX + 1];
	/* Not sriov_numvfs: that waits for the device's lock. */
	unsigned n = directory_find(syspath, "virtfn", first, sizeof(first));

	if (n > 0)
		guard_add(uses, "it has %u virtual function%s, which would go with it", n,
			n == 1 ? "" : "s");
	if (tree->n_mediated > 0)
		guard_add(uses, "it has %u mediated device%s, which would go with it",
			tree->n_mediated, tree->n_mediated == 1 ? "" : "s");
}

/* In the order of what tells most. */
static int ask_all(const struct guard_sources *sources, const struct guard_tree *tree,
	const char *syspath, const char *name, struct guard_uses *uses)
{
	int r = guard_block(sources, tree, uses);
	if (r == 0)
		r = guard_net(sources, tree, uses);
	if (r == 0) {
		ask_children(tree, syspath, uses);
		r = guard_display(sources, tree, syspath, name, uses);
	}
	if (r == 0)
		r = guard_openers(sources, tree, uses);
	if (r == 0 && uses->n == 0)
		r = guard_claims(sources, tree, uses);
	return r;
}

int guard_device(const struct guard_sources *sources, const char *syspath, const char *name,
	struct refusal *refusal)
{
	struct guard_uses uses = { .n = 0 };
	struct guard_tree tree;

	int r = guard_tree_read(sources->sys, syspath, &tree);
	if (r < 0)
		return r;
	r = ask_all(sources, &tree, syspath, name, &uses);
	guard_tree_clear(&tree);
	/* One use that is known is enough, whatever could not be told. */
	if (uses.n == 0)
		return r;
	if (uses.n == 1)
		refuse(refusal, REFUSAL_DEVICE_IN_USE, "%s", uses.first);
	else
		refuse(refusal, REFUSAL_DEVICE_IN_USE, "%s, and %u more use%s", uses.first,
			uses.n - 1, uses.n == 2 ? "" : "s");
	string_copy(refusal->device, sizeof(refusal->device), name);
	return REFUSED;
}

int guard_ask(void *userdata, const char *syspath, const char *name, struct refusal *refusal)
{
	(void)userdata;
	struct ifaddrs *addresses = NULL;

	if (getifaddrs(&addresses) < 0)
		return -errno;
	const struct guard_sources sources = {
		.proc = "/proc",
		.sys = "/sys",
		.dev = "/dev",
		.addresses = addresses,
		.find_route = netlink_find_route,
		.has_xdp = netlink_has_xdp,
		.file_number = open_file_number,
		.pause = { .tv_nsec = 100000000 },
	};
	int r = guard_device(&sources, syspath, name, refusal);
	freeifaddrs(addresses);
	return r;
}
