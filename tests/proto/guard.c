#include "guard.h"

#include <sys/mman.h>

#define PAGE 4096u

int guard_init(struct guard *g, size_t max_bytes)
{
        size_t size = (max_bytes + PAGE - 1) / PAGE * PAGE;
        void *map = mmap(NULL, size + PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (map == MAP_FAILED)
                return -errno;
        if (mprotect((uint8_t *)map + size, PAGE, PROT_NONE) < 0) {
                int error = -errno;
                munmap(map, size + PAGE);
                return error;
        }
        *g = (struct guard){.map = map, .size = size};
        return 0;
}

void guard_done(struct guard *g)
{
        if (g->map)
                munmap(g->map, g->size + PAGE);
        g->map = NULL;
}

const uint8_t *guard_place(struct guard *g, const void *data, size_t n)
{
        uint8_t *at = g->map + g->size - n;
        if (n > 0)
                memcpy(at, data, n);
        return at;
}
