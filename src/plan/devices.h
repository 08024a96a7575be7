/* What devices can do, by their makers' data sheets. */
#pragma once

#include "src/base/error.h"
#include "src/plan/formulas.h"

typedef struct {
    char name[64]; /* as asked for */
    int count;     /* that share the work; rates and memory are those of all */
    vlmp_rates rates;
    double memory;      /* bytes; 0: not said */
    const char *source; /* of the figures; NULL: the user's, or measured */
} vlmp_plan_device;

/* "a100-40g", "2xa100-40g", "bandwidth=1555G,flops=312T,int8=624T,memory=40G" (powers of 1000;
 * bandwidth and flops must be said). Others are VLMP_ERR_USAGE. */
int vlmp_plan_device_read(vlmp_plan_device *out, const char *spec, vlmp_error *err);

/* The table, for who lists it: NULL behind the last. */
typedef struct {
    const char *name;
    double bandwidth, flops, int8, memory;
    const char *source;
} vlmp_device_row;
const vlmp_device_row *vlmp_device_at(int index);
