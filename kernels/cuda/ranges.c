/* Ranges that profilers show, where the toolkit has NVTX: without a profiler they cost a few
 * nanoseconds. */
#include "kernels/cuda/cuda.h"

#if __has_include(<nvtx3/nvToolsExt.h>)
#    include <nvtx3/nvToolsExt.h>

void vlmp_cuda_range(vlmp_ctx *ctx, const char *name)
{
    (void)ctx;
    if (name != NULL)
        nvtxRangePushA(name);
    else
        nvtxRangePop();
}
#else
void vlmp_cuda_range(vlmp_ctx *ctx, const char *name)
{
    (void)ctx, (void)name;
}
#endif
