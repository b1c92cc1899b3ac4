/* Saving one flow of control and continuing another: the machine-dependent part of fibres.
 *
 * For base/fibre.c only. x86-64 and aarch64 have a hand-written switch that saves the callee-saved registers on the
 * stack; elsewhere, or with FIBRE_PORTABLE defined, ucontext does it (which costs two system calls a switch).
 */
#pragma once

#include "base/util.h"

#if !defined(FIBRE_PORTABLE) && !defined(__x86_64__) && !defined(__aarch64__)
#define FIBRE_PORTABLE 1
#endif

#ifdef FIBRE_PORTABLE
#include <ucontext.h>
struct fibre_context {
        ucontext_t uc;
};
#else
struct fibre_context {
        void *sp;
};
#endif

/* Prepares CTX so that the first switch to it calls entry(arg) on the stack STACK .. STACK + SIZE (16-aligned top).
 * ENTRY must not return. */
void fibre_context_init(struct fibre_context *ctx, void *stack, size_t size, void (*entry)(void *arg), void *arg);
/* Saves the running flow in FROM and continues TO. Returns when something switches to FROM. */
void fibre_context_switch(struct fibre_context *from, struct fibre_context *to);
