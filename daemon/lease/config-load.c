#include "daemon/lease/config-load.h"

#include "daemon/base/errand.h"
#include "daemon/base/util.h"

#include <errno.h>
#include <string.h>

static const double LOAD_SECONDS = 30;

struct config_load {
	char *path;
	struct errand *errand;
	config_loaded loaded;
	void *userdata;
};

/* In the child. Its answer: the names that it has looked up, or why the files are refused. */
static int look_up(FILE *answer, void *userdata)
{
	const struct config_load *load = userdata;
	struct config *config;
	struct refusal refusal;
	char *names = NULL;
	size_t length = 0;

	FILE *noted = open_memstream(&names, &length);
	if (!noted)
		return -ENOMEM;
	int r = config_read_names(
		load->path, &(struct config_names){ .noted = noted }, &config, &refusal);
	if (fclose(noted) != 0)
		return -ENOMEM;
	if (r >= 0)
		fputs(r == REFUSED ? refusal.text : names, answer);
	return r;
}

static void on_looked_up(
	struct errand *errand, int result, const char *answer, size_t length, void *userdata)
{
	(void)length;
	struct config_load *load = userdata;
	struct config *config = NULL;
	struct refusal refusal = { .kind = REFUSAL_NONE };

	if (result == 0)
		result = config_read_names(
			load->path, &(struct config_names){ .known = answer }, &config, &refusal);
	else if (result == REFUSED)
		refuse(&refusal, REFUSAL_CONFIGURATION, "%s", answer);
	else if (result == -ETIMEDOUT)
		result = refuse(&refusal, REFUSAL_CONFIGURATION,
			"%s: the users and groups that it names could not be looked up in %.0f s; "
			"numbers need no looking up",
			load->path, LOAD_SECONDS);
	load->errand = errand_free(errand);
	load->loaded(result, config, &refusal, load->userdata);
}

int config_load_new(struct ev_loop *loop, const char *path, config_loaded loaded, void *userdata,
	struct config_load **loadp)
{
	*loadp = NULL;
	struct config_load *load = calloc(1, sizeof(*load));
	if (!load)
		return -ENOMEM;
	load->loaded = loaded;
	load->userdata = userdata;
	load->path = path ? strdup(path) : NULL;
	int r = path && !load->path ? -ENOMEM
				    : errand_new(loop, "vfiod-config", look_up, load, LOAD_SECONDS,
					      on_looked_up, load, &load->errand);
	if (r < 0) {
		config_load_free(load);
		return r;
	}
	*loadp = load;
	return 0;
}

struct config_load *config_load_free(struct config_load *load)
{
	if (!load)
		return NULL;
	errand_free(load->errand);
	free(load->path);
	free(load);
	return NULL;
}
