/* Groups come into containers and leave them; what fails leaves all as it was. */
#include "bench.h"

#include "daemon/base/util.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static bool is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

static int attach(struct bench *bench, uint32_t number, int fd, unsigned max_groups)
{
	memset(&bench->done, 0, sizeof(bench->done));
	return group_attach(&bench->keeping, number, fd, max_groups, &bench->done);
}

static int attach_new(struct bench *bench, uint32_t number)
{
	memset(&bench->done, 0, sizeof(bench->done));
	return group_attach_new(&bench->keeping, number, bench_fd(), &bench->done);
}

static int detach(struct bench *bench, uint32_t number, bool force)
{
	memset(&bench->done, 0, sizeof(bench->done));
	return group_detach(&bench->keeping, number, force, &bench->done);
}

static const struct fake_container *container_of(struct bench *bench, unsigned number)
{
	return &bench->fake.state.containers[bench->keeping.containers[number].handle];
}

static void test_containers_fill(void **state)
{
	struct bench *bench = *state;
	struct wire_info info;

	assert_int_equal(attach(bench, 10, bench_fd(), 2), WIRE_NEEDS_CONTAINER);
	assert_int_equal(attach_new(bench, 10), 0);
	assert_int_equal(bench->done.container, 0);
	assert_int_equal(attach(bench, 11, bench_fd(), 2), 0);
	assert_int_equal(bench->done.container, 0);
	/* It is full. */
	assert_int_equal(attach(bench, 12, bench_fd(), 2), WIRE_NEEDS_CONTAINER);
	assert_int_equal(attach_new(bench, 12), 0);
	assert_int_equal(bench->done.container, 1);
	assert_int_equal(attach(bench, 13, bench_fd(), 0), 0);
	assert_int_equal(bench->done.container, 0);
	assert_int_equal(container_of(bench, 0)->n_groups, 3);
	assert_int_equal(container_of(bench, 1)->n_groups, 1);

	assert_int_equal(container_info(&bench->keeping, 1, &info), 0);
	assert_int_equal(info.page_sizes, 4096);
	assert_int_equal(container_info(&bench->keeping, 2, &info), -ENOENT);
	assert_int_equal(container_info(&bench->keeping, UINT32_MAX, &info), -ENOENT);
	/* Numbers are not given twice. */
	assert_int_equal(attach(bench, 12, bench_fd(), 0), -EINVAL);
	assert_int_equal(attach_new(bench, 12), -EINVAL);
	assert_int_equal(attach_new(bench, 99), -EINVAL);
}

static void test_tried_in_each_container(void **state)
{
	struct bench *bench = *state;

	bench_attach_new(bench, 1);
	bench_attach_new(bench, 2);
	const struct fake_state before = bench->fake.state;

	/* EINVAL by all of them, then by the first. */
	int fd = bench_fd();
	bench->fake.refuses[fd] = -EINVAL;
	assert_int_equal(attach(bench, 3, fd, 0), WIRE_NEEDS_CONTAINER);
	assert_true(is_open(fd));
	assert_memory_equal(&bench->fake.state, &before, sizeof(before));
	assert_int_equal(attach_new(bench, 3), -EINVAL);
	assert_memory_equal(&bench->fake.state, &before, sizeof(before));
	assert_int_equal(detach(bench, 3, false), 0);
	assert_false(is_open(fd));

	fd = bench_fd();
	bench->fake.refuses[fd] = 0;
	bench->fake.n_calls = 0;
	bench->fake.fail_at = 1;
	bench->fake.error = -EINVAL;
	assert_int_equal(attach(bench, 3, fd, 0), 0);
	assert_int_equal(bench->done.container, 1);
	assert_int_equal(detach(bench, 3, false), 0);
	assert_int_equal(bench->done.n_groups, 1);
	assert_memory_equal(&bench->fake.state, &before, sizeof(before));

	/* Another error ends it at once. */
	fd = bench_fd();
	bench->fake.n_calls = 0;
	bench->fake.error = -EPERM;
	assert_int_equal(attach(bench, 3, fd, 0), -EPERM);
	assert_int_equal(bench->fake.n_calls, 1);
	assert_false(is_open(fd));
	assert_memory_equal(&bench->fake.state, &before, sizeof(before));
	assert_int_equal(detach(bench, 3, false), -ENOENT);
}

