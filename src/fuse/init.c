/* What is agreed with the kernel at INIT.
 *
 * One table says which flags are negotiated and since when they exist; what is not in it never is. Above all
 * FUSE_WRITEBACK_CACHE (the kernel would acknowledge writes that no brick has seen, for the whole mount, irrevocably),
 * FUSE_PASSTHROUGH, FUSE_NO_OPEN_SUPPORT, FUSE_SPLICE_… and the first FUSE_HANDLE_KILLPRIV (it would have the bits of
 * root's own writes dropped too).
 *
 * Thread: the loop's.
 */
#include "fuse/internal.h"

#include "base/log.h"

#define MAX_WRITE_DEFAULT (1u << 20)
#define MAX_WRITE_LEAST 4096u
#define MAX_PAGES_WITHOUT_FLAG 32u
#define INIT_IN_LEAST 16u /* bytes: major, minor, max_readahead, flags */

struct init_flag {
        uint64_t flag;
        uint8_t minor; /* first protocol 7.MINOR that has it */
        bool choice;   /* only if the file system says so */
};

/* clang-format off */
static const struct init_flag init_flags[] = {
        {FUSE_ASYNC_READ, 6, false},
        {FUSE_POSIX_LOCKS, 7, true},
        {FUSE_ATOMIC_O_TRUNC, 9, true},
        {FUSE_BIG_WRITES, 9, false},
        {FUSE_EXPORT_SUPPORT, 10, true},
        {FUSE_DONT_MASK, 12, true},
        {FUSE_FLOCK_LOCKS, 17, true},
        {FUSE_AUTO_INVAL_DATA, 20, true},
        {FUSE_DO_READDIRPLUS, 21, true},
        {FUSE_READDIRPLUS_AUTO, 21, true},
        {FUSE_ASYNC_DIO, 22, false},
        {FUSE_PARALLEL_DIROPS, 25, false},
        {FUSE_POSIX_ACL, 26, true},
        {FUSE_ABORT_ERROR, 27, false},
        {FUSE_MAX_PAGES, 28, false},
        {FUSE_CACHE_SYMLINKS, 28, true},
        {FUSE_EXPLICIT_INVAL_DATA, 30, true},
        {FUSE_HANDLE_KILLPRIV_V2, 33, true},
        {FUSE_SETXATTR_EXT, 33, false},
        {FUSE_INIT_EXT, 36, false},
        {FUSE_HAS_EXPIRE_ONLY, 38, false},
        {FUSE_DIRECT_IO_ALLOW_MMAP, 39, true},
        {FUSE_OVER_IO_URING, 42, true},
};
/* clang-format on */

int init_configure(struct fuse_session_config *c)
{
        uint64_t inval = FUSE_AUTO_INVAL_DATA | FUSE_EXPLICIT_INVAL_DATA;
        if (!c->loop || !c->ops || (c->choices & ~(uint64_t)FUSE_CHOICES) || (c->choices & inval) == inval)
                return -EINVAL;
        if (c->max_write == 0)
                c->max_write = MAX_WRITE_DEFAULT;
        if (c->max_write < MAX_WRITE_LEAST || c->max_write > MAX_WRITE_DEFAULT)
                return -EINVAL;
        if (c->minor_max != 0 && c->minor_max < FUSE_MINOR_OLDEST)
                return -EINVAL;
        c->max_readahead = c->max_readahead ? c->max_readahead : UINT32_MAX;
        c->max_background = c->max_background ? c->max_background : 64;
        c->congestion_threshold = c->congestion_threshold ? c->congestion_threshold : c->max_background / 4 * 3;
        c->in_flight_max = c->in_flight_max ? c->in_flight_max : 1024;
        c->waiting_max = c->waiting_max ? c->waiting_max : 4096;
        c->large_max = c->large_max ? c->large_max : 128;
        c->notify_max = c->notify_max ? c->notify_max : 16384;
        c->groups_timeout = c->groups_timeout ? c->groups_timeout : NS_PER_SEC;
        c->minor_max = c->minor_max ? MIN(c->minor_max, FUSE_MINOR_NEWEST) : FUSE_MINOR_NEWEST;
        return 0;
}

