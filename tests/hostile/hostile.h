/* A second implementation of the table in kernels/ops.h, which does what a device may do and a
 * processor never does. It computes with the reference's operations, so that results have the
 * reference's bits, and is linked into tests alone. It proves that nothing above the interface
 * takes a context's memory for the host's:
 *
 *  - memory can be touched while an operation runs that was given it, else a touch is a SIGSEGV; a
 *    page that is never readable follows each allocation, whose end lies against it; addresses are
 *    not used twice, so that what was freed stays unreadable;
 *  - operations run when the host reads, waits or destroys, from copies of what the contract lets
 *    them read before their call returns;
 *  - activations are wider than F32, so that only the context can convert them;
 *  - weights, steps and stores are numbers whose contents the host never sees.
 *
 * What a caller does wrong is reported with the operation's name, and the operation dropped:
 * addresses that are none of its memory or too close to its end, weights that were not prepared
 * here or have changed since, what was freed, steps that do not fit, calls between replay and
 * replay_end that are not those of the last time or may not be there, and at the end what is left.
 */
#pragma once

#include "kernels/ops.h"

typedef void vlmp_hostile_report(void *arg, const char *message);

/* report NULL: a message on stderr and abort. Free with vlmp_ctx_free. */
int vlmp_hostile_ctx_create(vlmp_ctx **ctx, vlmp_pool *pool, vlmp_hostile_report *report, void *arg,
                            vlmp_error *err);

/* The device fails: the reads-th read or sync from here on returns VLMP_ERR_SYSTEM with
 * VLMP_HOSTILE_ERROR, and fills what it should have read with ones. 0: none does. */
#define VLMP_HOSTILE_ERROR "the device failed"
void vlmp_hostile_fail_after(vlmp_ctx *ctx, int reads);

/* Reads and syncs so far. */
int vlmp_hostile_reads(const vlmp_ctx *ctx);
