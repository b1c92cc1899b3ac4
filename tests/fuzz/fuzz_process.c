/* A whole brick process over a real connection, behind a valid handshake: sockets, records, lanes, threads.
 *
 * The process runs in threads of this one and keeps its brick from input to input; what an input leaves behind is a few
 * names. An input is blocks: calls (made_call.h), damaged records, raw bytes for the stream. Then a PING, which has to be
 * answered unless the process has hung up; whoever hangs is found by a time limit.
 */
#include "fuzz.h"

#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "base/log.h"
#include "brick/server.h"
#include "made_call.h"
#include "proto/handshake.h"
#include "rpc/record.h"
#include "support/brick_client.h"

#define BLOCKS_MAX 32 /* fewer calls than may wait on a connection */
#define PATIENCE_SECONDS 10
#define RAW 0x7f /* instead of a procedure: bytes for the stream */
#define PING_XID 0x50494e47u

int LLVMFuzzerInitialize(int *argc, char ***argv);

static char path[] = "/dev/shm/mortar-fuzz-XXXXXX";
static uint16_t port;

static const char volfile_format_text[] = "volume v-posix\n type storage/posix\n option directory %s\n"
                                          " option volume-id 01020300-0000-0000-0000-000000000000\nend-volume\n"
                                          "volume %s\n type debug/io-stats\n subvolumes v-posix\nend-volume\n"
                                          "volume v-server\n type protocol/server\n option auth.addr.%s.allow *\n"
                                          " subvolumes %s\nend-volume\n";

static void *run_process(void *arg)
{
        FUZZ_CHECK(process_run(arg) == 0);
        return NULL;
}

static void write_volfile(const char *file)
{
        char text[4096];
        int n = snprintf(text, sizeof text, volfile_format_text, path, path, path, path);
        int fd = open(file, O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC, 0600);
        FUZZ_CHECK(fd >= 0 && write(fd, text, (size_t)n) == n);
        close(fd);
}

static int remove_one(const char *name, const struct stat *st, int type, struct FTW *ftw)
{
        (void)st;
        (void)type;
        (void)ftw;
        return remove(name);
}

static void remove_directory(void)
{
        (void)nftw(path, remove_one, 64, FTW_DEPTH | FTW_PHYS);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
        static struct process_config config = {.listen = "127.0.0.1", .volfile_count = 1};
        static const char *volfiles[1];
        static char file[64];
        static const uint8_t id[16] = {1, 2, 3};
        (void)argc;
        (void)argv;
        int ready[2];
        char text[16] = "";
        pthread_t thread;
        umask(0);
        log_set_level(LOG_LEVEL_ERROR);
        recorded_calls_load(RECORDED_CALLS);
        FUZZ_CHECK(mkdtemp(path) && setxattr(path, "trusted.glusterfs.volume-id", id, sizeof id, 0) == 0);
        atexit(remove_directory);
        (void)snprintf(file, sizeof file, "%s.vol", path);
        write_volfile(file);
        volfiles[0] = file;
        config.volfiles = volfiles;
        FUZZ_CHECK(pipe2(ready, O_CLOEXEC) == 0);
        config.ready_fd = ready[1];
        FUZZ_CHECK(pthread_create(&thread, NULL, run_process, &config) == 0 && pthread_detach(thread) == 0);
        FUZZ_CHECK(read(ready[0], text, sizeof text - 1) > 0);
        (void)unlink(file);
        port = (uint16_t)strtoul(text, NULL, 10);
        return 0;
}

/* ---- one client -------------------------------------------------------------------------------------------------- */

static void add_record(struct buf *b, const struct rpc_call *call)
{
        size_t begin = record_begin(b);
        rpc_call_encode(b, call);
        (void)buf_append(b, call->args.data, call->args.len);
        record_end(b, begin, 0);
}

