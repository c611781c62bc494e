/* A group of a lease into a space: it is opened by a child, and then the space's keeper has it. */
#include "daemon/base/log.h"
#include "daemon/base/util.h"
#include "daemon/broker/parts.h"

#include <errno.h>
#include <string.h>

struct attachment *attachment_of(struct broker *broker, const struct group *group)
{
	struct space_entry *entry;
	struct attachment *attachment;

	TAILQ_FOREACH (entry, &broker->spaces, of_broker)
		TAILQ_FOREACH (attachment, &entry->attachments, of_entry)
			if (attachment->group == group && attachment->state != ATTACHMENT_LINGERING)
				return attachment;
	return NULL;
}

static struct attachment *attachment_in(const struct space_entry *entry, int group)
{
	struct attachment *attachment;

	TAILQ_FOREACH (attachment, &entry->attachments, of_entry)
		if (attachment->group->number == group && attachment->state != ATTACHMENT_LINGERING)
			return attachment;
	return NULL;
}

size_t space_entry_groups(
	const struct space_entry *entry, struct attached_group *groups, size_t max)
{
	const struct attachment *attachment;
	size_t n = 0;

	TAILQ_FOREACH (attachment, &entry->attachments, of_entry) {
		/* Not in it yet. */
		if (attachment->state == ATTACHMENT_OPENING ||
			attachment->state == ATTACHMENT_ENTERING)
			continue;
		if (n < max)
			groups[n] = (struct attached_group){
				.group = attachment->group->number,
				.is_let_go = attachment->state == ATTACHMENT_LINGERING,
				.lease = attachment->lease,
			};
		n++;
	}
	return n;
}

void attachment_news(const struct attachment *attachment, const char *event, const char *text)
{
	struct broker_news news = {
		.event = event,
		.group = attachment->group->number,
		.lease = attachment->lease ? attachment->lease->name : NULL,
		.space = attachment->entry->name,
		.text = text,
	};
	broker_tell(attachment->entry->broker, &news);
}

void attachment_tell(struct attachment *attachment, int result, const struct refusal *refusal,
	unsigned container)
{
	attached_fn told = attachment->told;

	attachment->told = NULL;
	if (told)
		told(result, refusal, container, attachment->userdata);
}

void attaching_forget(struct space_entry *entry, void *userdata)
{
	struct attachment *attachment;

	TAILQ_FOREACH (attachment, &entry->attachments, of_entry)
		if (attachment->told && attachment->userdata == userdata)
			attachment->told = NULL;
}

/* --- its way in ---------------------------------------------------------------------------- */

static void refuse_leaving(const struct attachment *attachment, struct refusal *refusal)
{
	refuse(refusal, REFUSAL_INTERRUPTED, "the lease of group %d is over",
		attachment->group->number);
}

static void on_entered(struct space *space, const struct space_answer *answer, void *userdata)
{
	(void)space;
	struct attachment *attachment = userdata;
	struct refusal refusal;

	if (answer->result != 0) {
		attachment_tell(attachment, answer->result, answer->refusal, 0);
		attachment_out(attachment);
		return;
	}
	attachment->state = ATTACHMENT_INSIDE;
	attachment_news(attachment, "groupAttached", NULL);
	if (attachment->has_to_leave) {
		refuse_leaving(attachment, &refusal);
		attachment_tell(attachment, REFUSED, &refusal, 0);
		attachment_leave(attachment);
		return;
	}
	attachment_tell(attachment, 0, NULL, answer->container);
}

/* What the kernel keeps from all mappings; those of "direct-relaxable" it does not. */
static struct iova_range *reserved_ranges(const struct group *group, size_t *n_ranges)
{
	struct iova_range *ranges = calloc(group->n_reserved + 1, sizeof(*ranges));

