/* Lists of POSIX locks (lock_list.h). Thread: the loop's. */
#include "volume/lock_list.h"

#include <stdlib.h>
#include <string.h>

static bool lock_is_owned(const struct held_lock *l, const struct rpc_cred *cred)
{
        return l->owner_len == cred->owner_len && memcmp(l->owner, cred->owner, l->owner_len) == 0;
}

static struct held_lock *lock_new(const struct rpc_cred *cred, uint32_t owner_len, const void *owner)
{
        struct held_lock *l = calloc(1, sizeof *l + owner_len);
        if (!l)
                return NULL;
        l->pid = cred->pid;
        l->uid = cred->uid;
        l->gid = cred->gid;
        l->owner_len = owner_len;
        memcpy(l->owner, owner, owner_len);
        return l;
}

/* TAIL becomes what of L begins at FIRST. */
static void split_to(struct held_lock *l, struct held_lock *tail, uint64_t first)
{
        tail->type = l->type;
        tail->first = first;
        tail->last = l->last;
        tail->pid = l->pid;
        tail->uid = l->uid;
        tail->gid = l->gid;
        tail->flock_pid = l->flock_pid;
        tail->next = l->next;
        l->next = tail;
}

uint64_t lock_last(const struct lk_fop_req *req)
{
        uint64_t start = req->flock.start, len = req->flock.len;
        return len == 0 || len - 1 > LOCK_END - start ? LOCK_END : start + len - 1;
}

void lock_list_subtract(struct held_locks *list, const struct rpc_cred *cred, uint64_t first, uint64_t last)
{
        for (struct held_lock **at = &list->head; *at;) {
                struct held_lock *l = *at;
                if (!lock_is_owned(l, cred) || l->last < first || l->first > last) {
                        at = &l->next;
                        continue;
                }
                if (l->first < first && l->last > last) {
                        struct held_lock *tail = lock_new(cred, l->owner_len, l->owner);
                        list->incomplete |= !tail;
                        if (tail)
                                split_to(l, tail, last + 1);
                        l->last = first - 1;
                        return;
                }
                if (l->first < first) {
                        l->last = first - 1;
                        at = &l->next;
                } else if (l->last > last) {
                        l->first = last + 1;
                        at = &l->next;
                } else {
                        *at = l->next;
                        free(l);
                }
        }
}

void lock_list_add(struct held_locks *list, const struct rpc_cred *cred, const struct lk_fop_req *req)
{
        struct held_lock *l = lock_new(cred, cred->owner_len, cred->owner);
        if (!l) {
                list->incomplete = true;
                return;
        }
        l->type = req->type;
        l->first = req->flock.start;
        l->last = lock_last(req);
        l->flock_pid = req->flock.pid;
        l->next = list->head;
        list->head = l;
}

void lock_list_drop(struct held_locks *list, const struct rpc_cred *cred)
{
        for (struct held_lock **at = &list->head; *at;) {
                struct held_lock *l = *at;
                if (cred && !lock_is_owned(l, cred)) {
                        at = &l->next;
                        continue;
                }
                *at = l->next;
                free(l);
        }
}

void lock_again(const struct held_lock *l, const struct gfid *gfid, struct rpc_cred *ret_cred, struct lk_fop_req *ret_req)
{
        uint64_t len = l->last == LOCK_END ? 0 : l->last - l->first + 1;
        *ret_cred = (struct rpc_cred){.flavour = RPC_AUTH_GLUSTERFS_V3,
                                      .pid = l->pid,
                                      .uid = l->uid,
                                      .gid = l->gid,
                                      .owner_len = l->owner_len};
        memcpy(ret_cred->owner, l->owner, l->owner_len);
        *ret_req = (struct lk_fop_req){
                .gfid = *gfid,
                .cmd = LK_COMMAND_SET,
                .type = l->type,
                .flock = {.type = l->type, .start = l->first, .len = len, .pid = l->flock_pid},
                .xdata = DICT_NULL};
        ret_req->flock.owner = (struct slice){ret_cred->owner, ret_cred->owner_len};
}
