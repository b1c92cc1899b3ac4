/* The volfiles of a volume, made without a management daemon, for bricks that are started by hand:
 *
 *      volgen NAME replicate|arbiter|disperse|distribute client|shd|N [-o KEY=VALUE]... HOST:PATH...
 *
 * N is the number of a brick. Every volume made here has the same id and credentials: VOLUME_ID, USER, SECRET below.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "volfile/generate.h"

#define BRICKS_MAX 64
#define SETTINGS_MAX 32
#define VOLUME_ID "3f0e3a5c-8d0b-4c62-9a51-6f6a1d0c7e42"
#define USER "b1a54f13-2a0a-4c9e-8a11-5a4f2d6a90c1"
#define SECRET "6d0c8f57-53a4-4f0d-9a6a-7d8a3b1e4f20"

static int usage(void)
{
        (void)fprintf(stderr, "usage: volgen NAME replicate|arbiter|disperse|distribute client|shd|N "
                              "[-o KEY=VALUE]... HOST:PATH...\n");
        return 2;
}

static bool set_layout(struct volume_spec *spec, const char *layout)
{
        spec->set_size = 3;
        if (strcmp(layout, "distribute") == 0) {
                spec->type = VOLUME_DISTRIBUTE;
                spec->set_size = 1;
        } else if (strcmp(layout, "replicate") == 0) {
                spec->type = VOLUME_REPLICATE;
        } else if (strcmp(layout, "arbiter") == 0) {
                spec->type = VOLUME_REPLICATE;
                spec->arbiter_count = 1;
        } else if (strcmp(layout, "disperse") == 0) {
                spec->type = VOLUME_DISPERSE;
                spec->redundancy = 1;
        } else {
                return false;
        }
        return true;
}

static int generate(const struct volume_spec *spec, const char *kind, struct buf *out, struct error *err)
{
        if (strcmp(kind, "client") == 0)
                return generate_client(spec, CLIENT_TRUSTED, out, err);
        if (strcmp(kind, "shd") == 0)
                return generate_shd(spec, out, err);
        return generate_brick(spec, strtoul(kind, NULL, 10), out, err);
}

int main(int argc, char **argv)
{
        static struct volume_brick bricks[BRICKS_MAX];
        static struct volume_setting settings[SETTINGS_MAX];
        struct volume_spec spec = {.bricks = bricks,
                                   .settings = settings,
                                   .volume_id = VOLUME_ID,
                                   .username = USER,
                                   .password = SECRET};
        if (argc < 5 || !set_layout(&spec, argv[2]))
                return usage();
        spec.name = argv[1];
        for (int i = 4; i < argc; i++) {
                bool is_setting = strcmp(argv[i], "-o") == 0;
                if (is_setting && (++i == argc || spec.n_settings == SETTINGS_MAX))
                        return usage();
                char *value = strchr(argv[i], is_setting ? '=' : ':');
                if (!value || spec.n_bricks == BRICKS_MAX)
                        return usage();
                *value++ = '\0';
                if (is_setting)
                        settings[spec.n_settings++] = (struct volume_setting){.key = argv[i], .value = value};
                else
                        bricks[spec.n_bricks++] = (struct volume_brick){.host = argv[i], .path = value, .shared_brick_count = 1};
        }
        _cleanup_buf_ struct buf out = BUF_INIT(1 << 20);
        struct error err = {0};
        if (generate(&spec, argv[3], &out, &err) < 0) {
                (void)fprintf(stderr, "volgen: %s\n", err.text);
                return 1;
        }
        return fputs(buf_cstr(&out), stdout) < 0 || fflush(stdout) != 0;
}
