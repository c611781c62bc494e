#include "daemon/broker/reserving.h"

#include <unistd.h>

struct reservation {
	struct charge charge;
};

uint64_t reservation_bytes(const struct reservation *reservation)
{
	return reservation ? reservation->charge.kernel_bill * (uint64_t)sysconf(_SC_PAGESIZE) : 0;
}
