/*
 * The inputs that are kept, through a target that was built without libFuzzer: files or directories
 * as arguments, or corpus/NAME in the checkout that it is run from. The lines are cmocka's.
 */
#include "tests/fuzz/fuzz.h"

#include <dirent.h>
#include <err.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static void replay_file(const char *path)
{
	FILE *file = fopen(path, "re");
	struct stat status;

	if (!file || fstat(fileno(file), &status) < 0)
		err(1, "%s", path);
	size_t size = (size_t)status.st_size;
	/* Not one byte more, so that sanitizers and valgrind see who reads beyond it. */
	uint8_t *data = malloc(size);
	if ((!data && size > 0) || fread(data, 1, size, file) != size)
		err(1, "%s", path);
	fclose(file);
	/* Where it ends in the middle, this says what it was. */
	fprintf(stderr, "%s\n", path);
	LLVMFuzzerTestOneInput(data, size);
	free(data);
	printf("[       OK ] %s\n", path);
}

static void replay(const char *path)
{
	DIR *directory = opendir(path);
	const struct dirent *entry;

	if (!directory && errno != ENOTDIR)
		err(1, "%s", path);
	if (!directory) {
		replay_file(path);
		return;
	}
	while ((entry = readdir(directory))) {
		char name[512];
		snprintf(name, sizeof(name), "%s/%.255s", path, entry->d_name);
		if (entry->d_name[0] != '.')
			replay_file(name);
	}
	closedir(directory);
}

int main(int argc, char *argv[])
{
	char corpus[128];
	const char *dash = strrchr(argv[0], '-');

	for (int i = 1; i < argc; i++)
		replay(argv[i]);
	if (argc > 1)
		return 0;
	if (!dash)
		errx(2, "which inputs?");
	snprintf(corpus, sizeof(corpus), "tests/fuzz/corpus/%s", dash + 1);
	replay(corpus);
	return 0;
}
