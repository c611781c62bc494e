/*
 * Policy: may this subject have these devices, and how? Pure: no I/O.
 * Deny by default. The rights of all covering rules add up; the first covering
 * rule in file order names the account and the driver. A group is granted only if every
 * member that would be bound is covered (members left alone need no rule).
 */
#pragma once

#include "daemon/inventory/group.h"
#include "daemon/lease/config.h"
#include "daemon/lease/subject.h"

/* Does the match line hold for this device by itself (not through whole-group)? */
bool match_holds(const struct match *match, const struct device *device);

/* uid 0, or named by [daemon] admin. */
bool policy_is_admin(const struct config *config, const struct subject *subject);

struct verdict {
	const struct rule *rule; /* first covering rule of the first member that needs one;
				    borrowed, NULL for an administrator without a rule */
	bool stay;               /* any covering rule says so */
	bool trusted; /* of each member that needs one, a covering rule says so; an administrator */
};

/*
 * May `subject` lease `group`? `needs_rule` says of a member whether it has to be covered
 * (it would be bound, or is on VFIO already). 0 with *verdict, or REFUSED with ACCESS_DENIED:
 * device = the first member that no rule covers for this subject; the text says whether no
 * rule matches it at all, or none that allows this subject, and what to write where.
 * Administrators need no rule.
 */
int policy_check(const struct config *config, const struct subject *subject,
	const struct group *group, bool (*needs_rule)(const struct device *),
	struct verdict *verdict, struct refusal *refusal);

/*
 * What the account that pays for a group may have pinned: *limits become smaller where an [account]
 * section for `account` ("uid:1000", "alice") says so, or a rule that covers a member of the group
 * which needs one, for this subject. Begin with BYTE_LIMITS_NONE; for several groups, call it for
 * each. group NULL: the account's alone, and subject may be NULL.
 */
void policy_limits(const struct config *config, const struct subject *subject,
	const struct group *group, bool (*needs_rule)(const struct device *), const char *account,
	struct byte_limits *limits);

/*
 * Is who has the group and does not give it back when he is asked to be ended? As any rule says
 * that covers a member which needs one, and allows this subject; *seconds becomes smaller where one
 * gives him less time.
 */
bool policy_revoke(const struct config *config, const struct subject *subject,
	const struct group *group, bool (*needs_rule)(const struct device *), unsigned *seconds);

/*
 * If no IOMMU confines the group: does a rule say, of each of its devices, that this subject may
 * have it so? For an administrator a rule for anybody. 0, or REFUSED with ACCESS_DENIED.
 */
int policy_check_noiommu(const struct config *config, const struct subject *subject,
	const struct group *group, struct refusal *refusal);

/* How early the rules want this device to be taken: the earliest of those that cover it. */
enum take_when policy_take(const struct config *config, const struct device *device);
/*
 * The first member of the group that would have to be covered by a rule that takes it without a
 * lease, and is not; NULL: none.
 */
const struct device *policy_take_gap(const struct config *config, const struct group *group,
	bool (*needs_rule)(const struct device *));

/*
 * The first rule in file order that covers this device (itself, or whole-group through a
 * companion) for this subject; subject NULL: for anyone, also a rule without `allow`. NULL: none.
 */
const struct rule *policy_rule_for(
	const struct config *config, const struct subject *subject, const struct device *device);
/* Does this one, likewise? */
bool policy_rule_covers(
	const struct rule *rule, const struct subject *subject, const struct device *device);
/*
 * The rule whose driver, force and require-reset hold where this subject has the device: its own,
 * and for an administrator without one, what a rule for anybody says of the device. NULL: none.
 */
const struct rule *policy_deciding_rule(
	const struct config *config, const struct subject *subject, const struct device *device);
