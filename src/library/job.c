/* A call on its way from the caller's thread to a fibre of the volume's loop, and back (client.h).
 *
 * Invariant: a job that somebody waits for lies on the waiter's stack; after sem_post() it is not touched any more.
 */
#include <stdlib.h>

#include "library/client.h"

#define ARENA_MAX (8 * MIB)

/* ---- the request ------------------------------------------------------------------------------------------------ */

void job_set_owner(struct job *j, uint64_t owner)
{
        memcpy(j->r.cred.owner, &owner, sizeof owner);
        j->r.cred.owner_len = sizeof owner;
}

struct subvolume *job_top(struct job *j, enum fop fop)
{
        j->r.cred.flags = 0;
        volume_stamp(j->client->volume, &j->r.cred, fop);
        return volume_top(j->client->volume);
}

struct request job_as_root(struct job *j, enum fop fop)
{
        struct request r = j->r;
        r.cred.uid = r.cred.gid = r.cred.group_count = r.cred.flags = 0;
        r.cancel = NULL;
        r.file = NULL;
        volume_stamp(j->client->volume, &r.cred, fop);
        return r;
}

static void set_cred(struct job *j)
{
        struct rpc_cred *cred = &j->r.cred;
        const struct identity *who = j->identity;
        cred->flavour = RPC_AUTH_GLUSTERFS_V3;
        cred->pid = (int32_t)getpid();
        cred->uid = who->uid;
        cred->gid = who->gid;
        cred->group_count = who->uid == 0 ? 0 : who->n_groups; /* root may do everything anyway */
        memcpy(cred->groups, who->groups, cred->group_count * sizeof who->groups[0]);
        job_set_owner(j, j->file ? j->file->owner : ++j->client->owners);
}

void job_perform(struct fibre *self, struct job *j)
{
        j->self = self;
        j->arena = ARENA_INIT(ARENA_MAX);
        j->r = (struct request){.arena = &j->arena};
        if (j->file) {
                j->identity = &j->file->identity;
                j->r.file = j->file->file;
                j->r.inode = j->file->file->inode;
        }
        set_cred(j);
        j->result = j->op(j);
        arena_done(&j->arena);
}

/* ---- threads ---------------------------------------------------------------------------------------------------- */

static void start(struct job *j);

/* Who waits for a lock must not be in the way of who gives it back. */
static bool is_counted(const struct job *j)
{
        return j->op != op_lock;
}

static void finish(struct job *j)
{
        struct mortar_volume *vol = j->volume;
        struct job *next = is_counted(j) ? volume_dismiss(vol) : NULL;
        if (next)
                start(next);
        if (j->fn) {
                j->fn(j->file, j->result, j->arg);
                free(j);
                volume_release(vol);
                return;
        }
        volume_release(vol);
        (void)sem_post(&j->done);
}

static void job_main(struct fibre *self, void *arg)
{
        struct job *j = arg;
        job_perform(self, j);
        finish(j);
}

static void start(struct job *j)
{
        int r = fibre_start(volume_thread_loop(j->volume), "call", job_main, j);
        if (r < 0) {
                j->result = r == -EAGAIN ? -ENOMEM : r; /* there are too many */
                finish(j);
        }
}

static void arrived(void *arg)
{
        struct job *j = arg;
        if (!is_counted(j) || volume_admit(j->volume, j))
                start(j);
}

static int post(struct mortar_volume *vol, struct job *j)
{
        j->volume = vol;
        j->client = volume_client(vol);
        volume_hold(vol);
        int r = loop_post(volume_thread_loop(vol), arrived, j);
        if (r < 0)
                volume_release(vol);
        return r;
}

ssize_t job_run(struct mortar_volume *vol, struct job *j)
{
        if (volume_is_own_thread(vol))
                return -EDEADLK;
        if (sem_init(&j->done, 0, 0) < 0)
                return -errno;
        int r = post(vol, j);
        if (r == 0)
                while (sem_wait(&j->done) < 0)
                        continue; /* a signal handler ran */
        (void)sem_destroy(&j->done);
        return r < 0 ? r : j->result;
}

int job_begin(struct mortar_volume *vol, struct job *j)
{
        int r = post(vol, j);
        if (r < 0)
                free(j);
        return r;
}
