/* Leases, spaces, and mappings. */
#include "tests/vm/programs/space/space-client.h"

#include "tests/vm/programs/program.h"

#include <string.h>
#include <sys/pidfd.h>
#include <unistd.h>

static struct json_object *object(void)
{
	struct json_object *object = json_object_new_object();
	if (!object)
		err(EXIT_SYSTEM, "memory");
	return object;
}

static void put_text(struct json_object *to, const char *key, const char *text)
{
	json_object_object_add(to, key, json_object_new_string(text));
}

static void put_number(struct json_object *to, const char *key, uint64_t number)
{
	json_object_object_add(to, key, json_object_new_int64((int64_t)number));
}

static struct json_object *of_space(const struct words *words, size_t i)
{
	struct json_object *parameters = object();
	put_text(parameters, "space", object_find(SPACE, words->word[i])->token);
	return parameters;
}

static char *text_of(struct json_object *from, const char *key)
{
	const char *text = json_object_get_string(json_object_object_get(from, key));
	if (!text)
		errx(EXIT_SYSTEM, "no %s in the reply", key);
	return strdup(text);
}

static void take_groups(struct object *lease, struct json_object *reply)
{
	struct json_object *groups = json_object_object_get(reply, "groups");
	size_t n = json_object_array_length(groups);

	for (size_t i = 0; i < n && i < sizeof(lease->groups) / sizeof(*lease->groups); i++)
		lease->groups[i] = json_object_get_int(
			json_object_object_get(json_object_array_get_idx(groups, i), "number"));
}

static void command_acquire(const struct words *words)
{
	struct json_object *parameters = object(), *selectors = json_object_new_array();

	for (size_t i = 2; i < words->n; i++) {
		struct json_object *selector = object();
		put_text(selector, "device", words->word[i]);
		json_object_array_add(selectors, selector);
	}
	json_object_object_add(parameters, "selectors", selectors);
	put_text(parameters, "mode", "brokered");
	struct json_object *reply = call("org.vfiod.Broker.Acquire", parameters, -1, NULL);
	if (!reply)
		return;
	struct object *lease = object_new(LEASE, words->word[1]);
	lease->token = text_of(reply, "token");
	take_groups(lease, reply);
	answer("ok lease=%s", json_object_get_string(json_object_object_get(reply, "lease")));
	json_object_put(reply);
}

static void command_release(const struct words *words)
{
	struct object *lease = object_find(LEASE, words->word[1]);
	struct json_object *parameters = object();

	put_text(parameters, "token", lease->token);
	lease_close_groups(lease);
	call_and_answer("org.vfiod.Broker.Release", parameters);
	object_forget(lease);
}

static void command_create(const struct words *words)
{
	struct json_object *parameters = object();
	int pidfd = -1;

	if (words->n > 2)
		put_number(parameters, "maxGroupsPerContainer", word_number(words, 2));
	if (words->n > 3) {
		pidfd = pidfd_open((pid_t)word_number(words, 3), 0);
		put_number(parameters, "holderFileDescriptor", 0);
	}
	struct json_object *reply = call("org.vfiod.Space.Create", parameters, pidfd, NULL);
	if (pidfd >= 0)
		close(pidfd);
	if (!reply)
		return;
	object_new(SPACE, words->word[1])->token = text_of(reply, "space");
	answer("ok name=%s", json_object_get_string(json_object_object_get(reply, "name")));
	json_object_put(reply);
}

static void command_token(const struct words *words)
{
	answer("ok %s", object_find(SPACE, words->word[1])->token);
}

static void command_open(const struct words *words)
{
	object_new(SPACE, words->word[1])->token = strdup(words->word[2]);
	answer("ok");
}

/* Its name, and those of memory in it, can be used again. */
static void command_destroy(const struct words *words)
{
	struct json_object *reply = call("org.vfiod.Space.Destroy", of_space(words, 1), -1, NULL);

	if (!reply)
		return;
	object_forget(object_find(SPACE, words->word[1]));
	objects_forget_in(words->word[1]);
	answer_json("ok", reply);
	json_object_put(reply);
}

static void command_describe(const struct words *words)
{
	call_and_answer("org.vfiod.Space.Describe", of_space(words, 1));
}

static int group_of(const struct words *words, size_t lease, size_t index)
{
	size_t i = words->n > index ? word_number(words, index) : 0;
	return object_find(LEASE, words->word[lease])->groups[i % 8];
}

