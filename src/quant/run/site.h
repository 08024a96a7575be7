/* The linears behind one site: from second moments of its input to packed codes. */
#pragma once

#include "src/quant/method/moments.h"
#include "src/quant/run/driver.h"
#include "src/quant/scheme/packed_arrays.h"

/* One linear to be quantized. */
typedef struct {
    const vlmp_linear_info *info;
    const vlmp_plan_entry *entry;
    const float *w;     /* [n][k], AWQ's scales folded in */
    const float *plain; /* [n][k] without those of the site; w where there are none */
    float global_scale; /* of its scales, where they have one; else 1 */
    double missed[2];   /* vlmp_missed_take's, where the original outputs are the target */
} vlmp_target;

/* Linears that share AWQ's scales, or a single one. */
typedef struct {
    const vlmp_target *targets;
    int count;
    /* Of the inputs as they are now, for w; used up where there are scales. NULL for methods that
     * need none. */
    vlmp_moments *moments;
    const float *scales; /* [k] AWQ's, by which those inputs are divided; NULL */
} vlmp_target_group;

/* Quantizes each, judges all together against round to nearest on the held-out moments, packs.
 * *reverted: round to nearest of plain was better, so the caller takes the scales back.
 * packed[count], results[count]. */
int vlmp_quantize_group(const vlmp_quantize_job *job, const vlmp_target_group *group,
                        vlmp_packed_arrays *packed, vlmp_linear_result *results, bool *reverted,
                        vlmp_error *err);
