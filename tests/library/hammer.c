/* Threads on one volume, through the public functions: hammer SERVERS VOLUME|VOLFILE [THREADS [ROUNDS]]
 *
 * Each thread makes, writes, reads back, renames and removes files of its own; all of them add to one counter under
 * locks and append lines to one file; reads and writes without waiting are under way meanwhile. Prints what went
 * wrong. */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <mortar/mortar.h>

#define PIECES 16
#define PIECE 4096

static struct mortar_user *me;
static struct mortar_volume *volume;
static unsigned rounds = 40;
static atomic_uint failures;

static void expect(const char *what, long long got, long long wanted)
{
        if (got == wanted)
                return;
        atomic_fetch_add(&failures, 1);
        printf("%s: %lld instead of %lld\n", what, got, wanted);
}

static struct mortar_file *must_open(const char *path, int flags)
{
        struct mortar_file *f = NULL;
        expect(path, mortar_file_open(me, path, flags, 0644, &f), 0);
        return f;
}

/* ---- one thread ------------------------------------------------------------------------------------------------- */

struct pieces {
        char data[PIECES][PIECE];
        atomic_uint bad;
        pthread_mutex_t mutex;
        pthread_cond_t changed;
        unsigned left;
};

static void piece_done(struct mortar_file *f, ssize_t result, void *arg)
{
        struct pieces *p = arg;
        struct stat st;
        pthread_mutex_lock(&p->mutex);
        p->bad += result != PIECE;
        p->bad += mortar_file_stat(f, &st) != -EDEADLK; /* here nothing may wait */
        if (--p->left == 0)
                pthread_cond_signal(&p->changed);
        pthread_mutex_unlock(&p->mutex);
}

static void wait_pieces(struct pieces *p)
{
        pthread_mutex_lock(&p->mutex);
        while (p->left > 0)
                pthread_cond_wait(&p->changed, &p->mutex);
        pthread_mutex_unlock(&p->mutex);
}

static void asynchronously(unsigned id)
{
        static const char *const names[] = {"async-even", "async-odd"};
        char path[64];
        struct pieces *p = calloc(1, sizeof *p);
        pthread_mutex_init(&p->mutex, NULL);
        pthread_cond_init(&p->changed, NULL);
        snprintf(path, sizeof path, "%s-%u", names[id % 2], id);
        struct mortar_file *f = must_open(path, O_RDWR | O_CREAT | O_TRUNC);
        p->left = PIECES;
        for (unsigned i = 0; f && i < PIECES; i++) {
                memset(p->data[i], 'a' + (int)i, PIECE);
                expect("pwrite_async", mortar_file_pwrite_async(f, p->data[i], PIECE, i * PIECE, piece_done, p), 0);
        }
        wait_pieces(p);
        memset(p->data, 0, sizeof p->data);
        p->left = PIECES;
        for (unsigned i = 0; f && i < PIECES; i++)
                expect("pread_async", mortar_file_pread_async(f, p->data[i], PIECE, i * PIECE, piece_done, p), 0);
        wait_pieces(p);
        for (unsigned i = 0; i < PIECES; i++)
                p->bad += p->data[i][0] != 'a' + (int)i || p->data[i][PIECE - 1] != 'a' + (int)i;
        expect("what was read without waiting", p->bad, 0);
        mortar_file_close(f);
        free(p);
}

static void own_files(unsigned id, unsigned round)
{
        char path[64], moved[64], text[128], back[128];
        snprintf(path, sizeof path, "/dir-%u/file-%u", id, round);
        snprintf(moved, sizeof moved, "/dir-%u/moved-%u", id, round % 3);
        int n = snprintf(text, sizeof text, "thread %u round %u", id, round);
        struct mortar_file *f = must_open(path, O_RDWR | O_CREAT | O_EXCL);
        if (!f)
                return;
        expect("write", mortar_file_write(f, text, (size_t)n), n);
        expect("rename", mortar_path_rename(me, path, moved), 0);
        expect("pread", mortar_file_pread(f, back, sizeof back, 0), n);
        expect("what was read", memcmp(text, back, (size_t)n), 0);
        expect("close", mortar_file_close(f), 0);
        struct stat st;
        expect("stat of the old name", mortar_path_stat(me, path, &st), -ENOENT);
        expect("stat", mortar_path_stat(me, moved, &st), 0);
        expect("size", st.st_size, n);
}

