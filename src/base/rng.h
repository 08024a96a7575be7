/* SplitMix64 (Steele, Lea, Flood 2014): small, seedable, the same on every machine. */
#pragma once

#include <stdint.h>

typedef struct {
    uint64_t state;
} vlmp_rng;

static inline uint64_t vlmp_rng_next(vlmp_rng *rng)
{
    uint64_t z = rng->state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* Uniform in [0, 1). */
static inline double vlmp_rng_uniform(vlmp_rng *rng)
{
    return (double)(vlmp_rng_next(rng) >> 11) * 0x1p-53;
}

/* Uniform in 0 … n-1; n > 0. The bias of the modulus is below n·2^-64. */
static inline uint64_t vlmp_rng_below(vlmp_rng *rng, uint64_t n)
{
    return vlmp_rng_next(rng) % n;
}
