#include "golden.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>
/* cmocka wants the above before it */
#include <cmocka.h>

char *golden_read(const char *name)
{
        char path[GOLDEN_LINE_MAX];
        (void)snprintf(path, sizeof path, "%s/%s", VOLFILE_DATA, name);
        FILE *f = fopen(path, "re");
        if (!f)
                return NULL;
        struct stat st;
        assert_int_equal(fstat(fileno(f), &st), 0);
        char *text = calloc(1, (size_t)st.st_size + 1);
        assert_non_null(text);
        assert_int_equal(fread(text, 1, (size_t)st.st_size, f), (size_t)st.st_size);
        (void)fclose(f);
        return text;
}

static int by_name(const void *a, const void *b)
{
        return strcmp(*(char *const *)a, *(char *const *)b);
}

static char **list_directory(const char *name)
{
        char path[GOLDEN_LINE_MAX];
        (void)snprintf(path, sizeof path, "%s/%s", VOLFILE_DATA, name);
        DIR *dir = opendir(path);
        assert_non_null(dir);
        char **names = calloc(256, sizeof *names);
        assert_non_null(names);
        size_t n = 0;
        for (struct dirent *e = readdir(dir); e; e = readdir(dir)) {
                if (e->d_name[0] == '.')
                        continue;
                assert_true(n < 255);
                names[n++] = strdup(e->d_name);
        }
        (void)closedir(dir);
        qsort(names, n, sizeof *names, by_name);
        return names;
}

char **golden_layouts(void)
{
        return list_directory("layouts");
}

void golden_names_free(char **names)
{
        for (char **n = names; *n; n++)
                free(*n);
        free(names);
}

size_t golden_each(const char *suffix, void (*fn)(const char *name))
{
        size_t count = 0;
        char **layouts = golden_layouts();
        for (char **l = layouts; *l; l++) {
                char path[GOLDEN_LINE_MAX];
                (void)snprintf(path, sizeof path, "layouts/%s", *l);
                char **files = list_directory(path);
                for (char **f = files; *f; f++) {
                        size_t len = strlen(*f);
                        if (len < strlen(suffix) || !streq(*f + len - strlen(suffix), suffix))
                                continue;
                        (void)snprintf(path, sizeof path, "layouts/%s/%s", *l, *f);
                        fn(path);
                        count++;
                }
                golden_names_free(files);
        }
        golden_names_free(layouts);
        return count;
}

static unsigned number(const char *text)
{
        return (unsigned)strtoul(text, NULL, 10);
}

static enum volume_type type_of(const char *text)
{
        if (streq(text, "replicate"))
                return VOLUME_REPLICATE;
        return streq(text, "disperse") ? VOLUME_DISPERSE : VOLUME_DISTRIBUTE;
}

/* One line "WORD REST" of a spec file. */
static void spec_line(struct golden_spec *s, const char *word, char *rest)
{
        struct volume_spec *v = &s->spec;
        char *save = NULL;
        if (streq(word, "name")) {
                v->name = rest;
        } else if (streq(word, "type")) {
                v->type = type_of(rest);
        } else if (streq(word, "set-size")) {
                v->set_size = number(rest);
        } else if (streq(word, "arbiter")) {
                v->arbiter_count = number(rest);
        } else if (streq(word, "redundancy")) {
                v->redundancy = number(rest);
        } else if (streq(word, "volume-id")) {
                v->volume_id = rest;
        } else if (streq(word, "username")) {
                v->username = rest;
        } else if (streq(word, "password")) {
                v->password = rest;
        } else if (streq(word, "brick")) {
                assert_true(v->n_bricks < GOLDEN_BRICKS_MAX);
                struct volume_brick *b = &s->bricks[v->n_bricks++];
                b->host = strtok_r(rest, " ", &save);
                b->path = strtok_r(NULL, " ", &save);
                b->shared_brick_count = number(strtok_r(NULL, " ", &save));
        } else {
                assert_string_equal(word, "set");
                const char *key = strtok_r(rest, " ", &save);
                golden_spec_set(s, key, save);
        }
}

void golden_spec_load(const char *layout, struct golden_spec *ret)
{
        char name[GOLDEN_LINE_MAX];
        (void)snprintf(name, sizeof name, "layouts/%s/spec", layout);
        *ret = (struct golden_spec){.text = golden_read(name)};
        assert_non_null(ret->text);
        ret->spec.bricks = ret->bricks;
        ret->spec.settings = ret->settings;
        char *save = NULL;
        for (char *line = strtok_r(ret->text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
                char *blank = strchr(line, ' ');
                assert_non_null(blank);
                *blank = '\0';
                spec_line(ret, line, blank + 1);
        }
}

void golden_spec_done(struct golden_spec *s)
{
        free(s->text);
        s->text = NULL;
}

void golden_spec_set(struct golden_spec *s, const char *key, const char *value)
{
        size_t i = 0;
        while (i < s->spec.n_settings && !streq(s->settings[i].key, key))
                i++;
        assert_true(i < GOLDEN_SETTINGS_MAX);
        s->settings[i] = (struct volume_setting){key, value};
        if (i == s->spec.n_settings)
                s->spec.n_settings++;
}

char *golden_generate(const struct golden_spec *s, const char *file)
{
        _cleanup_buf_ struct buf out = BUF_INIT(VOLFILE_TEXT_MAX);
        struct error err = {0};
        int r;
        if (streq(file, "client.vol"))
                r = generate_client(&s->spec, CLIENT_PLAIN, &out, &err);
        else if (streq(file, "trusted.vol"))
                r = generate_client(&s->spec, CLIENT_TRUSTED, &out, &err);
        else if (streq(file, "shd.vol"))
                r = generate_shd(&s->spec, &out, &err);
        else
                r = generate_brick(&s->spec, number(file + strlen("brick-")), &out, &err);
        if (r < 0)
                fail_msg("%s of %s: %s", file, s->spec.name, err.text);
        return strdup(buf_cstr(&out));
}

void golden_assert_equal(const char *what, const char *expected, const char *actual)
{
        size_t line = 1;
        const char *e = expected, *a = actual;
        while (*e || *a) {
                size_t e_len = strcspn(e, "\n"), a_len = strcspn(a, "\n");
                if (e_len != a_len || strncmp(e, a, e_len) != 0 || e[e_len] != a[a_len])
                        fail_msg("%s, line %zu:\nexpected \"%.*s\"\nmade     \"%.*s\"", what, line, (int)e_len, e,
                                 (int)a_len, a);
                e += e_len + (e[e_len] == '\n');
                a += a_len + (a[a_len] == '\n');
                line++;
        }
}