/* False: the stream is no longer what a client sends. */
static bool add_block(struct buf *b, uint32_t xid, const uint8_t block[CALL_BLOCK], const struct knowledge *k)
{
        _cleanup_arena_ struct arena a = ARENA_INIT(FUZZ_ARENA);
        struct rpc_call call;
        if (block[0] == RAW) {
                (void)buf_append(b, block + 2, MIN(block[1], CALL_BLOCK - 2));
                return false;
        }
        if (!made_call(block, k, &a, &call))
                return true;
        call.xid = xid;
        size_t begin = b->len;
        add_record(b, &call);
        if (block[2] != 0xfe || b->error)
                return true;
        b->data[begin + block[CALL_BLOCK - 1] * 2u % (b->len - begin)] ^= block[CALL_BLOCK - 2];
        return false;
}

static bool add_input(struct buf *b, const uint8_t *data, size_t size)
{
        struct knowledge k;
        bool sound = true;
        knowledge_begin(&k);
        for (uint32_t xid = 1; size > 0 && xid <= BLOCKS_MAX; xid++) {
                uint8_t block[CALL_BLOCK] = {0};
                size_t n = MIN(size, sizeof block);
                memcpy(block, data, n);
                sound = add_block(b, xid, block, &k) && sound;
                data += n;
                size -= n;
        }
        add_record(b, &(struct rpc_call){.xid = PING_XID, .prog = DUMP_PROGRAM, .vers = DUMP_VERSION, .proc = DUMP_PING});
        return sound;
}

/* What the process said, as far as it matters here. */
struct hearing {
        bool answered; /* the PING */
        int end;       /* why the connection ended; 0: it is there */
};

static void hear(struct brick_client *c, struct hearing *h)
{
        struct rpc_reply reply;
        h->end = brick_client_receive(c, &reply);
        FUZZ_CHECK(h->end != -EAGAIN); /* neither an answer nor an end */
        if (h->end == 0 && reply.xid == PING_XID)
                h->answered = true;
}

/* As much of the LEN bytes as goes; 0: none does now. */
static size_t send_some(int fd, const uint8_t *data, size_t len, struct hearing *h)
{
        ssize_t n = send(fd, data, len, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n >= 0)
                return (size_t)n;
        if (errno != EAGAIN && errno != EINTR)
                h->end = -errno;
        return 0;
}

/* Sends all, and takes what comes meanwhile: answers that are not read would stop the process reading. */
static void send_all(struct brick_client *c, const struct buf *b, struct hearing *h)
{
        for (size_t at = 0; at < b->len && h->end == 0;) {
                struct pollfd p = {.fd = c->fd, .events = POLLIN | POLLOUT};
                int n = poll(&p, 1, PATIENCE_SECONDS * 1000);
                if (n < 0 && errno == EINTR)
                        continue;
                FUZZ_CHECK(n == 1); /* it neither takes nor says anything */
                if (p.revents & POLLOUT)
                        at += send_some(c->fd, b->data + at, b->len - at, h);
                else
                        hear(c, h);
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        struct brick_client c;
        const struct timeval patience = {.tv_sec = PATIENCE_SECONDS};
        _cleanup_buf_ struct buf b = BUF_INIT(RECORD_LIMIT);
        int r;
        while ((r = brick_client_open(&c, "127.0.0.1", port, path)) == -EINTR) /* the fuzzer's alarm */
                brick_client_close(&c);
        if (r < 0)
                (void)fprintf(stderr, "connecting: %s\n", strerror(-r));
        FUZZ_CHECK(r == 0);
        FUZZ_CHECK(setsockopt(c.fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) == 0 &&
                   setsockopt(c.fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience) == 0);
        bool sound = add_input(&b, data, size);
        struct hearing h = {0};
        send_all(&c, &b, &h);
        if (!sound) /* what follows half a record is its end */
                (void)shutdown(c.fd, SHUT_WR);
        while (h.end == 0 && !h.answered)
                hear(&c, &h);
        if (sound && !h.answered)
                (void)fprintf(stderr, "it hung up: %s\n", strerror(-h.end));
        FUZZ_CHECK(h.answered || !sound);
        brick_client_close(&c);
        return 0;
}
