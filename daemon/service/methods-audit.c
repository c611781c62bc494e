/* org.vfiod.Admin, Audit: the books against keepers, their page tables, and the kernel. */
#include "daemon/base/util.h"
#include "daemon/broker/reserving.h"
#include "daemon/broker/spaces.h"
#include "daemon/service/methods-audit-leases.h"
#include "daemon/service/parts.h"
#include "daemon/service/vmstat.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

#define FINDING_SIZE 512
/* What each CPU may keep to itself of a counter (mm/vmstat.c, calculate_normal_threshold). */
#define CPU_LAG_PAGES UINT64_C(125)

/* One space. */
struct item {
	struct audit *audit;
	struct space_entry *entry; /* NULL: it has been heard */
	char name[16];
	const char *state;
	uint64_t different, billed; /* pages */
	uint64_t at_will;           /* of `billed`: what mdevs may have pinned, or not */
	int64_t locked_bytes;       /* -1: there is no keeper */
	bool is_orphaned;           /* which is told, and is nothing wrong with the books */
	char finding[FINDING_SIZE]; /* "": none */
};

struct audit {
	struct call *call;
	struct item *items;
	size_t n_items, n_pending;
	struct lease_audits *leases;
};

static struct audit *audit_free(struct audit *audit)
{
	if (audit) {
		lease_audits_free(audit->leases);
		free(audit->items);
	}
	free(audit);
	return NULL;
}

static uint64_t page_bytes(void)
{
	return (uint64_t)sysconf(_SC_PAGESIZE);
}

/* --- what is found ------------------------------------------------------------------------- */

__attribute__((format(printf, 2, 3))) static void find(struct item *item, const char *format, ...)
{
	size_t used = strlen(item->finding), size = sizeof(item->finding);
	va_list arguments;

	if (used > 0)
		used += (size_t)snprintf(item->finding + used, size - used, "; ");
	if (used >= size)
		return;
	va_start(arguments, format);
	vsnprintf(item->finding + used, size - used, format, arguments);
	va_end(arguments);
}

static void find_orphan(struct item *item)
{
	item->is_orphaned = true;
	struct attached_group groups[8];
	size_t n = space_entry_groups(item->entry, groups, ARRAY_SIZE(groups));
	char list[128] = "";

	for (size_t i = 0, used = 0; i < n && i < ARRAY_SIZE(groups); i++)
		used += (size_t)snprintf(list + used, sizeof(list) - used, "%s%d",
			i > 0 ? ", " : "", groups[i].group);
	find(item,
		"its keeper has ended, and a device of group %s is still open: what is pinned for "
		"it stays charged until that is closed",
		*list ? list : "(none)");
}

static void find_in_books(struct item *item)
{
	if (item->different > 0)
		find(item,
			"%" PRIu64
			" pages of its memory are not those that are pinned and charged: "
			"its client has punched holes into it, and devices still see the old ones",
			item->different);
	uint64_t locked = (uint64_t)item->locked_bytes, most = item->billed * page_bytes();
	if (item->locked_bytes >= 0 &&
		(locked > most || locked < most - item->at_will * page_bytes()))
		find(item,
			"the kernel bills %" PRIu64 " bytes for it (VmLck of its keeper), the "
			"ledger has %" PRIu64,
			locked, most);
}

/* Each container has all that is mapped. */
static uint64_t pages_at_will(const struct item *item)
{
	struct space_description description;

	space_describe(item->entry->space, &description);
	return description.n_of_mdevs > 0
		       ? item->billed / description.n_containers * description.n_of_mdevs
		       : 0;
}

static struct json_object *item_json(const struct item *item)
{
	struct json_object *json = json_object_new_object();
	json_put(json, "space", json_text(item->name));
	json_put(json, "state", json_text(item->state));
	json_put(json, "differentPages", json_bytes(item->different));
	json_put(json, "kernelBillBytes", json_pages(item->billed));
	json_put(json, "lockedBytes",
		item->locked_bytes < 0 ? NULL : json_object_new_int64(item->locked_bytes));
	json_put(json, "finding", *item->finding ? json_text(item->finding) : NULL);
	return json;
}

/* What all of the host has pinned: it cannot be less than what we have for certain. */
static int64_t find_in_host(uint64_t billed, struct json_object *findings)
{
	char text[32768], finding[FINDING_SIZE];
	int64_t pinned = -1;

	if (file_read("/proc/vmstat", text, sizeof(text)) >= 0)
		pinned = vmstat_pinned_pages(text);
	uint64_t lag = 2 * CPU_LAG_PAGES * (uint64_t)sysconf(_SC_NPROCESSORS_CONF);
	if (pinned >= 0 && (uint64_t)pinned + lag < billed) {
		snprintf(finding, sizeof(finding),
			"the ledger has %" PRIu64 " pages pinned, the whole host only %" PRId64
			" (nr_foll_pin_acquired less nr_foll_pin_released)",
			billed, pinned);
		json_object_array_add(findings, json_text(finding));
	}
	return pinned;
}

