/* Distribute: options, building, and what is known of objects (dht.h).
 *
 * Invariants: an inode's slot is either a directory's, with a layout of all children, or a file's, with the child that has
 * it. What is known may be out of date; every operation copes with that, by the brick's answer.
 */
#include "volume/dht.h"

#include "volfile/option.h"

#include <strings.h>
#include <sys/stat.h>

#define GRACE (3 * NS_PER_SEC) /* that sub-volumes have to come up after the first one, at the beginning */

/* ---- options ---------------------------------------------------------------------------------------------------------- */

static int read_bool(const struct volfile_section *s, const char *name, bool by_default, bool *ret, struct error *err)
{
        int r = section_bool(s, name, ret, err);
        if (r == -ENODATA)
                *ret = by_default;
        return r == -ENODATA ? 0 : r;
}

static int read_unhashed(const struct volfile_section *s, enum dht_unhashed *ret, struct error *err)
{
        const char *text = section_value(s, "lookup-unhashed");
        bool on = true;
        if (text && strcasecmp(text, "auto") == 0) {
                *ret = DHT_UNHASHED_AUTO;
                return 0;
        }
        if (text && option_bool(text, &on) < 0)
                return error_set(err, -EINVAL, "option lookup-unhashed of section %s: \"%s\" is neither on, off nor auto",
                                 s->name, text);
        *ret = on ? DHT_UNHASHED_ON : DHT_UNHASHED_OFF;
        return 0;
}

static int read_min_free(const struct volfile_section *s, struct dht_options *o, struct error *err)
{
        const char *disk = section_value(s, "min-free-disk"), *inodes = section_value(s, "min-free-inodes");
        struct option_share share = {.is_percent = true, .percent = 10};
        o->min_free_inodes = 5;
        if (disk && option_percent_or_size(disk, &share) < 0)
                return error_set(err, -EINVAL, "option min-free-disk of section %s: \"%s\" is neither a percentage nor a size",
                                 s->name, disk);
        if (inodes && option_percent(inodes, &o->min_free_inodes) < 0)
                return error_set(err, -EINVAL, "option min-free-inodes of section %s: \"%s\" is no percentage", s->name,
                                 inodes);
        o->min_free_is_percent = share.is_percent;
        o->min_free_disk = share.is_percent ? share.percent : (double)share.bytes;
        return 0;
}

static int read_spread(const struct volfile_section *s, unsigned *ret, struct error *err)
{
        const char *text = section_value(s, "directory-layout-spread");
        uint64_t value = 0;
        if (text && (option_u64(text, &value) < 0 || value > UINT32_MAX))
                return error_set(err, -EINVAL, "option directory-layout-spread of section %s: \"%s\" is no number", s->name,
                                 text);
        *ret = (unsigned)value;
        return 0;
}

static int read_switches(const struct volfile_section *s, struct dht_options *o, struct error *err)
{
        const struct {
                const char *name;
                bool by_default;
                bool *value;
        } switches[] = {
                {"lookup-optimize", true, &o->lookup_optimize},
                {"weighted-rebalance", true, &o->weighted},
                {"randomize-hash-range-by-gfid", false, &o->by_gfid},
                {"readdir-optimize", false, &o->readdir_optimize},
                {"use-readdirp", true, &o->use_readdirp},
                {"assert-no-child-down", false, &o->all_must_be_up},
        };
        int r = 0;
        for (size_t i = 0; r == 0 && i < ELEMENTSOF(switches); i++)
                r = read_bool(s, switches[i].name, switches[i].by_default, switches[i].value, err);
        return r;
}

static int read_options(const struct volfile_section *s, struct dht_options *ret, struct error *err)
{
        const char *name = section_option(s, "xattr-name");
        if (name && !streq(name, DHT_KEY))
                return error_set(err, -EOPNOTSUPP, "option xattr-name of section %s: layouts are kept under \"%s\" only", s->name,
                                 DHT_KEY);
        struct dht_options o = {0};
        int r = read_unhashed(s, &o.lookup_unhashed, err);
        if (r == 0)
                r = read_switches(s, &o, err);
        if (r == 0)
                r = read_min_free(s, &o, err);
        if (r == 0)
                r = read_spread(s, &o.spread, err);
        if (r == 0)
                *ret = o;
        return r;
}

