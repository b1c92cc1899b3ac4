/* The volfile of a mount (volfile_source.h). */
#include "mount/volfile_source.h"

#include <fnmatch.h>
#include <strings.h>

#include "mount/write_behind.h"
#include "volfile/option.h"

/* KEY = VALUE in SECTION, whether it has it or not. */
static int set_option(struct volfile *v, struct volfile_section *section, const char *key, const char *value)
{
        for (size_t i = 0; i < section->n_options; i++) {
                if (!streq(section->options[i].key, key))
                        continue;
                section->options[i].value = arena_strndup(&v->arena, value, strlen(value));
                return section->options[i].value ? 0 : -ENOMEM;
        }
        return section_add_option(v, section, key, value);
}

static int apply(struct volfile *v, const char *text, struct error *err)
{
        _cleanup_free_ char *copy = strdup(text);
        char *value = copy ? strchr(copy, '=') : NULL;
        if (!copy)
                return error_set(err, -ENOMEM, "out of memory");
        if (value)
                *value++ = '\0';
        char *key = value ? strchr(copy, '.') : NULL;
        if (!key)
                return error_set(err, -EINVAL, "Invalid xlator-option '%s': NAME.KEY=VALUE is wanted", text);
        *key++ = '\0';
        for (size_t i = 0; i < v->n_sections; i++) {
                if (fnmatch(copy, v->sections[i]->name, 0) != 0)
                        continue;
                int r = set_option(v, v->sections[i], key, value);
                if (r < 0)
                        return error_set(err, r, "xlator-option '%s' cannot be set: %s", text, strerror(-r));
        }
        return 0;
}

int volfile_from_text(const struct mount_options *o, const struct buf *text, struct volfile **ret, struct error *err)
{
        _cleanup_volfile_ struct volfile *v = NULL;
        int r = volfile_parse((const char *)text->data, text->len, &v, err);
        for (unsigned i = 0; r == 0 && i < o->xlator_options.n; i++)
                r = apply(v, o->xlator_options.v[i], err);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(v);
        return 0;
}

static bool is_on(const char *value)
{
        return value && (strcasecmp(value, "on") == 0 || strcasecmp(value, "true") == 0 ||
                         strcasecmp(value, "yes") == 0 || strcasecmp(value, "enable") == 0 || streq(value, "1"));
}

uint64_t volfile_invalidation_time(const struct volfile *v)
{
        for (size_t i = 0; i < v->n_sections; i++) {
                const struct volfile_section *s = v->sections[i];
                if (!streq(s->type, "performance/md-cache") || !is_on(section_option(s, "cache-invalidation")))
                        continue;
                const char *time = section_option(s, "md-cache-timeout");
                unsigned long seconds = time ? strtoul(time, NULL, 10) : 1;
                return MIN(seconds, 3600ul) * NS_PER_SEC;
        }
        return 0;
}

uint64_t volfile_write_behind(const struct volfile *v)
{
        for (size_t i = 0; i < v->n_sections; i++) {
                const struct volfile_section *s = v->sections[i];
                uint64_t size;
                if (!streq(s->type, "performance/write-behind"))
                        continue;
                if (is_on(section_option(s, "strict-write-ordering")))
                        return 0;
                const char *window = section_option(s, "cache-size");
                return window && option_size(window, &size) == 0 ? MAX(size, (uint64_t)WRITE_PIECE_MAX)
                                                                 : WRITE_BEHIND_FILE_MAX;
        }
        return 0;
}
