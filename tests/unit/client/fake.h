/*
 * A daemon for the tests of the client: a forked process that listens on a socket of its own,
 * checks each call against the interface files, and has the test's function answer it. What it
 * answers is checked against them, too: a canned reply that the real daemon could not send, or a
 * call that it would not take, fails the test (in fake_stop()).
 */
#pragma once

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>

#define FAKE_MAX_PEERS 32 /* that connect to one, in all */

struct fake;

/* Runs in the daemon's process. `fds`: n_fds that came along, closed afterwards. */
typedef void (*fake_method_fn)(struct fake *fake, int peer, const char *method,
	struct json_object *parameters, const int *fds, size_t n_fds);

struct fake *fake_start(fake_method_fn on_method);
const char *fake_socket(const struct fake *fake);
/* Ends it, and fails the test if anything in it was not as expected. */
void fake_stop(struct fake *fake);

/* In the daemon's process: peers are numbered from 0 in the order in which they connected. */
void fake_reply(struct fake *fake, int peer, bool continues, const char *parameters);
/* With descriptors; copies are sent. */
void fake_reply_fds(struct fake *fake, int peer, bool continues, const char *parameters,
	const int *fds, size_t n_fds);
void fake_error(struct fake *fake, int peer, const char *error, const char *parameters);
/* Bytes as they are, and with a descriptor on the first unless fd is -1, or with several. */
void fake_raw(struct fake *fake, int peer, const char *bytes, size_t size, int fd);
void fake_raw_fds(
	struct fake *fake, int peer, const char *bytes, size_t size, const int *fds, size_t n_fds);
void fake_hang_up(struct fake *fake, int peer);
bool fake_is_connected(const struct fake *fake, int peer);
/* Fails the test. */
void fake_expect(bool condition, const char *what);
