/* What vlm-doctor finds about a machine. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "src/base/error.h"
#include "src/base/parallel.h"

typedef enum {
    VLMP_FINDING_GOOD,
    VLMP_FINDING_NOTE, /* works, and could be better */
    VLMP_FINDING_BAD,  /* commands fail, or take many times as long */
} vlmp_finding_state;

/* A measured value, for --json. */
typedef struct {
    const char *key;
    double value;
} vlmp_finding_value;

#define VLMP_FINDING_VALUES 4

typedef struct {
    const char *name; /* "memory" */
    vlmp_finding_state state;
    char text[512];   /* what is there */
    char advice[512]; /* what to do; empty where there is nothing to do */
    vlmp_finding_value values[VLMP_FINDING_VALUES];
    int value_count;
} vlmp_finding;

#define VLMP_FINDINGS 12

typedef struct {
    vlmp_finding items[VLMP_FINDINGS];
    int count;
} vlmp_findings;

/* The next finding, good and without text. */
vlmp_finding *vlmp_findings_add(vlmp_findings *findings, const char *name);
__attribute__((format(printf, 2, 3))) void vlmp_finding_say(vlmp_finding *finding, const char *fmt,
                                                            ...);
/* Makes it no better than the state, and says what to do, behind what was said before. */
__attribute__((format(printf, 3, 4))) void
vlmp_finding_advise(vlmp_finding *finding, vlmp_finding_state state, const char *fmt, ...);
void vlmp_finding_value_of(vlmp_finding *finding, const char *key, double value);

/* Processor, threads, memory, disk, large pages, hub cache, locale. */
void vlmp_doctor_host(vlmp_findings *findings, int threads);

/* Kernels and BLAS, which multiplies a matrix on `pool` and is held against a plain loop; CUDA, on
 * a device that may be needed. */
void vlmp_doctor_kernels(vlmp_findings *findings, vlmp_pool *pool, int device, bool needed);

/* Processors' worth of time that a control group allows: of cpu.max ("200000 100000"), or of
 * version 1's quota and period. 0: no limit, or no such text. */
double vlmp_cpu_quota(const char *text);
