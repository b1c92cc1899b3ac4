/* For the tests of this layer: the recordings in tests/data/volfile (made by record.sh there). */
#pragma once

#include "base/buf.h"
#include "volfile/generate.h"

enum { GOLDEN_BRICKS_MAX = 16, GOLDEN_SETTINGS_MAX = 64, GOLDEN_LINE_MAX = 1024 };

/* The whole file VOLFILE_DATA/NAME with a NUL behind it, to be freed; NULL when there is none. */
char *golden_read(const char *name);

/* Calls FN with the path below VOLFILE_DATA of every file in layouts whose name ends in SUFFIX. Returns how many. */
size_t golden_each(const char *suffix, void (*fn)(const char *name));

/* The names of the recorded layouts, NULL at the end; freed by golden_names_free(). */
char **golden_layouts(void);
void golden_names_free(char **names);

/* layouts/NAME/spec as the generator wants it. */
struct golden_spec {
        char *text; /* owns the strings */
        struct volume_brick bricks[GOLDEN_BRICKS_MAX];
        struct volume_setting settings[GOLDEN_SETTINGS_MAX];
        struct volume_spec spec;
};

void golden_spec_load(const char *layout, struct golden_spec *ret);
void golden_spec_done(struct golden_spec *s);

/* Sets KEY as `volume set` does. Strings are borrowed. */
void golden_spec_set(struct golden_spec *s, const char *key, const char *value);

/* What the generator makes for the recorded file FILE ("client.vol", "brick-0.vol" …), to be freed. */
char *golden_generate(const struct golden_spec *s, const char *file);

/* Fails the test at the first line in which the texts differ. */
void golden_assert_equal(const char *what, const char *expected, const char *actual);
