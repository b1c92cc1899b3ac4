#include "base/buf.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>

#define BUF_FIRST_CAP 256

static int buf_fail(struct buf *b, int code)
{
        if (b->error == 0)
                b->error = code;
        return b->error;
}

void buf_done(struct buf *b)
{
        free(b->data);
        *b = BUF_INIT(b->max);
}

void buf_reset(struct buf *b, size_t keep)
{
        if (b->cap > keep)
                buf_done(b);
        b->len = 0;
        b->error = 0;
}

int buf_reserve(struct buf *b, size_t n)
{
        if (b->error)
                return b->error;
        if (n > b->max - b->len)
                return buf_fail(b, -E2BIG);
        if (n <= b->cap - b->len)
                return 0;

        size_t need = b->len + n;
        size_t cap = b->cap ? b->cap : BUF_FIRST_CAP;
        while (cap < need)
                cap *= 2;
        cap = MIN(cap, b->max);
        uint8_t *data = realloc(b->data, cap);
        if (!data)
                return buf_fail(b, -ENOMEM);
        b->data = data;
        b->cap = cap;
        return 0;
}

uint8_t *buf_extend(struct buf *b, size_t n)
{
        if (buf_reserve(b, n) < 0)
                return NULL;
        uint8_t *at = b->data + b->len;
        b->len += n;
        return at;
}

int buf_append(struct buf *b, const void *data, size_t n)
{
        if (n == 0)
                return b->error;
        uint8_t *at = buf_extend(b, n);
        if (!at)
                return b->error;
        memcpy(at, data, n);
        return 0;
}

int buf_append_str(struct buf *b, const char *s)
{
        return buf_append(b, s, strlen(s));
}

int buf_printf(struct buf *b, const char *format, ...)
{
        char small[256];
        va_list ap;
        va_start(ap, format);
        int n = vsnprintf(small, sizeof small, format, ap);
        va_end(ap);
        if (n < 0)
                return buf_fail(b, -EINVAL);
        if ((size_t)n < sizeof small)
                return buf_append(b, small, (size_t)n);

        if (buf_reserve(b, (size_t)n + 1) < 0)
                return b->error;
        va_start(ap, format);
        (void)vsnprintf((char *)b->data + b->len, (size_t)n + 1, format, ap);
        va_end(ap);
        b->len += (size_t)n;
        return 0;
}

void buf_consume(struct buf *b, size_t n)
{
        assert(n <= b->len);
        if (n == 0)
                return;
        memmove(b->data, b->data + n, b->len - n);
        b->len -= n;
}

const char *buf_cstr(struct buf *b)
{
        if (buf_reserve(b, 1) < 0)
                return NULL;
        b->data[b->len] = 0;
        return (const char *)b->data;
}
