/* The CUDA runtime on the emulated device: the device, its memory, its errors. */
#include "tests/emu/runtime.h"

#include <cstdio>
#include <cstdlib>
#include <map>
#include <nvtx3/nvToolsExt.h>

namespace emu {

std::recursive_mutex one;
vlmp_emu_device device = {getenv("VLMP_EMU_ABSENT") == nullptr, 4, 8, 0,
                          static_cast<size_t>(4) << 30};
cudaError_t broken;

static cudaError_t last_error;
static int fail_in, fail_with;
static bool fail_on;                                 /* from that call on */
static std::map<const void *, size_t> shared_limits; /* from cudaFuncSetAttribute */

cudaError_t failed(cudaError_t error)
{
    if (error != cudaSuccess) last_error = error;
    return error;
}

cudaError_t start()
{
    counts.calls++;
    if (fail_in > 0 && --fail_in == 0) {
        if (fail_on) fail_in = 1;
        return failed(static_cast<cudaError_t>(fail_with));
    }
    return broken != cudaSuccess ? failed(broken) : cudaSuccess;
}

void wrong_use(const char *call, const std::string &why)
{
    report_fault(std::string(call) + ": " + why);
    broken = cudaErrorIllegalAddress;
}

size_t shared_limit(const void *kernel)
{
    const auto found = shared_limits.find(kernel);
    return found != shared_limits.end() ? found->second : MAX_STATIC;
}

} // namespace emu

using namespace emu;

