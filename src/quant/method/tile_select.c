#include "src/quant/method/tile.h"

const vlmp_tile_ops *vlmp_tile_ops_get(void)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq"))
        return &vlmp_tile_avx512;
    if (__builtin_cpu_supports("avx2")) return &vlmp_tile_avx2;
#endif
    return &vlmp_tile_base;
}
