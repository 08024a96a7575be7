/* What FP16 and BF16 share; included once for each, with EMU_SCALAR and EMU_PAIR, the types,
 * EMU_WORD, what functions call them, and EMU_FROM_F32 and EMU_TO_F32, which work on bits. No
 * guard: two copies are meant. */
#define EMU_JOIN(a, b, c)       a##b##c
#define EMU_NAME_OF(a, word, c) EMU_JOIN(a, word, c)
#define EMU_NAME(a, c)          EMU_NAME_OF(a, EMU_WORD, c)
#define EMU_TWICE_OF(word)      __##word##2##word##2
#define EMU_TWICE(word)         EMU_TWICE_OF(word)

struct alignas(2) EMU_SCALAR {
    uint16_t bits;
    EMU_SCALAR() = default;
    EMU_SCALAR(float value) : bits(EMU_FROM_F32(value)) {}
    EMU_SCALAR(double value) : bits(EMU_FROM_F32(static_cast<float>(value))) {}
    EMU_SCALAR(int value) : bits(EMU_FROM_F32(static_cast<float>(value))) {}
    operator float() const { return EMU_TO_F32(bits); }
};

struct alignas(4) EMU_PAIR {
    EMU_SCALAR x, y;
    EMU_PAIR() = default;
    EMU_PAIR(EMU_SCALAR low, EMU_SCALAR high) : x(low), y(high) {}
};

inline EMU_SCALAR EMU_NAME(__float2, )(float x)
{
    return EMU_SCALAR(x);
}
inline EMU_SCALAR EMU_NAME(__float2, _rn)(float x)
{
    return EMU_SCALAR(x);
}
inline float EMU_NAME(__, 2float)(EMU_SCALAR x)
{
    return x;
}
inline float2 EMU_NAME(__, 22float2)(EMU_PAIR x)
{
    return {x.x, x.y};
}
inline EMU_PAIR EMU_NAME(__float22, 2_rn)(float2 x)
{
    return {EMU_SCALAR(x.x), EMU_SCALAR(x.y)};
}
inline EMU_PAIR EMU_NAME(__floats2, 2_rn)(float x, float y)
{
    return {EMU_SCALAR(x), EMU_SCALAR(y)};
}
inline EMU_PAIR EMU_NAME(__float2, 2_rn)(float x)
{
    return {EMU_SCALAR(x), EMU_SCALAR(x)};
}
inline EMU_PAIR EMU_TWICE(EMU_WORD)(EMU_SCALAR x)
{
    return {x, x};
}
inline EMU_PAIR EMU_NAME(__halves2, 2)(EMU_SCALAR x, EMU_SCALAR y)
{
    return {x, y};
}
inline EMU_SCALAR EMU_NAME(__low2, )(EMU_PAIR x)
{
    return x.x;
}
inline EMU_SCALAR EMU_NAME(__high2, )(EMU_PAIR x)
{
    return x.y;
}
inline float __low2float(EMU_PAIR x)
{
    return x.x;
}
inline float __high2float(EMU_PAIR x)
{
    return x.y;
}
inline unsigned short EMU_NAME(__, _as_ushort)(EMU_SCALAR x)
{
    return x.bits;
}
inline EMU_SCALAR EMU_NAME(__ushort_as_, )(unsigned short bits)
{
    return emu::bits_as<EMU_SCALAR>(bits);
}
inline EMU_SCALAR __hadd(EMU_SCALAR a, EMU_SCALAR b)
{
    return EMU_SCALAR(float(a) + float(b));
}
inline EMU_SCALAR __hsub(EMU_SCALAR a, EMU_SCALAR b)
{
    return EMU_SCALAR(float(a) - float(b));
}
inline EMU_SCALAR __hmul(EMU_SCALAR a, EMU_SCALAR b)
{
    return EMU_SCALAR(float(a) * float(b));
}
inline EMU_SCALAR __hdiv(EMU_SCALAR a, EMU_SCALAR b)
{
    return EMU_SCALAR(float(a) / float(b));
}
/* The product is exact in F64; the sum is rounded twice at worst where exponents lie far apart. */
inline EMU_SCALAR __hfma(EMU_SCALAR a, EMU_SCALAR b, EMU_SCALAR c)
{
    return EMU_SCALAR(double(float(a)) * double(float(b)) + double(float(c)));
}
inline EMU_SCALAR __hneg(EMU_SCALAR a)
{
    a.bits ^= 0x8000;
    return a;
}
inline EMU_SCALAR __habs(EMU_SCALAR a)
{
    a.bits &= 0x7fff;
    return a;
}
inline EMU_SCALAR __hmax(EMU_SCALAR a, EMU_SCALAR b)
{
    return EMU_SCALAR(fmaxf(a, b));
}
inline EMU_SCALAR __hmin(EMU_SCALAR a, EMU_SCALAR b)
{
    return EMU_SCALAR(fminf(a, b));
}
inline bool __hisnan(EMU_SCALAR a)
{
    return std::isnan(float(a));
}
inline bool __hlt(EMU_SCALAR a, EMU_SCALAR b)
{
    return float(a) < float(b);
}
inline bool __hgt(EMU_SCALAR a, EMU_SCALAR b)
{
    return float(a) > float(b);
}

