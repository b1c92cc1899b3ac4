/* A volume: opening, waiting, closing; the times that operations change (volume.h, outage.h).
 *
 * Relies on graph.c for the layers and on remote.c for connections. Invariant: who waits for a change of state is in
 * `waiters`, and leaves it before its function returns. Thread: the loop's.
 */
#include "volume/volume.h"

#include <stdio.h>
#include <time.h>

#include "base/log.h"
#include "volume/gate.h"
#include "volume/graph.h"
#include "volume/outage.h"
#include "volume/remote.h"

#define HOST_NAME_BYTES 256
#define CANCEL_INTERVAL (50 * NS_PER_MSEC)
#define SETTLE_TIME NS_PER_SEC /* that the last bricks have to answer when the volume can be used */
#define REASONS_MAX 3 /* bricks of which a failed mount tells */

/* ---- waiting --------------------------------------------------------------------------------------------------- */

void volume_state_changed(struct volume *vol)
{
        for (struct state_waiter *w = vol->waiters; w; w = w->next)
                fibre_event_set(&w->changed);
}

void volume_wait_change(struct fibre *self, struct volume *vol, uint64_t timeout)
{
        struct state_waiter w = {.next = vol->waiters};
        vol->waiters = &w;
        (void)fibre_event_wait(self, &w.changed, timeout);
        struct state_waiter **at = &vol->waiters;
        while (*at != &w)
                at = &(*at)->next;
        *at = w.next;
}

void volume_poke(struct volume *vol)
{
        volume_state_changed(vol);
}

uint64_t outage_deadline(const struct subvolume *v)
{
        return loop_now(v->volume->config.loop) + v->volume->config.outage_wait;
}

int outage_wait(struct fibre *self, struct subvolume *v, const struct request *r, uint64_t deadline)
{
        struct volume *vol = v->volume;
        while (!v->up) {
                uint64_t now = loop_now(vol->config.loop);
                if (vol->closing || now >= deadline)
                        return -ENOTCONN;
                if (request_cancelled(r))
                        return -EINTR;
                volume_wait_change(self, vol, r && r->cancel ? MIN(CANCEL_INTERVAL, deadline - now) : deadline - now);
        }
        return 0;
}

/* Every brick has said that it will not have this client. */
static bool refused_by_all(const struct volume *vol)
{
        for (unsigned s = 0; s < vol->n_slots; s++)
                if (vol->by_slot[s]->n_children == 0 && !remote_refused(vol->by_slot[s]))
                        return false;
        return true;
}

/* No brick is still being connected to for the first time. */
static bool all_tried(const struct volume *vol)
{
        for (unsigned s = 0; s < vol->n_slots; s++)
                if (vol->by_slot[s]->n_children == 0 && !remote_tried(vol->by_slot[s]))
                        return false;
        return true;
}

/* What bricks that are not connected say. */
static void tell_reasons(const struct volume *vol, int code, struct error *err)
{
        char reasons[ERROR_TEXT_MAX] = "";
        size_t len = 0;
        unsigned told = 0, down = 0;
        for (unsigned s = 0; s < vol->n_slots; s++) {
                const struct subvolume *v = vol->by_slot[s];
                if (v->n_children > 0 || v->up)
                        continue;
                down++;
                if (told++ < REASONS_MAX && len < sizeof reasons)
                        len += (size_t)snprintf(reasons + len, sizeof reasons - len, " %s", remote_reason(v));
        }
        (void)error_set(err, code, "Volume %s cannot be used: %u of its bricks cannot be reached.%s", vol->config.name,
                        down, reasons);
}

int volume_wait_up(struct fibre *self, struct volume *vol, uint64_t timeout, struct error *err)
{
        uint64_t now = loop_now(vol->config.loop), deadline = timeout < UINT64_MAX - now ? now + timeout : UINT64_MAX;
        while (!vol->top->up) {
                now = loop_now(vol->config.loop);
                int r = vol->closing ? -ECANCELED : refused_by_all(vol) ? -EACCES : now >= deadline ? -ETIMEDOUT : 0;
                if (r < 0) {
                        tell_reasons(vol, r, err);
                        return r;
                }
                volume_wait_change(self, vol, deadline - now);
        }
        /* The layer on top can be up with the first brick: the others are given the time to answer, too. */
        deadline = MIN(deadline, loop_now(vol->config.loop) + SETTLE_TIME);
        while (!vol->closing && !all_tried(vol) && (now = loop_now(vol->config.loop)) < deadline)
                volume_wait_change(self, vol, deadline - now);
        return 0;
}

