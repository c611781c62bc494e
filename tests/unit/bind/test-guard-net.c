/* The guard's network interfaces. */
#include "daemon/bind/guard-netlink.h"
#include "guard-bench.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* A list as getifaddrs() makes it: per interface its packet address, then the others. */
struct address {
	const char *interface;
	unsigned flags;
	int family;
	const char *text;
};

static struct ifaddrs *make_addresses(const struct address *from, size_t n)
{
	static struct ifaddrs list[4];
	static struct sockaddr_storage storage[4];

	assert_in_range(n, 1, 4);
	memset(storage, 0, sizeof(storage));
	for (size_t i = 0; i < n; i++) {
		struct sockaddr_in *four = (void *)&storage[i];
		struct sockaddr_in6 *six = (void *)&storage[i];
		list[i] = (struct ifaddrs){
			.ifa_next = i + 1 < n ? &list[i + 1] : NULL,
			.ifa_name = (char *)from[i].interface,
			.ifa_flags = from[i].flags,
			.ifa_addr = (void *)&storage[i],
		};
		storage[i].ss_family = (sa_family_t)from[i].family;
		if (from[i].family == AF_INET)
			assert_int_equal(inet_pton(AF_INET, from[i].text, &four->sin_addr), 1);
		else if (from[i].family == AF_INET6)
			assert_int_equal(inet_pton(AF_INET6, from[i].text, &six->sin6_addr), 1);
	}
	/* An interface without any address at all (a tunnel). */
	if (from[0].family == AF_UNSPEC)
		list[0].ifa_addr = NULL;
	return list;
}

static const struct address up[] = { { "enp1s0", IFF_UP, AF_PACKET, NULL } };
static const struct address down[] = { { "enp1s0", 0, AF_PACKET, NULL } };

static void test_up_with_address(void **state)
{
	struct guard_bench *bench = *state;
	static const struct address addresses[] = {
		{ "lo", IFF_UP, AF_INET, "127.0.0.1" },
		{ "enp1s0", IFF_UP, AF_PACKET, NULL },
		{ "enp1s0", IFF_UP, AF_INET6, "fe80::1" },
		{ "enp1s0", IFF_UP, AF_INET, "10.0.0.2" },
	};

	/* Up, and a link-local address: any interface that is up has it. */
	bench->sources.addresses = make_addresses(addresses, 3);
	assert_free(bench);
	bench->sources.addresses = make_addresses(addresses, 4);
	assert_in_use(bench, "interface enp1s0 is up with address 10.0.0.2");

	static const struct address six[] = { { "enp1s0", IFF_UP, AF_INET6, "2001:db8::2" } };
	bench->sources.addresses = make_addresses(six, 1);
	assert_in_use(bench, "interface enp1s0 is up with address 2001:db8::2");
}

static void test_not_up(void **state)
{
	struct guard_bench *bench = *state;
	static const struct address addresses[] = {
		{ "enp1s0", 0, AF_PACKET, NULL },
		{ "enp1s0", 0, AF_INET, "10.0.0.2" },
		/* Of the device below: not ours. */
		{ "enp2s0", IFF_UP, AF_INET, "10.0.0.3" },
		{ "enp1s00", IFF_UP, AF_INET, "10.0.0.4" },
	};
	static const struct address bare[] = { { "enp1s0", IFF_UP, AF_UNSPEC, NULL } };

	bench->sources.addresses = make_addresses(addresses, 4);
	assert_free(bench);
	bench->sources.addresses = make_addresses(bare, 1);
	assert_free(bench);
}

/* Whether up or not: who put it there would find a bridge without its port. */
static void test_below_another(void **state)
{
	struct guard_bench *bench = *state;

	bench->sources.addresses = make_addresses(down, 1);
	bench_link(bench, "device/net/enp1s0/upper_enp1s0.5", "anywhere");
	assert_in_use(bench, "interface enp1s0 carries enp1s0.5");
	bench_link(bench, "device/net/enp1s0/master", "../../br0");
	assert_in_use(bench, "interface enp1s0 is part of br0");
	bench->sources.addresses = make_addresses(up, 1);
	assert_in_use(bench, "interface enp1s0 is part of br0");
}