static void audit_reply(struct audit *audit)
{
	struct call *call = audit->call;
	struct broker *broker = call->session->service->broker;
	const struct ledger *ledger = broker_ledger(broker);
	struct json_object *reply = json_object_new_object(), *spaces = json_object_new_array(),
			   *findings = json_object_new_array();
	uint64_t billed = ledger ? account_kernel_bill(ledger_host(ledger)) : 0;
	uint64_t at_will = 0;
	bool is_right = true;

	/* What is reserved need not be pinned. */
	billed -= broker_reserved_pages(broker, NULL);

	for (size_t i = 0; i < audit->n_items; i++) {
		const struct item *item = &audit->items[i];
		json_object_array_add(spaces, item_json(item));
		at_will += item->at_will;
		if (*item->finding && !item->is_orphaned)
			is_right = false;
	}
	int64_t pinned = find_in_host(billed - at_will, findings);
	if (json_object_array_length(findings) > 0)
		is_right = false;
	struct json_object *leases = lease_audits_json(audit->leases, &is_right);
	json_put(reply, "isRight", json_object_new_boolean(is_right));
	json_put(reply, "spaces", spaces);
	json_put(reply, "leases", leases);
	json_put(reply, "kernelBillBytes", json_pages(billed));
	json_put(reply, "hostPinnedBytes", pinned < 0 ? NULL : json_pages((uint64_t)pinned));
	json_put(reply, "findings", findings);
	audit_free(audit);
	call_reply(call, reply);
}

/* --- asking ---------------------------------------------------------------------------------- */

static void audit_heard(struct audit *audit)
{
	if (--audit->n_pending == 0)
		audit_reply(audit);
}

static void item_heard(struct item *item)
{
	item->entry = NULL;
	audit_heard(item->audit);
}

static void on_leases_audited(void *userdata)
{
	audit_heard(userdata);
}

static void find_failure(struct item *item, int result, const struct refusal *refusal)
{
	char text[REFUSAL_TEXT_SIZE];

	if (result == REFUSED)
		refusal_describe(refusal, text, sizeof(text));
	else
		snprintf(text, sizeof(text), "%s", strerror(-result));
	find(item, "its keeper could not be asked: %s", text);
}

static void on_audited(struct space *space, const struct space_answer *answer, void *userdata)
{
	struct item *item = userdata;

	item->billed = account_kernel_bill(space_account(space));
	item->at_will = pages_at_will(item);
	if (answer->result == 0) {
		item->different = answer->n_pages_different;
		item->locked_bytes = (int64_t)answer->locked_bytes;
		find_in_books(item);
	} else {
		find_failure(item, answer->result, answer->refusal);
	}
	item_heard(item);
}

static void item_ask(struct item *item, struct audit *audit, struct space_entry *entry)
{
	enum space_state state = space_state(entry->space);
	struct refusal refusal;

	*item = (struct item){ .audit = audit, .entry = entry, .locked_bytes = -1 };
	memcpy(item->name, entry->name, sizeof(item->name));
	item->state = space_state_name(state);
	item->billed = account_kernel_bill(space_account(entry->space));
	item->at_will = pages_at_will(item);
	audit->n_pending++;
	if (state == SPACE_ORPHANED)
		find_orphan(item);
	int r = state == SPACE_LIVE ? space_audit(entry->space, on_audited, item, &refusal) : 0;
	if (r != 0)
		find_failure(item, r, &refusal);
	if (r != 0 || state != SPACE_LIVE)
		item_heard(item);
}

static void audit_cancel(struct call *call)
{
	struct audit *audit = call->state;
	for (size_t i = 0; i < audit->n_items; i++)
		if (audit->items[i].entry)
			space_forget(audit->items[i].entry->space, &audit->items[i]);
	audit_free(audit);
}

static void audit_start(struct call *call)
{
	struct broker *broker = call->session->service->broker;
	struct audit *audit = calloc(1, sizeof(*audit));
	struct space_entry *entry;
	size_t n = 0;

	TAILQ_FOREACH (entry, broker_spaces(broker), of_broker)
		n++;
	if (audit)
		audit->items = calloc(n + 1, sizeof(*audit->items));
	int r = !audit || !audit->items ? -ENOMEM
					: lease_audits_new(call->session->service,
						  on_leases_audited, audit, &audit->leases);
	if (r < 0) {
		audit_free(audit);
		call_fail(call, -r, "the audit");
		return;
	}
	audit->call = call;
	/* That of the leases comes later, whatever there is to be asked. */
	audit->n_pending = 1;
	call->state = audit;
	call->cancel = audit_cancel;
	TAILQ_FOREACH (entry, broker_spaces(broker), of_broker)
		if (space_state(entry->space) != SPACE_ENDED)
			item_ask(&audit->items[audit->n_items++], audit, entry);
}

const struct method audit_methods[] = {
	{ .name = "org.vfiod.Admin.Audit", .run = audit_start, .for_admins = true },
	{ .name = NULL },
};
