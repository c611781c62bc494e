/*
 * "L7" and "S2" are for people, in logs and in the journal: while the host runs, no name is given
 * twice, by whichever daemon. How far they have come is written down ahead of them, so that most
 * names cost no write; a daemon that is killed leaves a gap.
 */
#include "daemon/base/fields.h"
#include "daemon/base/log.h"
#include "daemon/base/record.h"
#include "daemon/broker/parts.h"

#include <errno.h>
#include <string.h>

#define COUNTERS "counters"
#define NAMES "names"
enum { COUNTERS_VERSION = 1, AHEAD = 64 };

static int names_write(struct broker *broker, unsigned long long ahead)
{
	_cleanup_json_ struct json_object *json = json_object_new_object();
	unsigned long long leases = broker->book.n_named + ahead,
			   spaces = broker->n_named_spaces + ahead;

	if (!json || field_add_unsigned(json, "leases", leases) < 0 ||
		field_add_unsigned(json, "spaces", spaces) < 0)
		return -ENOMEM;
	int r = record_write(broker->state_directory, COUNTERS, NAMES, COUNTERS_VERSION, json);
	if (r < 0)
		return r;
	broker->n_leases_ahead = leases;
	broker->n_spaces_ahead = spaces;
	return 0;
}

void names_reserve(struct broker *broker)
{
	if (broker->book.n_named <= broker->n_leases_ahead &&
		broker->n_named_spaces <= broker->n_spaces_ahead)
		return;
	int r = names_write(broker, AHEAD);
	if (r < 0)
		log_warning("after a restart, names of leases and spaces may be used again: %s",
			strerror(-r));
}

void names_settle(struct broker *broker)
{
	if (broker->n_leases_ahead > 0 || broker->n_spaces_ahead > 0)
		names_write(broker, 0);
}

static void number_raise(unsigned long long *number, unsigned long long to)
{
	if (*number < to)
		*number = to;
}

static void on_record(const char *name, int version, struct json_object *json, const char *problem,
	void *userdata)
{
	(void)version;
	struct broker *broker = userdata;
	struct fields fields = { .object = json };

	if (!problem && strcmp(name, NAMES) == 0) {
		number_raise(&broker->book.n_named, fields_get_unsigned(&fields, "leases"));
		number_raise(&broker->n_named_spaces, fields_get_unsigned(&fields, "spaces"));
		problem = fields.problem;
	}
	if (problem)
		log_warning("%s/" COUNTERS "/%s.json: %s: names may be used again",
			broker->state_directory, name, problem);
	json_object_put(json);
}

int names_read(struct broker *broker)
{
	int r = record_init(broker->state_directory, COUNTERS);
	return r < 0 ? r
		     : record_each(broker->state_directory, COUNTERS, COUNTERS_VERSION, on_record,
			       broker);
}
