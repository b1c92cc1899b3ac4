/* First frames of new fibres, and the portable switch (fibre_context.h). The hand-written ones: fibre_switch_*.S. */
#include "base/fibre_context.h"

#include <assert.h>

#ifdef FIBRE_PORTABLE

/* makecontext passes ints: a pointer travels in two halves. */
static void context_enter(unsigned entry_hi, unsigned entry_lo, unsigned arg_hi, unsigned arg_lo)
{
        void (*entry)(void *) = (void (*)(void *))(uintptr_t)((uint64_t)entry_hi << 32 | entry_lo);
        entry((void *)(uintptr_t)((uint64_t)arg_hi << 32 | arg_lo));
}

void fibre_context_init(struct fibre_context *ctx, void *stack, size_t size, void (*entry)(void *arg), void *arg)
{
        uint64_t e = (uintptr_t)entry, a = (uintptr_t)arg;
        (void)getcontext(&ctx->uc);
        ctx->uc.uc_stack.ss_sp = stack;
        ctx->uc.uc_stack.ss_size = size;
        ctx->uc.uc_link = NULL;
        makecontext(&ctx->uc, (void (*)(void))context_enter, 4, (unsigned)(e >> 32), (unsigned)e, (unsigned)(a >> 32),
                    (unsigned)a);
}

void fibre_context_switch(struct fibre_context *from, struct fibre_context *to)
{
        (void)swapcontext(&from->uc, &to->uc);
}

#else

/* fibre_switch_*.S: stores the stack pointer in *SAVE after pushing the callee-saved registers, loads LOAD and pops. */
void fibre_switch(void **save, void *load);
/* Where a new fibre's first switch arrives: calls the function in the first saved register with the second one. */
void fibre_switch_entry(void);

#if defined(__x86_64__)
/* The frame fibre_switch pops, lowest address first (fibre_switch_x86_64.S). */
struct first_frame {
        void *r15, *r14, *r13, *r12, *rbx, *rbp;
        void (*return_to)(void);
        void *end[1]; /* a zero return address ends backtraces; keeps the entry's stack 16-aligned */
};
static void first_frame_fill(struct first_frame *f, void (*entry)(void *arg), void *arg)
{
        *f = (struct first_frame){.r12 = (void *)entry, .r13 = arg, .return_to = fibre_switch_entry};
}
#elif defined(__aarch64__)
/* The frame fibre_switch pops, lowest address first (fibre_switch_aarch64.S). */
struct first_frame {
        void *x19, *x20, *x21, *x22, *x23, *x24, *x25, *x26, *x27, *x28, *fp;
        void (*lr)(void);
        uint64_t d8_to_d15[8];
};
static void first_frame_fill(struct first_frame *f, void (*entry)(void *arg), void *arg)
{
        *f = (struct first_frame){.x19 = (void *)entry, .x20 = arg, .lr = fibre_switch_entry};
}
#endif
static_assert(sizeof(struct first_frame) % 16 == 0, "stacks stay 16-aligned");

void fibre_context_init(struct fibre_context *ctx, void *stack, size_t size, void (*entry)(void *arg), void *arg)
{
        char *top = (char *)stack + size;
        assert((uintptr_t)top % 16 == 0);
        struct first_frame *f = (struct first_frame *)(void *)(top - sizeof *f);
        first_frame_fill(f, entry, arg);
        ctx->sp = f;
}

void fibre_context_switch(struct fibre_context *from, struct fibre_context *to)
{
        fibre_switch(&from->sp, to->sp);
}

#endif
