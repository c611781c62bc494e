/*
 * "Any of this kind": who gets which group, who waits for whom, and what that costs, in a broker
 * without children and without a kernel (tests/fuzz/fake-job.h).
 */
#include "tests/unit/broker/bare-broker.h"

#include "daemon/lease/wish.h"

/* A client, and what it has heard. */
struct client {
	struct lease *lease; /* NULL: it is no more */
	bool is_granted;
	int groups[4];
	size_t n_groups, position;
	char selected[64]; /* of the first selector */
	struct refusal refusal;
};

static void add(struct bare *bench, int number, uint16_t product, uint32_t class, int node)
{
	struct group *group = inventory_group(bench->inventory, number);
	char name[32];

	snprintf(name, sizeof(name), "%04x:%02x:%02x.%zu", number >> 8, number & 255, product & 31,
		group ? group->n_devices : 0);
	struct device *device = bare_device(bench, number, name, &group);
	device->vendor = 0x8086;
	device->product = product;
	device->class = class;
	device->numa_node = node;
	assert_int_equal(index_add_device(bench->inventory, group, device), 0);
	const struct inventory_change change = {
		.event = DEVICE_ADDED, .group = group, .device = device
	};
	if (bench->broker)
		broker_on_inventory(&change, bench->broker);
}

/* All of a group leaves the host. */
static void vanish(struct bare *bench, int number)
{
	struct group *group = group_hold(inventory_group(bench->inventory, number));
	struct device *device;

	while ((device = TAILQ_FIRST(&group->devices))) {
		index_remove_device(bench->inventory, device);
		inventory_tell(bench->inventory, DEVICE_REMOVED, group, device, NULL);
		device_free(device);
	}
	index_remove_group(bench->inventory, group);
	group_set_binding(bench->inventory, group, BINDING_GONE, NULL);
	inventory_tell(bench->inventory, GROUP_REMOVED, group, NULL, NULL);
	group_release(group);
	group_release(group);
}

#define RULE "[rule nics]\nmatch = pci:class=0200\nallow = user:1000\nallow = user:1001\n"
#define POOLS "[pool fast]\nmatch = pci:id=8086:0002\nmatch = pci:id=8086:0003\n"

static int set_up(void **state)
{
	struct bare *bench = calloc(1, sizeof(*bench));

	assert_non_null(bench);
	bare_begin(bench);
	add(bench, 1, 1, 0x020000, 0);
	add(bench, 2, 1, 0x020000, 1);
	add(bench, 3, 2, 0x020000, 0);
	add(bench, 4, 7, 0x030000, 0); /* a display, that no rule allows */
	fake_job_uses(0);
	fake_job_takes_fail(0);
	fake_job_hold(0, false);
	bare_serve(bench, RULE POOLS);
	*state = bench;
	return 0;
}

static int tear_down(void **state)
{
	struct bare *bench = *state;

	bare_assert_idle(bench);
	assert_int_equal(bench->broker->book.n_leases, 0);
	assert_int_equal(bench->broker->wishing.n, 0);
	bare_end(bench);
	free(bench);
	return 0;
}

/* --- clients ---------------------------------------------------------------------------------- */

static void on_queued(struct lease *lease, size_t position, void *userdata)
{
	(void)lease;
	((struct client *)userdata)->position = position;
}

static void on_granted(struct lease *lease, int *group_fds, void *userdata)
{
	struct client *client = userdata;

	(void)group_fds;
	client->is_granted = true;
	client->n_groups = lease->n_groups;
	for (size_t i = 0; i < lease->n_groups && i < ARRAY_SIZE(client->groups); i++)
		client->groups[i] = lease->groups[i]->number;
	if (lease->selected)
		snprintf(client->selected, sizeof(client->selected), "%s", lease->selected[0]);
}

static void on_refused(struct lease *lease, const struct refusal *refusal, void *userdata)
{
	struct client *client = userdata;

	(void)lease;
	client->refusal = *refusal;
	client->lease = NULL;
}

static void on_ended(struct lease *lease, const char *reason, void *userdata)
{
	(void)lease;
	(void)reason;
	((struct client *)userdata)->lease = NULL;
}

