/* SIGINT and SIGTERM ask the program to stop at the next safe place; a second one ends it at once.
 */
#pragma once

#include <signal.h>

void vlmp_interrupt_install(void);

/* The signal that arrived, 0: none. The pointer may be given to layers that must not know tools/.
 */
int vlmp_interrupted(void);
const volatile sig_atomic_t *vlmp_interrupt_flag(void);
