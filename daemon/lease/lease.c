#include "daemon/lease/lease.h"

#include "daemon/base/text.h"
#include "daemon/base/util.h"
#include "daemon/inventory/inventory.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

void lease_book_init(struct lease_book *book)
{
	TAILQ_INIT(&book->leases);
	book->n_leases = 0;
	book->n_named = 0;
}

int token_make(char token[TOKEN_SIZE])
{
	static const char digits[] = "0123456789abcdef";
	unsigned char random[16];
	/* Up to 256 bytes come whole or not at all once the pool is ready: random(7). */
	if (getrandom(random, sizeof(random), 0) != sizeof(random))
		return errno ? -errno : -EIO;
	for (size_t i = 0; i < sizeof(random); i++) {
		token[2 * i] = digits[random[i] >> 4];
		token[2 * i + 1] = digits[random[i] & 15];
	}
	token[2 * sizeof(random)] = '\0';
	return 0;
}

static struct lease *lease_make(
	const struct subject *subject, struct group *const *groups, size_t n_groups)
{
	struct lease *lease = new_zeroed(sizeof(*lease));
	if (!lease)
		return NULL;
	lease->groups = new_zeroed((n_groups ? n_groups : 1) * sizeof(struct group *));
	if (!lease->groups || subject_copy(&lease->subject, subject) < 0) {
		free(lease->groups);
		free(lease);
		return NULL;
	}
	for (size_t i = 0; i < n_groups; i++)
		lease->groups[lease->n_groups++] = group_hold(groups[i]);
	lease->memory_max_bytes = UINT64_MAX;
	return lease;
}

static void lease_clear(struct lease *lease)
{
	for (size_t i = 0; i < lease->n_groups; i++)
		group_release(lease->groups[i]);
	free(lease->groups);
	group_set_clear(&lease->wanted);
	strv_free(lease->selected);
	subject_clear(&lease->subject);
	explicit_bzero(lease->token, sizeof(lease->token));
	free(lease);
}

/* Those before it anew, and `change` more (or less) before each behind it that competes with it. */
static void lease_count(struct lease_book *book, struct lease *lease, int change)
{
	struct lease *other;
	bool is_behind = false;

	lease->n_before = 0;
	TAILQ_FOREACH (other, &book->leases, of_book) {
		if (other == lease) {
			is_behind = true;
			if (change == 0)
				return;
		} else if (other->state == LEASE_QUEUED &&
			   group_set_meets(&lease->wanted, &other->wanted)) {
			if (is_behind)
				other->n_before += (size_t)change;
			else
				lease->n_before++;
		}
	}
}

static void lease_name(struct lease *lease, unsigned long long number)
{
	const char *end = lease->name + sizeof(lease->name);
	text_put_number(text_put(lease->name, end, "L"), end, number);
}

int lease_new(struct lease_book *book, const struct subject *subject, struct group *const *groups,
	size_t n_groups, struct lease **leasep)
{
	char token[TOKEN_SIZE];

	int r = token_make(token);
	if (r < 0)
		return r;
	struct lease *lease = lease_make(subject, groups, n_groups);
	if (!lease)
		return -ENOMEM;
	memcpy(lease->token, token, sizeof(token));
	lease->state = LEASE_QUEUED;
	lease_name(lease, ++book->n_named);
	for (size_t i = 0; i < n_groups; i++)
		if (group_set_add(&lease->wanted, groups[i]->number) == -ENOMEM) {
			lease_clear(lease);
			return -ENOMEM;
		}
	TAILQ_INSERT_TAIL(&book->leases, lease, of_book);
	book->n_leases++;
	lease_count(book, lease, 0);
	*leasep = lease;
	return 0;
}

int lease_restore(struct lease_book *book, const struct subject *subject, const char *name,
	const char *token, struct group *const *groups, size_t n_groups, struct lease **leasep)
{
	struct lease *lease = lease_make(subject, groups, n_groups);
	if (!lease)
		return -ENOMEM;
	unsigned long long number = strtoull(name + 1, NULL, 10);
	if (number > book->n_named)
		book->n_named = number;
	string_copy(lease->name, sizeof(lease->name), name);
	string_copy(lease->token, sizeof(lease->token), token);
	lease->state = LEASE_GRANTED;
	TAILQ_INSERT_TAIL(&book->leases, lease, of_book);
	book->n_leases++;
	*leasep = lease;
	return 0;
}

