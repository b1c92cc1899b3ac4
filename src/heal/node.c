/* The volumes of a heal process (node.h): volfile → volume → healer, and the way back.
 *
 * A volume is freed by the fibre that runs it. Requests that are answered meanwhile hold it (`users`); closing waits for
 * them.
 */
#include "heal/node.h"

#include <stdio.h>

#include "base/log.h"

#define COMPONENT "heal"
#define SECURE_ACCESS_FILE "/var/lib/glusterd/secure-access"
#define FETCH_TIMEOUT (10 * NS_PER_SEC)
#define RETRY_INTERVAL (3 * NS_PER_SEC)

static void poke(struct heal_volume *v)
{
        fibre_event_set(&v->poked);
        if (v->volume)
                volume_poke(v->volume);
}

static void pause_for(struct fibre *self, struct heal_volume *v, uint64_t time)
{
        v->poked = (struct fibre_event){0};
        if (!v->ending && !v->changed)
                (void)fibre_event_wait(self, &v->poked, time);
        v->poked = (struct fibre_event){0};
}

/* ---- the volfile ------------------------------------------------------------------------------------------------- */

static void on_change(struct fetch *f, void *arg)
{
        struct heal_volume *v = arg;
        (void)f;
        v->changed = true;
        poke(v);
}

static int load_secure_access(struct heal_node *node, struct error *err)
{
        int r = node->secure_known ? 0 : secure_access_load(&node->secure, SECURE_ACCESS_FILE, err);
        if (r == 0)
                node->secure_known = true;
        return r;
}

static int make_fetch(struct heal_volume *v, struct error *err)
{
        char key[HEAL_VOLUME_NAME_MAX + 8];
        const struct heal_options *o = v->node->o;
        if (o->volfile || v->fetch)
                return 0;
        int r = load_secure_access(v->node, err);
        if (r < 0)
                return r;
        (void)snprintf(key, sizeof key, "shd/%s", v->name);
        const struct fetch_config config = {.servers = o->servers,
                                            .n_servers = o->n_servers,
                                            .key = key,
                                            .tls = v->node->secure.on ? &v->node->secure.source : NULL,
                                            .timeout = FETCH_TIMEOUT,
                                            .on_change = on_change,
                                            .arg = v};
        r = fetch_new(v->node->loop, &config, &v->fetch);
        return r < 0 ? error_set(err, r, "The list of servers cannot be used: %s", strerror(-r)) : 0;
}

static int get_volfile(struct fibre *self, struct heal_volume *v, struct buf *text, struct volfile **ret,
                       struct error *err)
{
        const char *file = v->node->o->volfile;
        int r = make_fetch(v, err);
        v->changed = false;
        if (r == 0)
                r = file ? volfile_read_file(file, text, err) : fetch_volfile(self, v->fetch, text, err);
        return r < 0 ? r : volfile_parse((const char *)text->data, text->len, ret, err);
}

/* ---- opening and closing ----------------------------------------------------------------------------------------- */

static void close_volume(struct fibre *self, struct heal_volume *v)
{
        if (v->healer)
                healer_stop(self, v->healer);
        while (v->users > 0) {
                struct fibre_event idle = {0};
                v->idle = &idle;
                (void)fibre_event_wait(self, &idle, UINT64_MAX);
                v->idle = NULL;
        }
        v->healer = healer_free(v->healer);
        v->volume = volume_close(self, v->volume);
        v->volfile = volfile_free(v->volfile);
}

static int make_healer(struct heal_volume *v, struct error *err)
{
        const struct heal_options *o = v->node->o;
        const struct healer_config config = {.loop = v->node->loop,
                                             .name = v->name,
                                             .volume = v->volume,
                                             .volfile = v->volfile,
                                             .node_uuid = o->node_uuid,
                                             .all_bricks = o->all_bricks,
                                             .parallel = o->parallel,
                                             .interval = o->interval,
                                             .rate = o->rate,
                                             .state_dir = o->state_dir};
        return healer_new(&config, &v->healer, err);
}

int heal_volume_open(struct fibre *self, struct heal_volume *v, struct error *err)
{
        buf_reset(&v->text, 0);
        int r = get_volfile(self, v, &v->text, &v->volfile, err);
        if (r < 0)
                return r;
        const struct volume_config config = {.loop = v->node->loop,
                                             .name = v->name,
                                             .volfile = v->volfile,
                                             .pid = PID_SELF_HEAL,
                                             .management_tls = v->node->secure.on ? &v->node->secure.source : NULL};
        r = volume_open(&config, &v->volume, err);
        return r < 0 ? r : make_healer(v, err);
}

