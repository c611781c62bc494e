/* The backend iommufd on a model of the kernel's: objects, groups and devices, and what is pinned.
 */
#include "daemon/keeper/iommufd.h"

#include "daemon/base/iommufd-kernel.h"
#include "daemon/base/util.h"
#include "tests/unit/count-fds.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/vfio.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define CONTEXT 900
#define GROUP_A 901
#define GROUP_B 902
#define GROUPS 2
#define OBJECTS 32
#define MAPPINGS 8
#define LAST UINT64_C(0xffffffff)
#define MIB (UINT64_C(1) << 20)

enum kind { NONE, IOAS, HWPT, DEVICE };
struct object {
	enum kind kind;
	uint32_t ioas; /* of a HWPT and a device */
	int group, fd; /* of a device */
	struct {
		uint64_t iova, length, pages; /* copies have the same pages; 0: none is here */
	} mappings[MAPPINGS];
};

static struct kernel {
	struct object objects[OBJECTS]; /* 0 is none */
	uint32_t chosen;                /* IOMMU_VFIO_IOAS */
	bool is_in[GROUPS];             /* has the context as its container */
	uint64_t n_pages;
	unsigned n_calls, fail_at; /* the fail_at-th request fails; 0: none */
	uint64_t last[GROUPS];     /* of the IOVAs that a group leaves */
	bool are_mdevs, has_no_map_file, is_truncated;
	uint32_t closes; /* when a device is opened, this one is closed by its client */
} kernel;
static struct iommufd iommufd;
static int n_fds_before;

int __real_ioctl(int fd, unsigned long request, void *argument);
int __wrap_ioctl(int fd, unsigned long request, void *argument);
int __real_close(int fd);
int __wrap_close(int fd);

int __wrap_close(int fd)
{
	for (size_t i = 1; i < OBJECTS; i++)
		if (kernel.objects[i].kind == DEVICE && kernel.objects[i].fd == fd)
			kernel.objects[i].kind = NONE;
	return __real_close(fd);
}

static uint32_t make(enum kind kind)
{
	uint32_t id = 1;
	while (kernel.objects[id].kind)
		id++;
	assert_true(id < OBJECTS);
	kernel.objects[id] = (struct object){ .kind = kind, .fd = -1 };
	return id;
}

static struct object *find(uint32_t id, enum kind kind)
{
	return id < OBJECTS && kernel.objects[id].kind == kind ? &kernel.objects[id] : NULL;
}

static bool is_used(uint32_t ioas)
{
	for (size_t i = 1; i < OBJECTS; i++)
		if (kernel.objects[i].kind > IOAS && kernel.objects[i].ioas == ioas)
			return true;
	return false;
}

static int do_destroy(const struct iommu_destroy *destroy)
{
	struct object *object = &kernel.objects[destroy->id];

	if (object->kind == NONE || object->kind == DEVICE)
		return -ENOENT;
	if (object->kind == IOAS && is_used(destroy->id))
		return -EBUSY;
	if (kernel.chosen == destroy->id)
		kernel.chosen = 0;
	object->kind = NONE;
	return 0;
}

static int enter(uint32_t id, uint64_t iova, uint64_t length, uint64_t pages)
{
	struct object *ioas = find(id, IOAS);
	int free_one = -1;

	if (!ioas)
		return -ENOENT;
	for (int i = 0; i < MAPPINGS; i++)
		if (ioas->mappings[i].pages && ioas->mappings[i].iova == iova)
			return -EEXIST;
		else if (!ioas->mappings[i].pages)
			free_one = i;
	assert_true(free_one >= 0);
	ioas->mappings[free_one].iova = iova;
	ioas->mappings[free_one].length = length;
	ioas->mappings[free_one].pages = pages;
	return 0;
}

static int do_copy(const struct iommu_ioas_copy *copy)
{
	const struct object *from = find(copy->src_ioas_id, IOAS);

	for (int i = 0; from && i < MAPPINGS; i++)
		if (from->mappings[i].pages && from->mappings[i].iova == copy->src_iova &&
			from->mappings[i].length == copy->length)
			return enter(copy->dst_ioas_id, copy->dst_iova, copy->length,
				from->mappings[i].pages);
	return -ENOENT;
}

