/* The top of a self-heal daemon's volfile: debug/io-stats over all sets of a volume (wire.md §8.4).
 *
 * Only for internal clients, which use the sets by themselves: to anybody else the sets are not one volume, and the
 * graph is refused. Operations on it are refused as well. It is up while one of the sets is.
 */
#include "volume/translator.h"

#define REFUSE_(NAME, name)                                                                                            \
        static int several_##name(struct fibre *self, struct subvolume *v, struct request *r,                          \
                                  const struct name##_fop_req *req, struct name##_fop_rep *rep)                        \
        {                                                                                                              \
                (void)self;                                                                                            \
                (void)v;                                                                                               \
                (void)r;                                                                                               \
                (void)req;                                                                                             \
                *rep = (struct name##_fop_rep){0};                                                                     \
                return fop_failed(rep, -EOPNOTSUPP);                                                                   \
        }
SUBVOLUME_FOPS(REFUSE_)

static void several_on_event(struct subvolume *v, struct subvolume *child, const struct subvolume_event *e)
{
        bool up = false;
        (void)child;
        if (e->kind != SUBVOLUME_UP && e->kind != SUBVOLUME_DOWN)
                return;
        for (unsigned i = 0; i < v->n_children; i++)
                up |= v->children[i]->up;
        subvolume_set_up(v, up);
}

static void several_free(struct subvolume *v)
{
        free(v);
}

#define OPERATION_(NAME, name) .name = several_##name,
static const struct subvolume_ops several_ops = {
        SUBVOLUME_FOPS(OPERATION_).on_event = several_on_event,
        .free = several_free,
};

int several_build(struct volume *vol, const struct volfile_section *section, struct subvolume **children,
                  unsigned n_children, struct subvolume **ret, struct error *err)
{
        (void)children;
        if (vol->config.pid != PID_SELF_HEAL && vol->config.pid != PID_HEAL_INFO)
                return error_set(err, -EINVAL, "Section %s (%s) of the volfile has %u sub-volumes instead of one.",
                                 section->name, section->type, n_children);
        struct subvolume *v = calloc(1, sizeof *v);
        if (!v)
                return -ENOMEM;
        v->ops = &several_ops;
        *ret = v;
        return 0;
}
