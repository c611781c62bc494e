/* vfiod_dma_map(): the ioctl counts, and the daemon is told of it as far as it can be. */
#include <errno.h>
#include <linux/vfio.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/client/client.h"

#define L "org.vfiod.Ledger."

/* The kernel: what it was asked, and what it says. */
#define CONTAINER 77
static struct vfio_iommu_type1_dma_map mapped;
static struct vfio_iommu_type1_dma_unmap unmapped;
static int kernel_error;

int __real_ioctl(int fd, unsigned long request, void *argument);
int __wrap_ioctl(int fd, unsigned long request, void *argument);
int __wrap_ioctl(int fd, unsigned long request, void *argument)
{
	if (fd != CONTAINER)
		return __real_ioctl(fd, request, argument);
	if (kernel_error) {
		errno = kernel_error;
		return -1;
	}
	if (request == VFIO_IOMMU_MAP_DMA) {
		mapped = *(struct vfio_iommu_type1_dma_map *)argument;
	} else {
		assert_int_equal(request, VFIO_IOMMU_UNMAP_DMA);
		unmapped = *(struct vfio_iommu_type1_dma_unmap *)argument;
		((struct vfio_iommu_type1_dma_unmap *)argument)->size = 4096;
	}
	return 0;
}

static bool is(const char *method, const char *name)
{
	return strcmp(method, name) == 0;
}

static void expect_parameters(struct json_object *parameters, const char *expected)
{
	const char *text = json_object_to_json_string_ext(
		parameters, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);

	if (strcmp(text, expected) != 0)
		fprintf(stderr, "fake daemon: %s\n", text);
	fake_expect(strcmp(text, expected) == 0, expected);
}

static int n_told; /* in the daemon's process */

static void reply_info(struct fake *fake, int peer)
{
	char info[256];

	snprintf(info, sizeof info,
		"{\"vendor\":\"told %d\",\"product\":\"\",\"version\":\"\",\"url\":\"\","
		"\"interfaces\":[]}",
		n_told);
	fake_reply(fake, peer, false, info);
}

static void answer(struct fake *fake, int peer, const char *method, struct json_object *parameters,
	const int *fds, size_t n_fds)
{
	static const char *const expected[] = {
		"{\"token\":\"t\",\"container\":77,\"iova\":\"0xfffffffffffff000\","
		"\"address\":\"0x7f0000001000\",\"length\":4096}",
		"{\"container\":77,\"iova\":\"0x0\",\"address\":\"0x7f0000001000\",\"length\":"
		"8192}",
		"{\"token\":\"t\",\"container\":77,\"iova\":\"0x0\",\"length\":12288}",
	};

	(void)fds;
	fake_expect(n_fds == 0, "no descriptor");
	if (is(method, "org.varlink.service.GetInfo")) {
		reply_info(fake, peer);
		return;
	}
	fake_expect(is(method, n_told < 2 ? L "ReportMap" : L "ReportUnmap"), method);
	expect_parameters(parameters, expected[n_told++]);
}

static int hear_info(const char *parameters, int *fds, size_t n_fds, void *userdata)
{
	(void)fds;
	(void)n_fds;
	assert_non_null(strstr(parameters, userdata));
	return 0;
}

/* Calls are read in their order: what was told before has arrived. */
static void assert_told(struct vfiod *vfiod, const char *told)
{
	assert_int_equal(vfiod_call(vfiod, "org.varlink.service.GetInfo", NULL, false, NULL, 0, -1,
				 hear_info, (void *)told),
		0);
}

#define ADDRESS ((void *)0x7f0000001000)

static void mappings_are_told(void **state)
{
	struct fake *fake = fake_start(answer);
	struct vfiod *vfiod = client_open(fake);
	uint64_t bytes = 0;

	(void)state;
	kernel_error = 0;
	assert_int_equal(vfiod_dma_map(vfiod, "t", CONTAINER, ADDRESS, 0xfffffffffffff000, 4096,
				 VFIOD_MAP_READ),
		0);
	assert_int_equal(mapped.argsz, sizeof mapped);
	assert_int_equal(mapped.flags, VFIO_DMA_MAP_FLAG_READ);
	assert_true(mapped.vaddr == 0x7f0000001000 && mapped.iova == 0xfffffffffffff000);
	assert_int_equal(mapped.size, 4096);
	assert_int_equal(vfiod_dma_map(vfiod, NULL, CONTAINER, ADDRESS, 0, 8192,
				 VFIOD_MAP_READ | VFIOD_MAP_WRITE),
		0);
	assert_int_equal(mapped.flags, VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE);
	assert_told(vfiod, "told 2");
	assert_int_equal(vfiod_dma_unmap(vfiod, "t", CONTAINER, 0, 12288, &bytes), 0);
	assert_int_equal(bytes, 4096);
	assert_int_equal(unmapped.argsz, sizeof unmapped);
	assert_true(unmapped.iova == 0 && unmapped.size == 12288);
	assert_told(vfiod, "told 3");
	vfiod_close(vfiod);
	fake_stop(fake);
}

