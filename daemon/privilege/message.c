#include "daemon/privilege/message.h"

#include <time.h>

_Static_assert(sizeof(struct privilege_reply) != sizeof(struct open_file_seen) &&
		       sizeof(struct privilege_reply) != sizeof(struct device_facts),
	"answers are told apart by their lengths");

uint64_t privilege_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}