static void command_attach(const struct words *words)
{
	struct json_object *parameters = of_space(words, 1);

	put_text(parameters, "token", object_find(LEASE, words->word[2])->token);
	put_number(parameters, "group", (uint64_t)group_of(words, 2, 3));
	call_and_answer("org.vfiod.Space.Attach", parameters);
}

static void command_detach(const struct words *words)
{
	struct json_object *parameters = of_space(words, 1);

	put_number(parameters, "group", (uint64_t)group_of(words, 2, 3));
	call_and_answer("org.vfiod.Space.Detach", parameters);
}

static struct object *number_in(const char *space, const char *memory, bool is_new)
{
	char name[256];

	snprintf(name, sizeof(name), "%s %s", space, memory);
	return is_new ? object_new(MEMORY_OF_SPACE, name) : object_find(MEMORY_OF_SPACE, name);
}

static void command_add(const struct words *words)
{
	struct json_object *parameters = of_space(words, 1);

	put_number(parameters, "memoryFileDescriptor", 0);
	struct json_object *reply = call("org.vfiod.Space.AddMemory", parameters,
		object_find(MEMORY, words->word[2])->fd, NULL);
	if (!reply)
		return;
	number_in(words->word[1], words->word[2], true)->number =
		json_object_get_int64(json_object_object_get(reply, "memory"));
	/* Numbers are the daemon's affair. */
	json_object_object_del(reply, "memory");
	answer_json("ok", reply);
	json_object_put(reply);
}

static void command_remove(const struct words *words)
{
	struct object *number = number_in(words->word[1], words->word[2], false);
	struct json_object *parameters = of_space(words, 1);

	put_number(parameters, "memory", (uint64_t)number->number);
	struct json_object *reply = call("org.vfiod.Space.RemoveMemory", parameters, -1, NULL);
	if (!reply)
		return;
	object_forget(number);
	json_object_put(reply);
	answer("ok");
}

/* What is not a number goes as it is. */
static void put_iova(struct json_object *to, const char *text)
{
	put_text(to, "iova", text);
}

static void command_map(const struct words *words)
{
	struct json_object *parameters = of_space(words, 1);

	put_number(parameters, "memory",
		(uint64_t)number_in(words->word[1], words->word[2], false)->number);
	put_number(parameters, "offset", word_number(words, 3));
	put_iova(parameters, words->word[4]);
	put_number(parameters, "length", word_number(words, 5));
	if (words->n > 6) {
		json_object_object_add(parameters, "read",
			json_object_new_boolean(strchr(words->word[6], 'r') != NULL));
		json_object_object_add(parameters, "write",
			json_object_new_boolean(strchr(words->word[6], 'w') != NULL));
	}
	call_and_answer("org.vfiod.Space.Map", parameters);
}

static void command_unmap(const struct words *words)
{
	struct json_object *parameters = of_space(words, 1);

	put_iova(parameters, words->word[2]);
	put_number(parameters, "length", word_number(words, 3));
	call_and_answer("org.vfiod.Space.Unmap", parameters);
}

static void command_device(const struct words *words)
{
	struct json_object *parameters = of_space(words, 2);
	int fd = -1;

	put_number(parameters, "group", (uint64_t)object_find(LEASE, words->word[3])->groups[0]);
	put_text(parameters, "device", words->word[4]);
	struct json_object *reply = call("org.vfiod.Space.GetDevice", parameters, -1, &fd);
	if (!reply)
		return;
	json_object_put(reply);
	if (fd < 0) {
		answer("failed device: no descriptor came");
		return;
	}
	object_new(DEVICE, words->word[1])->fd = fd;
	answer("ok");
}

static void command_reset(const struct words *words)
{
	struct json_object *parameters = of_space(words, 1);

	put_number(parameters, "group", (uint64_t)object_find(LEASE, words->word[2])->groups[0]);
	put_text(parameters, "device", words->word[3]);
	if (words->n > 4)
		put_text(parameters, "scope", words->word[4]);
	call_and_answer("org.vfiod.Space.ResetDevice", parameters);
}

const struct command space_commands[] = {
	{ "acquire", 2, command_acquire },
	{ "release", 1, command_release },
	{ "create", 1, command_create },
	{ "token", 1, command_token },
	{ "open", 2, command_open },
	{ "destroy", 1, command_destroy },
	{ "describe", 1, command_describe },
	{ "attach", 2, command_attach },
	{ "detach", 2, command_detach },
	{ "add", 2, command_add },
	{ "remove", 2, command_remove },
	{ "map", 5, command_map },
	{ "unmap", 3, command_unmap },
	{ "device", 4, command_device },
	{ "reset", 3, command_reset },
	{ NULL },
};
