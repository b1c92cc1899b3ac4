/* An object that a copy does not have, though nobody blames that copy (afr_heal.h): all bricks lost power at once, and some
 * had the new name on disk and others not. Its names are looked at from the root downwards, each as if somebody had looked
 * it up: what is missing is made, and what nobody needs any more goes.
 *
 * Thread: the loop's.
 */
#include "volume/afr_heal.h"

#include <sys/stat.h>

#define PATH_PARTS_MAX 512

/* The path that CHILD knows, as the brick tells it; in r's arena. */
static int ask_path(struct fibre *self, struct afr *a, struct request *r, const struct gfid *gfid, uint32_t type,
                    unsigned child, char **ret)
{
        const char *name = S_ISDIR(type) ? "glusterfs.ancestry.path" : "glusterfs.gfidtopath";
        const void *rep = NULL;
        struct str text;
        const struct getxattr_fop_req q = {.gfid = *gfid, .name = str_of(name), .namelen = (uint32_t)strlen(name)};
        int result = afr_heal_call(self, a, r, FOP_GETXATTR, &q, child, &rep);
        if (result >= 0)
                result = dict_get_str(&((const struct getxattr_fop_rep *)rep)->dict, r->arena, name, &text);
        if (result < 0)
                return result;
        *ret = arena_strndup(r->arena, text.s, text.len);
        return *ret ? 0 : -ENOMEM;
}

int afr_heal_path(struct fibre *self, struct afr *a, struct request *r, const struct gfid *gfid, uint32_t type,
                  unsigned child)
{
        char *path, *rest = NULL;
        unsigned parts = 0;
        struct afr_heal_found found = {.gfid = GFID_ROOT};
        int result = ask_path(self, a, r, gfid, type, child, &path);
        if (result < 0)
                return result;
        for (char *name = strtok_r(path, "/", &rest); name; name = strtok_r(NULL, "/", &rest)) {
                const struct gfid parent = found.gfid;
                if (parts++ == PATH_PARTS_MAX)
                        return -ENAMETOOLONG;
                if (gfid_is_root(&parent) && strcmp(name, a->options.anonymous_name) == 0)
                        return -ENOENT; /* moved aside by a healer: that is not its name */
                result = afr_heal_name_look(self, a, &parent, name, &found);
                if (result < 0)
                        return result;
        }
        return gfid_equal(&found.gfid, gfid) ? 0 : -ENOENT;
}