static int do_unmap(const struct iommu_ioas_unmap *unmap)
{
	struct object *ioas = find(unmap->ioas_id, IOAS);
	bool is_all = unmap->iova == 0 && unmap->length == UINT64_MAX, found = is_all;

	for (int i = 0; ioas && i < MAPPINGS; i++)
		if (is_all || (ioas->mappings[i].pages && ioas->mappings[i].iova == unmap->iova &&
				      ioas->mappings[i].length == unmap->length)) {
			ioas->mappings[i].pages = 0;
			found = true;
		}
	return ioas && found ? 0 : -ENOENT;
}

static int do_hwpt(struct iommu_hwpt_alloc *alloc)
{
	if (!find(alloc->dev_id, DEVICE) || !find(alloc->pt_id, IOAS))
		return -ENOENT;
	alloc->out_hwpt_id = make(HWPT);
	kernel.objects[alloc->out_hwpt_id].ioas = alloc->pt_id;
	return 0;
}

static bool has_device(int group)
{
	for (size_t i = 1; i < OBJECTS; i++)
		if (kernel.objects[i].kind == DEVICE && kernel.objects[i].group == group)
			return true;
	return false;
}

static int do_open(int group, const char *name)
{
	if (!kernel.is_in[group - GROUP_A])
		return -EINVAL;
	if (strcmp(name, "0000:00:05.0") != 0 && strcmp(name, "0000:00:05.1") != 0)
		return -ENODEV;
	if (!kernel.chosen)
		return -ENODEV;
	if (kernel.closes)
		kernel.objects[kernel.closes].kind = NONE;
	struct object *device = &kernel.objects[make(DEVICE)];
	device->ioas = kernel.chosen;
	device->group = group;
	device->fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	return device->fd;
}

/* What the devices leave that are in the IOAS at this moment. */
static int do_info(struct vfio_iommu_type1_info *info)
{
	struct vfio_iommu_type1_info head = { .flags = VFIO_IOMMU_INFO_PGSIZES |
						       VFIO_IOMMU_INFO_CAPS,
		.iova_pgsizes = 4096,
		.cap_offset = sizeof(head) };
	const struct vfio_iommu_type1_info_cap_iova_range ranges = {
		.header = { .id = VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE, .version = 1 },
		.nr_iovas = 1
	};
	struct vfio_iova_range range = { 0, UINT64_MAX };
	char all[sizeof(head) + sizeof(ranges) + sizeof(range)];

	for (size_t i = 1; i < OBJECTS; i++) {
		const struct object *object = &kernel.objects[i];
		if (object->kind == DEVICE && object->ioas == kernel.chosen &&
			kernel.last[object->group - GROUP_A] < range.end)
			range.end = kernel.last[object->group - GROUP_A];
	}
	size_t size = info->argsz < sizeof(all) ? info->argsz : sizeof(all);
	head.argsz = sizeof(all);
	memcpy(all, &head, sizeof(head));
	memcpy(all + sizeof(head), &ranges, sizeof(ranges));
	memcpy(all + sizeof(head) + sizeof(ranges), &range, sizeof(range));
	memcpy(info, all, size);
	return 0;
}

static int do_group(int group, unsigned long request, void *argument)
{
	bool *is_in = &kernel.is_in[group - GROUP_A];

	if (request == VFIO_GROUP_GET_DEVICE_FD)
		return do_open(group, argument);
	if (request == VFIO_GROUP_SET_CONTAINER) {
		assert_int_equal(*(int *)argument, CONTEXT);
		/* Or it would make an IOAS of its own. */
		assert_int_not_equal(kernel.chosen, 0);
		if (*is_in)
			return -EINVAL;
		*is_in = true;
		return 0;
	}
	if (request == VFIO_GROUP_UNSET_CONTAINER) {
		if (!*is_in)
			return -EINVAL;
		*is_in = false;
		return 0;
	}
	assert_int_equal(request, VFIO_GROUP_GET_STATUS);
	bool is_viable = *is_in || kernel.are_mdevs || !has_device(group);
	((struct vfio_group_status *)argument)->flags = is_viable ? VFIO_GROUP_FLAGS_VIABLE : 0;
	return 0;
}

