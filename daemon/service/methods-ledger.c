/* org.vfiod.Ledger: the book of pinned pages, as it is. */
#include "daemon/broker/backend.h"
#include "daemon/broker/observing.h"
#include "daemon/broker/reserving.h"
#include "daemon/broker/spaces.h"
#include "daemon/service/parts.h"

#include <string.h>

/* Groups in one space; a client's leases have no more. */
enum { GROUPS_MAX = 256 };

static struct json_object *limit_json(uint64_t bytes)
{
	return bytes == BYTES_UNLIMITED ? NULL : json_bytes(bytes);
}

static void put_observed(struct json_object *json, const struct observing_figures *figures)
{
	json_put(json, "observedBytes",
		figures->is_any ? json_pages(figures->distinct_pages) : NULL);
	json_put(json, "observedBillBytes",
		figures->is_any ? json_pages(figures->bill_pages) : NULL);
}

/* NULL: it owes nothing, and something is observed of it. */
static struct json_object *account_json(
	struct broker *broker, const char *name, const struct account *account)
{
	struct json_object *json = json_object_new_object();
	struct observing_figures figures;
	struct byte_limits limits;

	broker_account_limits(broker, name, &limits);
	observing_figures_of_account(broker, name, &figures);
	json_put(json, "name", json_text(name));
	json_put(json, "owedBytes", json_pages(account ? account_owed(account) : 0));
	json_put(json, "owedLimitBytes", limit_json(limits.owed));
	json_put(json, "kernelBillBytes", json_pages(account ? account_kernel_bill(account) : 0));
	json_put(json, "kernelBillLimitBytes", limit_json(limits.kernel_bill));
	json_put(json, "reservedBytes", json_pages(broker_reserved_pages(broker, name)));
	put_observed(json, &figures);
	return json;
}

static const struct account *account_find(const struct ledger *ledger, const char *name)
{
	const struct account *account;
	TAILQ_FOREACH (account, ledger_accounts(ledger), of_ledger)
		if (strcmp(account->name, name) == 0)
			return account;
	return NULL;
}

static bool is_observed(struct broker *broker, const char *account)
{
	struct observing_figures figures;

	observing_figures_of_account(broker, account, &figures);
	return figures.is_any;
}

static struct json_object *accounts_json(struct broker *broker)
{
	struct json_object *list = json_object_new_array();
	const struct ledger *ledger = broker_ledger(broker), *observed = observing_ledger(broker);
	const struct account *account;

	TAILQ_FOREACH (account, ledger_accounts(ledger), of_ledger)
		if (account_owed(account) > 0 || account_kernel_bill(account) > 0 ||
			is_observed(broker, account->name))
			json_object_array_add(list, account_json(broker, account->name, account));
	if (!observed)
		return list;
	TAILQ_FOREACH (account, ledger_accounts(observed), of_ledger)
		if (!account_find(ledger, account->name) && is_observed(broker, account->name))
			json_object_array_add(list, account_json(broker, account->name, NULL));
	return list;
}

/* How many there are in *groups, which has room for GROUPS_MAX. */
static size_t groups_of(const struct space_entry *entry, struct attached_group *groups)
{
	size_t n = space_entry_groups(entry, groups, GROUPS_MAX);
	return n < GROUPS_MAX ? n : GROUPS_MAX;
}

static struct json_object *space_json(const struct space_entry *entry)
{
	const struct subject *subject = space_subject(entry->space);
	const struct account *payer = space_payer(entry->space);
	const struct account *account = space_account(entry->space);
	pid_t keeper = space_keeper_pid(entry->space);
	struct json_object *json = json_object_new_object(), *groups = json_object_new_array();
	struct attached_group attached[GROUPS_MAX];
	struct space_description space;

	space_describe(entry->space, &space);
	for (size_t i = 0, n = groups_of(entry, attached); i < n; i++)
		json_object_array_add(groups, json_object_new_int(attached[i].group));
	json_put(json, "name", json_text(entry->name));
	json_put(json, "state", json_text(space_state_name(space_state(entry->space))));
	json_put(json, "account", payer ? json_text(payer->name) : NULL);
	json_put(json, "uid", json_object_new_int64(subject->uid));
	json_put(json, "pid", json_object_new_int(subject->pid));
	json_put(json, "keeperPid", keeper > 0 ? json_object_new_int(keeper) : NULL);
	json_put(json, "backend", json_text(backend_name(entry->is_iommufd)));
	json_put(json, "groups", groups);
	json_put(json, "owedBytes", json_pages(account_owed(account)));
	json_put(json, "kernelBillBytes", json_pages(account_kernel_bill(account)));
	json_put(json, "mappings", json_object_new_int64(space.n_mappings));
	json_put(json, "mappedBytes", json_bytes(space.mapped_bytes));
	return json;
}

static struct json_object *spaces_json(struct broker *broker)
{
	struct json_object *list = json_object_new_array();
	const struct space_entry *entry;
	TAILQ_FOREACH (entry, broker_spaces(broker), of_broker)
		if (space_state(entry->space) != SPACE_ENDED)
			json_object_array_add(list, space_json(entry));
	return list;
}