/* The flags in force: offered by the kernel, known at MINOR, and wanted. */
static uint64_t flags_agree(uint64_t offered, uint32_t minor, uint64_t choices)
{
        uint64_t agreed = 0;
        for (size_t i = 0; i < ELEMENTSOF(init_flags); i++) {
                const struct init_flag *f = &init_flags[i];
                if (f->minor <= minor && (!f->choice || (choices & f->flag)))
                        agreed |= f->flag & offered;
        }
        if (!(agreed & FUSE_INIT_EXT))
                agreed &= UINT32_MAX;
        if (!(agreed & FUSE_DO_READDIRPLUS))
                agreed &= ~(uint64_t)FUSE_READDIRPLUS_AUTO;
        return agreed;
}

static void protocol_agree(struct fuse_session *s, const struct fuse_init_in *in)
{
        struct fuse_protocol *p = &s->protocol;
        uint64_t offered = in->flags;
        if (in->flags & FUSE_INIT_EXT)
                offered |= (uint64_t)in->flags2 << 32;
        p->minor = MIN(in->minor, s->config.minor_max);
        p->flags = flags_agree(offered, p->minor, s->config.choices);
        p->max_readahead = MIN(in->max_readahead, s->config.max_readahead);
        uint32_t page = (uint32_t)sysconf(_SC_PAGESIZE);
        p->max_write = s->config.max_write;
        if (!(p->flags & FUSE_MAX_PAGES))
                p->max_write = MIN(p->max_write, MAX_PAGES_WITHOUT_FLAG * page);
}

/* A ring, if that was agreed. Without one it was not: the kernel would wait for it. */
static void ring_agree(struct fuse_session *s)
{
        struct fuse_protocol *p = &s->protocol;
        if (!(s->config.choices & FUSE_OVER_IO_URING))
                return;
        int r = p->flags & FUSE_OVER_IO_URING ? uring_new(s, MAX(p->max_write, (uint32_t)FUSE_MIN_READ_BUFFER), &s->uring)
                                              : -EOPNOTSUPP;
        if (r == 0) {
                log_info("fuse", "Requests come by io_uring.");
                return;
        }
        p->flags &= ~(uint64_t)FUSE_OVER_IO_URING;
        log_warning("fuse", "io-uring: %s: requests come by /dev/fuse.",
                    r == -EOPNOTSUPP ? "the kernel does not offer it (Linux 6.14, fuse.enable_uring=1)" : strerror(-r));
}

static int init_answer(struct fuse_session *s, uint64_t unique)
{
        const struct fuse_protocol *p = &s->protocol;
        uint32_t page = (uint32_t)sysconf(_SC_PAGESIZE);
        struct fuse_init_out out = {
                .major = FUSE_KERNEL_VERSION,
                .minor = p->minor,
                .max_readahead = p->max_readahead,
                .flags = (uint32_t)p->flags,
                .flags2 = (uint32_t)(p->flags >> 32),
                .max_background = s->config.max_background,
                .congestion_threshold = s->config.congestion_threshold,
                .max_write = p->max_write,
                .time_gran = 1,
                .max_pages = (uint16_t)((p->max_write + page - 1) / page),
        };
        return reply_write(s, unique, 0, &out, sizeof out);
}

int init_negotiate(struct fuse_session *s, uint64_t unique, const uint8_t *body, size_t n)
{
        struct fuse_init_in in = {0};
        memcpy(&in, body, MIN(n, sizeof in));
        if (n >= INIT_IN_LEAST / 2 && in.major > FUSE_KERNEL_VERSION) {
                /* The kernel asks again with our major number. */
                struct fuse_init_out out = {.major = FUSE_KERNEL_VERSION, .minor = FUSE_MINOR_NEWEST};
                return reply_write(s, unique, 0, &out, sizeof out);
        }
        if (n < INIT_IN_LEAST || in.major < FUSE_KERNEL_VERSION || in.minor < FUSE_MINOR_OLDEST) {
                log_error("fuse", "the kernel says FUSE protocol %u.%u in %zu bytes; %u.%u (Linux 5.4) or newer is needed",
                          in.major, in.minor, n, FUSE_KERNEL_VERSION, FUSE_MINOR_OLDEST);
                reply_refuse(s, unique, -EPROTO);
                return -EPROTO;
        }
        protocol_agree(s, &in);
        ring_agree(s);
        int r = init_answer(s, unique);
        return r < 0 ? r : 1;
}
