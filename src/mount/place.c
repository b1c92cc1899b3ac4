/* Where a volume is to be mounted (place.h). Decided by mountinfo, never by device numbers: those of a bind mount of
 * the same file system do not differ. */
#include "mount/place.h"

#include <stdio.h>
#include <sys/stat.h>
#include <sys/xattr.h>

static int refuse(struct error *err, int *ret_exit, int status, int code, const char *text)
{
        *ret_exit = status;
        return error_set(err, code, "%s", text);
}

int place_check(const char *mountpoint, char ret_path[static PATH_MAX], int *ret_exit, struct error *err)
{
        struct stat st;
        char gfid[16];
        int id;
        bool ours;
        if (!realpath(mountpoint, ret_path) || stat(ret_path, &st) < 0) {
                *ret_exit = 1;
                if (errno == ENOTCONN)
                        return error_set(err, -ENOTCONN,
                                         "%s: the client that was mounted here is gone; run 'umount %s' first",
                                         mountpoint, mountpoint);
                return error_set(err, -errno,
                                 "ERROR: Mount point does not exist\nPlease specify a mount point\nUsage:\n"
                                 "man 8 /sbin/mount.glusterfs");
        }
        if (!S_ISDIR(st.st_mode))
                return refuse(err, ret_exit, 1, -ENOTDIR,
                              "ERROR: Mount point does not exist\nPlease specify a mount point\nUsage:\n"
                              "man 8 /sbin/mount.glusterfs");
        if (streq(ret_path, "/"))
                return refuse(err, ret_exit, 2, -EINVAL, "Cannot mount over root");
        if (streq(ret_path, "/tmp"))
                return refuse(err, ret_exit, 2, -EINVAL, "Cannot mount over /tmp");
        if (place_mounted(ret_path, &id, &ours) == 0 && ours) {
                *ret_exit = 32;
                return error_set(err, -EBUSY,
                                 "/sbin/mount.glusterfs: according to mtab, GlusterFS is already mounted on %s",
                                 mountpoint);
        }
        if (getxattr(ret_path, "trusted.gfid", gfid, sizeof gfid) > 0) {
                *ret_exit = 2;
                return error_set(err, -EBUSY, "ERROR: %s is in use as a brick of a gluster volume", mountpoint);
        }
        return 0;
}

/* Blanks, tabs, newlines and backslashes are written as three octal digits. */
static void decode_octal(char *text)
{
        char *out = text;
        for (const char *at = text; *at; at++) {
                if (at[0] == '\\' && at[1] >= '0' && at[1] <= '3' && at[2] >= '0' && at[2] <= '7' && at[3] >= '0' &&
                    at[3] <= '7') {
                        *out++ = (char)((at[1] - '0') * 64 + (at[2] - '0') * 8 + (at[3] - '0'));
                        at += 3;
                } else {
                        *out++ = *at;
                }
        }
        *out = '\0';
}

struct mount_line {
        int id;
        char device[24]; /* "98:0" */
        bool ours;
};

/* "36 35 98:0 /root /mount/point options… - type source options" */
static bool parse_line(char *line, const char *path, struct mount_line *ret)
{
        char *save, *words[5];
        char *type = strstr(line, " - ");
        for (int i = 0; i < 5; i++)
                if (!(words[i] = strtok_r(i == 0 ? line : NULL, " ", &save)))
                        return false;
        decode_octal(words[4]);
        if (!type || !streq(words[4], path))
                return false;
        ret->id = (int)strtol(words[0], NULL, 10);
        ret->ours = starts_with(type + 3, PLACE_TYPE " ");
        (void)snprintf(ret->device, sizeof ret->device, "%s", words[2]);
        return true;
}

static int find_mount(const char *path, struct mount_line *ret)
{
        FILE *f = fopen("/proc/self/mountinfo", "re");
        if (!f)
                return -errno;
        char *line = NULL;
        size_t room = 0;
        int r = -ENOENT;
        while (getline(&line, &room, f) > 0) /* the last one lies on top */
                if (parse_line(line, path, ret))
                        r = 0;
        free(line);
        (void)fclose(f);
        return r;
}

int place_mounted(const char *path, int *ret_id, bool *ret_ours)
{
        struct mount_line m = {0};
        int r = find_mount(path, &m);
        if (r < 0)
                return r;
        *ret_id = m.id;
        *ret_ours = m.ours;
        return 0;
}

int place_read_ahead(const char *path, unsigned kib)
{
        struct mount_line m = {0};
        char name[64];
        unsigned now = 0;
        int r = find_mount(path, &m);
        if (r < 0)
                return r;
        (void)snprintf(name, sizeof name, "/sys/class/bdi/%s/read_ahead_kb", m.device);
        FILE *f = fopen(name, "r+e");
        if (!f)
                return -errno;
        if (fscanf(f, "%u", &now) != 1)
                r = -EIO;
        rewind(f);
        if (r == 0 && now < kib && fprintf(f, "%u\n", kib) < 0)
                r = -EIO;
        if (fclose(f) != 0 && r == 0)
                r = -errno;
        return r;
}
