#include "daemon/bind/member.h"

#include "daemon/base/util.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* How often a driver that came in between is sent away again. */
#define MOVE_ATTEMPTS 3

void transaction_step(const struct transaction *transaction, enum bind_step step, int member)
{
	if (transaction->on_step)
		transaction->on_step(step, member, transaction->userdata);
}

__attribute__((format(printf, 2, 3))) static int path_format(
	char path[PATH_MAX], const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	int n = vsnprintf(path, PATH_MAX, format, arguments);
	va_end(arguments);
	return n < 0 || n >= PATH_MAX ? -ENAMETOOLONG : 0;
}

int member_read_driver(const struct transaction *transaction, const struct plan_member *member,
	char driver[DRIVER_NAME_SIZE])
{
	const struct sysfs_ops *ops = transaction->ops;
	char path[PATH_MAX];

	driver[0] = '\0';
	int r = path_format(path, "%s/driver", member->syspath);
	if (r == 0)
		r = ops->read_link(ops->userdata, path, driver, DRIVER_NAME_SIZE);
	if (r >= 0)
		return 0;
	driver[0] = '\0';
	return r == -ENOENT ? 0 : r;
}

/* The file shows "(null)" when there is none (drivers/pci/pci-sysfs.c, driver_override_show). */
int member_read_override(const struct transaction *transaction, const struct plan_member *member,
	char override[DRIVER_NAME_SIZE])
{
	const struct sysfs_ops *ops = transaction->ops;
	char path[PATH_MAX];

	override[0] = '\0';
	int r = path_format(path, "%s/driver_override", member->syspath);
	if (r == 0)
		r = ops->read(ops->userdata, path, override, DRIVER_NAME_SIZE);
	if (r < 0 || strcmp(override, "(null)") == 0)
		override[0] = '\0';
	return r < 0 ? r : 0;
}

/* Still in the plan's group? A device that left and came back has another, and is another's. */
static bool has_moved_on(const struct transaction *transaction, const struct plan_member *member)
{
	const struct sysfs_ops *ops = transaction->ops;
	char path[PATH_MAX], number[32], expected[32];

	snprintf(expected, sizeof(expected), "%d", transaction->plan->group);
	return path_format(path, "%s/iommu_group", member->syspath) == 0 &&
	       ops->read_link(ops->userdata, path, number, sizeof(number)) >= 0 &&
	       strcmp(number, expected) != 0;
}

static bool has_vanished(const struct transaction *transaction, const struct plan_member *member)
{
	const struct sysfs_ops *ops = transaction->ops;
	char path[PATH_MAX], uevent[4096];

	return path_format(path, "%s/uevent", member->syspath) == 0 &&
	       ops->read(ops->userdata, path, uevent, sizeof(uevent)) == -ENOENT;
}

/* Fills *fault from a step's error (negative errno): -1. */
static int fault_set(const struct transaction *transaction, const struct plan_member *member,
	enum bind_step step, int error, struct member_fault *fault)
{
	*fault = (struct member_fault){ .step = step, .errnum = -error };
	if (error == -ENOENT || error == -ENODEV)
		fault->vanished = has_vanished(transaction, member);
	if (fault->vanished)
		fault->errnum = ENODEV;
	return -1;
}

static int write_override(const struct transaction *transaction, size_t index, const char *override)
{
	const struct plan_member *member = &transaction->plan->members[index];
	const struct sysfs_ops *ops = transaction->ops;
	char path[PATH_MAX];

	transaction_step(transaction, STEP_OVERRIDE, (int)index);
	int r = path_format(path, "%s/driver_override", member->syspath);
	/* An empty write is ignored, a lone newline clears (drivers/base/driver.c,
	 * driver_set_override). */
	return r < 0 ? r : ops->write(ops->userdata, path, *override ? override : "\n");
}

static int write_unbind(const struct transaction *transaction, size_t index)
{
	const struct plan_member *member = &transaction->plan->members[index];
	const struct sysfs_ops *ops = transaction->ops;
	char path[PATH_MAX];

	transaction_step(transaction, STEP_UNBIND, (int)index);
	int r = path_format(path, "%s/driver/unbind", member->syspath);
	return r < 0 ? r : ops->write(ops->userdata, path, member->name);
}

/*
 * The driver's own bind file, not the bus's drivers_probe: that one succeeds when nothing was
 * bound, this one says why (drivers/base/bus.c: bind_store, drivers_probe_store). ENODEV: the
 * driver does not match the device.
 */
static int write_bind(const struct transaction *transaction, size_t index, const char *driver)
{
	const struct plan_member *member = &transaction->plan->members[index];
	const struct sysfs_ops *ops = transaction->ops;
	char path[PATH_MAX];

	transaction_step(transaction, STEP_BIND, (int)index);
	int r = path_format(path, "/sys/bus/%s/drivers/%s/bind", member->bus, driver);
	return r < 0 ? r : ops->write(ops->userdata, path, member->name);
}

