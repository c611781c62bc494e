#include "daemon/base/util.h"
#include "daemon/broker/parts.h"

#include <errno.h>
#include <string.h>

/* Everybody who waits for the same groups: the lease's Release, a second Release, the shutdown. */
struct settling_waiter {
	TAILQ_ENTRY(settling_waiter) of_settling;
	settled_fn settled;
	void *userdata;
};

struct settling {
	TAILQ_ENTRY(settling) of_broker;
	struct broker *broker;
	char token[33]; /* "" = none */
	uid_t uid;
	size_t n_expected;
	int *lingering;
	size_t n_lingering;
	bool has_failed;
	struct refusal refusal;
	TAILQ_HEAD(, settling_waiter) waiters;
};

struct settling *settling_new(struct broker *broker, const char *token, uid_t uid)
{
	struct settling *settling = calloc(1, sizeof(*settling));
	if (!settling)
		return NULL;
	settling->broker = broker;
	settling->uid = uid;
	/* One expectation of its own, until settling_begin(): it cannot end before. */
	settling->n_expected = 1;
	string_copy(settling->token, sizeof(settling->token), token ? token : "");
	TAILQ_INIT(&settling->waiters);
	TAILQ_INSERT_TAIL(&broker->settlings, settling, of_broker);
	return settling;
}

struct settling *settling_free(struct settling *settling)
{
	struct settling_waiter *waiter;
	if (!settling)
		return NULL;
	TAILQ_REMOVE(&settling->broker->settlings, settling, of_broker);
	while ((waiter = TAILQ_FIRST(&settling->waiters))) {
		TAILQ_REMOVE(&settling->waiters, waiter, of_settling);
		free(waiter);
	}
	free(settling->lingering);
	free(settling);
	return NULL;
}

int settling_join(struct settling *settling, settled_fn settled, void *userdata)
{
	struct settling_waiter *waiter = new_zeroed(sizeof(*waiter));
	if (!waiter)
		return -ENOMEM;
	waiter->settled = settled;
	waiter->userdata = userdata;
	TAILQ_INSERT_TAIL(&settling->waiters, waiter, of_settling);
	return 0;
}

void settling_forget(struct settling *settling, void *userdata)
{
	struct settling_waiter *waiter;
	TAILQ_FOREACH (waiter, &settling->waiters, of_settling)
		if (waiter->userdata == userdata) {
			TAILQ_REMOVE(&settling->waiters, waiter, of_settling);
			free(waiter);
			return;
		}
}

struct settling *settling_by_token(
	struct broker *broker, const char *token, uid_t uid, bool any_uid)
{
	struct settling *settling;
	TAILQ_FOREACH (settling, &broker->settlings, of_broker)
		if (*settling->token && strcmp(settling->token, token) == 0 &&
			(any_uid || settling->uid == uid))
			return settling;
	return NULL;
}

static void settling_done_one(struct settling *settling)
{
	struct settling_waiter *waiter;
	if (--settling->n_expected > 0)
		return;
	while ((waiter = TAILQ_FIRST(&settling->waiters))) {
		TAILQ_REMOVE(&settling->waiters, waiter, of_settling);
		waiter->settled(settling->lingering, settling->n_lingering,
			settling->has_failed ? &settling->refusal : NULL, waiter->userdata);
		free(waiter);
	}
	struct broker *broker = settling->broker;
	settling_free(settling);
	broker_pump_later(broker);
}

void settling_expect(struct settling *settling)
{
	if (settling)
		settling->n_expected++;
}

void settling_begin(struct settling *settling)
{
	if (settling)
		settling_done_one(settling);
}

void settling_is_home(struct settling *settling)
{
	if (settling)
		settling_done_one(settling);
}

void settling_lingers(struct settling *settling, int group)
{
	if (!settling)
		return;
	int *grown = reallocarray(
		settling->lingering, settling->n_lingering + 1, sizeof(*settling->lingering));
	if (grown) {
		settling->lingering = grown;
		grown[settling->n_lingering++] = group;
		settling_done_one(settling);
		return;
	}
	struct refusal refusal;
	refuse(&refusal, REFUSAL_SYSTEM, "telling that group %d lingers", group);
	refusal.errnum = ENOMEM;
	settling_failed(settling, &refusal);
}

void settling_failed(struct settling *settling, const struct refusal *refusal)
{
	if (!settling)
		return;
	if (!settling->has_failed)
		settling->refusal = *refusal;
	settling->has_failed = true;
	settling_done_one(settling);
}
