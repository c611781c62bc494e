/*
 * Is a device without a driver still VFIO's: what the kernel's answer is taken for, when it is
 * asked again, and that one that does not come is an answer, too.
 */
#include "daemon/base/errand.h"
#include "daemon/base/log.h"
#include "daemon/base/util.h"
#include "daemon/broker/parts.h"
#include "tests/unit/remove-tree.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* --- errands without children: the test says when one is done ----------------------------------
 */

struct errand {
	errand_work work;
	errand_done done;
	void *work_userdata, *userdata;
};
static struct errand *on_its_way; /* NULL: none */
static unsigned n_sent;
static int no_child; /* errand_new() fails with it */

int errand_new(struct ev_loop *loop, const char *name, errand_work work, void *work_userdata,
	double deadline_seconds, errand_done done, void *userdata, struct errand **errand)
{
	(void)loop;
	(void)name;
	assert_true(deadline_seconds > 0);
	assert_null(on_its_way);
	*errand = NULL;
	if (no_child)
		return no_child;
	*errand = on_its_way = calloc(1, sizeof(**errand));
	assert_non_null(on_its_way);
	**errand = (struct errand){ work, done, work_userdata, userdata };
	n_sent++;
	return 0;
}

struct errand *errand_free(struct errand *errand)
{
	if (errand) {
		assert_ptr_equal(errand, on_its_way);
		on_its_way = NULL;
	}
	free(errand);
	return NULL;
}

/* Its child reads, and comes back. */
static void come_back(void)
{
	struct errand *errand = on_its_way;
	char *answer = NULL;
	size_t length;

	assert_non_null(errand);
	FILE *file = open_memstream(&answer, &length);
	assert_non_null(file);
	int r = errand->work(file, errand->work_userdata);
	assert_int_equal(fclose(file), 0);
	errand->done(errand, r, answer, length, errand->userdata);
	free(answer);
	assert_null(on_its_way);
}

static void come_back_with(int result)
{
	on_its_way->done(on_its_way, result, "", 0, on_its_way->userdata);
	assert_null(on_its_way);
}

/* --- a holding that an earlier daemon has left, and a device of it ------------------------------
 */

struct bench {
	char directory[64];
	struct broker broker;
	struct holding holding;
	struct device device;
};

static int set_up(void **state)
{
	struct bench *bench = calloc(1, sizeof(*bench));

	assert_non_null(bench);
	log_open(LOG_EMERG);
	n_sent = 0;
	no_child = 0;
	snprintf(bench->directory, sizeof(bench->directory), "/tmp/test-leaving-XXXXXX");
	assert_non_null(mkdtemp(bench->directory));
	bench->holding.broker = &bench->broker;
	bench->holding.recovery = (struct recovery *)bench;
	strcpy(bench->device.name, "0000:01:00.0");
	strcpy(bench->device.bus, "pci");
	bench->device.syspath = bench->directory;
	*state = bench;
	return 0;
}

static int tear_down(void **state)
{
	struct bench *bench = *state;

	leaving_forget(&bench->holding);
	assert_null(bench->holding.leaving_question);
	assert_null(on_its_way);
	remove_tree(bench->directory);
	free(bench);
	return 0;
}

static void set_uevent(const struct bench *bench, const char *text)
{
	char path[96];

	snprintf(path, sizeof(path), "%s/uevent", bench->directory);
	assert_int_equal(file_write_atomic(path, text, strlen(text)), 0);
}

static bool ask(struct bench *bench)
{
	return leaving_ask(&bench->holding, &bench->device);
}

/* What it is told after the answer; that is asked for again at once. */
static bool answer_to(struct bench *bench, const char *uevent)
{
	set_uevent(bench, uevent);
	ask(bench);
	come_back();
	bool answer = ask(bench);
	come_back();
	return answer;
}

static void test_nobody_left_it(void **state)
{
	struct bench *bench = *state;

	bench->holding.recovery = NULL;
	set_uevent(bench, "DRIVER=vfio-pci\n");
	assert_false(ask(bench));
	assert_null(bench->holding.leaving_question);
	assert_int_equal(n_sent, 0);
}

static void test_answers(void **state)
{
	struct bench *bench = *state;

	set_uevent(bench, "DRIVER=vfio-pci\n");
	assert_false(ask(bench)); /* not known yet */
	assert_false(ask(bench));
	assert_int_equal(n_sent, 1);
	come_back();
	assert_true(ask(bench));
	assert_int_equal(n_sent, 2);
	come_back();
	assert_true(answer_to(bench, "SUBSYSTEM=x\nDRIVER=mlx5_vfio_pci\nPCI_CLASS=20000\n"));
	assert_false(answer_to(bench, "DRIVER=e1000\n"));
	assert_false(answer_to(bench, "OLD_DRIVER=vfio-pci\nPCI_CLASS=20000\n"));
	assert_false(answer_to(bench, ""));
	/* Every driver of their bus is VFIO's. */
	strcpy(bench->device.bus, "mdev");
	strcpy(bench->device.name, "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001");
	assert_true(answer_to(bench, "DRIVER=anything\n"));
	assert_false(answer_to(bench, "MODALIAS=mdev:\n"));
}

static void test_no_answer(void **state)
{
	struct bench *bench = *state;

	/* It is no more. */
	ask(bench);
	come_back();
	assert_false(ask(bench));
	come_back_with(-ECHILD);
	assert_false(ask(bench));
	/* The lock that it would have to wait for is held because the device leaves. */
	come_back_with(-ETIMEDOUT);
	assert_true(ask(bench));
	/* There is no second child: the first one may hang still. */
	assert_true(ask(bench));
	assert_null(on_its_way);
	/* Of another device, it says nothing. */
	strcpy(bench->device.name, "0000:01:00.1");
	set_uevent(bench, "DRIVER=e1000\n");
	assert_false(ask(bench));
	come_back();
	assert_false(ask(bench));
}

static void test_no_child(void **state)
{
	struct bench *bench = *state;

	set_uevent(bench, "DRIVER=vfio-pci\n");
	no_child = -EAGAIN;
	assert_false(ask(bench));
	no_child = 0;
	assert_false(ask(bench));
	come_back();
	assert_true(ask(bench));
	/* What is known is kept until the next answer. */
	come_back();
	no_child = -ENOMEM;
	assert_true(ask(bench));
}

static void test_another_meanwhile(void **state)
{
	struct bench *bench = *state;

	set_uevent(bench, "DRIVER=vfio-pci\n");
	ask(bench);
	come_back();
	assert_true(ask(bench));
	/* The child that looks at the first is called off. */
	strcpy(bench->device.name, "0000:01:00.1");
	assert_false(ask(bench));
	assert_int_equal(n_sent, 3);
	come_back();
	assert_true(ask(bench));
	/* A path that is too long is not looked at. */
	char path[600];
	memset(path, 'x', sizeof(path) - 1);
	path[sizeof(path) - 1] = '\0';
	strcpy(bench->device.name, "0000:01:00.2");
	bench->device.syspath = path;
	assert_false(ask(bench));
	assert_null(on_its_way);
	bench->device.syspath = bench->directory;
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(test_nobody_left_it),
		TEST(test_answers),
		TEST(test_no_answer),
		TEST(test_no_child),
		TEST(test_another_meanwhile),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