inline EMU_PAIR __hadd2(EMU_PAIR a, EMU_PAIR b)
{
    return {__hadd(a.x, b.x), __hadd(a.y, b.y)};
}
inline EMU_PAIR __hsub2(EMU_PAIR a, EMU_PAIR b)
{
    return {__hsub(a.x, b.x), __hsub(a.y, b.y)};
}
inline EMU_PAIR __hmul2(EMU_PAIR a, EMU_PAIR b)
{
    return {__hmul(a.x, b.x), __hmul(a.y, b.y)};
}
inline EMU_PAIR __hfma2(EMU_PAIR a, EMU_PAIR b, EMU_PAIR c)
{
    return {__hfma(a.x, b.x, c.x), __hfma(a.y, b.y, c.y)};
}
inline EMU_PAIR __hmax2(EMU_PAIR a, EMU_PAIR b)
{
    return {__hmax(a.x, b.x), __hmax(a.y, b.y)};
}
inline EMU_PAIR __hmin2(EMU_PAIR a, EMU_PAIR b)
{
    return {__hmin(a.x, b.x), __hmin(a.y, b.y)};
}
inline EMU_PAIR __hneg2(EMU_PAIR a)
{
    return {__hneg(a.x), __hneg(a.y)};
}
inline EMU_PAIR __habs2(EMU_PAIR a)
{
    return {__habs(a.x), __habs(a.y)};
}

inline EMU_SCALAR operator+(EMU_SCALAR a, EMU_SCALAR b)
{
    return __hadd(a, b);
}
inline EMU_SCALAR operator-(EMU_SCALAR a, EMU_SCALAR b)
{
    return __hsub(a, b);
}
inline EMU_SCALAR operator*(EMU_SCALAR a, EMU_SCALAR b)
{
    return __hmul(a, b);
}
inline EMU_SCALAR operator/(EMU_SCALAR a, EMU_SCALAR b)
{
    return __hdiv(a, b);
}
inline EMU_PAIR operator+(EMU_PAIR a, EMU_PAIR b)
{
    return __hadd2(a, b);
}
inline EMU_PAIR operator-(EMU_PAIR a, EMU_PAIR b)
{
    return __hsub2(a, b);
}
inline EMU_PAIR operator*(EMU_PAIR a, EMU_PAIR b)
{
    return __hmul2(a, b);
}

#undef EMU_JOIN
#undef EMU_NAME_OF
#undef EMU_NAME
#undef EMU_TWICE_OF
#undef EMU_TWICE
#undef EMU_SCALAR
#undef EMU_PAIR
#undef EMU_WORD
#undef EMU_FROM_F32
#undef EMU_TO_F32
