/* Who uses the network interfaces of a device. */
#include "daemon/base/util.h"
#include "daemon/bind/guard-tree.h"
#include "daemon/bind/guard.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <string.h>

/*
 * net/core/dev.c links every interface above: "master" to a bridge, bond, team or switch, "upper_…"
 * to VLANs and macvlans as well. It is theirs also while it is down.
 */
static bool is_below(const struct guard_node *node, struct guard_uses *uses)
{
	char other[NAME_MAX + 1];

	link_name(node->path, "master", other, sizeof(other));
	if (*other) {
		guard_add(uses, "interface %s is part of %s", node->name, other);
		return true;
	}
	directory_find(node->path, "upper_", other, sizeof(other));
	if (*other)
		guard_add(uses, "interface %s carries %s", node->name, other);
	return *other;
}

static bool is_up(const struct ifaddrs *addresses, const char *interface)
{
	for (; addresses; addresses = addresses->ifa_next)
		if (strcmp(addresses->ifa_name, interface) == 0)
			return addresses->ifa_flags & IFF_UP;
	return false;
}

static bool has_address(
	const struct ifaddrs *addresses, const char *interface, struct guard_uses *uses)
{
	for (; addresses; addresses = addresses->ifa_next) {
		const struct sockaddr *address = addresses->ifa_addr;
		char text[INET6_ADDRSTRLEN];
		const void *bytes = NULL;

		if (!address || strcmp(addresses->ifa_name, interface) != 0)
			continue;
		if (address->sa_family == AF_INET) {
			bytes = &((const struct sockaddr_in *)(const void *)address)->sin_addr;
		} else if (address->sa_family == AF_INET6) {
			const struct in6_addr *six =
				&((const struct sockaddr_in6 *)(const void *)address)->sin6_addr;
			bytes = IN6_IS_ADDR_LINKLOCAL(six) ? NULL : six;
		}
		if (bytes && inet_ntop(address->sa_family, bytes, text, sizeof(text))) {
			guard_add(uses, "interface %s is up with address %s", interface, text);
			return true;
		}
	}
	return false;
}

/* 0: it is not an interface any more. */
static unsigned read_ifindex(const struct guard_node *node)
{
	char path[PATH_MAX], text[32];

	if (path_join(path, node->path, "ifindex") < 0 || file_read(path, text, sizeof(text)) < 0)
		return 0;
	return (unsigned)strtoul(text, NULL, 10);
}

static int ask_kernel(
	const struct guard_sources *sources, const struct guard_node *node, struct guard_uses *uses)
{
	char route[INET6_ADDRSTRLEN + 8] = "";
	unsigned ifindex = read_ifindex(node);
	int r = 0;

	if (ifindex == 0)
		return 0;
	/* Without an address of its own: "unnumbered", or a machine with one address for all. */
	if (is_up(sources->addresses, node->name))
		r = sources->find_route(ifindex, route, sizeof(route));
	if (r < 0)
		return r;
	if (*route) {
		guard_add(uses, "interface %s is up with a route to %s", node->name, route);
		return 0;
	}
	r = sources->has_xdp(ifindex);
	if (r > 0)
		guard_add(uses, "interface %s has an XDP program", node->name);
	return r < 0 ? r : 0;
}

int guard_net(
	const struct guard_sources *sources, const struct guard_tree *tree, struct guard_uses *uses)
{
	for (size_t i = 0; i < tree->n_nodes; i++) {
		const struct guard_node *node = &tree->nodes[i];

		if (strcmp(node->subsystem, "net") != 0 || is_below(node, uses) ||
			(is_up(sources->addresses, node->name) &&
				has_address(sources->addresses, node->name, uses)))
			continue;
		int r = ask_kernel(sources, node, uses);
		if (r < 0)
			return r;
	}
	for (unsigned i = 0; i < tree->n_elsewhere; i++)
		guard_add(uses, "an interface of it is in another network namespace");
	return 0;
}
