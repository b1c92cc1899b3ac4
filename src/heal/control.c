/* The socket on which a running healer is asked (control.h).
 *
 * Each connection has a fibre's worth of state: the line so far, then the answer that is being written. Connections are
 * bounded; who says nothing for a while is cut off.
 */
#include "heal/control.h"

#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#define LINE_MAX_BYTES 512
#define ANSWER_MAX (64 * MIB)
#define CONNECTIONS_MAX 16
#define IDLE_TIME (30 * NS_PER_SEC)
#define END_LIMIT (30 * NS_PER_SEC)
#define END_POLL (10 * NS_PER_MSEC)

struct control {
        struct heal_node *node;
        void (*quit)(void *arg);
        void *arg;
        struct listener *listener;
        unsigned connections, working;
        struct fibre_event *idle;
        struct connection *first;
};

struct command;

struct connection {
        struct control *control;
        struct connection *next, **at;
        struct stream *stream;
        struct timer idle;
        char line[LINE_MAX_BYTES];
        size_t len;
        const struct command *command;
        const char *volume; /* in `line` */
        struct buf answer;
        bool working; /* a fibre makes the answer */
};

static void close_connection(struct connection *x)
{
        struct control *c = x->control;
        timer_stop(&x->idle);
        x->stream = stream_free(x->stream);
        if (x->working)
                return; /* the fibre ends it */
        *x->at = x->next;
        if (x->next)
                x->next->at = x->at;
        buf_done(&x->answer);
        free(x);
        c->connections--;
}

/* ---- the answer -------------------------------------------------------------------------------------------------- */

static void on_event(struct stream *s, unsigned events, void *arg);

static void write_answer(struct connection *x)
{
        while (x->answer.len > 0) {
                const struct iovec iov = {x->answer.data, x->answer.len};
                ssize_t n = stream_writev(x->stream, &iov, 1);
                if (n == -EAGAIN) {
                        stream_watch(x->stream, STREAM_WRITABLE, on_event, x);
                        return;
                }
                if (n <= 0)
                        break;
                buf_consume(&x->answer, (size_t)n);
        }
        close_connection(x);
}

/* ---- commands ---------------------------------------------------------------------------------------------------- */

static void say(struct connection *x, const char *what)
{
        (void)buf_append_str(&x->answer, what);
}

/* A volume that is not open: why. */
static void say_closed(struct connection *x, const struct heal_volume *v)
{
        (void)status_closed(v->name, v->why.code ? v->why.text : "it is being opened", &x->answer);
}

static void ask_healer(struct connection *x, struct heal_volume *v, enum heal_kind kind)
{
        if (v->healer)
                healer_ask(v->healer, kind);
        say(x, v->healer ? "ok\n" : "error: the volume is not open yet\n");
}

static void command_heal(struct connection *x, struct heal_volume *v)
{
        ask_healer(x, v, HEAL_INDEX);
}

static void command_full(struct connection *x, struct heal_volume *v)
{
        ask_healer(x, v, HEAL_FULL);
}

static void command_volumes(struct connection *x, struct heal_volume *v)
{
        (void)v;
        (void)status_volumes(x->control->node, &x->answer);
}

static void command_quit(struct connection *x, struct heal_volume *v)
{
        (void)v;
        say(x, "ok\n");
        x->control->quit(x->control->arg);
}

/* These take their time: a fibre each. */

static void command_status(struct fibre *self, struct connection *x, struct heal_volume *v)
{
        if (!v->healer) {
                say_closed(x, v);
                return;
        }
        heal_volume_use(v);
        status_count(self, v->healer);
        (void)status_format(v->healer, &x->answer);
        heal_volume_unuse(v);
}

static void command_info(struct fibre *self, struct connection *x, struct heal_volume *v)
{
        if (!v->healer) {
                say_closed(x, v);
                return;
        }
        heal_volume_use(v);
        int r = status_info(self, v->healer, &x->answer);
        heal_volume_unuse(v);
        if (r < 0)
                (void)buf_printf(&x->answer, "error: %s\n", strerror(-r));
}

