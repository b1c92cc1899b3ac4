/* The options of a volume: set, reset, shown (spec: cli.md §9). Work on a volume nobody else looks at. Any thread. */
#pragma once

#include "pool/volume.h"

/* Sets all PAIRS, [["key", "value"]…], or none; short keys and blanks in values as stock takes them. -EINVAL, -ENOENT
 * with stock's text. */
int options_set(struct volume *v, const json_t *pairs, struct error *e);

/* Takes back KEY, or with NULL all. Options that belong to a feature stay unless FORCE: *ret_kept. -ENOENT. */
int options_reset(struct volume *v, const char *key, bool force, bool *ret_kept, struct error *e);

/* What is in force of KEY, or with NULL of all keys that stock lists: [{"name", "value", "default"}…], value null when
 * there is none, default: the reader of the volfile supplies it. -ENOENT; with an empty text: a user.* key not set. */
int options_show(const struct volume *v, const char *key, json_t **ret, struct error *e);

/* KEY, which `volume set` may refuse, becomes VALUE. -ENOMEM. */
int options_switch(struct volume *v, const char *key, const char *value);

/* The options of a new volume (cli.md §5.4). -ENOMEM. */
int options_init(struct volume *v);

/* Makes op_version and client_op_version what type and options ask for (cli.md §17.4). */
void options_weigh(struct volume *v);