static const struct lease_listener listener = {
	.queued = on_queued,
	.granted = on_granted,
	.refused = on_refused,
	.ended = on_ended,
};

/* "any pci:id=8086:0001", "near 1 …", "pool fast", "group 3", separated by ';'. */
static struct wishes *wishes_of(struct bare *bench, const char *text)
{
	char *copy = strdup(text), *rest = copy, *part;
	struct wishes *wishes = wishes_new(8);

	while ((part = strsep(&rest, ";"))) {
		struct wish *wish = &wishes->all[wishes->n++];
		struct refusal refusal;
		wish->near_node = ANYWHERE;
		if (strncmp(part, "near ", 5) == 0) {
			wish->near_node = part[5] - '0';
			part += 7;
		}
		if (strncmp(part, "group ", 6) == 0) {
			wish->group = group_hold(inventory_group(bench->inventory, atoi(part + 6)));
			continue;
		}
		wishes->n_described++;
		if (strncmp(part, "pool ", 5) == 0) {
			wish->pool = strdup(part + 5);
			continue;
		}
		assert_int_equal(
			match_parse(part + 4, &wish->matches, &wish->n_matches, &refusal), 0);
		snprintf(wish->text, sizeof(wish->text), "%s", part + 4);
	}
	free(copy);
	return wishes;
}

static int ask_as(
	struct bare *bench, uid_t uid, struct client *client, const char *text, double wait)
{
	struct subject subject = { .uid = uid, .process_uid = uid, .pid = getpid() };
	struct group *groups[8];
	struct acquire_request request = {
		.subject = &subject,
		.groups = groups,
		.wishes = wishes_of(bench, text),
		.wait_seconds = wait,
		.brokered = true,
		.holder_pidfd = -1,
		.listener = &listener,
		.userdata = client,
	};

	*client = (struct client){ .position = 999 };
	request.n_groups = wishes_named(request.wishes, groups);
	return broker_acquire(bench->broker, &request, &client->lease, &client->refusal);
}

static void ask(struct bare *bench, struct client *client, const char *text, double wait)
{
	int r = ask_as(bench, 1000, client, text, wait);
	if (r != 0)
		fail_msg("%s: %s", text, client->refusal.text);
	bare_go_round(bench);
}

static void ask_in_vain(
	struct bare *bench, const char *text, enum refusal_kind kind, const char *words)
{
	struct client client;

	if (ask_as(bench, 1000, &client, text, 0) == 0) {
		bare_go_round(bench);
		assert_null(client.lease);
	}
	assert_int_equal(client.refusal.kind, kind);
	if (!strstr(client.refusal.text, words))
		fail_msg("'%s' in: %s", words, client.refusal.text);
}

static void end(struct bare *bench, struct client *client)
{
	assert_non_null(client->lease);
	broker_end(bench->broker, client->lease, "the test goes on");
	client->lease = NULL;
	bare_go_round(bench);
}

static void assert_has(const struct client *client, int group)
{
	assert_true(client->is_granted);
	assert_int_equal(client->n_groups, 1);
	assert_int_equal(client->groups[0], group);
}

static void assert_waits(const struct client *client, size_t position)
{
	assert_non_null(client->lease);
	assert_false(client->is_granted);
	assert_int_equal(client->position, position);
}

/* --- what is chosen --------------------------------------------------------------------------- */

static void test_any_that_is_free(void **state)
{
	struct bare *bench = *state;
	struct client a, b, c;

	ask(bench, &a, "any pci:class=02", 0);
	assert_has(&a, 1);
	assert_string_equal(a.selected, "0000:01:01.0");
	ask(bench, &b, "any pci:class=02", 0);
	assert_has(&b, 2);
	ask(bench, &c, "pool fast", 0);
	assert_has(&c, 3);
	ask_in_vain(bench, "any pci:class=02", REFUSAL_GROUP_BUSY, "somebody else has it");
	end(bench, &b);
	ask(bench, &b, "any bus:pci", 0);
	assert_has(&b, 2);
	end(bench, &a);
	end(bench, &b);
	end(bench, &c);
}

static void test_near(void **state)
{
	struct bare *bench = *state;
	struct client a, b;

	ask(bench, &a, "near 1 any pci:class=02", 0);
	assert_has(&a, 2);
	ask(bench, &b, "near 1 any pci:class=02", 0);
	assert_has(&b, 1);
	end(bench, &a);
	end(bench, &b);
}

