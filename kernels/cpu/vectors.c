/* Norms, activations and the parts of attention. Compiled once a level. */
#include <math.h>

#include "kernels/cpu/functions.h"
#include "kernels/cpu/level.h"

/* Loads of the first `lanes` lanes: all of them but at the end of a row. */
INLINE vfloat load(const float *p, int lanes)
{
    return lanes == LANES ? vf_load(p) : vf_load_part(p, lanes);
}

INLINE void store(float *p, vfloat x, int lanes)
{
    if (lanes == LANES)
        vf_store(p, x);
    else
        vf_store_part(p, x, lanes);
}

/* for each vector: i is its first element, lanes how many it has. */
#define FOR_VECTORS(i, lanes, count)                                                             \
    for (int i = 0, lanes; i < (count) && (lanes = (count)-i < LANES ? (count)-i : LANES, true); \
         i += LANES)

INLINE float dot(const float *a, const float *b, int count)
{
    vfloat even = vf_zero();
    vfloat odd = vf_zero();
    int i = 0;
    for (; i + 2 * LANES <= count; i += 2 * LANES) {
        even = vf_fma(vf_load(a + i), vf_load(b + i), even);
        odd = vf_fma(vf_load(a + i + LANES), vf_load(b + i + LANES), odd);
    }
    for (; i < count; i += LANES) {
        int lanes = count - i < LANES ? count - i : LANES;
        even = vf_fma(load(a + i, lanes), load(b + i, lanes), even);
    }
    return vf_sum(vf_add(even, odd));
}

void LEVEL_NAME(dots)(float *s, float factor, const float *q, const float *k, size_t stride,
                      int count, int dim)
{
    for (int j = 0; j < count; j++)
        s[j] = factor * dot(q, k + (size_t)j * stride, dim);
}

/* WIDTH vectors of o in registers over all rows. */
INLINE void weighted_columns(float *o, float factor, const float *p, const float *v, size_t stride,
                             int count, const int width, int lanes)
{
    vfloat sums[4];
    for (int c = 0; c < width; c++)
        sums[c] = vf_mul(load(o + c * LANES, lanes), vf_set(factor));
    for (int j = 0; j < count; j++) {
        vfloat weight = vf_set(p[j]);
        for (int c = 0; c < width; c++)
            sums[c] = vf_fma(weight, load(v + (size_t)j * stride + c * LANES, lanes), sums[c]);
    }
    for (int c = 0; c < width; c++)
        store(o + c * LANES, sums[c], lanes);
}

void LEVEL_NAME(weighted_sum)(float *o, float factor, const float *p, const float *v, size_t stride,
                              int count, int dim)
{
    int i = 0;
    for (; i + 4 * LANES <= dim; i += 4 * LANES)
        weighted_columns(o + i, factor, p, v + i, stride, count, 4, LANES);
    for (; i + LANES <= dim; i += LANES)
        weighted_columns(o + i, factor, p, v + i, stride, count, 1, LANES);
    if (i < dim) weighted_columns(o + i, factor, p, v + i, stride, count, 1, dim - i);
}

void LEVEL_NAME(scale)(float *y, float factor, int count)
{
    FOR_VECTORS (i, lanes, count)
        store(y + i, vf_mul(load(y + i, lanes), vf_set(factor)), lanes);
}

float LEVEL_NAME(exp_sum)(float *x, float largest, int count)
{
    vfloat sum = vf_zero();
    int i = 0;
    for (; i + LANES <= count; i += LANES) {
        vfloat value = vf_exp(vf_sub(vf_load(x + i), vf_set(largest)));
        vf_store(x + i, value);
        sum = vf_add(sum, value);
    }
    if (i < count) {
        vfloat value = vf_exp(vf_sub(vf_load_part(x + i, count - i), vf_set(largest)));
        vf_store_part(x + i, value, count - i);
        sum = vf_add(sum, vf_load_part(x + i, count - i));
    }
    return vf_sum(sum);
}

