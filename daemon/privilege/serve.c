#include "daemon/privilege/serve.h"

#include "daemon/base/log.h"
#include "daemon/base/util.h"
#include "daemon/privilege/session.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <systemd/sd-login.h>
#include <unistd.h>

/* Nobody else can connect, by the socket's mode; a mode can be wrong. */
static bool may_ask(const struct privilege_server *server, int socket)
{
	_cleanup_free_ char *unit = NULL;
	struct ucred peer;
	socklen_t size = sizeof(peer);

	if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
		return false;
	if (peer.uid == geteuid() && (!server->unit || (sd_pid_get_unit(peer.pid, &unit) >= 0 &&
							       strcmp(unit, server->unit) == 0)))
		return true;
	log_warning("process %d of user %u and %s was turned away", (int)peer.pid,
		(unsigned)peer.uid, unit ? unit : "no unit");
	return false;
}

int privilege_serve(int listening, const struct privilege_server *server)
{
	/* Those that have served are not waited for. */
	signal(SIGCHLD, SIG_IGN);
	for (;;) {
		_cleanup_close_ int socket = accept4(listening, NULL, NULL, SOCK_CLOEXEC);
		if (socket < 0 && (errno == EINTR || errno == ECONNABORTED))
			continue;
		if (socket < 0)
			return -errno;
		if (!may_ask(server, socket))
			continue;
		pid_t pid = fork();
		if (pid < 0)
			log_error("vfiod is not served: %s", strerror(errno));
		if (pid != 0)
			continue;
		signal(SIGCHLD, SIG_DFL);
		close(listening);
		privilege_session(socket, server);
		_exit(0);
	}
}
