/* Extended attributes (client.h): those that the volume keeps for users; its own are nobody's business
 * (volume/xattr_name.h). */
#include "library/client.h"

#include "volume/xattr_name.h"

#define NAME_MAX_BYTES 255
#define VALUE_MAX 65536u

static int check_name(const char *name)
{
        size_t length = strlen(name);
        return length == 0 || length > NAME_MAX_BYTES ? -ERANGE : 0;
}

static int ask(struct job *j, const struct vnode *i, struct str name, struct dict *ret)
{
        struct getxattr_fop_req req = {.gfid = i->gfid, .namelen = name.len ? 1 : 0, .name = name};
        struct getxattr_fop_rep rep = {0};
        int r = subvolume_getxattr(j->self, job_top(j, FOP_GETXATTR), &j->r, &req, &rep);
        *ret = rep.dict;
        return r < 0 ? r : 0;
}

static ssize_t give(struct job *j, const void *data, size_t n)
{
        if (j->size == 0)
                return (ssize_t)n;
        if (n > j->size)
                return -ERANGE;
        if (n > 0)
                memcpy(j->buf, data, n);
        return (ssize_t)n;
}

static ssize_t get(struct job *j, struct place *p)
{
        struct dict answer = {0};
        struct slice value = {0};
        int r = ask(j, p->inode, str_of(j->name), &answer);
        const struct dict_value *found = r == 0 ? dict_get(&answer, j->name) : NULL;
        if (r == 0)
                r = found ? dict_value_bytes(found, &j->arena, &value) : -ENODATA;
        return r < 0 ? r : give(j, value.data, value.len);
}

ssize_t op_getxattr(struct job *j)
{
        int r = check_name(j->name);
        if (r == 0 && xattr_name_is_internal(j->name) && !xattr_name_is_virtual(j->name))
                r = -ENODATA;
        return r < 0 ? r : place_do_there(j, true, get);
}

static bool is_listed(const struct job *j, const char *name)
{
        if (starts_with(name, "trusted.") && j->identity->uid != 0)
                return false; /* as on local file systems */
        return !starts_with(name, "glusterfs.") && !xattr_name_is_internal(name);
}

static ssize_t list(struct job *j, struct place *p)
{
        _cleanup_buf_ struct buf names = BUF_INIT(MIB);
        struct dict answer = {0};
        int r = ask(j, p->inode, STR(""), &answer);
        if (r == -ENODATA)
                return 0;
        for (uint32_t i = 0; r == 0 && i < answer.count; i++)
                if (answer.pairs[i].key.len > 0 && is_listed(j, answer.pairs[i].key.s))
                        (void)buf_append(&names, answer.pairs[i].key.s, answer.pairs[i].key.len + 1);
        if (r == 0)
                r = names.error;
        return r < 0 ? r : give(j, names.data, names.len);
}

ssize_t op_listxattr(struct job *j)
{
        return place_do_there(j, true, list);
}

static ssize_t set(struct job *j, struct place *p)
{
        struct setxattr_fop_req req = {.gfid = p->inode->gfid, .flags = j->flags};
        struct setxattr_fop_rep rep = {0};
        int r = dict_add_ptr(&req.dict, &j->arena, j->name, j->size ? j->data : "", (uint32_t)j->size);
        if (r == 0)
                r = subvolume_setxattr(j->self, job_top(j, FOP_SETXATTR), &j->r, &req, &rep);
        return r < 0 ? r : 0;
}

ssize_t op_setxattr(struct job *j)
{
        int r = check_name(j->name);
        if (r == 0 && xattr_name_is_internal(j->name))
                r = -EPERM;
        if (r == 0 && j->size > VALUE_MAX)
                r = -E2BIG;
        return r < 0 ? r : place_do_there(j, true, set);
}

static ssize_t take_away(struct job *j, struct place *p)
{
        struct removexattr_fop_req req = {.gfid = p->inode->gfid, .name = str_of(j->name)};
        struct removexattr_fop_rep rep = {0};
        int r = subvolume_removexattr(j->self, job_top(j, FOP_REMOVEXATTR), &j->r, &req, &rep);
        return r < 0 ? r : 0;
}

ssize_t op_removexattr(struct job *j)
{
        int r = check_name(j->name);
        if (r == 0 && xattr_name_is_internal(j->name))
                r = -EPERM;
        return r < 0 ? r : place_do_there(j, true, take_away);
}
