/* Another graph in the place of the one in force: bricks were added, removed or replaced, the number of copies changed, or
 * an option that is part of a graph's shape (volume.h).
 *
 *      build      the new layers; bricks that both graphs have are taken over, with connection, descriptors and locks
 *      connect    the bricks that are new, beside everything
 *      shut       the gate: operations under way end, the next ones wait (gate.h); what layers still have to do is done
 *      switch     slots of inodes and files, parents, numbers; without waiting, so nobody sees half of it
 *      reopen     open files, where they are not open yet, and the POSIX locks held through them
 *      open       the gate; bricks that nobody needs any more are left
 *
 * Until the switch everything can be given up. A file that cannot be opened again, or whose lock somebody else got,
 * answers errors until it is closed. Thread: the loop's.
 */
#include "volume/volume.h"

#include <fcntl.h>

#include "base/log.h"
#include "volume/afr.h"
#include "volume/gate.h"
#include "volume/graph.h"
#include "volume/remote.h"

#define CONNECT_TIME (10 * NS_PER_SEC) /* that new bricks have before it is gone on without them */
#define SHUT_TIME (5 * NS_PER_SEC)     /* that operations under way have to end, before the others go on for a while */
#define SHUT_PAUSE (5 * NS_PER_SEC)
#define UP_TIME (2 * NS_PER_SEC) /* that the new graph has to say that it can be used */
#define REOPEN_WORKERS 16
#define REOPEN_ARENA_MAX (4 * MIB)
#define TOLD_MAX 10 /* files of which the log tells one by one */

struct replacement {
        struct volume *vol;
        struct graph next;
        struct volfile *volfile; /* of NEXT */
        int *kept;               /* by slot of NEXT: which one it was; -1: a fresh layer */
        struct leaf_map leaves;
        struct subvolume **gone; /* bricks that are in use no more */
        unsigned n_gone, n_fresh;
};

/* ---- before the switch ----------------------------------------------------------------------------------------- */

static bool is_fresh_brick(const struct replacement *p, unsigned slot)
{
        return p->next.by_slot[slot]->n_children == 0 && p->kept[slot] < 0;
}

static int note_kept(struct replacement *p)
{
        const struct volume *vol = p->vol;
        p->kept = calloc(p->next.n_slots, sizeof *p->kept);
        p->gone = calloc(vol->n_slots, sizeof(struct subvolume *));
        if (!p->kept || !p->gone)
                return -ENOMEM;
        for (unsigned s = 0; s < p->next.n_slots; s++) {
                const struct subvolume *v = p->next.by_slot[s];
                bool kept = v->slot < vol->n_slots && vol->by_slot[v->slot] == v;
                p->kept[s] = kept ? (int)v->slot : -1;
                p->n_fresh += is_fresh_brick(p, s);
        }
        return 0;
}

static int start_fresh(struct replacement *p)
{
        int r = 0;
        for (unsigned s = 0; r == 0 && s < p->next.n_slots; s++)
                if (is_fresh_brick(p, s))
                        r = remote_start(p->next.by_slot[s]);
        return r;
}

static bool all_connected(const struct replacement *p)
{
        for (unsigned s = 0; s < p->next.n_slots; s++)
                if (is_fresh_brick(p, s) && !p->next.by_slot[s]->up)
                        return false;
        return true;
}

static void wait_connected(struct fibre *self, struct replacement *p)
{
        struct loop *loop = p->vol->config.loop;
        uint64_t now, deadline = loop_now(loop) + CONNECT_TIME;
        while (!all_connected(p) && !p->vol->keeps_graph && (now = loop_now(loop)) < deadline)
                volume_wait_change(self, p->vol, deadline - now);
        for (unsigned s = 0; s < p->next.n_slots && !p->vol->keeps_graph; s++)
                if (is_fresh_brick(p, s) && !p->next.by_slot[s]->up)
                        log_warning(p->vol->config.name, "goes on without a brick that is new: %s",
                                    remote_reason(p->next.by_slot[s]));
}

