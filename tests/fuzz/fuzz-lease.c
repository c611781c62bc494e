/*
 * The record of a lease, of the version in the first byte: what is understood is what it can be,
 * and is understood the same when it is written again.
 */
#include "daemon/base/record.h"
#include "daemon/base/util.h"
#include "daemon/broker/restoring-parts.h"
#include "tests/fuzz/fuzz.h"

#include <err.h>
#include <errno.h>
#include <string.h>

/* A description of it that is the same for what is the same. */
static char *describe(const struct lease_record *record)
{
	const struct subject *subject = &record->subject;
	char *text = NULL;
	size_t size;

	FILE *file = open_memstream(&text, &size);
	if (!file)
		err(1, "open_memstream");
	fprintf(file, "%s %s %s %d%d%d%d%d%d%d %u %.6f %ju %ju", record->name, record->token,
		record->account, record->stay, record->brokered, record->cdev, record->is_trusted,
		record->follows_process, record->is_stream, record->is_release_requested,
		record->connection, record->granted_at, (uintmax_t)record->memory_max_bytes,
		(uintmax_t)record->reserved_pages);
	for (int i = 0; i < 2; i++)
		fprintf(file, " %ju %ju", (uintmax_t)record->lock.own[i],
			(uintmax_t)record->lock.bytes[i]);
	fprintf(file, " %u %u %u %d %llu %s %s", subject->uid, subject->gid, subject->process_uid,
		(int)subject->pid, subject->start_ticks, subject->unit, subject->command);
	for (size_t i = 0; i < subject->n_groups; i++)
		fprintf(file, " %u", subject->groups[i]);
	for (size_t i = 0; i < record->n_groups; i++) {
		const struct group_mark *group = &record->groups[i];
		fprintf(file, "\n%d %ju", group->number, (uintmax_t)group->inode);
		for (size_t j = 0; group->devices && group->devices[j]; j++)
			fprintf(file, " %s", group->devices[j]);
	}
	if (fclose(file) != 0)
		err(1, "fclose");
	return text;
}

static void check(const struct lease_record *record)
{
	must(record->name[0] == 'L' && record->name[1], "a name: %s", record->name);
	must(strlen(record->token) == TOKEN_SIZE - 1, "a token: %s", record->token);
	must(record->granted_at >= 0, "granted at %f", record->granted_at);
	must(record->subject.pid >= 0, "pid %d", (int)record->subject.pid);
	for (size_t i = 0; i < record->n_groups; i++)
		must(record->groups[i].number >= 0, "group %d", record->groups[i].number);
}

/* --- a lease that is as the record says ------------------------------------------------------ */

static struct group *group_again(const struct group_mark *mark)
{
	struct group *group = calloc(1, sizeof(*group));

	if (!group)
		err(1, "no memory");
	group->number = mark->number;
	group->inode = mark->inode;
	TAILQ_INIT(&group->devices);
	for (size_t i = 0; mark->devices && mark->devices[i]; i++) {
		struct device *device = calloc(1, sizeof(*device));
		if (!device)
			err(1, "no memory");
		/* One that is cut is no device's name. */
		string_copy(device->name, sizeof(device->name), mark->devices[i]);
		strcpy(device->driver, "vfio-pci");
		TAILQ_INSERT_TAIL(&group->devices, device, of_group);
	}
	return group;
}

static void group_end(struct group *group)
{
	struct device *device;

	while ((device = TAILQ_FIRST(&group->devices))) {
		TAILQ_REMOVE(&group->devices, device, of_group);
		free(device);
	}
	free(group);
}

static bool has_long_names(const struct lease_record *record)
{
	for (size_t i = 0; i < record->n_groups; i++)
		for (size_t j = 0; record->groups[i].devices && record->groups[i].devices[j]; j++)
			if (strlen(record->groups[i].devices[j]) >= DEVICE_NAME_SIZE)
				return true;
	return false;
}

static void write_again(const struct lease_record *record, struct writing *writing)
{
	struct broker broker = { .loop = NULL };
	struct tenancy tenancy = { .broker = &broker };
	struct lease lease = {
		.subject = record->subject,
		.stay = record->stay,
		.brokered = record->brokered,
		.cdev = record->cdev,
		.is_trusted = record->is_trusted,
		.memory_max_bytes = record->memory_max_bytes,
		.granted_at = record->granted_at,
		.follows_process = record->follows_process,
		.connection = record->connection,
		.is_stream = record->is_stream,
		.is_release_requested = record->is_release_requested,
		.n_groups = record->n_groups,
		.tenancy = &tenancy,
	};

	TAILQ_INIT(&broker.holdings);
	strcpy(lease.name, record->name);
	strcpy(lease.token, record->token);
	strcpy(lease.account, record->account);
	lease.groups = calloc(record->n_groups + 1, sizeof(*lease.groups));
	if (!lease.groups)
		err(1, "no memory");
	for (size_t i = 0; i < record->n_groups; i++)
		lease.groups[i] = group_again(&record->groups[i]);
	lease_write(writing, &lease, &record->lock);
	must(!writing->has_failed, "%zu bytes", writing->length);
	for (size_t i = 0; i < record->n_groups; i++)
		group_end(lease.groups[i]);
	free(lease.groups);
}

static void read_again(const struct lease_record *record)
{
	_cleanup_writing_ struct writing writing = { 0 };
	struct lease_record again, expected = *record;
	struct json_object *json;
	const char *problem = NULL;

	write_again(record, &writing);
	must(record_parse(writing.bytes, writing.length, &json) == 0, "%.*s", (int)writing.length,
		writing.bytes);
	int r = lease_decode(json, LEASE_RECORD_VERSION, &again, &problem);
	must(r == 0, "%d: %s: %.*s", r, problem, (int)writing.length, writing.bytes);
	/* What it holds of a reservation is in no book here. And a microsecond is a fraction. */
	expected.reserved_pages = 0;
	double drift = expected.granted_at - again.granted_at;
	must(drift > -3e-6 && drift < 3e-6, "%f, %f", expected.granted_at, again.granted_at);
	expected.granted_at = again.granted_at;
	char *one = describe(&expected), *two = describe(&again);
	must(strcmp(one, two) == 0, "%s\n%s", one, two);
	free(one);
	free(two);
	json_object_put(json);
	lease_record_clear(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct json_object *json;
	struct lease_record record;
	const char *problem = NULL;
	int version = size > 0 && data[0] == '1' ? 1 : LEASE_RECORD_VERSION;

	/* What is no JSON object at all is record.c's, and fuzz-json's. */
	if (size == 0 || record_parse((const char *)data + 1, size - 1, &json) < 0)
		return 0;
	int r = lease_decode(json, version, &record, &problem);
	json_object_put(json);
	if (r != 0) {
		must(r == -EBADMSG && problem && *problem && fuzz_is_printable(problem), "%d", r);
		return 0;
	}
	check(&record);
	if (!has_long_names(&record))
		read_again(&record);
	lease_record_clear(&record);
	return 0;
}
