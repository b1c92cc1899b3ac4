/* A brick process that serves nothing: only its control socket, for tests of supervision.
 *
 * A brick whose path contains "refuse" is refused while that directory holds a file "refuse", except by the process
 * whose pid the file names; attaching one whose path contains "crash" ends the process. The volfile's text goes to
 * BRICK/.attached, so tests see what was attached.
 */
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>

#include "brick/control.h"
#include "rpc/server.h"
#include "volfile/volfile.h"

static struct {
        struct loop *loop;
        int port;
        char *paths[256], *volumes[256];
        size_t n;
} fake;

static void reply(struct rpc_server_conn *c, uint32_t xid, int error, const char *text)
{
        struct control_rep rep = {
                .op_ret = error ? -1 : 0, .op_errno = error, .error = str_of(text), .port = fake.port};
        rpc_conn_reply(c, xid, &control_rep_desc, &rep);
}

static size_t find(const char *path)
{
        size_t i = 0;
        while (i < fake.n && !streq(fake.paths[i], path))
                i++;
        return i;
}

static void status(struct rpc_server_conn *c, uint32_t xid)
{
        json_t *list = json_array();
        for (size_t i = 0; i < fake.n; i++)
                json_array_append_new(list, json_pack("{s:s,s:s}", "path", fake.paths[i], "volume", fake.volumes[i]));
        char *text = json_dumps(list, 0);
        struct control_status_rep rep = {
                .port = fake.port, .pid = getpid(), .version = STR("fake"), .bricks = str_of(text)};
        rpc_conn_reply(c, xid, &control_status_rep_desc, &rep);
        free(text);
        json_decref(list);
}

static void note(const char *path, const struct str *text)
{
        char file[4200];
        (void)snprintf(file, sizeof file, "%s/.attached", path);
        _cleanup_close_ int fd = open(file, O_WRONLY | O_CREAT | O_APPEND, 0600);
        if (fd >= 0 && write(fd, text->s, text->len) < 0)
                perror(file);
}

static bool refuses(const char *path)
{
        char file[4200];
        (void)snprintf(file, sizeof file, "%s/refuse", path);
        _cleanup_close_ int fd = strstr(path, "refuse") ? open(file, O_RDONLY) : -1;
        char pid[32] = "";
        if (fd < 0 || read(fd, pid, sizeof pid - 1) < 0)
                return false;
        return strtol(pid, NULL, 10) != getpid();
}

static void attach(struct rpc_server_conn *c, uint32_t xid, const struct control_attach_req *req)
{
        _cleanup_volfile_ struct volfile *v = NULL;
        struct error e = {0};
        if (volfile_parse(req->volfile.s, req->volfile.len, &v, &e) < 0) {
                reply(c, xid, EINVAL, e.text);
                return;
        }
        const char *path = section_option(v->sections[0], "directory");
        if (!path || access(path, F_OK) < 0 || refuses(path)) {
                reply(c, xid, ENOENT, "this brick is refused");
                return;
        }
        if (strstr(path, "crash"))
                _exit(3);
        note(path, &req->volfile);
        if (find(path) == fake.n && fake.n < ELEMENTSOF(fake.paths)) {
                const char *name = v->sections[0]->name;
                fake.paths[fake.n] = strdup(path);
                fake.volumes[fake.n++] = strndup(name, strlen(name) - strlen("-posix"));
        }
        reply(c, xid, 0, "");
}

static void detach(struct rpc_server_conn *c, uint32_t xid, const char *path)
{
        size_t i = find(path);
        if (i == fake.n) {
                reply(c, xid, ENOENT, "no such brick");
                return;
        }
        free(fake.paths[i]);
        free(fake.volumes[i]);
        fake.n--;
        fake.paths[i] = fake.paths[fake.n];
        fake.volumes[i] = fake.volumes[fake.n];
        reply(c, xid, 0, "");
}

static void on_call(struct rpc_server_conn *c, const struct rpc_call *call, void *arg)
{
        _cleanup_arena_ struct arena a = ARENA_INIT(64 * MIB);
        struct xdr_reader r = xdr_reader_of(call->args.data, call->args.len);
        struct control_attach_req attach_req;
        struct control_detach_req detach_req;
        (void)arg;
        if (call->proc == CONTROL_STATUS) {
                status(c, call->xid);
        } else if (call->proc == CONTROL_ATTACH && msg_decode(&control_attach_req_desc, &r, &a, &attach_req) == 0) {
                attach(c, call->xid, &attach_req);
        } else if (call->proc == CONTROL_DETACH && msg_decode(&control_detach_req_desc, &r, &a, &detach_req) == 0) {
                detach(c, call->xid, detach_req.path.s);
        } else if (call->proc == CONTROL_SHUTDOWN) {
                reply(c, call->xid, 0, "");
                loop_stop(fake.loop);
        } else {
                rpc_conn_reject(c, call->xid, RPC_GARBAGE_ARGS);
        }
}

int main(int argc, char **argv)
{
        static const struct rpc_server_handler handler = {.on_call = on_call};
        char text[512];
        struct address at;
        struct rpc_server *server;
        (void)signal(SIGPIPE, SIG_IGN);
        if (argc < 3 || !streq(argv[1], "--control"))
                return 2;
        (void)snprintf(text, sizeof text, "unix:%s", argv[2]);
        fake.port = 49152 + getpid() % 10000;
        if (address_parse(text, &at) < 0 || loop_epoll_new(&fake.loop) < 0 ||
            rpc_server_new(fake.loop, &at, &handler, NULL, NULL, &server) < 0) {
                perror(text);
                return 1;
        }
        (void)fprintf(stderr, "fake brick process %d\n", (int)getpid());
        return loop_run(fake.loop) < 0;
}