static void test_what_nobody_could_have(void **state)
{
	struct bare *bench = *state;
	struct client a;

	ask_in_vain(
		bench, "any pci:id=dead:beef", REFUSAL_NO_SUCH_DEVICE, "no device of this host");
	ask_in_vain(bench, "any pci:class=03", REFUSAL_ACCESS_DENIED, "no rule matches");
	ask_in_vain(bench, "pool slow", REFUSAL_NO_SUCH_POOL, "none of this name");
	ask_in_vain(bench, "any pci:id=8086:0002;pool fast", REFUSAL_NO_SUCH_DEVICE, "not enough");
	ask_in_vain(bench, "group 3;pool fast", REFUSAL_NO_SUCH_DEVICE, "not enough");
	assert_int_equal(ask_as(bench, 1002, &a, "any pci:class=02", 60), REFUSED);
	assert_int_equal(a.refusal.kind, REFUSAL_ACCESS_DENIED);
	assert_non_null(strstr(a.refusal.text, "any of the 2 other groups"));
	/* An administrator needs no rule. */
	assert_int_equal(ask_as(bench, 0, &a, "any pci:class=03", 0), 0);
	bare_go_round(bench);
	assert_has(&a, 4);
	end(bench, &a);
}

static void test_several_all_or_none(void **state)
{
	struct bare *bench = *state;
	struct client a, b;

	ask(bench, &a, "any pci:class=02;any pci:id=8086:0001;group 3", 0);
	assert_true(a.is_granted);
	assert_int_equal(a.n_groups, 3);
	assert_int_equal(a.groups[2], 3);
	end(bench, &a);
	/* Whichever order: the only one for the second is left to it. */
	ask(bench, &a, "any pci:class=02;any pci:address=0000:01:01.0", 0);
	assert_int_equal(a.groups[0], 2);
	assert_int_equal(a.groups[1], 1);
	ask_in_vain(bench, "any pci:class=02;any pci:class=02", REFUSAL_GROUP_BUSY, "");
	ask(bench, &b, "any pci:class=02", 0);
	assert_has(&b, 3);
	end(bench, &a);
	end(bench, &b);
}

static void test_what_the_host_uses_is_passed_over(void **state)
{
	struct bare *bench = *state;
	struct client a, b;
	unsigned journalled = fake_journal_writes();

	fake_job_uses(1U << 1 | 1U << 2);
	ask(bench, &a, "any pci:class=02", 0);
	assert_has(&a, 3);
	ask_in_vain(bench, "any pci:id=8086:0001", REFUSAL_DEVICE_IN_USE, "last of 2 that were");
	/* With one that somebody has, there is something to wait for. */
	ask(bench, &b, "any pci:class=02", 60);
	assert_waits(&b, 0);
	ask_in_vain(bench, "any pci:class=02", REFUSAL_DEVICE_IN_USE, "has an address");
	end(bench, &a);
	assert_has(&b, 3);
	end(bench, &b);
	/* One that is named is not passed over. */
	ask_in_vain(bench, "group 1;any pci:class=02", REFUSAL_DEVICE_IN_USE, "has an address");
	fake_job_uses(1U << 3);
	ask(bench, &a, "group 1;pool fast;any pci:class=02", 0);
	assert_null(a.lease);
	assert_int_equal(a.refusal.kind, REFUSAL_DEVICE_IN_USE);
	assert_true(fake_journal_writes() > journalled);
}

