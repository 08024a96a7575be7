/* The operations that FP16 and BF16 share; included once for each, with EMU_SCALAR and EMU_PAIR.
 * No guard: two copies are meant. */
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
