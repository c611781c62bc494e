/*
 * State that the next vfiod reads: a JSON file an object, <state directory>/<kind>/<name>.json,
 * written atomically (0600, in a directory 0700: tokens are in it), with a format version. /run is
 * a tmpfs, so it does not block, and does not outlive the boot. Kinds: "leases", "spaces".
 */
#pragma once

#include <json-c/json.h>
#include <stddef.h>

/* Makes the directory if need be, and removes what a killed writer has left. 0 or -errno. */
int record_init(const char *state_directory, const char *kind);
/* "version" is added to `json`, which stays the caller's. 0 or -errno. */
int record_write(const char *state_directory, const char *kind, const char *name, int version,
	struct json_object *json);
/* No such file is no error. */
int record_remove(const char *state_directory, const char *kind, const char *name);
/*
 * All of this kind; one that is damaged or of a later version is told with json NULL and what is
 * wrong, and left where it is. `json` is the callee's to put. 0 or -errno.
 */
typedef void (*record_visit)(const char *name, int version, struct json_object *json,
	const char *problem, void *userdata);
int record_each(const char *state_directory, const char *kind, int max_version, record_visit visit,
	void *userdata);