/* What layers do beside their callers has ended. */
static bool is_idle(const struct volume *vol)
{
        for (unsigned s = 0; s < vol->n_slots; s++)
                if (afr_is(vol->by_slot[s]) && !afr_is_idle(afr_of(vol->by_slot[s])))
                        return false;
        return true;
}

static void drain_layers(struct fibre *self, struct volume *vol)
{
        do {
                for (unsigned s = 0; s < vol->n_slots; s++)
                        if (vol->by_slot[s]->ops->drain)
                                vol->by_slot[s]->ops->drain(self, vol->by_slot[s]);
        } while (!is_idle(vol));
}

/* Nothing is under way when it returns 0. */
static int shut(struct fibre *self, struct replacement *p)
{
        struct volume *vol = p->vol;
        bool told = false;
        while (!vol->keeps_graph && gate_stop(self, vol, SHUT_TIME) < 0) {
                if (!told)
                        log_notice(vol->config.name,
                                   "other bricks or sets are taken into use when operations that wait have ended");
                told = true;
                volume_wait_change(self, vol, SHUT_PAUSE);
        }
        if (vol->keeps_graph)
                return -ECANCELED;
        drain_layers(self, vol);
        return 0;
}

static void give_up(struct fibre *self, struct replacement *p)
{
        for (unsigned s = 0; s < p->next.n_slots; s++)
                if (p->kept && is_fresh_brick(p, s))
                        remote_stop(self, p->next.by_slot[s]);
        for (unsigned s = 0; s < p->next.n_slots; s++)
                if (!p->kept || p->kept[s] < 0)
                        graph_free_layer(p->next.by_slot[s]);
        free(p->next.by_slot);
        free(p->next.sections);
}

/* ---- the switch ------------------------------------------------------------------------------------------------ */

static bool is_kept(const struct replacement *p, unsigned old_slot)
{
        for (unsigned s = 0; s < p->next.n_slots; s++)
                if (p->kept[s] == (int)old_slot)
                        return true;
        return false;
}

/* Layers that nobody needs: those above bricks are gone at once. */
static void leave_layers(struct replacement *p)
{
        struct volume *vol = p->vol;
        for (unsigned s = 0; s < vol->n_slots; s++) {
                struct subvolume *v = vol->by_slot[s];
                if (v->n_children > 0) {
                        graph_free_layer(v);
                } else if (!is_kept(p, s)) {
                        v->parent = NULL;
                        p->gone[p->n_gone++] = v;
                }
        }
}

static int prepare_leaves(struct replacement *p)
{
        unsigned n = p->vol->top->n_leaves;
        p->leaves = (struct leaf_map){.graph = p->vol->graph, .n = n, .now = calloc(n, sizeof(int))};
        return p->leaves.now ? 0 : -ENOMEM;
}

/* Before numbers change. */
static void map_leaves(struct replacement *p)
{
        int leaf = 0;
        for (unsigned k = 0; k < p->leaves.n; k++)
                p->leaves.now[k] = -1;
        for (unsigned s = 0; s < p->next.n_slots; s++) {
                const struct subvolume *v = p->next.by_slot[s];
                if (v->n_children > 0)
                        continue;
                if (p->kept[s] >= 0)
                        p->leaves.now[v->leaf_first] = leaf;
                leaf++;
        }
        free(p->vol->leaves_were.now);
        p->vol->leaves_were = p->leaves;
        p->leaves.now = NULL;
}

static void tell_states(struct volume *vol)
{
        for (unsigned s = 0; s < vol->n_slots; s++) {
                struct subvolume *v = vol->by_slot[s];
                if (v->n_children == 0 && v->parent)
                        subvolume_tell(v, &(struct subvolume_event){.kind = v->up ? SUBVOLUME_UP : SUBVOLUME_DOWN});
        }
}