/* All goes back, and then it is another one; each once, and not for ever. */
static void test_what_cannot_be_taken_is_passed_over(void **state)
{
	struct bare *bench = *state;
	struct client a, b, c;

	fake_job_takes_fail(1U << 1);
	ask(bench, &a, "any pci:class=02", 0);
	assert_has(&a, 2);
	assert_string_equal(a.selected, "0000:02:01.0");
	/* One that waits is the next to have what it could not get. */
	ask(bench, &b, "any pci:id=8086:0001", 60);
	assert_waits(&b, 0);
	ask(bench, &c, "any pci:id=8086:0001", 60);
	end(bench, &a);
	assert_has(&b, 2);
	assert_waits(&c, 0);
	end(bench, &b);
	assert_has(&c, 2);
	end(bench, &c);
	/* All or none of two. */
	ask(bench, &a, "any pci:id=8086:0001;pool fast", 0);
	assert_true(a.is_granted);
	assert_int_equal(a.n_groups, 2);
	assert_int_equal(a.groups[0], 2);
	assert_int_equal(a.groups[1], 3);
	end(bench, &a);
	ask_in_vain(bench, "group 1;pool fast", REFUSAL_TAKE_FAILED, "does not work");

	fake_job_takes_fail(~0ULL);
	ask_in_vain(bench, "any pci:class=02", REFUSAL_TAKE_FAILED, "last of 3 that were tried");
	for (int number = 10; number < 20; number++)
		add(bench, number, 1, 0x020000, 0);
	ask_in_vain(bench, "any pci:class=02", REFUSAL_TAKE_FAILED, "last of 4 that were tried");
	fake_job_takes_fail(0);
}

/* While it is looked at, and while it is taken. */
static void test_what_leaves_is_passed_over(void **state)
{
	struct bare *bench = *state;
	struct client a, b;

	for (int phase = 0; phase < 2; phase++) {
		fake_job_hold(1U << 1, phase == 1);
		ask(bench, &a, "any pci:class=02;pool fast", 0);
		assert_non_null(a.lease);
		assert_false(a.is_granted);
		vanish(bench, 1);
		bare_go_round(bench);
		fake_job_hold(0, false);
		bare_go_round(bench);
		assert_true(a.is_granted);
		assert_int_equal(a.n_groups, 2);
		assert_int_equal(a.groups[0], 2);
		assert_int_equal(a.groups[1], 3);
		end(bench, &a);
		add(bench, 1, 1, 0x020000, 0);
	}

	/* One that waits has a place for what comes again. */
	ask(bench, &a, "group 2", 0);
	fake_job_hold(1U << 1, true);
	ask(bench, &b, "any pci:id=8086:0001", 60);
	vanish(bench, 1);
	fake_job_hold(0, false);
	bare_go_round(bench);
	assert_waits(&b, 0);
	add(bench, 1, 1, 0x020000, 0);
	bare_go_round(bench);
	assert_has(&b, 1);
	end(bench, &a);
	end(bench, &b);

	fake_job_hold(1U << 3, true);
	ask(bench, &a, "pool fast", 60);
	vanish(bench, 3);
	fake_job_hold(0, false);
	bare_go_round(bench);
	assert_null(a.lease);
	assert_int_equal(a.refusal.kind, REFUSAL_NO_SUCH_GROUP);
}

/* It is not chosen for anew who has gone while what was chosen could not be had. */
static void test_who_has_gone_gets_nothing(void **state)
{
	struct bare *bench = *state;
	struct client a;

	for (int phase = 0; phase < 2; phase++) {
		if (phase == 0)
			fake_job_uses(1U << 1);
		else
			fake_job_takes_fail(1U << 1);
		fake_job_hold(1U << 3, phase == 1);
		ask(bench, &a, "any pci:id=8086:0001;pool fast", 0);
		bare_go_round(bench);
		assert_non_null(a.lease);
		assert_false(a.is_granted);
		broker_disconnect(bench->broker, a.lease);
		fake_job_hold(0, false);
		bare_assert_idle(bench);
		assert_false(a.is_granted);
		fake_job_uses(0);
		fake_job_takes_fail(0);
	}
}

/* --- who waits -------------------------------------------------------------------------------- */

static void test_first_come_first_served(void **state)
{
	struct bare *bench = *state;
	struct client a, b, c, d, e;

	ask(bench, &a, "any pci:id=8086:0001;any pci:id=8086:0001", 0);
	assert_true(a.is_granted);
	ask(bench, &b, "any pci:id=8086:0001", 60);
	assert_waits(&b, 0);
	ask(bench, &c, "group 1", 60);
	assert_waits(&c, 1);
	ask(bench, &d, "any pci:id=8086:0001", 60);
	assert_waits(&d, 2);
	/* What nobody waits for is not in the way. */
	ask(bench, &e, "any pci:class=02", 60);
	assert_has(&e, 3);
	end(bench, &a);
	/* Two were freed at once: b has the better one, c wants that, d has the other. */
	assert_has(&b, 1);
	assert_waits(&c, 0);
	assert_has(&d, 2);
	end(bench, &b);
	assert_has(&c, 1);
	end(bench, &c);
	end(bench, &d);
	end(bench, &e);
}

