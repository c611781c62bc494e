/* A dry run (org.vfiod.Broker.Plan): asked for, and printed as a table. */
#pragma once

#include "client/vfioctl/vfioctl.h"

/*
 * purpose: "acquire", "take" or "return"; mode: how it would be handed over, NULL for what the
 * daemon chooses. As ask(), or -ENOMEM.
 */
int plan_ask(struct context *context, const char *purpose, const char *mode,
	const char *const targets[], size_t n, struct json_object **reply);
/* A line "!! 7 …" for each. */
void vetoes_print(struct context *context, struct json_object *vetoes, size_t n);
/* Asks and prints; EXIT_REFUSED where something is in the way. */
int dry_run(struct context *context, const char *purpose, const char *mode,
	const char *const targets[], size_t n);
