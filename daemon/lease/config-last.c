#include "daemon/lease/config-last.h"

#include "daemon/base/util.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

static int last_path(char path[PATH_MAX], const char *state_directory)
{
	int n = snprintf(path, PATH_MAX, "%s/configuration", state_directory);
	return n < 0 || n >= PATH_MAX ? -ENAMETOOLONG : 0;
}

int config_keep(const struct config *config, const char *state_directory)
{
	char path[PATH_MAX];

	int r = last_path(path, state_directory);
	if (r < 0 || !config->text)
		return r;
	return file_replace(path, config->text, strlen(config->text));
}

int config_read_last(const char *state_directory, struct config **config, struct refusal *refusal)
{
	char path[PATH_MAX];

	int r = last_path(path, state_directory);
	if (r == 0 && access(path, F_OK) < 0)
		r = -errno;
	return r < 0 ? r : config_read(path, config, refusal);
}