/* It keeps what there is of it from those behind, and only that. */
static void test_who_wants_two_is_not_starved(void **state)
{
	struct bare *bench = *state;
	struct client a, b, c, d, e;

	ask(bench, &a, "group 1", 0);
	ask(bench, &b, "group 3", 0);
	ask(bench, &c, "any pci:id=8086:0001;any pci:id=8086:0001", 60);
	assert_waits(&c, 0);
	ask(bench, &d, "group 2", 60);
	assert_waits(&d, 1);
	ask(bench, &e, "pool fast", 60);
	assert_waits(&e, 0);
	ask_in_vain(bench, "any pci:class=02", REFUSAL_GROUP_BUSY, "");
	end(bench, &b);
	assert_has(&e, 3);
	assert_waits(&c, 0);
	end(bench, &a);
	assert_true(c.is_granted);
	assert_waits(&d, 0);
	end(bench, &c);
	assert_has(&d, 2);
	end(bench, &d);
	end(bench, &e);
}

static void test_who_gives_up_makes_room(void **state)
{
	struct bare *bench = *state;
	struct client a, b, c;

	ask(bench, &a, "group 1", 0);
	ask(bench, &b, "any pci:address=0000:01:01.0;any pci:address=0000:02:01.0", 60);
	ask(bench, &c, "any pci:address=0000:02:01.0", 60);
	assert_waits(&b, 0);
	assert_waits(&c, 1);
	broker_end(bench->broker, b.lease, "it does not want any more");
	bare_go_round(bench);
	assert_has(&c, 2);
	end(bench, &a);
	end(bench, &c);
}

/* To who may have some of it, whoever has it now; and each request once. */
static void test_pools_are_counted(void **state)
{
	const struct subject somebody = { .uid = 1000, .process_uid = 1000 };
	const struct subject nobody = { .uid = 2000, .process_uid = 2000 }, root = { .uid = 0 };
	struct bare *bench = *state;
	const struct pool *pool = config_pool(bench->broker->config, "fast");
	const struct group *one = inventory_group(bench->inventory, 1);
	const struct group *three = inventory_group(bench->inventory, 3);
	struct client a, b, c, d;

	add(bench, 3, 3, 0x020000, 0);
	for (int turn = 0; turn < 2; turn++) {
		assert_int_equal(broker_n_pooled(bench->broker, &somebody, pool, three), 2);
		assert_int_equal(broker_n_pooled(bench->broker, &nobody, pool, three), 0);
		assert_int_equal(broker_n_pooled(bench->broker, &root, pool, three), 2);
		assert_int_equal(broker_n_pooled(bench->broker, &root, pool, one), 0);
		assert_int_equal(broker_n_waiting(bench->broker, "fast"), 0);
		if (turn == 0)
			ask(bench, &a, "pool fast", 0);
	}
	ask(bench, &b, "pool fast;any pci:class=02", 60);
	ask(bench, &c, "pool fast", 60);
	ask(bench, &d, "any pci:id=8086:0002", 60);
	assert_int_equal(broker_n_waiting(bench->broker, "fast"), 2);
	assert_int_equal(broker_n_waiting(bench->broker, "slow"), 0);
	end(bench, &a);
	assert_int_equal(broker_n_waiting(bench->broker, "fast"), 1);
	end(bench, &d);
	end(bench, &c);
	end(bench, &b);
}

static void test_new_devices_and_rules_wake(void **state)
{
	struct bare *bench = *state;
	struct client a, b, c;

	ask(bench, &a, "pool fast", 0);
	ask(bench, &b, "pool fast", 60);
	ask(bench, &c, "pool fast", 60);
	assert_waits(&c, 1);
	add(bench, 70, 3, 0x020000, 0);
	bare_go_round(bench);
	assert_has(&b, 70);
	/* It was of another kind, and is of theirs now. */
	broker_reconfigure(bench->broker,
		bare_configuration(bench, RULE "[pool fast]\nmatch = pci:class=02\n"));
	bare_go_round(bench);
	assert_has(&c, 1);
	end(bench, &a);
	end(bench, &b);
	end(bench, &c);
}

