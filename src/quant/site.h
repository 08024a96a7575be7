/* The linears behind one site: from second moments of its input to packed codes. */
#pragma once

#include "src/quant/driver.h"
#include "src/quant/quantized.h"

/* Second moments of a site's inputs x. */
typedef struct {
    int k;
    float *gram; /* [k][k] Σ x·xᵀ over the samples that methods see; NULL: no statistics */
    float *held; /* [k][k] the same over the samples held out; NULL when there are none */
    /* [k][k] Σ (x₀ − x)·xᵀ, x₀ the input in the original model, over seen and held-out samples;
     * NULL: not wanted */
    float *cross, *held_cross;
} vlmp_moments;

int vlmp_moments_create(vlmp_moments *moments, int k, bool held, bool cross, vlmp_error *err);
void vlmp_moments_free(vlmp_moments *moments);

/* A quantized linear's bytes as the packed file stores them. */
typedef struct {
    uint8_t *codes;
    void *scales;
    uint8_t *zeros; /* NULL when symmetric */
} vlmp_packed_arrays;

void vlmp_packed_arrays_free(vlmp_packed_arrays *packed);

/* Points a linear at packed bytes: from now on it computes with them. */
void vlmp_linear_use_packed(vlmp_linear *linear, const vlmp_scheme *scheme,
                            const vlmp_packed_arrays *packed);

/* Puts name.codes, name.scales and name.zeros. */
int vlmp_put_packed(vlmp_sink *sink, const char *name, int n, int k, const vlmp_scheme *scheme,
                    const vlmp_packed_arrays *packed, vlmp_error *err);

/* One linear to be quantized. w [n][k]: the weights, AWQ's scales folded in. */
typedef struct {
    const vlmp_linear_info *info;
    const vlmp_plan_entry *entry;
    const float *w;
} vlmp_target;

/* Linears that share AWQ's scales, or a single one. */
typedef struct {
    const vlmp_target *targets;
    int count;
    const vlmp_moments
        *moments;        /* of the inputs as they are now; NULL for methods that need none */
    const float *scales; /* [k] AWQ's, by which those inputs are divided; NULL */
    bool can_revert;     /* the scales can still be taken out of what precedes the site */
} vlmp_target_group;

/* Quantizes each, judges all together against round to nearest on the held-out moments, packs.
 * *reverted: round to nearest of the unscaled weights was better, so the caller takes the scales
 * back. packed[count], results[count]. */
int vlmp_quantize_group(const vlmp_quantize_job *job, const vlmp_target_group *group,
                        vlmp_packed_arrays *packed, vlmp_linear_result *results, bool *reverted,
                        vlmp_error *err);