static int one_route(unsigned ifindex, char *route, size_t size)
{
	assert_int_equal(ifindex, 2);
	snprintf(route, size, "198.51.100.0/24");
	return 0;
}

static int no_answer(unsigned ifindex, char *route, size_t size)
{
	(void)ifindex;
	(void)route;
	(void)size;
	return -EPERM;
}

static void test_route(void **state)
{
	struct guard_bench *bench = *state;

	bench->sources.find_route = one_route;
	bench->sources.addresses = make_addresses(up, 1);
	assert_in_use(bench, "interface enp1s0 is up with a route to 198.51.100.0/24");
	bench->sources.addresses = make_addresses(down, 1);
	assert_free(bench);
	bench->sources.find_route = no_answer;
	bench->sources.addresses = make_addresses(up, 1);
	assert_int_equal(bench_ask(bench), -EPERM);
}

static int has_program(unsigned ifindex)
{
	return ifindex == 2;
}

static void test_xdp(void **state)
{
	struct guard_bench *bench = *state;

	bench->sources.has_xdp = has_program;
	bench->sources.addresses = make_addresses(down, 1);
	assert_in_use(bench, "interface enp1s0 has an XDP program");
}

/* Only the directory is left of one that is in another network namespace. */
static void test_elsewhere(void **state)
{
	struct guard_bench *bench = *state;

	bench_directory(bench, "device/sub/network");
	assert_free(bench);
	bench_directory(bench, "device/sub/net");
	assert_in_use(bench, "an interface of it is in another network namespace");
}

/* Messages as the kernel sends them. */
struct message {
	union {
		struct nlmsghdr header;
		char bytes[256];
	};
};

static void begin(struct message *message, unsigned type, const void *body, size_t size)
{
	memset(message, 0, sizeof(*message));
	message->header.nlmsg_type = (unsigned short)type;
	message->header.nlmsg_len = (unsigned)NLMSG_LENGTH(size);
	memcpy(NLMSG_DATA(&message->header), body, size);
}

static struct rtattr *add(struct message *message, int type, const void *data, size_t size)
{
	struct rtattr *attribute =
		(void *)(message->bytes + NLMSG_ALIGN(message->header.nlmsg_len));

	attribute->rta_type = (unsigned short)type;
	attribute->rta_len = (unsigned short)RTA_LENGTH(size);
	memcpy(RTA_DATA(attribute), data, size);
	message->header.nlmsg_len =
		NLMSG_ALIGN(message->header.nlmsg_len) + (unsigned)RTA_ALIGN(attribute->rta_len);
	return attribute;
}

static void test_route_messages(void **state)
{
	(void)state;
	struct message message;
	struct rtmsg body = { .rtm_family = AF_INET,
		.rtm_dst_len = 24,
		.rtm_protocol = RTPROT_STATIC,
		.rtm_type = RTN_UNICAST };
	static const unsigned char to[] = { 198, 51, 100, 0 };
	unsigned ifindex = 7;
	char route[64];

	begin(&message, RTM_NEWROUTE, &body, sizeof(body));
	add(&message, RTA_DST, to, sizeof(to));
	add(&message, RTA_OIF, &ifindex, sizeof(ifindex));
	assert_true(netlink_is_route(&message.header, 7, route, sizeof(route)));
	assert_string_equal(route, "198.51.100.0/24");
	assert_false(netlink_is_route(&message.header, 8, route, sizeof(route)));
	/* Cut short. */
	message.header.nlmsg_len = NLMSG_LENGTH(sizeof(body)) + 4;
	assert_false(netlink_is_route(&message.header, 7, route, sizeof(route)));
	message.header.nlmsg_len = NLMSG_LENGTH(4);
	assert_false(netlink_is_route(&message.header, 7, route, sizeof(route)));

	/* The kernel's own: of an address, of link-local multicast. */
	body.rtm_protocol = RTPROT_KERNEL;
	begin(&message, RTM_NEWROUTE, &body, sizeof(body));
	add(&message, RTA_DST, to, sizeof(to));
	add(&message, RTA_OIF, &ifindex, sizeof(ifindex));
	assert_false(netlink_is_route(&message.header, 7, route, sizeof(route)));

	body = (struct rtmsg){ .rtm_family = AF_INET6, .rtm_protocol = RTPROT_RA };
	begin(&message, RTM_NEWROUTE, &body, sizeof(body));
	add(&message, RTA_OIF, &ifindex, sizeof(ifindex));
	assert_true(netlink_is_route(&message.header, 7, route, sizeof(route)));
	assert_string_equal(route, "anywhere");
}

