/* BF16 of CUDA C++ for the emulator; as cuda_fp16.h. */
#pragma once

#ifdef __cplusplus
#    include "src/base/half.h"
#    include "tests/emu/arithmetic.cuh"

struct alignas(2) __nv_bfloat16 {
    uint16_t bits;
    __nv_bfloat16() = default;
    __nv_bfloat16(float value) : bits(vlmp_f32_to_bf16(value)) {}
    __nv_bfloat16(double value) : bits(vlmp_f32_to_bf16(static_cast<float>(value))) {}
    __nv_bfloat16(int value) : bits(vlmp_f32_to_bf16(static_cast<float>(value))) {}
    operator float() const { return vlmp_bf16_to_f32(bits); }
};

struct alignas(4) __nv_bfloat162 {
    __nv_bfloat16 x, y;
    __nv_bfloat162() = default;
    __nv_bfloat162(__nv_bfloat16 low, __nv_bfloat16 high) : x(low), y(high) {}
};

typedef __nv_bfloat16 nv_bfloat16;
typedef __nv_bfloat162 nv_bfloat162;

#    define EMU_SCALAR __nv_bfloat16
#    define EMU_PAIR   __nv_bfloat162
#    include "tests/emu/halves.cuh"
#    undef EMU_SCALAR
#    undef EMU_PAIR

inline __nv_bfloat16 __float2bfloat16(float x)
{
    return __nv_bfloat16(x);
}
inline __nv_bfloat16 __float2bfloat16_rn(float x)
{
    return __nv_bfloat16(x);
}
inline float __bfloat162float(__nv_bfloat16 x)
{
    return x;
}
inline float2 __bfloat1622float2(__nv_bfloat162 x)
{
    return {x.x, x.y};
}
inline __nv_bfloat162 __float22bfloat162_rn(float2 x)
{
    return {__nv_bfloat16(x.x), __nv_bfloat16(x.y)};
}
inline __nv_bfloat162 __floats2bfloat162_rn(float x, float y)
{
    return {__nv_bfloat16(x), __nv_bfloat16(y)};
}
inline __nv_bfloat162 __float2bfloat162_rn(float x)
{
    return {__nv_bfloat16(x), __nv_bfloat16(x)};
}
inline __nv_bfloat162 __bfloat162bfloat162(__nv_bfloat16 x)
{
    return {x, x};
}
inline __nv_bfloat162 __halves2bfloat162(__nv_bfloat16 x, __nv_bfloat16 y)
{
    return {x, y};
}
inline __nv_bfloat16 __low2bfloat16(__nv_bfloat162 x)
{
    return x.x;
}
inline __nv_bfloat16 __high2bfloat16(__nv_bfloat162 x)
{
    return x.y;
}
inline float __low2float(__nv_bfloat162 x)
{
    return x.x;
}
inline float __high2float(__nv_bfloat162 x)
{
    return x.y;
}
inline unsigned short __bfloat16_as_ushort(__nv_bfloat16 x)
{
    return x.bits;
}
inline __nv_bfloat16 __ushort_as_bfloat16(unsigned short bits)
{
    return emu::bits_as<__nv_bfloat16>(bits);
}
#endif
