#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>

int error_set(struct error *e, int code, const char *format, ...)
{
        if (!e)
                return code;
        e->code = code;
        va_list ap;
        va_start(ap, format);
        (void)vsnprintf(e->text, sizeof e->text, format, ap);
        va_end(ap);
        return code;
}

void error_prefix(struct error *e, const char *format, ...)
{
        if (!e || e->code == 0)
                return;
        char rest[ERROR_TEXT_MAX];
        memcpy(rest, e->text, sizeof rest);

        va_list ap;
        va_start(ap, format);
        int n = vsnprintf(e->text, sizeof e->text, format, ap);
        va_end(ap);
        if (n < 0 || (size_t)n + 3 > sizeof e->text)
                return;
        (void)snprintf(e->text + n, sizeof e->text - (size_t)n, ": %s", rest);
}
