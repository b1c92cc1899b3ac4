/* The fibre switch for x86-64, System V ABI.
 *
 * Saved: the callee-saved integer registers. The floating point control words belong to the ABI's callee-saved state too,
 * but this program never changes them. The frame is struct first_frame in fibre_context.c.
 */
        .text
        .globl  fibre_switch
        .hidden fibre_switch
        .type   fibre_switch, @function
        .p2align 4
/* void fibre_switch(void **save, void *load) */
fibre_switch:
        .cfi_startproc
        pushq   %rbp
        pushq   %rbx
        pushq   %r12
        pushq   %r13
        pushq   %r14
        pushq   %r15
        movq    %rsp, (%rdi)
        movq    %rsi, %rsp
        popq    %r15
        popq    %r14
        popq    %r13
        popq    %r12
        popq    %rbx
        popq    %rbp
        /* Not `ret`: the processor's return predictor knows the other fibre's callers. */
        popq    %rcx
        jmp     *%rcx
        .cfi_endproc
        .size   fibre_switch, . - fibre_switch

        .globl  fibre_switch_entry
        .hidden fibre_switch_entry
        .type   fibre_switch_entry, @function
        .p2align 4
fibre_switch_entry:
        .cfi_startproc
        .cfi_undefined rip
        xorl    %ebp, %ebp
        movq    %r13, %rdi
        andq    $-16, %rsp
        callq   *%r12
        ud2
        .cfi_endproc
        .size   fibre_switch_entry, . - fibre_switch_entry

        .section .note.GNU-stack, "", @progbits