/* "unsigned-char on" is ours: for volumes whose other clients run where `char` is unsigned (§3.3). */
static int read_names(const struct volfile_section *s, struct dht_names *ret, struct error *err)
{
        bool is_unsigned;
        int r = read_bool(s, "unsigned-char", false, &is_unsigned, err);
        if (r < 0)
                return r;
        return dht_names_init(ret, section_option(s, "extra-hash-regex"), section_option(s, "rsync-hash-regex"),
                              is_unsigned ? DHT_CHAR_UNSIGNED : DHT_CHAR_SIGNED, err);
}

/* The names in "decommissioned-bricks A,B". Unknown ones are those of an older graph. */
static bool is_listed(const char *list, const char *name)
{
        size_t len = strlen(name);
        while (list && *list) {
                size_t n = strcspn(list, ",");
                if (n == len && memcmp(list, name, n) == 0)
                        return true;
                list += n + (list[n] == ',');
        }
        return false;
}

/* ---- building --------------------------------------------------------------------------------------------------------- */

static const struct subvolume_ops dht_ops;

static void dht_free(struct subvolume *v)
{
        timer_stop(&dht_of(v)->grace);
        dht_pass_ops.free(v);
}

static void sort_by_name(struct dht *d, struct subvolume *const *children)
{
        for (unsigned i = 0; i < d->n; i++) {
                unsigned k = i;
                for (; k > 0 && strcmp(children[d->by_name[k - 1]]->name, children[i]->name) > 0; k--)
                        d->by_name[k] = d->by_name[k - 1];
                d->by_name[k] = i;
        }
}

static void note_leaving(struct dht *d, const struct volfile_section *section, struct subvolume *const *children)
{
        const char *leaving = section_option(section, "decommissioned-bricks");
        for (unsigned i = 0; i < d->n; i++)
                d->decommissioned[i] = is_listed(leaving, children[i]->name);
}

int dht_build(struct volume *vol, const struct volfile_section *section, struct subvolume **children, unsigned n,
              struct subvolume **ret, struct error *err)
{
        (void)vol;
        struct dht *d = calloc(1, sizeof *d);
        if (!d)
                return -ENOMEM;
        d->v.ops = n > 1 ? &dht_ops : &dht_pass_ops;
        d->n = n;
        d->by_name = calloc(n, sizeof *d->by_name);
        d->decommissioned = calloc(n, sizeof *d->decommissioned);
        d->space = calloc(n, sizeof *d->space);
        int r = d->by_name && d->decommissioned && d->space ? read_options(section, &d->options, err) : -ENOMEM;
        if (r == 0)
                r = read_names(section, &d->names, err);
        if (r < 0) {
                dht_free(&d->v);
                return r;
        }
        sort_by_name(d, children);
        note_leaving(d, section, children);
        *ret = &d->v;
        return 0;
}

int dht_reconfigure(struct subvolume *v, const struct volfile_section *section, struct error *err)
{
        struct dht *d = dht_of(v);
        struct dht_options options;
        struct dht_names names;
        int r = read_options(section, &options, err);
        if (r == 0)
                r = read_names(section, &names, err);
        if (r < 0)
                return r;
        dht_names_done(&d->names);
        d->names = names;
        d->options = options;
        d->space_at = 0;
        note_leaving(d, section, v->children);
        return 0;
}

/* ---- events ----------------------------------------------------------------------------------------------------------- */

static unsigned count_up(const struct dht *d)
{
        unsigned up = 0;
        for (unsigned i = 0; i < d->n; i++)
                up += d->v.children[i]->up;
        return up;
}

static void update_up(struct dht *d)
{
        unsigned up = count_up(d);
        subvolume_set_up(&d->v, d->begun && (d->options.all_must_be_up ? up == d->n : up > 0));
}

static void grace_over(struct timer *t)
{
        struct dht *d = CONTAINER_OF(t, struct dht, grace);
        d->begun = true;
        update_up(d);
}

/* Who begins while some are still connecting would see a part of everything: the first one up waits a little for the rest. */
static void child_changed(struct dht *d)
{
        unsigned up = count_up(d);
        if (up == d->n)
                d->begun = true;
        if (d->begun)
                timer_stop(&d->grace);
        else if (up > 0 && !timer_running(&d->grace))
                timer_start(volume_loop(d->v.volume), &d->grace, GRACE, grace_over);
        update_up(d);
}

/* What one brick says about attributes is not what the whole object has: that it changed is what counts. */
static void dht_event(struct subvolume *v, struct subvolume *child, const struct subvolume_event *e)
{
        (void)child;
        if (e->kind == SUBVOLUME_UP || e->kind == SUBVOLUME_DOWN) {
                child_changed(dht_of(v));
                return;
        }
        struct subvolume_event own = *e;
        if (e->stat && (S_ISDIR(e->stat->mode) || dht_is_linkto_mode(e->stat) || dht_is_phase1(e->stat)))
                own.stat = NULL;
        subvolume_tell(v, &own);
}

