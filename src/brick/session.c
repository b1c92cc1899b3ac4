/* Sessions: one per client connection, owner of its descriptors and locks (spec: brick.md §14.3, §6).
 *
 * A session is in its brick's list from the end of session_open() to session_close(). Opening may run on any thread;
 * closing happens when no request of the session runs any more. A sub-directory mount is resolved once, at opening, to
 * the gfid that stands for the root in this session.
 */
#include "brick/barrier.h"
#include "brick/index_watch.h"
#include "brick/upcall.h"

#define SUBDIR_ARENA_MAX MIB

static struct session *session_free(struct session *s)
{
        if (!s)
                return NULL;
        for (uint32_t i = 0; i < s->fd_cap; i++)
                if (s->fds[i])
                        open_fd_unref(s->brick, s->fds[i]);
        free(s->fds);
        free(s->client_uid);
        pthread_mutex_destroy(&s->lock);
        free(s);
        return NULL;
}
DEFINE_CLEANUP(struct session *, session_free)

/* Follows one component. *DIR is replaced by the directory found. */
static int subdir_step(struct op *op, struct gfid *dir, const char *name)
{
        struct object parent, child;
        int r = object_parent(op, dir, &parent);
        if (r < 0)
                return r;
        r = object_entry(op, &parent, name, NULL, &child);
        if (r == 0) {
                bool is_dir = S_ISDIR(child.st.st_mode);
                *dir = child.inode->gfid;
                object_done(op->brick, &child);
                r = is_dir ? 0 : -ENOTDIR;
        } else if (r == -ENODATA) {
                object_done(op->brick, &child);
        }
        object_done(op->brick, &parent);
        return r;
}

static int subdir_resolve(struct session *s, const char *path, struct gfid *ret)
{
        _cleanup_arena_ struct arena arena = ARENA_INIT(SUBDIR_ARENA_MAX);
        static const struct rpc_cred nobody;
        struct op op = {.brick = s->brick,
                        .session = s,
                        .fop = FOP_LOOKUP,
                        .cred = &nobody,
                        .xdata = {.others = DICT_NULL},
                        .reply = DICT_NULL,
                        .arena = &arena};
        struct gfid dir = GFID_ROOT;
        for (const char *p = path; *p;) {
                size_t len = strcspn(p, "/");
                char name[NAME_LIMIT + 1];
                if (len > NAME_LIMIT)
                        return -ENOENT;
                memcpy(name, p, len);
                name[len] = '\0';
                p += len + (p[len] ? 1 : 0);
                if (len == 0)
                        continue;
                if (streq(name, ".") || streq(name, "..") || subdir_step(&op, &dir, name) < 0)
                        return -ENOENT;
        }
        *ret = dir;
        return 0;
}

static int session_set_subdir(struct session *s, const char *path)
{
        struct gfid dir;
        int r = subdir_resolve(s, path, &dir);
        if (r == 0 && !gfid_is_root(&dir))
                s->subdir_root = dir;
        return r;
}

static void session_link(struct session *s)
{
        struct brick *b = s->brick;
        pthread_mutex_lock(&b->lock);
        s->next = b->sessions;
        if (s->next)
                s->next->prev = s;
        b->sessions = s;
        pthread_mutex_unlock(&b->lock);
}

static void session_unlink(struct session *s)
{
        struct brick *b = s->brick;
        pthread_mutex_lock(&b->lock);
        if (s->prev)
                s->prev->next = s->next;
        else
                b->sessions = s->next;
        if (s->next)
                s->next->prev = s->prev;
        pthread_mutex_unlock(&b->lock);
}

int session_open(struct brick *b, const struct session_config *config, struct session **ret)
{
        struct session *fresh = calloc(1, sizeof *fresh);
        if (!fresh)
                return -ENOMEM;
        pthread_mutex_init(&fresh->lock, NULL);
        _cleanup_(session_freep) struct session *s = fresh;
        s->brick = b;
        s->fd_max = session_fd_limit();
        s->trusted = config->trusted;
        s->op_version = config->op_version;
        s->send = config->send;
        s->resume = config->resume;
        s->lend = config->lend;
        s->conn = config->conn;
        s->client_uid = strdup(config->client_uid);
        if (!s->client_uid)
                return -ENOMEM;
        if (config->subdir && !streq(config->subdir, "/")) {
                int r = session_set_subdir(s, config->subdir);
                if (r < 0)
                        return r;
        }

        session_link(s);
        *ret = TAKE_PTR(s);
        return 0;
}

struct session *session_close(struct session *s)
{
        if (!s)
                return NULL;
        session_unlink(s); /* first: who walks the list looks at the locks */
        lock_session_gone(s);
        upcall_session_gone(s);
        index_watch_gone(s);
        barrier_session_gone(s);
        return session_free(s);
}

struct brick *session_brick(const struct session *s)
{
        return s->brick;
}
