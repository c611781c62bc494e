/* org.vfiod.Ledger: what clients report that they have mapped by themselves. */
#include "daemon/broker/observing.h"
#include "daemon/service/inflight.h"
#include "daemon/service/iova.h"
#include "daemon/service/space-call.h"

#include <errno.h>

/* Made with the first report. NULL: no memory. */
static struct reporter *reporter_of(struct session *session)
{
	if (!session->reporter)
		session->reporter = reporter_new(session->service->broker, &session->subject);
	return session->reporter;
}

static void answer(struct call *call, int result, const struct refusal *refusal)
{
	if (result == 0)
		call_reply(call, NULL);
	else if (result == REFUSED)
		call_refuse(call, refusal);
	else
		call_fail(call, -result, "what is reported");
}

typedef int (*report_fn)(struct reporter *reporter, const char *token, const struct report *report,
	struct refusal *refusal);

static void hand_on(struct call *call, const struct report *report, report_fn hear)
{
	const char *token = json_field_text(call->varlink.parameters, "token");
	struct reporter *reporter = reporter_of(call->session);
	struct refusal refusal;

	answer(call, reporter ? hear(reporter, token, report, &refusal) : -ENOMEM, &refusal);
}

static void map(struct call *call)
{
	const char *address = json_field_text(call->varlink.parameters, "address");
	struct report report;

	if (!call_unsigned(call, "container", &report.container) ||
		!call_iova(call, &report.iova) || !call_unsigned(call, "length", &report.length))
		return;
	if (iova_parse(address, &report.address) < 0)
		call_invalid(call, "address");
	else
		hand_on(call, &report, report_map);
}

static void unmap(struct call *call)
{
	struct report report = { 0 };

	if (call_unsigned(call, "container", &report.container) && call_iova(call, &report.iova) &&
		call_unsigned(call, "length", &report.length))
		hand_on(call, &report, report_unmap);
}

static void report_for(struct call *call)
{
	struct session *session = call->session;
	struct subject holder = session->subject; /* its pointers stay the session's */
	struct refusal refusal;
	_cleanup_close_ int pidfd = -1;

	int r = call_take_holder(call, &pidfd, &holder, &refusal);
	if (r == 0) {
		session->reporter = reporter_free(session->reporter);
		session->reports_for = holder;
		session->reporter = reporter_new(session->service->broker, &session->reports_for);
		r = session->reporter ? 0 : -ENOMEM;
	}
	/* After a restart its reports would be taken for its own process's. */
	if (r == 0)
		inflight_end_with_us(session);
	answer(call, r, &refusal);
}

const struct method report_methods[] = {
	{ .name = "org.vfiod.Ledger.ReportMap", .run = map },
	{ .name = "org.vfiod.Ledger.ReportUnmap", .run = unmap },
	{ .name = "org.vfiod.Ledger.ReportFor", .run = report_for, .takes_fds = true },
	{ .name = NULL },
};
