/* Volfile ids; the forms are in key.h. Pure functions, any thread. */
#include "volfile/key.h"

#include <ctype.h>

static bool volume_name_is_valid(const char *name, size_t len)
{
        if (len == 0 || len > VOLFILE_VOLUME_MAX || name[0] == '-')
                return false;
        for (size_t i = 0; i < len; i++)
                if (!isalnum((unsigned char)name[i]) && name[i] != '-' && name[i] != '_')
                        return false;
        return true;
}

static int set_volume(struct volfile_key *k, const char *name, size_t len)
{
        if (!volume_name_is_valid(name, len))
                return -EINVAL;
        memcpy(k->volume, name, len);
        k->volume[len] = '\0';
        return 0;
}

/* TEXT is shorter than the whole key, which has been checked. */
static void set_item(struct volfile_key *k, const char *text, size_t len)
{
        memcpy(k->item, text, len);
        k->item[len] = '\0';
}

/* VOL, VOL.tcp, VOL.HOST.PATH */
static int parse_volume(const char *text, struct volfile_key *k)
{
        static const char *const transports[][2] = {
                {"tcp", "tcp"}, {"tcp-fuse", "tcp"}, {"rdma", "rdma"}, {"rdma-fuse", "rdma"}};
        const char *dot = strchr(text, '.');
        int r = set_volume(k, text, dot ? (size_t)(dot - text) : strlen(text));
        if (r < 0)
                return r;
        k->kind = VOLFILE_CLIENT;
        if (!dot)
                return 0;
        for (size_t i = 0; i < ELEMENTSOF(transports); i++) {
                if (streq(dot + 1, transports[i][0])) {
                        set_item(k, transports[i][1], strlen(transports[i][1]));
                        return 0;
                }
        }
        const char *path = strchr(dot + 1, '.');
        if (!path || path == dot + 1 || path[1] == '\0' || strchr(dot, '/'))
                return -EINVAL;
        k->kind = VOLFILE_BRICK;
        set_item(k, dot + 1, strlen(dot + 1));
        return 0;
}

/* /snaps/SNAP/VOL */
static int parse_snapshot(const char *text, struct volfile_key *k)
{
        const char *slash = strchr(text, '/');
        if (!slash || slash == text)
                return -EINVAL;
        int r = parse_volume(slash + 1, k);
        if (r < 0 || k->kind != VOLFILE_CLIENT)
                return -EINVAL;
        k->kind = VOLFILE_SNAPSHOT;
        set_item(k, text, (size_t)(slash - text));
        return 0;
}

/* client_per_brick/VOL.REST */
static int parse_client_per_brick(const char *text, struct volfile_key *k)
{
        size_t len = strcspn(text, "./");
        k->kind = VOLFILE_CLIENT_PER_BRICK;
        set_item(k, text + len, strlen(text + len));
        return set_volume(k, text, len);
}

static int parse_node(const char *text, struct volfile_key *k)
{
        k->kind = VOLFILE_NODE;
        set_item(k, text, strlen(text));
        return 0;
}

static bool is_node_daemon(const char *text)
{
        return streq(text, "quotad") || streq(text, "bitd") || streq(text, "scrub");
}

/* PREFIX/VOL */
static const struct {
        const char *prefix;
        enum volfile_kind kind;
} prefixes[] = {
        {"shd/", VOLFILE_SHD},           {"rebalance/", VOLFILE_REBALANCE},
        {"snapd/", VOLFILE_SNAPD},       {"gfproxy-client/", VOLFILE_GFPROXY_CLIENT},
        {"gfproxyd/", VOLFILE_GFPROXYD},
};

static int parse_any(const char *key, struct volfile_key *k)
{
        for (size_t i = 0; i < ELEMENTSOF(prefixes); i++) {
                if (!starts_with(key, prefixes[i].prefix))
                        continue;
                k->kind = prefixes[i].kind;
                const char *volume = key + strlen(prefixes[i].prefix);
                return set_volume(k, volume, strlen(volume));
        }
        if (starts_with(key, "/snaps/"))
                return parse_snapshot(key + strlen("/snaps/"), k);
        if (starts_with(key, "client_per_brick/"))
                return parse_client_per_brick(key + strlen("client_per_brick/"), k);
        if (starts_with(key, "gluster/") || is_node_daemon(key))
                return parse_node(key, k);
        return parse_volume(key + (*key == '/'), k);
}

int volfile_key_parse(const char *key, struct volfile_key *ret)
{
        if (strlen(key) > VOLFILE_KEY_MAX)
                return -ENAMETOOLONG;
        struct volfile_key k = {0};
        int r = parse_any(key, &k);
        if (r < 0)
                return r;
        *ret = k;
        return 0;
}

static char path_char(char c)
{
        return c == '/' ? '-' : c;
}

bool volfile_key_is_brick(const struct volfile_key *k, const char *host, const char *path)
{
        size_t host_len = strlen(host);
        if (k->kind != VOLFILE_BRICK || strncmp(k->item, host, host_len) != 0 || k->item[host_len] != '.')
                return false;
        const char *item = k->item + host_len + 1;
        path += *path == '/';
        while (*item && *item == path_char(*path)) {
                item++;
                path++;
        }
        return *item == '\0' && *path == '\0';
}

int volfile_key_format_brick(const char *volume, const char *host, const char *path, struct buf *out)
{
        (void)buf_printf(out, "%s.%s.", volume, host);
        for (path += *path == '/'; *path; path++) {
                char c = path_char(*path);
                (void)buf_append(out, &c, 1);
        }
        return out->error;
}