static int do_context(unsigned long request, void *argument)
{
	const struct iommu_vfio_ioas *choice = argument;
	const struct iommu_ioas_map *map = argument;
	const struct iommu_ioas_map_file *map_file = argument;

	switch (request) {
	case IOMMU_DESTROY:
		return do_destroy(argument);
	case IOMMU_IOAS_ALLOC:
		((struct iommu_ioas_alloc *)argument)->out_ioas_id = make(IOAS);
		return 0;
	case IOMMU_IOAS_COPY:
		return do_copy(argument);
	case IOMMU_IOAS_MAP:
		if (kernel.is_truncated)
			return -EFAULT;
		return enter(map->ioas_id, map->iova, map->length, ++kernel.n_pages);
	case IOMMU_IOAS_MAP_FILE:
		if (kernel.has_no_map_file)
			return -ENOTTY;
		if (kernel.is_truncated)
			return -EINVAL;
		assert_int_equal(map_file->fd, 7);
		assert_int_equal(map_file->start, MIB);
		return enter(map_file->ioas_id, map_file->iova, map_file->length, ++kernel.n_pages);
	case IOMMU_IOAS_UNMAP:
		return do_unmap(argument);
	case IOMMU_VFIO_IOAS:
		if (!find(choice->ioas_id, IOAS))
			return -ENOENT;
		kernel.chosen = choice->ioas_id;
		return 0;
	case IOMMU_HWPT_ALLOC:
		return do_hwpt(argument);
	case VFIO_IOMMU_GET_INFO:
		return do_info(argument);
	default:
		assert_int_equal(request, VFIO_CHECK_EXTENSION);
		return 1;
	}
}

int __wrap_ioctl(int fd, unsigned long request, void *argument)
{
	bool is_known = false;

	for (size_t i = 0; iommufd_ioctls[i]; i++)
		is_known = is_known || iommufd_ioctls[i] == request;
	assert_true(is_known);
	/* What cannot be undone is not failed: a destroy, and out of the container. */
	bool may_fail = request != IOMMU_DESTROY && request != VFIO_CHECK_EXTENSION &&
			request != VFIO_GROUP_UNSET_CONTAINER && request != VFIO_GROUP_GET_STATUS;
	int r = may_fail && ++kernel.n_calls == kernel.fail_at ? -ENOMEM
		: fd == CONTEXT                                ? do_context(request, argument)
							       : do_group(fd, request, argument);
	if (r >= 0)
		return r;
	errno = -r;
	return -1;
}

/* How many bytes the kernel has pinned: distinct pages, in an IOAS that has a page table. */
static uint64_t pinned(void)
{
	uint64_t bytes = 0;

	for (uint64_t pages = 1; pages <= kernel.n_pages; pages++)
		for (uint32_t id = 1; id < OBJECTS; id++) {
			const struct object *ioas = find(id, IOAS);
			bool is_here = false;
			for (int i = 0; ioas && is_used(id) && i < MAPPINGS; i++)
				if (ioas->mappings[i].pages == pages) {
					bytes += ioas->mappings[i].length;
					is_here = true;
				}
			if (is_here)
				break;
		}
	return bytes;
}

static unsigned n_objects(void)
{
	unsigned n = 0;
	for (size_t i = 1; i < OBJECTS; i++)
		n += kernel.objects[i].kind != NONE;
	return n;
}

static char names[][WIRE_NAME_SIZE] = { "0000:00:05.0", "0000:00:05.1" };
static struct backend_group groups[GROUPS];

static int set_up(void **state)
{
	(void)state;
	n_fds_before = count_fds();
	kernel = (struct kernel){ .last = { LAST, LAST } };
	iommufd_init(&iommufd);
	iommufd.backend.start(&iommufd, CONTEXT);
	for (int i = 0; i < GROUPS; i++)
		groups[i] = (struct backend_group){ .fd = GROUP_A + i, .members = { names, 2 } };
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	assert_int_equal(count_fds(), n_fds_before);
	return 0;
}