extern "C" {

int nvtxRangePushA(const char *)
{
    locked lock;
    counts.ranges++;
    return static_cast<int>(counts.open_ranges++);
}

int nvtxRangePop(void)
{
    locked lock;
    return static_cast<int>(--counts.open_ranges);
}

void vlmp_emu_set_device(const vlmp_emu_device *it)
{
    device = *it;
}

void vlmp_emu_fail_after(int n, int error)
{
    fail_in = n;
    fail_with = error;
    fail_on = true;
}

void vlmp_emu_fail_once(int n, int error)
{
    fail_in = n;
    fail_with = error;
    fail_on = false;
}

const char *vlmp_emu_take_fault(void)
{
    locked lock;
    static std::string taken;
    if (!take_fault(taken)) return nullptr;
    broken = last_error = cudaSuccess;
    return taken.c_str();
}

cudaError_t cudaGetLastError(void)
{
    locked lock;
    const cudaError_t error = broken != cudaSuccess ? broken : last_error;
    last_error = cudaSuccess;
    return error;
}

cudaError_t cudaPeekAtLastError(void)
{
    locked lock;
    return broken != cudaSuccess ? broken : last_error;
}

const char *cudaGetErrorName(cudaError_t error)
{
    switch (error) {
#define NAME(it) \
    case it:     \
        return #it
        NAME(cudaSuccess);
        NAME(cudaErrorInvalidValue);
        NAME(cudaErrorMemoryAllocation);
        NAME(cudaErrorInvalidConfiguration);
        NAME(cudaErrorInvalidMemcpyDirection);
        NAME(cudaErrorInsufficientDriver);
        NAME(cudaErrorInvalidDeviceFunction);
        NAME(cudaErrorNoDevice);
        NAME(cudaErrorInvalidDevice);
        NAME(cudaErrorNoKernelImageForDevice);
        NAME(cudaErrorUnsupportedPtxVersion);
        NAME(cudaErrorInvalidResourceHandle);
        NAME(cudaErrorNotReady);
        NAME(cudaErrorIllegalAddress);
        NAME(cudaErrorLaunchFailure);
        NAME(cudaErrorCooperativeLaunchTooLarge);
        NAME(cudaErrorStreamCaptureUnsupported);
        NAME(cudaErrorStreamCaptureInvalidated);
        NAME(cudaErrorStreamCaptureImplicit);
        NAME(cudaErrorCapturedEvent);
        NAME(cudaErrorIllegalState);
        NAME(cudaErrorUnknown);
#undef NAME
    }
    return "unrecognized error code";
}

const char *cudaGetErrorString(cudaError_t error)
{
    return cudaGetErrorName(error);
}

cudaError_t cudaDriverGetVersion(int *version)
{
    locked lock;
    *version = device.present ? CUDART_VERSION : 0;
    return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int *version)
{
    *version = CUDART_VERSION;
    return cudaSuccess;
}

cudaError_t cudaGetDeviceCount(int *count)
{
    locked lock;
    const cudaError_t error = start();
    *count = error == cudaSuccess && device.present ? 1 : 0;
    if (error != cudaSuccess) return error;
    return device.present ? cudaSuccess : failed(cudaErrorNoDevice);
}

cudaError_t cudaSetDevice(int n)
{
    locked lock;
    const cudaError_t error = start();
    if (error != cudaSuccess) return error;
    return n == 0 && device.present ? cudaSuccess : failed(cudaErrorInvalidDevice);
}

cudaError_t cudaGetDevice(int *n)
{
    *n = 0;
    return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *prop, int n)
{
    locked lock;
    const cudaError_t error = start();
    if (error != cudaSuccess) return error;
    if (n != 0 || !device.present) return failed(cudaErrorInvalidDevice);
    *prop = {};
    snprintf(prop->name, sizeof prop->name, "emulated GPU");
    prop->totalGlobalMem = device.memory;
    prop->sharedMemPerBlock = MAX_STATIC;
    prop->sharedMemPerBlockOptin = MAX_SHARED;
    prop->sharedMemPerMultiprocessor = MAX_SHARED + 1024;
    prop->regsPerBlock = 65536;
    prop->warpSize = WARP;
    prop->maxThreadsPerBlock = MAX_THREADS;
    prop->maxThreadsPerMultiProcessor = 2 * MAX_THREADS;
    prop->multiProcessorCount = device.multiprocessors;
    prop->major = device.major;
    prop->minor = device.minor;
    prop->l2CacheSize = 1 << 20;
    prop->cooperativeLaunch = 1;
    return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int *value, enum cudaDeviceAttr attr, int n)
{
    locked lock;
    const cudaError_t error = start();
    if (error != cudaSuccess) return error;
    if (n != 0 || !device.present) return failed(cudaErrorInvalidDevice);
    switch (attr) {
    case cudaDevAttrMaxThreadsPerBlock:
        *value = MAX_THREADS;
        break;
    case cudaDevAttrClockRate:
    case cudaDevAttrMemoryClockRate:
        *value = 1000000;
        break;
    case cudaDevAttrMultiProcessorCount:
        *value = device.multiprocessors;
        break;
    case cudaDevAttrGlobalMemoryBusWidth:
        *value = 512;
        break;
    case cudaDevAttrL2CacheSize:
        *value = 1 << 20;
        break;
    case cudaDevAttrComputeCapabilityMajor:
        *value = device.major;
        break;
    case cudaDevAttrComputeCapabilityMinor:
        *value = device.minor;
        break;
    case cudaDevAttrCooperativeLaunch:
        *value = 1;
        break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
        *value = MAX_SHARED;
        break;
    }
    return cudaSuccess;
}

cudaError_t cudaDeviceSynchronize(void)
{
    locked lock;
    const cudaError_t error = start_outside_captures();
    if (error != cudaSuccess) return error;
    run_all();
    return failed(broken);
}

cudaError_t cudaDeviceReset(void)
{
    locked lock;
    run_all();
    return start();
}

cudaError_t cudaMemGetInfo(size_t *free, size_t *total)
{
    locked lock;
    const cudaError_t error = start();
    *total = device.memory;
    *free = device.memory > device_used() ? device.memory - device_used() : 0;
    return error;
}

cudaError_t cudaMalloc(void **at, size_t bytes)
{
    locked lock;
    *at = nullptr;
    const cudaError_t error = start_outside_captures();
    if (error != cudaSuccess) return error;
    if (bytes == 0) return cudaSuccess;
    if (bytes > device.memory || device_used() > device.memory - bytes)
        return failed(cudaErrorMemoryAllocation);
    *at = device_alloc(bytes);
    return *at != nullptr ? cudaSuccess : failed(cudaErrorMemoryAllocation);
}

cudaError_t cudaFree(void *at)
{
    locked lock;
    const cudaError_t refused = outside_captures();
    if (refused != cudaSuccess) return refused;
    run_all();
    if (at != nullptr && !device_free(at))
        wrong_use("cudaFree", "no buffer begins there, or it was freed");
    return start();
}

cudaError_t cudaMallocAsync(void **at, size_t bytes, cudaStream_t)
{
    return cudaMalloc(at, bytes);
}

cudaError_t cudaMallocHost(void **at, size_t bytes)
{
    locked lock;
    *at = nullptr;
    const cudaError_t error = start_outside_captures();
    if (error != cudaSuccess) return error;
    *at = host_alloc(bytes);
    return cudaSuccess;
}

cudaError_t cudaHostAlloc(void **at, size_t bytes, unsigned)
{
    return cudaMallocHost(at, bytes);
}

cudaError_t cudaFreeHost(void *at)
{
    locked lock;
    const cudaError_t refused = outside_captures();
    if (refused != cudaSuccess) return refused;
    run_all();
    if (at != nullptr && !host_free(at))
        wrong_use("cudaFreeHost", "no buffer of cudaMallocHost begins there");
    return start();
}

cudaError_t cudaFuncSetAttribute(const void *kernel, enum cudaFuncAttribute attribute, int value)
{
    locked lock;
    const cudaError_t error = start();
    if (error != cudaSuccess) return error;
    if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize) return cudaSuccess;
    if (value < 0 || static_cast<size_t>(value) > MAX_SHARED) return failed(cudaErrorInvalidValue);
    shared_limits[kernel] = static_cast<size_t>(value);
    return cudaSuccess;
}

cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int *blocks, const void *, int threads,
                                                          size_t dynamic_shared)
{
    locked lock;
    const cudaError_t error = start();
    if (error != cudaSuccess) return error;
    const int by_threads = threads > 0 ? static_cast<int>(2 * MAX_THREADS) / threads : 0;
    const int by_memory = static_cast<int>(MAX_SHARED / (dynamic_shared + 1024));
    *blocks = by_threads < by_memory ? by_threads : by_memory;
    return cudaSuccess;
}
}
