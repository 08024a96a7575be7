/* Broken kernels, each of which the harness must report. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "tests/kcheck/kcheck.h"

enum { COUNT = 37 };

typedef enum {
    SOUND,
    DROPPED_TAIL,
    OVERRUN,
    UNDERRUN,
    INPUT_WRITE,
    STALE_OUTPUT,
    WRONG_ROW,
    TOO_INEXACT,
    NOT_REPEATABLE,
    THREAD_DEPENDENT,
    FAULTS,
} fault;

static const char *const fault_names[FAULTS] = {
    "sound",        "a dropped tail", "an overrun",     "an underrun",      "a write to an input",
    "stale output", "a wrong row",    "an inexact sum", "other bits again", "bits by thread count"};

struct doubled {
    float *x; /* an input, yet a broken kernel can write it */
    fault fault;
    int *calls;
};

/* out = 2·x, with a fault. */
static void run_doubled(vlmp_ctx *ctx, float *out, const void *arg)
{
    const struct doubled *d = arg;
    int end = d->fault == DROPPED_TAIL ? COUNT - 1 : COUNT;
    for (int i = 0; i < end; i++)
        if (d->fault != STALE_OUTPUT || i != 7)
            out[i] = 2 * d->x[d->fault == WRONG_ROW ? i ^ 1 : i];
    if (d->fault == WRONG_ROW) out[COUNT - 1] = 2 * d->x[COUNT - 1];
    if (d->fault == OVERRUN) out[COUNT] = 0;
    if (d->fault == UNDERRUN) out[-1] = 0;
    if (d->fault == INPUT_WRITE) d->x[3] = 1;
    if (d->fault == TOO_INEXACT) out[5] *= 1 + 0x1p-20f;
    if (d->fault == NOT_REPEATABLE && (*d->calls)++ > 0) out[5] = nextafterf(out[5], 100);
    if (d->fault == THREAD_DEPENDENT && vlmp_pool_threads(ctx->pool) == 3)
        out[5] = nextafterf(out[5], 100);
}

void kc_check_self(kc *k)
{
    for (int f = SOUND; f < FAULTS; f++) {
        kc_begin(k, fault_names[f]);
        int calls = 0;
        struct doubled d = {kc_floats(k, COUNT + 1, KC_NORMAL), (fault)f, &calls};
        double expected[COUNT], bound[COUNT];
        for (int i = 0; i < COUNT; i++) {
            expected[i] = 2 * d.x[i];
            bound[i] = 2 * KC_UNIT * fabs(expected[i]);
        }
        kc_case c = {"self", run_doubled, &d, COUNT, NULL, expected, bound};
        int failures = k->failures;
        k->quiet = true;
        bool passed = kc_check(k, &c);
        k->quiet = false;
        k->failures = failures;
        if (passed != (f == SOUND)) {
            char what[96];
            snprintf(what, sizeof what, "%s is %s", fault_names[f],
                     f == SOUND ? "reported" : "not reported");
            kc_fail(k, "self", what);
        }
    }
}
