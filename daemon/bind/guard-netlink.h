/* Two questions to rtnetlink(7). Nobody outside of the guard's files includes this. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct nlmsghdr;

/*
 * The first route over an interface that the kernel did not make by itself: "198.51.100.0/24",
 * "anywhere"; "" if there is none. In all tables. 0 or -errno.
 */
int netlink_find_route(unsigned ifindex, char *route, size_t size);
/* Is an XDP program attached to it? 1, 0 or -errno. */
int netlink_has_xdp(unsigned ifindex);

/* Of one message of the answer, each: pure. */
bool netlink_is_route(const struct nlmsghdr *message, unsigned ifindex, char *route, size_t size);
bool netlink_is_xdp(const struct nlmsghdr *message);
