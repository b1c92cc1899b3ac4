/* Heals the names of a directory (replicate.md §10.5; afr_heal.h).
 *
 *      one healer at a time → directory locked: look, decide → name after name, each under its own lock
 * (afr_heal_name.c) → directory locked: look again, take counters back
 *
 * Either some copies are good, and what they do not have is deleted on the others; or none is known to be, and whatever
 * one copy has the others get. Which it is stays decided from the first look to the end: marks of other clients'
 * operations under way come and go. But each name is healed only if the good copies are still blamed by nobody.
 *
 * The names: those that the good copies noted, if all of them did; otherwise all that there are.
 */
#include "volume/afr_heal.h"

#include <stdio.h>
#include <sys/stat.h>

#define NAMES_AT_ONCE 8u
#define NAME_ARENA (4 * MIB)

struct entry_heal {
        struct afr *afr;
        struct request *request;
        struct vnode *directory;
        struct afr_heal_report *report;
        struct afr_guard guard;
        const struct afr_copy *copies;
        afr_set sources; /* 0: merge */
        afr_set unblamed;
        afr_set blaming; /* copies whose counters say something */
        struct fibre_group group;
        int error; /* of a name */
};

/* ---- decision ---------------------------------------------------------------------------------------------------- */

static bool says_something(const struct afr *a, const struct afr_copy *c)
{
        int32_t any = c->dirty[AFR_ENTRY] | c->dirty[AFR_DATA];
        for (unsigned j = 0; j < a->n; j++)
                any |= c->pending[j][AFR_ENTRY] | c->pending[j][AFR_DATA];
        return any != 0;
}

/* What was begun and not finished (dirty counters) was promised to nobody: a copy that nobody blames has everything that
 * was. So that does not keep the good copies from deleting what they do not have; only a copy that blames itself does. */
static void decide(struct entry_heal *h)
{
        struct afr *a = h->afr;
        struct afr_direction d;
        afr_direction(h->copies, a->n, a->all, AFR_ENTRY, a->n / 2 + 1, &d);
        h->sources = d.sinks && d.sinks != a->all ? d.sources : 0; /* who blames nobody knows nothing better */
        h->unblamed = h->sources;
        for (unsigned i = 0; i < a->n; i++) {
                if (h->copies[i].pending[i][AFR_ENTRY] != 0)
                        h->sources = 0;
                if (says_something(a, &h->copies[i]))
                        h->blaming |= AFR_BIT(i);
        }
}

/* Nobody changes names while the copies are looked at. */
static int look(struct fibre *self, struct entry_heal *h)
{
        struct afr *a = h->afr;
        struct afr_locks locks = {.class = AFR_ENTRY};
        struct afr_copy *copies = NULL;
        afr_set locked = 0;
        afr_locks_add(&locks, &h->directory->gfid, "");
        int result = afr_lock(self, a, h->request, NULL, &locks, a->all, &locked);
        if (result < 0)
                return result;
        result = -ENOTCONN;
        if (locked == a->all)
                result = afr_heal_inspect(self, a, h->request, &h->directory->gfid, &copies);
        afr_unlock(self, a, h->request, NULL, &locks);
        if (result < 0)
                return result;
        h->copies = copies;
        decide(h);
        return 0;
}

/* ---- names ------------------------------------------------------------------------------------------------------- */

struct name_job {
        struct entry_heal *heal;
        char name[NAME_LIMIT + 1];
};

static int heal_name(struct fibre *self, struct entry_heal *h, const char *name)
{
        _cleanup_arena_ struct arena arena = ARENA_INIT(NAME_ARENA);
        struct request r = *h->request;
        r.arena = &arena;
        return afr_heal_name_from(self, h->afr, &r, h->directory, name, h->sources, h->unblamed);
}

static void name_fibre(struct fibre *self, void *arg)
{
        struct name_job *job = arg;
        struct entry_heal *h = job->heal;
        int result = heal_name(self, h, job->name);
        h->report->names_done++;
        if (result < 0 && (h->error == 0 || result == -ENOTCONN))
                h->error = afr_heal_why(h->report, result, "name '%s': %s", job->name,
                                        result == -EIO
                                                ? "the copies are different objects, and nothing tells which is right"
                                                : strerror(-result));
        free(job);
}

static bool is_hidden(const struct entry_heal *h, struct str name)
{
        return gfid_is_root(&h->directory->gfid) &&
               (str_is(name, h->afr->options.anonymous_name) || str_is(name, ".glusterfs"));
}

