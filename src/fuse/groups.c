/* Supplementary groups of the process that asks: the kernel sends only uid and gid.
 *
 * /proc/PID/status is generated in memory and does not block. Answers are remembered in a small table, one place per
 * pid. Invariant: an entry counts only for the uid and gid that it was made for, and groups only for a process that
 * still runs under the uid of the request: a pid that has passed to somebody else gives none. Thread: the loop's.
 */
#include "fuse/internal.h"

#include <fcntl.h>
#include <stdio.h>

#define GROUPS_SLOTS 512u
#define STATUS_MAX (16 * KIB) /* bytes of /proc/PID/status that are looked at: FUSE_GROUPS_MAX numbers and more */

struct groups_entry {
        uint32_t pid, uid, gid;
        uint64_t until; /* loop time */
        uint32_t n;
        uint32_t *groups;
};

/* The text behind "\nKEY:" in STATUS, NULL if there is none. */
static const char *status_field(const char *status, const char *key)
{
        const char *at = strstr(status, key);
        return at ? at + strlen(key) : NULL;
}

/* The numbers of one line, at most MAX. */
static size_t numbers_parse(const char *at, uint32_t *ret, size_t max)
{
        size_t n = 0;
        while (n < max) {
                while (*at == ' ' || *at == '\t')
                        at++;
                if (*at < '0' || *at > '9')
                        break;
                char *end;
                errno = 0;
                unsigned long v = strtoul(at, &end, 10);
                if (errno != 0 || v > UINT32_MAX)
                        break;
                ret[n++] = (uint32_t)v;
                at = end;
        }
        return n;
}

static ssize_t status_read(uint32_t pid, char *text, size_t size)
{
        char path[64];
        (void)snprintf(path, sizeof path, "/proc/%u/status", pid);
        _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        size_t len = 0;
        ssize_t r;
        while (len < size - 1 && (r = read(fd, text + len, size - 1 - len)) > 0)
                len += (size_t)r;
        text[len] = 0;
        return (ssize_t)len;
}

/* Groups of PID, if it runs under UID; into RET of FUSE_GROUPS_MAX. */
static size_t groups_read(uint32_t pid, uint32_t uid, uint32_t *ret, struct arena *scratch)
{
        char *text = arena_alloc_uninitialised(scratch, STATUS_MAX);
        if (!text || status_read(pid, text, STATUS_MAX) < 0)
                return 0;
        uint32_t uids[4]; /* real, effective, saved, file system */
        const char *line = status_field(text, "\nUid:");
        if (!line || numbers_parse(line, uids, ELEMENTSOF(uids)) != ELEMENTSOF(uids) || uids[3] != uid)
                return 0;
        line = status_field(text, "\nGroups:");
        return line ? numbers_parse(line, ret, FUSE_GROUPS_MAX) : 0;
}

static void entry_set(struct groups_entry *e, const struct fuse_request *rq, const uint32_t *groups, size_t n)
{
        free(e->groups);
        *e = (struct groups_entry){0};
        if (n > 0) {
                e->groups = malloc(n * sizeof *groups);
                if (!e->groups)
                        return;
                memcpy(e->groups, groups, n * sizeof *groups);
        }
        e->pid = rq->pid;
        e->uid = rq->uid;
        e->gid = rq->gid;
        e->n = (uint32_t)n;
        e->until = loop_now(rq->session->loop) + rq->session->config.groups_timeout;
}

size_t fuse_request_groups(struct fuse_request *rq, const uint32_t **ret)
{
        struct fuse_session *s = rq->session;
        if (rq->pid == 0)
                return 0;
        if (!s->groups)
                s->groups = calloc(GROUPS_SLOTS, sizeof *s->groups);
        if (!s->groups)
                return 0;
        struct groups_entry *e = &s->groups[rq->pid % GROUPS_SLOTS];
        bool known = e->pid == rq->pid && e->uid == rq->uid && e->gid == rq->gid && loop_now(s->loop) < e->until;
        size_t max = known ? e->n : FUSE_GROUPS_MAX;
        uint32_t *groups = arena_alloc_uninitialised(rq->arena, MAX(max, (size_t)1) * sizeof *groups);
        if (!groups)
                return 0;
        *ret = groups;
        if (known) {
                if (e->n > 0)
                        memcpy(groups, e->groups, e->n * sizeof *groups);
                return e->n;
        }
        size_t n = groups_read(rq->pid, rq->uid, groups, rq->arena);
        entry_set(e, rq, groups, n);
        return n;
}

void groups_free(struct fuse_session *s)
{
        for (size_t i = 0; s->groups && i < GROUPS_SLOTS; i++)
                free(s->groups[i].groups);
        free(s->groups);
        s->groups = NULL;
}