	*n_ranges = 0;
	/* drivers/vfio/vfio_iommu_type1.c, vfio_iommu_resv_exclude */
	for (size_t i = 0; ranges && i < group->n_reserved; i++)
		if (strcmp(group->reserved[i].type, "direct-relaxable") != 0)
			ranges[(*n_ranges)++] = (struct iova_range){ group->reserved[i].first,
				group->reserved[i].last };
	return ranges;
}

/* Its devices that the kernel hands out. */
static const char **members_on_vfio(const struct group *group, size_t *n_members)
{
	const char **members = calloc(group->n_devices + 1, sizeof(*members));
	const struct device *device;

	*n_members = 0;
	if (!members)
		return NULL;
	TAILQ_FOREACH (device, &group->devices, of_group)
		if (device_on_vfio(device))
			members[(*n_members)++] = device->name;
	return members;
}

/* Without a descriptor, -1: would the space refuse it? */
static int enter(struct attachment *attachment, int group_fd, struct refusal *refusal)
{
	struct space_group group = {
		.number = attachment->group->number,
		.account = attachment->lease->account,
	};
	_cleanup_free_ struct iova_range *ranges =
		reserved_ranges(attachment->group, &group.n_reserved);
	_cleanup_free_ const char **members = members_on_vfio(attachment->group, &group.n_members);
	struct space *space = attachment->entry->space;
	const struct sysfs_ops *ops = attachment->entry->broker->ops;

	group.reserved = ranges;
	group.members = members;
	if (group_fd < 0)
		return ranges ? space_may_attach(space, &group, refusal) : -ENOMEM;
	if (ranges && members)
		return space_attach(space, &group, group_fd, on_entered, attachment, refusal);
	ops->close_group(ops->userdata, group_fd);
	return -ENOMEM;
}

/* First it is written down: whoever takes the space over has to know what may be in it. */
static int enter_recorded(struct attachment *attachment, int group_fd, struct refusal *refusal)
{
	struct space_entry *entry = attachment->entry;
	const struct sysfs_ops *ops = entry->broker->ops;

	string_copy(entry->account, sizeof(entry->account), attachment->lease->account);
	int r = entry->is_recorded ? space_entry_record(entry) : 0;
	if (r == 0)
		return enter(attachment, group_fd, refusal);
	ops->close_group(ops->userdata, group_fd);
	return r;
}

static void on_opened(
	struct job *job, int result, int *group_fd, const struct refusal *refusal, void *userdata)
{
	struct attachment *attachment = userdata;
	const struct sysfs_ops *ops = attachment->entry->broker->ops;
	struct refusal other;

	attachment->job = job_free(job);
	if (result == 0)
		attachments_opened(attachment->entry->broker, attachment->group);
	if (result == 0 && (attachment->has_to_leave || !attachment->lease)) {
		ops->close_group(ops->userdata, steal_fd(group_fd));
		refuse_leaving(attachment, &other);
		refusal = &other;
		result = REFUSED;
	}
	if (result == 0) {
		attachment->state = ATTACHMENT_ENTERING;
		result = enter_recorded(attachment, steal_fd(group_fd), &other);
		refusal = &other;
	}
	if (result == 0)
		return;
	attachment_tell(attachment, result, refusal, 0);
	attachment_end(attachment);
}

/* A holder keeps the kernel busy with it. The child goes on by itself, and closes what it gets. */
static void on_open_late(struct job *job, enum bind_step step, const char *device, void *userdata)
{
	struct attachment *attachment = userdata;
	struct refusal refusal;

	refuse(&refusal, REFUSAL_STUCK, "the kernel does not let go");
	refusal.group = attachment->group->number;
	refusal.step = step;
	string_copy(refusal.device, sizeof(refusal.device), device);
	attachment->job = job_free(job);
	attachment_tell(attachment, REFUSED, &refusal, 0);
	attachment_end(attachment);
}

static const struct job_listener open_listener = {
	.done = on_opened,
	.late = on_open_late,
};

