/* Fibers: a switch saves what the System V ABI lets a function keep, and takes another stack. */
#include "tests/emu/internal.h"

#if defined(__x86_64__)

/* void vlmp_emu_switch(void **save, void *to): pushes the kept registers, stores the stack pointer
 * and goes on where `to` was stored. Rounding modes are the same everywhere and stay. */
asm(R"(
    .text
    .globl vlmp_emu_switch
    .hidden vlmp_emu_switch
    .type vlmp_emu_switch, @function
vlmp_emu_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
    .size vlmp_emu_switch, .-vlmp_emu_switch

    .globl vlmp_emu_enter
    .hidden vlmp_emu_enter
    .type vlmp_emu_enter, @function
vlmp_emu_enter:
    movq %r12, %rdi
    callq *%r13
    ud2
    .size vlmp_emu_enter, .-vlmp_emu_enter
)");

extern "C" void vlmp_emu_enter(void);

namespace emu {

/* The stack looks as if it had switched away just before vlmp_emu_enter, with entry in r13 and arg
 * in r12. At that function's first instruction the stack is a multiple of 16: its call makes the
 * entry see what the ABI promises. */
void *fiber_make(void *stack, size_t bytes, void (*entry)(void *), void *arg)
{
    uintptr_t top = (reinterpret_cast<uintptr_t>(stack) + bytes) & ~static_cast<uintptr_t>(15);
    uintptr_t *words = reinterpret_cast<uintptr_t *>(top) - 9; /* 6 registers, the return, 2 free */
    words[0] = 0;                                              /* r15 */
    words[1] = 0;                                              /* r14 */
    words[2] = reinterpret_cast<uintptr_t>(entry);             /* r13 */
    words[3] = reinterpret_cast<uintptr_t>(arg);               /* r12 */
    words[4] = 0;                                              /* rbx */
    words[5] = 0;                                              /* rbp */
    words[6] = reinterpret_cast<uintptr_t>(&vlmp_emu_enter);
    words[7] = words[8] = 0;
    return words;
}

} // namespace emu

#else

#    include <cstdlib>
#    include <ucontext.h>

/* Elsewhere the C library's contexts do it, more slowly. */
namespace emu {

struct context {
    ucontext_t at;
    void (*entry)(void *);
    void *arg;
};

static context *starting;

static void enter()
{
    context *it = starting;
    it->entry(it->arg);
    abort();
}

void *fiber_make(void *stack, size_t bytes, void (*entry)(void *), void *arg)
{
    context *it = static_cast<context *>(stack); /* at the low end, below the stack proper */
    getcontext(&it->at);
    it->at.uc_stack.ss_sp = static_cast<char *>(stack) + sizeof *it;
    it->at.uc_stack.ss_size = bytes - sizeof *it;
    it->entry = entry;
    it->arg = arg;
    makecontext(&it->at, enter, 0);
    return it;
}

} // namespace emu

extern "C" void vlmp_emu_switch(void **save, void *to)
{
    static emu::context host; /* of the scheduler, which has no stack of ours */
    emu::context *from = static_cast<emu::context *>(*save);
    if (from == nullptr) *save = from = &host;
    emu::starting = static_cast<emu::context *>(to);
    swapcontext(&from->at, &emu::starting->at);
}

#endif