/* Nobody is told of what was not done. */
static void what_the_kernel_refuses(void **state)
{
	struct fake *fake = fake_start(answer);
	struct vfiod *vfiod = client_open(fake);

	(void)state;
	kernel_error = ENOMEM;
	assert_int_equal(
		vfiod_dma_map(vfiod, NULL, CONTAINER, ADDRESS, 0x4000, 4096, VFIOD_MAP_READ),
		-ENOMEM);
	assert_string_equal(
		vfiod_strerror(vfiod), "VFIO_IOMMU_MAP_DMA at 0x4000: Cannot allocate memory");
	kernel_error = EINVAL;
	assert_int_equal(vfiod_dma_unmap(vfiod, NULL, CONTAINER, 0x4000, 4096, NULL), -EINVAL);
	assert_string_equal(
		vfiod_strerror(vfiod), "VFIO_IOMMU_UNMAP_DMA at 0x4000: Invalid argument");
	assert_int_equal(
		vfiod_dma_map(NULL, NULL, CONTAINER, ADDRESS, 0, 4096, VFIOD_MAP_READ), -EINVAL);
	kernel_error = 0;
	mapped.argsz = 0;
	assert_int_equal(vfiod_dma_map(vfiod, NULL, CONTAINER, ADDRESS, 0, 4096, 4), -EINVAL);
	assert_int_equal(vfiod_dma_map(NULL, NULL, CONTAINER, ADDRESS, 0, 4096, 4), -EINVAL);
	assert_int_equal(mapped.argsz, 0);
	assert_told(vfiod, "told 0");

	/* The ioctl alone; and one that Varlink has no number for. */
	assert_int_equal(vfiod_dma_map(NULL, "t", CONTAINER, ADDRESS, 0, 4096, VFIOD_MAP_READ), 0);
	assert_int_equal(vfiod_dma_unmap(NULL, "t", CONTAINER, 0, 4096, NULL), 0);
	assert_int_equal(
		vfiod_dma_map(vfiod, "t", CONTAINER, ADDRESS, 0, INT64_MAX, VFIOD_MAP_READ), 0);
	assert_string_equal(
		vfiod_strerror(vfiod), "a length of 9223372036854775807 bytes cannot be reported");
	assert_told(vfiod, "told 0");
	vfiod_close(vfiod);
	fake_stop(fake);
}

static void hang_up(struct fake *fake, int peer, const char *method, struct json_object *parameters,
	const int *fds, size_t n_fds)
{
	(void)method;
	(void)parameters;
	(void)fds;
	(void)n_fds;
	fake_hang_up(fake, peer);
}

static void the_daemon_is_gone(void **state)
{
	struct fake *fake = fake_start(hang_up);
	struct vfiod *vfiod = client_open(fake);

	(void)state;
	kernel_error = 0;
	assert_int_equal(vfiod_call(vfiod, "org.varlink.service.GetInfo", NULL, false, NULL, 0, -1,
				 NULL, NULL),
		-ECONNRESET);
	for (int i = 0; i < 2; i++) {
		mapped.argsz = unmapped.argsz = 0;
		assert_int_equal(
			vfiod_dma_map(vfiod, "t", CONTAINER, ADDRESS, 0, 4096, VFIOD_MAP_READ), 0);
		assert_int_equal(mapped.argsz, sizeof mapped);
		assert_string_equal(vfiod_strerror(vfiod),
			"this connection was given up after a failure; open another");
		assert_int_equal(vfiod_dma_unmap(vfiod, "t", CONTAINER, 0, 4096, NULL), 0);
		assert_int_equal(unmapped.argsz, sizeof unmapped);
	}
	vfiod_close(vfiod);
	fake_stop(fake);

	/* It goes in between: the first report finds out, or the next one does. */
	fake = fake_start(hang_up);
	vfiod = client_open(fake);
	fake_stop(fake);
	for (int i = 0; i < 2; i++)
		assert_int_equal(
			vfiod_dma_map(vfiod, "t", CONTAINER, ADDRESS, 0, 4096, VFIOD_MAP_READ), 0);
	assert_string_equal(vfiod_strerror(vfiod),
		"this connection was given up after a failure; open another");
	vfiod_close(vfiod);
}

static int gate[2];

/* Reads nothing more until the test lets it. */
static void stand_still(struct fake *fake, int peer, const char *method,
	struct json_object *parameters, const int *fds, size_t n_fds)
{
	char byte;

	(void)parameters;
	(void)fds;
	(void)n_fds;
	if (is(method, "org.varlink.service.GetInfo"))
		reply_info(fake, peer);
	else if (n_told++ == 0)
		fake_expect(read(gate[0], &byte, 1) == 1, "the gate");
}

/* A daemon that does not read holds nobody up for long, and hears of all of it when it does. */
static void the_daemon_does_not_read(void **state)
{
	char told[32];
	int n = 0;

	(void)state;
	kernel_error = 0;
	assert_int_equal(pipe(gate), 0);
	struct fake *fake = fake_start(stand_still);
	struct vfiod *vfiod = client_open(fake);
	do {
		assert_true(++n < 100000);
		assert_int_equal(
			vfiod_dma_map(vfiod, "t", CONTAINER, ADDRESS, 0, 4096, VFIOD_MAP_READ), 0);
	} while (!strstr(vfiod_strerror(vfiod), "vfiod does not read"));
	for (int i = 0; i < 1000; i++, n++)
		assert_int_equal(
			vfiod_dma_map(vfiod, "t", CONTAINER, ADDRESS, 0, 4096, VFIOD_MAP_READ), 0);
	assert_int_equal(write(gate[1], "", 1), 1);
	snprintf(told, sizeof told, "told %d", n);
	assert_told(vfiod, told);
	vfiod_close(vfiod);
	fake_stop(fake);
	close(gate[0]);
	close(gate[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(mappings_are_told),
		cmocka_unit_test(what_the_kernel_refuses),
		cmocka_unit_test(the_daemon_is_gone),
		cmocka_unit_test(the_daemon_does_not_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
