/* A volume's life (client.h): its thread, opening, changed options, closing.
 *
 * The thread makes the loop and runs it from the first fibre to the last. Who opens a volume waits until its first
 * fibre has it or knows why not; who closes it asks for the second and waits for the thread.
 *
 * Relies on: job.c for calls; volume.h, fetch.h. Invariant: `held` counts handles and calls, and the thread does not
 * end while there are any.
 */
#include <grp.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>

#include "base/log.h"
#include "library/client.h"
#include "rpc/secure_access.h"
#include "volfile/key.h"
#include "volume/fetch.h"

#define COMPONENT "mortar"
#define SECURE_ACCESS_FILE "/var/lib/glusterd/secure-access"
#define OPEN_TIMEOUT 30u
#define OUTAGE_WAIT 30u
#define SERVER_TIMEOUT_MIN (2 * NS_PER_SEC)
#define JOBS_MAX 1024 /* calls under way at once, locks not counted; others wait for their turn */

struct mortar_volume {
        struct client client;
        struct mortar_user user;
        pthread_t thread;
        atomic_uint held;
        /* options; strings are our own */
        char *servers, *name, *volfile, *subdir;
        struct fetch_server server[FETCH_SERVERS_MAX];
        unsigned n_servers;
        uint64_t open_timeout, outage_wait;
        uint32_t inodes;
        /* the loop's */
        uint64_t deadline;
        struct secure_access secure;
        struct fetch *fetch;
        struct buf text; /* of the volfile in force */
        bool reloading, reload_again, closing;
        unsigned jobs;
        struct job *queue_head, *queue_tail;
        /* the end of opening */
        sem_t opened;
        int result;
        struct error err;
};

/* ---- what calls need of it -------------------------------------------------------------------------------------- */

struct loop *volume_thread_loop(struct mortar_volume *vol)
{
        return vol->client.loop;
}

struct client *volume_client(struct mortar_volume *vol)
{
        return &vol->client;
}

struct mortar_user *volume_own_user(struct mortar_volume *vol)
{
        return &vol->user;
}

bool volume_is_own_thread(const struct mortar_volume *vol)
{
        return pthread_equal(pthread_self(), vol->thread) != 0;
}

void volume_hold(struct mortar_volume *vol)
{
        if (vol)
                atomic_fetch_add(&vol->held, 1);
}

void volume_release(struct mortar_volume *vol)
{
        if (vol)
                atomic_fetch_sub(&vol->held, 1);
}

bool volume_admit(struct mortar_volume *vol, struct job *j)
{
        if (vol->jobs < JOBS_MAX) {
                vol->jobs++;
                return true;
        }
        j->next = NULL;
        if (vol->queue_tail)
                vol->queue_tail->next = j;
        else
                vol->queue_head = j;
        vol->queue_tail = j;
        return false;
}

struct job *volume_dismiss(struct mortar_volume *vol)
{
        struct job *j = vol->queue_head;
        if (!j) {
                vol->jobs--;
                return NULL;
        }
        vol->queue_head = j->next;
        if (!vol->queue_head)
                vol->queue_tail = NULL;
        return j;
}

/* ---- the volfile ------------------------------------------------------------------------------------------------ */

/* The volfile may have changed: options take effect at once, another set of bricks when the volume is opened anew. */
static void reload_once(struct fibre *self, struct mortar_volume *vol)
{
        struct error err = {0};
        _cleanup_buf_ struct buf text = BUF_INIT(VOLFILE_TEXT_MAX);
        _cleanup_volfile_ struct volfile *v = NULL;
        int r = fetch_volfile(self, vol->fetch, &text, &err);
        if (r == 0 && text.len == vol->text.len && memcmp(text.data, vol->text.data, text.len) == 0)
                return;
        if (r == 0)
                r = volfile_parse((const char *)text.data, text.len, &v, &err);
        if (r == 0)
                r = volume_reload(self, vol->client.volume, v, &err);
        if (r < 0) {
                log_warning(COMPONENT, "%s: options or bricks have changed; this program goes on with what it had: %s",
                            vol->name, err.text);
                return;
        }
        struct buf old = vol->text;
        vol->text = text;
        text = old;
        log_info(COMPONENT, "%s: changed options are in force.", vol->name);
}

