/* A growable byte buffer that cannot be made without its ceiling.
 *
 * Invariants: len <= cap <= max; data is NULL exactly while cap is 0. The first failure (-ENOMEM, -E2BIG for the ceiling)
 * stays in `error`, and every later append is a no-op: encoders append field after field and look once at the end.
 * Not thread safe. No locale, no stdio in the hot calls.
 */
#pragma once

#include "base/util.h"

struct buf {
        uint8_t *data;
        size_t len;
        size_t cap;
        size_t max; /* bytes */
        int error;  /* 0 or the first negative errno */
};

#define BUF_INIT(max_bytes) ((struct buf){.max = (max_bytes)})

void buf_done(struct buf *b);
#define _cleanup_buf_ _cleanup_(buf_done)

/* Empties the buffer and clears the error; keeps the memory, unless more than KEEP bytes are held. */
void buf_reset(struct buf *b, size_t keep);

/* Grows by N bytes and returns the address of the first new one (contents undefined), NULL on failure. */
uint8_t *buf_extend(struct buf *b, size_t n);

/* Makes room for N further bytes without changing len. 0 or -errno (also stored in b->error). */
int buf_reserve(struct buf *b, size_t n);

int buf_append(struct buf *b, const void *data, size_t n);
int buf_append_str(struct buf *b, const char *s);
int buf_printf(struct buf *b, const char *format, ...) _printf_(2, 3);

/* Drops the first N bytes (N <= len), moving the rest to the front. */
void buf_consume(struct buf *b, size_t n);

/* The contents as a C string (a NUL is kept behind len), or NULL if there was an error. Owned by the buffer. */
const char *buf_cstr(struct buf *b);
