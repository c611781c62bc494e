/*
 * The structured log: to the journal with fields when stderr is the journal's,
 * to stderr as lines otherwise.
 *
 * Fields are NULL-terminated "KEY", "value" pairs after the message; keys in
 * upper case (VFIOD_GROUP, VFIOD_DEVICE, VFIOD_LEASE). A MESSAGE_ID from
 * systemd/vfiod.catalog is given as key MESSAGE_ID.
 */
#pragma once

#include <stdbool.h>
#include <syslog.h>

/* Once at start; level: LOG_DEBUG … LOG_ERR. Messages above it are dropped. */
void log_open(int level);

void log_message(int level, const char *format, ...) __attribute__((format(printf, 2, 3)));
void log_fields(int level, const char *const fields[], const char *format, ...)
	__attribute__((format(printf, 3, 4)));

#define log_debug(...) log_message(LOG_DEBUG, __VA_ARGS__)
#define log_info(...) log_message(LOG_INFO, __VA_ARGS__)
#define log_warning(...) log_message(LOG_WARNING, __VA_ARGS__)
#define log_error(...) log_message(LOG_ERR, __VA_ARGS__)
