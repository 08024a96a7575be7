/* FP16 of CUDA C++ for the emulator: an operation on halves is the one of F32, rounded once; that
 * is the exact result rounded, for F32 has more than twice the digits and two. */
#pragma once

#ifdef __cplusplus
#    include "src/base/half.h"
#    include "tests/emu/arithmetic.cuh"

#    define EMU_SCALAR   __half
#    define EMU_PAIR     __half2
#    define EMU_WORD     half
#    define EMU_FROM_F32 vlmp_f32_to_f16
#    define EMU_TO_F32   vlmp_f16_to_f32
#    include "tests/emu/halves.cuh"

typedef __half half;
typedef __half2 half2;

inline short __half_as_short(__half x)
{
    return static_cast<short>(x.bits);
}
inline __half __short_as_half(short bits)
{
    return emu::bits_as<__half>(bits);
}
inline __half __int2half_rn(int x)
{
    return __half(x);
}
#endif
