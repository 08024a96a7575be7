/* What CUDA C++ gives to device code, for the emulator: positions, barriers, warp functions,
 * atomics, shared memory, launches. Included by include/cuda_runtime.h; vector types and arithmetic
 * are in include/. Every function that threads meet in is checked (tests/emu/block.cpp). */
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <tuple>
#include <type_traits>
#include <utility>

#include "tests/emu/arithmetic.cuh"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__    __attribute__((noinline))
#define __launch_bounds__(...)
#define __align__(n) alignas(n)
#define __grid_constant__
#define __constant__
#define __restrict__ __restrict

namespace emu {

/* Where a thread is; `here` is the running one's, null on the host. */
struct position {
    uint3 thread, block;
    dim3 block_dim, grid_dim;
};
extern const position *here;

/* A place in a source. */
struct site {
    const char *file;
    int line;
};

[[noreturn]] void fault(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The source's line tells barriers apart: a compiler may join the calls or repeat them. */
void block_barrier(site at, int *sum, int *all, int *any);
void warp_barrier(unsigned mask);
/* Every lane of mask gives `bytes` of value and takes those of lane source. */
void shuffle(unsigned mask, unsigned source, const void *value, void *out, size_t bytes);
unsigned ballot(unsigned mask, bool vote);
unsigned match_any(unsigned mask, uint64_t value);
unsigned active_lanes();
unsigned lane();

/* Accesses that others may make at the same time. */
void atomic_read(const void *at, void *value, size_t bytes);
void atomic_write(void *at, const void *value, size_t bytes);
void fence();
/* Lets others run: in loops that wait for what another thread writes. */
void pause();

void *dynamic_shared();
void *static_shared(const void *key, size_t bytes, const char *name);
uint64_t clock();

struct launch_config {
    const char *name;
    site at;
    dim3 grid, block;
    size_t dynamic_shared;
    cudaStream_t stream;
    bool cooperative;
};

/* call(arguments) is one thread of the kernel; the arguments are copied. */
void submit(const launch_config &config, const void *kernel, void (*call)(const void *),
            const void *arguments, size_t bytes);

template <typename... P, typename... A>
void launch(const launch_config &config, void (*kernel)(P...), A &&...given)
{
    static_assert((std::is_trivially_copyable_v<P> && ...), "arguments are copied as bytes");
    struct call {
        void (*kernel)(P...);
        std::tuple<P...> arguments;
    };
    const call it{kernel, std::tuple<P...>(std::forward<A>(given)...)};
    submit(
        config, reinterpret_cast<const void *>(kernel),
        [](const void *at) {
            const call *copy = static_cast<const call *>(at);
            std::apply(copy->kernel, copy->arguments);
        },
        &it, sizeof it);
}

template <typename T, typename F> T atomic_change(T *at, F change)
{
    static_assert(sizeof(T) == 2 || sizeof(T) == 4 || sizeof(T) == 8);
    T old;
    atomic_read(at, &old, sizeof old);
    const T changed = change(old);
    atomic_write(at, &changed, sizeof changed);
    return old;
}

} // namespace emu

#define threadIdx (emu::here->thread)
#define blockIdx  (emu::here->block)
#define blockDim  (emu::here->block_dim)
#define gridDim   (emu::here->grid_dim)
static const int warpSize = 32;

#define EMU_SITE const char *file = __builtin_FILE(), int line = __builtin_LINE()

inline void __syncthreads(EMU_SITE)
{
    emu::block_barrier({file, line}, nullptr, nullptr, nullptr);
}

inline int __syncthreads_count(int vote, EMU_SITE)
{
    int sum = vote != 0;
    emu::block_barrier({file, line}, &sum, nullptr, nullptr);
    return sum;
}

inline int __syncthreads_and(int vote, EMU_SITE)
{
    int all = vote != 0;
    emu::block_barrier({file, line}, nullptr, &all, nullptr);
    return all;
}

inline int __syncthreads_or(int vote, EMU_SITE)
{
    int any = vote != 0;
    emu::block_barrier({file, line}, nullptr, nullptr, &any);
    return any;
}

inline void __syncwarp(unsigned mask = 0xffffffffu)
{
    emu::warp_barrier(mask);
}

namespace emu {

template <typename T> T shuffled(unsigned mask, T value, unsigned source)
{
    static_assert(sizeof(T) <= 8 && std::is_trivially_copyable_v<T>);
    T out;
    shuffle(mask, source, &value, &out, sizeof value);
    return out;
}

} // namespace emu

/* Lanes that would read beyond their segment of `width` keep their own value, as on the device. */
template <typename T> T __shfl_sync(unsigned mask, T value, int from, int width = 32)
{
    const unsigned w = static_cast<unsigned>(width), base = emu::lane() & ~(w - 1);
    return emu::shuffled(mask, value, base + (static_cast<unsigned>(from) & (w - 1)));
}

template <typename T> T __shfl_up_sync(unsigned mask, T value, unsigned by, int width = 32)
{
    const unsigned w = static_cast<unsigned>(width), mine = emu::lane(), base = mine & ~(w - 1);
    return emu::shuffled(mask, value, mine < base + by ? mine : mine - by);
}

template <typename T> T __shfl_down_sync(unsigned mask, T value, unsigned by, int width = 32)
{
    const unsigned w = static_cast<unsigned>(width), mine = emu::lane(),
                   end = (mine & ~(w - 1)) + w;
    return emu::shuffled(mask, value, mine + by >= end ? mine : mine + by);
}

template <typename T> T __shfl_xor_sync(unsigned mask, T value, int bits, int width = 32)
{
    const unsigned w = static_cast<unsigned>(width), mine = emu::lane(),
                   end = (mine & ~(w - 1)) + w;
    const unsigned from = mine ^ static_cast<unsigned>(bits);
    return emu::shuffled(mask, value, from >= end ? mine : from);
}

inline unsigned __ballot_sync(unsigned mask, int vote)
{
    return emu::ballot(mask, vote != 0);
}

inline int __any_sync(unsigned mask, int vote)
{
    return emu::ballot(mask, vote != 0) != 0;
}

inline int __all_sync(unsigned mask, int vote)
{
    return emu::ballot(mask, vote == 0) == 0;
}

template <typename T> unsigned __match_any_sync(unsigned mask, T value)
{
    uint64_t bits = 0;
    memcpy(&bits, &value, sizeof value);
    return emu::match_any(mask, bits);
}

inline unsigned __activemask()
{
    return emu::active_lanes();
}

inline void __threadfence()
{
    emu::fence();
}
inline void __threadfence_block()
{
    emu::fence();
}
inline void __threadfence_system()
{
    emu::fence();
}
inline void __nanosleep(unsigned)
{
    emu::pause();
}
inline long long clock64()
{
    return static_cast<long long>(emu::clock());
}

template <typename T> T atomicAdd(T *at, T by)
{
    return emu::atomic_change(at, [by](T old) { return static_cast<T>(old + by); });
}
template <typename T> T atomicSub(T *at, T by)
{
    return emu::atomic_change(at, [by](T old) { return static_cast<T>(old - by); });
}
template <typename T> T atomicMax(T *at, T by)
{
    return emu::atomic_change(at, [by](T old) { return old < by ? by : old; });
}
template <typename T> T atomicMin(T *at, T by)
{
    return emu::atomic_change(at, [by](T old) { return by < old ? by : old; });
}
template <typename T> T atomicExch(T *at, T by)
{
    return emu::atomic_change(at, [by](T) { return by; });
}
template <typename T> T atomicCAS(T *at, T expected, T by)
{
    return emu::atomic_change(at, [expected, by](T old) { return old == expected ? by : old; });
}
template <typename T> T atomicAnd(T *at, T by)
{
    return emu::atomic_change(at, [by](T old) { return old & by; });
}
template <typename T> T atomicOr(T *at, T by)
{
    return emu::atomic_change(at, [by](T old) { return old | by; });
}
template <typename T> T atomicXor(T *at, T by)
{
    return emu::atomic_change(at, [by](T old) { return old ^ by; });
}
/* old ≥ wrap ? 0 : old + 1 */
inline unsigned atomicInc(unsigned *at, unsigned wrap)
{
    return emu::atomic_change(at, [wrap](unsigned old) { return old >= wrap ? 0 : old + 1; });
}

/* The typed forms that the toolkit adds in C++. */
template <typename T> cudaError_t cudaMalloc(T **at, size_t bytes)
{
    return cudaMalloc(reinterpret_cast<void **>(at), bytes);
}
template <typename T> cudaError_t cudaMallocHost(T **at, size_t bytes)
{
    return cudaMallocHost(reinterpret_cast<void **>(at), bytes);
}
template <typename... P>
cudaError_t cudaFuncSetAttribute(void (*kernel)(P...), enum cudaFuncAttribute attribute, int value)
{
    return cudaFuncSetAttribute(reinterpret_cast<const void *>(kernel), attribute, value);
}
template <typename... P>
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int *blocks, void (*kernel)(P...),
                                                          int threads, size_t dynamic_shared)
{
    return cudaOccupancyMaxActiveBlocksPerMultiprocessor(
        blocks, reinterpret_cast<const void *>(kernel), threads, dynamic_shared);
}