/* udev has given one a tag, or taken it away again: no device has come, and no rule has changed. */
static void set_tag(struct bare *bench, int number, const char *tag)
{
	struct group *group = inventory_group(bench->inventory, number);
	struct device *device = TAILQ_FIRST(&group->devices);

	device->tags = strv_free(device->tags);
	if (tag)
		assert_int_equal(strv_add(&device->tags, tag), 0);
	inventory_tell(bench->inventory, DEVICE_FACTS, group, device, NULL);
}

static void test_new_tags_wake(void **state)
{
	struct bare *bench = *state;
	struct client a, b;

	set_tag(bench, 1, "fast");
	ask(bench, &a, "any udev:tag=fast", 0);
	ask(bench, &b, "any udev:tag=fast", 60);
	assert_waits(&b, 0);
	set_tag(bench, 2, "fast");
	bare_go_round(bench);
	assert_has(&b, 2);
	end(bench, &b);
	ask(bench, &b, "any udev:tag=fast;any udev:tag=fast", 60);
	assert_waits(&b, 0);
	set_tag(bench, 2, NULL);
	bare_go_round(bench);
	assert_null(b.lease);
	assert_int_equal(b.refusal.kind, REFUSAL_NO_SUCH_DEVICE);
	/* The rule that covers it goes by a tag. */
	broker_reconfigure(
		bench->broker, bare_configuration(bench,
				       "[rule nics]\nmatch = udev:tag=lent\nallow = user:1000\n"));
	set_tag(bench, 3, "lent");
	bare_go_round(bench);
	end(bench, &a);
	set_tag(bench, 1, "lent");
	ask(bench, &a, "any pci:class=02", 0);
	assert_has(&a, 1);
	ask(bench, &b, "group 1", 60);
	assert_waits(&b, 0);
	set_tag(bench, 1, NULL);
	bare_go_round(bench);
	assert_null(b.lease);
	assert_int_equal(b.refusal.kind, REFUSAL_ACCESS_DENIED);
	end(bench, &a);
}

static void test_what_cannot_come_any_more(void **state)
{
	struct bare *bench = *state;
	struct client a, b, c;

	ask(bench, &a, "pool fast", 0);
	ask(bench, &b, "pool fast", 60);
	ask(bench, &c, "any pci:id=8086:0002", 60);
	broker_reconfigure(bench->broker, bare_configuration(bench, RULE));
	bare_go_round(bench);
	assert_null(b.lease);
	assert_int_equal(b.refusal.kind, REFUSAL_NO_SUCH_POOL);
	assert_waits(&c, 0);
	broker_reconfigure(
		bench->broker, bare_configuration(bench,
				       "[rule other]\nmatch = pci:class=03\nallow = user:1000\n"));
	bare_go_round(bench);
	assert_null(c.lease);
	assert_int_equal(c.refusal.kind, REFUSAL_ACCESS_DENIED);
	end(bench, &a);
}

/* What the last user may have left in it is seen when it is free. */
static void test_reset_required_is_passed_over(void **state)
{
	struct bare *bench = *state;
	struct client a, b, c;
	const struct group *group = inventory_group(bench->inventory, 1);

	TAILQ_FIRST(&group->devices)->reset_method[0] = '\0';
	ask(bench, &a, "group 1", 0);
	ask(bench, &c, "group 2", 0);
	assert_int_equal(ask_as(bench, 1001, &b, "any pci:id=8086:0001", 60), 0);
	bare_go_round(bench);
	assert_waits(&b, 0);
	end(bench, &a);
	assert_waits(&b, 0);
	end(bench, &c);
	assert_has(&b, 2);
	end(bench, &b);
}

