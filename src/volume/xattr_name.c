/* The volume's own extended attributes (xattr_name.h). */
#include "volume/xattr_name.h"

#include <fnmatch.h>

static const char *const internal_names[] = {"trusted.glusterfs.*", "trusted.afr.*",       "trusted.ec.*",
                                             "trusted.gfid",        "trusted.gfid2path.*", "trusted.pgfid.*",
                                             "trusted.bit-rot.*",   "*.glusterfs.*.xtime", "*.glusterfs.*.stime"};
static const char *const virtual_names[] = {"trusted.glusterfs.pathinfo", "trusted.glusterfs.node-uuid",
                                            "trusted.glusterfs.list-node-uuids", "trusted.glusterfs.volume-mark"};

static bool matches(const char *name, const char *const *patterns, size_t n)
{
        for (size_t i = 0; i < n; i++)
                if (fnmatch(patterns[i], name, 0) == 0)
                        return true;
        return false;
}

bool xattr_name_is_internal(const char *name)
{
        return matches(name, internal_names, ELEMENTSOF(internal_names));
}

bool xattr_name_is_virtual(const char *name)
{
        return matches(name, virtual_names, ELEMENTSOF(virtual_names));
}