/* For every k: the k-th call of a replay fails. */
static void test_replay_is_all_or_none(void **state)
{
	struct bench *bench = *state;
	struct fake_io *fake = &bench->fake;
	int n_fds;

	bench_attach_new(bench, 1);
	for (uint32_t i = 1; i <= 4; i++)
		bench_map(bench, i, i, i * 3, i * 0x100000);
	assert_int_equal(attach(bench, 2, bench_fd(), 1), WIRE_NEEDS_CONTAINER);
	const struct fake_state before = fake->state;
	n_fds = count_fds();

	for (unsigned k = 1; k <= 5; k++) {
		fake->n_calls = 0;
		fake->fail_at = k;
		assert_int_equal(attach_new(bench, 2), -ENOMEM);
		assert_int_equal(bench->done.mapping, k == 1 ? 0 : k - 1);
		assert_memory_equal(&fake->state, &before, sizeof(before));
		assert_int_equal(count_fds(), n_fds);
		assert_int_equal(bench->keeping.containers[1].handle, -1);
	}
	fake->n_calls = 0;
	fake->fail_at = 3;
	fake->error = -EFAULT;
	assert_int_equal(attach_new(bench, 2), WIRE_CHANGED);
	assert_int_equal(bench->done.mapping, 2);
	assert_memory_equal(&fake->state, &before, sizeof(before));
	/* Frames of one of them are no longer those of the others. */
	fake->moved = bench_page(bench, 14);
	assert_int_equal(attach_new(bench, 2), WIRE_CHANGED);
	assert_int_equal(bench->done.mapping, 4);
	assert_memory_equal(&fake->state, &before, sizeof(before));
	assert_int_equal(count_fds(), n_fds);

	fake->moved = NULL;
	assert_int_equal(attach_new(bench, 2), 0);
	assert_int_equal(container_of(bench, 1)->n_mappings, 4);
	assert_memory_equal(container_of(bench, 1)->mappings, container_of(bench, 0)->mappings,
		sizeof(container_of(bench, 0)->mappings));
}

static void test_the_first_container(void **state)
{
	struct bench *bench = *state;

	assert_int_equal(bench_prepare(bench, 1, 0, 8, 0), 0);
	assert_int_equal(bench_prepare(bench, 2, 8, 8, 0x100000), 0);
	struct mapping *mapping = keeping_mapping(&bench->keeping, 1);
	assert_int_equal(mapping_make(&bench->keeping, mapping, &bench->done), 0);
	assert_false(mapping->is_made);
	/* Its frames may change as they like before somebody pins them. */
	bench->fake.moved_by = 1;
	assert_int_equal(mapping_read(&bench->keeping, mapping, &bench->done), 0);
	assert_int_equal(attach(bench, 1, bench_fd(), 0), WIRE_NEEDS_CONTAINER);
	assert_int_equal(attach_new(bench, 1), WIRE_CHANGED);
	assert_int_equal(bench->done.mapping, 2);
	assert_int_equal(
		mapping_read(&bench->keeping, keeping_mapping(&bench->keeping, 2), &bench->done),
		0);
	assert_int_equal(attach_new(bench, 1), 0);
	assert_true(mapping->is_made);
	assert_int_equal(container_of(bench, 0)->n_mappings, 2);

	/* With the last group nothing is pinned any more; and then it can begin again. */
	assert_int_equal(detach(bench, 1, false), 0);
	assert_int_equal(bench->done.n_groups, 0);
	assert_false(mapping->is_made);
	assert_int_equal(mapping_read(&bench->keeping, mapping, &bench->done), 0);
	mapping_unmake(&bench->keeping, mapping);
	mapping_forget(&bench->keeping, mapping);
	assert_int_equal(attach(bench, 1, bench_fd(), 0), WIRE_NEEDS_CONTAINER);
	assert_int_equal(attach_new(bench, 1), 0);
	assert_int_equal(container_of(bench, 0)->n_mappings, 1);
}