/* ---- what is known ---------------------------------------------------------------------------------------------------- */

int dht_child_by_name(const struct dht *d, struct str name)
{
        for (unsigned i = 0; i < d->n; i++)
                if (str_is(name, d->v.children[i]->name))
                        return (int)i;
        return -1;
}

struct dht_inode *dht_known(const struct dht *d, struct vnode *i)
{
        return *vnode_slot(i, &d->v);
}

static struct dht_inode *inode_to_fill(struct dht *d, struct vnode *i)
{
        void **slot = vnode_slot(i, &d->v);
        struct dht_inode *known = *slot;
        if (known)
                return known;
        known = calloc(1, sizeof *known);
        if (known)
                *known = (struct dht_inode){.cached = -1, .target = -1, .mds = -1};
        *slot = known;
        return known;
}

/* The inode in the table that has this gfid, if it is not I itself. */
static struct vnode *other_inode(struct vnode *i, const struct gfid *gfid)
{
        if (i->linked || gfid_is_null(gfid))
                return NULL;
        struct vnode *other = vnode_find(i->volume, gfid);
        return other == i ? vnode_unref(other) : other;
}

static int fill_file(struct dht *d, struct vnode *i, int cached)
{
        struct dht_inode *known = inode_to_fill(d, i);
        if (!known)
                return -ENOMEM;
        if (known->cached != cached) {
                known->target = -1;
                known->moving = false;
        }
        known->directory = false;
        known->cached = cached;
        known->layout = layout_free(known->layout);
        return 0;
}

int dht_remember_file(struct dht *d, struct vnode *i, const struct gfid *gfid, int cached)
{
        _cleanup_vnode_ struct vnode *other = other_inode(i, gfid);
        int r = fill_file(d, i, cached);
        return r == 0 && other ? fill_file(d, other, cached) : r;
}

/* What a sub-volume that is down had is still so, as far as anybody knows. */
static void keep_unreachable(const struct dht_inode *known, struct layout *layout, int *mds)
{
        if (!known->layout)
                return;
        for (unsigned i = 0; i < layout->n; i++) {
                if (layout->ranges[i].error != ENOTCONN)
                        continue;
                if (known->layout->ranges[i].error == 0)
                        layout->ranges[i] = known->layout->ranges[i];
                if (*mds < 0 && known->mds == (int)i)
                        *mds = (int)i;
        }
        layout_settle(layout);
}

static int fill_directory(struct dht *d, struct vnode *i, struct layout *layout, int mds, const char *path)
{
        struct dht_inode *known = inode_to_fill(d, i);
        char *own = path ? strdup(path) : NULL;
        if (!known || (path && !own)) {
                layout_free(layout);
                free(own);
                return -ENOMEM;
        }
        keep_unreachable(known, layout, &mds);
        layout_free(known->layout);
        if (own) {
                free(known->path);
                known->path = own;
        }
        known->directory = true;
        known->cached = -1;
        known->layout = layout;
        known->checked = loop_now(volume_loop(i->volume));
        known->mds = mds;
        return 0;
}

int dht_remember_directory(struct dht *d, struct vnode *i, const struct gfid *gfid, struct layout *layout, int mds,
                           const char *path)
{
        _cleanup_vnode_ struct vnode *other = other_inode(i, gfid);
        if (other) {
                struct layout *copy = layout_dup(layout);
                if (!copy) {
                        layout_free(layout);
                        return -ENOMEM;
                }
                (void)fill_directory(d, other, copy, mds, path);
        }
        return fill_directory(d, i, layout, mds, path);
}

void dht_forget(struct subvolume *v, struct vnode *i, void *slot)
{
        struct dht_inode *known = slot;
        (void)v;
        (void)i;
        layout_free(known->layout);
        free(known->path);
        free(known);
}

/* The child at which somebody here has I open; -1: none. */
static int child_with_file(const struct dht *d, struct vnode *i)
{
        const struct volume *vol = d->v.volume;
        for (const struct vfile *f = i->files; f; f = f->next_of_inode)
                for (unsigned s = 0; s < vol->n_slots && !f->directory; s++) {
                        unsigned leaf = vol->by_slot[s]->leaf_first;
                        if (vol->by_slot[s]->n_children > 0 || !f->slots[s])
                                continue;
                        for (unsigned k = 0; k < d->n; k++)
                                if (leaf - dht_child(d, (int)k)->leaf_first < dht_child(d, (int)k)->n_leaves)
                                        return (int)k;
                }
        return -1;
}