static void reload(struct fibre *self, void *arg)
{
        struct mortar_volume *vol = arg;
        do {
                vol->reload_again = false;
                reload_once(self, vol);
        } while (vol->reload_again && !vol->closing);
        vol->reloading = false;
}

static void on_change(struct fetch *f, void *arg)
{
        struct mortar_volume *vol = arg;
        (void)f;
        vol->reload_again = true;
        if (!vol->reloading && !vol->closing && vol->client.root)
                vol->reloading = fibre_start(vol->client.loop, "reload", reload, vol) == 0;
}

static int get_volfile(struct fibre *self, struct mortar_volume *vol, struct volfile **ret)
{
        char key[VOLFILE_VOLUME_MAX + 2];
        int r = 0;
        if (vol->volfile) {
                r = volfile_read_file(vol->volfile, &vol->text, &vol->err);
        } else {
                (void)snprintf(key, sizeof key, "/%s", vol->name);
                const struct fetch_config config = {.servers = vol->server,
                                                    .n_servers = vol->n_servers,
                                                    .key = key,
                                                    .tls = vol->secure.on ? &vol->secure.source : NULL,
                                                    .timeout = MAX(vol->open_timeout / (2 * vol->n_servers),
                                                                   SERVER_TIMEOUT_MIN),
                                                    .on_change = on_change,
                                                    .arg = vol};
                r = fetch_new(vol->client.loop, &config, &vol->fetch);
                r = r < 0 ? error_set(&vol->err, r, "The list of servers cannot be used: %s", strerror(-r))
                          : fetch_volfile(self, vol->fetch, &vol->text, &vol->err);
        }
        return r < 0 ? r : volfile_parse((const char *)vol->text.data, vol->text.len, ret, &vol->err);
}

/* ---- up and down ------------------------------------------------------------------------------------------------ */

static int come_up(struct fibre *self, struct mortar_volume *vol)
{
        struct client *s = &vol->client;
        _cleanup_volfile_ struct volfile *v = NULL;
        int r = get_volfile(self, vol, &v);
        if (r < 0)
                return r;
        const struct volume_config config = {.loop = s->loop,
                                             .name = vol->name,
                                             .volfile = v,
                                             .subdir = vol->subdir,
                                             .vnodes_max = vol->inodes,
                                             .outage_wait = vol->outage_wait,
                                             .management_tls = vol->secure.on ? &vol->secure.source : NULL};
        r = volume_open(&config, &s->volume, &vol->err);
        uint64_t now = loop_now(s->loop);
        if (r == 0)
                r = volume_wait_up(self, s->volume, vol->deadline > now ? vol->deadline - now : 1, &vol->err);
        return r == 0 ? client_open(self, s, &vol->err) : r;
}

static void go_down(struct fibre *self, struct mortar_volume *vol)
{
        vol->closing = true;
        while (vol->reloading)
                fibre_sleep(self, 10 * NS_PER_MSEC);
        client_close(&vol->client);
        vol->client.volume = volume_close(self, vol->client.volume);
        vol->fetch = vol->fetch ? fetch_free(self, vol->fetch) : NULL;
        loop_stop(vol->client.loop);
}

static void open_fibre(struct fibre *self, void *arg)
{
        struct mortar_volume *vol = arg;
        vol->deadline = loop_now(vol->client.loop) + vol->open_timeout;
        vol->result = come_up(self, vol);
        if (vol->result < 0) {
                go_down(self, vol);
                return; /* the thread tells, at its end */
        }
        (void)sem_post(&vol->opened);
}

static void close_fibre(struct fibre *self, void *arg)
{
        go_down(self, arg);
}

static void close_arrived(void *arg)
{
        struct mortar_volume *vol = arg;
        if (fibre_start(vol->client.loop, "close", close_fibre, vol) < 0)
                while (loop_post(vol->client.loop, close_arrived, vol) < 0)
                        (void)usleep(1000);
}