static void switch_graph(struct replacement *p)
{
        struct volume *vol = p->vol;
        struct volfile *old = vol->volfile, *current = vol->current;
        const struct volfile_section **sections = TAKE_PTR(p->next.sections);
        map_leaves(p);
        vnode_slots_renew(vol, p->kept, p->next.n_slots);
        leave_layers(p);
        graph_install(vol, &p->next);
        vol->volfile = p->volfile;
        vol->current = NULL;
        for (unsigned s = 0; s < vol->n_slots; s++)
                if (vol->by_slot[s]->n_children == 0)
                        remote_settle_in(vol->by_slot[s], sections[s]);
        free(sections);
        volfile_free(current);
        p->volfile = old;
        tell_states(vol);
}

static void wait_up(struct fibre *self, struct volume *vol, bool was_up)
{
        uint64_t now, deadline = loop_now(vol->config.loop) + UP_TIME;
        while (was_up && !vol->top->up && (now = loop_now(vol->config.loop)) < deadline)
                volume_wait_change(self, vol, deadline - now);
        if (was_up && !vol->top->up && vol->config.on_event)
                vol->config.on_event(vol, &(struct subvolume_event){.kind = SUBVOLUME_DOWN}, vol->config.arg);
}

/* ---- open files ------------------------------------------------------------------------------------------------ */

struct reopening {
        struct volume *vol;
        struct vfile **files;
        size_t n, next, room;
        unsigned failed;
        bool locks;
};

static bool count_files(struct vnode *i, void *arg)
{
        struct reopening *o = arg;
        for (const struct vfile *f = i->files; f; f = f->next_of_inode)
                o->room++;
        return true;
}

static bool take_files(struct vnode *i, void *arg)
{
        struct reopening *o = arg;
        for (struct vfile *f = i->files; f; f = f->next_of_inode)
                o->files[o->n++] = vfile_ref(f);
        return true;
}

static void mark_bad(struct reopening *o, struct vfile *f, int error, const char *what, int why)
{
        char gfid[GFID_TEXT_LEN + 1];
        f->error = error;
        if (o->failed++ < TOLD_MAX)
                log_warning(o->vol->config.name, "%s (%s): the file, gfid %s, answers errors until it is closed", what,
                            strerror(-why), gfid_format(&f->inode->gfid, gfid));
}

/* It is open at a brick that was there before. */
static bool is_open_somewhere(const struct reopening *o, const struct vfile *f)
{
        for (unsigned s = 0; s < o->vol->n_slots; s++)
                if (o->vol->by_slot[s]->n_children == 0 && f->slots[s])
                        return true;
        return false;
}

static int open_again(struct fibre *self, struct reopening *o, struct vfile *f, struct arena *arena)
{
        struct request r = {.arena = arena, .inode = f->inode, .file = f};
        const struct open_fop_req file = {.gfid = f->inode->gfid,
                                          .flags = f->flags & ~(uint32_t)(O_CREAT | O_EXCL | O_TRUNC)};
        const struct opendir_fop_req directory = {.gfid = f->inode->gfid};
        struct open_fop_rep file_rep = {0};
        struct opendir_fop_rep directory_rep = {0};
        r.cred.flavour = RPC_AUTH_GLUSTERFS_V3;
        return f->directory ? subvolume_opendir(self, o->vol->top, &r, &directory, &directory_rep)
                            : subvolume_open(self, o->vol->top, &r, &file, &file_rep);
}

static int lock_one(struct fibre *self, struct reopening *o, struct vfile *f, const struct held_lock *l,
                    struct arena *arena)
{
        struct request r = {.arena = arena, .inode = f->inode, .file = f};
        struct lk_fop_req req;
        struct lk_fop_rep rep = {0};
        lock_again(l, &f->inode->gfid, &r.cred, &req);
        return subvolume_lk(self, o->vol->top, &r, &req, &rep);
}

/* Bricks that both graphs have have them already, and new ones get them. A brick that is away is asked by its connection. */
static void lock_again_all(struct fibre *self, struct reopening *o, struct vfile *f, struct arena *arena)
{
        int r = f->locks.incomplete ? -ENOMEM : 0;
        for (const struct held_lock *l = f->locks.head; l && r >= 0; l = l->next) {
                r = lock_one(self, o, f, l, arena);
                r = r == -ENOTCONN ? 0 : r;
        }
        if (r < 0)
                mark_bad(o, f, -EIO, "a file lock cannot be had at a brick that is new", r);
}

