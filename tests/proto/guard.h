/* Memory whose last byte is followed by a page that cannot be read: an over-read crashes in any build. For tests. */
#pragma once

#include "base/util.h"

struct guard {
        uint8_t *map;
        size_t size; /* of the readable part */
};

int guard_init(struct guard *g, size_t max_bytes);
void guard_done(struct guard *g);
/* A copy of N bytes that ends where the guard page begins. */
const uint8_t *guard_place(struct guard *g, const void *data, size_t n);
