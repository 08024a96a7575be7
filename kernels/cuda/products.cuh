/* What kernels of products share: what is asked for, inputs, and where results go. */
#pragma once

#include "kernels/cuda/cuda.h"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/weights.cuh"

/* Where results go. */
enum output { ACTIVATIONS, REPLACED, ADDED };

struct product {
    vlmp_cuda_weight w;
    const __half *x;     /* [rows][k] */
    const int8_t *codes; /* or the same as int8, rows of code_stride */
    const float *scales; /* [rows] */
    size_t code_stride;
    void *y; /* [rows][n] */
    int rows;
    output to;
};

static __device__ inline void store(const product &p, int row, int n, float sum)
{
    size_t at = (size_t)row * (size_t)p.w.n + (size_t)n;
    if (p.w.bias_at != NULL) sum += p.w.bias_at[n];
    if (p.to == ACTIVATIONS)
        ((__half *)p.y)[at] = __float2half_rn(sum);
    else
        ((float *)p.y)[at] = p.to == ADDED ? ((float *)p.y)[at] + sum : sum;
}

/* Inputs first … first + 7 of a row; 0 beyond the last of both. */
static __device__ inline void load_inputs(const product &p, int row, int first, float out[OCTET])
{
    const __half *x = p.x + (size_t)row * (size_t)p.w.k + (size_t)first;
    for (int i = 0; i < OCTET; i++)
        out[i] = row < p.rows && first + i < p.w.k ? __half2float(x[i]) : 0;
}

static __device__ inline void load_inputs(const product &p, int row, int first, int out[OCTET])
{
    const int8_t *x = p.codes + (size_t)row * p.code_stride + (size_t)first;
    for (int i = 0; i < OCTET; i++)
        out[i] = row < p.rows && first + i < p.w.k ? x[i] : 0;
}

/* F16 inputs and weights of up to 16 bits, on tensor cores. */
extern "C" void vlmp_cuda_tiles(vlmp_cuda *cuda, const product *p);

/* What is fast; false: of another shape. Rows of decoding, integer weights, F16 inputs … */
extern "C" bool vlmp_cuda_few(vlmp_cuda *cuda, const product *p);

/* … 8-bit integer weights and int8 inputs, … */
extern "C" bool vlmp_cuda_few8(vlmp_cuda *cuda, const product *p);

/* … and the same for rows of prompts; … */
extern "C" bool vlmp_cuda_tiles8(vlmp_cuda *cuda, const product *p);

/* … rows of prompts, F16 inputs, F16, BF16 or integer weights. */
extern "C" bool vlmp_cuda_tiles16(vlmp_cuda *cuda, const product *p);
