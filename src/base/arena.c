#include "base/arena.h"

#include <stdarg.h>
#include <stdio.h>

#define ARENA_CHUNK_MIN (16 * KIB)
#define ARENA_ALIGN 16

struct arena_chunk {
        struct arena_chunk *next;
        size_t cap;
        size_t len;
        void *adopted; /* memory of others that goes with this chunk */
        _Alignas(ARENA_ALIGN) uint8_t data[];
};

void arena_done(struct arena *a)
{
        while (a->chunks) {
                struct arena_chunk *c = a->chunks;
                a->chunks = c->next;
                free(c->adopted);
                free(c);
        }
        a->used = 0;
}

void arena_reset(struct arena *a)
{
        struct arena_chunk *keep = NULL;
        while (a->chunks) {
                struct arena_chunk *c = a->chunks;
                a->chunks = c->next;
                free(c->adopted);
                c->adopted = NULL;
                if (!keep && c->cap == ARENA_CHUNK_MIN)
                        keep = c;
                else
                        free(c);
        }
        if (keep) {
                keep->next = NULL;
                keep->len = 0;
        }
        a->chunks = keep;
        a->used = 0;
}

static struct arena_chunk *arena_grow(struct arena *a, size_t size)
{
        size_t cap = MAX(size, (size_t)ARENA_CHUNK_MIN);
        struct arena_chunk *c = malloc(sizeof *c + cap);
        if (!c)
                return NULL;
        *c = (struct arena_chunk){.next = a->chunks, .cap = cap};
        a->chunks = c;
        return c;
}

void *arena_alloc_uninitialised(struct arena *a, size_t size)
{
        if (size > a->max || size > SIZE_MAX - ARENA_ALIGN)
                return NULL;
        size_t rounded = (size + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);
        if (rounded > a->max || a->used > a->max - rounded)
                return NULL;
        struct arena_chunk *c = a->chunks;
        if (!c || c->cap - c->len < rounded)
                c = arena_grow(a, rounded);
        if (!c)
                return NULL;
        void *p = c->data + c->len;
        c->len += rounded;
        a->used += rounded;
        return p;
}

int arena_adopt(struct arena *a, void *memory, size_t size)
{
        if (size > a->max || a->used > a->max - size)
                return -ENOMEM;
        struct arena_chunk *c = a->chunks && !a->chunks->adopted ? a->chunks : arena_grow(a, 0);
        if (!c)
                return -ENOMEM;
        c->adopted = memory;
        a->used += size;
        return 0;
}

void *arena_alloc(struct arena *a, size_t size)
{
        void *p = arena_alloc_uninitialised(a, size);
        return p ? memset(p, 0, size) : NULL;
}

void *arena_alloc_array(struct arena *a, size_t count, size_t size)
{
        size_t bytes;
        if (__builtin_mul_overflow(count, size, &bytes))
                return NULL;
        return arena_alloc(a, bytes);
}

char *arena_strndup(struct arena *a, const void *data, size_t n)
{
        if (n == SIZE_MAX)
                return NULL;
        char *s = arena_alloc_uninitialised(a, n + 1);
        if (!s)
                return NULL;
        if (n > 0)
                memcpy(s, data, n);
        s[n] = '\0';
        return s;
}

char *arena_printf(struct arena *a, const char *format, ...)
{
        va_list ap;
        va_start(ap, format);
        int n = vsnprintf(NULL, 0, format, ap);
        va_end(ap);
        if (n < 0)
                return NULL;
        char *s = arena_alloc_uninitialised(a, (size_t)n + 1);
        if (!s)
                return NULL;
        va_start(ap, format);
        (void)vsnprintf(s, (size_t)n + 1, format, ap);
        va_end(ap);
        return s;
}
