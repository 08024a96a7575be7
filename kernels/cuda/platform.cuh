/* What kernels are written in: CUDA C++ as nvcc compiles it, or as the host's compiler does against
 * the stand-in headers of tests/emu, which give the same names. What differs between the two has a
 * macro here; what PTX alone can say is in kernels/cuda/ptx.cuh.
 *
 *     VLMP_SHARED(float, tile, 32 * 33);      an array of the block, 16-byte aligned
 *     VLMP_DYNAMIC_SHARED(bytes);             unsigned char *, as many as the launch says
 *     VLMP_LAUNCH(kernel, grid, block, shared_bytes, stream, arguments...);
 *     VLMP_LAUNCH_COOPERATIVE(...);           the same, all blocks resident: for grid barriers
 *
 * A kernel that is a template stands in parentheses: VLMP_LAUNCH((rows<4, true>), ...). Launches
 * say what failed through cudaGetLastError. */
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#ifdef __CUDACC__
#    include <tuple>
#    include <utility>

#    define VLMP_UNROLL _Pragma("unroll") /* before a loop: its index becomes constant */

#    define VLMP_SHARED(type, name, count) __shared__ __align__(16) type name[count]
#    define VLMP_DYNAMIC_SHARED(name)      extern __shared__ __align__(128) unsigned char name[]
#    define VLMP_LAUNCH(kernel, grid, block, shared_bytes, stream, ...) \
        (kernel)<<<grid, block, shared_bytes, stream>>>(__VA_ARGS__)
#    define VLMP_LAUNCH_COOPERATIVE(kernel, grid, block, shared_bytes, stream, ...) \
        vlmp_launch_cooperative((kernel), grid, block, shared_bytes, stream, __VA_ARGS__)

template <typename... P, typename... A>
void vlmp_launch_cooperative(void (*kernel)(P...), dim3 grid, dim3 block, size_t shared_bytes,
                             cudaStream_t stream, A &&...given)
{
    std::tuple<P...> values(std::forward<A>(given)...); /* of the kernel's own types */
    std::apply(
        [&](P &...value) {
            void *at[] = {&value...};
            (void)cudaLaunchCooperativeKernel(reinterpret_cast<const void *>(kernel), grid, block,
                                              at, shared_bytes, stream);
        },
        values);
}
#else
#    define VLMP_UNROLL
#    define VLMP_SHARED(type, name, count)                                             \
        static const char name##_key = 0; /* its address is this declaration's name */ \
        type(&name)[count] = *reinterpret_cast<type(*)[count]>(                        \
            emu::static_shared(&name##_key, sizeof(type[count]), #name))
#    define VLMP_DYNAMIC_SHARED(name) \
        unsigned char *const name = static_cast<unsigned char *>(emu::dynamic_shared())
#    define VLMP_LAUNCH(kernel, grid, block, shared_bytes, stream, ...)                        \
        emu::launch({#kernel, {__FILE__, __LINE__}, grid, block, shared_bytes, stream, false}, \
                    kernel, __VA_ARGS__)
#    define VLMP_LAUNCH_COOPERATIVE(kernel, grid, block, shared_bytes, stream, ...)           \
        emu::launch({#kernel, {__FILE__, __LINE__}, grid, block, shared_bytes, stream, true}, \
                    kernel, __VA_ARGS__)
#endif
