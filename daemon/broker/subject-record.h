/* Who somebody is, in the records that the next vfiod reads. */
#pragma once

#include "daemon/base/fields.h"
#include "daemon/lease/subject.h"

/* NULL: no memory. */
struct json_object *subject_encode(const struct subject *subject);
/* From the field `key`; the caller's to clear, also on failure. What is wrong is noted. 0 or
 * -ENOMEM.
 */
int subject_decode(struct fields *outer, const char *key, struct subject *subject);
