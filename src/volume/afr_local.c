/* Finds the copy that lies on this machine, for choose-local (replicate.md §5.5): bricks tell their host's name in the
 * path that they give for the root. Bricks that lend their files are on this machine for certain, and come first
 * (afr_read.c).
 */
#include "volume/afr.h"

#define LOCAL_ARENA (256 * KIB)
#define HOST_NAME_MAX_BYTES 256

/* "<POSIX(/brick):host:/brick/>" names HOST. */
static bool names_host(const char *pathinfo, const char *host)
{
        const char *at = strstr(pathinfo, "):");
        size_t len = strlen(host);
        return at && strncmp(at + 2, host, len) == 0 && at[2 + len] == ':';
}

static void find(struct fibre *self, struct afr *a, struct arena *arena, const char *host)
{
        struct request r = {.arena = arena};
        r.cred.flavour = RPC_AUTH_GLUSTERFS_V3;
        struct getxattr_fop_req q = {.gfid = GFID_ROOT, .namelen = 1, .name = STR("trusted.glusterfs.pathinfo")};
        struct afr_answers x;
        afr_ask(self, a, &r, FOP_GETXATTR, &q, afr_up(a) & ~afr_arbiter_set(a), &x);
        AFR_EACH(i, x.ok)
        {
                struct str text;
                const struct dict *d = &((const struct getxattr_fop_rep *)x.rep[i])->dict;
                if (dict_get_str(d, arena, q.name.s, &text) == 0 && names_host(text.s, host)) {
                        a->local = i;
                        return;
                }
        }
}

static void local_fibre(struct fibre *self, void *arg)
{
        struct afr *a = arg;
        char host[HOST_NAME_MAX_BYTES] = "";
        struct arena arena = ARENA_INIT(LOCAL_ARENA);
        if (gethostname(host, sizeof host - 1) == 0 && host[0])
                find(self, a, &arena, host);
        arena_done(&arena);
        afr_background_done(a);
}

void afr_find_local(struct afr *a)
{
        if (!a->options.choose_local || a->local_asked)
                return;
        a->local_asked = afr_background(a, "find the local copy", local_fibre, a) == 0;
}