static bool has_group_of(const struct space_entry *entry, const struct lease *lease)
{
	struct attached_group attached[GROUPS_MAX];
	for (size_t i = 0, n = groups_of(entry, attached); i < n; i++)
		if (attached[i].lease == lease)
			return true;
	return false;
}

static struct json_object *lease_json(struct broker *broker, const struct lease *lease)
{
	struct json_object *json = json_object_new_object(), *groups = json_object_new_array(),
			   *spaces = json_object_new_array();
	const struct space_entry *entry;
	struct observing_figures figures;
	uint64_t owed = 0, kernel_bill = 0;

	for (size_t i = 0; i < lease->n_groups; i++)
		json_object_array_add(groups, json_object_new_int(lease->groups[i]->number));
	TAILQ_FOREACH (entry, broker_spaces(broker), of_broker) {
		if (!has_group_of(entry, lease))
			continue;
		json_object_array_add(spaces, json_text(entry->name));
		owed += account_owed(space_account(entry->space));
		kernel_bill += account_kernel_bill(space_account(entry->space));
	}
	json_put(json, "lease", json_text(lease->name));
	json_put(json, "account", json_text(lease->account));
	json_put(json, "groups", groups);
	json_put(json, "spaces", spaces);
	json_put(json, "owedBytes", json_pages(owed));
	json_put(json, "kernelBillBytes", json_pages(kernel_bill));
	json_put(json, "reservedBytes", json_bytes(reservation_bytes(lease->reservation)));
	json_put(json, "isTrusted", json_object_new_boolean(lease->is_trusted));
	observing_figures_of_lease(broker, lease, &figures);
	put_observed(json, &figures);
	json_put(json, "unobservedBytes",
		figures.is_any ? json_pages(figures.unobserved_pages) : NULL);
	return json;
}

static struct json_object *leases_json(struct broker *broker)
{
	struct json_object *list = json_object_new_array();
	struct observing_figures figures;
	const struct lease *lease;

	TAILQ_FOREACH (lease, &broker_book(broker)->leases, of_book) {
		observing_figures_of_lease(broker, lease, &figures);
		if (lease->state == LEASE_GRANTED &&
			(lease->brokered || lease->reservation || figures.is_any))
			json_object_array_add(list, lease_json(broker, lease));
	}
	return list;
}

static void describe(struct call *call)
{
	struct broker *broker = call->session->service->broker;
	const struct ledger *ledger = broker_ledger(broker);
	struct json_object *reply = json_object_new_object();

	if (!ledger) {
		struct refusal refusal;
		refuse(&refusal, REFUSAL_NOT_SUPPORTED, "a ledger");
		json_object_put(reply);
		call_refuse(call, &refusal);
		return;
	}
	uint64_t limit = ledger_host_limit(ledger);
	json_put(reply, "owedBytes", json_pages(account_owed(ledger_host(ledger))));
	json_put(reply, "limitBytes", limit == LIMIT_NONE ? NULL : json_pages(limit));
	json_put(reply, "kernelBillBytes", json_pages(account_kernel_bill(ledger_host(ledger))));
	json_put(reply, "accounts", accounts_json(broker));
	json_put(reply, "spaces", spaces_json(broker));
	json_put(reply, "leases", leases_json(broker));
	call_reply(call, reply);
}

/* More for a lease of the caller's own, or for an administrator anybody's. */
static struct lease *lease_of(struct call *call, const char *token)
{
	const struct session *session = call->session;
	struct lease *lease = lease_book_by_token(broker_book(session->service->broker), token);

	if (!lease || lease->state != LEASE_GRANTED)
		return NULL;
	return lease->subject.uid == session->subject.uid || session_is_admin(session) ? lease
										       : NULL;
}

static void reserve(struct call *call)
{
	struct broker *broker = call->session->service->broker;
	struct json_object *parameters = call->varlink.parameters;
	int64_t bytes = json_object_get_int64(json_field(parameters, "memoryBytes"));
	struct lease *lease = lease_of(call, json_field_text(parameters, "token"));
	struct refusal refusal;
	int r;

	if (bytes < 0) {
		call_invalid(call, "memoryBytes");
		return;
	}
	if (lease)
		r = lease_reserve_more(broker, lease, (uint64_t)bytes, &refusal);
	else
		r = refuse(&refusal, REFUSAL_NO_SUCH_LEASE, "no lease has this token");
	if (r < 0) {
		call_fail(call, -r, "reserving memory");
	} else if (r == REFUSED) {
		call_refuse(call, &refusal);
	} else {
		struct json_object *reply = json_object_new_object();
		json_put(reply, "memoryBytes", json_bytes(reservation_bytes(lease->reservation)));
		call_reply(call, reply);
	}
}

const struct method ledger_methods[] = {
	{ .name = "org.vfiod.Ledger.Describe", .run = describe },
	{ .name = "org.vfiod.Ledger.Reserve", .run = reserve },
	{ .name = NULL },
};
