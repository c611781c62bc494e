#include "daemon/bind/guard-netlink.h"

#include "daemon/base/util.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_link.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

/* The kernel's answers come in pieces of 32 KiB at most (net/netlink/af_netlink.c). */
#define ANSWER_SIZE 32768

static const struct rtattr *find_attribute(const struct rtattr *attribute, int length, int type)
{
	for (; RTA_OK(attribute, length); attribute = RTA_NEXT(attribute, length))
		if ((attribute->rta_type & NLA_TYPE_MASK) == type)
			return attribute;
	return NULL;
}

static unsigned attribute_u32(const struct rtattr *attribute)
{
	unsigned value = 0;

	if (attribute && RTA_PAYLOAD(attribute) >= sizeof(value))
		memcpy(&value, RTA_DATA(attribute), sizeof(value));
	return value;
}

/* Of several next hops, each has an interface. */
static bool goes_over(const struct rtattr *attributes, int length, unsigned ifindex)
{
	const struct rtattr *paths = find_attribute(attributes, length, RTA_MULTIPATH);

	if (attribute_u32(find_attribute(attributes, length, RTA_OIF)) == ifindex)
		return true;
	if (!paths)
		return false;
	const struct rtnexthop *hop = RTA_DATA(paths);
	size_t left = RTA_PAYLOAD(paths);
	while (left >= sizeof(*hop) && hop->rtnh_len >= sizeof(*hop) && hop->rtnh_len <= left) {
		if ((unsigned)hop->rtnh_ifindex == ifindex)
			return true;
		size_t step = RTNH_ALIGN(hop->rtnh_len);
		if (step > left)
			break;
		left -= step;
		hop = RTNH_NEXT(hop);
	}
	return false;
}

bool netlink_is_route(const struct nlmsghdr *message, unsigned ifindex, char *route, size_t size)
{
	const struct rtmsg *body = NLMSG_DATA(message);
	char address[INET6_ADDRSTRLEN];

	if (message->nlmsg_type != RTM_NEWROUTE || message->nlmsg_len < NLMSG_LENGTH(sizeof(*body)))
		return false;
	/* The kernel's: those of an address, which counts by itself, and IPv6's link-local ones. */
	if (body->rtm_protocol == RTPROT_KERNEL || body->rtm_type == RTN_LOCAL ||
		(body->rtm_flags & RTM_F_CLONED))
		return false;
	const struct rtattr *attributes = RTM_RTA(body);
	int length = (int)RTM_PAYLOAD(message);
	if (!goes_over(attributes, length, ifindex))
		return false;
	const struct rtattr *to = find_attribute(attributes, length, RTA_DST);
	size_t wanted = body->rtm_family == AF_INET ? 4 : 16;
	if (body->rtm_dst_len == 0)
		snprintf(route, size, "anywhere");
	else if (to && RTA_PAYLOAD(to) >= wanted &&
		 inet_ntop(body->rtm_family, RTA_DATA(to), address, sizeof(address)))
		snprintf(route, size, "%s/%u", address, body->rtm_dst_len);
	else
		snprintf(route, size, "somewhere");
	return true;
}

bool netlink_is_xdp(const struct nlmsghdr *message)
{
	const struct ifinfomsg *body = NLMSG_DATA(message);

	if (message->nlmsg_type != RTM_NEWLINK || message->nlmsg_len < NLMSG_LENGTH(sizeof(*body)))
		return false;
	const struct rtattr *xdp =
		find_attribute(IFLA_RTA(body), (int)IFLA_PAYLOAD(message), IFLA_XDP);
	if (!xdp)
		return false;
	const struct rtattr *attached =
		find_attribute(RTA_DATA(xdp), (int)RTA_PAYLOAD(xdp), IFLA_XDP_ATTACHED);
	return attached && RTA_PAYLOAD(attached) >= 1 &&
	       *(const unsigned char *)RTA_DATA(attached) != XDP_ATTACHED_NONE;
}

struct request {
	struct nlmsghdr header;
	union {
		struct {
			struct rtmsg body;
			struct rtattr attribute;
			unsigned ifindex;
		} route;
		struct ifinfomsg link;
	};
};

static int open_socket(void)
{
	const struct timeval limit = { .tv_sec = 5 };
	int yes = 1;

	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	/* With it the kernel itself chooses the routes of one interface. Older than 4.20: we do. */
	setsockopt(fd, SOL_NETLINK, NETLINK_GET_STRICT_CHK, &yes, sizeof(yes));
	return fd;
}

/*
 * Sends a request, and reads its answer to the end, or until `is_it` says yes: 1 yes, 0, or -errno.
 */
static int ask(struct request *request,
	bool (*is_it)(const struct nlmsghdr *message, void *userdata), void *userdata)
{
	_cleanup_free_ char *answer = malloc(ANSWER_SIZE);
	if (!answer)
		return -ENOMEM;
	_cleanup_close_ int fd = open_socket();
	if (fd < 0)
		return fd;
	if (send(fd, request, request->header.nlmsg_len, 0) < 0)
		return -errno;
	for (;;) {
		ssize_t n = recv(fd, answer, ANSWER_SIZE, 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		const struct nlmsghdr *message = (const void *)answer;
		for (size_t left = (size_t)n; NLMSG_OK(message, left);
			message = NLMSG_NEXT(message, left)) {
			if (message->nlmsg_type == NLMSG_DONE)
				return 0;
			if (message->nlmsg_type == NLMSG_ERROR)
				return ((const struct nlmsgerr *)NLMSG_DATA(message))->error;
			if (is_it(message, userdata))
				return 1;
			if (!(message->nlmsg_flags & NLM_F_MULTI))
				return 0;
		}
	}
}

struct route_question {
	unsigned ifindex;
	char *route;
	size_t size;
};

static bool is_route(const struct nlmsghdr *message, void *userdata)
{
	const struct route_question *question = userdata;

	return netlink_is_route(message, question->ifindex, question->route, question->size);
}

int netlink_find_route(unsigned ifindex, char *route, size_t size)
{
	static const unsigned char families[] = { AF_INET, AF_INET6 };
	struct route_question question = { .ifindex = ifindex, .route = route, .size = size };

	route[0] = '\0';
	for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
		struct request request = {
			.header = { .nlmsg_len = NLMSG_LENGTH(sizeof(request.route)),
				.nlmsg_type = RTM_GETROUTE,
				.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP },
			.route = { .body.rtm_family = families[i],
				.attribute = { .rta_len = RTA_LENGTH(sizeof(ifindex)),
					.rta_type = RTA_OIF },
				.ifindex = ifindex },
		};
		int r = ask(&request, is_route, &question);
		if (r == 1)
			return 0;
		/* It has gone meanwhile; a kernel without IPv6. */
		if (r < 0 && r != -ENODEV && r != -EAFNOSUPPORT && r != -EOPNOTSUPP)
			return r;
	}
	return 0;
}

static bool is_xdp(const struct nlmsghdr *message, void *userdata)
{
	(void)userdata;
	return netlink_is_xdp(message);
}

int netlink_has_xdp(unsigned ifindex)
{
	struct request request = {
		.header = { .nlmsg_len = NLMSG_LENGTH(sizeof(request.link)),
			.nlmsg_type = RTM_GETLINK,
			.nlmsg_flags = NLM_F_REQUEST },
		.link = { .ifi_index = (int)ifindex },
	};
	int r = ask(&request, is_xdp, NULL);
	/* Gone meanwhile. */
	return r == -ENODEV ? 0 : r;
}