static void test_a_mapping_without_frames(void **state)
{
	struct bench *bench = *state;

	assert_int_equal(
		fallocate(bench->memory, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, PAGE), 0);
	assert_int_equal(bench_prepare(bench, 1, 0, 8, 0), WIRE_HOLES);
	assert_int_equal(attach(bench, 1, bench_fd(), 0), WIRE_NEEDS_CONTAINER);
	const struct fake_state before = bench->fake.state;
	assert_int_equal(attach_new(bench, 1), -EINVAL);
	assert_int_equal(bench->done.mapping, 1);
	assert_memory_equal(&bench->fake.state, &before, sizeof(before));
}

static void test_detach(void **state)
{
	struct bench *bench = *state;
	int fd = bench_attach_new(bench, 1);

	assert_int_equal(attach(bench, 2, bench_fd(), 0), 0);
	bench_map(bench, 1, 0, 8, 0);
	const struct fake_state before = bench->fake.state;
	bench->fake.busy[fd] = true;
	assert_int_equal(detach(bench, 1, false), -EBUSY);
	assert_true(is_open(fd));
	assert_memory_equal(&bench->fake.state, &before, sizeof(before));
	bench->fake.busy[fd] = false;
	assert_int_equal(detach(bench, 1, false), 0);
	assert_int_equal(bench->done.n_groups, 1);
	assert_false(is_open(fd));
	assert_int_equal(container_of(bench, 0)->n_mappings, 1);
	assert_int_equal(group_gone(&bench->keeping, 2, &bench->done), -ENOENT);
	assert_int_equal(group_gone(&bench->keeping, 1, &bench->done), -ENOENT);
	assert_int_equal(detach(bench, 2, true), 0);
	assert_int_equal(bench->done.n_groups, 0);
	assert_int_equal(bench->keeping.containers[0].handle, -1);
}

/*
 * The kernel's side of a group that was let go: its file lives on with the device. So that the fake
 * does not take another descriptor for it, its number stays used.
 */
static void let_go(struct bench *bench, uint32_t number, int fd)
{
	bench->fake.busy[fd] = true;
	assert_int_equal(detach(bench, number, true), -EBUSY);
	assert_false(is_open(fd));
	int null = bench_fd();
	if (null != fd) {
		assert_int_equal(dup3(null, fd, O_CLOEXEC), fd);
		close(null);
	}
}

/* The device is closed at last. */
static void close_device(struct bench *bench, int container, int fd)
{
	bench->fake.busy[fd] = false;
	bench->fake.backend.detach(&bench->fake, container, &(struct backend_group){ .fd = fd });
	close(fd);
}

static void test_let_go_beside_others(void **state)
{
	struct bench *bench = *state;
	int fd = bench_attach_new(bench, 1);

	assert_int_equal(attach(bench, 2, bench_fd(), 0), 0);
	bench_map(bench, 1, 0, 8, 0);
	let_go(bench, 1, fd);
	assert_int_equal(bench->done.n_groups, 2);
	assert_int_equal(group_get_device(&bench->keeping, 1, "device"), -ENOENT);
	/* Its place counts, and the container is as good as before. */
	assert_int_equal(attach(bench, 3, bench_fd(), 2), WIRE_NEEDS_CONTAINER);
	assert_int_equal(detach(bench, 3, false), 0);
	bench_map(bench, 2, 8, 8, 0x100000);
	assert_int_equal(container_of(bench, 0)->n_mappings, 2);
	close_device(bench, bench->keeping.containers[0].handle, fd);
	assert_int_equal(group_gone(&bench->keeping, 1, &bench->done), 0);
	assert_int_equal(bench->done.n_groups, 1);
	assert_int_equal(attach(bench, 3, bench_fd(), 2), 0);
}