float LEVEL_NAME(largest)(const float *x, int count)
{
    vfloat largest = vf_set(-INFINITY);
    int i = 0;
    for (; i + LANES <= count; i += LANES)
        largest = vf_max(largest, vf_load(x + i));
    float result = vf_largest(largest);
    for (; i < count; i++)
        result = x[i] > result ? x[i] : result;
    return result;
}

void LEVEL_NAME(rms_norm)(float *y, const float *x, int dim, const float *weight, float eps)
{
    vfloat factor = vf_set(1 / sqrtf(dot(x, x, dim) / (float)dim + eps));
    FOR_VECTORS (i, lanes, dim)
        store(y + i, vf_mul(vf_mul(load(x + i, lanes), factor), load(weight + i, lanes)), lanes);
}

void LEVEL_NAME(layer_norm)(float *y, const float *x, int dim, const float *weight,
                            const float *bias, float eps)
{
    vfloat sum = vf_zero();
    FOR_VECTORS (i, lanes, dim)
        sum = vf_add(sum, load(x + i, lanes));
    vfloat mean = vf_set(vf_sum(sum) / (float)dim);
    vfloat squares = vf_zero();
    int i = 0;
    for (; i + LANES <= dim; i += LANES) {
        vfloat difference = vf_sub(vf_load(x + i), mean);
        squares = vf_fma(difference, difference, squares);
    }
    float variance = vf_sum(squares);
    for (; i < dim; i++) {
        float difference = x[i] - vf_largest(mean);
        variance += difference * difference;
    }
    vfloat factor = vf_set(1 / sqrtf(variance / (float)dim + eps));
    FOR_VECTORS (j, lanes, dim) {
        vfloat normal = vf_mul(vf_sub(load(x + j, lanes), mean), factor);
        store(y + j, vf_fma(normal, load(weight + j, lanes), load(bias + j, lanes)), lanes);
    }
}

INLINE void activate(float *x, int count, const vlmp_activation act)
{
    FOR_VECTORS (i, lanes, count)
        store(x + i, vf_act(load(x + i, lanes), act), lanes);
}

void LEVEL_NAME(activate)(float *x, int count, vlmp_activation act)
{
    switch (act) {
    case VLMP_GELU:
        activate(x, count, VLMP_GELU);
        break;
    case VLMP_GELU_TANH:
        activate(x, count, VLMP_GELU_TANH);
        break;
    case VLMP_QUICK_GELU:
        activate(x, count, VLMP_QUICK_GELU);
        break;
    case VLMP_SILU:
        activate(x, count, VLMP_SILU);
        break;
    case VLMP_RELU:
        activate(x, count, VLMP_RELU);
        break;
    }
}

INLINE void gated(float *gate, const float *up, int count, const vlmp_activation act)
{
    FOR_VECTORS (i, lanes, count)
        store(gate + i, vf_mul(vf_act(load(gate + i, lanes), act), load(up + i, lanes)), lanes);
}

void LEVEL_NAME(gated)(float *gate, const float *up, int count, vlmp_activation act)
{
    switch (act) {
    case VLMP_GELU:
        gated(gate, up, count, VLMP_GELU);
        break;
    case VLMP_GELU_TANH:
        gated(gate, up, count, VLMP_GELU_TANH);
        break;
    case VLMP_QUICK_GELU:
        gated(gate, up, count, VLMP_QUICK_GELU);
        break;
    case VLMP_SILU:
        gated(gate, up, count, VLMP_SILU);
        break;
    case VLMP_RELU:
        gated(gate, up, count, VLMP_RELU);
        break;
    }
}

void LEVEL_NAME(add)(float *y, const float *x, int count)
{
    FOR_VECTORS (i, lanes, count)
        store(y + i, vf_add(load(y + i, lanes), load(x + i, lanes)), lanes);
}
