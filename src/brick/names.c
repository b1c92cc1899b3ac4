/* Names of extended attributes, classified (spec: brick.md §9, §10). Pure functions, any thread. */
#include "brick/names.h"

/* Is C in the set at P (after '[')? *RET_END is behind the ']'; NULL when the set is not closed. */
static bool set_has(const char *p, char c, const char **ret_end)
{
        bool negated = *p == '!' || *p == '^';
        bool found = false;
        if (negated)
                p++;
        const char *first = p;
        for (; *p && (*p != ']' || p == first); p++) {
                char low = *p, high = *p;
                if (p[1] == '-' && p[2] && p[2] != ']') {
                        high = p[2];
                        p += 2;
                }
                found |= low <= c && c <= high;
        }
        *ret_end = *p ? p + 1 : NULL;
        return found != negated;
}

/* One pattern element against one character; the element's end, or NULL if it does not match. */
static const char *match_one(const char *p, char c)
{
        const char *end;
        if (*p == '?')
                return p + 1;
        if (*p == '[') {
                bool in = set_has(p + 1, c, &end);
                if (end)
                        return in ? end : NULL;
        }
        if (*p == '\\' && p[1])
                p++;
        return *p == c ? p + 1 : NULL;
}

bool glob_match(const char *pattern, const char *text)
{
        const char *retry_pattern = NULL, *retry_text = NULL;
        while (*text) {
                if (*pattern == '*') {
                        retry_pattern = ++pattern;
                        retry_text = text;
                        continue;
                }
                const char *next = *pattern ? match_one(pattern, *text) : NULL;
                if (next) {
                        pattern = next;
                        text++;
                } else if (retry_pattern) {
                        pattern = retry_pattern;
                        text = ++retry_text;
                } else {
                        return false;
                }
        }
        while (*pattern == '*')
                pattern++;
        return *pattern == '\0';
}

bool glob_is_pattern(const char *s)
{
        return strpbrk(s, "*?[\\") != NULL;
}

static bool matches_any(const char *name, const char *const *patterns, size_t n)
{
        for (size_t i = 0; i < n; i++)
                if (glob_match(patterns[i], name))
                        return true;
        return false;
}

bool name_in_namespace(const char *name)
{
        static const char *const spaces[] = {"trusted.", "user.", "security.", "system."};
        for (size_t i = 0; i < ELEMENTSOF(spaces); i++)
                if (starts_with(name, spaces[i]) && name[strlen(spaces[i])])
                        return true;
        return false;
}

bool name_is_identity(const char *name)
{
        return streq(name, XATTR_GFID) || streq(name, XATTR_VOLUME_ID);
}

bool name_is_bitrot(const char *name)
{
        return starts_with(name, "trusted.bit-rot.") || streq(name, "trusted.glusterfs.get-signature") ||
               streq(name, "trusted.glusterfs.set-signature") || starts_with(name, "trusted.glusterfs.bit-rot.");
}

bool name_is_signature(const char *name)
{
        return streq(name, "trusted.bit-rot.version") || streq(name, "trusted.bit-rot.signature");
}

bool name_is_record(const char *name)
{
        return starts_with(name, "trusted.glusterfs.quota") || starts_with(name, "trusted.pgfid.");
}

bool name_is_acl(const char *name)
{
        return starts_with(name, "system.posix_acl_") || streq(name, XATTR_ACL_TEXT) ||
               streq(name, XATTR_DEFAULT_ACL_TEXT);
}

bool name_is_xfs_acl(const char *name)
{
        return starts_with(name, "trusted.SGI_ACL_");
}

bool name_is_private(const char *name)
{
        static const char *const patterns[] = {
                "*.glusterfs.*.stime",  "*.glusterfs.*.xtime",       "*.glusterfs.*.entry_stime",
                "*.glusterfs.lockinfo", "*.glusterfs.volume-mark.*",
        };
        return matches_any(name, patterns, ELEMENTSOF(patterns));
}

bool name_in_heal_list(const char *name)
{
        return name_in_namespace(name) && !name_is_identity(name) && !name_is_private(name) &&
               !starts_with(name, XATTR_GFID2PATH) && !streq(name, XATTR_SELINUX) &&
               !name_is_record(name) && !name_is_bitrot(name);
}

bool name_in_list(const char *name, bool internal)
{
        if (streq(name, XATTR_MDATA))
                return internal;
        return name_in_namespace(name) && !name_is_identity(name) && !name_is_private(name) &&
               !starts_with(name, XATTR_GFID2PATH) && !name_is_record(name) && !name_is_bitrot(name);
}