struct lease *lease_free(struct lease_book *book, struct lease *lease)
{
	if (!lease)
		return NULL;
	lease_leave_queue(book, lease, LEASE_ENDED);
	TAILQ_REMOVE(&book->leases, lease, of_book);
	book->n_leases--;
	lease_clear(lease);
	return NULL;
}

int lease_set_groups(struct lease *lease, struct group *const *groups, size_t n_groups)
{
	struct group **set = new_zeroed((n_groups ? n_groups : 1) * sizeof(*set));
	if (!set)
		return -ENOMEM;
	for (size_t i = 0; i < n_groups; i++)
		set[i] = group_hold(groups[i]);
	for (size_t i = 0; i < lease->n_groups; i++)
		group_release(lease->groups[i]);
	free(lease->groups);
	lease->groups = set;
	lease->n_groups = n_groups;
	return 0;
}

const char *lease_mode(const struct lease *lease)
{
	return lease->brokered ? "brokered" : lease->cdev ? "cdev" : "group";
}

bool lease_has_group(const struct lease *lease, const struct group *group)
{
	for (size_t i = 0; i < lease->n_groups; i++)
		if (lease->groups[i] == group)
			return true;
	return false;
}

void lease_drop_group(struct lease *lease, struct group *group)
{
	for (size_t i = 0; i < lease->n_groups; i++)
		if (lease->groups[i] == group) {
			memmove(lease->groups + i, lease->groups + i + 1,
				(lease->n_groups - i - 1) * sizeof(struct group *));
			lease->n_groups--;
			group_release(group);
			return;
		}
}

struct lease *lease_book_owner(const struct lease_book *book, const struct group *group)
{
	struct lease *lease;
	TAILQ_FOREACH (lease, &book->leases, of_book)
		if ((lease->state == LEASE_ACQUIRING || lease->state == LEASE_GRANTED) &&
			lease_has_group(lease, group))
			return lease;
	return NULL;
}

struct lease *lease_book_by_name(const struct lease_book *book, const char *name)
{
	struct lease *lease;
	TAILQ_FOREACH (lease, &book->leases, of_book)
		if (strcmp(lease->name, name) == 0)
			return lease;
	return NULL;
}

bool token_equal(const char *a, const char *b)
{
	unsigned char difference = 0;
	if (strlen(b) != strlen(a))
		return false;
	for (size_t i = 0; a[i]; i++)
		difference |= (unsigned char)(a[i] ^ b[i]);
	return difference == 0;
}

struct lease *lease_book_by_token(const struct lease_book *book, const char *token)
{
	struct lease *lease;
	TAILQ_FOREACH (lease, &book->leases, of_book)
		if (token_equal(lease->token, token))
			return lease;
	return NULL;
}

size_t lease_book_count(const struct lease_book *book, enum lease_state state)
{
	size_t n = 0;
	struct lease *lease;
	TAILQ_FOREACH (lease, &book->leases, of_book)
		n += lease->state == state;
	return n;
}

size_t lease_book_position(const struct lease *lease)
{
	return lease->n_before;
}

void lease_leave_queue(struct lease_book *book, struct lease *lease, enum lease_state state)
{
	if (lease->state != LEASE_QUEUED)
		return;
	lease_count(book, lease, -1);
	lease->n_before = 0;
	lease->state = state;
}

void lease_requeue(struct lease_book *book, struct lease *lease)
{
	lease->state = LEASE_QUEUED;
	lease_count(book, lease, 1);
}

void lease_want(struct lease_book *book, struct lease *lease, struct group_set *wanted)
{
	lease_count(book, lease, -1);
	group_set_clear(&lease->wanted);
	lease->wanted = *wanted;
	*wanted = (struct group_set){ 0 };
	lease_count(book, lease, 1);
}
