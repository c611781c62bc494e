/* A journal entry as JSON. Nobody outside of this room includes this. */
#pragma once

#include "daemon/bind/journal.h"

/* *json: malloc'ed, *length bytes without its NUL; ends with its closing brace. 0 or -ENOMEM. */
int journal_encode(const struct journal_entry *entry, char **json, size_t *length);
/*
 * All of `json` has to be one entry for this group, of this version or an older one. 0 with *entry
 * the caller's to clear, -ENOMEM, or -EBADMSG and *text says what is wrong.
 */
int journal_decode(const char *json, size_t length, int group, struct journal_entry *entry,
	char *text, size_t text_size);
