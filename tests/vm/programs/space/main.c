/* Reads commands, and keeps what has a name. */
#include "tests/vm/programs/space/space-client.h"

#include "tests/vm/programs/program.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static struct object *objects;
static FILE *answers;

static struct object *look(enum kind kind, const char *name)
{
	for (struct object *object = objects; object; object = object->next)
		if (object->kind == kind && strcmp(object->name, name) == 0)
			return object;
	return NULL;
}

struct object *object_new(enum kind kind, const char *name)
{
	struct object *object = calloc(1, sizeof(*object));

	if (look(kind, name))
		errx(EXIT_USAGE, "there is a %s already", name);
	if (!object)
		err(EXIT_SYSTEM, "memory");
	*object = (struct object){
		.next = objects, .kind = kind, .name = strdup(name), .fd = -1, .edu.fd = -1
	};
	objects = object;
	return object;
}

struct object *object_find(enum kind kind, const char *name)
{
	struct object *object = look(kind, name);
	if (!object)
		errx(EXIT_USAGE, "there is no %s", name);
	return object;
}

void object_forget(struct object *object)
{
	struct object **at = &objects;

	while (*at != object)
		at = &(*at)->next;
	*at = object->next;
	if (object->fd >= 0)
		close(object->fd);
	lease_close_groups(object);
	if (object->address)
		munmap(object->address, object->n_bytes);
	free(object->token);
	free(object->name);
	free(object);
}

void objects_forget_in(const char *space)
{
	size_t length = strlen(space);

	for (struct object *object = objects, *next; object; object = next) {
		next = object->next;
		if (object->kind == MEMORY_OF_SPACE && strncmp(object->name, space, length) == 0 &&
			object->name[length] == ' ')
			object_forget(object);
	}
}

uint64_t word_number(const struct words *words, size_t i)
{
	static const char units[] = "KMG";
	char *end;

	errno = 0;
	uint64_t number = strtoull(words->word[i], &end, 0);
	const char *unit = *end ? strchr(units, *end) : NULL;
	if (unit)
		number <<= 10 * (unit - units + 1);
	if (errno || end == words->word[i] || end[unit != NULL])
		errx(EXIT_USAGE, "not a number: %s", words->word[i]);
	return number;
}

void answer(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vfprintf(answers, format, arguments);
	va_end(arguments);
	putc('\n', answers);
	fflush(answers);
}

void answer_failed(const char *what)
{
	answer("failed %s: %s", what, strerror(errno));
}

static bool run_one_of(const struct command *commands, const struct words *words)
{
	for (const struct command *command = commands; command->name; command++) {
		if (strcmp(command->name, words->word[0]) != 0)
			continue;
		if (words->n < command->n_words + 1)
			errx(EXIT_USAGE, "%s: of what?", command->name);
		command->run(words);
		return true;
	}
	return false;
}

static void run(const struct words *words)
{
	if (!run_one_of(call_commands, words) && !run_one_of(ledger_commands, words) &&
		!run_one_of(space_commands, words) && !run_one_of(memory_commands, words) &&
		!run_one_of(device_commands, words) && !run_one_of(direct_commands, words) &&
		!run_one_of(child_commands, words))
		errx(EXIT_USAGE, "what is '%s'?", words->word[0]);
}

int main(int argc, char *argv[])
{
	char *line = NULL;
	size_t size = 0;

	if (argc != 2)
		errx(EXIT_USAGE, "see tests/vm/programs/space/space-client.h");
	answers = fopen(argv[1], "we");
	if (!answers)
		err(EXIT_SYSTEM, "%s", argv[1]);
	while (getline(&line, &size, stdin) > 0) {
		struct words words = { .n = 0 };
		char *rest = line, *word;
		while (words.n < MAX_WORDS && (word = strsep(&rest, " \n")))
			if (*word)
				words.word[words.n++] = word;
		if (words.n == 0)
			continue;
		if (strcmp(words.word[0], "quit") == 0)
			break;
		run(&words);
	}
	answer("ok");
	free(line);
	return 0;
}
