/* VFIO_IOMMU_GET_INFO's answer as the kernel makes it, and as it should never be. */
#include "daemon/keeper/info.h"

#include "daemon/base/util.h"

#include <errno.h>
#include <linux/vfio.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <string.h>

#include <cmocka.h>

/* With an Intel IOMMU: ranges, migration, mappings left. */
struct answer {
	struct vfio_iommu_type1_info head;
	uint32_t padding;
	struct vfio_iommu_type1_info_cap_migration migration;
	struct vfio_iommu_type1_info_dma_avail left;
	uint32_t more_padding;
	/* struct vfio_iommu_type1_info_cap_iova_range */
	struct {
		struct vfio_info_cap_header header;
		uint32_t nr_iovas, reserved;
	} ranges;
	struct vfio_iova_range range[2];
};

static void fill(struct answer *answer)
{
	memset(answer, 0, sizeof(*answer));
	answer->head.argsz = sizeof(*answer);
	answer->head.flags = VFIO_IOMMU_INFO_PGSIZES | VFIO_IOMMU_INFO_CAPS;
	answer->head.iova_pgsizes = 0x40201000;
	answer->head.cap_offset = offsetof(struct answer, migration);
	answer->migration.header.id = VFIO_IOMMU_TYPE1_INFO_CAP_MIGRATION;
	answer->migration.header.version = 1;
	answer->migration.header.next = offsetof(struct answer, left);
	answer->left.header.id = VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL;
	answer->left.header.version = 1;
	answer->left.header.next = offsetof(struct answer, ranges);
	answer->left.avail = 65535;
	answer->ranges.header.id = VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE;
	answer->ranges.header.version = 1;
	answer->ranges.nr_iovas = 2;
	answer->range[0] = (struct vfio_iova_range){ 0, 0xfedfffff };
	answer->range[1] = (struct vfio_iova_range){ 0xfef00000, 0xffffffffffff };
}

/* From the heap and of just this size: the sanitizers see who reads beyond it. */
static int parse(const struct answer *answer, size_t size, struct wire_info *info)
{
	_cleanup_free_ void *copy = malloc(size + 1);
	assert_non_null(copy);
	memcpy(copy, answer, size);
	void *exact = realloc(copy, size ? size : 1);
	assert_non_null(exact);
	copy = exact;
	memset(info, 0xaa, sizeof(*info));
	return info_parse(copy, size, info);
}

static void test_all_of_it(void **state)
{
	(void)state;
	struct answer answer;
	struct wire_info info;

	fill(&answer);
	assert_int_equal(parse(&answer, sizeof(answer), &info), 0);
	assert_int_equal(info.page_sizes, 0x40201000);
	assert_int_equal(info.mappings_left, 65535);
	assert_int_equal(info.has_any_iova, 0);
	assert_int_equal(info.n_ranges, 2);
	assert_int_equal(info.ranges[0].last, 0xfedfffff);
	assert_int_equal(info.ranges[1].first, 0xfef00000);
	assert_int_equal(info.ranges[1].last, 0xffffffffffff);
}

static void test_none_of_it(void **state)
{
	(void)state;
	struct answer answer;
	struct wire_info info;

	/* Only mdevs: no list of ranges. */
	fill(&answer);
	answer.left.header.next = 0;
	assert_int_equal(parse(&answer, sizeof(answer), &info), 0);
	assert_int_equal(info.has_any_iova, 1);
	assert_int_equal(info.n_ranges, 0);

	/* A kernel without capabilities. */
	answer.head.flags = VFIO_IOMMU_INFO_PGSIZES;
	assert_int_equal(parse(&answer, sizeof(answer.head), &info), 0);
	assert_int_equal(info.mappings_left, UINT32_MAX);
	assert_int_equal(
		parse(&answer, offsetof(struct vfio_iommu_type1_info, cap_offset), &info), 0);
	answer.head.flags = 0;
	assert_int_equal(parse(&answer, sizeof(answer.head), &info), 0);
	assert_int_equal(info.page_sizes, 0);
}

static void test_versions_that_nobody_knows(void **state)
{
	(void)state;
	struct answer answer;
	struct wire_info info;

	fill(&answer);
	answer.ranges.header.version = 2;
	answer.left.header.version = 2;
	assert_int_equal(parse(&answer, sizeof(answer), &info), 0);
	assert_int_equal(info.n_ranges, 0);
	assert_int_equal(info.mappings_left, UINT32_MAX);
}

static void test_cut_anywhere(void **state)
{
	(void)state;
	struct answer answer;
	struct wire_info info;

	fill(&answer);
	for (size_t size = 0; size < sizeof(answer); size++)
		assert_int_equal(parse(&answer, size, &info), -EBADMSG);
}

static void test_chains_that_lead_astray(void **state)
{
	(void)state;
	struct answer answer;
	struct wire_info info;

	fill(&answer);
	answer.head.cap_offset = sizeof(answer) - 4;
	assert_int_equal(parse(&answer, sizeof(answer), &info), -EBADMSG);
	answer.head.cap_offset = UINT32_MAX;
	assert_int_equal(parse(&answer, sizeof(answer), &info), -EBADMSG);

	/* In a circle. */
	fill(&answer);
	answer.ranges.header.next = offsetof(struct answer, migration);
	assert_int_equal(parse(&answer, sizeof(answer), &info), -EBADMSG);

	/* More ranges than there is room for, to the point of overflow. */
	fill(&answer);
	for (unsigned n = 3; n != 0; n = n < UINT32_MAX / 2 ? n * 2 : 0) {
		answer.ranges.nr_iovas = n;
		assert_int_equal(parse(&answer, sizeof(answer), &info), -EBADMSG);
	}
	answer.ranges.nr_iovas = UINT32_MAX;
	assert_int_equal(parse(&answer, sizeof(answer), &info), -EBADMSG);

	fill(&answer);
	answer.range[1].end = answer.range[1].start - 1;
	assert_int_equal(parse(&answer, sizeof(answer), &info), -EBADMSG);
}

static void test_more_ranges_than_a_message_has(void **state)
{
	(void)state;
	const size_t n = WIRE_RANGES_MAX + 1;
	const size_t size = sizeof(struct answer) + n * sizeof(struct vfio_iova_range);
	_cleanup_free_ struct answer *answer = calloc(1, size);
	struct wire_info info;

	assert_non_null(answer);
	fill(answer);
	answer->ranges.nr_iovas = (uint32_t)n;
	for (size_t i = 0; i < n; i++) {
		struct vfio_iova_range range = { i << 12, (i << 12) + 1 };
		memcpy((char *)answer + offsetof(struct answer, range) + i * sizeof(range), &range,
			sizeof(range));
	}
	assert_int_equal(info_parse(answer, size, &info), 0);
	assert_int_equal(info.n_ranges, WIRE_RANGES_MAX);
	assert_int_equal(info.ranges[WIRE_RANGES_MAX - 1].first, (WIRE_RANGES_MAX - 1) << 12);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all_of_it),
		cmocka_unit_test(test_none_of_it),
		cmocka_unit_test(test_versions_that_nobody_knows),
		cmocka_unit_test(test_cut_anywhere),
		cmocka_unit_test(test_chains_that_lead_astray),
		cmocka_unit_test(test_more_ranges_than_a_message_has),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