/* The driver's directory is not there: was its module unloaded? 0: it was, and is back. */
static int bring_driver(const struct transaction *transaction, size_t index, const char *driver)
{
	const struct sysfs_ops *ops = transaction->ops;

	transaction_step(transaction, STEP_MODULE, (int)index);
	return ops->load_module(ops->userdata, driver);
}

/* One way from `current` to `want`. 0: done or worth another look, then *fault says what was seen.
 */
static int move_once(const struct transaction *transaction, size_t index, const char *current,
	const char *want, struct member_fault *fault)
{
	const struct plan_member *member = &transaction->plan->members[index];

	if (*current) {
		int r = write_unbind(transaction, index);
		if (r < 0)
			fault_set(transaction, member, STEP_UNBIND, r, fault);
		/* The driver that we saw is no longer the device's: look again. */
		if (r == -ENOENT || r == -ENODEV)
			return fault->vanished ? -1 : 0;
		if (r < 0)
			return -1;
	}
	if (!*want)
		return 0;
	int r = write_bind(transaction, index, want);
	if (r == -ENOENT && !fault->driver_missing) {
		fault_set(transaction, member, STEP_BIND, r, fault);
		if (fault->vanished)
			return -1;
		/* Its module brings the driver, and perhaps the device to it at once. */
		fault->driver_missing = true;
		return bring_driver(transaction, index, want) < 0 ? -1 : 0;
	}
	if (r < 0) {
		bool missing = fault->driver_missing && r == -ENOENT;
		fault_set(transaction, member, STEP_BIND, r, fault);
		fault->driver_missing = missing;
	}
	/* Another driver was faster: look again. */
	return r < 0 && r != -EBUSY ? -1 : 0;
}

/*
 * Has the device on driver `want` ("": on none), and proves it by its driver link. Between an
 * unbind and a bind anybody may probe the device, so this goes by what it finds.
 */
static int member_move(const struct transaction *transaction, size_t index, const char *want,
	struct member_fault *fault)
{
	const struct plan_member *member = &transaction->plan->members[index];
	char current[DRIVER_NAME_SIZE];

	*fault = (struct member_fault){ .step = STEP_NONE };
	for (int attempt = 0;; attempt++) {
		enum bind_step step = attempt == 0 ? STEP_READ : STEP_VERIFY;
		transaction_step(transaction, step, (int)index);
		int r = member_read_driver(transaction, member, current);
		if (r < 0)
			return fault_set(transaction, member, step, r, fault);
		if (strcmp(current, want) == 0)
			return 0;
		if (attempt == MOVE_ATTEMPTS)
			break;
		if (move_once(transaction, index, current, want, fault) < 0)
			return -1;
	}
	if (fault->step != STEP_NONE)
		return -1;
	return fault_set(transaction, member, STEP_VERIFY, *current ? -EBUSY : -ENODEV, fault);
}

bool member_is_moved(const struct transaction *transaction, const struct plan_member *member)
{
	return plan_member_moves(member) && (member->joins || !transaction->joins);
}

const char *member_home_override(
	const struct transaction *transaction, const struct plan_member *member)
{
	return transaction->returns && *member->claim ? "" : member->host_override;
}

/*
 * What the host would do with it is not known of a device that vfiod's udev rule was in time for,
 * of one that has only just come, nor of one that came without a driver to a group whose DMA has an
 * owner: the kernel refuses to probe it there (drivers/iommu/iommu.c,
 * iommu_device_use_default_domain).
 */
static void note_origin(const struct transaction *transaction, struct plan_member *member)
{
	if (strcmp(member->claim, member->host_override) != 0)
		member->claim[0] = '\0';
	bool has_host_driver = *member->host_driver &&
			       !(*member->claim && strcmp(member->host_driver, member->claim) == 0);
	member->host_probes =
		!has_host_driver && (*member->claim || transaction->joins || member->is_new);
}

int member_inspect(const struct transaction *transaction, size_t index, struct member_fault *fault)
{
	struct plan_member *member = &transaction->plan->members[index];

	transaction_step(transaction, STEP_READ, (int)index);
	if (has_moved_on(transaction, member)) {
		*fault = (struct member_fault){
			.step = STEP_READ, .errnum = ENODEV, .vanished = true
		};
		return -1;
	}
	int r = member_read_driver(transaction, member, member->host_driver);
	if (r < 0)
		return fault_set(transaction, member, STEP_READ, r, fault);
	r = member_read_override(transaction, member, member->host_override);
	if (r == -ENOENT)
		/* A bus without the file: known before the first write that would have failed. */
		return fault_set(transaction, member, STEP_OVERRIDE, r, fault);
	if (r < 0)
		return fault_set(transaction, member, STEP_READ, r, fault);
	note_origin(transaction, member);
	member->known = true;
	return 0;
}

/* "" = none */
static const char *driver_when_taken(const struct plan_member *member)
{
	return member->action == PLAN_BIND ? member->target : "";
}

