#include "daemon/base/log.h"
#include "daemon/base/util.h"
#include "daemon/service/parts.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

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
		methods_bind(service->interfaces[i]);
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
	trim_init(&service->trim, loop);
	TAILQ_INIT(&service->sessions);
	TAILQ_INIT(&service->users);
	LIST_INIT(&service->fetches);
	LIST_INIT(&service->monitors);
	LIST_INIT(&service->departures);
	turns_init(service);
	/* systemd hands it over blocking unless the unit says NonBlocking= (systemd.exec(5)). */
	int flags = fcntl(listen_fd, F_GETFL);
	if (flags < 0 || fcntl(listen_fd, F_SETFL, flags | O_NONBLOCK) < 0) {
		int r = -errno;
		service_free(service);
		return r;
	}
	int r = parse_interfaces(service);
	if (r == 0)
		r = metrics_init(&service->metrics, service, hooks->state);
	if (r == 0)
		r = watch_init(service);
	if (r == 0)
		r = inflight_open(service);
	if (r < 0) {
		service_free(service);
		return r;
	}
	sessions_restore(service);
	accept_start(service);
	*servicep = service;
	return 0;
}

void service_stop_listening(struct service *service)
{
	accept_stop(service);
}

void service_leave(struct service *service)
{
	service->is_leaving = true;
}

struct service *service_free(struct service *service)
{
	struct session *session;
	if (!service)
		return NULL;
	service_stop_listening(service);
	while ((session = TAILQ_FIRST(&service->sessions)))
		session_free(session);
	trim_stop(&service->trim);
	fetches_stop(service);
	metrics_clear(&service->metrics);
	departures_forget(service);
	users_clear(service);
	turns_stop(service);
	watch_stop(service);
	slots_free(service->slots);
	for (size_t i = 0; service->interfaces && i < n_varlink_files; i++)
		varlink_interface_free(service->interfaces[i]);
	free(service->interfaces);
	free(service);
	return NULL;
}