static void command_serve(struct fibre *self, struct connection *x, struct heal_volume *v)
{
        (void)self;
        struct heal_volume *new = v;
        int r = v ? 0 : heal_volume_add(x->control->node, x->volume, &new);
        if (r == 0 && !new->running)
                r = heal_volume_start(new);
        if (r == 0 && new->ending)
                r = -EAGAIN;
        (void)(r == 0 ? buf_append_str(&x->answer, "ok\n") : buf_printf(&x->answer, "error: %s\n", strerror(-r)));
}

static void command_end(struct fibre *self, struct connection *x, struct heal_volume *v)
{
        uint64_t limit = loop_now(x->control->node->loop) + END_LIMIT;
        if (v)
                heal_volume_end(v);
        while (heal_volume_find(x->control->node, x->volume) && loop_now(x->control->node->loop) < limit)
                fibre_sleep(self, END_POLL);
        say(x, heal_volume_find(x->control->node, x->volume) ? "error: it takes too long\n" : "ok\n");
}

static const struct command {
        const char *word;
        void (*now)(struct connection *x, struct heal_volume *v);
        void (*later)(struct fibre *self, struct connection *x, struct heal_volume *v);
        bool names_volume; /* which need not be there */
} commands[] = {
        {"heal", command_heal, NULL, false},     {"full", command_full, NULL, false},
        {"status", NULL, command_status, false}, {"info", NULL, command_info, false},
        {"serve", NULL, command_serve, true},    {"end", NULL, command_end, true},
        {"volumes", command_volumes, NULL, true}, {"quit", command_quit, NULL, true},
};

static const struct command *command_find(const char *word)
{
        for (size_t k = 0; k < ELEMENTSOF(commands); k++) {
                if (streq(commands[k].word, word))
                        return &commands[k];
        }
        return NULL;
}

static void later_fibre(struct fibre *self, void *arg)
{
        struct connection *x = arg;
        struct control *c = x->control;
        struct heal_volume *v = heal_volume_find(c->node, x->volume);
        if (v || x->command->names_volume)
                x->command->later(self, x, v);
        else
                say(x, "error: no such volume\n");
        x->working = false;
        c->working--;
        if (x->stream)
                write_answer(x);
        else
                close_connection(x);
        if (c->working == 0 && c->idle)
                fibre_event_set(c->idle);
}

static void answer_later(struct connection *x)
{
        stream_watch(x->stream, 0, on_event, x);
        if (fibre_start(x->control->node->loop, "heal control", later_fibre, x) == 0) {
                x->working = true;
                x->control->working++;
                return;
        }
        say(x, "error: out of memory\n");
        write_answer(x);
}

/* "WORD" or "WORD VOLUME". */
static void answer(struct connection *x)
{
        char *space = strchr(x->line, ' ');
        x->volume = space ? space + 1 : "";
        if (space)
                *space = '\0';
        x->command = command_find(x->line);
        timer_stop(&x->idle);
        if (x->command && x->command->later) {
                answer_later(x);
                return;
        }
        struct heal_volume *v = heal_volume_find(x->control->node, x->volume);
        if (!x->command)
                say(x, "error: unknown command; there are: heal, full, status, info, serve, end, volumes, quit\n");
        else if (v || x->command->names_volume)
                x->command->now(x, v);
        else
                say(x, "error: no such volume\n");
        write_answer(x);
}

/* ---- the question ------------------------------------------------------------------------------------------------ */

static void read_line(struct connection *x)
{
        const struct iovec iov = {x->line + x->len, sizeof x->line - 1 - x->len};
        ssize_t n = iov.iov_len > 0 ? stream_readv(x->stream, &iov, 1) : 0;
        if (n == -EAGAIN)
                return;
        if (n <= 0) {
                close_connection(x);
                return;
        }
        x->len += (size_t)n;
        x->line[x->len] = '\0';
        char *end = strchr(x->line, '\n');
        if (!end)
                return;
        *end = '\0';
        answer(x);
}

static void on_event(struct stream *s, unsigned events, void *arg)
{
        struct connection *x = arg;
        (void)s;
        if (x->working || ((events & STREAM_HANGUP) && !(events & STREAM_READABLE)))
                close_connection(x);
        else if (x->answer.len > 0)
                write_answer(x);
        else if (events & STREAM_READABLE)
                read_line(x);
}

