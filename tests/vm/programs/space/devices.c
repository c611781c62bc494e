/* DMA by an edu, and a word of any. */
#include "tests/vm/programs/space/space-client.h"
#include "tests/vm/programs/word.h"

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

const struct command device_commands[] = {
	{ "edu", 1, command_edu },
	{ "to-device", 2, command_to_device },
	{ "to-memory", 2, command_to_memory },
	{ "word", 2, command_word },
	{ "drop", 1, command_drop },
	{ NULL },
};
