/*
 * The fields of a JSON object that vfiod writes for the next vfiod: each added and read with its
 * type and its bounds. A number beyond an int64_t is a string, as not every reader has 64 bits.
 */
#pragma once

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline void cleanup_json(struct json_object **object)
{
	json_object_put(*object);
}
#define _cleanup_json_ __attribute__((cleanup(cleanup_json)))

/* Takes the value over; NULL is one that could not be made. All: 0 or -ENOMEM. */
int field_add(struct json_object *object, const char *key, struct json_object *value);
int field_add_string(struct json_object *object, const char *key, const char *value);
int field_add_bool(struct json_object *object, const char *key, bool value);
int field_add_number(struct json_object *object, const char *key, int64_t value);
int field_add_unsigned(struct json_object *object, const char *key, uint64_t value);

/* What is read, and the key of the first field that is missing or not what it can be. */
struct fields {
	struct json_object *object;
	const char *problem; /* NULL: all is well */
};

/* Each gives nothing (NULL, "", 0, false) where there is a problem. */
struct json_object *fields_get(struct fields *fields, const char *key, enum json_type type);
void fields_get_string(struct fields *fields, const char *key, char *to, size_t size);
bool fields_get_bool(struct fields *fields, const char *key);
int64_t fields_get_number(struct fields *fields, const char *key, int64_t max); /* from 0 */
uint64_t fields_get_unsigned(struct fields *fields, const char *key);
/* One of the names of an enum that starts at 0. */
int fields_get_name(struct fields *fields, const char *key, const char *(*name_of)(int), int n);
/* An object or array in it; what is wrong inside is noted by fields_note() with the outer one. */
void fields_note(struct fields *fields, const struct fields *inner);
