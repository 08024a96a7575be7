/* A device, its memory, and copies to and from it. */
#include <stdlib.h>

#include "kernels/cuda/cuda.h"
#include "src/base/half.h"
#include "src/base/memory.h"

bool vlmp_cuda_ok(vlmp_cuda *cuda, cudaError_t status, const char *what)
{
    if (status != cudaSuccess && cuda->failure == cudaSuccess) {
        cuda->failure = status;
        cuda->failed = what;
    }
    return status == cudaSuccess;
}

/* In MiB, upwards. */
static size_t mebibytes(size_t bytes)
{
    return (bytes >> 20) + (bytes % ((size_t)1 << 20) != 0);
}

#define MEMORY_HINT "end what else uses the device, take fewer --parallel, or use --device cpu"

int vlmp_cuda_status(const vlmp_cuda *cuda, vlmp_error *err)
{
    size_t left = 0, all = 0;
    if (cuda->failure == cudaSuccess) return VLMP_OK;
    if (cuda->failure == cudaErrorMemoryAllocation &&
        cudaMemGetInfo(&left, &all) == cudaSuccess) /* the driver's own, of unknown size */
        return vlmp_fail(err, VLMP_ERR_SYSTEM,
                         "cuda:%d (%s): out of memory: %s needs more than the %zu of %zu MiB that "
                         "are free; " MEMORY_HINT,
                         cuda->device, cuda->name, cuda->failed, left >> 20, all >> 20);
    return vlmp_fail(err, VLMP_ERR_SYSTEM,
                     "cuda:%d (%s): %s: %s (%s); the work on this device is lost: look at the "
                     "driver's messages (dmesg, nvidia-smi) and run again",
                     cuda->device, cuda->name, cuda->failed, cudaGetErrorString(cuda->failure),
                     cudaGetErrorName(cuda->failure));
}

/* Room to note another piece. */
static bool has_room(vlmp_cuda *cuda)
{
    if (cuda->piece_count < cuda->piece_room) return true;
    size_t room = 2 * cuda->piece_room + 64;
    vlmp_cuda_piece *pieces = realloc(cuda->pieces, room * sizeof *pieces);
    if (pieces == NULL) return false;
    cuda->pieces = pieces;
    cuda->piece_room = room;
    return true;
}

static void note(vlmp_cuda *cuda, void *at, size_t bytes)
{
    cuda->pieces[cuda->piece_count++] = (vlmp_cuda_piece){at, bytes};
    cuda->ctx.held += bytes;
    if (cuda->ctx.held > cuda->ctx.peak) cuda->ctx.peak = cuda->ctx.held;
}

/* What was taken last mostly goes first. */
static void forget(vlmp_cuda *cuda, const void *at)
{
    size_t i = cuda->piece_count;
    while (i > 0 && cuda->pieces[i - 1].at != at)
        i--;
    if (i == 0) return;
    cuda->ctx.held -= cuda->pieces[i - 1].bytes;
    cuda->pieces[i - 1] = cuda->pieces[--cuda->piece_count];
}

int vlmp_cuda_take(vlmp_cuda *cuda, void *out, size_t bytes, const char *what, vlmp_error *err)
{
    void *at = NULL;
    size_t left = 0, all = 0;
    memcpy(out, &at, sizeof at);
    cuda->turn++;
    if (!has_room(cuda)) return vlmp_fail_memory(err, what);
    cudaError_t status = cudaMalloc(&at, bytes > 0 ? bytes : 1);
    memcpy(out, &at, sizeof at);
    if (status == cudaSuccess) {
        note(cuda, at, bytes);
        return VLMP_OK;
    }
    if (status != cudaErrorMemoryAllocation || cudaMemGetInfo(&left, &all) != cudaSuccess) {
        vlmp_cuda_ok(cuda, status, what);
        return vlmp_cuda_status(cuda, err);
    }
    (void)cudaGetLastError(); /* it is told here, and no later call's */
    return vlmp_fail(
        err, VLMP_ERR_SYSTEM,
        "cuda:%d (%s): out of memory: %s needs %zu MiB, %zu of %zu MiB are free; " MEMORY_HINT,
        cuda->device, cuda->name, what, mebibytes(bytes), left >> 20, all >> 20);
}

static int alloc(vlmp_ctx *ctx, void **at, size_t bytes, const char *what, vlmp_error *err)
{
    vlmp_cuda *cuda = vlmp_cuda_of(ctx);
    VLMP_TRY(vlmp_cuda_take(cuda, at, bytes, what, err));
    if (bytes > 0) vlmp_cuda_ok(cuda, cudaMemsetAsync(*at, 0, bytes, cuda->stream), what);
    return VLMP_OK;
}