static void test_let_go_alone(void **state)
{
	struct bench *bench = *state;
	struct fake_io *fake = &bench->fake;
	int fd = bench_attach_new(bench, 1);

	bench_map(bench, 1, 0, 8, 0);
	let_go(bench, 1, fd);
	assert_int_equal(bench->done.n_groups, 1);
	/* Nobody else goes there, where the kernel may take the mappings away any moment. */
	assert_int_equal(attach(bench, 2, bench_fd(), 0), WIRE_NEEDS_CONTAINER);
	assert_int_equal(attach_new(bench, 2), 0);
	assert_int_equal(bench->done.container, 1);
	bench_map(bench, 2, 8, 8, 0x100000);
	assert_int_equal(container_of(bench, 1)->n_mappings, 2);

	/* It does, before the daemon knows. Neither map nor unmap fail for it. */
	close_device(bench, bench->keeping.containers[0].handle, fd);
	bench_map(bench, 3, 16, 8, 0x200000);
	mapping_unmake(&bench->keeping, keeping_mapping(&bench->keeping, 2));
	assert_int_equal(container_of(bench, 1)->n_mappings, 2);
	/* What fails elsewhere is undone all the same. */
	assert_int_equal(bench_prepare(bench, 4, 24, 8, 0x300000), 0);
	const struct fake_state before = fake->state;
	fake->n_calls = 0;
	fake->fail_at = 2;
	assert_int_equal(
		mapping_make(&bench->keeping, keeping_mapping(&bench->keeping, 4), &bench->done),
		-ENOMEM);
	assert_int_equal(bench->done.container, 1);
	assert_memory_equal(&fake->state, &before, sizeof(before));

	assert_int_equal(group_gone(&bench->keeping, 1, &bench->done), 0);
	assert_int_equal(bench->done.n_groups, 0);
	assert_int_equal(bench->keeping.containers[0].handle, -1);
	assert_true(keeping_mapping(&bench->keeping, 1)->is_made);
}

/* Mdevs alone pin nothing of what is mapped; the frames are looked at when it is pinned. */
static void test_after_mdevs(void **state)
{
	struct bench *bench = *state;

	bench->fake.has_only_mdevs = true;
	bench_attach_new(bench, 1);
	bench_map(bench, 1, 0, 8, 0);
	const struct fake_state before = bench->fake.state;
	bench->fake.moved_by = 1;
	int fd = bench_fd();
	assert_int_equal(attach(bench, 2, fd, 0), WIRE_CHANGED);
	assert_int_equal(bench->done.mapping, 1);
	assert_false(is_open(fd));
	assert_memory_equal(&bench->fake.state, &before, sizeof(before));
	bench->fake.moved_by = 0;
	assert_int_equal(attach(bench, 2, bench_fd(), 0), 0);
}

static void test_devices(void **state)
{
	struct bench *bench = *state;

	assert_int_equal(attach(bench, 1, bench_fd(), 0), WIRE_NEEDS_CONTAINER);
	assert_int_equal(group_get_device(&bench->keeping, 1, "device"), -ENOENT);
	assert_int_equal(attach_new(bench, 1), 0);
	assert_int_equal(group_get_device(&bench->keeping, 1, "another"), -ENODEV);
	int fd = group_get_device(&bench->keeping, 1, "device");
	assert_true(fd >= 0);
	close(fd);
}

static int reset(struct bench *bench, uint32_t number, const char *name, bool bus)
{
	memset(&bench->done, 0, sizeof(bench->done));
	return group_reset(&bench->keeping, number, name, bus, &bench->done);
}

static void test_reset(void **state)
{
	struct bench *bench = *state;
	struct fake_io *fake = &bench->fake;
	int before = bench_fd();

	close(before);
	assert_int_equal(reset(bench, 1, "device", false), -ENOENT);
	bench_attach_new(bench, 1);
	assert_int_equal(reset(bench, 1, "another", true), -ENODEV);
	assert_int_equal(reset(bench, 1, "device", false), 0);
	assert_int_equal(fake->n_resets, 1);
	fake->reset_error = -EOPNOTSUPP;
	assert_int_equal(reset(bench, 1, "device", false), -EOPNOTSUPP);
	assert_string_not_equal(bench->done.text, "");
	fake->reset_error = -EAGAIN;
	assert_int_equal(reset(bench, 1, "device", false), -EAGAIN);
	assert_int_equal(fake->n_bus_resets, 0);
}