static void count(struct mortar_file *counter)
{
        struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
        char text[32] = "";
        expect("lock", mortar_file_lock(counter, &lock, 1), 0);
        expect("read of the counter", mortar_file_pread(counter, text, 20, 0), 20);
        snprintf(text, sizeof text, "%020llu", strtoull(text, NULL, 10) + 1);
        expect("write of the counter", mortar_file_pwrite(counter, text, 20, 0), 20);
        lock.l_type = F_UNLCK;
        expect("unlock", mortar_file_lock(counter, &lock, 0), 0);
}

static void *worker(void *arg)
{
        unsigned id = *(unsigned *)arg;
        char path[64];
        snprintf(path, sizeof path, "/dir-%u", id);
        expect("mkdir", mortar_path_mkdir(me, path, 0755), 0);
        struct mortar_file *counter = must_open("/counter", O_RDWR), *lines = must_open("/lines", O_WRONLY | O_APPEND);
        for (unsigned i = 0; i < rounds && counter && lines && failures == 0; i++) {
                own_files(id, i);
                count(counter);
                expect("append", mortar_file_write(lines, "0123456789abcde\n", 16), 16);
                if (i % 10 == 0)
                        asynchronously(id);
        }
        mortar_file_close(counter);
        mortar_file_close(lines);
        return NULL;
}

/* ---- all of them ------------------------------------------------------------------------------------------------ */

static void look_at_the_end(unsigned threads)
{
        char text[32] = "";
        struct stat st;
        struct mortar_file *counter = must_open("/counter", O_RDONLY);
        expect("read of the counter", mortar_file_pread(counter, text, 20, 0), 20);
        expect("the counter", (long long)strtoull(text, NULL, 10), (long long)threads * rounds);
        mortar_file_close(counter);
        expect("stat of the lines", mortar_path_stat(me, "/lines", &st), 0);
        expect("bytes of the lines", st.st_size, 16LL * threads * rounds);
        struct mortar_dir *d;
        struct mortar_entry e;
        unsigned names = 0;
        expect("opendir", mortar_dir_open(me, "/dir-0", &d), 0);
        while (mortar_dir_read(d, &e) == 1)
                names++;
        expect("names", names, rounds < 3 ? rounds : 3);
        expect("closing a volume with an open directory", mortar_volume_close(volume), -EBUSY);
        mortar_dir_close(d);
}

static void refuse_strangers(void)
{
        struct mortar_user *stranger;
        struct mortar_file *f;
        struct statvfs space;
        expect("statvfs", mortar_path_statvfs(me, "/", &space), 0);
        expect("user", mortar_user_new(volume, 1001, 1001, 0, NULL, &stranger), 0);
        expect("chmod", mortar_path_chmod(me, "/counter", 0600), 0);
        expect("open by a stranger", mortar_file_open(stranger, "/counter", O_RDONLY, 0, &f), -EACCES);
        expect("mkdir by a stranger", mortar_path_mkdir(stranger, "/dir-0/x", 0755), -EACCES);
        mortar_user_free(stranger);
}

int main(int argc, char **argv)
{
        struct mortar_error e = {0};
        if (argc < 3)
                return 2;
        unsigned threads = argc > 3 ? (unsigned)strtoul(argv[3], NULL, 10) : 6, id[64];
        rounds = argc > 4 ? (unsigned)strtoul(argv[4], NULL, 10) : rounds;
        if (threads == 0 || threads > 64)
                return 2;
        int file = strcmp(argv[1], "-") == 0;
        const struct mortar_volume_options o = {.size = sizeof o,
                                                .servers = file ? NULL : argv[1],
                                                .volume = file ? NULL : argv[2],
                                                .volfile = file ? argv[2] : NULL};
        if (mortar_volume_open(&o, &volume, &e) < 0) {
                printf("%s\n", e.text);
                return 1;
        }
        me = mortar_volume_user(volume);
        struct mortar_file *f = must_open("/counter", O_RDWR | O_CREAT);
        expect("write", mortar_file_write(f, "00000000000000000000", 20), 20);
        mortar_file_close(f);
        mortar_file_close(must_open("/lines", O_RDWR | O_CREAT));
        pthread_t thread[64];
        for (unsigned i = 0; i < threads; i++) {
                id[i] = i;
                pthread_create(&thread[i], NULL, worker, &id[i]);
        }
        for (unsigned i = 0; i < threads; i++)
                pthread_join(thread[i], NULL);
        if (failures == 0)
                look_at_the_end(threads);
        refuse_strangers();
        expect("close", mortar_volume_close(volume), 0);
        return failures > 0;
}
