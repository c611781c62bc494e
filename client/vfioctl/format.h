/*
 * Text for people: durations, owners, columns, wrapped sentences. Whatever comes from
 * hardware or other users is made printable here, before a terminal sees it.
 */
#pragma once

#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

/* Copies, with control characters, DEL, C1 and broken UTF-8 as '?'. Cut between characters. */
void format_printable(const char *text, char *buffer, size_t size);
/* "40 s", "4 min", "5 h", "1 day", "3 days": the largest unit that is not zero. */
void format_duration(int64_t seconds, char *buffer, size_t size);
/* "16.0 of 24.0 GiB", "32.0 MiB of 24.0 GiB"; limit below 0: none, "16.0 GiB". */
void format_amount(int64_t bytes, int64_t limit, char *buffer, size_t size);
/* "alice", or "1001" if nobody has this uid. */
void format_user(uid_t uid, char *buffer, size_t size);
/* "alice qemu/4711" of a Holder; empty for NULL. */
void format_holder(struct json_object *holder, char *buffer, size_t size);
/* "7,13,14" of an array of integers. */
void format_numbers(struct json_object *array, char *buffer, size_t size);
/* What state a Group is in, in one word: the most telling of its binding and its owner. */
const char *format_group_state(struct json_object *group);
/* Does no IOMMU confine it? */
bool format_is_noiommu(struct json_object *group);
/* "mtty-1 of mtty": what an mdev is, as its own name says nothing; false for other devices. */
bool format_mdev(struct json_object *device, char *buffer, size_t size);
/* How many columns a text takes: its characters (combining and wide ones count as one). */
size_t format_width(const char *text);
/* How wide lines may be: the terminal's columns, or 80. */
size_t format_terminal_width(int fd);
/*
 * Prints words of `text` in lines of at most `width`; the first starts after `first` (printed as
 * it is), the others after `indent` blanks. A word longer than the line gets one for itself.
 */
void format_wrapped(FILE *out, const char *first, size_t indent, size_t width, const char *text);