/* ---- opening --------------------------------------------------------------------------------------------------- */

int volume_copy_volfile(const struct volfile *volfile, struct volfile **ret, struct error *err)
{
        _cleanup_buf_ struct buf text = BUF_INIT(VOLFILE_TEXT_MAX);
        int r = volfile_format(volfile, &text);
        return r < 0 ? r : volfile_parse((const char *)text.data, text.len, ret, err);
}

/* "CTX_ID:<uuid>-GRAPH_ID:0-PID:<pid>-HOST:<name>": what precedes the brick's part of a process-uuid. */
static char *process_uuid_new(struct loop *loop)
{
        uint8_t random[16];
        char id[GFID_TEXT_LEN + 1], host[HOST_NAME_BYTES] = "", *text;
        loop_random(loop, random, sizeof random);
        const struct gfid g = gfid_from_random(random);
        (void)gethostname(host, sizeof host - 1);
        int n = asprintf(&text, "CTX_ID:%s-GRAPH_ID:0-PID:%d-HOST:%s", gfid_format(&g, id), (int)getpid(), host);
        return n < 0 ? NULL : text;
}

static int config_copy(struct volume *vol, const struct volume_config *config)
{
        struct volume_config *c = &vol->config;
        *c = *config;
        c->volfile = NULL;
        c->name = strdup(config->name);
        c->process_uuid = config->process_uuid ? strdup(config->process_uuid) : process_uuid_new(config->loop);
        c->subdir = config->subdir ? strdup(config->subdir) : NULL;
        if (c->vnodes_max == 0)
                c->vnodes_max = VOLUME_VNODES_MAX;
        return c->name && c->process_uuid && (c->subdir || !config->subdir) ? 0 : -ENOMEM;
}

static struct volume *volume_free(struct volume *vol)
{
        graph_free(vol);
        gate_free(vol);
        volfile_free(vol->current);
        volfile_free(vol->volfile);
        free(vol->inodes.buckets);
        free((char *)vol->config.name);
        free((char *)vol->config.process_uuid);
        free((char *)vol->config.subdir);
        free(vol);
        return NULL;
}
DEFINE_CLEANUP(struct volume *, volume_free)

static int start_remotes(struct volume *vol)
{
        int r = 0;
        for (unsigned s = 0; r == 0 && s < vol->n_slots; s++)
                if (vol->by_slot[s]->n_children == 0)
                        r = remote_start(vol->by_slot[s]);
        return r;
}

int volume_open(const struct volume_config *config, struct volume **ret, struct error *err)
{
        _cleanup_(volume_freep) struct volume *vol = calloc(1, sizeof *vol);
        struct graph g = {0};
        if (!vol)
                return error_set(err, -ENOMEM, "Not enough memory for volume %s.", config->name);
        int r = config_copy(vol, config);
        if (r == 0)
                r = volume_copy_volfile(config->volfile, &vol->volfile, err);
        if (r == 0)
                r = vnode_table_init(&vol->inodes, vol->config.vnodes_max);
        if (r == 0)
                r = gate_new(vol);
        if (r == -ENOMEM)
                return error_set(err, r, "Not enough memory for volume %s.", config->name);
        if (r == 0)
                r = graph_build(vol, vol->volfile, &g, err);
        if (r < 0) {
                error_prefix(err, "Volume %s", config->name);
                return r;
        }
        graph_install(vol, &g);
        r = start_remotes(vol); /* a fibre that was not started leaves its brick down; the others are stopped below */
        *ret = TAKE_PTR(vol);
        if (r < 0)
                log_error((*ret)->config.name, "some bricks will not be connected: %s", strerror(-r));
        return 0;
}

int volume_reload(struct fibre *self, struct volume *vol, const struct volfile *volfile, struct error *err)
{
        struct volfile *copy;
        (void)self;
        int r = volume_copy_volfile(volfile, &copy, err);
        if (r < 0)
                return r;
        r = graph_reconfigure(vol, copy, err);
        if (r < 0) {
                volfile_free(copy);
                return r;
        }
        volfile_free(vol->current);
        vol->current = copy;
        return 0;
}

