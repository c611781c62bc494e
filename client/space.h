/* What the calls of org.vfiod.Space are made of. */
#pragma once

#include "client/handle.h"

/* The parameters of a call on their way. What could not be added shows when it is sent. */
struct request {
	struct json_object *parameters;
	bool is_whole;
};
/* About a space; NULL: about none. */
struct request request_new(const struct vfiod_space *space);
/* Takes the value over. */
void request_add(struct request *request, const char *key, struct json_object *value);
/* vfiod_begin() and vfiod_exchange(). The request is over afterwards. */
int request_send(struct vfiod *vfiod, struct request *request, const char *method, const int *fds,
	size_t n_fds, struct message *message, struct json_object **reply);
/* -EPROTO, and the handle is unusable: what the daemon has done is not known. */
int reply_nonsense(struct vfiod *vfiod, const char *method);
