/* Healing as the management daemon sees it: which volumes the heal daemon looks after, and the commands of `volume heal`
 * that mortard answers itself. What is to be healed is asked of bricks, by a process that the command line starts. Loop
 * thread.
 */
#pragma once

#include <jansson.h>

#include "pool/pool.h"

/* Whether this node's heal daemon is for V: it is replicated, has a brick here, and healing is not disabled. */
bool heal_is_for(const struct volume *v);
/* V is (or is not) served now: its healing begins or ends. Returns at once. */
void heal_follow(struct pool *p, const struct volume *v);
/* V is about to be stopped: nothing heals there any more when this returns, or it takes too long. */
void heal_stop(struct fibre *self, struct pool *p, const struct volume *v);

/* {"name", "online", "pid", "error"} for the status of V; NULL: no heal daemon is for it. */
json_t *heal_show_status(const struct pool *p, const struct volume *v);

/* ACTION "index" or "full": a crawl is begun. "enable", "disable", "granular-enable", "granular-disable": an option. 0,
 * or -errno with stock's reason. */
int heal_command(struct fibre *self, struct pool *p, const char *volume, const char *action, struct error *e);
/* What the command line has to know of VOLUME to ask and to show: the answer to volume_heal_look (pool/management.h). */
int heal_look(struct fibre *self, struct pool *p, const char *volume, json_t **ret, struct error *e);

/* [{"volume", "up", …}…]: numbers of this node's healing by volume, keys of HEAL_METRICS (pool/metrics.h). */
json_t *heal_metrics(struct fibre *self, struct pool *p);
