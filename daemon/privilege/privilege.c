/* Here, or asked of vfiod-privileged? */
#include "daemon/privilege/privilege.h"

#include "daemon/base/util.h"
#include "daemon/privilege/direct.h"
#include "daemon/privilege/keeper-start.h"
#include "daemon/privilege/remote.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/pidfd.h>

static const char *asked; /* NULL: nobody */

void privilege_ask(const char *socket)
{
	asked = socket;
}

int privilege_memlock(int pidfd, pid_t pid, const struct rlimit *limit, struct rlimit *before)
{
	return direct_memlock(pidfd, pid, limit, before);
}

int privilege_signal(int pidfd, int signal)
{
	if (pidfd_send_signal(pidfd, signal, NULL, 0) == 0)
		return 0;
	int error = errno;
	if (poll_now(pidfd, POLLIN))
		return -ESRCH;
	return asked && error == EPERM ? remote_signal(asked, pidfd, signal) : -error;
}

pid_t privilege_start_keeper(const char *path, enum keeper_role role,
	const struct process_id *client, int socket, int *report)
{
	return asked ? remote_start_keeper(asked, role, client, socket, report)
		     : keeper_start(path, role, client, socket);
}

int privilege_pagemap(const struct process_id *process)
{
	return asked ? remote_pagemap(asked, process) : direct_pagemap(process);
}

int privilege_config_space(const char *directory)
{
	bool is_sysfs = strncmp(directory, "/sys/", strlen("/sys/")) == 0;

	return asked && is_sysfs ? remote_config_space(asked, directory)
				 : direct_config_space(directory);
}

int privilege_visit_files(
	const char *proc, pid_t pid, int seconds, open_file_visitor visitor, void *userdata)
{
	return asked && strcmp(proc, "/proc") == 0
		       ? remote_visit_files(asked, pid, seconds, visitor, userdata)
		       : open_files_visit_process(proc, pid, seconds, visitor, userdata);
}

int privilege_device_facts(pid_t pid, int fd, struct device_facts *facts)
{
	return asked ? remote_device_facts(asked, pid, fd, facts)
		     : device_facts_read(pid, fd, facts);
}