/* May this lease's group go into a space? 0 or REFUSED. */
static int check_attach(struct broker *broker, const struct lease *lease, struct group *group,
	const struct holding *holding, struct refusal *refusal)
{
	if (!lease->brokered)
		return refuse(refusal, REFUSAL_ACCESS_DENIED,
			"lease %s was not acquired with mode brokered: its descriptors are with "
			"its client",
			lease->name);
	if (!group)
		return refuse(refusal, REFUSAL_ACCESS_DENIED, "the group is not of lease %s",
			lease->name);
	int r = group_is_usable(broker, group, refusal);
	if (r != 0)
		return r;
	if (attachment_of(broker, group) || !holding || holding->state != HOLDING_USED) {
		refuse_busy(broker, group, REFUSAL_GROUP_BUSY, refusal);
		return REFUSED;
	}
	return 0;
}

static struct group *group_of_lease(const struct lease *lease, int number)
{
	for (size_t i = 0; i < lease->n_groups; i++)
		if (lease->groups[i]->number == number)
			return lease->groups[i];
	return NULL;
}

static struct attachment *attachment_new(
	struct space_entry *entry, struct lease *lease, struct group *group)
{
	struct attachment *attachment = calloc(1, sizeof(*attachment));
	if (!attachment)
		return NULL;
	attachment->entry = entry;
	attachment->group = group_hold(group);
	attachment->lease = lease;
	attachment_init_again(attachment);
	TAILQ_INSERT_TAIL(&entry->attachments, attachment, of_entry);
	return attachment;
}

struct attachment *attachment_restore(
	struct space_entry *entry, struct lease *lease, struct group *group)
{
	struct attachment *attachment = attachment_new(entry, lease, group);
	struct holding *holding = lease ? holding_find(entry->broker, group) : NULL;

	if (!attachment)
		return NULL;
	attachment->state = ATTACHMENT_INSIDE;
	attachment->holding = holding;
	if (holding)
		holding->attachment = attachment;
	return attachment;
}

int group_attach(struct space_entry *entry, const struct subject *subject, const char *lease_token,
	int number, attached_fn attached, void *userdata, struct refusal *refusal)
{
	struct broker *broker = entry->broker;
	struct lease *lease = lease_book_by_token(&broker->book, lease_token);

	if (!lease || lease->state != LEASE_GRANTED || lease->subject.uid != subject->uid)
		return refuse(refusal, REFUSAL_NO_SUCH_LEASE, "no lease has this token");
	struct group *group = group_of_lease(lease, number);
	struct holding *holding = group ? holding_find(broker, group) : NULL;
	int r = check_attach(broker, lease, group, holding, refusal);
	if (r != 0 || !holding)
		return r;
	struct attachment *attachment = attachment_new(entry, lease, group);
	r = attachment ? enter(attachment, -1, refusal) : -ENOMEM;
	if (r == 0)
		r = attachment_job(attachment, JOB_OPEN, &open_listener);
	if (r != 0) {
		attachment_free(attachment);
		return r;
	}
	attachment->holding = holding;
	holding->attachment = attachment;
	attachment->told = attached;
	attachment->userdata = userdata;
	return 0;
}

int group_detach(struct space_entry *entry, int number, attached_fn detached, void *userdata,
	struct refusal *refusal)
{
	struct attachment *attachment = attachment_in(entry, number);

	if (!attachment || attachment->state == ATTACHMENT_OPENING) {
		refuse(refusal, REFUSAL_NOT_ATTACHED, "it is not attached");
		refusal->group = number;
		return REFUSED;
	}
	if (attachment->state != ATTACHMENT_INSIDE) {
		/* Another call attaches or detaches it. */
		refuse_busy(entry->broker, attachment->group, REFUSAL_GROUP_BUSY, refusal);
		return REFUSED;
	}
	return attachment_detach(attachment, detached, userdata, refusal);
}
