/* The model file system (sim_model.h). */
#include "sim_model.h"

#define NOTHING_PENDING UINT32_MAX

const char *const model_op_names[MODEL_OPS] = {"mkdir", "create", "mknod", "symlink",  "link",     "unlink",
                                               "rmdir", "rename", "write", "truncate", "setxattr", "removexattr"};

void model_init(struct model *m, const struct gfid *dir)
{
        *m = (struct model){0};
        (void)model_object_new(m, dir, S_IFDIR, 0);
}

uint8_t model_object_new(struct model *m, const struct gfid *gfid, mode_t type, uint32_t target)
{
        if (m->n == MODEL_OBJECTS)
                return MODEL_NONE;
        struct model_object *o = &m->objects[m->n];
        *o = (struct model_object){.gfid = *gfid, .type = type, .target = target};
        for (unsigned p = 0; p < MODEL_PAGES; p++) {
                o->pending[p] = NOTHING_PENDING;
                o->maybe_n[p] = 1; /* zeros */
        }
        return (uint8_t)m->n++;
}

/* ---- names ------------------------------------------------------------------------------------------------------- */

static struct model_name *find(struct model_version *v, uint8_t dir, uint8_t name)
{
        for (unsigned k = 0; k < v->n; k++)
                if (v->names[k].dir == dir && v->names[k].name == name)
                        return &v->names[k];
        return NULL;
}

uint8_t model_find(const struct model_version *v, uint8_t dir, uint8_t name)
{
        for (unsigned k = 0; k < v->n; k++)
                if (v->names[k].dir == dir && v->names[k].name == name)
                        return v->names[k].object;
        return MODEL_NONE;
}

unsigned model_links(const struct model_version *v, uint8_t object)
{
        unsigned n = 0;
        for (unsigned k = 0; k < v->n; k++)
                n += v->names[k].object == object;
        return n;
}

static bool is_empty(const struct model_version *v, uint8_t dir)
{
        for (unsigned k = 0; k < v->n; k++)
                if (v->names[k].dir == dir)
                        return false;
        return true;
}

static uint8_t parent_of(const struct model_version *v, uint8_t dir)
{
        for (unsigned k = 0; k < v->n; k++)
                if (v->names[k].object == dir)
                        return v->names[k].dir;
        return 0;
}

bool model_is_below(const struct model_version *v, uint8_t dir, uint8_t top)
{
        for (unsigned depth = 0; dir != 0 && dir != top && depth < MODEL_NAMES; depth++)
                dir = parent_of(v, dir);
        return dir == top;
}

static int add(struct model_version *v, uint8_t dir, uint8_t name, uint8_t object)
{
        if (find(v, dir, name))
                return -EEXIST;
        assert_true(v->n < MODEL_NAMES);
        v->names[v->n++] = (struct model_name){dir, name, object};
        return 0;
}

static void drop(struct model_version *v, struct model_name *at)
{
        *at = v->names[--v->n];
}

/* ---- operations -------------------------------------------------------------------------------------------------- */

static bool is_dir(const struct model *m, uint8_t object)
{
        return S_ISDIR(m->objects[object].type);
}

static int apply_unlink(const struct model *m, struct model_version *v, const struct model_action *a)
{
        struct model_name *at = find(v, a->dir, a->name);
        if (!at)
                return -ENOENT;
        if (is_dir(m, at->object))
                return -EISDIR;
        drop(v, at);
        return 0;
}

static int apply_rmdir(const struct model *m, struct model_version *v, const struct model_action *a)
{
        struct model_name *at = find(v, a->dir, a->name);
        if (!at)
                return -ENOENT;
        if (!is_dir(m, at->object))
                return -ENOTDIR;
        if (!is_empty(v, at->object))
                return -ENOTEMPTY;
        drop(v, at);
        return 0;
}

static int check_replaced(const struct model *m, const struct model_version *v, uint8_t source, uint8_t target)
{
        if (is_dir(m, source) && !is_dir(m, target))
                return -ENOTDIR;
        if (!is_dir(m, source) && is_dir(m, target))
                return -EISDIR;
        return is_dir(m, target) && !is_empty(v, target) ? -ENOTEMPTY : 0;
}

