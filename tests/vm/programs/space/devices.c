/* DMA by an edu, pins by an mdev of tests/vm/module, and a word of any. */
#include "tests/vm/programs/space/space-client.h"
#include "tests/vm/programs/word.h"

#include <unistd.h>

static void command_edu(const struct words *words)
{
	struct object *device = object_find(DEVICE, words->word[1]);

	edu_device_open(&device->edu, device->fd);
	answer("ok");
}

static void command_to_device(const struct words *words)
{
	edu_to_device(&object_find(DEVICE, words->word[1])->edu, word_number(words, 2));
	answer("ok");
}

static void command_to_memory(const struct words *words)
{
	edu_to_memory(&object_find(DEVICE, words->word[1])->edu, word_number(words, 2));
	answer("ok");
}

static void command_drop(const struct words *words)
{
	struct object *device = object_find(DEVICE, words->word[1]);

	if (device->edu.fd >= 0) {
		edu_device_close(&device->edu);
		device->fd = -1;
	}
	object_forget(device);
	answer("ok");
}

static void command_word(const struct words *words)
{
	uint32_t value = words->n > 3 ? (uint32_t)word_number(words, 3) : 0;

	answer("ok 0x%x", device_word(object_find(DEVICE, words->word[1])->fd,
				  word_number(words, 2), words->n > 3 ? &value : NULL));
}

/* What vfiod-pin.c declares. */
static void pin_range(const struct words *words, off_t at)
{
	uint64_t range[2] = { word_number(words, 2), word_number(words, 3) };
	const struct object *device = object_find(DEVICE, words->word[1]);

	if (pwrite(device->fd, range, sizeof(range), at) == sizeof(range))
		answer("ok");
	else
		answer_failed("pwrite");
}

static void command_mdev_pin(const struct words *words)
{
	pin_range(words, 0);
}

static void command_mdev_unpin(const struct words *words)
{
	pin_range(words, 16);
}

static void command_mdev_word(const struct words *words)
{
	const struct object *device = object_find(DEVICE, words->word[1]);
	off_t iova = (off_t)word_number(words, 2);
	uint64_t value = words->n > 3 ? word_number(words, 3) : 0;

	if (words->n > 3 && pwrite(device->fd, &value, sizeof(value), iova) != sizeof(value))
		answer_failed("pwrite");
	else if (pread(device->fd, &value, sizeof(value), iova) != sizeof(value))
		answer_failed("pread");
	else
		answer("ok 0x%llx", (unsigned long long)value);
}

const struct command device_commands[] = {
	{ "edu", 1, command_edu },
	{ "to-device", 2, command_to_device },
	{ "to-memory", 2, command_to_memory },
	{ "word", 2, command_word },
	{ "mdev-pin", 3, command_mdev_pin },
	{ "mdev-unpin", 3, command_mdev_unpin },
	{ "mdev-word", 2, command_mdev_word },
	{ "drop", 1, command_drop },
	{ NULL },
};