/* Waits for what still uses it. */
static void release_memory(vlmp_ctx *ctx, void *at)
{
    vlmp_cuda *cuda = vlmp_cuda_of(ctx);
    forget(cuda, at);
    vlmp_cuda_ok(cuda, cudaFree(at), "free");
}

/* Room in pinned memory for up to `bytes`; *given: how much. What is put there is sent with send.
 */
static unsigned char *stage(vlmp_cuda *cuda, size_t bytes, size_t *given)
{
    if (cuda->staged == VLMP_CUDA_STAGE_BYTES) {
        vlmp_cuda_ok(cuda, cudaEventRecord(cuda->stages[cuda->stage].copied, cuda->stream),
                     "write");
        cuda->stage = (cuda->stage + 1) % VLMP_CUDA_STAGES;
        cuda->staged = 0;
        vlmp_cuda_ok(cuda, cudaEventSynchronize(cuda->stages[cuda->stage].copied), "write");
    }
    size_t left = VLMP_CUDA_STAGE_BYTES - cuda->staged;
    *given = bytes < left ? bytes : left;
    return cuda->stages[cuda->stage].at + cuda->staged;
}

static void send(vlmp_cuda *cuda, void *to, const unsigned char *from, size_t bytes)
{
    vlmp_cuda_ok(cuda, cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, cuda->stream),
                 "write");
    cuda->turn++;
    bytes = (bytes + VLMP_ALIGN - 1) / VLMP_ALIGN * VLMP_ALIGN;
    cuda->staged += bytes;
}

static void write(vlmp_ctx *ctx, void *to, const void *from, size_t bytes)
{
    const unsigned char *source = from;
    for (size_t given; bytes > 0; bytes -= given, source += given) {
        unsigned char *room = stage(vlmp_cuda_of(ctx), bytes, &given);
        memcpy(room, source, given);
        send(vlmp_cuda_of(ctx), to, room, given);
        to = (unsigned char *)to + given;
    }
}

static void write_act(vlmp_ctx *ctx, vlmp_act to, const float *from, size_t count)
{
    unsigned char *at = to.at;
    for (size_t given; count > 0; count -= given / 2, from += given / 2, at += given) {
        unsigned char *room = stage(vlmp_cuda_of(ctx), 2 * count, &given);
        uint16_t *halves = (uint16_t *)(void *)room;
        for (size_t i = 0; i < given / 2; i++)
            halves[i] = vlmp_f32_to_f16(from[i]);
        send(vlmp_cuda_of(ctx), at, room, given);
    }
}

void vlmp_cuda_put(vlmp_cuda *cuda, void *to, size_t pitch, const void *from, size_t width,
                   size_t rows)
{
    size_t together = pitch == width ? rows : 1;
    for (size_t row = 0; row < rows; row += together)
        write(&cuda->ctx, (unsigned char *)to + row * pitch,
              (const unsigned char *)from + row * width, width * together);
}

static int wait_for(vlmp_ctx *ctx, vlmp_error *err)
{
    vlmp_cuda *cuda = vlmp_cuda_of(ctx);
    vlmp_cuda_ok(cuda, cudaStreamSynchronize(cuda->stream), "an operation");
    return vlmp_cuda_status(cuda, err);
}

static int read_back(vlmp_ctx *ctx, void *to, const void *from, size_t bytes, vlmp_error *err)
{
    vlmp_cuda *cuda = vlmp_cuda_of(ctx);
    unsigned char *out = to;
    for (size_t at = 0, now; at < bytes; at += now) {
        now = bytes - at < VLMP_CUDA_STAGE_BYTES ? bytes - at : VLMP_CUDA_STAGE_BYTES;
        vlmp_cuda_ok(cuda,
                     cudaMemcpyAsync(cuda->from_device, (const unsigned char *)from + at, now,
                                     cudaMemcpyDeviceToHost, cuda->stream),
                     "read");
        VLMP_TRY(wait_for(ctx, err));
        memcpy(out + at, cuda->from_device, now);
    }
    return bytes > 0 ? VLMP_OK : wait_for(ctx, err);
}

