#include "daemon/memory/coverage.h"
#include "daemon/memory/ledger-parts.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* --- accounts ------------------------------------------------------------------------------- */

static void account_free(struct account *account)
{
	if (!account)
		return;
	assert(account->ledger->is_over ||
		(account_owed(account) == 0 && account->kernel_bill == 0));
	coverage_free(account->coverage);
	free(account->name);
	free(account);
}

static struct account *account_new(struct ledger *ledger, const char *name)
{
	struct account *account = calloc(1, sizeof(*account));
	if (!account)
		return NULL;
	account->name = strdup(name);
	account->coverage = coverage_new(ledger->n_frames);
	if (!account->name || !account->coverage) {
		coverage_free(account->coverage);
		free(account->name);
		free(account);
		return NULL;
	}
	account->ledger = ledger;
	account->n_references = 1;
	return account;
}

struct account *account_hold(struct account *account)
{
	account->n_references++;
	return account;
}

struct account *account_release(struct account *account)
{
	if (!account || --account->n_references > 0)
		return NULL;
	if (account->is_space)
		account->ledger->n_spaces--;
	else
		TAILQ_REMOVE(&account->ledger->accounts, account, of_ledger);
	account_free(account);
	return NULL;
}

uint64_t account_owed(const struct account *account)
{
	return coverage_total(account->coverage);
}

uint64_t account_kernel_bill(const struct account *account)
{
	return account->kernel_bill;
}

uint64_t account_saved(const struct account *account)
{
	uint64_t owed = account_owed(account);
	return account->kernel_bill > owed ? account->kernel_bill - owed : 0;
}

/* --- the ledger ------------------------------------------------------------------------------- */

struct ledger *ledger_new(uint64_t n_frames)
{
	struct ledger *ledger = calloc(1, sizeof(*ledger));
	if (!ledger)
		return NULL;
	ledger->n_frames = n_frames;
	ledger->host_limit = LIMIT_NONE;
	TAILQ_INIT(&ledger->accounts);
	ledger->host = account_new(ledger, "host");
	if (!ledger->host) {
		free(ledger);
		return NULL;
	}
	return ledger;
}

struct ledger *ledger_free(struct ledger *ledger)
{
	if (!ledger)
		return NULL;
	assert(TAILQ_EMPTY(&ledger->accounts) && ledger->n_spaces == 0);
	account_free(ledger->host);
	free(ledger);
	return NULL;
}

void ledger_set_host_limit(struct ledger *ledger, uint64_t pages)
{
	ledger->host_limit = pages;
}

uint64_t ledger_host_limit(const struct ledger *ledger)
{
	return ledger->host_limit;
}

const struct account *ledger_host(const struct ledger *ledger)
{
	return ledger->host;
}

const struct account_list *ledger_accounts(const struct ledger *ledger)
{
	return &ledger->accounts;
}

struct account *ledger_account(struct ledger *ledger, const char *name)
{
	struct account *account;

	TAILQ_FOREACH (account, &ledger->accounts, of_ledger)
		if (strcmp(account->name, name) == 0)
			return account_hold(account);
	account = account_new(ledger, name);
	if (account)
		TAILQ_INSERT_TAIL(&ledger->accounts, account, of_ledger);
	return account;
}

struct account *ledger_space_account(struct ledger *ledger, const char *name)
{
	struct account *account = account_new(ledger, name);

	if (account) {
		account->is_space = true;
		ledger->n_spaces++;
	}
	return account;
}
