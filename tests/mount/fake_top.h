/* A volume whose top keeps files in memory: what the bridge asks is answered as bricks answer, counted, and can be made
 * to fail or to wait. */
#pragma once

#include "volume/volume.h"

struct fake_volume;

/* LOOP NULL: only inodes. */
struct fake_volume *fake_volume_new(struct loop *loop);
void fake_volume_free(struct fake_volume *f);
struct volume *fake_volume(struct fake_volume *f);

/* How often FOP was asked. */
unsigned fake_count(const struct fake_volume *f, enum fop fop);
void fake_reset_counts(struct fake_volume *f);
/* The next request of FOP fails with ERROR (negative). */
void fake_fail_next(struct fake_volume *f, enum fop fop, int error);
/* Requests of FOP wait until fake_release(), or until they are cancelled (-EINTR). */
void fake_hold(struct fake_volume *f, enum fop fop);
void fake_release(struct fake_volume *f);
unsigned fake_held(const struct fake_volume *f);
/* Who asked last. */
const struct rpc_cred *fake_last_cred(const struct fake_volume *f);

/* Another client's doing: makes, removes, appends to NAME in the root, returns its gfid. */
struct gfid fake_make(struct fake_volume *f, const char *name, uint32_t mode, const char *contents);
void fake_write(struct fake_volume *f, const char *name, const char *contents); /* instead of what was there */
void fake_remove(struct fake_volume *f, const char *name);
void fake_chmod(struct fake_volume *f, const char *name, uint32_t mode);
bool fake_attributes(struct fake_volume *f, const struct gfid *gfid, struct iatt *ret);
/* Its attributes and contents; false: there is none. */
bool fake_stat(struct fake_volume *f, const char *name, struct iatt *ret);
const char *fake_contents(struct fake_volume *f, const char *name);
