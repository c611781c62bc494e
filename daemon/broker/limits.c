/* What the rules let accounts have pinned, as their spaces and the ledger want to know it. */
#include "daemon/base/host-memory.h"
#include "daemon/broker/parts.h"

#include <string.h>
#include <unistd.h>

uint64_t limit_pages(uint64_t bytes)
{
	return bytes == BYTES_UNLIMITED ? LIMIT_NONE : bytes / (uint64_t)sysconf(_SC_PAGESIZE);
}

/* What the rules say of the groups in it. */
static void narrow_limits(const struct space_entry *entry, struct byte_limits *limits)
{
	const struct attachment *attachment;

	TAILQ_FOREACH (attachment, &entry->attachments, of_entry)
		if (attachment->lease)
			policy_limits(entry->broker->config, &attachment->lease->subject,
				attachment->group, device_needs_rule, attachment->lease->account,
				limits);
}

void broker_account_limits(
	const struct broker *broker, const char *account, struct byte_limits *limits)
{
	const struct space_entry *entry;

	*limits = BYTE_LIMITS_NONE;
	policy_limits(broker->config, NULL, NULL, NULL, account, limits);
	TAILQ_FOREACH (entry, &broker->spaces, of_broker) {
		const struct account *payer = space_payer(entry->space);
		if (payer && strcmp(payer->name, account) == 0)
			narrow_limits(entry, limits);
	}
	reservations_limits(broker, account, limits);
}

void space_entry_limits(struct space *space, struct limits *limits, void *userdata)
{
	const struct space_entry *entry = userdata;
	const struct account *payer = space_payer(space);
	struct byte_limits bytes = BYTE_LIMITS_NONE;

	if (payer)
		broker_account_limits(entry->broker, payer->name, &bytes);
	narrow_limits(entry, &bytes);
	limits->owed = limit_pages(bytes.owed);
	limits->kernel_bill = limit_pages(bytes.kernel_bill);
}

void spaces_reconfigure(struct broker *broker)
{
	if (broker->ledger)
		ledger_set_host_limit(broker->ledger,
			limit_pages(config_host_limit(broker->config, host_memory_bytes())));
}

void space_entry_tell_limit(struct space_entry *entry, const struct refusal *refusal)
{
	char text[REFUSAL_TEXT_SIZE];
	refusal_describe(refusal, text, sizeof(text));
	space_entry_news(entry, &(struct broker_news){ .event = "limitExceeded", .text = text });
}
