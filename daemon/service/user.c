/* What one uid may have, over all of its connections. */
#include "daemon/base/util.h"
#include "daemon/service/parts.h"

/* Lines in the log that one user causes. */
static const unsigned LOG_LINES = 20;
static const double LOG_SECONDS = 60;

struct user *user_get(struct service *service, uid_t uid)
{
	struct user *user;
	TAILQ_FOREACH (user, &service->users, of_service)
		if (user->uid == uid)
			return user_hold(user);
	user = calloc(1, sizeof(*user));
	if (!user)
		return NULL;
	user->service = service;
	user->uid = uid;
	user->n_references = 1;
	TAILQ_INIT(&user->ready);
	TAILQ_INIT(&user->for_transactions);
	LIST_INIT(&user->parked);
	TAILQ_INSERT_TAIL(&service->users, user, of_service);
	return user;
}

struct user *user_hold(struct user *user)
{
	user->n_references++;
	return user;
}

void user_release(struct user *user)
{
	if (--user->n_references > 0)
		return;
	TAILQ_REMOVE(&user->service->users, user, of_service);
	free(user);
}

void users_clear(struct service *service)
{
	struct user *user;
	while ((user = TAILQ_FIRST(&service->users))) {
		dismiss_forget(user);
		TAILQ_REMOVE(&service->users, user, of_service);
		free(user);
	}
}

bool user_may_log(struct user *user)
{
	double now = ev_now(user->service->loop);
	if (now - user->logged_since > LOG_SECONDS) {
		user->logged_since = now;
		user->n_logged = 0;
	}
	return user->n_logged++ < LOG_LINES;
}

int refuse_too_many(struct refusal *refusal, const char *limit, unsigned max)
{
	refuse(refusal, REFUSAL_TOO_MANY, "%s", limit);
	refusal->max = max;
	return REFUSED;
}

/* --- transactions ----------------------------------------------------------------------- */

bool transaction_begin(struct call *call)
{
	struct session *session = call->session;
	struct user *user = session->user;
	const struct bounds *bounds = &broker_config(session->service->broker)->bounds;

	if (call->has_transaction || session_is_admin(session))
		return true;
	if (user->n_transactions < bounds->transactions_per_user) {
		user->n_transactions++;
		call->has_transaction = true;
		return true;
	}
	call->waits_for_transaction = true;
	TAILQ_INSERT_TAIL(&user->for_transactions, call, of_user);
	return false;
}

/* The first that waits has the place, and goes on when it is his turn. */
static void transaction_pass_on(struct user *user)
{
	struct call *call = TAILQ_FIRST(&user->for_transactions);
	if (!call) {
		user->n_transactions--;
		return;
	}
	TAILQ_REMOVE(&user->for_transactions, call, of_user);
	call->waits_for_transaction = false;
	call->has_transaction = true;
	call->session->resumes = true;
	turn_want(call->session);
}

void transaction_end(struct call *call)
{
	struct user *user = call->session->user;
	if (call->waits_for_transaction)
		TAILQ_REMOVE(&user->for_transactions, call, of_user);
	call->waits_for_transaction = false;
	if (call->has_transaction) {
		call->has_transaction = false;
		transaction_pass_on(user);
	}
}
