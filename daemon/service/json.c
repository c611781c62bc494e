#include "daemon/service/parts.h"

struct json_object *json_text(const char *text)
{
	return text ? json_object_new_string(text) : NULL;
}

int json_put(struct json_object *object, const char *key, struct json_object *value)
{
	/* Our keys are literals, each used once: no look-up, no copy. */
	const unsigned flags = JSON_C_OBJECT_ADD_KEY_IS_NEW | JSON_C_OBJECT_ADD_CONSTANT_KEY;
	if (object && json_object_object_add_ex(object, key, value, flags) == 0)
		return 0;
	json_object_put(value);
	return -1;
}

struct json_object *json_field(struct json_object *object, const char *key)
{
	struct json_object *value;
	return json_object_object_get_ex(object, key, &value) ? value : NULL;
}

const char *json_field_text(struct json_object *object, const char *key)
{
	struct json_object *value = json_field(object, key);
	return value ? json_object_get_string(value) : NULL;
}
