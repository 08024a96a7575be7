/* Products of few rows with packed weights: how codes and inputs meet. Private to a level's files.
 *
 * A block is two vectors of codes; each of its LANES lanes holds 8 consecutive bytes, 16 (4 bits)
 * or 8 (8 bits) inputs; of 3 bits one vector of low bits and half a vector of high ones, 16 inputs
 * a lane. Inputs become integers first, once a call, so that codes meet them in 8-bit
 * dot products:
 *  - int8 activations: one code, one scale a row;
 *  - float activations: x = 2^e·(65536·d2 + 256·d1 + d0), three signed 8-bit digits, e per lane
 * from its largest |x|, so |error| ≤ 2⁻²³·1.004·largest |x| of the lane (about F32's own rounding).
 * A lane's sum is exact in integers; it is then scaled and added in F32. */
#pragma once

#include "kernels/cpu/simd.h"

/* A prepared row: 64 bytes that start with the row's scale, then for each block its digit vectors
 * (for each digit one for each part of the codes, see load_codes), the negated sums of its lanes,
 * and with three digits the scales of its lanes. 8-bit codes with three digits have two vectors of
 * sums: of 256·d2 + d1 and of d0, since the whole would not fit 32 bits. */
enum { HEADER = 64 };

/* Vectors that a block's codes unpack to. */
INLINE int parts_of(int bits)
{
    return bits == 8 ? 2 : 4;
}

INLINE int lane_inputs(int bits)
{
    return bits == 8 ? 8 : 16;
}

INLINE int block_inputs(int bits)
{
    return LANES * lane_inputs(bits);
}

enum { MOST_INPUTS = LANES * 16 };

/* Bytes of a block's codes, of 3 bits those of their first plane: the second has half as many. */
INLINE int block_codes(int bits)
{
    return bits == 3 ? VECTOR_BYTES : 2 * VECTOR_BYTES;
}

/* Bytes of so many codes, or of their low bits. */
INLINE int code_bytes(int inputs, int bits)
{
    return bits == 3 ? (inputs + 3) / 4 : (inputs * bits + 7) / 8;
}

INLINE int zero_bits(int bits)
{
    return bits == 8 ? 8 : 4;
}

/* The first input of a block that lane `lane` holds; of 4 and 8 bits from the order of vi_even. */
INLINE int lane_first(int lane, int bits)
{
    if (bits == 3) return lane * 16;
    return (lane / 2 % 2 * VECTOR_BYTES + lane / 4 * 16 + lane % 2 * 8) * 8 / bits;
}

INLINE int digit_vectors(int bits, int digits)
{
    return digits * parts_of(bits);
}

INLINE size_t block_bytes(int bits, int digits)
{
    int sums = bits == 8 && digits == 3 ? 2 : 1;
    return (size_t)(digit_vectors(bits, digits) + sums + (digits == 3)) * VECTOR_BYTES;
}
