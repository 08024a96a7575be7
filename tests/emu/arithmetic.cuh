/* Vector types and arithmetic of CUDA C++, for the emulator. Functions that a device rounds in its
 * own way (__expf, rsqrtf, …) are the host's here: tests bound what the device may do. */
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

struct alignas(2) char2 {
    signed char x, y;
};
struct alignas(4) char4 {
    signed char x, y, z, w;
};
struct alignas(2) uchar2 {
    unsigned char x, y;
};
struct alignas(4) uchar4 {
    unsigned char x, y, z, w;
};
struct alignas(4) short2 {
    short x, y;
};
struct alignas(8) short4 {
    short x, y, z, w;
};
struct alignas(4) ushort2 {
    unsigned short x, y;
};
struct alignas(8) ushort4 {
    unsigned short x, y, z, w;
};
struct alignas(8) int2 {
    int x, y;
};
struct int3 {
    int x, y, z;
};
struct alignas(16) int4 {
    int x, y, z, w;
};
struct alignas(8) uint2 {
    unsigned x, y;
};
struct uint3 {
    unsigned x, y, z;
};
struct alignas(16) uint4 {
    unsigned x, y, z, w;
};
struct alignas(8) float2 {
    float x, y;
};
struct float3 {
    float x, y, z;
};
struct alignas(16) float4 {
    float x, y, z, w;
};
struct alignas(16) double2 {
    double x, y;
};
struct dim3 {
    unsigned x, y, z;
    constexpr dim3(unsigned xs = 1, unsigned ys = 1, unsigned zs = 1) : x(xs), y(ys), z(zs) {}
};

inline char4 make_char4(signed char x, signed char y, signed char z, signed char w)
{
    return {x, y, z, w};
}
inline uchar4 make_uchar4(unsigned char x, unsigned char y, unsigned char z, unsigned char w)
{
    return {x, y, z, w};
}
inline int2 make_int2(int x, int y)
{
    return {x, y};
}
inline int4 make_int4(int x, int y, int z, int w)
{
    return {x, y, z, w};
}
inline uint2 make_uint2(unsigned x, unsigned y)
{
    return {x, y};
}
inline uint3 make_uint3(unsigned x, unsigned y, unsigned z)
{
    return {x, y, z};
}
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w)
{
    return {x, y, z, w};
}
inline float2 make_float2(float x, float y)
{
    return {x, y};
}
inline float3 make_float3(float x, float y, float z)
{
    return {x, y, z};
}
inline float4 make_float4(float x, float y, float z, float w)
{
    return {x, y, z, w};
}
inline double2 make_double2(double x, double y)
{
    return {x, y};
}

namespace emu {

template <typename To, typename From> To bits_as(From from)
{
    static_assert(sizeof(To) == sizeof(From));
    To to;
    memcpy(&to, &from, sizeof to);
    return to;
}

/* To an integer, saturating; NaN gives 0, as on the device. */
template <typename To, typename From> To saturated(From value)
{
    constexpr To low = std::numeric_limits<To>::min(), high = std::numeric_limits<To>::max();
    if (!(value == value)) return 0;
    if (value <= static_cast<From>(low)) return low;
    if (value >= static_cast<From>(high)) return high;
    return static_cast<To>(value);
}

} // namespace emu

inline int min(int a, int b)
{
    return b < a ? b : a;
}
inline int max(int a, int b)
{
    return a < b ? b : a;
}
inline unsigned min(unsigned a, unsigned b)
{
    return b < a ? b : a;
}
inline unsigned max(unsigned a, unsigned b)
{
    return a < b ? b : a;
}
inline long long min(long long a, long long b)
{
    return b < a ? b : a;
}
inline long long max(long long a, long long b)
{
    return a < b ? b : a;
}
inline unsigned long long min(unsigned long long a, unsigned long long b)
{
    return b < a ? b : a;
}
inline unsigned long long max(unsigned long long a, unsigned long long b)
{
    return a < b ? b : a;
}
inline long min(long a, long b)
{
    return b < a ? b : a;
}
inline long max(long a, long b)
{
    return a < b ? b : a;
}
inline unsigned long min(unsigned long a, unsigned long b)
{
    return b < a ? b : a;
}
inline unsigned long max(unsigned long a, unsigned long b)
{
    return a < b ? b : a;
}
inline float min(float a, float b)
{
    return fminf(a, b);
}
inline float max(float a, float b)
{
    return fmaxf(a, b);
}
inline double min(double a, double b)
{
    return fmin(a, b);
}
inline double max(double a, double b)
{
    return fmax(a, b);
}

