/* What the sentences for errors are made of: error.c, error-space.c, error-memory.c. */
#pragma once

#include "client/error.h"

/* A sentence that grows; what does not fit is cut, and the end is always a NUL. */
struct sentence {
	char *buffer;
	size_t size, length;
};
void say(struct sentence *sentence, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* A field that is missing must not make them unreadable. */
const char *word(struct json_object *parameters, const char *key, const char *otherwise);
/* "group 7". */
void say_group(struct sentence *s, struct json_object *p);
/* ": REASON", or nothing. */
void say_reason(struct sentence *s, struct json_object *p);

struct known_error {
	const char *name;
	int error;
	void (*say)(struct sentence *sentence, struct json_object *parameters);
};
/* Of org.vfiod.Space; NULL: none of these. */
const struct known_error *space_error_find(const char *name);
/* Of what memory costs. Likewise. */
const struct known_error *memory_error_find(const char *name);
