/*
 * Does a device that has no driver any more, as its link says, have one all the same: does the
 * kernel wait for who has it open? leaving.c knows by VFIO's directory below it, or because it was
 * seen with its driver; what an earlier daemon has lent was not, and since Linux 6.6 the directory
 * goes first (drivers/vfio/vfio_main.c, vfio_unregister_group_dev). Then its uevent file says: it
 * names the driver until the driver's remove() is done (drivers/base/core.c, dev_uevent). Some
 * kernels take the device's lock for that, which is held meanwhile: a child reads it, and if it
 * cannot, that is the same answer.
 */
#include "daemon/base/errand.h"
#include "daemon/base/log.h"
#include "daemon/base/util.h"
#include "daemon/broker/parts.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const double DEADLINE_SECONDS = 5;

struct leaving_question {
	struct errand *errand;
	char device[DEVICE_NAME_SIZE]; /* it was asked about */
	char syspath[512];
	bool is_mdev;    /* every driver of their bus is VFIO's */
	bool has_driver; /* of VFIO, as the last answer was */
	bool is_late;    /* it was no answer: a child may be stuck, and there shall be no second */
};

/* In the child. */
static int read_driver(FILE *answer, void *userdata)
{
	const struct leaving_question *question = userdata;
	char path[sizeof(question->syspath) + sizeof("/uevent")], line[256];

	snprintf(path, sizeof(path), "%s/uevent", question->syspath);
	_cleanup_fclose_ FILE *file = fopen(path, "re");
	if (!file)
		return -errno;
	while (fgets(line, sizeof(line), file))
		if (strncmp(line, "DRIVER=", strlen("DRIVER=")) == 0) {
			line[strcspn(line, "\n")] = '\0';
			fputs(line + strlen("DRIVER="), answer);
		}
	return 0;
}

static void on_read(
	struct errand *errand, int result, const char *answer, size_t length, void *userdata)
{
	(void)length;
	struct leaving_question *question = userdata;

	question->is_late = result == -ETIMEDOUT;
	question->has_driver =
		question->is_late ||
		(result == 0 && (question->is_mdev ? *answer != '\0' : driver_is_vfio(answer)));
	question->errand = errand_free(errand);
}

bool leaving_ask(struct holding *holding, const struct device *device)
{
	struct leaving_question *question = holding->leaving_question;

	if (!holding->recovery)
		return false;
	if (!question) {
		question = holding->leaving_question = calloc(1, sizeof(*question));
		if (!question)
			return false;
	}
	if (strcmp(question->device, device->name) != 0) {
		question->errand = errand_free(question->errand);
		question->has_driver = question->is_late = false;
		question->is_mdev = strcmp(device->bus, "mdev") == 0;
		string_copy(question->device, sizeof(question->device), device->name);
	}
	if (!question->errand && !question->is_late &&
		strlen(device->syspath) < sizeof(question->syspath)) {
		string_copy(question->syspath, sizeof(question->syspath), device->syspath);
		int r = errand_new(holding->broker->loop, "vfiod-look", read_driver, question,
			DEADLINE_SECONDS, on_read, question, &question->errand);
		if (r < 0)
			log_debug(
				"no child to look what drives %s: %s", device->name, strerror(-r));
	}
	return question->has_driver;
}

void leaving_forget(struct holding *holding)
{
	if (!holding->leaving_question)
		return;
	errand_free(holding->leaving_question->errand);
	free(holding->leaving_question);
	holding->leaving_question = NULL;
}
