#include "daemon/service/metrics.h"

#include "daemon/broker/reserving.h"
#include "daemon/broker/spaces.h"
#include "daemon/service/exposition.h"
#include "daemon/service/parts.h"

#include <string.h>

static void put_tally(
	FILE *to, const char *name, const char *label, const char *help, const struct tally *tally)
{
	metric_family(to, name, METRIC_COUNTER, help);
	for (size_t i = 0; i < tally->n; i++)
		metric_sample(to, name, label, tally->entries[i].name, tally->entries[i].count);
}

static void put_groups(FILE *to, struct inventory *inventory)
{
	size_t bindings[BINDING_GONE + 1] = { 0 }, owners[OWNER_LINGERING + 1] = { 0 };
	const struct group *group;

	TAILQ_FOREACH (group, inventory_groups(inventory), of_inventory) {
		bindings[group->binding]++;
		owners[group->owner]++;
	}
	metric_single(to, "vfiod_devices", METRIC_GAUGE,
		"Devices of this host that are in an IOMMU group.", inventory_n_devices(inventory));
	metric_family(
		to, "vfiod_groups", METRIC_GAUGE, "IOMMU groups of this host, by their binding.");
	for (size_t i = 0; i < ARRAY_SIZE(bindings); i++)
		metric_sample(
			to, "vfiod_groups", "binding", binding_name((enum binding)i), bindings[i]);
	metric_family(to, "vfiod_group_owners", METRIC_GAUGE,
		"IOMMU groups of this host, by who has them.");
	for (size_t i = 0; i < ARRAY_SIZE(owners); i++)
		metric_sample(
			to, "vfiod_group_owners", "owner", owner_name((enum owner)i), owners[i]);
}

static void put_leases(FILE *to, struct broker *broker)
{
	static const struct {
		const char *name;
		enum lease_state state;
	} states[] = {
		{ "queued", LEASE_QUEUED },
		{ "acquiring", LEASE_ACQUIRING },
		{ "granted", LEASE_GRANTED },
	};
	size_t spaces[SPACE_ENDED + 1] = { 0 };
	const struct space_entry *entry;

	metric_family(to, "vfiod_leases", METRIC_GAUGE, "Leases and requests for one.");
	for (size_t i = 0; i < ARRAY_SIZE(states); i++)
		metric_sample(to, "vfiod_leases", "state", states[i].name,
			lease_book_count(broker_book(broker), states[i].state));
	TAILQ_FOREACH (entry, broker_spaces(broker), of_broker)
		spaces[space_state(entry->space)]++;
	metric_family(to, "vfiod_spaces", METRIC_GAUGE, "I/O address spaces of clients.");
	for (size_t i = 0; i < ARRAY_SIZE(spaces); i++)
		metric_sample(to, "vfiod_spaces", "state", space_state_name((enum space_state)i),
			spaces[i]);
}

/* --- the ledger ---------------------------------------------------------------------------- */

