/* Calls, and how replies and errors are told. */
#include "tests/vm/programs/space/space-client.h"

#include "tests/vm/programs/program.h"

#include <string.h>
#include <unistd.h>

enum { TIMEOUT_MS = 100000 };

static struct object *connection; /* in use */

static void connection_open(const char *name)
{
	connection = object_new(CONNECTION, name);
	if (vfiod_open(NULL, &connection->vfiod) < 0)
		err(EXIT_SYSTEM, "the daemon's socket");
}

static void command_connect(const struct words *words)
{
	connection_open(words->word[1]);
	answer("ok");
}

static void command_use(const struct words *words)
{
	connection = object_find(CONNECTION, words->word[1]);
	answer("ok");
}

static void command_close(const struct words *words)
{
	struct object *closed = object_find(CONNECTION, words->word[1]);

	vfiod_close(closed->vfiod);
	object_forget(closed);
	if (connection == closed)
		connection = NULL;
	answer("ok");
}

struct vfiod *handle(void)
{
	if (!connection)
		connection_open("main");
	return connection->vfiod;
}

static void flatten(FILE *text, const char *path, struct json_object *value)
{
	char name[256];

	switch (json_object_get_type(value)) {
	case json_type_object: {
		json_object_object_foreach (value, key, member) {
			snprintf(name, sizeof(name), "%s%s%s", path, *path ? "." : "", key);
			flatten(text, name, member);
		}
		break;
	}
	case json_type_array:
		for (size_t i = 0; i < json_object_array_length(value); i++) {
			snprintf(name, sizeof(name), "%s.%zu", path, i);
			flatten(text, name, json_object_array_get_idx(value, i));
		}
		break;
	case json_type_null:
		break;
	default:
		fprintf(text, " %s=%s", path, json_object_get_string(value));
	}
}

void answer_json(const char *begin, struct json_object *value)
{
	char *text = NULL;
	size_t size = 0;
	FILE *stream = open_memstream(&text, &size);

	flatten(stream, "", value);
	fclose(stream);
	answer("%s%s", begin, text);
	free(text);
}

struct reply {
	char *text;
	int fds[MAX_GROUPS];
	size_t n_fds;
};

static int on_reply(const char *parameters, int *fds, size_t n_fds, void *userdata)
{
	struct reply *reply = userdata;

	reply->text = strdup(parameters);
	for (; reply->n_fds < n_fds && reply->n_fds < MAX_GROUPS; reply->n_fds++) {
		reply->fds[reply->n_fds] = fds[reply->n_fds];
		fds[reply->n_fds] = -1;
	}
	return 0;
}

static void answer_error(const struct vfiod *vfiod)
{
	char begin[256];

	if (!vfiod_error_name(vfiod)) {
		answer("failed call: %s", vfiod_strerror(vfiod));
		return;
	}
	snprintf(begin, sizeof(begin), "error %s", vfiod_error_name(vfiod));
	struct json_object *parameters = json_tokener_parse(vfiod_error_parameters(vfiod));
	answer_json(begin, parameters);
	json_object_put(parameters);
}

static struct json_object *call_with(
	const char *method, struct json_object *parameters, int fd, struct reply *reply)
{
	struct vfiod *vfiod = handle();

	int r = vfiod_call(vfiod, method, json_object_to_json_string(parameters), false, &fd,
		fd >= 0 ? 1 : 0, TIMEOUT_MS, on_reply, reply);
	json_object_put(parameters);
	struct json_object *result = json_tokener_parse(reply->text ? reply->text : "{}");
	free(reply->text);
	if (r >= 0)
		return result;
	json_object_put(result);
	answer_error(vfiod);
	return NULL;
}

struct json_object *call(const char *method, struct json_object *parameters, int fd, int *reply_fd)
{
	struct reply reply = { .fds = { -1 } };
	struct json_object *result = call_with(method, parameters, fd, &reply);

	if (reply_fd)
		*reply_fd = reply.fds[0];
	for (size_t i = reply_fd ? 1 : 0; i < reply.n_fds; i++)
		close(reply.fds[i]);
	return result;
}

struct json_object *call_for_fds(
	const char *method, struct json_object *parameters, int fds[MAX_GROUPS], size_t *n_fds)
{
	struct reply reply = { .n_fds = 0 };
	struct json_object *result = call_with(method, parameters, -1, &reply);

	memcpy(fds, reply.fds, sizeof(reply.fds));
	*n_fds = reply.n_fds;
	return result;
}

void call_and_answer(const char *method, struct json_object *parameters)
{
	struct json_object *reply = call(method, parameters, -1, NULL);

	if (reply)
		answer_json("ok", reply);
	json_object_put(reply);
}

static void command_call(const struct words *words)
{
	call_and_answer(words->word[1], json_tokener_parse(words->word[2] ? words->word[2] : "{}"));
}

const struct command call_commands[] = {
	{ "connect", 1, command_connect },
	{ "use", 1, command_use },
	{ "close", 1, command_close },
	{ "call", 1, command_call },
	{ NULL },
};
