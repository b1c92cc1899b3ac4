/* From the dictionary of a request to typed fields: the table of xdata.h as setters. Pure functions. */
#include "brick/xdata.h"

static void take_flag(const struct dict *d, struct arena *a, const char *key, struct xdata_flag *f)
{
        f->present = true;
}

static void take_number(const struct dict *d, struct arena *a, const char *key, struct xdata_number *f)
{
        f->present = dict_get_int(d, key, &f->value) == 0;
}

static void take_text(const struct dict *d, struct arena *a, const char *key, struct xdata_text *f)
{
        f->present = dict_get_str(d, a, key, &f->value) == 0;
}

static void take_bytes(const struct dict *d, struct arena *a, const char *key, struct xdata_bytes *f)
{
        const struct dict_value *v = dict_get(d, key); /* numbers too: what they are as an attribute */
        f->present = v && dict_value_bytes(v, a, &f->value) == 0;
}

static void take_gfid(const struct dict *d, struct arena *a, const char *key, struct xdata_gfid *f)
{
        f->present = dict_get_gfid(d, key, &f->value) == 0;
}

struct known_key {
        const char *key;
        uint32_t len;
};

#define KNOWN_(field, kind, text) {text, sizeof(text) - 1},
static const struct known_key known_keys[] = {XDATA_KEYS(KNOWN_)};

#define INDEX_(field, kind, text) KEY_##field,
enum { XDATA_KEYS(INDEX_) KEY_MAX };

static int key_index(struct str key)
{
        for (int i = 0; i < KEY_MAX; i++)
                if (known_keys[i].len == key.len && memcmp(known_keys[i].key, key.s, key.len) == 0)
                        return i;
        return -ENOENT;
}

#define TAKE_(field, kind, text)                                                                                       \
        case KEY_##field:                                                                                              \
                take_##kind(dict, a, text, &x->field);                                                                 \
                return;
static void take(const struct dict *dict, struct arena *a, int index, struct xdata *x)
{
        switch (index) {
                XDATA_KEYS(TAKE_)
        }
}

int xdata_parse(const struct dict *dict, struct arena *a, struct xdata *ret)
{
        struct xdata x = {.others = DICT_NULL};
        for (uint32_t i = 0; i < dict->count; i++) {
                const struct dict_pair *p = &dict->pairs[i];
                int index = key_index(p->key);
                if (index >= 0) {
                        take(dict, a, index, &x);
                        continue;
                }
                int r = dict_add(&x.others, a, p->key, p->value);
                if (r < 0)
                        return r;
        }
        *ret = x;
        return 0;
}