static uint64_t bytes_of(uint64_t pages)
{
	return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void put_host(FILE *to, const struct ledger *ledger)
{
	const struct account *host = ledger_host(ledger);
	uint64_t limit = ledger_host_limit(ledger);

	metric_single(to, "vfiod_pinned_bytes", METRIC_GAUGE,
		"Distinct pages that spaces have pinned.", bytes_of(account_owed(host)));
	metric_single(to, "vfiod_kernel_bill_bytes", METRIC_GAUGE,
		"What the kernel bills for them, and what leases have reserved.",
		bytes_of(account_kernel_bill(host)));
	if (limit != LIMIT_NONE)
		metric_single(to, "vfiod_pinned_limit_bytes", METRIC_GAUGE,
			"The limit of what spaces may have pinned (host-limit).", bytes_of(limit));
}

struct account_sum {
	const char *label;
	uint64_t owed, kernel_bill;
};

/*
 * Its row: accounts of single leases come and go and would be new series for ever, so they share
 * one; and so do those that are too many.
 */
static struct account_sum *row_of(
	struct account_sum *rows, size_t *n, const struct account *account)
{
	const char *label = strncmp(account->name, "lease:", 6) == 0 ? "lease" : account->name;

	if (*n >= METRICS_ACCOUNTS - 2 && strcmp(label, "lease") != 0)
		label = "other";
	for (size_t i = 0; i < *n; i++)
		if (strcmp(rows[i].label, label) == 0)
			return &rows[i];
	rows[*n].label = label;
	return &rows[(*n)++];
}

static void put_accounts(FILE *to, const struct ledger *ledger)
{
	struct account_sum rows[METRICS_ACCOUNTS] = { 0 };
	const struct account *account;
	size_t n = 0;

	TAILQ_FOREACH (account, ledger_accounts(ledger), of_ledger) {
		struct account_sum *row = row_of(rows, &n, account);
		row->owed += account_owed(account);
		row->kernel_bill += account_kernel_bill(account);
	}
	metric_family(to, "vfiod_account_owed_bytes", METRIC_GAUGE,
		"Distinct pages that an account has pinned; those of single leases in one.");
	for (size_t i = 0; i < n; i++)
		metric_sample(to, "vfiod_account_owed_bytes", "account", rows[i].label,
			bytes_of(rows[i].owed));
	metric_family(to, "vfiod_account_kernel_bill_bytes", METRIC_GAUGE,
		"What the kernel bills for them, and what its leases have reserved.");
	for (size_t i = 0; i < n; i++)
		metric_sample(to, "vfiod_account_kernel_bill_bytes", "account", rows[i].label,
			bytes_of(rows[i].kernel_bill));
}

/* --- all of it ------------------------------------------------------------------------------ */

static void put_daemon(FILE *to, const struct service *service)
{
	struct broker *broker = service->broker;
	const struct session *session;
	uint64_t n_sessions = 0;

	TAILQ_FOREACH (session, &service->sessions, of_service)
		n_sessions++;
	metric_family(to, "vfiod_build_info", METRIC_GAUGE, "Its version, in a label.");
	metric_sample(to, "vfiod_build_info", "version", VFIOD_VERSION, 1);
	metric_single(to, "vfiod_start_time_seconds", METRIC_GAUGE,
		"When it started, in seconds since 1970.", (uint64_t)service->started_at);
	metric_single(
		to, "vfiod_rules", METRIC_GAUGE, "Rules in force.", broker_config(broker)->n_rules);
	metric_single(to, "vfiod_config_last_reload_successful", METRIC_GAUGE,
		"Whether what was read last of the configuration is in force.",
		!broker_reload_failure(broker));
	metric_single(
		to, "vfiod_connections", METRIC_GAUGE, "Connections that are open.", n_sessions);
}

char *metrics_text(const struct metrics *metrics)
{
	const struct service *service = metrics->service;
	char *text = NULL;
	size_t size;
	FILE *to = open_memstream(&text, &size);

	if (!to)
		return NULL;
	put_daemon(to, service);
	put_groups(to, broker_inventory(service->broker));
	put_leases(to, service->broker);
	if (broker_ledger(service->broker)) {
		put_host(to, broker_ledger(service->broker));
		put_accounts(to, broker_ledger(service->broker));
	}
	put_tally(
		to, "vfiod_calls_total", "method", "Calls of clients, by method.", &metrics->calls);
	put_tally(to, "vfiod_errors_total", "error", "Errors that clients were answered with.",
		&metrics->errors);
	put_tally(to, "vfiod_events_total", "event", "Events, as vfioctl monitor shows them.",
		&metrics->events);
	put_tally(to, "vfiod_group_changes_total", "to", "Changes of a group's binding or owner.",
		&metrics->changes);
	bool is_bad = ferror(to);
	if (fclose(to) == 0 && !is_bad)
		return text;
	free(text);
	return NULL;
}