static int read_act(vlmp_ctx *ctx, float *to, vlmp_act from, size_t count, vlmp_error *err)
{
    /* The second half of what becomes F32 is halves until it is converted, from the front. */
    uint16_t *halves = (uint16_t *)(void *)to + count;
    VLMP_TRY(read_back(ctx, halves, from.at, count * sizeof *halves, err));
    for (size_t i = 0; i < count; i++) {
        uint16_t half;
        memcpy(&half, halves + i, sizeof half);
        float value = vlmp_f16_to_f32(half);
        memcpy(to + i, &value, sizeof value);
    }
    return VLMP_OK;
}

static int reserve(vlmp_ctx *ctx, int rows, int k, vlmp_error *err)
{
    vlmp_cuda *cuda = vlmp_cuda_of(ctx);
    size_t bytes = vlmp_cuda_scratch_bytes((size_t)rows, (size_t)k);
    unsigned char *scratch;
    if (bytes <= cuda->scratch_bytes) return VLMP_OK;
    VLMP_TRY(vlmp_cuda_take(cuda, &scratch, bytes, "kernel scratch", err));
    if (cuda->scratch != NULL) release_memory(ctx, cuda->scratch);
    cuda->scratch = scratch;
    cuda->scratch_bytes = bytes;
    return VLMP_OK;
}

static const char *describe(const vlmp_ctx *ctx)
{
    return ((const vlmp_cuda *)(const void *)ctx)->describe;
}

static void destroy(vlmp_ctx *ctx)
{
    vlmp_cuda *cuda = vlmp_cuda_of(ctx);
    if (cuda->stream != NULL) (void)cudaStreamSynchronize(cuda->stream);
    for (int i = 0; i < VLMP_CUDA_STAGES; i++) {
        if (cuda->stages[i].copied != NULL) (void)cudaEventDestroy(cuda->stages[i].copied);
        if (cuda->stages[i].at != NULL) (void)cudaFreeHost(cuda->stages[i].at);
    }
    if (cuda->from_device != NULL) (void)cudaFreeHost(cuda->from_device);
    if (cuda->scratch != NULL) (void)cudaFree(cuda->scratch);
    if (cuda->stream != NULL) (void)cudaStreamDestroy(cuda->stream);
    free(cuda->pieces);
    free(cuda);
}

const vlmp_ops vlmp_cuda_ops = {
    .name = "cuda",
    .act_bytes = sizeof(uint16_t),
    .copies = true,
    .destroy = destroy,
    .reserve = reserve,
    .describe = describe,
    .alloc = alloc,
    .free = release_memory,
    .write = write,
    .read = read_back,
    .sync = wait_for,
    .range = vlmp_cuda_range,
    .write_act = write_act,
    .read_act = read_act,
    .prepare = vlmp_cuda_prepare,
    .release = vlmp_cuda_release,
    .step_create = vlmp_cuda_step_create,
    .step_set = vlmp_cuda_step_set,
    .step_free = vlmp_cuda_step_free,
    .replay = vlmp_cuda_replay,
    .replay_end = vlmp_cuda_replay_end,
    .replay_free = vlmp_cuda_replay_free,
    .kv_create = vlmp_cuda_kv_create,
    .kv_free = vlmp_cuda_kv_free,
    .kv_bytes = vlmp_cuda_kv_bytes,
    .embed = vlmp_cuda_embed,
    .linear = vlmp_cuda_linear,
    .linear_shared = vlmp_cuda_linear_shared,
    .linear_f32 = vlmp_cuda_linear_f32,
    .rms_norm = vlmp_cuda_rms_norm,
    .layer_norm = vlmp_cuda_layer_norm,
    .layer_norm_f32 = vlmp_cuda_layer_norm_f32,
    .activate = vlmp_cuda_activate,
    .gated = vlmp_cuda_gated,
    .subtract = vlmp_cuda_subtract,
    .rope = vlmp_cuda_rope,
    .kv_write = vlmp_cuda_kv_write,
    .attention = vlmp_cuda_attention,
    .patchify = vlmp_cuda_patchify,
    .columns = vlmp_cuda_columns,
    .repeat = vlmp_cuda_repeat,
    .gather = vlmp_cuda_gather,
    .scatter = vlmp_cuda_scatter,
    .first_not_finite = vlmp_cuda_first_not_finite,
    .first_not_finite_f32 = vlmp_cuda_first_not_finite_f32,
    .column_sizes = vlmp_cuda_column_sizes,
    .column_sizes_f32 = vlmp_cuda_column_sizes_f32,
    .measure = vlmp_cuda_measure,
    .argmax = vlmp_cuda_argmax,
    .gram = vlmp_cuda_gram,
    .cross = vlmp_cuda_cross,
    .gemm = vlmp_cuda_gemm,
    .quant = &vlmp_cuda_quant_ops,
};
