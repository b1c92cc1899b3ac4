/* Memory of one request: taken piece by piece, given back all at once, with a ceiling.
 *
 * What a decoder makes of a message (strings with a NUL, lists, dictionary pairs) lives here, so a hostile message costs
 * at most `max` bytes and a handler frees nothing. Not thread safe; one arena per worker or fibre.
 */
#pragma once

#include "base/util.h"

struct arena_chunk;

struct arena {
        struct arena_chunk *chunks; /* newest first */
        size_t used;                /* bytes handed out since the last reset, with the padding for alignment */
        size_t max;
};

#define ARENA_INIT(max_bytes) ((struct arena){.max = (max_bytes)})

void arena_done(struct arena *a);
#define _cleanup_arena_ _cleanup_(arena_done)

/* Forgets everything handed out; keeps one chunk for reuse. */
void arena_reset(struct arena *a);

/* SIZE zeroed bytes, aligned for any type; NULL when memory or the ceiling is exhausted. */
void *arena_alloc(struct arena *a, size_t size);

/* The same with contents of an earlier request: for buffers that are filled before anybody reads them (data, directory
 * entries), of which only the filled part may go to a client. */
void *arena_alloc_uninitialised(struct arena *a, size_t size);

/* Memory from malloc that belongs to the arena from now on, and counts as SIZE bytes: 0, or -ENOMEM and it does not. */
int arena_adopt(struct arena *a, void *memory, size_t size);

/* COUNT * SIZE with overflow check. */
void *arena_alloc_array(struct arena *a, size_t count, size_t size);

/* A copy of N bytes followed by a NUL. */
char *arena_strndup(struct arena *a, const void *data, size_t n);

/* printf into the arena; NULL on failure. */
char *arena_printf(struct arena *a, const char *format, ...) _printf_(2, 3);
