/*
 * What fuzz targets share. A target is a file fuzz-NAME.c: linked with libFuzzer for `make fuzz`,
 * and with replay.c as a plain test of the inputs that are kept in corpus/NAME.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* libFuzzer's name for it. Always returns 0. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What an input must not bring about: says so, and aborts. */
#define must(condition, ...)                                                                       \
	((condition) ? (void)0 : fuzz_fail(__FILE__, __LINE__, #condition, __VA_ARGS__))
_Noreturn void fuzz_fail(const char *file, int line, const char *condition, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

/* A copy with a NUL, in memory of just its size: whoever reads beyond it is caught. */
char *fuzz_text(const uint8_t *data, size_t size);
/* Printable ASCII only? What people read has to be. */
int fuzz_is_printable(const char *text);
/* A directory of this process's own, removed at exit. */
const char *fuzz_directory(void);
/* A file in it, with these bytes. */
void fuzz_write(const char *name, const void *data, size_t size);

/* A function that libFuzzer does not look into: a model's, whose loops are no news to anybody. */
#ifdef __clang__
#define fuzz_not_watched __attribute__((no_sanitize("coverage")))
#else
#define fuzz_not_watched
#endif
