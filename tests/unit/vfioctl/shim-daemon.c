/* The fake daemon of the tests of --shim. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tests/unit/vfioctl/shim-daemon.h"

#define GROUP(number)                                                                              \
	"{\"group\":{\"number\":" number                                                           \
	",\"type\":\"DMA\",\"binding\":\"host\",\"owner\":\"none\",\"isCovered\":true,"            \
	"\"mayLease\":true,\"devices\":[],\"reservedRegions\":[]}}"

#define GROUP_OF_DEVICE                                                                            \
	"{\"group\":{\"number\":13,\"type\":\"DMA\",\"binding\":\"host\",\"owner\":\"none\","      \
	"\"isCovered\":true,\"mayLease\":true,\"reservedRegions\":[],\"devices\":[{\"name\":"      \
	"\"0000:01:00.0\",\"bus\":\"pci\",\"syspath\":\"/sys/x\",\"resetMethods\":[],"             \
	"\"isBound\":true,\"isParked\":false}]}}"

static bool is(const char *text, const char *wanted)
{
	return strcmp(text, wanted) == 0;
}

bool shim_daemon_refuses, shim_daemon_is_slow, shim_daemon_meets, shim_daemon_is_cdev;
static int stream, n_reopened;

static void grant(struct fake *fake, int peer)
{
	int fds[2] = { open("/dev/zero", O_RDONLY | O_CLOEXEC),
		open("/dev/null", O_RDONLY | O_CLOEXEC) };

	stream = peer;
	if (shim_daemon_is_cdev)
		fake_reply_fds(fake, peer, true,
			"{\"event\":\"granted\",\"lease\":\"3\",\"token\":\"secret\",\"mode\":"
			"\"cdev\","
			"\"groups\":[{\"number\":13,\"devices\":[\"0000:01:00.0\"],"
			"\"deviceFileDescriptors\":[1]}],\"iommufdFileDescriptor\":0,"
			"\"selected\":[\"0000:01:00.0\"]}",
			fds, 2);
	else
		fake_reply_fds(fake, peer, true,
			"{\"event\":\"granted\",\"lease\":\"3\",\"token\":\"secret\",\"groups\":["
			"{\"number\":7,\"devices\":[\"0000:06:00.0\"],\"groupFileDescriptor\":0},"
			"{\"number\":13,\"devices\":[\"0000:01:00.0\"],"
			"\"groupFileDescriptor\":1}],"
			"\"selected\":[\"0000:01:00.0\",\"0000:06:00.0\"]}",
			fds, 2);
	close(fds[0]);
	close(fds[1]);
}

/* Until CMD, which has the same directory, lets us go. */
static void meeting(void)
{
	int tries = 3000;

	close(open("begun", O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	while (access("go", F_OK) != 0 && tries-- > 0)
		nanosleep(&(struct timespec){ .tv_nsec = 10000000 }, NULL);
	fake_expect(tries > 0, "other opens while this one waits");
}

static bool is_ours(const char *parameters)
{
	return shim_daemon_is_cdev
		       ? is(parameters, "{\"token\":\"secret\",\"device\":\"0000:01:00.0\"}") ||
				 is(parameters, "{\"token\":\"secret\",\"iommufd\":true}")
		       : is(parameters, "{\"token\":\"secret\",\"group\":13}") ||
				 is(parameters, "{\"token\":\"secret\",\"group\":7}");
}

static const char *reply_of(const char *parameters)
{
	return strstr(parameters, "device")    ? "{\"deviceFileDescriptor\":0}"
	       : strstr(parameters, "iommufd") ? "{\"iommufdFileDescriptor\":0}"
					       : "{\"groupFileDescriptor\":0}";
}

static void reopen(struct fake *fake, int peer, const char *parameters)
{
	int fd = open("/dev/full", O_RDWR | O_CLOEXEC);

	fake_expect(is_ours(parameters), "the token, and what is of the lease");
	if (shim_daemon_is_slow)
		nanosleep(&(struct timespec){ .tv_nsec = 100000000 }, NULL);
	if (shim_daemon_meets)
		meeting();
	n_reopened++;
	if (shim_daemon_refuses && n_reopened == 1)
		fake_error(fake, peer, "org.vfiod.Broker.GroupBusy",
			"{\"group\":13,\"ownerPid\":null,\"ownerUid\":null}");
	else if (shim_daemon_refuses && n_reopened == 2)
		fake_hang_up(fake, peer);
	else if (shim_daemon_refuses && n_reopened == 3)
		fake_error(fake, peer, "org.vfiod.Broker.Interrupted", "{}");
	else if (shim_daemon_refuses && n_reopened == 5)
		fake_error(fake, peer, "org.vfiod.Broker.NoSuchLease", "{}");
	else
		fake_reply_fds(fake, peer, false, reply_of(parameters), &fd, 1);
	close(fd);
}

void shim_daemon_answer(struct fake *fake, int peer, const char *method,
	struct json_object *parameters, const int *fds, size_t n_fds)
{
	const char *text = json_object_to_json_string_ext(parameters, JSON_C_TO_STRING_PLAIN);

	(void)fds;
	if (is(method, "org.vfiod.Broker.Describe")) {
		fake_reply(fake, peer, false,
			shim_daemon_is_cdev  ? GROUP_OF_DEVICE
			: strstr(text, "13") ? GROUP("13")
					     : GROUP("7"));
	} else if (is(method, "org.vfiod.Broker.Acquire")) {
		fake_expect(n_fds == 1, "the holder's pidfd");
		grant(fake, peer);
	} else if (is(method, "org.vfiod.Broker.Reopen")) {
		reopen(fake, peer, text);
	} else {
		fake_expect(is(method, "org.vfiod.Broker.Release"), "Release");
		fake_reply(fake, stream, false,
			"{\"event\":\"ended\",\"reason\":\"its process has ended\"}");
		fake_error(fake, peer, "org.vfiod.Broker.NoSuchLease", "{}");
	}
}
