/* FP16 of CUDA C++ for the emulator: an operation on halves is the one of F32, rounded once; that
 * is the exact result rounded, for F32 has more than twice the digits and two. */
#pragma once

#ifdef __cplusplus
#    include "src/base/half.h"
#    include "tests/emu/arithmetic.cuh"

struct alignas(2) __half {
    uint16_t bits;
    __half() = default;
    __half(float value) : bits(vlmp_f32_to_f16(value)) {}
    __half(double value) : bits(vlmp_f32_to_f16(static_cast<float>(value))) {}
    __half(int value) : bits(vlmp_f32_to_f16(static_cast<float>(value))) {}
    operator float() const { return vlmp_f16_to_f32(bits); }
};

struct alignas(4) __half2 {
    __half x, y;
    __half2() = default;
    __half2(__half low, __half high) : x(low), y(high) {}
};

typedef __half half;
typedef __half2 half2;

#    define EMU_SCALAR __half
#    define EMU_PAIR   __half2
#    include "tests/emu/halves.cuh"
#    undef EMU_SCALAR
#    undef EMU_PAIR

inline __half __float2half(float x)
{
    return __half(x);
}
inline __half __float2half_rn(float x)
{
    return __half(x);
}
inline float __half2float(__half x)
{
    return x;
}
inline float2 __half22float2(__half2 x)
{
    return {x.x, x.y};
}
inline __half2 __float22half2_rn(float2 x)
{
    return {__half(x.x), __half(x.y)};
}
inline __half2 __floats2half2_rn(float x, float y)
{
    return {__half(x), __half(y)};
}
inline __half2 __float2half2_rn(float x)
{
    return {__half(x), __half(x)};
}
inline __half2 __half2half2(__half x)
{
    return {x, x};
}
inline __half2 __halves2half2(__half x, __half y)
{
    return {x, y};
}
inline __half __low2half(__half2 x)
{
    return x.x;
}
inline __half __high2half(__half2 x)
{
    return x.y;
}
inline float __low2float(__half2 x)
{
    return x.x;
}
inline float __high2float(__half2 x)
{
    return x.y;
}
inline unsigned short __half_as_ushort(__half x)
{
    return x.bits;
}
inline short __half_as_short(__half x)
{
    return static_cast<short>(x.bits);
}
inline __half __ushort_as_half(unsigned short bits)
{
    return emu::bits_as<__half>(bits);
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
