#include "proto/interface.h"

#include <stdlib.h>
#include <string.h>

static void type_free(struct varlink_type *type)
{
	if (!type)
		return;
	for (size_t i = 0; i < type->n_fields; i++) {
		free(type->fields[i].name);
		free(type->fields[i].comment);
		type_free(type->fields[i].type);
	}
	free(type->fields);
	if (type->kind != VARLINK_NAMED)
		type_free(type->element);
	free(type->type_name);
	free(type);
}

static void declarations_free(struct varlink_declaration *declarations, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		free(declarations[i].name);
		free(declarations[i].comment);
		type_free(declarations[i].type);
	}
	free(declarations);
}

struct varlink_interface *varlink_interface_free(struct varlink_interface *interface)
{
	if (!interface)
		return NULL;
	for (size_t i = 0; i < interface->n_methods; i++) {
		free(interface->methods[i].name);
		free(interface->methods[i].comment);
		type_free(interface->methods[i].in);
		type_free(interface->methods[i].out);
	}
	free(interface->methods);
	declarations_free(interface->types, interface->n_types);
	declarations_free(interface->errors, interface->n_errors);
	free(interface->name);
	free(interface->comment);
	free(interface);
	return NULL;
}

const struct varlink_method *varlink_interface_method(
	const struct varlink_interface *interface, const char *name)
{
	for (size_t i = 0; i < interface->n_methods; i++) {
		if (strcmp(interface->methods[i].name, name) == 0)
			return &interface->methods[i];
	}
	return NULL;
}

const struct varlink_type *varlink_interface_error(
	const struct varlink_interface *interface, const char *name)
{
	for (size_t i = 0; i < interface->n_errors; i++) {
		if (strcmp(interface->errors[i].name, name) == 0)
			return interface->errors[i].type;
	}
	return NULL;
}
