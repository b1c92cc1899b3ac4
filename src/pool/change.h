/* Changes of volumes as effects on disk: records and brick marks (spec: cli.md §6.3 9–11, §6.4, §7).
 *
 * Each call does one step of a command completely or leaves the state before it. The intent is in the record before the
 * first effect outside the record; change_recover() finishes or undoes what a crash left. Starting and stopping brick
 * processes is done by the caller between change_start/stop and change_settle (pool/operation.c).
 *
 * All calls block on the disk: worker thread, one at a time. None touches c->check.volumes; the caller replaces what is
 * in memory after success.
 */
#pragma once

#include "pool/check.h"
#include "pool/store.h"

struct change {
        struct check check;
        struct store *store;
};

/* Checks, marks the bricks and writes the record of V (status created, version 1). On failure nothing is left
 * behind, unless V->intent says CREATING: then the undo itself failed and change_recover() tries again at the next
 * start. FLAGS: enum check_flags. */
int change_create(const struct change *c, struct volume *v, unsigned flags, struct error *e);
/* Checks and writes the intent to start. With FORCE a started volume and unusable bricks are accepted. */
int change_start(const struct change *c, struct volume *v, bool force, struct error *e);
/* Checks and writes the intent to stop. */
int change_stop(const struct change *c, struct volume *v, bool force, struct error *e);
/* The effects of the intent are done: V has STATUS now. */
int change_settle(const struct change *c, struct volume *v, enum volume_status status, struct error *e);
/* The effects of the intent were taken back: V is what it was. */
int change_revert(const struct change *c, struct volume *v, struct error *e);
/* V has new options. */
int change_options(const struct change *c, struct volume *v, struct error *e);
/* Checks and removes the record; bricks stay as they are. */
int change_delete(const struct change *c, const struct volume *v, struct error *e);

/* What a crash left of V, a volume with an intent: a create is undone (*ret_gone), a start is finished if its bricks
 * can be used and undone otherwise, a stop is finished. */
int change_recover(const struct change *c, struct volume *v, bool *ret_gone, struct error *e);
