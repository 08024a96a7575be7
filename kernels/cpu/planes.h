/* Codes of 3 bits: 16 of them a lane, from both planes. Private to a level's files. */
#pragma once

#include "kernels/cpu/simd.h"

/* Each lane's 16 codes from the 4 bytes that hold their low bits and the 2 bytes, one in each half
 * of the lane, of their high bits: byte j of codes[p] is code 4·j + p. */
INLINE void unpack_planes(vint *codes, vint low, vint high)
{
    /* Four high bits a byte; where the first to fourth of them is set, 4. */
    const vint two = vi_set8(3), nibbles = vi_or_and(high, vi_shl(high, 4), vi_set8(15));
    const __m128i first = _mm_setr_epi8(0, 4, 0, 4, 0, 4, 0, 4, 0, 4, 0, 4, 0, 4, 0, 4);
    const __m128i second = _mm_setr_epi8(0, 0, 4, 4, 0, 0, 4, 4, 0, 0, 4, 4, 0, 0, 4, 4);
    const __m128i third = _mm_setr_epi8(0, 0, 0, 0, 4, 4, 4, 4, 0, 0, 0, 0, 4, 4, 4, 4);
    const __m128i fourth = _mm_setr_epi8(0, 0, 0, 0, 0, 0, 0, 0, 4, 4, 4, 4, 4, 4, 4, 4);
    codes[0] = vi_and_or(low, two, vi_pick16(first, nibbles));
    codes[1] = vi_and_or(vi_shr(low, 2), two, vi_pick16(second, nibbles));
    codes[2] = vi_and_or(vi_shr(low, 4), two, vi_pick16(third, nibbles));
    codes[3] = vi_and_or(vi_shr(low, 6), two, vi_pick16(fourth, nibbles));
}
