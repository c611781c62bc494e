/* Whose mappings are observed: leases, which pay; users, who are bounded; processes, to be read. */
#include "daemon/broker/observing-parts.h"

#include <assert.h>
#include <stdlib.h>

struct observed_lease *observed_lease_find(
	const struct observing *observing, const struct lease *lease)
{
	struct observed_lease *observed;
	TAILQ_FOREACH (observed, &observing->leases, of_observing)
		if (observed->lease == lease)
			return observed;
	return NULL;
}

static struct observed_lease *observed_lease_free(struct observed_lease *observed)
{
	account_release(observed->payer);
	account_release(observed->account);
	free(observed);
	return NULL;
}

struct observed_lease *observed_lease_get(struct observing *observing, const struct lease *lease)
{
	struct observed_lease *observed = observed_lease_find(observing, lease);
	if (observed)
		return observed;
	observed = calloc(1, sizeof(*observed));
	if (!observed)
		return NULL;
	observed->observing = observing;
	observed->lease = lease;
	observed->payer = ledger_account(observing->ledger, lease->account);
	observed->account = ledger_space_account(observing->ledger, lease->name);
	if (!observed->payer || !observed->account)
		return observed_lease_free(observed);
	TAILQ_INSERT_TAIL(&observing->leases, observed, of_observing);
	return observed;
}

void observed_lease_put(struct observed_lease *observed)
{
	if (--observed->n_reports > 0)
		return;
	assert(observed->bill_pages == 0 && observed->covered_pages == 0);
	TAILQ_REMOVE(&observed->observing->leases, observed, of_observing);
	observed_lease_free(observed);
}

struct observed_user *observed_user_get(struct observing *observing, uid_t uid)
{
	struct observed_user *user;
	TAILQ_FOREACH (user, &observing->users, of_observing)
		if (user->uid == uid) {
			user->n_reporters++;
			return user;
		}
	user = calloc(1, sizeof(*user));
	if (!user)
		return NULL;
	user->uid = uid;
	user->n_reporters = 1;
	TAILQ_INSERT_TAIL(&observing->users, user, of_observing);
	return user;
}

void observed_user_put(struct observing *observing, struct observed_user *user)
{
	if (!user || --user->n_reporters > 0)
		return;
	assert(user->n_reports == 0 && user->n_pieces == 0 && user->n_runs == 0);
	TAILQ_REMOVE(&observing->users, user, of_observing);
	free(user);
}

struct observed_process *observed_process_get(
	struct observing *observing, pid_t pid, unsigned long long start_ticks)
{
	struct observed_process *process;
	TAILQ_FOREACH (process, &observing->processes, of_observing)
		if (process->pid == pid && process->start_ticks == start_ticks) {
			process->n_reporters++;
			return process;
		}
	process = calloc(1, sizeof(*process));
	if (!process)
		return NULL;
	process->pid = pid;
	process->start_ticks = start_ticks;
	process->n_reporters = 1;
	TAILQ_INIT(&process->fresh);
	TAILQ_INIT(&process->seen);
	TAILQ_INSERT_TAIL(&observing->processes, process, of_observing);
	return process;
}

void observed_process_put(struct observing *observing, struct observed_process *process)
{
	if (!process || --process->n_reporters > 0)
		return;
	assert(TAILQ_EMPTY(&process->fresh) && TAILQ_EMPTY(&process->seen));
	observer_forget(process);
	TAILQ_REMOVE(&observing->processes, process, of_observing);
	free(process);
}