static int open_one(void)
{
	return iommufd.backend.open(&iommufd, -1);
}
static int attach(int container, int group)
{
	return iommufd.backend.attach(&iommufd, container, &groups[group]);
}
static int detach(int container, int group)
{
	return iommufd.backend.detach(&iommufd, container, &groups[group]);
}
static int map(int container, int from, uint64_t iova)
{
	const struct backend_memory memory = { .address = names, .fd = 7, .offset = MIB };
	return iommufd.backend.map(&iommufd, container, from, &memory, iova, MIB,
		WIRE_READ_ALLOWED | WIRE_WRITE_ALLOWED);
}

static void test_pinned_from_attach_to_close(void **state)
{
	(void)state;
	int one = open_one();

	assert_int_equal(map(one, NO_CONTAINER, 0), 0);
	assert_int_equal(pinned(), 0);
	assert_int_equal(attach(one, 0), 0);
	/* No device is open, and it is pinned all the same. */
	assert_false(has_device(GROUP_A));
	assert_int_equal(n_objects(), 2);
	assert_int_equal(pinned(), MIB);
	assert_int_equal(map(one, NO_CONTAINER, MIB), 0);
	assert_int_equal(pinned(), 2 * MIB);
	assert_int_equal(iommufd.backend.unmap(&iommufd, one, 0, MIB), 0);
	assert_int_equal(iommufd.backend.unmap(&iommufd, one, 0, MIB), -ENOENT);
	assert_int_equal(pinned(), MIB);
	assert_int_equal(detach(one, 0), 0);
	assert_int_equal(pinned(), 0);
	iommufd.backend.close(&iommufd, one);
	assert_int_equal(n_objects(), 0);
}

/* Two containers with the same: pinned once. */
static void test_copies_cost_nothing(void **state)
{
	(void)state;
	int one = open_one(), other = open_one();

	assert_int_equal(attach(one, 0), 0);
	assert_int_equal(attach(other, 1), 0);
	assert_int_equal(map(one, NO_CONTAINER, 0), 0);
	assert_int_equal(map(other, one, 0), 0);
	assert_int_equal(pinned(), MIB);
	assert_int_equal(detach(one, 0), 0);
	iommufd.backend.close(&iommufd, one);
	assert_int_equal(pinned(), MIB);
	assert_int_equal(detach(other, 1), 0);
	iommufd.backend.close(&iommufd, other);
	assert_int_equal(n_objects(), 0);
}

static void test_a_device_that_is_open(void **state)
{
	(void)state;
	int one = open_one();

	assert_int_equal(attach(one, 0), 0);
	assert_int_equal(attach(one, 1), 0);
	int device = iommufd.backend.get_device(&iommufd, one, &groups[0], names[1]);
	assert_true(device >= 0);
	assert_int_equal(iommufd.backend.get_device(&iommufd, one, &groups[0], "x"), -ENODEV);
	assert_int_equal(detach(one, 0), -EBUSY);
	assert_true(kernel.is_in[0]);
	/* Where nothing is open, and another group's is not meant. */
	assert_int_equal(detach(one, 1), 0);
	close(device);
	assert_int_equal(detach(one, 0), 0);
	assert_false(kernel.is_in[0]);
	/* It was let go, and its last device is closed. */
	assert_int_equal(attach(one, 0), 0);
	iommufd.backend.forget(&iommufd, one, &groups[0]);
	iommufd.backend.close(&iommufd, one);
	assert_int_equal(n_objects(), 0);
}

static void test_what_all_groups_leave(void **state)
{
	(void)state;
	struct wire_info info = { .header.type = WIRE_INFO };
	int one = open_one();

	assert_int_equal(iommufd.backend.info(&iommufd, one, &info), -EINVAL);
	kernel.last[1] = LAST / 2;
	assert_int_equal(attach(one, 0), 0);
	assert_int_equal(iommufd.backend.info(&iommufd, one, &info), 0);
	assert_int_equal(info.header.type, WIRE_INFO);
	assert_int_equal(info.n_ranges, 1);
	assert_int_equal(info.ranges[0].last, LAST);
	assert_false(info.has_any_iova);
	assert_true(info.is_coherent && info.page_sizes == 4096);
	assert_int_equal(attach(one, 1), 0);
	assert_int_equal(iommufd.backend.info(&iommufd, one, &info), 0);
	assert_int_equal(info.ranges[0].last, LAST / 2);
	assert_int_equal(detach(one, 1), 0);
	assert_int_equal(iommufd.backend.info(&iommufd, one, &info), 0);
	assert_int_equal(info.ranges[0].last, LAST);
	assert_int_equal(detach(one, 0), 0);
	iommufd.backend.close(&iommufd, one);
}