static void test_reset_of_a_bus(void **state)
{
	struct bench *bench = *state;
	struct fake_io *fake = &bench->fake;
	int fd = bench_attach_new(bench, 1);

	fake->n_bus_groups = -EOPNOTSUPP;
	assert_int_equal(reset(bench, 1, "device", true), -EOPNOTSUPP);
	/* Its own, one that waits for a container, and more than can be named. */
	assert_int_equal(attach(bench, 2, bench_fd(), 1), WIRE_NEEDS_CONTAINER);
	fake->n_bus_groups = WIRE_GROUPS_MAX + 3;
	for (int i = 0; i < fake->n_bus_groups; i++)
		fake->bus_groups[i] = (uint32_t)i + 1;
	assert_int_equal(reset(bench, 1, "device", true), WIRE_GROUPS_WANTED);
	assert_int_equal(bench->done.n_groups, WIRE_GROUPS_MAX + 2);
	assert_int_equal(bench->done.groups[0], 2);
	assert_int_equal(bench->done.groups[WIRE_GROUPS_MAX - 1], WIRE_GROUPS_MAX + 1);
	assert_int_equal(fake->n_bus_resets, 0);
	fake->n_bus_groups = 2;
	assert_int_equal(attach_new(bench, 2), 0);
	assert_int_equal(reset(bench, 1, "device", true), 0);
	assert_int_equal(fake->n_bus_resets, 1);
	fake->reset_error = -EOPNOTSUPP;
	assert_int_equal(reset(bench, 1, "device", true), -EOPNOTSUPP);
	assert_string_not_equal(bench->done.text, "");
	fake->reset_error = 0;
	/* One that was let go has no descriptor that could be given. */
	let_go(bench, 1, fd);
	assert_int_equal(reset(bench, 2, "device", true), WIRE_GROUPS_WANTED);
	assert_int_equal(bench->done.groups[0], 1);
	assert_int_equal(fake->n_bus_resets, 1);
	close_device(bench, bench->keeping.containers[0].handle, fd);
	assert_int_equal(group_gone(&bench->keeping, 1, &bench->done), 0);
}

/* Tables have an end. */
static void test_as_many_as_there_is_room_for(void **state)
{
	struct bench *bench = *state;
	uint32_t n;
	int r = 0;

	for (n = 0; n <= KEEPING_CONTAINERS_MAX; n++) {
		assert_int_equal(attach(bench, n, bench_fd(), 1), WIRE_NEEDS_CONTAINER);
		r = attach_new(bench, n);
		if (r < 0)
			break;
	}
	assert_int_equal(n, KEEPING_CONTAINERS_MAX);
	assert_int_equal(r, -EINVAL);
	assert_int_equal(detach(bench, n, false), 0);
	assert_int_equal(detach(bench, 5, false), 0);
	assert_int_equal(attach(bench, n, bench_fd(), 1), WIRE_NEEDS_CONTAINER);
	assert_int_equal(attach_new(bench, n), 0);
	assert_int_equal(bench->done.container, 5);
}

#define group_test(test) cmocka_unit_test_setup_teardown(test, bench_set_up, bench_tear_down)
int main(void)
{
	const struct CMUnitTest tests[] = {
		group_test(test_containers_fill),
		group_test(test_tried_in_each_container),
		group_test(test_replay_is_all_or_none),
		group_test(test_the_first_container),
		group_test(test_a_mapping_without_frames),
		group_test(test_detach),
		group_test(test_let_go_beside_others),
		group_test(test_let_go_alone),
		group_test(test_after_mdevs),
		group_test(test_devices),
		group_test(test_reset),
		group_test(test_reset_of_a_bus),
		group_test(test_as_many_as_there_is_room_for),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
