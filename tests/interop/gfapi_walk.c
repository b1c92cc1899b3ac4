/* Debian's libgfapi against a volume: create, write, read, list, rename, unlink. gfapi_walk HOST VOLUME; exit 0 = all as expected. */
#include <dirent.h>
#include <fcntl.h>
#include <glusterfs/api/glfs.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define MUST(what, condition)                                                                                          \
        do {                                                                                                           \
                if (!(condition)) {                                                                                    \
                        perror(what);                                                                                  \
                        return 1;                                                                                      \
                }                                                                                                      \
        } while (0)

int main(int argc, char **argv)
{
        if (argc != 3) {
                fprintf(stderr, "usage: gfapi_walk HOST VOLUME\n");
                return 2;
        }
        glfs_t *fs = glfs_new(argv[2]);
        MUST("glfs_new", fs);
        MUST("set_volfile_server", glfs_set_volfile_server(fs, "tcp", argv[1], 24007) == 0);
        MUST("set_logging", glfs_set_logging(fs, "/dev/stderr", 4) == 0);
        MUST("init", glfs_init(fs) == 0);

        MUST("mkdir", glfs_mkdir(fs, "/gfapi", 0755) == 0);
        for (int i = 0; i < 10; i++) {
                char path[64], text[64], back[64] = "";
                snprintf(path, sizeof path, "/gfapi/file%d", i);
                int len = snprintf(text, sizeof text, "through libgfapi, number %d", i);
                glfs_fd_t *fd = glfs_creat(fs, path, O_RDWR | O_EXCL, 0644);
                MUST("creat", fd);
                MUST("write", glfs_pwrite(fd, text, (size_t)len, 0, 0, NULL, NULL) == len);
                MUST("fsync", glfs_fsync(fd, NULL, NULL) == 0);
                MUST("read", glfs_pread(fd, back, sizeof back, 0, 0, NULL) == len && strcmp(text, back) == 0);
                MUST("zerofill", glfs_zerofill(fd, 4096, 4096) == 0);
                MUST("close", glfs_close(fd) == 0);
                struct stat st;
                MUST("stat", glfs_stat(fs, path, &st) == 0 && st.st_size == 8192);
        }
        unsigned seen = 0;
        glfs_fd_t *dir = glfs_opendir(fs, "/gfapi");
        MUST("opendir", dir);
        for (struct dirent *e; (e = glfs_readdir(dir));)
                seen += strncmp(e->d_name, "file", 4) == 0;
        MUST("list", seen == 10);
        MUST("closedir", glfs_closedir(dir) == 0);
        MUST("rename", glfs_rename(fs, "/gfapi/file0", "/gfapi/file1") == 0);
        MUST("unlink", glfs_unlink(fs, "/gfapi/file1") == 0);
        struct stat st;
        MUST("gone", glfs_lstat(fs, "/gfapi/file1", &st) < 0);
        for (int i = 2; i < 10; i++) {
                char path[64];
                snprintf(path, sizeof path, "/gfapi/file%d", i);
                MUST("unlink", glfs_unlink(fs, path) == 0);
        }
        MUST("rmdir", glfs_rmdir(fs, "/gfapi") == 0);
        MUST("fini", glfs_fini(fs) == 0);
        puts("all as expected");
        return 0;
}