static void test_next_hops(void **state)
{
	(void)state;
	struct message message;
	struct rtmsg body = { .rtm_family = AF_INET, .rtm_protocol = RTPROT_BOOT };
	struct rtnexthop hops[2] = {
		{ .rtnh_len = sizeof(hops[0]), .rtnh_ifindex = 3 },
		{ .rtnh_len = sizeof(hops[0]), .rtnh_ifindex = 7 },
	};
	char route[64];

	begin(&message, RTM_NEWROUTE, &body, sizeof(body));
	add(&message, RTA_MULTIPATH, hops, sizeof(hops));
	assert_true(netlink_is_route(&message.header, 7, route, sizeof(route)));
	assert_false(netlink_is_route(&message.header, 4, route, sizeof(route)));
	/* Lengths that lie. */
	hops[0].rtnh_len = 0;
	begin(&message, RTM_NEWROUTE, &body, sizeof(body));
	add(&message, RTA_MULTIPATH, hops, sizeof(hops));
	assert_false(netlink_is_route(&message.header, 7, route, sizeof(route)));
	hops[0].rtnh_len = 200;
	begin(&message, RTM_NEWROUTE, &body, sizeof(body));
	add(&message, RTA_MULTIPATH, hops, sizeof(hops));
	assert_false(netlink_is_route(&message.header, 7, route, sizeof(route)));
}

static void test_xdp_messages(void **state)
{
	(void)state;
	struct ifinfomsg body = { .ifi_index = 7 };
	struct {
		struct rtattr header;
		unsigned char attached[4];
	} inner = { .header = { .rta_len = RTA_LENGTH(1), .rta_type = IFLA_XDP_ATTACHED } };
	struct message message;

	begin(&message, RTM_NEWLINK, &body, sizeof(body));
	assert_false(netlink_is_xdp(&message.header));
	add(&message, IFLA_XDP | NLA_F_NESTED, &inner, sizeof(inner));
	assert_false(netlink_is_xdp(&message.header));
	inner.attached[0] = XDP_ATTACHED_SKB;
	begin(&message, RTM_NEWLINK, &body, sizeof(body));
	add(&message, IFLA_XDP, &inner, sizeof(inner));
	assert_true(netlink_is_xdp(&message.header));
	message.header.nlmsg_type = RTM_DELLINK;
	assert_false(netlink_is_xdp(&message.header));
}

/* The kernel's, for the one interface that is everywhere. */
static void test_kernel(void **state)
{
	(void)state;
	unsigned loopback = if_nametoindex("lo");
	char route[64];

	assert_true(loopback > 0);
	assert_int_equal(netlink_find_route(loopback, route, sizeof(route)), 0);
	assert_int_equal(netlink_has_xdp(loopback), 0);
	assert_int_equal(netlink_has_xdp(0x7ffffff0), 0);
	assert_int_equal(netlink_find_route(0x7ffffff0, route, sizeof(route)), 0);
	assert_string_equal(route, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		GUARD_TEST(test_up_with_address),
		GUARD_TEST(test_not_up),
		GUARD_TEST(test_below_another),
		GUARD_TEST(test_route),
		GUARD_TEST(test_xdp),
		GUARD_TEST(test_elsewhere),
		cmocka_unit_test(test_route_messages),
		cmocka_unit_test(test_next_hops),
		cmocka_unit_test(test_xdp_messages),
		cmocka_unit_test(test_kernel),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
