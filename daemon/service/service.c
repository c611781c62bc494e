#include "daemon/base/log.h"
#include "daemon/base/util.h"
#include "daemon/service/parts.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

static const double ACCEPT_AGAIN_SECONDS = 0.1;

static int address_of(const char *path, struct sockaddr_un *address)
{
	*address = (struct sockaddr_un){ .sun_family = AF_UNIX };
	return string_copy(address->sun_path, sizeof(address->sun_path), path);
}

/* A socket file that nobody listens at is a leftover; one that somebody does is not ours. */
static int clear_leftover(const char *path, const struct sockaddr_un *address)
{
	struct stat st;
	if (lstat(path, &st) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(st.st_mode))
		return -EEXIST;
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0 || errno == EAGAIN)
		return -EADDRINUSE;
	return unlink(path) < 0 ? -errno : 0;
}

int service_listen(const char *path)
{
	struct sockaddr_un address;
	int r = address_of(path, &address);
	if (r == 0)
		r = clear_leftover(path, &address);
	if (r < 0)
		return r;
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if (bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ||
		chmod(path, 0666) < 0 || listen(fd, SOMAXCONN) < 0)
		return -errno;
	return steal_fd(&fd);
}

static void accept_again(struct ev_loop *loop, ev_timer *timer, int revents)
{
	(void)revents;
	struct service *service = timer->data;
	if (service->listen_fd >= 0)
		ev_io_start(loop, &service->acceptor);
}

/* One connection each time the loop comes round. */
static void on_connection(struct ev_loop *loop, ev_io *io, int revents)
{
	(void)revents;
	struct service *service = io->data;

	int fd = accept4(service->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0) {
		if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
			/* Left in the queue it would wake the loop for ever. */
			log_warning("no new connections for a moment: %s", strerror(errno));
			ev_io_stop(loop, &service->acceptor);
			ev_timer_set(&service->accept_again, ACCEPT_AGAIN_SECONDS, 0);
			ev_timer_start(loop, &service->accept_again);
		}
		return;
	}
	if (service->n_sessions >= broker_config(service->broker)->max_connections) {
		log_warning("a connection was refused: max-connections are open");
		close(fd);
		return;
	}
	int r = session_new(service, fd);
	if (r < 0)
		log_warning("a connection was refused: %s", strerror(-r));
}

static int parse_interfaces(struct service *service)
{
	service->interfaces = calloc(n_varlink_files, sizeof(*service->interfaces));
	if (!service->interfaces)
		return -ENOMEM;
	for (size_t i = 0; i < n_varlink_files; i++) {
		char error[256];
		int r = varlink_interface_parse(
			varlink_files[i].text, &service->interfaces[i], error, sizeof(error));
		if (r < 0) {
			log_error("interface %s: %s", varlink_files[i].name, error);
			return r;
		}
	}
	return 0;
}

int service_new(struct ev_loop *loop, struct broker *broker, int listen_fd,
	const struct service_hooks *hooks, struct service **servicep)
{
	struct service *service = calloc(1, sizeof(*service));
	if (!service) {
		close(listen_fd);
		return -ENOMEM;
	}
	service->loop = loop;
	service->broker = broker;
	service->hooks = *hooks;
	service->listen_fd = listen_fd;
	service->started_at = ev_now(loop);
	TAILQ_INIT(&service->sessions);
	LIST_INIT(&service->monitors);
	/* systemd hands it over blocking unless the unit says NonBlocking= (systemd.exec(5)). */
	int flags = fcntl(listen_fd, F_GETFL);
	if (flags < 0 || fcntl(listen_fd, F_SETFL, flags | O_NONBLOCK) < 0) {
		int r = -errno;
		service_free(service);
		return r;
	}
	ev_io_init(&service->acceptor, on_connection, listen_fd, EV_READ);
	ev_init(&service->accept_again, accept_again);
	service->acceptor.data = service->accept_again.data = service;

	int r = parse_interfaces(service);
	if (r < 0) {
		service_free(service);
		return r;
	}
	ev_io_start(loop, &service->acceptor);
	*servicep = service;
	return 0;
}

void service_stop_listening(struct service *service)
{
	ev_io_stop(service->loop, &service->acceptor);
	ev_timer_stop(service->loop, &service->accept_again);
	if (service->listen_fd >= 0)
		close(steal_fd(&service->listen_fd));
}

struct service *service_free(struct service *service)
{
	struct session *session;
	if (!service)
		return NULL;
	service_stop_listening(service);
	while ((session = TAILQ_FIRST(&service->sessions)))
		session_free(session);
	for (size_t i = 0; service->interfaces && i < n_varlink_files; i++)
		varlink_interface_free(service->interfaces[i]);
	free(service->interfaces);
	free(service);
	return NULL;
}
