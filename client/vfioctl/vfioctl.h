/*
 * vfioctl: one file a command, and what they share. A command parses its own
 * arguments, calls the daemon through libvfiod, and prints to context->out.
 */
#pragma once

#include <getopt.h>
#include <json-c/json.h>
#include <stdbool.h>
#include <stdio.h>

#include "client/include/vfiod.h"

/* Exit codes, documented in vfioctl(1). `run` has those of env(1) and timeout(1) instead. */
enum {
	EXIT_REFUSED = 1,
	EXIT_USAGE = 2,
	EXIT_NO_DAEMON = 3,
	EXIT_RUN_FAILED = 125,
	EXIT_RUN_CANNOT_EXECUTE = 126,
	EXIT_RUN_NOT_FOUND = 127,
};

struct context {
	const char *socket; /* NULL: the library's default */
	bool is_json, has_legend;
	int timeout_ms; /* for each reply; -1: as long as it takes */
	const char *command;
	FILE *out;        /* stdout, or a test's buffer */
	bool is_terminal; /* out is one: names are cut to its width */
	int write_error;  /* a positive errno: out could not be written */
	struct vfiod *vfiod;
};

struct command {
	const char *name;
	const char *arguments; /* "DEVICE|GROUP…" */
	const char *summary;   /* one line */
	const char *help;      /* the rest of --help: options, what it does, examples */
	int (*run)(struct context *context, int argc, char *argv[]); /* an exit code */
};
extern const struct command command_list, command_status, command_why, command_take, command_return,
	command_leases, command_revoke, command_monitor, command_run, command_reload,
	command_metrics, command_check, command_can, command_ledger, command_audit, command_help,
	command_names; /* not among commands[]: for shells */

/* --- options.c ------------------------------------------------------------------ */

#define OPTION_END (-1)
#define OPTION_EXIT (-2) /* stop with *exit_code: --help was printed, or it was wrong */
/*
 * The next option of the command's own (its val), with the options that every command has
 * handled on the way. `own` ends with an entry of zeros. "+" stops at the first argument.
 * Before the first call of a command: options_begin().
 */
void options_begin(void);
int options_next(struct context *context, int argc, char *argv[], bool stop_at_argument,
	const struct option *own, int *exit_code);
/* For commands without options of their own: true when there is nothing to do but exit. */
bool options_none(struct context *context, int argc, char *argv[], int *exit_code);
/* "vfioctl take: …; see vfioctl take --help" to stderr; the exit code of wrong usage. */
int usage_error(struct context *context, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
/* A decimal number of seconds: 0 or -EINVAL. */
int seconds_parse(const char *text, int max, int *seconds);

/* --- ledger.c -------------------------------------------------------------------- */

/* A Lease of the ledger whose holder maps by himself; others are brokered. */
bool ledger_is_direct(struct json_object *lease);
/* "Ledger  alice 16.0 of 24.0 GiB (kernel bills 32.0)", a line an account; if the daemon has one.
 */
void ledger_overview_print(struct context *context);

/* --- pools-overview.c ------------------------------------------------------------ */

/* An array of org.vfiod.Broker.Pool, to be put; NULL: a vfiod that does not tell. */
struct json_object *pools_ask(struct context *context);
void pools_overview_print(struct context *context);

/* --- leases.c -------------------------------------------------------------------- */

/* "512.0 MiB reserved; memory.max 2.0 GiB" of a lease by its name; "": nothing to tell. */
void lease_memory_describe(struct context *context, const char *name, char *buffer, size_t size);

/* --- help.c ---------------------------------------------------------------------- */

extern const struct command *const commands[];        /* ends with NULL */
const struct command *command_find(const char *name); /* NULL */
void help_print(FILE *out);
void command_help_print(FILE *out, const struct command *command);

/* --- patience.c ------------------------------------------------------------------ */

/* Says once on a terminal that vfiod does not answer, unless it does within seconds. */
void patience_begin(void);
void patience_end(void); /* it has answered, or will not */

/* --- wrap.c ---------------------------------------------------------------------- */

/* From here on, what goes to stderr is wrapped at the width of the terminal, if it is one. */
void stderr_wrap(void);
/* Whole lines, wrapped; what comes after the last newline goes out as it is. */
void lines_wrap(FILE *out, size_t width, const char *text, size_t size);

/* --- ask.c ----------------------------------------------------------------------- */

/* Where the daemon is looked for. */
const char *socket_name(const struct context *context);
/* Connects unless connected: 0, or an exit code when the message was printed. */
int connect_daemon(struct context *context);
/*
 * "vfioctl: cannot TASK: …" with a hint where there is one; the exit code for it. Of a group that
 * is busy it asks the daemon who has it.
 */
int complain(struct context *context, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
/*
 * One reply: 0 and its parameters in *reply, which the caller puts, or -errno (vfiod_strerror()
 * says). `parameters` are taken over. -ECONNREFUSED etc. from connecting as well.
 */
int ask(struct context *context, const char *method, struct json_object *parameters,
	struct json_object **reply);
/* {"group": 7} or {"device": "0000:01:00.0"} of what a person typed; NULL: no memory. */
struct json_object *selector_parameters(const char *argument);
/* False for what cannot name anything: "", and group: without a number. */
bool target_is_valid(const char *argument);
/* A plain number or group:7 → the number, or -1: it is a device. */
int group_argument(const char *argument);
/* 01:00.0 → 0000:01:00.0, others as they are, in lower case where they are PCI addresses. */
void device_argument(const char *argument, char *device, size_t size);
/* "group 7" or "0000:01:00.0", printable, for messages. */
void target_describe(const char *argument, char *buffer, size_t size);
/* How wide lines of text may be. */
size_t line_width(const struct context *context);
/* A text from the daemon, made printable and wrapped, as format_wrapped() does. NULL: "?". */
void text_print(struct context *context, const char *first, size_t indent, const char *text);
/* One line of JSON, without anything that steers a terminal. */
void json_print(struct context *context, struct json_object *object);

/* --- reading replies (ask.c) ------------------------------------------------------- */

const char *get_string(struct json_object *object, const char *key); /* NULL: none */
int64_t get_int(struct json_object *object, const char *key, int64_t otherwise);
bool get_bool(struct json_object *object, const char *key);
struct json_object *get_object(struct json_object *object, const char *key); /* borrowed */
struct json_object *get_array(struct json_object *object, const char *key, size_t *n);
