/* vfiod: options and wiring. All state hangs from struct daemon. */
#include "daemon/base/host-memory.h"
#include "daemon/base/log.h"
#include "daemon/base/message-id.h"
#include "daemon/base/store.h"
#include "daemon/base/util.h"
#include "daemon/broker/claim.h"
#include "daemon/broker/restoring.h"
#include "daemon/broker/spaces.h"
#include "daemon/lease/config-last.h"
#include "daemon/privilege/privilege.h"
#include "daemon/service/misconfigured.h"
#include "daemon/service/restart-question.h"
#include "daemon/service/service.h"
#include "daemon/service/supervisor.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>

#define DEFAULT_CONFIG VFIOD_SYSCONFDIR "/vfiod/vfiod.conf"
#define DEFAULT_SOCKET "/run/vfiod/org.vfiod.Broker"
#define DEFAULT_STATE "/run/vfiod"
#define DEFAULT_KEEPER VFIOD_LIBEXECDIR "/vfiod-keeper"

/* How long a stop waits for groups to go back before they are left to the journal. */
static const double STOP_SECONDS = 20;

struct options {
	const char *config, *socket, *state, *claim, *keeper, *privileged;
	bool check_config;
	unsigned fd_store;
	int log_level;
};

struct daemon {
	struct options options;
	struct ev_loop *loop;
	struct store *store;
	struct inventory *inventory;
	struct ledger *ledger;
	struct broker *broker;
	struct service *service;
	struct supervisor *supervisor;
	struct restart_question question;
	ev_signal on_term, on_int, on_hup;
	ev_timer stop_timer;
	bool is_stopping;
	bool owns_socket;     /* made by us: removed at the end */
	bool has_last_config; /* as there is an error in what should be in force */
};

static int help(FILE *to)
{
	fputs("Usage: vfiod [OPTION]...\n"
	      "The broker of VFIO device ownership: serves org.vfiod.Broker to unprivileged\n"
	      "clients and org.vfiod.Admin to administrators. Usually started by systemd.\n"
	      "\n"
	      "  -c, --config FILE     the configuration (" DEFAULT_CONFIG ")\n"
	      "      --check-config    read it, say what is wrong with it, and exit\n"
	      "      --claim SYSPATH   for vfiod's udev rule: keep this device from the host, if\n"
	      "                        it is to be, print the driver_override it got, and exit\n"
	      "  -s, --socket PATH     listen there (" DEFAULT_SOCKET "),\n"
	      "                        unless systemd hands a socket over\n"
	      "      --state-dir DIR   keep the journal of taken groups there (" DEFAULT_STATE ")\n"
	      "      --keeper PATH     the program that holds a space\n"
	      "                        (" DEFAULT_KEEPER ")\n"
	      "      --privileged SOCKET  ask vfiod-privileged there for what takes a capability,\n"
	      "                        and need none\n"
	      "      --fd-store N      systemd keeps so many descriptors for it over a restart:\n"
	      "                        FileDescriptorStoreMax= of its unit (0)\n"
	      "      --log-level LEVEL error, warning, info or debug (info)\n"
	      "  -h, --help            show this, and exit\n"
	      "  -V, --version         show the version, and exit\n"
	      "\n"
	      "See vfiod(8), vfiod.conf(5) and vfioctl(1).\n",
		to);
	return to == stderr ? 2 : 0;
}

static int parse_level(const char *text, int *level)
{
	static const struct {
		const char *name;
		int level;
	} levels[] = {
		{ "error", LOG_ERR },
		{ "warning", LOG_WARNING },
		{ "info", LOG_INFO },
		{ "debug", LOG_DEBUG },
	};
	for (size_t i = 0; i < ARRAY_SIZE(levels); i++)
		if (strcmp(levels[i].name, text) == 0) {
			*level = levels[i].level;
			return 0;
		}
	return -EINVAL;
}

static int parse_count(const char *text, unsigned *count)
{
	char *end;
	errno = 0;
	unsigned long number = strtoul(text, &end, 10);
	if (*text < '0' || *text > '9' || *end || errno || number > INT_MAX)
		return -EINVAL;
	*count = (unsigned)number;
	return 0;
}

