/* The part of org.vfiod.Admin.Audit that is about leases which map by themselves. */
#pragma once

#include "daemon/service/parts.h"

struct lease_audits;

/*
 * Asks about each that is granted, all at the same time, with a deadline; `done` once, later, also
 * where there are none. 0 or -errno.
 */
typedef void (*lease_audits_done)(void *userdata);
int lease_audits_new(struct service *service, lease_audits_done done, void *userdata,
	struct lease_audits **audits);
/* At any time; before done(), that is never called. NULL-safe. */
struct lease_audits *lease_audits_free(struct lease_audits *audits);
/* After done(): a list of AuditedLease, without those that have ended meanwhile. */
struct json_object *lease_audits_json(const struct lease_audits *audits, bool *is_right);