static int apply_rename(const struct model *m, struct model_version *v, const struct model_action *a)
{
        uint8_t source = model_find(v, a->dir, a->name), target = model_find(v, a->dir2, a->name2);
        if (source == MODEL_NONE)
                return -ENOENT;
        if (source == target)
                return 0;
        int r = target == MODEL_NONE ? 0 : check_replaced(m, v, source, target);
        if (r < 0)
                return r;
        if (target != MODEL_NONE)
                drop(v, find(v, a->dir2, a->name2));
        drop(v, find(v, a->dir, a->name));
        return add(v, a->dir2, a->name2, source);
}

static int apply_make(struct model_version *v, const struct model_action *a)
{
        int r = add(v, a->dir, a->name, a->object);
        if (r == 0 && a->op != MODEL_LINK && a->op != MODEL_SYMLINK)
                v->attr[a->object] = a->tag;
        return r;
}

static int apply(const struct model *m, struct model_version *v, const struct model_action *a)
{
        switch (a->op) {
        case MODEL_UNLINK:
                return apply_unlink(m, v, a);
        case MODEL_RMDIR:
                return apply_rmdir(m, v, a);
        case MODEL_RENAME:
                return apply_rename(m, v, a);
        case MODEL_WRITE:
                v->pages[a->object] = MAX(v->pages[a->object], (uint8_t)(a->page + a->pages));
                return 0;
        case MODEL_TRUNCATE:
                v->pages[a->object] = a->pages;
                return 0;
        case MODEL_SETXATTR:
                v->attr[a->object] = a->tag;
                return 0;
        case MODEL_REMOVEXATTR:
                if (v->attr[a->object] == 0)
                        return -ENODATA;
                v->attr[a->object] = 0;
                return 0;
        default:
                return apply_make(v, a);
        }
}

/* ---- contents ---------------------------------------------------------------------------------------------------- */

/* Pages that the action gives new contents: from *FIRST on, to the end of the file at the most. */
static unsigned changed_pages(const struct model_action *a, unsigned *first)
{
        *first = a->op == MODEL_WRITE ? a->page : a->pages;
        if (a->op == MODEL_WRITE)
                return a->pages;
        return a->op == MODEL_TRUNCATE ? MODEL_PAGES - a->pages : 0;
}

static void maybe_add(struct model_object *o, unsigned page, uint32_t tag)
{
        for (unsigned k = 0; k < o->maybe_n[page]; k++)
                if (o->maybe[page][k] == tag)
                        return;
        assert_true(o->maybe_n[page] < MODEL_MAYBE);
        o->maybe[page][o->maybe_n[page]++] = tag;
}

static void maybe_only(struct model_object *o, unsigned page)
{
        o->maybe[page][0] = o->page[page];
        o->maybe_n[page] = 1;
}

static void ask_pages(struct model *m, const struct model_action *a)
{
        struct model_object *o = &m->objects[a->object];
        unsigned first, n = changed_pages(a, &first);
        for (unsigned p = first; p < first + n; p++) {
                o->pending[p] = a->op == MODEL_WRITE ? a->tag : 0;
                maybe_add(o, p, o->pending[p]);
        }
}

static void settle_pages(struct model_object *o)
{
        for (unsigned p = 0; p < MODEL_PAGES; p++) {
                if (o->pending[p] != NOTHING_PENDING)
                        o->page[p] = o->pending[p];
                o->pending[p] = NOTHING_PENDING;
        }
}

bool model_page_is(const struct model *m, uint8_t object, unsigned page, uint32_t tag)
{
        return m->objects[object].page[page] == tag;
}

/* ---- asking ------------------------------------------------------------------------------------------------------ */

static void touch(struct model *m, uint8_t object)
{
        if (object != MODEL_NONE)
                m->objects[object].last_version = m->last;
}

/* All that was asked for was done. */
static void trust_last(struct model *m)
{
        for (unsigned k = 0; k < m->n; k++)
                m->objects[k].sure_version = m->objects[k].last_version;
}

/* What was asked for was perhaps not done, or its first effects only: a sync of an object it is about promises no more
 * than before.
 */
static void distrust_last(struct model *m)
{
        for (unsigned k = 0; k < m->n; k++)
                m->objects[k].last_version = m->objects[k].sure_version;
}

bool model_is_full(const struct model *m, uint8_t object)
{
        for (unsigned p = 0; object != MODEL_NONE && p < MODEL_PAGES; p++)
                if (m->objects[object].maybe_n[p] + 1 >= MODEL_MAYBE)
                        return true;
        return m->last + 2 >= MODEL_VERSIONS;
}

