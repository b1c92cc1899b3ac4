/* Groups of users, asked from the name service and kept for five minutes (groups.h).
 *
 * A fixed number of slots chosen by uid; a collision only costs another question. The lock is not held while asking.
 */
#include "brick/groups.h"

#include <grp.h>
#include <pthread.h>
#include <pwd.h>
#include <time.h>

#define GROUPS_SLOTS 64
#define GROUPS_KEEP 300 /* seconds */
#define PASSWD_TEXT_MAX (64 * KIB)

struct group_slot {
        bool used;
        uint32_t uid;
        time_t until;
        uint32_t n;
        uint32_t groups[GROUPS_MAX];
};

struct group_cache {
        pthread_mutex_t lock;
        struct group_slot *slots[GROUPS_SLOTS]; /* made when first used */
};

int group_cache_new(struct group_cache **ret)
{
        struct group_cache *c = calloc(1, sizeof *c);
        if (!c)
                return -ENOMEM;
        pthread_mutex_init(&c->lock, NULL);
        *ret = c;
        return 0;
}

struct group_cache *group_cache_free(struct group_cache *c)
{
        if (!c)
                return NULL;
        for (size_t k = 0; k < GROUPS_SLOTS; k++)
                free(c->slots[k]);
        pthread_mutex_destroy(&c->lock);
        free(c);
        return NULL;
}

static uint32_t ask(uint32_t uid, uint32_t groups[static GROUPS_MAX])
{
        _cleanup_free_ char *text = malloc(PASSWD_TEXT_MAX);
        struct passwd pw, *found = NULL;
        if (!text || getpwuid_r(uid, &pw, text, PASSWD_TEXT_MAX, &found) != 0 || !found)
                return 0;
        gid_t list[GROUPS_MAX];
        int n = GROUPS_MAX;
        if (getgrouplist(pw.pw_name, pw.pw_gid, list, &n) < 0)
                n = GROUPS_MAX;
        for (int k = 0; k < n; k++)
                groups[k] = list[k];
        return (uint32_t)n;
}

static time_t now_seconds(void)
{
        struct timespec ts;
        clock_gettime(CLOCK_MONOTONIC, &ts);
        return ts.tv_sec;
}

static bool look(struct group_cache *c, uint32_t uid, uint32_t groups[static GROUPS_MAX], uint32_t *ret)
{
        pthread_mutex_lock(&c->lock);
        const struct group_slot *s = c->slots[uid % GROUPS_SLOTS];
        bool hit = s && s->used && s->uid == uid && s->until > now_seconds();
        if (hit) {
                memcpy(groups, s->groups, s->n * sizeof groups[0]);
                *ret = s->n;
        }
        pthread_mutex_unlock(&c->lock);
        return hit;
}

static void keep(struct group_cache *c, uint32_t uid, const uint32_t *groups, uint32_t n)
{
        pthread_mutex_lock(&c->lock);
        struct group_slot **s = &c->slots[uid % GROUPS_SLOTS];
        if (!*s)
                *s = calloc(1, sizeof **s);
        if (*s) {
                **s = (struct group_slot){.used = true, .uid = uid, .until = now_seconds() + GROUPS_KEEP, .n = n};
                memcpy((*s)->groups, groups, n * sizeof groups[0]);
        }
        pthread_mutex_unlock(&c->lock);
}

uint32_t group_cache_get(struct group_cache *c, uint32_t uid, uint32_t groups[static GROUPS_MAX])
{
        uint32_t n;
        if (look(c, uid, groups, &n))
                return n;
        n = ask(uid, groups);
        keep(c, uid, groups, n);
        return n;
}