inline float rsqrtf(float x)
{
    return 1.0f / sqrtf(x);
}
inline double rsqrt(double x)
{
    return 1.0 / sqrt(x);
}
inline float __expf(float x)
{
    return expf(x);
}
inline float __logf(float x)
{
    return logf(x);
}
inline float __log2f(float x)
{
    return log2f(x);
}
inline float __sinf(float x)
{
    return sinf(x);
}
inline float __cosf(float x)
{
    return cosf(x);
}
inline float __powf(float x, float y)
{
    return powf(x, y);
}
inline float __fdividef(float x, float y)
{
    return x / y;
}
inline float __frcp_rn(float x)
{
    return 1.0f / x;
}
inline float __fsqrt_rn(float x)
{
    return sqrtf(x);
}
inline float __fadd_rn(float a, float b)
{
    return a + b;
}
inline float __fsub_rn(float a, float b)
{
    return a - b;
}
inline float __fmul_rn(float a, float b)
{
    return a * b;
}
inline float __fdiv_rn(float a, float b)
{
    return a / b;
}
inline float __fmaf_rn(float a, float b, float c)
{
    return fmaf(a, b, c);
}
inline double __dadd_rn(double a, double b)
{
    return a + b;
}
inline double __dmul_rn(double a, double b)
{
    return a * b;
}
inline double __fma_rn(double a, double b, double c)
{
    return fma(a, b, c);
}
inline float __saturatef(float x)
{
    return !(x > 0.0f) ? 0.0f : x > 1.0f ? 1.0f : x;
}

inline int __float2int_rn(float x)
{
    return emu::saturated<int>(nearbyintf(x));
}
inline int __float2int_rz(float x)
{
    return emu::saturated<int>(truncf(x));
}
inline int __float2int_rd(float x)
{
    return emu::saturated<int>(floorf(x));
}
inline int __float2int_ru(float x)
{
    return emu::saturated<int>(ceilf(x));
}
inline unsigned __float2uint_rn(float x)
{
    return emu::saturated<unsigned>(nearbyintf(x));
}
inline unsigned __float2uint_rz(float x)
{
    return emu::saturated<unsigned>(truncf(x));
}
inline int __double2int_rn(double x)
{
    return emu::saturated<int>(nearbyint(x));
}
inline float __int2float_rn(int x)
{
    return static_cast<float>(x);
}
inline float __uint2float_rn(unsigned x)
{
    return static_cast<float>(x);
}
inline float __double2float_rn(double x)
{
    return static_cast<float>(x);
}
inline int __float_as_int(float x)
{
    return emu::bits_as<int>(x);
}
inline unsigned __float_as_uint(float x)
{
    return emu::bits_as<unsigned>(x);
}
inline float __int_as_float(int x)
{
    return emu::bits_as<float>(x);
}
inline float __uint_as_float(unsigned x)
{
    return emu::bits_as<float>(x);
}
inline long long __double_as_longlong(double x)
{
    return emu::bits_as<long long>(x);
}
inline double __longlong_as_double(long long x)
{
    return emu::bits_as<double>(x);
}

inline int __popc(unsigned x)
{
    return __builtin_popcount(x);
}
inline int __popcll(unsigned long long x)
{
    return __builtin_popcountll(x);
}
inline int __clz(int x)
{
    return x == 0 ? 32 : __builtin_clz(static_cast<unsigned>(x));
}
inline int __ffs(int x)
{
    return __builtin_ffs(x);
}
inline unsigned __umulhi(unsigned a, unsigned b)
{
    return static_cast<unsigned>(static_cast<uint64_t>(a) * b >> 32);
}
inline int __mulhi(int a, int b)
{
    return static_cast<int>(static_cast<int64_t>(a) * b >> 32);
}

/* Byte i of the result is byte selector[4i … 4i + 2] of b:a, or its sign eight times (bit 4i + 3).
 */
inline unsigned __byte_perm(unsigned a, unsigned b, unsigned selector)
{
    const uint64_t bytes = static_cast<uint64_t>(b) << 32 | a;
    unsigned out = 0;
    for (unsigned i = 0; i < 4; i++) {
        const unsigned pick = selector >> 4 * i;
        unsigned byte = static_cast<unsigned>(bytes >> 8 * (pick & 7)) & 0xff;
        if ((pick & 8) != 0) byte = (byte & 0x80) != 0 ? 0xff : 0;
        out |= byte << 8 * i;
    }
    return out;
}

inline unsigned __funnelshift_r(unsigned low, unsigned high, unsigned by)
{
    return static_cast<unsigned>((static_cast<uint64_t>(high) << 32 | low) >> (by & 31));
}

inline unsigned __funnelshift_l(unsigned low, unsigned high, unsigned by)
{
    return static_cast<unsigned>((static_cast<uint64_t>(high) << 32 | low) << (by & 31) >> 32);
}

/* c + Σ of the four products of bytes; wraps. */
inline int __dp4a(int a, int b, int c)
{
    unsigned sum = static_cast<unsigned>(c);
    for (int i = 0; i < 4; i++)
        sum += static_cast<unsigned>(static_cast<int8_t>(a >> 8 * i) *
                                     static_cast<int8_t>(b >> 8 * i));
    return static_cast<int>(sum);
}

inline unsigned __dp4a(unsigned a, unsigned b, unsigned c)
{
    for (int i = 0; i < 4; i++)
        c += (a >> 8 * i & 0xff) * (b >> 8 * i & 0xff);
    return c;
}

/* Loads with a cache hint are loads, stores with one are stores. */
template <typename T> T __ldg(const T *at)
{
    return *at;
}
template <typename T> T __ldcg(const T *at)
{
    return *at;
}
template <typename T> T __ldcs(const T *at)
{
    return *at;
}
template <typename T> void __stcg(T *at, T value)
{
    *at = value;
}
template <typename T> void __stcs(T *at, T value)
{
    *at = value;
}