struct volume *volume_close(struct fibre *self, struct volume *vol)
{
        if (!vol)
                return NULL;
        vol->closing = true;
        volume_state_changed(vol);
        for (unsigned s = 0; s < vol->n_slots; s++)
                if (vol->by_slot[s]->ops->drain)
                        vol->by_slot[s]->ops->drain(self, vol->by_slot[s]);
        (void)vnode_table_done(vol);
        for (unsigned s = 0; s < vol->n_slots; s++)
                if (vol->by_slot[s]->n_children == 0)
                        remote_stop(self, vol->by_slot[s]);
        while (vol->waiters) /* those that were woken above leave first */
                fibre_yield(self);
        return volume_free(vol);
}

void volume_report(const struct volume *vol)
{
        for (unsigned s = 0; s < vol->n_slots; s++)
                if (vol->by_slot[s]->n_children == 0)
                        remote_local_report(CONTAINER_OF(vol->by_slot[s], const struct remote, base));
}

void volume_keep_graph(struct volume *vol)
{
        vol->keeps_graph = true;
        volume_state_changed(vol);
}

struct subvolume *volume_entry(struct volume *vol)
{
        return vol->entry;
}

struct subvolume *volume_top(struct volume *vol)
{
        return vol->top;
}

struct loop *volume_loop(const struct volume *vol)
{
        return vol->config.loop;
}

const struct volume_config *volume_configuration(const struct volume *vol)
{
        return &vol->config;
}

unsigned volume_slots(const struct volume *vol)
{
        return vol->n_slots;
}

/* ---- times ----------------------------------------------------------------------------------------------------- */

#define TIMES_NEW (TIMES_CTIME | TIMES_MTIME | TIMES_ATIME | TIMES_PARENT_CTIME | TIMES_PARENT_MTIME)
#define TIMES_NAME (TIMES_CTIME | TIMES_PARENT_CTIME | TIMES_PARENT_MTIME)
#define TIMES_DATA (TIMES_CTIME | TIMES_MTIME)

/* Which times an operation changes (brick.md §4.2). */
static const uint8_t fop_times[FOP_MAX] = {
        [FOP_MKNOD] = TIMES_NEW,
        [FOP_MKDIR] = TIMES_NEW,
        [FOP_SYMLINK] = TIMES_NEW,
        [FOP_CREATE] = TIMES_NEW,
        [FOP_LINK] = TIMES_NAME,
        [FOP_UNLINK] = TIMES_NAME,
        [FOP_RMDIR] = TIMES_NAME,
        [FOP_RENAME] = TIMES_NAME,
        [FOP_WRITE] = TIMES_DATA,
        [FOP_TRUNCATE] = TIMES_DATA,
        [FOP_FTRUNCATE] = TIMES_DATA,
        [FOP_SETXATTR] = TIMES_CTIME,
        [FOP_FSETXATTR] = TIMES_CTIME,
        [FOP_REMOVEXATTR] = TIMES_CTIME,
        [FOP_FREMOVEXATTR] = TIMES_CTIME,
        [FOP_SETATTR] = TIMES_CTIME,
        [FOP_FSETATTR] = TIMES_CTIME,
        [FOP_FALLOCATE] = TIMES_MTIME | TIMES_ATIME,
        [FOP_ZEROFILL] = TIMES_MTIME | TIMES_ATIME,
        [FOP_DISCARD] = TIMES_MTIME | TIMES_ATIME,
};

static uint8_t times_of(const struct volume *vol, enum fop fop)
{
        if (vol->atime && (fop == FOP_OPEN || fop == FOP_OPENDIR || fop == FOP_READ))
                return TIMES_ATIME;
        return fop < FOP_MAX ? fop_times[fop] : 0;
}

void volume_stamp(const struct volume *vol, struct rpc_cred *cred, enum fop fop)
{
        if (!vol->utime)
                return;
        uint64_t now = loop_realtime(vol->config.loop);
        cred->flags = times_of(vol, fop);
        cred->time = (struct iatt_time){.sec = (int64_t)(now / NS_PER_SEC), .nsec = (uint32_t)(now % NS_PER_SEC)};
}
