/* What vfiod's udev rule is told of a device that appears: whether it is claimed, and every way in
 * which a write must not happen or must not stay. The kernel is two attributes in memory. */
#include "daemon/broker/claim.h"

#include "daemon/base/util.h"
#include "daemon/bind/journal.h"
#include "tests/mock/testbed.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

struct bench {
	struct testbed *bed;
	char directory[32], configuration[64];
	char *first, *second; /* syspaths of one group */
	struct sysfs_ops ops;
	char override[DRIVER_NAME_SIZE], driver[DRIVER_NAME_SIZE];
	const char *races; /* the driver that has it when the override is written */
	bool returns;      /* the journal goes when the override is written */
	unsigned fails_at; /* the how-manieth operation, from 1; 0: none */
	unsigned n_ops, n_writes, n_probes;
};

static bool fails(struct bench *bench)
{
	return ++bench->n_ops == bench->fails_at;
}

static int fake_write(void *userdata, const char *path, const char *value)
{
	struct bench *bench = userdata;

	if (fails(bench))
		return -EIO;
	bench->n_writes++;
	if (strcmp(path, "/sys/bus/pci/drivers_probe") == 0) {
		assert_string_equal(value, strrchr(bench->first, '/') + 1);
		bench->n_probes++;
		return 0;
	}
	assert_string_equal(strrchr(path, '/'), "/driver_override");
	assert_memory_equal(path, bench->first, strlen(bench->first));
	if (bench->races)
		snprintf(bench->driver, sizeof(bench->driver), "%s", bench->races);
	if (bench->returns)
		journal_remove(bench->directory, 7);
	snprintf(bench->override, sizeof(bench->override), "%s",
		strcmp(value, "\n") == 0 ? "" : value);
	return 0;
}

static int fake_read(void *userdata, const char *path, char *buffer, size_t size)
{
	struct bench *bench = userdata;

	if (fails(bench))
		return -EIO;
	assert_string_equal(strrchr(path, '/'), "/driver_override");
	return snprintf(buffer, size, "%s", *bench->override ? bench->override : "(null)");
}

static int fake_read_link(void *userdata, const char *path, char *buffer, size_t size)
{
	struct bench *bench = userdata;

	/* A link that cannot be read is one that is not there. */
	bench->n_ops++;
	assert_string_equal(strrchr(path, '/'), "/driver");
	return *bench->driver ? snprintf(buffer, size, "%s", bench->driver) : -ENOENT;
}

static int setup(void **state)
{
	struct bench *bench = calloc(1, sizeof(*bench));
	assert_non_null(bench);
	snprintf(bench->directory, sizeof(bench->directory), "/tmp/vfiod-claim-XXXXXX");
	assert_non_null(mkdtemp(bench->directory));
	snprintf(bench->configuration, sizeof(bench->configuration), "%s/vfiod.conf",
		bench->directory);
	assert_int_equal(journal_init(bench->directory), 0);
	bench->bed = testbed_new();
	bench->first = testbed_add_pci(bench->bed, "0000:01:00.0", 7, "");
	bench->second = testbed_add_pci(bench->bed, "0000:01:00.1", 7, "e1000");
	bench->ops = (struct sysfs_ops){
		.userdata = bench,
		.write = fake_write,
		.read = fake_read,
		.read_link = fake_read_link,
	};
	*state = bench;
	return 0;
}

static int teardown(void **state)
{
	struct bench *bench = *state;
	char path[64];

	journal_remove(bench->directory, 7);
	snprintf(path, sizeof(path), "%s/journal", bench->directory);
	rmdir(path);
	unlink(bench->configuration);
	rmdir(bench->directory);
	free(bench->first);
	free(bench->second);
	testbed_free(bench->bed);
	free(bench);
	return 0;
}

static void configure(struct bench *bench, const char *text)
{
	assert_int_equal(file_write_atomic(bench->configuration, text, strlen(text)), 0);
	assert_int_equal(chmod(bench->configuration, 0644), 0);
}

#define BOOT "[rule a]\nmatch = pci:address=0000:01:00.0\ntake = boot\nallow = user:nobody-knows\n"

static int claim(struct bench *bench, char claimed[static DRIVER_NAME_SIZE])
{
	struct refusal refusal;

	bench->n_ops = bench->n_writes = bench->n_probes = 0;
	return claim_device(bench->configuration, bench->directory, bench->first, &bench->ops,
		claimed, &refusal);
}

static void assert_claim(struct bench *bench, const char *claimed, const char *override)
{
	char told[DRIVER_NAME_SIZE];
	assert_int_equal(claim(bench, told), 0);
	assert_string_equal(told, claimed);
	assert_string_equal(bench->override, override);
	assert_int_equal(bench->n_probes, *claimed ? 1 : 0);
}

