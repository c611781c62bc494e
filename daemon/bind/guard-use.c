/* Who uses a block device or an interface, read from what the kernel lists. Pure but for files. */
#include "daemon/bind/guard.h"

#include "daemon/base/util.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

/* "/dev/sda1" is node "sda1". */
static bool is_node(const char *path, const char *name)
{
	return strncmp(path, "/dev/", 5) == 0 && strcmp(path + 5, name) == 0;
}

/*
 * A line of proc(5): "36 35 98:0 /root /mnt opts optional... - fstype /dev/source superopts".
 * The source counts as well: btrfs mounts show an anonymous device number.
 */
static bool is_mount_of(char *line, const char *device_number, const char *name, char **mount_point)
{
	char *fields[5], *rest = line;

	for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
		fields[i] = strsep(&rest, " ");
		if (!rest)
			return false;
	}
	*mount_point = fields[4];
	if (strcmp(fields[2], device_number) == 0)
		return true;
	/* The options' own hyphen is never alone between blanks. */
	char *source = strstr(rest, " - ");
	if (!source)
		return false;
	source += 3;
	strsep(&source, " ");
	char *path = strsep(&source, " \n");
	return path && is_node(path, name);
}

int guard_mounts(
	const char *mountinfo, const char *device_number, const char *name, char *use, size_t size)
{
	_cleanup_free_ char *line = NULL;
	size_t capacity = 0;
	char *mount_point;

	use[0] = '\0';
	_cleanup_fclose_ FILE *file = fopen(mountinfo, "re");
	if (!file)
		return -errno;
	while ((errno = 0, getline(&line, &capacity, file)) >= 0)
		if (is_mount_of(line, device_number, name, &mount_point)) {
			snprintf(use, size, "is mounted on %s", mount_point);
			return 0;
		}
	return errno ? -errno : 0;
}

/* "/dev/nvme0n1p2    partition    1048572    0    -2", after a line of headings. */
int guard_swaps(const char *swaps, const char *name, char *use, size_t size)
{
	_cleanup_free_ char *line = NULL;
	size_t capacity = 0;

	use[0] = '\0';
	_cleanup_fclose_ FILE *file = fopen(swaps, "re");
	if (!file)
		return errno == ENOENT ? 0 : -errno;
	while ((errno = 0, getline(&line, &capacity, file)) >= 0) {
		line[strcspn(line, " \t\n")] = '\0';
		if (is_node(line, name)) {
			snprintf(use, size, "is used for swap");
			return 0;
		}
	}
	return errno ? -errno : 0;
}

bool guard_is_up(const struct ifaddrs *addresses, const char *interface)
{
	for (; addresses; addresses = addresses->ifa_next)
		if (strcmp(addresses->ifa_name, interface) == 0)
			return addresses->ifa_flags & IFF_UP;
	return false;
}

void guard_addresses(const struct ifaddrs *addresses, const char *interface, char *use, size_t size)
{
	use[0] = '\0';
	if (!guard_is_up(addresses, interface))
		return;
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
			snprintf(use, size, "is up with address %s", text);
			return;
		}
	}
}
