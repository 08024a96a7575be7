/* Opens a device: what can be wrong with it is said here. */
#include "kernels/cuda/open.h"

#include <stdio.h>

#include "kernels/cuda/cuda.h"
#include "src/base/memory.h"

#define INSTALL "; or use --device cpu"

static int version_error(vlmp_error *err)
{
    int driver = 0, runtime = 0;
    (void)cudaDriverGetVersion(&driver);
    (void)cudaRuntimeGetVersion(&runtime);
    if (driver == 0)
        return vlmp_fail(err, VLMP_ERR_SYSTEM,
                         "no NVIDIA driver; install one for CUDA %d.%d" INSTALL, runtime / 1000,
                         runtime % 1000 / 10);
    return vlmp_fail(err, VLMP_ERR_SYSTEM,
                     "the NVIDIA driver is too old: it serves CUDA %d.%d, this build needs %d.%d; "
                     "install a newer driver" INSTALL,
                     driver / 1000, driver % 1000 / 10, runtime / 1000, runtime % 1000 / 10);
}

/* What has failed before there is any work to lose. */
static int opened(const vlmp_cuda *cuda, vlmp_error *err)
{
    cudaError_t failure = cuda->failure;
    if (failure == cudaSuccess) return VLMP_OK;
    if (failure == cudaErrorInsufficientDriver || failure == cudaErrorUnsupportedPtxVersion)
        return version_error(err);
    return vlmp_fail(err, VLMP_ERR_SYSTEM,
                     "cuda:%d cannot be opened: %s: %s (%s); see whether nvidia-smi shows it "
                     "healthy and free" INSTALL,
                     cuda->device, cuda->failed, cudaGetErrorString(failure),
                     cudaGetErrorName(failure));
}

static int find_device(int device, vlmp_error *err)
{
    int count = 0;
    cudaError_t status = cudaGetDeviceCount(&count);
    if (status == cudaErrorInsufficientDriver) return version_error(err);
    if (status == cudaErrorNoDevice || (status == cudaSuccess && count == 0))
        return vlmp_fail(err, VLMP_ERR_SYSTEM,
                         "there is no CUDA device that this process may use (nvidia-smi lists "
                         "them, CUDA_VISIBLE_DEVICES hides them)" INSTALL);
    if (status != cudaSuccess)
        return vlmp_fail(err, VLMP_ERR_SYSTEM, "cannot ask for CUDA devices: %s (%s)" INSTALL,
                         cudaGetErrorString(status), cudaGetErrorName(status));
    if (device < count) return VLMP_OK;
    return vlmp_fail(err, VLMP_ERR_SYSTEM, "there is no cuda:%d: the devices are 0 to %d", device,
                     count - 1);
}

/* Architectures: VLMP_CUDA_ARCHITECTURES, as "8.0, 9.0". */
static int describe(vlmp_cuda *cuda, vlmp_error *err)
{
    struct cudaDeviceProp properties;
    int runtime = 0;
    if (!vlmp_cuda_ok(cuda, cudaSetDevice(cuda->device), "taking it") ||
        !vlmp_cuda_ok(cuda, cudaGetDeviceProperties(&properties, cuda->device), "what it is"))
        return opened(cuda, err);
    (void)cudaRuntimeGetVersion(&runtime);
    snprintf(cuda->name, sizeof cuda->name, "%s", properties.name);
    snprintf(cuda->describe, sizeof cuda->describe, "cuda %s sm_%d%d, CUDA %d.%d", cuda->name,
             properties.major, properties.minor, runtime / 1000, runtime % 1000 / 10);
    cudaError_t status = vlmp_cuda_probe(NULL);
    if (status == cudaErrorNoKernelImageForDevice)
        return vlmp_fail(err, VLMP_ERR_SYSTEM,
                         "cuda:%d (%s) has architecture %d.%d, and this build has code for "
                         "%s" INSTALL,
                         cuda->device, cuda->name, properties.major, properties.minor,
                         VLMP_CUDA_ARCHITECTURES);
    vlmp_cuda_ok(cuda, status, "a first kernel");
    return opened(cuda, err);
}

static unsigned char *pinned_stage(vlmp_cuda *cuda)
{
    void *at = NULL;
    vlmp_cuda_ok(cuda, cudaMallocHost(&at, VLMP_CUDA_STAGE_BYTES),
                 "4 MiB of the host's memory, pinned");
    return at;
}

static int fill(vlmp_cuda *cuda, vlmp_error *err)
{
    VLMP_TRY(describe(cuda, err));
    vlmp_cuda_ok(cuda, cudaStreamCreateWithFlags(&cuda->stream, cudaStreamNonBlocking), "a stream");
    for (int i = 0; i < VLMP_CUDA_STAGES; i++) {
        vlmp_cuda_ok(cuda,
                     cudaEventCreateWithFlags(&cuda->stages[i].copied, cudaEventDisableTiming),
                     "an event");
        cuda->stages[i].at = pinned_stage(cuda);
    }
    cuda->from_device = pinned_stage(cuda);
    VLMP_TRY(opened(cuda, err));
    VLMP_TRY(vlmp_cuda_take(cuda, &cuda->scratch, VLMP_CUDA_SCRATCH_BYTES, "kernel scratch", err));
    cuda->scratch_bytes = VLMP_CUDA_SCRATCH_BYTES;
    return VLMP_OK;
}

static int create(vlmp_ctx **ctx, vlmp_pool *pool, int device, vlmp_error *err)
{
    *ctx = NULL;
    VLMP_TRY(find_device(device, err));
    vlmp_cuda *cuda = vlmp_calloc(1, sizeof *cuda);
    if (cuda == NULL) return vlmp_fail_memory(err, "kernel context");
    cuda->ctx.ops = &vlmp_cuda_ops;
    cuda->ctx.pool = pool;
    cuda->device = device;
    int status = fill(cuda, err);
    if (status == VLMP_OK)
        *ctx = &cuda->ctx;
    else
        vlmp_ctx_free(&cuda->ctx);
    return status;
}

__attribute__((visibility("default"))) const vlmp_cuda_plugin_table vlmp_cuda_plugin = {
    .abi = VLMP_CUDA_ABI, .version = VLMP_VERSION, .create = create};