static void test_rules(void **state)
{
	struct bench *bench = *state;

	configure(bench, "");
	assert_claim(bench, "", "");
	/* The other device of its group is covered by nothing, then by a rule for leases. */
	configure(bench, BOOT);
	assert_claim(bench, "", "");
	configure(bench, BOOT "[rule b]\nmatch = pci:address=0000:01:00.1\n");
	assert_claim(bench, "", "");
	assert_int_equal(bench->n_writes, 0);
	configure(bench, BOOT "[rule b]\nmatch = pci:address=0000:01:00.1\ntake = appear\n");
	assert_claim(bench, "vfio-pci", "vfio-pci");
	/* The same event once more. */
	assert_claim(bench, "vfio-pci", "vfio-pci");
	bench->override[0] = '\0';
	configure(bench, BOOT "whole-group = yes\ndriver = mlx5_vfio_pci\n");
	assert_claim(bench, "mlx5_vfio_pci", "mlx5_vfio_pci");
	/* appear is not boot. */
	bench->override[0] = '\0';
	configure(bench, "[rule a]\nmatch = bus:pci\ntake = appear\n");
	assert_claim(bench, "", "");
	/* Somebody else's. */
	snprintf(bench->override, sizeof(bench->override), "mine");
	configure(bench, BOOT "whole-group = yes\n");
	assert_claim(bench, "", "mine");
	assert_int_equal(bench->n_writes, 0);
}

static void test_left_alone(void **state)
{
	struct bench *bench = *state;
	char told[DRIVER_NAME_SIZE];
	struct refusal refusal;

	configure(bench, BOOT "whole-group = yes\n");
	/* A driver has come in the meantime. */
	bench->races = "e1000";
	assert_claim(bench, "", "");
	bench->races = NULL;
	testbed_set_driver(bench->bed, bench->first, "e1000");
	assert_claim(bench, "", "");
	assert_int_equal(bench->n_ops, 0);
	/* A device that has gone, and one without a group. */
	assert_int_equal(claim_device(bench->configuration, bench->directory,
				 "/sys/devices/nowhere", &bench->ops, told, &refusal),
		0);
	assert_string_equal(told, "");
	testbed_set_driver(bench->bed, bench->first, "");
	testbed_set_group(bench->bed, bench->first, -1);
	assert_claim(bench, "", "");
	assert_int_equal(bench->n_ops, 0);
}

static void test_errors(void **state)
{
	struct bench *bench = *state;
	char told[DRIVER_NAME_SIZE];

	configure(bench, "[rule a]\ntake = boot\n");
	assert_int_equal(claim(bench, told), REFUSED);
	configure(bench, BOOT "whole-group = yes\n");
	/* The reading, the writing, and in a race the clearing. */
	for (bench->fails_at = 1; bench->fails_at <= 2; bench->fails_at++) {
		assert_int_equal(claim(bench, told), -EIO);
		assert_string_equal(told, "");
		assert_string_equal(bench->override, "");
	}
	bench->races = "e1000";
	bench->fails_at = 4;
	assert_int_equal(claim(bench, told), -EIO);
	assert_string_equal(told, "");
}

static void write_journal(struct bench *bench, enum journal_phase phase, bool knows_it)
{
	struct journal_entry entry = { .phase = phase, .plan = plan_new(7, 1) };
	assert_non_null(entry.plan);
	struct plan_member *member = &entry.plan->members[0];
	snprintf(member->name, sizeof(member->name), "0000:01:00.%d", knows_it ? 0 : 1);
	snprintf(member->bus, sizeof(member->bus), "pci");
	member->syspath = strdup("/sys/devices/x");
	assert_int_equal(journal_write(bench->directory, &entry), 0);
	journal_entry_clear(&entry);
}

/* It comes to a group that is taken. */
static void test_joins(void **state)
{
	struct bench *bench = *state;

	configure(bench, "");
	write_journal(bench, JOURNAL_TAKEN, false);
	assert_claim(bench, PLAN_PARKED, PLAN_PARKED);
	bench->override[0] = '\0';
	write_journal(bench, JOURNAL_TAKING, false);
	assert_claim(bench, PLAN_PARKED, PLAN_PARKED);
	bench->override[0] = '\0';
	write_journal(bench, JOURNAL_RETURNING, false);
	assert_claim(bench, "", "");
	/* One that the daemon is at work on. */
	write_journal(bench, JOURNAL_TAKEN, true);
	assert_claim(bench, "", "");
	assert_int_equal(bench->n_writes, 0);
	/* Returned while it was written: nobody would come for it. */
	write_journal(bench, JOURNAL_TAKEN, false);
	bench->returns = true;
	char told[DRIVER_NAME_SIZE];
	assert_int_equal(claim(bench, told), 0);
	assert_string_equal(told, "");
	assert_string_equal(bench->override, "");
	assert_int_equal(bench->n_probes, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_rules, setup, teardown),
		cmocka_unit_test_setup_teardown(test_left_alone, setup, teardown),
		cmocka_unit_test_setup_teardown(test_errors, setup, teardown),
		cmocka_unit_test_setup_teardown(test_joins, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
