#include "lock_calls.h"

void as_owner(struct client *c, const char *owner)
{
        c->cred.owner_len = (uint32_t)strlen(owner);
        memcpy(c->cred.owner, owner, c->cred.owner_len);
}

static struct flock_range range(uint32_t type, uint64_t start, uint64_t len)
{
        return (struct flock_range){.type = type, .start = start, .len = len};
}

int inodelk(struct client *c, const struct gfid *g, int cmd, uint32_t type, uint64_t start, uint64_t len,
            const char *domain)
{
        struct inodelk_fop_rep rep;
        const struct inodelk_fop_req req = {.gfid = *g,
                                            .cmd = (uint32_t)cmd,
                                            .type = type,
                                            .flock = range(type, start, len),
                                            .volume = str_of(domain),
                                            .xdata = DICT_NULL};
        return CALL(c, INODELK, &req, &rep);
}

int finodelk(struct client *c, const struct gfid *g, int64_t fd, int cmd, uint32_t type, uint64_t start, uint64_t len,
             const char *domain)
{
        struct finodelk_fop_rep rep;
        const struct finodelk_fop_req req = {.gfid = *g,
                                             .fd = fd,
                                             .cmd = (uint32_t)cmd,
                                             .type = type,
                                             .flock = range(type, start, len),
                                             .volume = str_of(domain),
                                             .xdata = DICT_NULL};
        return CALL(c, FINODELK, &req, &rep);
}

int entrylk(struct client *c, const struct gfid *g, int cmd, uint32_t type, const char *name, const char *domain)
{
        struct entrylk_fop_rep rep;
        const struct entrylk_fop_req req = {.gfid = *g,
                                            .cmd = (uint32_t)cmd,
                                            .type = type,
                                            .namelen = name != NULL,
                                            .name = str_of(name ? name : ""),
                                            .volume = str_of(domain),
                                            .xdata = DICT_NULL};
        return CALL(c, ENTRYLK, &req, &rep);
}

int lk(struct client *c, const struct gfid *g, int64_t fd, int cmd, uint32_t type, uint64_t start, uint64_t len,
       uint32_t flags, struct flock_range *ret_flock)
{
        struct lk_fop_rep rep;
        struct lk_fop_req req = {.gfid = *g,
                                 .fd = fd,
                                 .cmd = (uint32_t)cmd,
                                 .type = type,
                                 .flock = range(type, start, len),
                                 .xdata = client_dict(c, flags ? "glusterfs.lk.lkmode" : NULL, flags)};
        req.flock.pid = (uint32_t)c->cred.pid;
        req.flock.owner = (struct slice){c->cred.owner, c->cred.owner_len};
        int r = CALL(c, LK, &req, &rep);
        if (ret_flock)
                *ret_flock = rep.flock;
        return r;
}

int flush(struct client *c, const struct gfid *g, int64_t fd)
{
        struct flush_fop_rep rep;
        const struct flush_fop_req req = {.gfid = *g, .fd = fd, .xdata = DICT_NULL};
        return CALL(c, FLUSH, &req, &rep);
}

static void copy_text(struct client *c, const struct dict *d, const char *name, char buf[static 4096])
{
        struct str text;
        buf[0] = '\0';
        if (dict_get_str(d, &c->reply_arena, name, &text) == 0)
                snprintf(buf, 4096, "%s", text.s);
}

int getxattr_text(struct client *c, const struct gfid *g, int64_t fd, const char *name, char buf[static 4096])
{
        if (fd >= 0) {
                struct fgetxattr_fop_rep rep;
                const struct fgetxattr_fop_req req = {.gfid = *g,
                                                      .fd = fd,
                                                      .namelen = (uint32_t)strlen(name),
                                                      .name = str_of(name),
                                                      .xdata = DICT_NULL};
                int r = CALL(c, FGETXATTR, &req, &rep);
                copy_text(c, &rep.dict, name, buf);
                return r;
        }
        struct getxattr_fop_rep rep;
        const struct getxattr_fop_req req = {
                .gfid = *g, .namelen = (uint32_t)strlen(name), .name = str_of(name), .xdata = DICT_NULL};
        int r = CALL(c, GETXATTR, &req, &rep);
        copy_text(c, &rep.dict, name, buf);
        return r;
}
