/*
 * State that the next vfiod reads: a JSON file an object, <state directory>/<kind>/<name>.json,
 * written atomically (0600, in a directory 0700: tokens are in it), with a format version. /run is
 * a tmpfs, so it does not block, and does not outlive the boot. Kinds: "leases", "spaces".
 */
#pragma once

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/*
 * Makes the directory (0700) if need be, and removes what a writer left that was killed before its
 * record was whole. 0 or -errno.
 */
int record_init(const char *state_directory, const char *kind);
/*
 * There for the next vfiod when it comes back, for the next boot perhaps not. "version" is added to
 * `json`, which stays the caller's. 0 or -errno; then it is the one from before, or this one, and
 * whole.
 */
int record_write(const char *state_directory, const char *kind, const char *name, int version,
	struct json_object *json);
/* The same of a text, the JSON object with its version. */
int record_write_text(const char *state_directory, const char *kind, const char *name,
	const char *text, size_t length);
/*
 * That in two steps, of which the second is short. A draft is where its record will be, but is none
 * yet: it lacks its first byte. Whoever draws it up commits it (then the record is there) or drops
 * it; the next vfiod removes it. A record that was committed, and is over, can be struck out: it is
 * a draft again, and its file good for another record, whose name it does not get: to make a file,
 * to rename or to remove it costs more than all else that a short-lived record does. Who commits
 * one is told if somebody has removed or replaced the file meanwhile: it would be a record of
 * nobody's.
 */
struct draft {
	int fd;       /* its file's, also after it was committed; -1: there is none */
	dev_t device; /* of its file, with the next: what its path has to lead to */
	ino_t inode;
	size_t length; /* of its file, in bytes */
	char name[24]; /* of its file, by which it is written anew and removed */
};
#define NO_DRAFT ((struct draft){ .fd = -1 })

/*
 * *draft is NO_DRAFT, or was struck out, and then this takes its file, under the name that it has.
 * -EEXIST: there is a file of that name. 0, or -errno, and it is NO_DRAFT.
 */
int record_draft(const char *state_directory, const char *kind, const char *name, const char *text,
	size_t length, struct draft *draft);
/* 0; -ESTALE: its file is not where it was, and it is no record; or -errno. */
int record_commit(const char *state_directory, const char *kind, const struct draft *draft);
/* Of one that was committed, and that nobody has written otherwise since: 0 or -errno. */
int record_strike(const struct draft *draft);
/* Removes its file. */
void record_drop(const char *state_directory, const char *kind, struct draft *draft);
/* The record stays; it cannot be struck out any more. */
void record_let_go(struct draft *draft);
/* No such file is no error. */
int record_remove(const char *state_directory, const char *kind, const char *name);
/*
 * All of this kind, L2 before L10; one that is damaged or of a later version is told with json NULL
 * and what is wrong, and left where it is. `json` is the callee's to put. The callee may write and
 * remove records. 0 or -errno.
 */
typedef void (*record_visit)(const char *name, int version, struct json_object *json,
	const char *problem, void *userdata);
int record_each(const char *state_directory, const char *kind, int max_version, record_visit visit,
	void *userdata);

/* True: there is one, whole or not. */
bool record_any(const char *state_directory, const char *kind);

/* All of `text` has to be one JSON object: 0 with *object the caller's, -EBADMSG, or -ENOMEM. */
int record_parse(const char *text, size_t length, struct json_object **object);
