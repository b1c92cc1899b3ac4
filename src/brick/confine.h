/* Keeps a client of a sub-directory mount inside its directory, also when it guesses a gfid (spec: brick.md §6). */
#pragma once

#include "brick/internal.h"

/* 0 if OP's client may use O, which was found by its gfid; -ESTALE if every name of O is outside of the directory that it
 * has mounted. Names of files are known by gfid2path: one without any such attribute, as older releases wrote them, is let
 * pass while it has names. */
int confine_check(struct op *op, struct object *o);
/* The same for a directory of which only the gfid is known. */
int confine_check_dir(struct op *op, const struct gfid *g);
