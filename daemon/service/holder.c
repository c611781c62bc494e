/* The process that a lease or a space follows, where its client has given one. */
#include "daemon/base/util.h"
#include "daemon/service/parts.h"

int call_take_holder(struct call *call, int *pidfd, struct subject *holder, struct refusal *refusal)
{
	struct json_object *index = json_field(call->varlink.parameters, "holderFileDescriptor");
	const struct config *config = broker_config(call->session->service->broker);
	pid_t pid;
	uid_t uid;

	*pidfd = -1;
	if (!index)
		return 0;
	/* It may be memory, and then a child has to close it. */
	_cleanup_client_fd_ int fd = message_take_fd(&call->message, json_object_get_int64(index));
	if (fd < 0 || pidfd_identify(fd, &pid, &uid) < 0)
		return refuse(refusal, REFUSAL_INVALID_PARAMETER, "holderFileDescriptor");
	if (uid != call->session->subject.uid && !policy_is_admin(config, &call->session->subject))
		return refuse(refusal, REFUSAL_ACCESS_DENIED,
			"the holder, process %d, runs as uid %u and not as you", (int)pid,
			(unsigned)uid);
	*pidfd = steal_fd(&fd);
	/* Rights are the caller's; who is shown as having the devices is the process that has. */
	holder->pid = pid;
	holder->process_uid = uid;
	process_command(pid, holder->command, sizeof(holder->command));
	if (process_start_time(pid, &holder->start_ticks) < 0)
		holder->start_ticks = 0;
	return 0;
}