static bool is_same_file(const struct model_version *v, const struct model_action *a)
{
        return model_find(v, a->dir, a->name) == model_find(v, a->dir2, a->name2);
}

int model_ask(struct model *m, const struct model_action *a)
{
        assert_true(!m->asked && m->last + 1 < MODEL_VERSIONS);
        struct model_version *next = &m->versions[m->last + 1];
        *next = m->versions[m->last];
        int r = apply(m, next, a);
        if (r < 0)
                return r;
        m->last++;
        m->asked = true;
        if (a->op == MODEL_RENAME && is_same_file(next - 1, a))
                return 0; /* nothing is touched */
        touch(m, a->object);
        if (a->op < MODEL_WRITE) {
                touch(m, a->dir);
                touch(m, model_find(&m->versions[m->last - 1], a->dir, a->name));
        }
        if (a->op == MODEL_RENAME)
                touch(m, a->dir2);
        if (a->op == MODEL_WRITE || a->op == MODEL_TRUNCATE)
                ask_pages(m, a);
        return 0;
}

void model_answered(struct model *m, const struct model_action *a)
{
        m->asked = false;
        trust_last(m);
        if (a->op == MODEL_WRITE || a->op == MODEL_TRUNCATE)
                settle_pages(&m->objects[a->object]);
}

/* Versions before FIRST cannot come back any more. */
static void forget_before(struct model *m, unsigned first)
{
        if (first == 0)
                return;
        memmove(m->versions, m->versions + first, (m->last + 1 - first) * sizeof m->versions[0]);
        m->last -= first;
        for (unsigned k = 0; k < m->n; k++) {
                unsigned *at = &m->objects[k].last_version;
                *at = *at > first ? *at - first : 0;
        }
        trust_last(m);
}

void model_synced(struct model *m, uint8_t object)
{
        struct model_object *o = &m->objects[object];
        for (unsigned p = 0; p < MODEL_PAGES; p++)
                maybe_only(o, p);
        o->healed = false;
        forget_before(m, o->last_version);
}

/* ---- after a fault ----------------------------------------------------------------------------------------------- */

uint8_t model_seen_object(struct model *m, const struct gfid *gfid, mode_t type, uint32_t target)
{
        for (unsigned k = 0; k < m->n; k++)
                if (gfid_equal(&m->objects[k].gfid, gfid))
                        return m->objects[k].type == type && m->objects[k].target == target ? (uint8_t)k : MODEL_NONE;
        uint8_t k = model_object_new(m, gfid, type, target);
        assert_int_not_equal(k, MODEL_NONE);
        m->objects[k].found = true;
        return k;
}

/* Is the object SEEN in the place of WANT one that was only made in part, so that it got another gfid? */
static bool is_half_made(const struct model *m, uint8_t seen, uint8_t want, bool asked)
{
        return m->objects[seen].found && (asked || m->objects[want].healed) &&
               m->objects[seen].type == m->objects[want].type && m->objects[seen].target == m->objects[want].target;
}

static bool names_match(const struct model *m, const struct model_version *seen, const struct model_version *want,
                        bool asked)
{
        if (seen->n != want->n)
                return false;
        for (unsigned k = 0; k < want->n; k++) {
                const struct model_name *w = &want->names[k];
                uint8_t s = model_find(seen, w->dir, w->name);
                if (s == MODEL_NONE || (s != w->object && !is_half_made(m, s, w->object, asked)))
                        return false;
        }
        return true;
}

/* Size and attribute of each object are those of A or of B. */
static bool objects_match(const struct model *m, const struct model_version *seen, const struct model_version *a,
                          const struct model_version *b)
{
        for (unsigned k = 0; k < m->n; k++) {
                if (m->objects[k].found || (k > 0 && model_links(seen, (uint8_t)k) == 0))
                        continue;
                if (seen->pages[k] != a->pages[k] && seen->pages[k] != b->pages[k])
                        return false;
                if (seen->attr[k] != a->attr[k] && seen->attr[k] != b->attr[k])
                        return false;
        }
        return true;
}