/* A file without a name is found by nobody, but those who have it open go on. */
static int resolve_open(struct dht *d, struct vnode *i, int result)
{
        int child = dht_is_absent(result) ? child_with_file(d, i) : -1;
        return child < 0 ? result : dht_remember_file(d, i, &i->gfid, child);
}

int dht_resolve(struct fibre *self, struct dht *d, struct request *r, struct vnode *i, struct dht_inode **ret)
{
        if (!dht_known(d, i)) {
                struct lookup_fop_req req = {.gfid = i->gfid, .xdata = DICT_NULL};
                struct lookup_fop_rep rep = {0};
                struct request own = dht_as_root(r, i, NULL);
                int result = dht_lookup(self, &d->v, &own, &req, &rep);
                if (result < 0)
                        result = resolve_open(d, i, result);
                if (result < 0)
                        return result;
        }
        *ret = dht_known(d, i);
        return *ret ? 0 : -ESTALE;
}

const char *dht_path_of(const struct dht *d, struct arena *a, struct vnode *parent, struct str name)
{
        const struct dht_inode *known = dht_known(d, parent);
        const char *dir = gfid_is_root(&parent->gfid) ? "/" : known ? known->path : NULL;
        if (!dir || strlen(dir) + 1 + name.len > PATH_LIMIT)
                return NULL;
        return arena_printf(a, "%s%s%s", dir, streq(dir, "/") ? "" : "/", name.s);
}

/* ---- open files ------------------------------------------------------------------------------------------------------- */

void dht_file_set_open(struct dht *d, struct vfile *f, int child, bool open)
{
        struct dht_file **slot = (struct dht_file **)vfile_slot(f, &d->v);
        if (!*slot)
                *slot = calloc(d->n, sizeof(bool));
        if (*slot)
                (*slot)->open[child] = open;
}

bool dht_file_is_open(const struct dht *d, struct vfile *f, int child)
{
        const struct dht_file *known = *vfile_slot(f, &d->v);
        return known && known->open[child];
}

void dht_release(struct subvolume *v, struct vfile *f, void *slot)
{
        (void)v;
        (void)f;
        free(slot);
}

/* ---- attributes ------------------------------------------------------------------------------------------------------- */

bool dht_is_phase1(const struct iatt *stat)
{
        return S_ISREG(stat->mode) && (stat->mode & S_ISVTX) && (stat->mode & S_ISGID);
}

bool dht_is_linkto_mode(const struct iatt *stat)
{
        return S_ISREG(stat->mode) && (stat->mode & 07777) == DHT_LINKTO_MODE;
}

bool dht_is_linkto(const struct iatt *stat, const struct dict *xdata, struct arena *a, struct str *ret)
{
        struct str name;
        if (!dht_is_linkto_mode(stat) || dict_get_str(xdata, a, DHT_KEY_LINKTO, &name) < 0)
                return false;
        if (ret)
                *ret = name;
        return true;
}

void dht_strip_phase1(struct iatt *stat)
{
        if (dht_is_phase1(stat))
                stat->mode &= ~(uint32_t)(S_ISVTX | S_ISGID);
}

static void newest(struct iatt_time *into, const struct iatt_time *from)
{
        if (from->sec > into->sec || (from->sec == into->sec && from->nsec > into->nsec))
                *into = *from;
}

void dht_fix_directory(struct iatt *stat)
{
        if (!S_ISDIR(stat->mode))
                return;
        stat->size = 4096;
        stat->blocks = 8;
}

void dht_merge_directory(struct iatt *into, const struct iatt *from)
{
        if (gfid_is_null(&into->gfid)) {
                *into = *from;
        } else {
                into->uid = MAX(into->uid, from->uid);
                into->gid = MAX(into->gid, from->gid);
                newest(&into->atime, &from->atime);
                newest(&into->mtime, &from->mtime);
                newest(&into->ctime, &from->ctime);
        }
        dht_fix_directory(into);
}

/* ---- own requests ----------------------------------------------------------------------------------------------------- */

struct request dht_as_root(const struct request *r, struct vnode *inode, struct vnode *parent)
{
        struct request own = {.cred = r->cred, .arena = r->arena, .inode = inode, .parent = parent};
        own.cred.uid = own.cred.gid = 0;
        own.cred.group_count = 0;
        own.cred.flags = 0;
        return own;
}

