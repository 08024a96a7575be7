#include "tools/interrupt.h"

#include <stddef.h>
#include <unistd.h>

static volatile sig_atomic_t arrived;

static void on_signal(int number)
{
    if (arrived != 0) _exit(128 + number);
    arrived = number;
}

void vlmp_interrupt_install(void)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

int vlmp_interrupted(void)
{
    return arrived;
}

const volatile sig_atomic_t *vlmp_interrupt_flag(void)
{
    return &arrived;
}
