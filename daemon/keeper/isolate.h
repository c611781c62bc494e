/*
 * The start of a vfiod-keeper: from a process of root's to one that can do nothing but its work.
 * See isolate.c for the stages.
 */
#pragma once

enum role {
	ROLE_KEEPER,
	ROLE_KEEPER_IOMMUFD,
	ROLE_POPULATE,
	ROLE_PUNCH,
	ROLE_BOOK,
	ROLE_MAX_,
};

/* Where its socket is; 0 to 2 are /dev/null and stderr, and there is nothing else. */
#define SOCKET_FD 3

/*
 * All stages. 0, with *pagemap the descriptor of the process's own page map (the keepers' roles
 * only, else -1); or -errno, said on stderr: then the process has to end.
 *
 * Who is not root has no other user to become, and sees no frames: for tests.
 */
int isolate(enum role role, int *pagemap);

/* One line on stderr. */
void complain(const char *format, ...) __attribute__((format(printf, 1, 2)));
