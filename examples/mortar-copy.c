/* mortar-copy: files into and out of a volume without mounting it, and what is in a directory. An example of libmortar.
 *
 *      cc -o mortar-copy mortar-copy.c $(pkg-config --cflags --libs mortar)
 *      mortar-copy SERVER[,SERVER…] VOLUME put FILE PATH       FILE of this machine becomes PATH of the volume
 *      mortar-copy SERVER[,SERVER…] VOLUME get PATH FILE       and back
 *      mortar-copy SERVER[,SERVER…] VOLUME list PATH           names, sizes
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <mortar/mortar.h>

#define PIECE ((size_t)1 << 20)

/* A copy that is told of when it is on the disks. */
static int put(struct mortar_user *me, const char *from, const char *to)
{
        struct mortar_file *f;
        FILE *in = fopen(from, "rb");
        char *piece = malloc(PIECE);
        ssize_t r = in && piece ? 0 : -errno;
        if (r == 0)
                r = mortar_file_open(me, to, O_WRONLY | O_CREAT | O_TRUNC, 0644, &f);
        if (r == 0) {
                size_t n;
                while (r >= 0 && (n = fread(piece, 1, PIECE, in)) > 0)
                        r = mortar_file_write(f, piece, n) == (ssize_t)n ? 0 : -EIO;
                if (r >= 0)
                        r = ferror(in) ? -EIO : mortar_file_sync(f, 0);
                int closed = mortar_file_close(f);
                r = r < 0 ? r : closed;
        }
        free(piece);
        if (in)
                fclose(in);
        return (int)r;
}

static int get(struct mortar_user *me, const char *from, const char *to)
{
        struct mortar_file *f;
        char *piece = malloc(PIECE);
        ssize_t r = piece ? mortar_file_open(me, from, O_RDONLY, 0, &f) : -ENOMEM;
        if (r == 0) {
                FILE *out = fopen(to, "wb");
                r = out ? 1 : -errno;
                while (r > 0) {
                        r = mortar_file_read(f, piece, PIECE);
                        if (r > 0 && fwrite(piece, 1, (size_t)r, out) != (size_t)r)
                                r = -EIO;
                }
                if (out && fclose(out) != 0 && r == 0)
                        r = -errno;
                (void)mortar_file_close(f);
        }
        free(piece);
        return (int)r;
}

static int list(struct mortar_user *me, const char *path)
{
        struct mortar_dir *d;
        struct mortar_entry e;
        int r = mortar_dir_open(me, path, &d);
        if (r < 0)
                return r;
        while ((r = mortar_dir_read(d, &e)) > 0)
                printf("%06o %5u %5u %12" PRIdMAX " %s\n", (unsigned)e.stat.st_mode, (unsigned)e.stat.st_uid,
                       (unsigned)e.stat.st_gid, (intmax_t)e.stat.st_size, e.name);
        (void)mortar_dir_close(d);
        return r;
}

int main(int argc, char **argv)
{
        struct mortar_volume *v;
        struct mortar_error e;
        int r;
        if (argc < 5 || (strcmp(argv[3], "list") != 0 && argc < 6)) {
                fprintf(stderr, "usage: %s SERVERS VOLUME put FILE PATH | get PATH FILE | list PATH\n", argv[0]);
                return 2;
        }
        const struct mortar_volume_options o = {.size = sizeof o, .servers = argv[1], .volume = argv[2]};
        if (mortar_volume_open(&o, &v, &e) < 0) {
                fprintf(stderr, "%s: %s\n", argv[0], e.text);
                return 1;
        }
        struct mortar_user *me = mortar_volume_user(v);
        if (strcmp(argv[3], "put") == 0)
                r = put(me, argv[4], argv[5]);
        else if (strcmp(argv[3], "get") == 0)
                r = get(me, argv[4], argv[5]);
        else
                r = list(me, argv[4]);
        if (r < 0)
                fprintf(stderr, "%s: %s: %s\n", argv[0], argv[4], strerror(-r));
        (void)mortar_volume_close(v);
        return r < 0;
}
