/* features/read-only: refuses every change with EROFS, as stock's translator of this name does.
 *
 * One function per operation, made by the table below. What keeps a volume whole although nobody writes to it (locks,
 * pending counters, operations of internal clients) goes through.
 */
#include <fcntl.h>

#include "volfile/option.h"
#include "volume/translator.h"

struct read_only {
        struct subvolume base;
        bool on;
};

#define PASSED_ON(X)                                                                                                   \
        X(lookup)                                                                                                      \
        X(stat) X(fstat) X(access) X(readlink) X(opendir) X(read) X(flush) X(fsync) X(fsyncdir) X(readdir) X(readdirp) \
                X(statfs) X(seek) X(rchecksum) X(getxattr) X(fgetxattr) X(xattrop) X(fxattrop) X(lk) X(inodelk)        \
                        X(finodelk) X(entrylk) X(fentrylk)
#define CHANGES(X)                                                                                                     \
        X(mknod)                                                                                                       \
        X(mkdir) X(symlink) X(create) X(link) X(unlink) X(rmdir) X(rename) X(write) X(truncate) X(ftruncate)           \
                X(fallocate) X(discard) X(zerofill) X(setattr) X(fsetattr) X(setxattr) X(fsetxattr) X(removexattr)     \
                        X(fremovexattr)

static bool refused(const struct subvolume *v, const struct request *r)
{
        return CONTAINER_OF(v, const struct read_only, base)->on && r->cred.pid >= 0;
}

#define PASS_(name)                                                                                                    \
        static int read_only_##name(struct fibre *self, struct subvolume *v, struct request *r,                        \
                                    const struct name##_fop_req *req, struct name##_fop_rep *rep)                      \
        {                                                                                                              \
                return subvolume_##name(self, v->children[0], r, req, rep);                                            \
        }
#define REFUSE_(name)                                                                                                  \
        static int read_only_##name(struct fibre *self, struct subvolume *v, struct request *r,                        \
                                    const struct name##_fop_req *req, struct name##_fop_rep *rep)                      \
        {                                                                                                              \
                *rep = (struct name##_fop_rep){0};                                                                     \
                if (refused(v, r))                                                                                     \
                        return fop_failed(rep, -EROFS);                                                                \
                return subvolume_##name(self, v->children[0], r, req, rep);                                            \
        }
PASSED_ON(PASS_)
CHANGES(REFUSE_)

static int read_only_open(struct fibre *self, struct subvolume *v, struct request *r, const struct open_fop_req *req,
                          struct open_fop_rep *rep)
{
        *rep = (struct open_fop_rep){0};
        if (refused(v, r) && ((req->flags & O_ACCMODE) != O_RDONLY || (req->flags & O_TRUNC)))
                return fop_failed(rep, -EROFS);
        return subvolume_open(self, v->children[0], r, req, rep);
}

static void read_only_on_event(struct subvolume *v, struct subvolume *child, const struct subvolume_event *e)
{
        if (e->kind == SUBVOLUME_UP || e->kind == SUBVOLUME_DOWN)
                subvolume_set_up(v, child->up);
        else
                subvolume_tell(v, e);
}

static int read_only_reconfigure(struct subvolume *v, const struct volfile_section *section, struct error *err)
{
        struct read_only *l = CONTAINER_OF(v, struct read_only, base);
        bool on = false;
        int r = section_bool(section, "read-only", &on, err);
        if (r < 0 && r != -ENODATA)
                return r;
        l->on = on;
        return 0;
}

static void read_only_free(struct subvolume *v)
{
        free(CONTAINER_OF(v, struct read_only, base));
}

#define OPERATION_(NAME, name) .name = read_only_##name,
static const struct subvolume_ops read_only_ops = {
        SUBVOLUME_FOPS(OPERATION_).on_event = read_only_on_event,
        .reconfigure = read_only_reconfigure,
        .free = read_only_free,
};

int read_only_build(struct volume *vol, const struct volfile_section *section, struct subvolume **children,
                    unsigned n_children, struct subvolume **ret, struct error *err)
{
        (void)vol;
        (void)children;
        if (n_children != 1)
                return error_set(err, -EINVAL, "Section %s (%s) of the volfile has %u sub-volumes instead of one.",
                                 section->name, section->type, n_children);
        struct read_only *l = calloc(1, sizeof *l);
        if (!l)
                return -ENOMEM;
        l->base.ops = &read_only_ops;
        int r = read_only_reconfigure(&l->base, section, err);
        if (r < 0) {
                free(l);
                return r;
        }
        *ret = &l->base;
        return 0;
}
