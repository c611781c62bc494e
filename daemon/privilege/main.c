/* vfiod-privileged: started by systemd, with its socket. */
#include "daemon/base/log.h"
#include "daemon/base/util.h"
#include "daemon/privilege/serve.h"

#include <getopt.h>
#include <string.h>
#include <systemd/sd-daemon.h>

static int help(FILE *to)
{
	fputs("Usage: vfiod-privileged [--for UNIT] [--keeper PATH]\n"
	      "Does for vfiod what takes a capability. systemd starts it, with its socket; not for "
	      "people.\n"
	      "\n"
	      "      --for UNIT      serve processes of this unit only\n"
	      "      --keeper PATH   the program that holds a space\n"
	      "                      (" VFIOD_LIBEXECDIR "/vfiod-keeper)\n"
	      "  -h, --help          show this, and exit\n"
	      "\n"
	      "See vfiod(8).\n",
		to);
	return to == stderr ? 2 : 0;
}

int main(int argc, char **argv)
{
	enum { FOR = 256, KEEPER };
	static const struct option longs[] = {
		{ "for", required_argument, NULL, FOR },
		{ "keeper", required_argument, NULL, KEEPER },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	struct privilege_server server = { .keeper = VFIOD_LIBEXECDIR "/vfiod-keeper" };
	int option;

	while ((option = getopt_long(argc, argv, "h", longs, NULL)) != -1)
		if (option == FOR)
			server.unit = optarg;
		else if (option == KEEPER)
			server.keeper = optarg;
		else
			return help(option == 'h' ? stdout : stderr);
	if (optind < argc)
		return help(stderr);
	log_open(LOG_INFO);
	if (sd_listen_fds(1) != 1 ||
		sd_is_socket_unix(SD_LISTEN_FDS_START, SOCK_SEQPACKET, 1, NULL, 0) <= 0) {
		log_error("no socket from systemd: vfiod-privileged.socket has it");
		return 2;
	}
	sd_notify(0, "READY=1");
	int r = privilege_serve(SD_LISTEN_FDS_START, &server);
	log_error("serving vfiod: %s", strerror(-r));
	return 1;
}
