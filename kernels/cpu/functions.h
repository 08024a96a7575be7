/* exp and the activations on vectors. Polynomials: scripts/fit-approximations.py. */
#pragma once

#include "kernels/cpu/simd.h"
#include "kernels/ops.h"

/* Horner's rule, the highest power first. */
#define POLYNOMIAL(x, first, ...)                      \
    polynomial(x, (const float[]){first, __VA_ARGS__}, \
               (int)(sizeof((const float[]){first, __VA_ARGS__}) / sizeof(float)))

INLINE vfloat polynomial(vfloat x, const float *coefficients, int count)
{
    vfloat value = vf_set(coefficients[0]);
    for (int i = 1; i < count; i++)
        value = vf_fma(value, x, vf_set(coefficients[i]));
    return value;
}

/* eˣ within 2 ulp, subnormal results included; 0 below −104, infinity above 88.73. NaN stays NaN
 * because it is the second operand of min and max. */
INLINE vfloat vf_exp(vfloat x)
{
    x = vf_max(vf_set(-105), vf_min(vf_set(90), x));
    /* x = n·ln 2 + r; adding 1.5·2²³ rounds to an integer. */
    const vfloat magic = vf_set(12582912.0f);
    vfloat n = vf_sub(vf_fma(x, vf_set(1.44269504f), magic), magic);
    vfloat r = vf_fma(n, vf_set(-0.693359375f), x);
    r = vf_fma(n, vf_set(2.12194440e-4f), r);
    vfloat tail = POLYNOMIAL(r, 0.001393368816934526f, 0.008363205008208752f, 0.041666463017463684f,
                             0.16666576266288757f, 0.5f);
    vfloat value = vf_add(vf_fma(vf_mul(r, r), tail, r), vf_set(1));
    return vf_times_power(value, n); /* n is −152 … 130 */
}

/* x/(1 + e^(−z)). Where e^(−z) overflows the result is a zero. */
INLINE vfloat times_sigmoid(vfloat x, vfloat z)
{
    return vf_div(x, vf_add(vf_set(1), vf_exp(vf_sub(vf_zero(), z))));
}

/* max(x, 0) − |x|/2·erfc(|x|/√2). */
INLINE vfloat gelu(vfloat x)
{
    vfloat size = vf_max(vf_sub(vf_zero(), x), x);
    vfloat z = vf_min(vf_set(10), vf_mul(size, vf_set(0.707106781f)));
    vfloat s = vf_div(vf_sub(z, vf_set(3)), vf_add(z, vf_set(3)));
    vfloat p = POLYNOMIAL(s, -0.00027323959511704743f, -0.000789438490755856f,
                          0.0019969374407082796f, 0.002573590725660324f, -0.02379327081143856f,
                          0.06829477101564407f, -0.1192718967795372f, 0.12964646518230438f,
                          -0.047562338411808014f, -0.13562114536762238f, 1.2530080080032349f);
    vfloat erfc =
        vf_div(vf_mul(vf_exp(vf_sub(vf_zero(), vf_mul(z, z))), p), vf_fma(z, vf_set(2), vf_set(1)));
    return vf_sub(vf_max(vf_zero(), x), vf_mul(vf_mul(vf_set(0.5f), size), erfc));
}

INLINE vfloat vf_act(vfloat x, vlmp_activation act)
{
    switch (act) {
    case VLMP_GELU:
        return gelu(x);
    case VLMP_GELU_TANH: { /* x·sigmoid(2·√(2/π)·(x + 0.044715·x³)) */
        vfloat inner = vf_fma(vf_mul(vf_mul(x, x), vf_set(0.044715f)), x, x);
        return times_sigmoid(x, vf_mul(inner, vf_set(1.59576912f)));
    }
    case VLMP_QUICK_GELU:
        return times_sigmoid(x, vf_mul(x, vf_set(1.702f)));
    case VLMP_SILU:
        return times_sigmoid(x, x);
    case VLMP_RELU:
        return vf_max(vf_zero(), x);
    }
    return x;
}