int member_take(const struct transaction *transaction, size_t index, struct member_fault *fault)
{
	const struct plan_member *member = &transaction->plan->members[index];

	/* vfiod's udev rule may have done it. */
	bool is_claimed = *member->claim && strcmp(member->claim, member->target) == 0;
	int r = is_claimed ? 0 : write_override(transaction, index, member->target);
	if (r < 0)
		return fault_set(transaction, member, STEP_OVERRIDE, r, fault);
	return member_move(transaction, index, driver_when_taken(member), fault);
}

int member_verify(const struct transaction *transaction, size_t index, struct member_fault *fault)
{
	const struct plan_member *member = &transaction->plan->members[index];
	char driver[DRIVER_NAME_SIZE];

	transaction_step(transaction, STEP_VERIFY, (int)index);
	int r = member_read_driver(transaction, member, driver);
	if (r == 0 && strcmp(driver, driver_when_taken(member)) != 0)
		r = *driver ? -EBUSY : -ENODEV;
	return r < 0 ? fault_set(transaction, member, STEP_VERIFY, r, fault) : 0;
}

/* All drivers of the bus are asked; none may want it (drivers/base/bus.c, drivers_probe_store). */
static int write_probe(const struct transaction *transaction, size_t index)
{
	const struct plan_member *member = &transaction->plan->members[index];
	const struct sysfs_ops *ops = transaction->ops;
	char path[PATH_MAX];

	transaction_step(transaction, STEP_BIND, (int)index);
	int r = path_format(path, "/sys/bus/%s/drivers_probe", member->bus);
	return r < 0 ? r : ops->write(ops->userdata, path, member->name);
}

/* To whatever driver of the host wants it, or none. One that has it already keeps it. */
static int member_offer(
	const struct transaction *transaction, size_t index, struct member_fault *fault)
{
	const struct plan_member *member = &transaction->plan->members[index];
	char driver[DRIVER_NAME_SIZE];

	*fault = (struct member_fault){ .step = STEP_NONE };
	for (int attempt = 0; attempt <= MOVE_ATTEMPTS; attempt++) {
		transaction_step(transaction, STEP_READ, (int)index);
		int r = member_read_driver(transaction, member, driver);
		if (r < 0)
			return fault_set(transaction, member, STEP_READ, r, fault);
		if (!*driver) {
			r = write_probe(transaction, index);
			return r < 0 ? fault_set(transaction, member, STEP_BIND, r, fault) : 0;
		}
		if (strcmp(driver, member->target) != 0 && strcmp(driver, member->claim) != 0)
			return 0;
		if (move_once(transaction, index, driver, "", fault) < 0)
			return -1;
	}
	return fault_set(transaction, member, STEP_VERIFY, -EBUSY, fault);
}

/* What is right already is not written: it may be the very write that failed. */
static int restore_override(
	const struct transaction *transaction, size_t index, struct member_fault *fault)
{
	const struct plan_member *member = &transaction->plan->members[index];
	const char *home = member_home_override(transaction, member);
	char override[DRIVER_NAME_SIZE];

	int r = member_read_override(transaction, member, override);
	/* Of one that was not inspected only vfiod's own is known not to be the host's. */
	if (!member->known && (r < 0 || !*member->claim || strcmp(override, member->claim) != 0))
		return 0;
	if (r == 0 && strcmp(override, home) == 0)
		return 0;
	r = write_override(transaction, index, home);
	return r < 0 ? fault_set(transaction, member, STEP_OVERRIDE, r, fault) : 0;
}

/*
 * The override first: bind_store asks it before the driver's ids, so the host's driver would not
 * match while it names another.
 */
int member_restore(const struct transaction *transaction, size_t index, struct member_fault *fault)
{
	const struct plan_member *member = &transaction->plan->members[index];
	/* A rollback leaves a claim as it was found. Where no claim kept the host's drivers away,
	 * the take did, and they are owed their turn. */
	bool is_offered = member->host_probes &&
			  (transaction->returns || (!transaction->joins && !*member->claim));

	if (!member->known && !is_offered)
		return 0;
	transaction_step(transaction, STEP_READ, (int)index);
	if (has_moved_on(transaction, member))
		return 0;
	int r = restore_override(transaction, index, fault);
	if (r == 0 && is_offered)
		r = member_offer(transaction, index, fault);
	else if (r == 0)
		r = member_move(transaction, index, member->host_driver, fault);
	return r == 0 || fault->vanished ? 0 : -1;
}

int member_renew(const struct transaction *transaction, size_t index, struct member_fault *fault)
{
	const struct plan_member *member = &transaction->plan->members[index];
	char driver[DRIVER_NAME_SIZE];

	*fault = (struct member_fault){ .step = STEP_NONE };
	transaction_step(transaction, STEP_READ, (int)index);
	if (has_moved_on(transaction, member))
		return 0;
	int r = member_read_driver(transaction, member, driver);
	if (r < 0)
		fault_set(transaction, member, STEP_READ, r, fault);
	else if (strcmp(driver, member->target) == 0)
		r = member_move(transaction, index, "", fault);
	else if (*driver)
		return 0;
	if (r == 0)
		r = member_move(transaction, index, member->target, fault);
	return r == 0 || fault->vanished ? 0 : -1;
}