static int heal_listed(struct fibre *self, void *arg, const struct dirent_entry *entry)
{
        struct entry_heal *h = arg;
        if (entry->name.len > NAME_LIMIT || is_hidden(h, entry->name))
                return 0;
        if (h->error == -ENOTCONN || afr_guard_lost(h->afr, &h->guard))
                return afr_heal_why(h->report, -ENOTCONN, "a connection was lost");
        while (h->group.running >= NAMES_AT_ONCE)
                fibre_group_wait(self, &h->group, h->group.finished + 1);
        if (h->report->on_progress)
                h->report->on_progress(self, h->report);
        if (h->report->give_up)
                return afr_heal_why(h->report, -EINTR, "it was told to stop");
        struct name_job *job = calloc(1, sizeof *job);
        if (!job)
                return -ENOMEM;
        job->heal = h;
        (void)snprintf(job->name, sizeof job->name, "%s", entry->name.s);
        int started = fibre_group_start(fibre_loop(self), &h->group, "heal name", name_fibre, job);
        if (started < 0)
                free(job);
        return started;
}

/* Whether changed names were noted wherever something changed; in DIRS their directories. */
static int find_noted(struct fibre *self, struct entry_heal *h, struct gfid dirs[], afr_set *ret)
{
        struct afr *a = h->afr;
        *ret = 0;
        for (unsigned i = 0; i < a->n; i++) {
                for (unsigned j = 0; j < a->n; j++) {
                        if (h->copies[i].pending[j][AFR_DATA] != 0)
                                return 0; /* a mark that says: all names */
                }
        }
        if (!a->options.granular || !h->blaming)
                return 0;
        afr_set found = 0;
        AFR_EACH (i, h->blaming) {
                int result = afr_index_entries(self, a, i, &h->directory->gfid, &dirs[i]);
                if (result == -ENOENT)
                        return 0;
                if (result < 0)
                        return result;
                found |= AFR_BIT(i);
        }
        *ret = found;
        return 0;
}

static int heal_names(struct fibre *self, struct entry_heal *h)
{
        struct afr *a = h->afr;
        struct gfid dirs[AFR_CHILDREN_MAX];
        afr_set noted;
        int result = find_noted(self, h, dirs, &noted);
        AFR_EACH (i, noted ? noted : a->all) {
                if (result == 0)
                        result = afr_list(self, a, i, noted ? &dirs[i] : &h->directory->gfid, heal_listed, h);
        }
        fibre_group_wait_all(self, &h->group);
        return result < 0 ? result : h->error;
}

/* ---- all together ------------------------------------------------------------------------------------------------ */

static int finish_locked(struct fibre *self, struct entry_heal *h)
{
        struct afr *a = h->afr;
        struct afr_copy *now;
        int result = afr_heal_inspect(self, a, h->request, &h->directory->gfid, &now);
        if (result < 0)
                return result;
        AFR_EACH (j, h->sources) {
                for (unsigned i = 0; i < a->n; i++) {
                        if (now[i].pending[j][AFR_ENTRY] != h->copies[i].pending[j][AFR_ENTRY])
                                return afr_heal_why(h->report, -EAGAIN, "%s missed a change meanwhile",
                                                    a->base.children[j]->name);
                }
        }
        if (afr_guard_lost(a, &h->guard))
                return afr_heal_why(h->report, -ENOTCONN, "a connection was lost");
        const struct afr_undo undo = {.gfid = &h->directory->gfid,
                                      .classes = 1u << AFR_ENTRY | 1u << AFR_DATA,
                                      .copies = h->copies,
                                      .on = a->all,
                                      .forgiven = a->all,
                                      .purge = true};
        return afr_heal_undo(self, a, h->request, &undo);
}

/* Nobody is in the middle of an operation: names that are noted when one begins go with the record, if it is removed
 * before the operation is counted. */
static int finish(struct fibre *self, struct entry_heal *h)
{
        struct afr *a = h->afr;
        struct afr_locks locks = {.class = AFR_ENTRY};
        afr_set locked = 0;
        afr_locks_add(&locks, &h->directory->gfid, "");
        int result = afr_lock(self, a, h->request, NULL, &locks, a->all, &locked);
        if (result < 0)
                return result;
        result = locked == a->all ? finish_locked(self, h) : -ENOTCONN;
        afr_unlock(self, a, h->request, NULL, &locks);
        return result;
}

static int heal_alone(struct fibre *self, struct entry_heal *h)
{
        int result = look(self, h);
        if (result == 0 && h->blaming)
                result = heal_names(self, h);
        return result < 0 ? result : finish(self, h);
}

int afr_heal_entries(struct fibre *self, struct afr *a, struct request *r, const struct gfid *gfid,
                     struct afr_heal_report *report)
{
        _cleanup_vnode_ struct vnode *directory = vnode_new(a->base.volume, gfid, S_IFDIR);
        struct entry_heal h = {.afr = a, .request = r, .directory = directory, .report = report};
        struct afr_heal_turn turn = {.class = AFR_ENTRY};
        if (!directory)
                return -ENOMEM;
        afr_guard_set(a, &h.guard);
        int result = afr_heal_turn_take(self, a, r, gfid, &turn, report);
        if (result < 0)
                return result;
        result = heal_alone(self, &h);
        afr_unlock(self, a, r, NULL, &turn.locks);
        return result;
}
