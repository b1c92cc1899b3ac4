/* Healing as the management daemon sees it (pool/heal.h). */
#include "pool/heal.h"

#include <stdio.h>

#include "base/log.h"
#include "pool/metrics.h"
#include "pool/options.h"
#include "volfile/option.h"

#define COMPONENT "heal"
#define STOP_PATIENCE (10 * NS_PER_SEC)
#define DAEMON_KEY "cluster.self-heal-daemon"
#define GRANULAR_KEY "cluster.granular-entry-heal"

/* ---- which volumes ----------------------------------------------------------------------------------------------- */

static bool is_enabled(const struct volume *v)
{
        bool on = true;
        for (size_t i = 0; i < v->n_options; i++) {
                if (streq(v->options[i].key, DAEMON_KEY))
                        (void)option_bool(v->options[i].value, &on);
        }
        return on;
}

static bool has_local_brick(const struct volume *v)
{
        for (size_t i = 0; i < v->n_bricks; i++) {
                if (v->bricks[i].local)
                        return true;
        }
        return false;
}

bool heal_is_for(const struct volume *v)
{
        return v->type == VOLUME_REPLICATE && has_local_brick(v) && is_enabled(v);
}

void heal_follow(struct pool *p, const struct volume *v)
{
        bool wanted = v->status == VOLUME_STARTED && heal_is_for(v);
        if (heal_keeper_want(p->healer, v->name, wanted) < 0)
                log_error(COMPONENT, "volume %s is not healed from here: out of memory", v->name);
}

void heal_stop(struct fibre *self, struct pool *p, const struct volume *v)
{
        heal_keeper_stop(self, p->healer, v->name, loop_now(p->loop) + STOP_PATIENCE);
}

json_t *heal_show_status(const struct pool *p, const struct volume *v)
{
        struct heal_daemon_state state;
        if (!heal_is_for(v))
                return NULL;
        heal_keeper_state(p->healer, v->name, &state);
        return json_pack("{s:s,s:b,s:i,s:s}", "name", "localhost", "online", state.online, "pid", (int)state.pid,
                         "error", state.error);
}

/* ---- commands ---------------------------------------------------------------------------------------------------- */

/* A brick that is away: the heal would wait for it. */
static int find_missing(const json_t *status, struct error *e)
{
        const json_t *sets = json_object_get(status, "sets");
        for (size_t i = 0; i < json_array_size(sets); i++) {
                const json_t *first = json_array_get(json_object_get(json_array_get(sets, i), "waits_for"), 0);
                if (first)
                        return error_set(e, -ENOTCONN,
                                         "Brick %s is not connected, and a heal needs all bricks of its set. It is "
                                         "begun when the brick is back. The reason: %s",
                                         json_string_value(json_object_get(first, "brick")) ?: "?",
                                         json_string_value(json_object_get(first, "reason")) ?: "?");
        }
        return 0;
}

static int launch(struct fibre *self, struct pool *p, const struct volume *v, const char *action, struct error *e)
{
        json_t *status = NULL, *none = NULL;
        if (v->type == VOLUME_DISPERSE)
                return error_set(e, -EOPNOTSUPP,
                                 "Volume %s is a disperse volume: GlusterFS's self-heal daemon heals those, this one does not.",
                                 v->name);
        if (v->type != VOLUME_REPLICATE || !is_enabled(v))
                return error_set(e, -EINVAL, "Self-heal-daemon is disabled. Heal will not be triggered on volume %s",
                                 v->name);
        if (v->status != VOLUME_STARTED)
                return error_set(e, -EINVAL, "Volume %s is not started.", v->name);
        int r = heal_keeper_ask(self, p->healer, "status", v->name, &status, e);
        if (r == 0)
                r = heal_keeper_ask(self, p->healer, streq(action, "full") ? "full" : "heal", v->name, &none, e);
        if (r == 0)
                r = find_missing(status, e);
        json_decref(status);
        json_decref(none);
        return r;
}

struct option_job {
        const char *key;
        bool on;
};

static int apply_option(struct volume *v, void *arg, struct error *e)
{
        const struct option_job *job = arg;
        if (v->type != VOLUME_REPLICATE)
                return error_set(e, -EINVAL, "Volume %s is not of type replicate or disperse", v->name);
        int r = options_switch(v, job->key, job->on ? "enable" : "disable");
        return r < 0 ? error_set(e, r, "out of memory") : 0;
}

