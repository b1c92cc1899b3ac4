/* The handful of language helpers everything else relies on: scope-bound release, explicit hand-over, array sizes.
 *
 * Ownership rule of the project: what a function returns through a `ret_…` pointer belongs to the caller and is written
 * only on success. `_free` ends an object and returns NULL, `_done` empties an embedded one, `_ref`/`_unref` count.
 */
#pragma once

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define _cleanup_(f) __attribute__((cleanup(f)))
#define _printf_(fmt_index, first_arg) __attribute__((format(printf, fmt_index, first_arg)))
#define _must_check_ __attribute__((warn_unused_result))
#define _unused_ __attribute__((unused))
#define _noreturn_ __attribute__((noreturn))

/* Defines `func##p`, for use with _cleanup_(func##p) on a variable of pointer type TYPE. */
#define DEFINE_CLEANUP(type, func)                                                                                     \
        static inline void func##p(type *p)                                                                            \
        {                                                                                                              \
                if (*p)                                                                                                \
                        func(*p);                                                                                      \
        }

static inline void free_cleanup(void *p)
{
        free(*(void **)p);
}

static inline int close_fd(int fd)
{
        if (fd >= 0)
                (void)close(fd);
        return -EBADF;
}

static inline void close_cleanup(int *fd)
{
        (void)close_fd(*fd);
}

#define _cleanup_free_ _cleanup_(free_cleanup)
#define _cleanup_close_ _cleanup_(close_cleanup)

/* Gives ownership away and leaves NULL (or -EBADF) behind. */
#define TAKE_PTR(p)                                                                                                    \
        ({                                                                                                             \
                __typeof__(p) *take_at_ = &(p);                                                                        \
                __typeof__(p) taken_ = *take_at_;                                                                      \
                *take_at_ = NULL;                                                                                      \
                taken_;                                                                                                \
        })
#define TAKE_FD(fd)                                                                                                    \
        ({                                                                                                             \
                int *take_at_ = &(fd);                                                                                 \
                int taken_ = *take_at_;                                                                                \
                *take_at_ = -EBADF;                                                                                    \
                taken_;                                                                                                \
        })

#define ELEMENTSOF(a) (sizeof(a) / sizeof((a)[0]))
#define CONTAINER_OF(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

#define MIN(a, b)                                                                                                      \
        ({                                                                                                             \
                __typeof__(a) min_a_ = (a);                                                                            \
                __typeof__(b) min_b_ = (b);                                                                            \
                min_a_ < min_b_ ? min_a_ : min_b_;                                                                     \
        })
#define MAX(a, b)                                                                                                      \
        ({                                                                                                             \
                __typeof__(a) max_a_ = (a);                                                                            \
                __typeof__(b) max_b_ = (b);                                                                            \
                max_a_ > max_b_ ? max_a_ : max_b_;                                                                     \
        })

static inline bool streq(const char *a, const char *b)
{
        return strcmp(a, b) == 0;
}

static inline bool starts_with(const char *s, const char *prefix)
{
        return strncmp(s, prefix, strlen(prefix)) == 0;
}

/* Units. Times are nanoseconds in uint64_t everywhere inside the program; names say so only where it is not. */
#define NS_PER_USEC 1000ull
#define NS_PER_MSEC 1000000ull
#define NS_PER_SEC 1000000000ull
#define KIB 1024ull
#define MIB (1024ull * KIB)
#define GIB (1024ull * MIB)
