#include "guard-bench.h"

#include "daemon/privilege/open-files.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cmocka.h>

static void make_parents(char *path)
{
	for (char *c = path + 1; *c; c++)
		if (*c == '/') {
			*c = '\0';
			assert_true(mkdir(path, 0700) == 0 || errno == EEXIST);
			*c = '/';
		}
}

static void whole_path(const struct guard_bench *bench, const char *path, char whole[PATH_MAX])
{
	assert_in_range(snprintf(whole, PATH_MAX, "%s/%s", bench->root, path), 1, PATH_MAX - 1);
	make_parents(whole);
}

void bench_file(const struct guard_bench *bench, const char *path, const char *text)
{
	char whole[PATH_MAX];

	whole_path(bench, path, whole);
	FILE *stream = fopen(whole, "we");
	assert_non_null(stream);
	assert_true(fputs(text, stream) >= 0);
	assert_int_equal(fclose(stream), 0);
}

void bench_directory(const struct guard_bench *bench, const char *path)
{
	char whole[PATH_MAX];

	whole_path(bench, path, whole);
	assert_int_equal(mkdir(whole, 0700), 0);
}

void bench_link(const struct guard_bench *bench, const char *path, const char *target)
{
	char whole[PATH_MAX];

	whole_path(bench, path, whole);
	assert_int_equal(symlink(target, whole), 0);
}

void bench_class_device(
	const struct guard_bench *bench, const char *path, const char *class, const char *number)
{
	char file[PATH_MAX], target[64];

	snprintf(file, sizeof(file), "%s/subsystem", path);
	snprintf(target, sizeof(target), "../../../class/%s", class);
	bench_link(bench, file, target);
	snprintf(file, sizeof(file), "%s/dev", path);
	if (number)
		bench_file(bench, file, number);
}

void bench_process(const struct guard_bench *bench, int pid, const char *name, const char *target,
	const char *flags)
{
	char path[64], text[64];

	snprintf(path, sizeof(path), "proc/%d/comm", pid);
	bench_file(bench, path, name);
	snprintf(path, sizeof(path), "proc/%d/fd/5", pid);
	bench_link(bench, path, target);
	snprintf(path, sizeof(path), "proc/%d/fdinfo/5", pid);
	snprintf(text, sizeof(text), "pos:\t0\nflags:\t%s\nmnt_id:\t25\n", flags);
	bench_file(bench, path, text);
}

/* The nodes of processes: nobody may make real ones for a test. */
static bool fake_number(const struct open_file *file, bool *is_block, dev_t *number)
{
	static const struct {
		const char *target;
		bool is_block;
		unsigned major, minor;
	} nodes[] = {
		{ "/dev/nvme0n1p2", true, 259, 2 },
		{ "/dev/nvme0n1", true, 259, 0 },
		{ "/dev/nvme0", false, 243, 0 },
		{ "/dev/dri/card0", false, 226, 0 },
		{ "/dev/infiniband/uverbs0", false, 231, 192 },
		/* The number of a block device of the bench, but a character device. */
		{ "/dev/other", false, 259, 1 },
	};

	for (size_t i = 0; i < sizeof(nodes) / sizeof(nodes[0]); i++)
		if (strcmp(nodes[i].target, file->target) == 0) {
			*is_block = nodes[i].is_block;
			*number = makedev(nodes[i].major, nodes[i].minor);
			return true;
		}
	return false;
}

static int no_route(unsigned ifindex, char *route, size_t size)
{
	(void)ifindex;
	(void)route;
	(void)size;
	return 0;
}

static int no_xdp(unsigned ifindex)
{
	(void)ifindex;
	return 0;
}

int guard_bench_set_up(void **state)
{
	struct guard_bench *bench = calloc(1, sizeof(*bench));

	assert_non_null(bench);
	snprintf(bench->root, sizeof(bench->root), "/tmp/vfiod-guard-XXXXXX");
	assert_non_null(mkdtemp(bench->root));
	snprintf(bench->device, sizeof(bench->device), "%s/device", bench->root);
	snprintf(bench->proc, sizeof(bench->proc), "%s/proc", bench->root);
	snprintf(bench->sys, sizeof(bench->sys), "%s/sys", bench->root);
	snprintf(bench->dev, sizeof(bench->dev), "%s/dev", bench->root);
	bench_file(bench, "proc/1/mountinfo", "21 27 0:20 / /sys rw - sysfs sysfs rw\n");

	bench_class_device(bench, "device/nvme/nvme0", "nvme", "243:0\n");
	bench_class_device(bench, "device/nvme/nvme0/nvme0n1", "block", "259:0\n");
	bench_directory(bench, "device/nvme/nvme0/nvme0n1/holders");
	bench_class_device(bench, "device/nvme/nvme0/nvme0n1/nvme0n1p1", "block", "259:1\n");
	bench_directory(bench, "device/nvme/nvme0/nvme0n1/nvme0n1p1/holders");
	bench_class_device(bench, "device/nvme/nvme0/nvme0n1/nvme0n1p2", "block", "259:2\n");
	bench_class_device(bench, "device/net/enp1s0", "net", NULL);
	bench_file(bench, "device/net/enp1s0/ifindex", "2\n");
	/* Below a bridge, say: with a group of its own. */
	bench_link(bench, "device/0000:02:00.0/iommu_group", "anywhere");
	bench_class_device(bench, "device/0000:02:00.0/net/enp2s0", "net", NULL);
	/* No way to another device's. */
	bench_link(bench, "device/device", "anywhere");

	bench->sources = (struct guard_sources){
		.proc = bench->proc,
		.sys = bench->sys,
		.dev = bench->dev,
		.find_route = no_route,
		.has_xdp = no_xdp,
		.file_number = fake_number,
	};
	*state = bench;
	return 0;
}

int guard_bench_tear_down(void **state)
{
	struct guard_bench *bench = *state;
	char command[128];

	snprintf(command, sizeof(command), "rm -r %s", bench->root);
	assert_int_equal(system(command), 0); /* NOLINT(cert-env33-c) */
	free(bench);
	return 0;
}

int bench_ask(struct guard_bench *bench)
{
	return guard_device(&bench->sources, bench->device, "0000:01:00.0", &bench->refusal);
}

void assert_free(struct guard_bench *bench)
{
	int r = bench_ask(bench);

	if (r == REFUSED)
		fail_msg("in use: %s", bench->refusal.text);
	assert_int_equal(r, 0);
}

void assert_in_use(struct guard_bench *bench, const char *use)
{
	assert_int_equal(bench_ask(bench), REFUSED);
	assert_int_equal(bench->refusal.kind, REFUSAL_DEVICE_IN_USE);
	assert_string_equal(bench->refusal.device, "0000:01:00.0");
	assert_string_equal(bench->refusal.text, use);
}
