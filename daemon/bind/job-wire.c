#include "daemon/bind/job-wire.h"

#include "daemon/base/packet.h"
#include "daemon/base/util.h"

#include <errno.h>
#include <string.h>

/* What it says, without what only some of them have. */
static size_t record_size(const struct record *record)
{
	bool is_short = record->kind != RECORD_KNOWN && record->refusal.kind == REFUSAL_NONE;
	return is_short ? offsetof(struct record, host_driver) : sizeof(*record);
}

int record_send(int socket, const struct record *record, int fd, int flags)
{
	return packet_send(socket, record, record_size(record), fd, flags);
}

static bool is_terminated(const char *text, size_t size)
{
	return memchr(text, '\0', size);
}

static bool record_is_ours(const struct record *record)
{
	const struct refusal *refusal = &record->refusal;

	return record->kind >= RECORD_STEP && record->kind < RECORD_MAX_ && record->member >= -1 &&
	       record->step >= STEP_NONE && record->step < STEP_MAX_ && record->result <= REFUSED &&
	       is_terminated(record->host_driver, sizeof(record->host_driver)) &&
	       is_terminated(record->host_override, sizeof(record->host_override)) &&
	       is_terminated(record->claim, sizeof(record->claim)) &&
	       is_terminated(record->target, sizeof(record->target)) &&
	       is_terminated(record->module, sizeof(record->module)) &&
	       is_terminated(refusal->device, sizeof(refusal->device)) &&
	       is_terminated(refusal->text, sizeof(refusal->text));
}

int record_receive(int socket, struct record *record, int *fd, int flags)
{
	memset(record, 0, sizeof(*record));
	ssize_t n = packet_receive(socket, record, sizeof(*record), fd, flags);

	if (n == 0 || n == -ECONNRESET)
		return 0;
	if (n < 0)
		return n == -EMSGSIZE ? -EPROTO : (int)n;
	if ((size_t)n == record_size(record) && record_is_ours(record))
		return 1;
	if (*fd >= 0)
		close(steal_fd(fd));
	return -EPROTO;
}