static void on_idle(struct timer *t)
{
        close_connection(CONTAINER_OF(t, struct connection, idle));
}

static void on_accept(struct listener *l, struct stream *s, void *arg)
{
        struct control *c = arg;
        struct connection *x = c->connections < CONNECTIONS_MAX ? calloc(1, sizeof *x) : NULL;
        (void)l;
        if (!x) {
                stream_free(s);
                return;
        }
        *x = (struct connection){
                .control = c, .stream = s, .answer = BUF_INIT(ANSWER_MAX), .next = c->first, .at = &c->first};
        if (c->first)
                c->first->at = &x->next;
        c->first = x;
        c->connections++;
        stream_watch(s, STREAM_READABLE, on_event, x);
        timer_start(c->node->loop, &x->idle, IDLE_TIME, on_idle);
}

/* ---- life -------------------------------------------------------------------------------------------------------- */

int control_new(struct heal_node *node, const char *path, void (*quit)(void *arg), void *arg, struct control **ret,
                struct error *err)
{
        char text[ADDRESS_TEXT_MAX];
        struct address at;
        struct control *c = calloc(1, sizeof *c);
        int n = snprintf(text, sizeof text, "unix:%s", path);
        if (!c)
                return error_set(err, -ENOMEM, "out of memory");
        c->node = node;
        c->quit = quit;
        c->arg = arg;
        int r = n < (int)sizeof text ? address_parse(text, &at) : -ENAMETOOLONG;
        mode_t before = umask(0177);
        if (r == 0)
                r = loop_listen(node->loop, &at, on_accept, c, &c->listener);
        (void)umask(before);
        if (r < 0) {
                free(c);
                return error_set(err, r,
                                 r == -EADDRINUSE ? "%s: another healer is running there (%s)" : "%s: %s",
                                 path, strerror(-r));
        }
        *ret = c;
        return 0;
}

struct control *control_free(struct fibre *self, struct control *c)
{
        if (!c)
                return NULL;
        c->listener = listener_free(c->node->loop, c->listener);
        for (struct connection *x = c->first, *next; x; x = next) {
                next = x->next;
                close_connection(x);
        }
        while (c->working > 0) {
                struct fibre_event idle = {0};
                c->idle = &idle;
                (void)fibre_event_wait(self, &idle, UINT64_MAX);
                c->idle = NULL;
        }
        free(c);
        return NULL;
}

/* ---- the other end ----------------------------------------------------------------------------------------------- */

static int copy_answer(int fd, const char *path, struct error *err)
{
        char data[4096];
        ssize_t n;
        bool any = false, failed = false;
        while ((n = read(fd, data, sizeof data)) > 0) {
                failed |= !any && n > 5 && memcmp(data, "error", 5) == 0;
                any = true;
                (void)fwrite(data, 1, (size_t)n, stdout);
        }
        if (n < 0 || !any)
                return error_set(err, n < 0 ? -errno : -EPIPE, "the healer at %s ended without an answer", path);
        return failed ? error_set(err, -EINVAL, "the healer at %s refused", path) : 0;
}

int control_ask(const char *path, const char *command, const char *volume, struct error *err)
{
        struct sockaddr_un sa = {.sun_family = AF_UNIX};
        char line[LINE_MAX_BYTES];
        int n = snprintf(line, sizeof line, "%s%s%s\n", command, *volume ? " " : "", volume);
        if (n >= (int)sizeof line)
                return error_set(err, -ENAMETOOLONG, "%s: too long", volume);
        if (strlen(path) >= sizeof sa.sun_path)
                return error_set(err, -ENAMETOOLONG, "%s is too long for a socket address", path);
        memcpy(sa.sun_path, path, strlen(path) + 1);
        _cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0 || connect(fd, (const struct sockaddr *)&sa, sizeof sa) < 0)
                return error_set(err, -errno, "no healer answers at %s: %s", path, strerror(errno));
        if (write(fd, line, (size_t)n) != n)
                return error_set(err, -EPIPE, "the healer at %s does not listen", path);
        return copy_answer(fd, path, err);
}
