/* Attributes of an object as a brick keeps them on disk (spec: brick.md §4, §7): what a stat says, and the mdata attribute,
 * which has the times when the volume keeps them there. Bricks make their answers of these; so does a client that reads a
 * lent file (proto/local_read.h). Pure functions.
 */
#pragma once

#include <sys/stat.h>

#include "proto/types.h"

#define MDATA_NAME "trusted.glusterfs.mdata"
#define MDATA_VERSION 1
#define MDATA_SIZE 57

/* What a stat alone says, as the object GFID. */
void attr_of_stat(const struct stat *st, const struct gfid *gfid, struct iatt *ret);

/* -EINVAL: not one. */
int mdata_parse(const void *data, size_t len, struct mdata *ret);
void mdata_format(const struct mdata *m, uint8_t buf[static MDATA_SIZE]);