/* -1: go on; else the exit status. */
static int parse_options(int argc, char **argv, struct options *options)
{
	enum { CHECK_CONFIG = 256, CLAIM, STATE_DIR, KEEPER, PRIVILEGED, FD_STORE, LOG_LEVEL };
	static const struct option longs[] = {
		{ "config", required_argument, NULL, 'c' },
		{ "check-config", no_argument, NULL, CHECK_CONFIG },
		{ "claim", required_argument, NULL, CLAIM },
		{ "socket", required_argument, NULL, 's' },
		{ "state-dir", required_argument, NULL, STATE_DIR },
		{ "keeper", required_argument, NULL, KEEPER },
		{ "privileged", required_argument, NULL, PRIVILEGED },
		{ "fd-store", required_argument, NULL, FD_STORE },
		{ "log-level", required_argument, NULL, LOG_LEVEL },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' },
		{ NULL, 0, NULL, 0 },
	};
	int option;
	while ((option = getopt_long(argc, argv, "c:s:hV", longs, NULL)) != -1) {
		switch (option) {
		case 'c':
			options->config = optarg;
			break;
		case CHECK_CONFIG:
			options->check_config = true;
			break;
		case 's':
			options->socket = optarg;
			break;
		case CLAIM:
			options->claim = optarg;
			break;
		case STATE_DIR:
			options->state = optarg;
			break;
		case KEEPER:
			options->keeper = optarg;
			break;
		case PRIVILEGED:
			options->privileged = optarg;
			break;
		case FD_STORE:
			if (parse_count(optarg, &options->fd_store) == 0)
				break;
			fprintf(stderr, "vfiod: '%s' is no number of descriptors\n", optarg);
			return 2;
		case LOG_LEVEL:
			if (parse_level(optarg, &options->log_level) == 0)
				break;
			fprintf(stderr,
				"vfiod: unknown log level '%s'; error, warning, info or debug\n",
				optarg);
			return 2;
		case 'h':
			return help(stdout);
		case 'V':
			puts("vfiod " VFIOD_VERSION);
			return 0;
		default:
			fputs("Try 'vfiod --help'.\n", stderr);
			return 2;
		}
	}
	if (optind < argc) {
		fprintf(stderr, "vfiod: unexpected argument '%s'\nTry 'vfiod --help'.\n",
			argv[optind]);
		return 2;
	}
	return -1;
}

static int read_config(const struct options *options, struct config **config)
{
	struct refusal refusal;
	int r = config_read(options->config, config, &refusal);
	const char *const fields[] = { "MESSAGE_ID", MESSAGE_CONFIGURATION_REFUSED, NULL };
	if (r == REFUSED)
		log_fields(LOG_ERR, fields, "%s", refusal.text);
	else if (r < 0)
		log_fields(LOG_ERR, fields, "%s: %s", options->config, strerror(-r));
	return r;
}

/*
 * As read_config(). But an error in the files is no reason to let devices go that are in use: then
 * it is what was in force before, until the files are read again.
 */
static int find_config(const struct options *options, struct config **config, bool *is_last)
{
	struct refusal refusal;
	int r = read_config(options, config);

	*is_last = r == REFUSED && broker_is_owed(options->state) &&
		   config_read_last(options->state, config, &refusal) == 0;
	if (!*is_last)
		return r;
	log_error("devices are lent out: going on with the configuration that was in force before "
		  "(%s/configuration)",
		options->state);
	return 0;
}

static int check_config(const struct options *options)
{
	struct config *config;
	if (read_config(options, &config) != 0)
		return 1;
	printf("%s: fine, %zu %s", options->config, config->n_rules,
		config->n_rules == 1 ? "rule" : "rules");
	if (config->n_drop_ins > 0)
		printf(", with %zu %s of %s.d", config->n_drop_ins,
			config->n_drop_ins == 1 ? "file" : "files", options->config);
	putchar('\n');
	config_free(config);
	return 0;
}

/* 0: claimed. 1: not, for udev's rule to go by. */
static int claim(const struct options *options)
{
	char driver_override[DRIVER_NAME_SIZE];
	struct refusal refusal;

	int r = claim_device(options->config, options->state, options->claim, &sysfs_kernel,
		driver_override, &refusal);
	if (r != 0)
		fprintf(stderr, "vfiod: %s is left to the host: %s\n", options->claim,
			r == REFUSED ? refusal.text : strerror(-r));
	if (r == 0 && *driver_override)
		puts(driver_override);
	return r == 0 && *driver_override ? 0 : 1;
}

/* --- running -------------------------------------------------------------------------- */

static void on_reloaded(int result, const struct refusal *refusal, void *userdata)
{
	(void)result; /* the log has it */
	(void)refusal;
	struct daemon *daemon = userdata;
	supervisor_reloaded(daemon->supervisor);
}

