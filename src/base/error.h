/* A failure with the sentence an operator reads.
 *
 * Functions whose failures reach people take a `struct error *` as last parameter and fill it where the facts are known;
 * the return value stays a negative errno. NULL means "the caller does not show it". Nothing is allocated.
 */
#pragma once

#include "base/util.h"

#define ERROR_TEXT_MAX 1024

struct error {
        int code;                  /* negative errno; 0 = nothing was reported */
        char text[ERROR_TEXT_MAX]; /* one or more sentences, cut at the limit, never empty when code != 0 */
};

/* Stores CODE (negative errno) and the text in E (may be NULL). Returns CODE, so that callers can `return error_set(…)`. */
int error_set(struct error *e, int code, const char *format, ...) _printf_(3, 4);

/* Puts CONTEXT and ": " before the text that E already has. No-op when E is NULL or empty. */
void error_prefix(struct error *e, const char *format, ...) _printf_(2, 3);
