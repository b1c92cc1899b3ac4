/* Faults on the way to the children of a replicate layer, and of memory (faulty.h). */
#include "faulty.h"

#include <stdlib.h>

#include "volume/afr.h"

#define SETTLE_ARENA (256 * KIB)

static struct world *world;
static unsigned client_number;
static struct subvolume *layer;
static const struct subvolume_ops *real;
static struct subvolume_ops ours;
static struct faults armed;
static unsigned counted, fired;
static struct arena answers = ARENA_INIT(16 * MIB);

static bool strikes(void)
{
        counted++;
        bool now = counted == armed.nth || (armed.from_then_on && counted > armed.nth);
        fired += now;
        return now;
}

/* ---- children ------------------------------------------------------------------------------------------------------ */

static unsigned number_of(const struct subvolume *v)
{
        unsigned i = 0;
        while (layer->children[i] != v)
                i++;
        return i;
}

/* No brick refuses to take a lock back. */
static bool gives_back(enum fop fop, const void *req)
{
        switch (fop) {
        case FOP_INODELK:
                return ((const struct inodelk_fop_req *)req)->type == 2;
        case FOP_FINODELK:
                return ((const struct finodelk_fop_req *)req)->type == 2;
        case FOP_ENTRYLK:
                return ((const struct entrylk_fop_req *)req)->cmd == 1;
        case FOP_FENTRYLK:
                return ((const struct fentrylk_fop_req *)req)->cmd == 1;
        case FOP_LK:
                return ((const struct lk_fop_req *)req)->type == 2;
        default:
                return false;
        }
}

static int fault_of(const struct subvolume *v, enum fop fop, const void *req)
{
        unsigned i = number_of(v);
        if ((armed.kind != FAULT_ERROR && armed.kind != FAULT_RESET) || !(armed.children & 1u << i))
                return 0;
        if (armed.kind == FAULT_ERROR && gives_back(fop, req))
                return 0;
        if ((armed.only != FOP_NULL && armed.only != fop) || !strikes())
                return 0;
        if (armed.kind == FAULT_ERROR)
                return armed.error;
        world_reset(world, client_number, i);
        return 0;
}

/* What a brick answers has memory of its own: an answer that cannot be read is another failure than these. */
static struct request with_memory(const struct request *r)
{
        struct request ample = *r;
        if (armed.kind == FAULT_MEMORY)
                ample.arena = &answers;
        return ample;
}

#define FAULTY_(NAME, name)                                                                                            \
        static int faulty_##name(struct fibre *self, struct subvolume *v, struct request *r,                           \
                                 const struct name##_fop_req *req, struct name##_fop_rep *rep)                         \
        {                                                                                                              \
                int error = fault_of(v, FOP_##NAME, req);                                                              \
                struct request ample = with_memory(r);                                                                 \
                if (error == 0)                                                                                        \
                        return real->name(self, v, &ample, req, rep);                                                  \
                memset(rep, 0, sizeof *rep);                                                                           \
                return fop_failed(rep, error);                                                                         \
        }
SUBVOLUME_FOPS(FAULTY_)

/* While calls can fail they go one by one. */
static void faulty_chain(struct fibre *self, struct subvolume *v, struct chain_step *steps, unsigned n)
{
        if (armed.kind != FAULT_NONE)
                subvolume_chain_one_by_one(self, v, steps, n);
        else
                real->chain(self, v, steps, n);
}

struct subvolume *faulty_install(struct world *w, unsigned client)
{
        world = w;
        client_number = client;
        layer = volume_top(w->clients[client].volume);
        while (!afr_is(layer))
                layer = layer->children[0];
        real = layer->children[0]->ops;
        ours = *real;
#define OURS_(NAME, name) ours.name = faulty_##name;
        SUBVOLUME_FOPS(OURS_)
        ours.chain = faulty_chain;
        for (unsigned i = 0; i < layer->n_children; i++)
                layer->children[i]->ops = &ours;
        return layer;
}

void faulty_arm(const struct faults *f)
{
        armed = *f;
        counted = fired = 0;
        arena_done(&answers);
        answers = ARENA_INIT(16 * MIB);
}

unsigned faulty_disarm(void)
{
        armed = (struct faults){0};
        return fired;
}

/* ---- memory -------------------------------------------------------------------------------------------------------- */

void *__real_arena_alloc(struct arena *a, size_t size);
void *__wrap_arena_alloc(struct arena *a, size_t size);
void *__real_arena_alloc_array(struct arena *a, size_t count, size_t size);
void *__wrap_arena_alloc_array(struct arena *a, size_t count, size_t size);
char *__wrap_arena_printf(struct arena *a, const char *format, ...) _printf_(2, 3);
void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);
int __real_fibre_start(struct loop *l, const char *name, fibre_fn fn, void *arg);
int __wrap_fibre_start(struct loop *l, const char *name, fibre_fn fn, void *arg);

static bool no_memory_in(const struct arena *a)
{
        return armed.kind == FAULT_MEMORY && (a->max == FAULTY_ARENA || a->max == SETTLE_ARENA) && strikes();
}

void *__wrap_arena_alloc(struct arena *a, size_t size)
{
        return no_memory_in(a) ? NULL : __real_arena_alloc(a, size);
}

void *__wrap_arena_alloc_array(struct arena *a, size_t count, size_t size)
{
        return no_memory_in(a) ? NULL : __real_arena_alloc_array(a, count, size);
}

char *__wrap_arena_printf(struct arena *a, const char *format, ...)
{
        char text[PATH_LIMIT];
        va_list ap;
        va_start(ap, format);
        int n = vsnprintf(text, sizeof text, format, ap);
        va_end(ap);
        assert_true(n >= 0 && (size_t)n < sizeof text);
        char *copy = no_memory_in(a) ? NULL : __real_arena_alloc(a, (size_t)n + 1);
        if (copy)
                memcpy(copy, text, (size_t)n);
        return copy;
}

static bool is_within(const void *caller, uintptr_t first, uintptr_t last)
{
        return (uintptr_t)caller >= first && (uintptr_t)caller < last;
}

/* By who asks: the world has things of the same sizes. */
void *__wrap_calloc(size_t count, size_t size)
{
        const void *caller = __builtin_return_address(0);
        bool kept = is_within(caller, (uintptr_t)afr_inode, (uintptr_t)afr_distrust) ||
                    is_within(caller, (uintptr_t)afr_file, (uintptr_t)afr_fsyncdir) ||
                    is_within(caller, (uintptr_t)afr_batch_new, (uintptr_t)afr_batch_is_behind);
        if (armed.kind == FAULT_MEMORY && count == 1 && kept && strikes())
                return NULL;
        return __real_calloc(count, size);
}

int __wrap_fibre_start(struct loop *l, const char *name, fibre_fn fn, void *arg)
{
        bool settles = streq(name, "settle") || streq(name, "unlock");
        if (armed.kind == FAULT_MEMORY && settles && strikes())
                return -ENOMEM;
        return __real_fibre_start(l, name, fn, arg);
}
