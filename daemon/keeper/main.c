/* vfiod-keeper ROLE: started by vfiod, in one of its roles (base/wire.h), with its socket. */
#include "daemon/keeper/iommufd.h"
#include "daemon/keeper/isolate.h"
#include "daemon/keeper/serve.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char *const role_names[ROLE_MAX_] = {
	[ROLE_KEEPER] = "keeper",
	[ROLE_KEEPER_IOMMUFD] = "keeper-iommufd",
	[ROLE_POPULATE] = "populate",
	[ROLE_PUNCH] = "punch",
	[ROLE_BOOK] = "book",
};

static int serve(enum role role, int *pagemap)
{
	static struct keeping keeping;
	static struct iommufd iommufd;
	int r = serve_hello(SOCKET_FD);

	if (r < 0)
		return r;
	switch (role) {
	case ROLE_KEEPER:
	case ROLE_KEEPER_IOMMUFD:
		iommufd_init(&iommufd);
		keeping_open(&keeping, role == ROLE_KEEPER ? &backend_type1 : &iommufd.backend);
		frames_use_pagemap(&keeping.frames, pagemap);
		return serve_keeper(SOCKET_FD, &keeping);
	case ROLE_POPULATE:
		return serve_populate(SOCKET_FD);
	case ROLE_PUNCH:
		return serve_punch(SOCKET_FD);
	default:
		return serve_book(SOCKET_FD);
	}
}

int main(int argc, char **argv)
{
	int role = 0, pagemap;

	if (argc == 2 && strcmp(argv[1], "--help") == 0) {
		puts("vfiod-keeper: maps memory for vfiod, which starts it; not for people");
		return fflush(stdout) == 0 ? 0 : 1;
	}
	while (role < ROLE_MAX_ && (argc != 2 || strcmp(argv[1], role_names[role]) != 0))
		role++;
	if (role == ROLE_MAX_) {
		complain("usage: vfiod-keeper keeper|keeper-iommufd|populate|punch|book (vfiod "
			 "starts it)");
		return 2;
	}
	if (isolate(role, &pagemap) < 0)
		return 1;
	int r = serve(role, &pagemap);
	if (r < 0)
		complain("%s: %s", role_names[role], strerror(-r));
	/* Not exit(): the filter has no room for what is done at exit. */
	_exit(r < 0);
}
