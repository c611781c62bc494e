/* [pool NAME]: devices of one kind, by a name. */
#include "daemon/base/util.h"
#include "daemon/lease/config-parse.h"

#include <errno.h>
#include <string.h>

struct pool *parser_pool(struct parser *parser)
{
	return &parser->config->pools[parser->config->n_pools - 1];
}

const struct pool *config_pool(const struct config *config, const char *name)
{
	for (size_t i = 0; i < config->n_pools; i++)
		if (strcmp(config->pools[i].name, name) == 0)
			return &config->pools[i];
	return NULL;
}

int parser_begin_pool(struct parser *parser, const char *name)
{
	struct config *config = parser->config;
	int r = text_fits(name, NAME_REGEX);

	if (r < 0)
		return r;
	if (r == 0)
		return parser_fail(
			parser, "'%s' is no name for a pool; allowed: " NAME_ALLOWED, name);
	const struct pool *other = config_pool(config, name);
	if (other)
		return parser_fail(parser,
			"duplicate section [pool %s]; it stands at %s:%u already: choose another "
			"name, or put all of its match = lines there",
			name, other->file, other->line);
	struct pool *pool = array_append(&config->pools, &config->n_pools, sizeof(*pool));
	if (!pool)
		return -ENOMEM;
	pool->line = parser->line;
	pool->name = strdup(name);
	pool->file = strdup(parser->file);
	return pool->name && pool->file ? 0 : -ENOMEM;
}

int parser_end_pool(struct parser *parser)
{
	const struct pool *pool = parser_pool(parser);

	if (pool->n_matches > 0)
		return 0;
	parser->line = parser->section_line;
	return parser_fail(parser,
		"[pool %s] has no match = line, so there is no device in it; say which devices",
		pool->name);
}