static void on_reload(struct ev_loop *loop, ev_signal *signal, int revents)
{
	(void)loop;
	(void)revents;
	struct daemon *daemon = signal->data;
	supervisor_reloading(daemon->supervisor);
	if (broker_reload(daemon->broker, daemon->options.config, on_reloaded, daemon) < 0)
		supervisor_reloaded(daemon->supervisor);
}

static void stop_loop(void *userdata)
{
	struct daemon *daemon = userdata;
	ev_break(daemon->loop, EVBREAK_ALL);
}

static void on_stop_timeout(struct ev_loop *loop, ev_timer *timer, int revents)
{
	(void)timer;
	(void)revents;
	log_warning("stopping with groups on their way: they are in the journal");
	ev_break(loop, EVBREAK_ALL);
}

/*
 * As if killed: whatever the next one needs is where it belongs at every moment, so there is
 * nothing to put in order, and nothing that may be undone.
 */
_Noreturn static void leave(struct daemon *daemon)
{
	log_fields(LOG_INFO, (const char *[]){ "MESSAGE_ID", MESSAGE_STOPPING, NULL },
		"stopping: leases, spaces and connections are left to the next vfiod");
	supervisor_stopping(daemon->supervisor, "Leaving everything to the next vfiod");
	broker_leave(daemon->broker);
	_exit(0);
}

static void on_answered(bool is_restart, void *userdata)
{
	struct daemon *daemon = userdata;

	if (is_restart || broker_config(daemon->broker)->stop_leaves)
		leave(daemon);
	log_fields(LOG_INFO, (const char *[]){ "MESSAGE_ID", MESSAGE_STOPPING, NULL },
		"stopping: leases end, and groups go back");
	supervisor_stopping(daemon->supervisor, "Giving groups back to the host");
	ev_timer_start(daemon->loop, &daemon->stop_timer);
	service_stop_listening(daemon->service);
	broker_shutdown(daemon->broker, stop_loop, daemon);
}

static void on_stop(struct ev_loop *loop, ev_signal *signal, int revents)
{
	(void)revents;
	struct daemon *daemon = signal->data;
	if (daemon->is_stopping) {
		ev_break(loop, EVBREAK_ALL);
		return;
	}
	daemon->is_stopping = true;
	restart_ask(&daemon->question, loop, on_answered, daemon);
}

static void on_news(const struct broker_news *news, void *userdata)
{
	struct daemon *daemon = userdata;
	service_on_news(news, daemon->service);
	supervisor_hear(daemon->supervisor);
}

/*
 * A reload or a stop may come while the configuration is read: it waits for its handler. ^C has
 * none to wait for.
 */
static void hold_signals(int how)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	sigprocmask(how, &set, NULL);
}

static void watch_signals(struct daemon *daemon)
{
	signal(SIGPIPE, SIG_IGN);
	ev_signal_init(&daemon->on_term, on_stop, SIGTERM);
	ev_signal_init(&daemon->on_int, on_stop, SIGINT);
	ev_signal_init(&daemon->on_hup, on_reload, SIGHUP);
	daemon->on_term.data = daemon->on_int.data = daemon->on_hup.data = daemon;
	ev_signal_start(daemon->loop, &daemon->on_term);
	ev_signal_start(daemon->loop, &daemon->on_int);
	ev_signal_start(daemon->loop, &daemon->on_hup);
	hold_signals(SIG_UNBLOCK);
	ev_timer_init(&daemon->stop_timer, on_stop_timeout, STOP_SECONDS, 0);
}

/* Where systemd handed none over. The descriptor, or -errno. */
static int listening_socket(struct daemon *daemon)
{
	/* The journal has made its own directory; the default socket may be in another. */
	if (strcmp(daemon->options.socket, DEFAULT_SOCKET) == 0 && mkdir(DEFAULT_STATE, 0755) < 0 &&
		errno != EEXIST)
		log_warning("%s: %s", DEFAULT_STATE, strerror(errno));
	int fd = service_listen(daemon->options.socket);
	if (fd < 0)
		log_error("listening at %s: %s", daemon->options.socket, strerror(-fd));
	daemon->owns_socket = fd >= 0;
	return fd;
}

