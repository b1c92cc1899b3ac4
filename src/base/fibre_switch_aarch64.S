/* The fibre switch for aarch64, AAPCS64.
 *
 * Saved: x19-x28, the frame pointer, the link register and the low halves of v8-v15. The frame is struct first_frame in
 * fibre_context.c: 160 bytes, so the stack stays 16-aligned.
 */
        .text
        .globl  fibre_switch
        .hidden fibre_switch
        .type   fibre_switch, %function
        .p2align 4
/* void fibre_switch(void **save, void *load) */
fibre_switch:
        .cfi_startproc
        sub     sp, sp, #160
        stp     x19, x20, [sp, #0]
        stp     x21, x22, [sp, #16]
        stp     x23, x24, [sp, #32]
        stp     x25, x26, [sp, #48]
        stp     x27, x28, [sp, #64]
        stp     x29, x30, [sp, #80]
        stp     d8, d9, [sp, #96]
        stp     d10, d11, [sp, #112]
        stp     d12, d13, [sp, #128]
        stp     d14, d15, [sp, #144]
        mov     x9, sp
        str     x9, [x0]
        mov     sp, x1
        ldp     x19, x20, [sp, #0]
        ldp     x21, x22, [sp, #16]
        ldp     x23, x24, [sp, #32]
        ldp     x25, x26, [sp, #48]
        ldp     x27, x28, [sp, #64]
        ldp     x29, x30, [sp, #80]
        ldp     d8, d9, [sp, #96]
        ldp     d10, d11, [sp, #112]
        ldp     d12, d13, [sp, #128]
        ldp     d14, d15, [sp, #144]
        add     sp, sp, #160
        br      x30
        .cfi_endproc
        .size   fibre_switch, . - fibre_switch

        .globl  fibre_switch_entry
        .hidden fibre_switch_entry
        .type   fibre_switch_entry, %function
        .p2align 4
fibre_switch_entry:
        .cfi_startproc
        .cfi_undefined x30
        mov     x29, xzr
        mov     x30, xzr
        mov     x0, x20
        blr     x19
        brk     #1
        .cfi_endproc
        .size   fibre_switch_entry, . - fibre_switch_entry

        .section .note.GNU-stack, "", %progbits
