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

static struct vfiod *handle(void)
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
	int fd;
};

static int on_reply(const char *parameters, int *fds, size_t n_fds, void *userdata)
{
	struct reply *reply = userdata;

	reply->text = strdup(parameters);
	if (n_fds > 0) {
		reply->fd = fds[0];
		fds[0] = -1;
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

struct json_object *call(const char *method, struct json_object *parameters, int fd, int *reply_fd)
{
	struct vfiod *vfiod = handle();
	struct reply reply = { .fd = -1 };

	int r = vfiod_call(vfiod, method, json_object_to_json_string(parameters), false, &fd,
		fd >= 0 ? 1 : 0, TIMEOUT_MS, on_reply, &reply);
	json_object_put(parameters);
	if (reply_fd)
		*reply_fd = reply.fd;
	else if (reply.fd >= 0)
		close(reply.fd);
	if (r < 0) {
		answer_error(vfiod);
		free(reply.text);
		return NULL;
	}
	struct json_object *result = json_tokener_parse(reply.text ? reply.text : "{}");
	free(reply.text);
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

static struct json_object *field(struct json_object *object, const char *key)
{
	return json_object_object_get(object, key);
}

static void print_account(FILE *text, const char *name, struct json_object *account)
{
	enum { PAGE = 4096 };

	fprintf(text, " %s=%jd/%jd", name,
		(intmax_t)json_object_get_int64(field(account, "owedBytes")) / PAGE,
		(intmax_t)json_object_get_int64(field(account, "kernelBillBytes")) / PAGE);
}

static int compare_names(const void *a, const void *b)
{
	struct json_object *const *x = a, *const *y = b;
	return strcmp(json_object_get_string(field(*x, "name")),
		json_object_get_string(field(*y, "name")));
}

static void command_ledger(const struct words *words)
{
	struct json_object *book =
		call("org.vfiod.Ledger.Describe", json_object_new_object(), -1, NULL);
	char *text = NULL;
	size_t size = 0;

	(void)words;
	if (!book)
		return;
	FILE *stream = open_memstream(&text, &size);
	print_account(stream, "host", book);
	struct json_object *accounts = field(book, "accounts");
	json_object_array_sort(accounts, compare_names);
	for (size_t i = 0; i < json_object_array_length(accounts); i++) {
		struct json_object *account = json_object_array_get_idx(accounts, i);
		print_account(stream, json_object_get_string(field(account, "name")), account);
	}
	fclose(stream);
	answer("ok%s", text);
	free(text);
	json_object_put(book);
}

const struct command call_commands[] = {
	{ "connect", 1, command_connect },
	{ "use", 1, command_use },
	{ "close", 1, command_close },
	{ "call", 1, command_call },
	{ "ledger", 0, command_ledger },
	{ NULL },
};
