/* Reading a reply's fields without trusting their presence, and its error as a sentence. */
#pragma once

#include <json-c/json.h>
#include <stddef.h>
#include <stdint.h>

/* The string `key`, borrowed, or NULL when it is absent or something else. */
const char *field_string(struct json_object *object, const char *key);
/* The integer `key`, or `otherwise`. */
int64_t field_int(struct json_object *object, const char *key, int64_t otherwise);

/* The errno (negative) that vfiod.h promises for an error of org.vfiod(7). */
int error_number(const char *name);
/* "group 7 is held by pid 312 (uid 1001)"; cut if it does not fit. */
void error_sentence(const char *name, struct json_object *parameters, char *buffer, size_t size);
/* Replaces what could steer a terminal: C0, DEL and the UTF-8 of C1. */
void text_make_printable(char *text);