static void *thread_main(void *arg)
{
        struct mortar_volume *vol = arg;
        int r = loop_epoll_new(&vol->client.loop);
        if (r == 0)
                r = fibre_start(vol->client.loop, "open", open_fibre, vol);
        if (r == 0)
                r = loop_run(vol->client.loop);
        if (r < 0)
                vol->result = error_set(&vol->err, r, "The volume's thread cannot run: %s", strerror(-r));
        vol->client.loop = loop_free(vol->client.loop);
        if (vol->result < 0)
                (void)sem_post(&vol->opened);
        return NULL;
}

static int start_thread(struct mortar_volume *vol)
{
        sigset_t all, before;
        (void)sigfillset(&all);
        (void)pthread_sigmask(SIG_SETMASK, &all, &before);
        int r = pthread_create(&vol->thread, NULL, thread_main, vol);
        (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
        return r == 0 ? 0 : error_set(&vol->err, -r, "A thread cannot be started: %s", strerror(r));
}

/* ---- options ---------------------------------------------------------------------------------------------------- */

static char *copy(const char *text)
{
        return text ? strdup(text) : NULL;
}

/* "host", "host:port", "[address]:port", in place. */
static int read_server(struct mortar_volume *vol, char *text)
{
        struct fetch_server *s = &vol->server[vol->n_servers];
        char *port = strrchr(text, ':');
        if (vol->n_servers == FETCH_SERVERS_MAX)
                return error_set(&vol->err, -E2BIG, "There are more than %u servers", FETCH_SERVERS_MAX);
        *s = (struct fetch_server){.host = text};
        if (text[0] == '[') {
                char *end = strchr(text, ']');
                if (!end || (end[1] != '\0' && end[1] != ':'))
                        return error_set(&vol->err, -EINVAL, "'%s' is no server: [ADDRESS]:PORT is wanted", text);
                port = end[1] == ':' ? end + 1 : NULL;
                *end = '\0';
                s->host = text + 1;
        } else if (port && strchr(text, ':') != port) {
                port = NULL; /* an IPv6 address without a port */
        }
        if (port) {
                char *end;
                unsigned long n = strtoul(port + 1, &end, 10);
                if (n == 0 || n > UINT16_MAX || *end != '\0')
                        return error_set(&vol->err, -EINVAL, "'%s' is no port", port + 1);
                *port = '\0';
                s->port = (uint16_t)n;
        }
        if (s->host[0] == '\0')
                return error_set(&vol->err, -EINVAL, "A server without a name is in the list");
        vol->n_servers++;
        return 0;
}

static int read_servers(struct mortar_volume *vol)
{
        char *rest = vol->servers, *word;
        int r = 0;
        while (r == 0 && (word = strsep(&rest, ",")) != NULL)
                r = read_server(vol, word);
        return r;
}

static int check_options(struct mortar_volume *vol, const struct mortar_volume_options *o)
{
        if (!o->volfile && (!o->servers || !o->volume))
                return error_set(&vol->err, -EINVAL, "Servers and the name of the volume are wanted, or a volfile");
        if (o->volfile && o->servers)
                return error_set(&vol->err, -EINVAL, "Either servers or a volfile can be given, not both");
        if (o->volume && (o->volume[0] == '\0' || strlen(o->volume) > VOLFILE_VOLUME_MAX || strchr(o->volume, '/')))
                return error_set(&vol->err, -EINVAL, "'%.64s' is no name of a volume", o->volume);
        if (o->subdir && o->subdir[0] != '/')
                return error_set(&vol->err, -EINVAL, "The directory '%.64s' has to begin with a slash", o->subdir);
        return 0;
}

static int read_options(struct mortar_volume *vol, const struct mortar_volume_options *given)
{
        struct mortar_volume_options o = {0};
        if (given->size < offsetof(struct mortar_volume_options, open_timeout) || given->size > sizeof o)
                return error_set(&vol->err, -EINVAL, "The options are those of another version of the library");
        memcpy(&o, given, given->size);
        int r = check_options(vol, &o);
        if (r < 0)
                return r;
        vol->name = strdup(o.volume ? o.volume : "volume");
        vol->servers = copy(o.servers);
        vol->volfile = copy(o.volfile);
        vol->subdir = copy(o.subdir);
        if (!vol->name || (o.servers && !vol->servers) || (o.volfile && !vol->volfile) || (o.subdir && !vol->subdir))
                return error_set(&vol->err, -ENOMEM, "out of memory");
        vol->open_timeout = (o.open_timeout ? o.open_timeout : OPEN_TIMEOUT) * NS_PER_SEC;
        uint32_t wait = o.outage_wait ? o.outage_wait : OUTAGE_WAIT;
        vol->outage_wait = wait == MORTAR_NO_WAIT ? 0 : wait * NS_PER_SEC;
        vol->inodes = o.inodes;
        return vol->servers ? read_servers(vol) : 0;
}

/* Who this process is. Groups beyond what a message can tell are left out, as the mount does. */
static int read_identity(struct mortar_volume *vol)
{
        struct identity *who = &vol->user.identity;
        *who = (struct identity){.uid = geteuid(), .gid = getegid()};
        vol->user.volume = vol;
        int n = getgroups(0, NULL);
        _cleanup_free_ gid_t *groups = n > 0 ? calloc((size_t)n, sizeof *groups) : NULL;
        if (n > 0 && (!groups || (n = getgroups(n, groups)) < 0))
                return error_set(&vol->err, -ENOMEM, "The groups of this process cannot be told");
        who->n_groups = (uint32_t)MIN(MAX(n, 0), (int)RPC_GROUPS_LIMIT);
        for (uint32_t i = 0; i < who->n_groups; i++)
                who->groups[i] = groups[i];
        return 0;
}

/* ---- opening and closing ---------------------------------------------------------------------------------------- */

static atomic_bool log_directed;

int mortar_log_direct(int fd, int level)
{
        if (fd < 0 || level < LOG_LEVEL_ERROR || level > LOG_LEVEL_DEBUG)
                return -EINVAL;
        atomic_store(&log_directed, true);
        log_init("libmortar", fd, false);
        log_set_level((enum log_level)level);
        return 0;
}

static void volume_delete(struct mortar_volume *vol)
{
        tls_source_done(&vol->secure.source);
        buf_done(&vol->text);
        (void)sem_destroy(&vol->opened);
        free(vol->servers);
        free(vol->name);
        free(vol->volfile);
        free(vol->subdir);
        free(vol);
}

static int open_and_wait(struct mortar_volume *vol, const struct mortar_volume_options *options)
{
        int r = read_options(vol, options);
        if (r == 0)
                r = read_identity(vol);
        if (r == 0)
                r = secure_access_load(&vol->secure, SECURE_ACCESS_FILE, &vol->err);
        if (r == 0)
                r = start_thread(vol);
        if (r < 0)
                return r;
        while (sem_wait(&vol->opened) < 0)
                continue; /* a signal handler ran */
        if (vol->result < 0)
                (void)pthread_join(vol->thread, NULL);
        return vol->result;
}

int mortar_volume_open(const struct mortar_volume_options *options, struct mortar_volume **ret_volume,
                       struct mortar_error *err)
{
        struct mortar_volume *vol = calloc(1, sizeof *vol);
        if (!vol || sem_init(&vol->opened, 0, 0) < 0) {
                free(vol);
                return -ENOMEM;
        }
        if (!atomic_exchange(&log_directed, true)) {
                log_init("libmortar", STDERR_FILENO, false);
                log_set_level(LOG_LEVEL_ERROR);
        }
        vol->text = BUF_INIT(VOLFILE_TEXT_MAX);
        int r = open_and_wait(vol, options);
        if (r == 0) {
                *ret_volume = vol;
                return 0;
        }
        if (err) {
                err->code = r;
                (void)snprintf(err->text, sizeof err->text, "%s", vol->err.text[0] ? vol->err.text : strerror(-r));
        }
        volume_delete(vol);
        return r;
}

int mortar_volume_close(struct mortar_volume *vol)
{
        if (!vol)
                return 0;
        if (volume_is_own_thread(vol))
                return -EDEADLK;
        if (atomic_load(&vol->held) > 0)
                return -EBUSY;
        int r = loop_post(vol->client.loop, close_arrived, vol);
        if (r < 0)
                return r;
        (void)pthread_join(vol->thread, NULL);
        volume_delete(vol);
        return 0;
}
