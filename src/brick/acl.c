/* POSIX ACLs as attributes and as text: checking, evaluation, inheritance (spec: brick.md §15).
 *
 * The evaluation is the kernel's: owner entry, then the first matching named user under the mask, then any group entry
 * that grants (under the mask), then others. An unusable attribute is never evaluated: callers check first. Pure
 * functions, no locks, any thread.
 */
#include "brick/acl.h"

#define ACL_VERSION 2u

static uint32_t le32(const uint8_t *p)
{
        return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static void put_le32(uint8_t *p, uint32_t v)
{
        p[0] = (uint8_t)v;
        p[1] = (uint8_t)(v >> 8);
        p[2] = (uint8_t)(v >> 16);
        p[3] = (uint8_t)(v >> 24);
}

uint32_t acl_count(struct slice acl)
{
        return acl.len < ACL_HEADER_SIZE ? 0 : (acl.len - ACL_HEADER_SIZE) / ACL_ENTRY_SIZE;
}

struct acl_entry acl_get(struct slice acl, uint32_t i)
{
        const uint8_t *p = acl.data + ACL_HEADER_SIZE + i * ACL_ENTRY_SIZE;
        return (struct acl_entry){
                .tag = (uint16_t)(p[0] | p[1] << 8),
                .perm = (uint16_t)(p[2] | p[3] << 8),
                .id = le32(p + 4),
        };
}

static void acl_put(uint8_t *data, uint32_t i, struct acl_entry e)
{
        uint8_t *p = data + ACL_HEADER_SIZE + i * ACL_ENTRY_SIZE;
        p[0] = (uint8_t)e.tag;
        p[1] = (uint8_t)(e.tag >> 8);
        p[2] = (uint8_t)e.perm;
        p[3] = (uint8_t)(e.perm >> 8);
        put_le32(p + 4, e.id);
}

static uint8_t *acl_alloc(struct arena *a, uint32_t count)
{
        uint8_t *data = arena_alloc(a, ACL_HEADER_SIZE + count * ACL_ENTRY_SIZE);
        if (data)
                put_le32(data, ACL_VERSION);
        return data;
}

static bool entry_named(struct acl_entry e)
{
        return e.tag == ACL_TAG_USER || e.tag == ACL_TAG_GROUP;
}

static bool entry_valid(struct acl_entry e)
{
        switch (e.tag) {
        case ACL_TAG_USER_OBJ:
        case ACL_TAG_USER:
        case ACL_TAG_GROUP_OBJ:
        case ACL_TAG_GROUP:
        case ACL_TAG_MASK:
        case ACL_TAG_OTHER:
                return e.perm <= 7 && !(entry_named(e) && e.id == UINT32_MAX);
        default:
                return false;
        }
}

/* Strictly ascending by tag, named ones by id. */
static bool entry_before(struct acl_entry a, struct acl_entry b)
{
        return a.tag != b.tag ? a.tag < b.tag : entry_named(a) && a.id < b.id;
}

int acl_check(struct slice acl)
{
        if (acl.len < ACL_HEADER_SIZE || (acl.len - ACL_HEADER_SIZE) % ACL_ENTRY_SIZE != 0 ||
            le32(acl.data) != ACL_VERSION || acl_count(acl) > ACL_ENTRIES_MAX)
                return -EINVAL;

        unsigned seen = 0;
        for (uint32_t i = 0; i < acl_count(acl); i++) {
                struct acl_entry e = acl_get(acl, i);
                if (!entry_valid(e) || (i > 0 && !entry_before(acl_get(acl, i - 1), e)))
                        return -EINVAL;
                seen |= e.tag;
        }
        unsigned needed = ACL_TAG_USER_OBJ | ACL_TAG_GROUP_OBJ | ACL_TAG_OTHER;
        if (seen & (ACL_TAG_USER | ACL_TAG_GROUP))
                needed |= ACL_TAG_MASK;
        return (seen & needed) == needed ? 0 : -EINVAL;
}

/* ---- evaluation ------------------------------------------------------------------------------------------------ */

bool acl_in_group(const struct acl_subject *who, gid_t gid)
{
        if (who->gid == gid)
                return true;
        for (uint32_t i = 0; i < who->group_count; i++)
                if (who->groups[i] == gid)
                        return true;
        return false;
}

bool acl_mode_grants(const struct stat *st, const struct acl_subject *who, unsigned want)
{
        unsigned shift = who->uid == st->st_uid ? 6 : acl_in_group(who, st->st_gid) ? 3 : 0;
        return ((st->st_mode >> shift) & want) == want;
}

static unsigned acl_mask(struct slice acl)
{
        for (uint32_t i = 0; i < acl_count(acl); i++)
                if (acl_get(acl, i).tag == ACL_TAG_MASK)
                        return acl_get(acl, i).perm;
        return 7;
}

static unsigned acl_perm_of(struct slice acl, enum acl_tag tag)
{
        for (uint32_t i = 0; i < acl_count(acl); i++)
                if (acl_get(acl, i).tag == tag)
                        return acl_get(acl, i).perm;
        return 0;
}

static bool entry_is_my_group(struct acl_entry e, gid_t group, const struct acl_subject *who)
{
        return (e.tag == ACL_TAG_GROUP_OBJ && acl_in_group(who, group)) ||
               (e.tag == ACL_TAG_GROUP && acl_in_group(who, e.id));
}

bool acl_grants(struct slice acl, uid_t owner, gid_t group, const struct acl_subject *who, unsigned want)
{
        if (who->uid == owner)
                return (acl_perm_of(acl, ACL_TAG_USER_OBJ) & want) == want;

        unsigned mask = acl_mask(acl);
        bool in_some_group = false;
        for (uint32_t i = 0; i < acl_count(acl); i++) {
                struct acl_entry e = acl_get(acl, i);
                if (e.tag == ACL_TAG_USER && e.id == who->uid)
                        return (e.perm & mask & want) == want;
                if (!entry_is_my_group(e, group, who))
                        continue;
                in_some_group = true;
                if ((e.perm & want) == want)
                        return (mask & want) == want;
        }
        return !in_some_group && (acl_perm_of(acl, ACL_TAG_OTHER) & want) == want;
}

/* ---- creation -------------------------------------------------------------------------------------------------- */

/* ANDs entry E with the bits of MODE at SHIFT, and those bits of MODE with the entry. */
static void entry_restrict(struct acl_entry *e, mode_t *mode, unsigned shift)
{
        e->perm &= (*mode >> shift) & 7;
        *mode &= ~((mode_t)7 << shift) | (mode_t)e->perm << shift;
}

int acl_inherit(struct slice parent_default, struct arena *a, mode_t *mode, struct slice *ret)
{
        uint32_t n = acl_count(parent_default);
        uint8_t *data = acl_alloc(a, n);
        if (!data)
                return -ENOMEM;

        bool has_mask = false;
        for (uint32_t i = 0; i < n; i++)
                has_mask |= acl_get(parent_default, i).tag == ACL_TAG_MASK;

        for (uint32_t i = 0; i < n; i++) {
                struct acl_entry e = acl_get(parent_default, i);
                if (e.tag == ACL_TAG_USER_OBJ)
                        entry_restrict(&e, mode, 6);
                else if (e.tag == (has_mask ? ACL_TAG_MASK : ACL_TAG_GROUP_OBJ))
                        entry_restrict(&e, mode, 3);
                else if (e.tag == ACL_TAG_OTHER)
                        entry_restrict(&e, mode, 0);
                acl_put(data, i, e);
        }
        *ret = has_mask ? (struct slice){data, ACL_HEADER_SIZE + n * ACL_ENTRY_SIZE} : (struct slice){NULL, 0};
        return 0;
}

int acl_from_mode(mode_t mode, struct arena *a, struct slice *ret)
{
        uint8_t *data = acl_alloc(a, 3);
        if (!data)
                return -ENOMEM;
        acl_put(data, 0, (struct acl_entry){ACL_TAG_USER_OBJ, mode >> 6 & 7, UINT32_MAX});
        acl_put(data, 1, (struct acl_entry){ACL_TAG_GROUP_OBJ, mode >> 3 & 7, UINT32_MAX});
        acl_put(data, 2, (struct acl_entry){ACL_TAG_OTHER, mode & 7, UINT32_MAX});
        *ret = (struct slice){data, ACL_HEADER_SIZE + 3 * ACL_ENTRY_SIZE};
        return 0;
}

/* ---- text ------------------------------------------------------------------------------------------------------ */

struct acl_tag_text {
        char letter;
        const char *word;
        uint16_t plain, named; /* tag without and with an id; 0 = not allowed */
};

static const struct acl_tag_text tag_texts[] = {
        {'u', "user", ACL_TAG_USER_OBJ, ACL_TAG_USER},
        {'g', "group", ACL_TAG_GROUP_OBJ, ACL_TAG_GROUP},
        {'m', "mask", ACL_TAG_MASK, 0},
        {'o', "other", ACL_TAG_OTHER, 0},
};

static char tag_letter(uint16_t tag)
{
        for (size_t i = 0; i < ELEMENTSOF(tag_texts); i++)
                if (tag == tag_texts[i].plain || tag == tag_texts[i].named)
                        return tag_texts[i].letter;
        return '?';
}

static int entry_to_text(struct acl_entry e, struct buf *out)
{
        if (out->len > 0)
                buf_append_str(out, ",");
        if (entry_named(e))
                buf_printf(out, "%c:%u:", tag_letter(e.tag), e.id);
        else
                buf_printf(out, "%c::", tag_letter(e.tag));
        return buf_printf(out, "%c%c%c", e.perm & 4 ? 'r' : '-', e.perm & 2 ? 'w' : '-', e.perm & 1 ? 'x' : '-');
}

int acl_to_text(const void *acl, size_t len, struct arena *a, char **ret)
{
        struct slice s = {acl, (uint32_t)len};
        if (len > UINT32_MAX || acl_check(s) < 0)
                return -EINVAL;

        _cleanup_buf_ struct buf out = BUF_INIT(ACL_ENTRIES_MAX * 24);
        for (uint32_t i = 0; i < acl_count(s); i++)
                entry_to_text(acl_get(s, i), &out);
        const char *text = buf_cstr(&out);
        char *copy = text ? arena_strndup(a, text, out.len) : NULL;
        if (!copy)
                return -ENOMEM;
        *ret = copy;
        return 0;
}

/* The part of TEXT before the next ':' (or the end), which is skipped. */
static struct str take_part(const char **text, const char *end)
{
        const char *start = *text;
        const char *colon = memchr(start, ':', (size_t)(end - start));
        const char *stop = colon ? colon : end;
        *text = colon ? colon + 1 : end;
        return (struct str){start, (uint32_t)(stop - start)};
}

static bool tag_named(const struct acl_tag_text *t, struct str s)
{
        return (s.len == 1 && s.s[0] == t->letter) || str_is(s, t->word);
}

static int parse_tag(struct str tag, bool has_id, uint16_t *ret)
{
        for (size_t i = 0; i < ELEMENTSOF(tag_texts); i++) {
                if (!tag_named(&tag_texts[i], tag))
                        continue;
                *ret = has_id ? tag_texts[i].named : tag_texts[i].plain;
                return *ret ? 0 : -EINVAL;
        }
        return -EINVAL;
}

static int parse_id(struct str text, uint32_t *ret)
{
        uint64_t v = 0;
        for (uint32_t i = 0; i < text.len; i++) {
                if (text.s[i] < '0' || text.s[i] > '9')
                        return -EINVAL;
                v = v * 10 + (uint64_t)(text.s[i] - '0');
                if (v >= UINT32_MAX)
                        return -EINVAL;
        }
        *ret = text.len > 0 ? (uint32_t)v : UINT32_MAX;
        return 0;
}

static int parse_perm(struct str text, uint16_t *ret)
{
        uint16_t perm = 0;
        for (uint32_t i = 0; i < text.len; i++) {
                const char *all = "xwr-";
                const char *at = memchr(all, text.s[i], 4);
                if (!at)
                        return -EINVAL;
                if (*at != '-')
                        perm |= (uint16_t)(1u << (at - all));
        }
        *ret = perm;
        return text.len > 0 && text.len <= 3 ? 0 : -EINVAL;
}

/* TEXT up to END: "tag:id:perm", or "tag:perm" for those without an id. */
static int parse_entry(const char *text, const char *end, struct acl_entry *ret)
{
        struct str tag = take_part(&text, end);
        struct str id = take_part(&text, end);
        struct str perm = {text, (uint32_t)(end - text)};
        if (perm.len == 0 && id.len > 0) {
                perm = id;
                id.len = 0;
        }

        struct acl_entry e;
        int r = parse_tag(tag, id.len > 0, &e.tag);
        if (r < 0)
                return r;
        r = parse_id(id, &e.id);
        if (r < 0)
                return r;
        r = parse_perm(perm, &e.perm);
        if (r == 0)
                *ret = e;
        return r;
}

static int entry_compare(const void *a, const void *b)
{
        struct acl_entry x = *(const struct acl_entry *)a, y = *(const struct acl_entry *)b;
        return entry_before(x, y) ? -1 : entry_before(y, x) ? 1 : 0;
}

static int parse_entries(const char *text, struct acl_entry *v, uint32_t *ret_n)
{
        uint32_t n = 0;
        while (*text) {
                size_t len = strcspn(text, ",\n");
                if (n == ACL_ENTRIES_MAX)
                        return -EINVAL;
                int r = parse_entry(text, text + len, &v[n]);
                if (r < 0)
                        return r;
                n++;
                text += len + (text[len] ? 1 : 0);
        }
        *ret_n = n;
        return 0;
}

int acl_from_text(const char *text, struct arena *a, struct slice *ret)
{
        struct acl_entry *v = arena_alloc_array(a, ACL_ENTRIES_MAX, sizeof *v);
        if (!v)
                return -ENOMEM;
        uint32_t n = 0;
        int r = parse_entries(text, v, &n);
        if (r < 0)
                return r;
        if (n == 0) {
                *ret = (struct slice){NULL, 0};
                return 0;
        }

        qsort(v, n, sizeof *v, entry_compare);
        uint8_t *data = acl_alloc(a, n);
        if (!data)
                return -ENOMEM;
        for (uint32_t i = 0; i < n; i++)
                acl_put(data, i, v[i]);
        struct slice acl = {data, ACL_HEADER_SIZE + n * ACL_ENTRY_SIZE};
        r = acl_check(acl);
        if (r == 0)
                *ret = acl;
        return r;
}
