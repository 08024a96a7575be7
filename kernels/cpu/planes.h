/* Codes of 3 bits: 16 of them a lane, from both planes. Private to a level's files. */
#pragma once

#include "kernels/cpu/simd.h"

/* Each lane's 16 codes from the 4 bytes that hold their low bits and the 2 bytes, zero-extended,
 * of their high bits: byte j of codes[p] is code 4·j + p. */
INLINE void unpack_planes(vint *codes, vint low, vint high)
{
    const vint two = vi_set8(3), third = vi_set8(4);
    /* Four high bits a byte, where the first one stands third. */
    high = vi_and(vi_or(high, vi_shl(high, 8)), vi_set(0x00ff00ff));
    high = vi_or(vi_shl(high, 2), vi_shl(high, 6));
    codes[0] = vi_or(vi_and(low, two), vi_and(high, third));
    codes[1] = vi_or(vi_and(vi_shr(low, 2), two), vi_and(vi_shr(high, 1), third));
    codes[2] = vi_or(vi_and(vi_shr(low, 4), two), vi_and(vi_shr(high, 2), third));
    codes[3] = vi_or(vi_and(vi_shr(low, 6), two), vi_and(vi_shr(high, 3), third));
}