static void xdata_error(struct dht_xdata *x, int r)
{
        if (x->error == 0 && r < 0)
                x->error = r;
}

struct dht_xdata dht_xdata_from(struct arena *a, const struct dict *base, const char *without)
{
        struct dht_xdata x = {.dict = DICT_NULL, .arena = a};
        for (uint32_t i = 0; base && i < base->count; i++)
                if (!without || !str_is(base->pairs[i].key, without))
                        xdata_error(&x, dict_add(&x.dict, a, base->pairs[i].key, base->pairs[i].value));
        return x;
}

void dht_xdata_uint(struct dht_xdata *x, const char *key, uint64_t value)
{
        xdata_error(x, dict_add_uint(&x->dict, x->arena, key, value));
}

void dht_xdata_int(struct dht_xdata *x, const char *key, int64_t value)
{
        xdata_error(x, dict_add_int(&x->dict, x->arena, key, value));
}

void dht_xdata_str(struct dht_xdata *x, const char *key, const char *value)
{
        xdata_error(x, dict_add_str(&x->dict, x->arena, key, value));
}

void dht_xdata_ptr(struct dht_xdata *x, const char *key, const void *data, uint32_t len)
{
        const void *copy = arena_strndup(x->arena, data, len);
        xdata_error(x, copy ? dict_add_ptr(&x->dict, x->arena, key, copy, len) : -ENOMEM);
}

void dht_xdata_gfid(struct dht_xdata *x, const char *key, const struct gfid *g)
{
        xdata_error(x, dict_add_gfid(&x->dict, x->arena, key, g));
}

/* ---- everyone --------------------------------------------------------------------------------------------------------- */

struct fan *dht_fans(struct dht *d, struct arena *a, enum fop fop, const void *req, int skip, unsigned *ret_n)
{
        size_t size = fop_by_number(fop)->rep->size;
        struct fan *fans = arena_alloc_array(a, d->n, sizeof *fans);
        uint8_t *reps = arena_alloc_array(a, d->n, size);
        unsigned n = 0;
        if (!fans || !reps)
                return NULL;
        for (unsigned i = 0; i < d->n; i++)
                if ((int)i != skip)
                        fans[n++] = (struct fan){.child = dht_child(d, (int)i), .req = req, .rep = reps + i * size};
        *ret_n = n;
        return fans;
}

/* Those who are known to be down are not waited for: their part is done without them, or nothing is. */
void dht_fan_out(struct fibre *self, enum fop fop, struct request *r, struct fan *fans, unsigned n)
{
        struct fan **asked = arena_alloc_array(r->arena, n + 1, sizeof *asked);
        struct fan *up = arena_alloc_array(r->arena, n + 1, sizeof *up);
        unsigned n_up = 0;
        for (unsigned i = 0; i < n; i++) {
                fans[i].done = true;
                fans[i].result = !asked || !up ? -ENOMEM : fans[i].child->up ? 0 : -ENOTCONN;
                if (fans[i].result == 0) {
                        asked[n_up] = &fans[i];
                        up[n_up++] = fans[i];
                }
        }
        subvolume_fan_out(self, fop, r, up, n_up);
        for (unsigned i = 0; i < n_up; i++)
                *asked[i] = up[i];
}

int dht_fan_child(const struct dht *d, const struct fan *f)
{
        for (unsigned i = 0; i < d->n; i++)
                if (d->v.children[i] == f->child)
                        return (int)i;
        return -1;
}

int dht_fan_error(const struct fan *fans, unsigned n, unsigned allowed)
{
        for (unsigned i = 0; i < n; i++) {
                int r = fans[i].result;
                bool fine = r >= 0 || ((allowed & DHT_MAY_BE_DOWN) && r == -ENOTCONN) ||
                            ((allowed & DHT_MAY_BE_ABSENT) && dht_is_absent(r)) ||
                            ((allowed & DHT_MAY_EXIST) && r == -EEXIST);
                if (!fine)
                        return r;
        }
        return 0;
}

/* ---- operations ------------------------------------------------------------------------------------------------------- */

#define DHT_ENTRY_(NAME, name) .name = dht_##name,
static const struct subvolume_ops dht_ops = {
        SUBVOLUME_FOPS(DHT_ENTRY_)
        .on_event = dht_event,
        .reconfigure = dht_reconfigure,
        .forget = dht_forget,
        .release = dht_release,
        .free = dht_free,
};