/* Is what was seen version AT, or something on the way to the next one? */
static bool version_matches(const struct model *m, enum model_loss loss, const struct model_seen *seen, unsigned at)
{
        const struct model_version *a = &m->versions[at];
        const struct model_version *b = at < m->last ? a + 1 : a;
        if (loss == MODEL_LOST_CALL)
                return names_match(m, &seen->v, a, false) && objects_match(m, &seen->v, a, a);
        return (names_match(m, &seen->v, a, false) || names_match(m, &seen->v, b, true)) &&
               objects_match(m, &seen->v, a, b);
}

static bool page_matches(const struct model_object *o, enum model_loss loss, unsigned page, uint32_t tag)
{
        if (tag == o->page[page] || tag == o->pending[page])
                return true;
        for (unsigned k = 0; loss == MODEL_LOST_POWER && k < o->maybe_n[page]; k++)
                if (o->maybe[page][k] == tag)
                        return true;
        return false;
}

static bool contents_match(const struct model *m, enum model_loss loss, const struct model_seen *seen)
{
        for (unsigned k = 0; k < m->n; k++) {
                if (!S_ISREG(m->objects[k].type) || model_links(&seen->v, (uint8_t)k) == 0)
                        continue;
                for (unsigned p = 0; p < seen->v.pages[k]; p++) {
                        if (page_matches(&m->objects[k], loss, p, seen->page[k][p]))
                                continue;
                        fprintf(stderr, "object %u: page %u holds %u, not %u\n", k, p, seen->page[k][p],
                                m->objects[k].page[p]);
                        return false;
                }
        }
        return true;
}

/* What V has and OTHER has not, or has otherwise. */
static void print_more(const char *what, const struct model_version *v, const struct model_version *other)
{
        fprintf(stderr, " %s:", what);
        for (unsigned k = 0; k < v->n; k++) {
                const struct model_name *n = &v->names[k];
                uint8_t o = n->object;
                if (model_find(other, n->dir, n->name) != o || v->pages[o] != other->pages[o] ||
                    v->attr[o] != other->attr[o])
                        fprintf(stderr, " %u/n%u=%u(%u,%u)", n->dir, n->name, o, v->pages[o], v->attr[o]);
        }
}

static void complain(const struct model *m, enum model_loss loss, const struct model_seen *seen)
{
        static const char *const losses[] = {"a lost connection", "a crash", "a power cut"};
        fprintf(stderr, "after %s, what is there was never there (directory/name=object(pages,attribute)):\n",
                losses[loss]);
        for (unsigned k = loss == MODEL_LOST_POWER || m->last == 0 ? 0 : m->last - 1; k <= m->last; k++) {
                fprintf(stderr, "  version %u%s:", k, k == m->last && m->asked ? " (asked for)" : "");
                print_more("seen", &seen->v, &m->versions[k]);
                print_more("but promised", &m->versions[k], &seen->v);
                fputc('\n', stderr);
        }
}

/* Pages beyond the end read as zeros when the file grows again. */
static void adopt_pages(struct model *m, enum model_loss loss, const struct model_seen *seen)
{
        for (unsigned k = 0; k < m->n; k++) {
                struct model_object *o = &m->objects[k];
                o->healed |= o->found;
                o->found = false;
                for (unsigned p = 0; p < MODEL_PAGES; p++) {
                        o->pending[p] = NOTHING_PENDING;
                        o->page[p] = p < seen->v.pages[k] ? seen->page[k][p] : 0;
                        if (loss == MODEL_LOST_POWER)
                                maybe_only(o, p);
                        else
                                maybe_add(o, p, o->page[p]);
                }
        }
}

static void adopt(struct model *m, enum model_loss loss, const struct model_seen *seen)
{
        distrust_last(m);
        if (loss == MODEL_LOST_POWER) {
                m->last = 0;
                for (unsigned k = 0; k < m->n; k++)
                        m->objects[k].last_version = 0;
                trust_last(m);
        }
        m->versions[m->last] = seen->v;
        m->asked = false;
        adopt_pages(m, loss, seen);
}

bool model_accept(struct model *m, enum model_loss loss, const struct model_seen *seen)
{
        unsigned first = m->last;
        if (loss == MODEL_LOST_POWER)
                first = 0;
        else if (m->asked)
                first = m->last - 1;
        for (unsigned at = m->last + 1; at-- > first;) {
                if (!version_matches(m, loss, seen, at))
                        continue;
                if (!contents_match(m, loss, seen))
                        return false;
                adopt(m, loss, seen);
                return true;
        }
        complain(m, loss, seen);
        return false;
}
