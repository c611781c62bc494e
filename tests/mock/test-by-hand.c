/*
 * Somebody tidies up in the state directory while the daemon runs: what the next lease needs there
 * is written anew.
 */
#include "tests/mock/lending.h"

#include "daemon/base/record.h"
#include "daemon/broker/restoring-parts.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static int set_up(void **state)
{
	return lending_set_up(state,
		"[daemon]\nadmin = user:1000\n"
		"[rule all]\nmatch = pci:address=0000:*\nallow = user:1000\nreturn = no\n");
}

static void note_name(const char *name, int version, struct json_object *json, const char *problem,
	void *userdata)
{
	char *names = userdata;
	struct json_object *lease;

	(void)name;
	assert_int_equal(version, LEASE_RECORD_VERSION);
	assert_null(problem);
	assert_true(json_object_object_get_ex(json, "lease", &lease));
	strcat(names, json_object_get_string(lease));
	json_object_put(json);
}

/* The leases that the next daemon would take over. */
static void assert_recorded(const struct lending *lending, const char *leases)
{
	char names[64] = "";

	assert_int_equal(record_each(lending->broker->state_directory, LEASE_RECORDS,
				 LEASE_RECORD_VERSION, note_name, names),
		0);
	assert_string_equal(names, leases);
}

static void remove_files(const struct lending *lending, const char *kind)
{
	char command[160];

	snprintf(command, sizeof(command), "rm %s/%s/*.json", lending->broker->state_directory,
		kind);
	assert_int_equal(system(command), 0); /* NOLINT(cert-env33-c) */
}

static void end(struct lending *lending, const struct group *group)
{
	broker_end(lending->broker, lending->lease, "it was enough");
	wait_for(lending, group->owner == OWNER_NONE && group_is_free(lending->broker, group));
}

/* The file of the last record is the next one's draft. */
static void test_records(void **state)
{
	struct lending *lending = *state;
	/* The first is taken from the host, and leaves no draft. */
	struct group *group = lend(lending, getpid(), false);

	end(lending, group);
	lending->broker->keep_seconds = 1000;
	lend(lending, getpid(), false);
	assert_recorded(lending, "L2");
	end(lending, group);
	remove_files(lending, LEASE_RECORDS);
	lend(lending, getpid(), false);
	assert_recorded(lending, "L3");
	end(lending, group);
	assert_recorded(lending, "");

	/* While the lease has it, and is no draft: the next one's is a file of its own again. */
	lend(lending, getpid(), false);
	remove_files(lending, LEASE_RECORDS);
	end(lending, group);
	lend(lending, getpid(), false);
	assert_recorded(lending, "L5");
	end(lending, group);
	assert_recorded(lending, "");
}

/* What a lease on a group that stays taken leaves in the journal is what was there before. */
static void test_journal(void **state)
{
	struct lending *lending = *state;
	struct group *group = lend(lending, getpid(), false);

	end(lending, group);
	assert_true(journal_stands(lending->broker->state_directory, 1));
	lend(lending, getpid(), false);
	end(lending, group);
	remove_files(lending, "journal");
	lend(lending, getpid(), false);
	end(lending, group);
	assert_true(journal_stands(lending->broker->state_directory, 1));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_records, set_up, lending_tear_down),
		cmocka_unit_test_setup_teardown(test_journal, set_up, lending_tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