static void test_no_mdevs(void **state)
{
	(void)state;
	int one = open_one();

	kernel.are_mdevs = true;
	assert_int_equal(attach(one, 0), -EOPNOTSUPP);
	assert_false(kernel.is_in[0] || groups[0].own || has_device(GROUP_A));
	groups[0].members.n = 0;
	assert_int_equal(attach(one, 0), -ENODEV);
	iommufd.backend.close(&iommufd, one);
	assert_int_equal(n_objects(), 0);
}

static void test_by_address(void **state)
{
	(void)state;
	int one = open_one();

	kernel.is_truncated = true;
	assert_int_equal(map(one, NO_CONTAINER, 0), -EFAULT);
	assert_false(iommufd.has_no_map_file);
	kernel.is_truncated = false;
	kernel.has_no_map_file = true;
	assert_int_equal(map(one, NO_CONTAINER, 0), 0);
	assert_true(iommufd.has_no_map_file);
	assert_int_equal(map(one, NO_CONTAINER, 0), -EEXIST);
	iommufd.backend.close(&iommufd, one);
}

/* The number of a device is looked for: a client closes another one just when it is opened. */
static void test_a_number_that_is_lower(void **state)
{
	(void)state;
	int one = open_one(), other = open_one();

	assert_int_equal(attach(one, 0), 0);
	int device = iommufd.backend.get_device(&iommufd, one, &groups[0], names[0]);
	for (uint32_t id = 1; id < OBJECTS; id++)
		if (find(id, DEVICE))
			kernel.closes = id;
	assert_true(kernel.closes > 0);
	assert_int_equal(map(other, NO_CONTAINER, 0), 0);
	assert_int_equal(attach(other, 1), 0);
	assert_int_equal(pinned(), MIB);
	__real_close(device);
	kernel.closes = 0;
	assert_int_equal(detach(one, 0), 0);
	assert_int_equal(detach(other, 1), 0);
	iommufd.backend.close(&iommufd, one);
	iommufd.backend.close(&iommufd, other);
	assert_int_equal(n_objects(), 0);
}

/* Each request of an attach fails: then it is as before. */
static void test_each_request_of_an_attach(void **state)
{
	(void)state;
	int one = open_one();

	assert_int_equal(map(one, NO_CONTAINER, 0), 0);
	for (unsigned k = 1;; k++) {
		kernel.n_calls = 0;
		kernel.fail_at = k;
		int r = attach(one, 0);
		bool has_failed = kernel.n_calls >= k;
		kernel.fail_at = 0;
		if (!has_failed) {
			assert_int_equal(r, 0);
			assert_true(k > 8);
			break;
		}
		assert_int_equal(r, -ENOMEM);
		assert_null(groups[0].own);
		assert_false(kernel.is_in[0] || has_device(GROUP_A));
		assert_int_equal(n_objects(), 1);
		assert_int_equal(pinned(), 0);
	}
	assert_int_equal(pinned(), MIB);
	kernel.n_calls = 0;
	kernel.fail_at = 1;
	assert_int_equal(detach(one, 0), -ENOMEM);
	kernel.fail_at = 0;
	assert_int_equal(detach(one, 0), 0);
	iommufd.backend.close(&iommufd, one);
}

static void test_as_many_as_there_is_room_for(void **state)
{
	(void)state;
	kernel.fail_at = 1;
	assert_int_equal(open_one(), -ENOMEM);
	for (int i = 0; i < IOMMUFD_IOAS_MAX; i++)
		iommufd.ioas[i].id = 1;
	assert_int_equal(open_one(), -ENFILE);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(test_pinned_from_attach_to_close),
		TEST(test_copies_cost_nothing),
		TEST(test_a_device_that_is_open),
		TEST(test_what_all_groups_leave),
		TEST(test_no_mdevs),
		TEST(test_by_address),
		TEST(test_a_number_that_is_lower),
		TEST(test_each_request_of_an_attach),
		TEST(test_as_many_as_there_is_room_for),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
