/*
 * Calls that wait behind the one at work are not received, and cost their sender alone. How many
 * they are is looked up all the same: who sends more than max-calls does not wait for answers.
 */
#include "daemon/service/parts.h"
#include "proto/input.h"

#include <string.h>
#include <sys/socket.h>

/* Where recv(2) with MSG_PEEK begins, and goes on by itself (socket(7)); -1: at what comes next. */
static int peek_from(const struct session *session, int offset)
{
	return setsockopt(
		transport_fd(session->transport), SOL_SOCKET, SO_PEEK_OFF, &offset, sizeof(offset));
}

size_t waiting_count(struct session *session, size_t enough)
{
	static char bytes[INPUT_PART_MAX];
	ssize_t n;

	if (!session->counts_waiting) {
		if (peek_from(session, 0) < 0)
			return 0;
		session->counts_waiting = true;
		session->n_waiting = 0;
	}
	/* Ends: what a socket may hold is bounded. */
	while (session->n_waiting <= enough &&
		(n = recv(transport_fd(session->transport), bytes, sizeof(bytes),
			 MSG_PEEK | MSG_DONTWAIT)) > 0)
		for (const char *nul = bytes; (nul = memchr(nul, '\0', (size_t)(bytes + n - nul)));
			nul++)
			session->n_waiting++;
	return session->n_waiting;
}

void waiting_restart(struct session *session)
{
	peek_from(session, -1);
}

void waiting_forget(struct session *session)
{
	if (session->counts_waiting)
		peek_from(session, -1);
	session->counts_waiting = false;
}