int heal_command(struct fibre *self, struct pool *p, const char *volume, const char *action, struct error *e)
{
        bool granular = starts_with(action, "granular-");
        const char *word = granular ? action + strlen("granular-") : action;
        struct option_job job = {.key = granular ? GRANULAR_KEY : DAEMON_KEY, .on = streq(word, "enable")};
        struct volume *v = NULL;
        int r = pool_find(p, volume, &v, e);
        if (r < 0)
                return r;
        if (!granular && (streq(word, "index") || streq(word, "full")))
                return launch(self, p, v, word, e);
        if (!job.on && !streq(word, "disable"))
                return error_set(e, -EINVAL, "volume heal: unknown action \"%s\"", action);
        return operation_options(self, p, volume, &(struct option_change){apply_option, &job}, e);
}

/* ---- looking ----------------------------------------------------------------------------------------------------- */

static json_t *show_bricks(const struct pool *p, const struct volume *v)
{
        json_t *list = json_array();
        for (size_t i = 0; i < v->n_bricks; i++) {
                const struct brick_record *b = &v->bricks[i];
                char name[PATH_LIMIT + 512], uuid[UUID_TEXT_SIZE];
                (void)json_array_append_new(
                        list, json_pack("{s:s,s:s,s:b,s:s}", "name", brick_text(b, name, sizeof name), "host", b->host,
                                        "local", b->local, "uuid",
                                        b->local ? gfid_format(store_node(p->store), uuid) : "-"));
        }
        return list;
}

int heal_look(struct fibre *self, struct pool *p, const char *volume, json_t **ret, struct error *e)
{
        static const char *const types[VOLUME_TYPE_MAX] = {"distribute", "replicate", "disperse"};
        struct volume *v = NULL;
        struct error why = {0};
        json_t *status = NULL;
        int r = pool_find(p, volume, &v, e);
        if (r < 0)
                return r;
        bool started = v->status == VOLUME_STARTED, enabled = v->type == VOLUME_REPLICATE && is_enabled(v);
        *ret = json_pack("{s:s,s:s,s:b,s:b,s:i,s:s,s:s,s:o}", "name", v->name, "type", types[v->type], "started", started,
                         "enabled", enabled, "set_size", (int)v->set_size, "server", p->heal_server, "program",
                         p->heal_program, "bricks", show_bricks(p, v));
        if (!*ret)
                return error_set(e, -ENOMEM, "out of memory");
        if (started && enabled && heal_keeper_ask(self, p->healer, "status", v->name, &status, &why) < 0)
                (void)json_object_set_new(*ret, "healer_error", json_string(why.text));
        (void)json_object_set_new(*ret, "healer", status ? status : json_null());
        return 0;
}

/* ---- metrics ----------------------------------------------------------------------------------------------------- */

static json_int_t number(const json_t *o, const char *key)
{
        const json_t *n = json_object_get(o, key);
        return json_is_real(n) ? (json_int_t)json_real_value(n) : json_integer_value(n);
}

static void add(json_t *to, const char *key, json_int_t n)
{
        (void)json_object_set_new(to, key, json_integer(number(to, key) + n));
}

static void add_set(json_t *to, const json_t *set)
{
        const json_t *ever = json_object_get(set, "ever");
        add(to, "pending", number(set, "pending"));
        add(to, "healed", number(ever, "healed"));
        add(to, "failed", number(ever, "failed"));
        add(to, "bytes", number(ever, "bytes"));
        add(to, "rate", number(set, "bytes_per_second"));
        add(to, "split_brain", number(set, "left_split_brain"));
        add(to, "healing", streq(json_string_value(json_object_get(set, "state")) ?: "", "healing"));
        add(to, "waiting", streq(json_string_value(json_object_get(set, "state")) ?: "", "waiting"));
        json_int_t last = number(set, "last_crawl");
        if (last > number(to, "last_crawl"))
                (void)json_object_set_new(to, "last_crawl", json_integer(last));
}

static json_t *metrics_of(struct fibre *self, struct pool *p, const char *volume)
{
        json_t *status = NULL, *o = json_pack("{s:s,s:i}", "volume", volume, "up", 0);
        if (heal_keeper_ask(self, p->healer, "status", volume, &status, NULL) < 0)
                return o;
        const json_t *sets = json_object_get(status, "sets");
        (void)json_object_set_new(o, "up", json_integer(json_array_size(sets) > 0));
        for (size_t i = 0; i < json_array_size(sets); i++)
                add_set(o, json_array_get(sets, i));
        json_decref(status);
        return o;
}

json_t *heal_metrics(struct fibre *self, struct pool *p)
{
        json_t *list = json_array();
        for (size_t i = 0; i < p->volumes.n; i++) {
                const struct volume *v = p->volumes.v[i].volume;
                char name[VOLFILE_VOLUME_MAX + 1]; /* volumes may change while the daemon is asked */
                if (!v || v->status != VOLUME_STARTED || !heal_is_for(v))
                        continue;
                memcpy(name, v->name, sizeof name);
                (void)json_array_append_new(list, metrics_of(self, p, name));
        }
        return list;
}
