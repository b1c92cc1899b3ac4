/* Paths of bricks (pool/path.h). Relies on disk_readlink only; no realpath(3), which would go around the disk seam. */
#include "pool/path.h"

#include <stdio.h>

#define LINKS_MAX 40

void path_canonicalise(char *path)
{
        char *out = path;
        for (const char *in = path; *in; in++)
                if (*in != '/' || out == path || out[-1] != '/')
                        *out++ = *in;
        if (out > path + 1 && out[-1] == '/')
                out--;
        *out = '\0';
}

bool path_contains(const char *a, const char *b)
{
        size_t n = strlen(a);
        if (streq(a, "/"))
                return true;
        return strncmp(a, b, n) == 0 && (b[n] == '\0' || b[n] == '/');
}

void path_parent(const char *path, char *ret)
{
        const char *slash = strrchr(path, '/');
        size_t n = slash && slash > path ? (size_t)(slash - path) : 1;
        memmove(ret, path, n);
        ret[n] = '\0';
}

/* REST, a relative path, behind TARGET in REST's place. */
static int put_before(char rest[static PATH_LIMIT + 1], const char *target)
{
        char joined[2 * PATH_LIMIT + 2];
        int n = snprintf(joined, sizeof joined, "%s/%s", target, rest);
        if (n < 0 || n > PATH_LIMIT)
                return -ENAMETOOLONG;
        memcpy(rest, joined, (size_t)n + 1);
        return 0;
}

/* One component COMPONENT behind DONE; if it is a link, its target goes before REST. */
static int step(struct disk *d, char done[static PATH_LIMIT + 1], const char *component,
                char rest[static PATH_LIMIT + 1], unsigned *links)
{
        if (streq(component, "") || streq(component, "."))
                return 0;
        if (streq(component, "..")) {
                struct stat st;
                int r = done[0] ? disk_stat(d, AT_FDCWD, done, &st) : 0;
                if (r < 0)
                        return r;
                path_parent(done[0] ? done : "/", done);
                if (streq(done, "/"))
                        done[0] = '\0';
                return 0;
        }
        size_t len = strlen(done);
        if (len + 1 + strlen(component) > PATH_LIMIT)
                return -ENAMETOOLONG;
        (void)snprintf(done + len, PATH_LIMIT + 1 - len, "/%s", component);
        char target[PATH_LIMIT + 1];
        ssize_t n = disk_readlink(d, AT_FDCWD, done, target, PATH_LIMIT);
        if (n == -EINVAL || n == -ENOENT || n == -ENOTDIR)
                return 0;
        if (n < 0)
                return (int)n;
        if (++*links > LINKS_MAX)
                return -ELOOP;
        target[n] = '\0';
        done[target[0] == '/' ? 0 : len] = '\0';
        return put_before(rest, target);
}

int path_resolve(struct disk *d, const char *path, char ret[static PATH_LIMIT + 1])
{
        char done[PATH_LIMIT + 1] = "", rest[PATH_LIMIT + 1];
        unsigned links = 0;
        if (path[0] != '/')
                return -EINVAL;
        if (strlen(path) > PATH_LIMIT)
                return -ENAMETOOLONG;
        memcpy(rest, path, strlen(path) + 1);
        while (rest[0]) {
                char component[PATH_LIMIT + 1];
                size_t n = strcspn(rest, "/");
                memcpy(component, rest, n);
                component[n] = '\0';
                size_t skip = rest[n] == '/' ? n + 1 : n;
                memmove(rest, rest + skip, strlen(rest + skip) + 1);
                int r = step(d, done, component, rest, &links);
                if (r < 0)
                        return r;
        }
        (void)snprintf(ret, PATH_LIMIT + 1, "%s", done[0] ? done : "/");
        return 0;
}
