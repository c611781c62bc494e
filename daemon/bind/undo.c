#include "daemon/bind/undo.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Kept free at the end of the list for ", and 99 more". */
#define MORE_SIZE 16

void refusal_append(struct refusal *refusal, const char *format, ...)
{
	size_t used = strlen(refusal->text);
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(refusal->text + used, sizeof(refusal->text) - used, format, arguments);
	va_end(arguments);
}

static void describe_fault(
	const struct plan_member *member, const struct member_fault *fault, char *text, size_t size)
{
	if (fault->driver_missing)
		snprintf(text, size,
			"driver %s is not loaded: load its module, then write %s to "
			"/sys/bus/%s/drivers/%s/bind",
			member->host_driver, member->name, member->bus, member->host_driver);
	else
		snprintf(
			text, size, "%s: %s", bind_step_name(fault->step), strerror(fault->errnum));
}

/* Where the member has been left, as the kernel says now. */
static void describe_place(const struct transaction *transaction, const struct plan_member *member,
	char *text, size_t size)
{
	char driver[DRIVER_NAME_SIZE], override[DRIVER_NAME_SIZE];

	if (member_read_driver(transaction, member, driver) < 0)
		snprintf(text, size, "is on an unknown driver");
	else
		snprintf(text, size, "is on %s", *driver ? driver : "no driver");

	size_t used = strlen(text);
	if (member_read_override(transaction, member, override) < 0)
		snprintf(text + used, size - used, " with an unknown driver_override");
	else if (strcmp(override, member_home_override(transaction, member)) != 0)
		snprintf(text + used, size - used, " with driver_override %s",
			*override ? override : "cleared");

	used = strlen(text);
	snprintf(text + used, size - used, ", was on %s",
		*member->host_driver ? member->host_driver : "no driver");
}

/* Adds a member to the list: false if it does not fit with room left for how many do not. */
static bool list_add(const struct transaction *transaction, const struct plan_member *member,
	const struct member_fault *fault, char text[REFUSAL_TEXT_SIZE])
{
	char place[REFUSAL_TEXT_SIZE], reason[REFUSAL_TEXT_SIZE], entry[3 * REFUSAL_TEXT_SIZE];

	describe_place(transaction, member, place, sizeof(place));
	describe_fault(member, fault, reason, sizeof(reason));
	int n = snprintf(entry, sizeof(entry), "%s%s %s (%s)", *text ? "; " : "", member->name,
		place, reason);
	size_t used = strlen(text);
	if (n < 0 || used + (size_t)n + MORE_SIZE >= REFUSAL_TEXT_SIZE)
		return false;
	memcpy(text + used, entry, (size_t)n + 1);
	return true;
}

void undo_run(const struct transaction *transaction, size_t n, struct undo *undo)
{
	size_t n_unlisted = 0;

	*undo = (struct undo){ .n_faults = 0 };
	while (n-- > 0) {
		const struct plan_member *member = &transaction->plan->members[n];
		struct member_fault fault;

		if (!member_is_moved(transaction, member) ||
			member_restore(transaction, n, &fault) == 0)
			continue;
		if (undo->n_faults++ == 0) {
			undo->first = n;
			undo->fault = fault;
		}
		if (n_unlisted > 0 || !list_add(transaction, member, &fault, undo->text))
			n_unlisted++;
	}
	if (n_unlisted > 0) {
		size_t used = strlen(undo->text);
		snprintf(undo->text + used, sizeof(undo->text) - used, "%s%zu more",
			used > 0 ? ", and " : "", n_unlisted);
	}
}
