/* What the records of leases and of spaces have in common: names, and who somebody is. */
#pragma once

#include "daemon/base/fields.h"
#include "daemon/base/writing.h"
#include "daemon/lease/lease.h"

/*
 * From the field `key` what people call it, "L3" with the letter 'L', and from "token" its token.
 * What is wrong is noted.
 */
void fields_get_names(struct fields *fields, const char *key, char letter,
	char name[LEASE_NAME_SIZE], char token[TOKEN_SIZE]);

void subject_write(struct writing *writing, const char *key, const struct subject *subject);
/* The same for a tree. NULL: no memory. */
struct json_object *subject_encode(const struct subject *subject);
/* From the field `key`; the caller's to clear, also on failure. What is wrong is noted. 0 or
 * -ENOMEM.
 */
int subject_decode(struct fields *outer, const char *key, struct subject *subject);
