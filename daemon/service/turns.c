/*
 * Whose turn it is. Each time the loop comes round, each user who wants something is served
 * once: one of his connections, one message or a few replies of a stream. So who asks as fast as
 * he can, over however many connections, slows himself.
 */
#include "daemon/service/parts.h"

void turn_want(struct session *session)
{
	struct user *user = session->user;
	if (session->is_ready || session->is_dead)
		return;
	session->is_ready = true;
	if (TAILQ_EMPTY(&user->ready))
		TAILQ_INSERT_TAIL(&user->service->turns, user, of_turns);
	TAILQ_INSERT_TAIL(&user->ready, session, of_ready);
	ev_idle_start(user->service->loop, &user->service->awake);
}

void turn_forget(struct session *session)
{
	struct user *user = session->user;
	if (!session->is_ready)
		return;
	session->is_ready = false;
	TAILQ_REMOVE(&user->ready, session, of_ready);
	if (TAILQ_EMPTY(&user->ready))
		TAILQ_REMOVE(&user->service->turns, user, of_turns);
}

static void take_turn(struct user *user)
{
	struct session *session = TAILQ_FIRST(&user->ready);

	turn_forget(session);
	/* The others of this user come after the other users. */
	if (!TAILQ_EMPTY(&user->ready)) {
		TAILQ_REMOVE(&user->service->turns, user, of_turns);
		TAILQ_INSERT_TAIL(&user->service->turns, user, of_turns);
	}
	session_turn(session);
}

static void take_turns(struct ev_loop *loop, ev_check *check, int revents)
{
	(void)revents;
	struct service *service = check->data;
	struct user *user;
	size_t n = 0;

	TAILQ_FOREACH (user, &service->turns, of_turns)
		n++;
	while (n-- > 0 && (user = TAILQ_FIRST(&service->turns)))
		take_turn(user);
	if (TAILQ_EMPTY(&service->turns))
		ev_idle_stop(loop, &service->awake);
}

/* It is there for the loop not to wait. */
static void stay_awake(struct ev_loop *loop, ev_idle *idle, int revents)
{
	(void)loop;
	(void)idle;
	(void)revents;
}

void turns_init(struct service *service)
{
	TAILQ_INIT(&service->turns);
	ev_check_init(&service->turner, take_turns);
	ev_idle_init(&service->awake, stay_awake);
	service->turner.data = service;
	/* After all that this round of the loop brings: it says who wants what. */
	ev_set_priority(&service->turner, EV_MINPRI);
	ev_check_start(service->loop, &service->turner);
}

void turns_stop(struct service *service)
{
	ev_idle_stop(service->loop, &service->awake);
	ev_check_stop(service->loop, &service->turner);
}
