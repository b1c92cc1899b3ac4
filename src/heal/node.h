/* The volumes that one mortar-heal looks after: one that the command line names, or those that mortard hands it one by
 * one over the control socket (control.h). Each has a fibre that gets the volfile, opens the volume, heals, takes
 * changed options at once, and opens it anew when the bricks themselves are others. A volume whose volfile cannot be had
 * is tried again.
 *
 * Thread: the loop's.
 */
#pragma once

#include "heal/healer.h"
#include "heal/options.h"
#include "rpc/secure_access.h"

#define HEAL_VOLUME_NAME_MAX 255

struct heal_node {
        struct loop *loop;
        const struct heal_options *o;
        struct secure_access secure;
        bool secure_known;
        struct heal_volume *volumes;
};

struct heal_volume {
        struct heal_node *node;
        char name[HEAL_VOLUME_NAME_MAX + 1];
        struct fetch *fetch;
        struct buf text; /* of the volfile in force */
        struct volfile *volfile;
        struct volume *volume;
        struct healer *healer; /* NULL: the volume is not open */
        bool changed;          /* some volfile may have */
        bool ending;
        bool running; /* its fibre is */
        unsigned users; /* fibres that ask its healer something */
        struct fibre_event poked, *idle;
        struct error why; /* of the last failure to open it */
        struct heal_volume *next;
};

/* Takes NAME up; it is not opened yet. -EEXIST, -EINVAL, -ENOMEM. */
int heal_volume_add(struct heal_node *node, const char *name, struct heal_volume **ret);
/* NULL: there is none. NAME "": the only one. */
struct heal_volume *heal_volume_find(const struct heal_node *node, const char *name);
/* Closes it if it is open; it is gone then. */
void heal_volume_drop(struct fibre *self, struct heal_volume *v);

/* Once: opened, for whatever the caller wants of its healer. With a sentence. */
int heal_volume_open(struct fibre *self, struct heal_volume *v, struct error *err);
/* For ever, until heal_volume_end(). 0; -EOPNOTSUPP and with --volfile others: it will never do, with a sentence. */
int heal_volume_run(struct fibre *self, struct heal_volume *v, struct error *err);
/* The same, by a fibre of its own, which drops the volume at the end. */
int heal_volume_start(struct heal_volume *v);
/* Soon; returns at once. */
void heal_volume_end(struct heal_volume *v);

/* Between these the healer stays. */
static inline void heal_volume_use(struct heal_volume *v)
{
        v->users++;
}
void heal_volume_unuse(struct heal_volume *v);

/* Appends a JSON object: {"pid", "volumes": [{"name", "open"}…]}. */
int status_volumes(const struct heal_node *node, struct buf *out);