/* 1: the volume is to be opened anew. */
static int reload(struct fibre *self, struct heal_volume *v)
{
        struct error err = {0};
        struct buf text = BUF_INIT(VOLFILE_TEXT_MAX);
        struct volfile *new = NULL;
        int r = get_volfile(self, v, &text, &new, &err);
        bool same = r == 0 && text.len == v->text.len && memcmp(text.data, v->text.data, text.len) == 0;
        if (r == 0 && !same)
                r = volume_reload(self, v->volume, new, &err);
        if (r < 0 || same) {
                buf_done(&text);
                volfile_free(new);
                if (r < 0)
                        log_notice(COMPONENT, "%s: the volume is opened anew: %s", v->name, err.text);
                return r < 0 && new;
        }
        buf_done(&v->text);
        v->text = text;
        volfile_free(v->volfile);
        v->volfile = new;
        healer_reload(v->healer, new);
        log_info(COMPONENT, "Changed options of volume %s are in force.", v->name);
        return 0;
}

/* ---- for ever ---------------------------------------------------------------------------------------------------- */

static int serve(struct fibre *self, struct heal_volume *v, struct error *err)
{
        int r = healer_start(v->healer);
        if (r < 0)
                return error_set(err, r, "%s", strerror(-r));
        log_notice(COMPONENT, "heals volume %s: %u replica sets", v->name, v->healer->n_sets);
        v->why = (struct error){0};
        while (!v->ending) {
                if (v->changed && reload(self, v))
                        return 0;
                pause_for(self, v, UINT64_MAX);
        }
        return 0;
}

int heal_volume_run(struct fibre *self, struct heal_volume *v, struct error *err)
{
        while (!v->ending) {
                struct error why = {0};
                int r = heal_volume_open(self, v, &why);
                if (r == 0)
                        r = serve(self, v, &why);
                close_volume(self, v);
                if (r == -EOPNOTSUPP || (r < 0 && v->node->o->volfile))
                        return error_set(err, r, "%s", why.text);
                if (r == 0)
                        continue;
                if (!streq(why.text, v->why.text))
                        log_error(COMPONENT, "%s: %s It is tried again.", v->name, why.text);
                v->why = why;
                pause_for(self, v, RETRY_INTERVAL);
        }
        return 0;
}

static void run_fibre(struct fibre *self, void *arg)
{
        struct heal_volume *v = arg;
        struct error err = {0};
        int r = heal_volume_run(self, v, &err);
        if (r < 0)
                log_error(COMPONENT, "%s: %s Nothing is healed there until its volfile changes.", v->name, err.text);
        while (r < 0 && !v->ending) {
                v->why = err;
                pause_for(self, v, UINT64_MAX);
                r = v->ending ? 0 : heal_volume_run(self, v, &err);
        }
        v->running = false;
        heal_volume_drop(self, v);
}

int heal_volume_start(struct heal_volume *v)
{
        int r = fibre_start(v->node->loop, "heal volume", run_fibre, v);
        v->running = r == 0;
        return r;
}

void heal_volume_end(struct heal_volume *v)
{
        v->ending = true;
        if (v->healer)
                v->healer->closing = true;
        poke(v);
}

void heal_volume_unuse(struct heal_volume *v)
{
        if (--v->users == 0 && v->idle)
                fibre_event_set(v->idle);
}

/* ---- all of them ------------------------------------------------------------------------------------------------- */

struct heal_volume *heal_volume_find(const struct heal_node *node, const char *name)
{
        if (!*name)
                return node->volumes && !node->volumes->next ? node->volumes : NULL;
        for (struct heal_volume *v = node->volumes; v; v = v->next) {
                if (streq(v->name, name))
                        return v;
        }
        return NULL;
}

int heal_volume_add(struct heal_node *node, const char *name, struct heal_volume **ret)
{
        if (!*name || strlen(name) > HEAL_VOLUME_NAME_MAX || strchr(name, '/'))
                return -EINVAL;
        if (heal_volume_find(node, name))
                return -EEXIST;
        struct heal_volume *v = calloc(1, sizeof *v);
        if (!v)
                return -ENOMEM;
        v->node = node;
        v->text = (struct buf)BUF_INIT(VOLFILE_TEXT_MAX);
        v->next = node->volumes;
        (void)snprintf(v->name, sizeof v->name, "%s", name);
        node->volumes = v;
        *ret = v;
        return 0;
}

void heal_volume_drop(struct fibre *self, struct heal_volume *v)
{
        struct heal_volume **at = &v->node->volumes;
        close_volume(self, v);
        v->fetch = v->fetch ? fetch_free(self, v->fetch) : NULL;
        while (*at != v)
                at = &(*at)->next;
        *at = v->next;
        buf_done(&v->text);
        free(v);
}