/* The dry run: what would be chosen, without a lease. */
static void test_dry_choice(void **state)
{
	struct bare *bench = *state;
	struct subject subject = { .uid = 1000, .process_uid = 1000, .pid = getpid() };
	struct client a;
	struct group *groups[8];
	struct refusal refusal;
	size_t n;

	ask(bench, &a, "group 1", 0);
	struct wishes *wishes = wishes_of(bench, "any pci:class=02;group 3");
	assert_int_equal(broker_choose(bench->broker, &subject, wishes, groups, &n, &refusal), 0);
	assert_int_equal(n, 2);
	assert_int_equal(groups[0]->number, 2);
	assert_string_equal(wishes->selected[0], "0000:02:01.0");
	assert_string_equal(wishes->selected[1], "0000:03:02.0");
	wishes_free(wishes);
	/* Somebody has it: it would have to wait for that one. */
	wishes = wishes_of(bench, "any pci:address=0000:01:01.0");
	assert_int_equal(broker_choose(bench->broker, &subject, wishes, groups, &n, &refusal), 0);
	assert_int_equal(groups[0]->number, 1);
	wishes_free(wishes);
	end(bench, &a);
}

/* --- a thousand of each -------------------------------------------------------------------------
 */

enum { MANY = 1000 };

static void test_many(void **state)
{
	struct bare *bench = *state;
	struct client *holders = calloc(MANY, sizeof(*holders));
	struct client *waiters = calloc(MANY, sizeof(*waiters));
	unsigned long long steps, served;

	assert_true(holders && waiters);
	for (int i = 0; i < MANY; i++)
		add(bench, 1000 + i, 9, 0x020000, 0);
	bare_go_round(bench);
	for (int i = 0; i < MANY; i++)
		assert_int_equal(ask_as(bench, 1000, &holders[i], "any pci:id=8086:0009", 0), 0);
	bare_go_round(bench);
	for (int i = 0; i < MANY; i++)
		assert_true(holders[i].is_granted);
	for (int i = 0; i < MANY; i++) {
		assert_int_equal(ask_as(bench, 1000, &waiters[i], "any pci:id=8086:0009", 600), 0);
		assert_int_equal(waiters[i].position, i);
	}
	bare_go_round(bench);
	/* One is freed: the first has it, and each of the others was looked at a few times. */
	steps = bench->broker->n_steps;
	served = bench->broker->n_served;
	broker_end(bench->broker, holders[500].lease, "it is over");
	bare_go_round(bench);
	assert_has(&waiters[0], holders[500].groups[0]);
	assert_int_equal(waiters[1].position, 0);
	assert_int_equal(waiters[MANY - 1].position, MANY - 2);
	assert_true(bench->broker->n_served - served < 20 * MANY);
	assert_true(bench->broker->n_steps - steps <= MANY);
	/* A new one: no turn of the loop does more than its part of all. */
	add(bench, 3000, 9, 0x020000, 0);
	for (int i = 0; i < 200; i++) {
		steps = bench->broker->n_steps;
		ev_run(bench->loop, EVRUN_NOWAIT);
		assert_true(bench->broker->n_steps - steps < 30000);
	}
	assert_has(&waiters[1], 3000);
	for (int i = 0; i < MANY; i++)
		if (i != 500)
			broker_end(bench->broker, holders[i].lease, "it is over");
	for (int i = 0; i < 10; i++)
		bare_go_round(bench);
	for (int i = 0; i < MANY; i++) {
		assert_true(waiters[i].is_granted);
		broker_end(bench->broker, waiters[i].lease, "it is over");
	}
	for (int i = 0; i < 10; i++)
		bare_go_round(bench);
	free(holders);
	free(waiters);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(test_any_that_is_free),
		TEST(test_near),
		TEST(test_what_nobody_could_have),
		TEST(test_several_all_or_none),
		TEST(test_what_the_host_uses_is_passed_over),
		TEST(test_what_cannot_be_taken_is_passed_over),
		TEST(test_what_leaves_is_passed_over),
		TEST(test_who_has_gone_gets_nothing),
		TEST(test_first_come_first_served),
		TEST(test_who_wants_two_is_not_starved),
		TEST(test_who_gives_up_makes_room),
		TEST(test_pools_are_counted),
		TEST(test_new_devices_and_rules_wake),
		TEST(test_new_tags_wake),
		TEST(test_what_cannot_come_any_more),
		TEST(test_reset_required_is_passed_over),
		TEST(test_dry_choice),
		TEST(test_many),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