static void reopen_one(struct fibre *self, struct reopening *o, struct vfile *f)
{
        _cleanup_arena_ struct arena arena = ARENA_INIT(REOPEN_ARENA_MAX);
        if (f->error)
                return;
        int r = open_again(self, o, f, &arena);
        if (r < 0 && r != -ENOTCONN && !is_open_somewhere(o, f)) {
                mark_bad(o, f, -EBADFD, "a file cannot be opened again after bricks or sets have changed", r);
                return;
        }
        if (o->locks)
                lock_again_all(self, o, f, &arena);
}

static void reopen_some(struct fibre *self, void *arg)
{
        struct reopening *o = arg;
        while (o->next < o->n)
                reopen_one(self, o, o->files[o->next++]);
}

static int prepare_reopening(struct replacement *p, struct reopening *o)
{
        *o = (struct reopening){.vol = p->vol, .locks = p->n_fresh > 0};
        (void)vnode_each(p->vol, count_files, o);
        o->files = calloc(o->room + 1, sizeof(struct vfile *));
        if (!o->files)
                return -ENOMEM;
        (void)vnode_each(p->vol, take_files, o);
        return 0;
}

static void reopen_all(struct fibre *self, struct reopening *o)
{
        struct fibre_group group = {0};
        for (unsigned i = 1; i < REOPEN_WORKERS && i < o->n; i++)
                (void)fibre_group_start(fibre_loop(self), &group, "reopen", reopen_some, o);
        reopen_some(self, o);
        fibre_group_wait_all(self, &group);
        if (o->failed > TOLD_MAX)
                log_warning(o->vol->config.name, "%u files more cannot be used until they are closed",
                            o->failed - TOLD_MAX);
}

static void reopening_done(struct reopening *o)
{
        for (size_t k = 0; k < o->n; k++)
                (void)vfile_unref(o->files[k]);
        free(o->files);
}

/* ---- all together ---------------------------------------------------------------------------------------------- */

/* With the gate shut: nothing can fail after the switch. */
static int change(struct fibre *self, struct replacement *p)
{
        struct volume *vol = p->vol;
        struct reopening files;
        bool was_up = vol->top->up;
        int r = prepare_leaves(p);
        if (r == 0)
                r = vnode_slots_prepare(vol, p->next.n_slots);
        if (r == 0)
                r = prepare_reopening(p, &files);
        if (r < 0) {
                vnode_slots_abandon(vol);
                return r;
        }
        switch_graph(p);
        wait_up(self, vol, was_up);
        reopen_all(self, &files);
        gate_go(vol);
        reopening_done(&files);
        return 0;
}

static void leave_bricks(struct fibre *self, struct replacement *p)
{
        for (unsigned k = 0; k < p->n_gone; k++) {
                remote_stop(self, p->gone[k]);
                graph_free_layer(p->gone[k]);
        }
}

static int replace(struct fibre *self, struct replacement *p)
{
        int r = note_kept(p);
        if (r == 0)
                r = start_fresh(p);
        if (r == 0) {
                wait_connected(self, p);
                r = shut(self, p);
        }
        if (r == 0) {
                r = change(self, p);
                if (r < 0)
                        gate_go(p->vol);
        }
        if (r < 0)
                give_up(self, p);
        else
                leave_bricks(self, p);
        return r;
}

int volume_replace(struct fibre *self, struct volume *vol, const struct volfile *volfile, struct error *err)
{
        struct replacement p = {.vol = vol};
        int r = volume_copy_volfile(volfile, &p.volfile, err);
        if (r < 0)
                return r;
        r = graph_build(vol, p.volfile, &p.next, err);
        if (r == 0) {
                r = replace(self, &p);
                if (r < 0)
                        (void)error_set(err, r, "Volume %s keeps its bricks: %s", vol->config.name, strerror(-r));
        }
        free(p.kept);
        free(p.gone);
        free(p.leaves.now);
        volfile_free(p.volfile); /* the former one, if this one is in force */
        return r;
}
