/* Products of few rows with packed weights: how codes and inputs meet. Private to a level's files.
 *
 * A block is two vectors of codes; each of its LANES lanes holds 8 consecutive bytes, 16 (4 bits)
 * or 8 (8 bits) inputs. Inputs become integers first, once a call, so that codes meet them in 8-bit
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
enum { HEADER = 64, BLOCK_BYTES = 2 * VECTOR_BYTES };

/* Vectors that a block's codes unpack to. */
INLINE int parts_of(int bits)
{
    return bits == 4 ? 4 : 2;
}

INLINE int block_inputs(int bits)
{
    return BLOCK_BYTES * 8 / bits;
}

INLINE int lane_inputs(int bits)
{
    return 64 / bits;
}

/* The first of the 8 bytes of a block that lane `lane` holds, from the order of vi_even. */
INLINE int lane_byte(int lane)
{
    return lane / 2 % 2 * VECTOR_BYTES + lane / 4 * 16 + lane % 2 * 8;
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
