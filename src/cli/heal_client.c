/* Asking the bricks by a process of its own (cli/heal.h): mortar-heal connects to them as a client does, says what it found
 * as JSON, and ends. Blocking.
 */
#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>

#include "base/buf.h"
#include "cli/heal.h"

#define ANSWER_MAX (64 * MIB)
#define COMPLAINT_MAX (4 * MIB)
#define WORDS_MAX 16
#define PIECE (16 * KIB)

extern char **environ;

struct client {
        pid_t pid;
        int out, complaints; /* what it prints */
};

static int spawn(const char *program, const char *const *argv, int out, int complaints, pid_t *ret)
{
        posix_spawn_file_actions_t files;
        int r = -posix_spawn_file_actions_init(&files);
        if (r < 0)
                return r;
        r = -posix_spawn_file_actions_adddup2(&files, out, STDOUT_FILENO);
        if (r == 0)
                r = -posix_spawn_file_actions_adddup2(&files, complaints, STDERR_FILENO);
        if (r == 0)
                r = -posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
        if (r == 0)
                r = -posix_spawn(ret, program, &files, NULL, (char *const *)(uintptr_t)argv, environ);
        (void)posix_spawn_file_actions_destroy(&files);
        return r;
}

static int start(const char *program, const char *const *argv, struct client *ret)
{
        int out[2], complaints[2];
        if (pipe2(out, O_CLOEXEC) < 0)
                return -errno;
        if (pipe2(complaints, O_CLOEXEC) < 0) {
                int r = -errno;
                (void)close(out[0]);
                (void)close(out[1]);
                return r;
        }
        int r = spawn(program, argv, out[1], complaints[1], &ret->pid);
        (void)close(out[1]);
        (void)close(complaints[1]);
        if (r < 0) {
                (void)close(out[0]);
                (void)close(complaints[0]);
                return r;
        }
        ret->out = out[0];
        ret->complaints = complaints[0];
        return 0;
}

/* Takes what is there from *FD, which becomes -1 at the end. */
static int take(int *fd, struct buf *to)
{
        uint8_t *at = buf_extend(to, PIECE);
        if (!at)
                return to->error;
        ssize_t n = read(*fd, at, PIECE);
        to->len -= PIECE - (size_t)MAX(n, 0);
        if (n < 0 && errno != EINTR)
                return -errno;
        if (n == 0) {
                (void)close(*fd);
                *fd = -1;
        }
        return 0;
}

static int read_all(struct client *c, struct buf *out, struct buf *complaints)
{
        int r = 0;
        while (r == 0 && (c->out >= 0 || c->complaints >= 0)) {
                struct pollfd fds[] = {{.fd = c->out, .events = POLLIN}, {.fd = c->complaints, .events = POLLIN}};
                if (poll(fds, ELEMENTSOF(fds), -1) < 0 && errno != EINTR)
                        return -errno;
                if (fds[0].revents)
                        r = take(&c->out, out);
                if (r == 0 && fds[1].revents)
                        r = take(&c->complaints, complaints);
        }
        return r;
}

static int finish(struct client *c)
{
        int status = 0;
        if (c->out >= 0)
                (void)close(c->out);
        if (c->complaints >= 0)
                (void)close(c->complaints);
        while (waitpid(c->pid, &status, 0) < 0 && errno == EINTR)
                continue;
        return WIFEXITED(status) ? WEXITSTATUS(status) : 255;
}

/* What it said last, without its name. */
static const char *last_complaint(struct buf *complaints)
{
        const char *text = buf_cstr(complaints);
        if (!text || !*text)
                return "it did not say why";
        size_t n = strlen(text);
        while (n > 0 && text[n - 1] == '\n')
                ((char *)complaints->data)[--n] = '\0';
        const char *line = strrchr(text, '\n');
        line = line ? line + 1 : text;
        return starts_with(line, "mortar-heal: ") ? line + strlen("mortar-heal: ") : line;
}

int heal_client(const json_t *look, const char *const words[], json_t **ret, struct error *e)
{
        _cleanup_buf_ struct buf out = BUF_INIT(ANSWER_MAX), complaints = BUF_INIT(COMPLAINT_MAX);
        const char *program = json_string_value(json_object_get(look, "program")) ?: "",
                   *server = json_string_value(json_object_get(look, "server")) ?: "",
                   *volume = json_string_value(json_object_get(look, "name")) ?: "";
        const char *argv[WORDS_MAX + 6] = {"mortar-heal", "--server", server};
        struct client c = {.out = -1, .complaints = -1};
        unsigned n = 3;
        if (!*program)
                return error_set(e, -ENOENT, "mortar-heal is not there; see heal-program in mortard's settings");
        for (unsigned k = 0; k < WORDS_MAX && words[k]; k++)
                argv[n++] = words[k];
        argv[n++] = "--";
        argv[n++] = volume;
        int r = start(program, argv, &c);
        if (r < 0)
                return error_set(e, r, "%s cannot be started: %s", program, strerror(-r));
        r = read_all(&c, &out, &complaints);
        int status = finish(&c);
        if (r < 0)
                return error_set(e, r, "%s: %s", program, strerror(-r));
        if (status != 0)
                return error_set(e, -EIO, "%s", last_complaint(&complaints));
        *ret = json_loadb((const char *)out.data, out.len, 0, NULL);
        return *ret ? 0 : error_set(e, -EPROTO, "%s said nothing that can be read", program);
}