static int daemon_start(struct daemon *daemon, struct config *config)
{
	_cleanup_close_ int fd = -1;

	int r = store_new(daemon->loop, daemon->options.fd_store, &fd, &daemon->store);
	if (r < 0) {
		config_free(config);
		return r;
	}
	r = inventory_new(daemon->loop, &daemon->inventory);
	if (r < 0) {
		log_error("reading the devices of this host: %s", strerror(-r));
		config_free(config);
		return r;
	}
	r = broker_new(daemon->loop, daemon->inventory, config, daemon->options.state,
		&sysfs_kernel, daemon->store, &daemon->broker);
	if (r < 0) {
		if (r != -EBUSY)
			log_error("reading the journal in %s: %s", daemon->options.state,
				strerror(-r));
		return r;
	}
	daemon->ledger = ledger_new(host_n_frames());
	r = daemon->ledger
		    ? broker_keep_spaces(daemon->broker, daemon->ledger, daemon->options.keeper)
		    : -ENOMEM;
	if (r < 0) {
		log_error("the ledger: %s", strerror(-r));
		return r;
	}
	inventory_listen(daemon->inventory, broker_on_inventory, daemon->broker);
	if (fd < 0)
		fd = listening_socket(daemon);
	if (fd < 0)
		return fd;
	struct service_hooks hooks = {
		.configuration = daemon->options.config,
		.owns_socket = daemon->owns_socket,
		.state = daemon->options.state,
		.store = daemon->store,
	};
	r = service_new(daemon->loop, daemon->broker, steal_fd(&fd), &hooks, &daemon->service);
	if (r < 0) {
		log_error("starting to serve: %s", strerror(-r));
		return r;
	}
	r = supervisor_new(daemon->loop, daemon->broker, &daemon->supervisor);
	if (r < 0)
		return r;
	broker_listen(daemon->broker, on_news, daemon);
	store_settle(daemon->store);
	broker_restored(daemon->broker);
	return 0;
}

static void daemon_finish(struct daemon *daemon)
{
	if (daemon->broker)
		broker_listen(daemon->broker, NULL, NULL);
	if (daemon->inventory)
		inventory_listen(daemon->inventory, NULL, NULL);
	restart_forget(&daemon->question);
	supervisor_free(daemon->supervisor);
	service_free(daemon->service);
	broker_free(daemon->broker);
	ledger_free(daemon->ledger);
	inventory_free(daemon->inventory);
	store_free(daemon->store);
	if (daemon->owns_socket)
		unlink(daemon->options.socket);
	if (daemon->loop)
		ev_loop_destroy(daemon->loop);
}

int main(int argc, char **argv)
{
	struct daemon daemon = {
		.options = {
			.config = DEFAULT_CONFIG,
			.socket = DEFAULT_SOCKET,
			.state = DEFAULT_STATE,
			.keeper = DEFAULT_KEEPER,
			.log_level = LOG_INFO,
		},
	};
	struct config *config;

	int status = parse_options(argc, argv, &daemon.options);
	if (status >= 0)
		return status;
	log_open(daemon.options.log_level);
	if (daemon.options.check_config)
		return check_config(&daemon.options);
	if (daemon.options.claim)
		return claim(&daemon.options);
	privilege_ask(daemon.options.privileged);
	hold_signals(SIG_BLOCK);
	/* The default loop: it is the one that reaps children. */
	daemon.loop = ev_default_loop(EVFLAG_NOENV);
	if (!daemon.loop) {
		log_error("no event loop");
		return 1;
	}
	int r = find_config(&daemon.options, &config, &daemon.has_last_config);
	if (r == REFUSED) {
		hold_signals(SIG_UNBLOCK);
		misconfigured_end(daemon.loop, daemon.options.fd_store);
	}
	if (r < 0) {
		ev_loop_destroy(daemon.loop);
		return 1;
	}
	watch_signals(&daemon);
	r = daemon_start(&daemon, config);
	if (r == 0) {
		log_fields(LOG_INFO, (const char *[]){ "MESSAGE_ID", MESSAGE_STARTED, NULL },
			"vfiod " VFIOD_VERSION " serves %zu groups, %zu devices",
			inventory_n_groups(daemon.inventory),
			inventory_n_devices(daemon.inventory));
		supervisor_ready(daemon.supervisor);
		/* That says in each place that it is not what the files say. */
		if (daemon.has_last_config)
			broker_reload(daemon.broker, daemon.options.config, on_reloaded, &daemon);
		ev_run(daemon.loop, 0);
		log_info("stopped");
	}
	/* As if killed: whoever starts next finds all there is to be taken over. */
	if (r < 0 && daemon.store && store_is_there(daemon.store))
		_exit(1);
	daemon_finish(&daemon);
	return r == 0 ? 0 : 1;
}
