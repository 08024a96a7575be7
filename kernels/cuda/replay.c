/* Work that comes again as a graph: one launch for a step of decoding instead of one a kernel. What
 * a launch depends on beside the addresses of the caller is a step's shape. The first time a shape
 * comes its work is done as ever, for it may be the only time; then it is recorded, and from there
 * on replayed. */
#include <stdlib.h>

#include "kernels/cuda/cuda.h"
#include "src/base/memory.h"

enum { SHAPES = 16 };

/* What launches are made of. */
struct shape {
    const vlmp_step *step;
    const void *scratch;
    int rows, singles, chunks, tiles;
};

struct recorded {
    struct shape shape; /* step NULL: free */
    cudaGraphExec_t graph;
    uint64_t used; /* when it was last asked for */
};

struct vlmp_replay {
    struct recorded recorded[SHAPES];
    struct recorded *recording;
    uint64_t asked;
};

static bool is_same(const struct shape *a, const struct shape *b)
{
    return a->step == b->step && a->scratch == b->scratch && a->rows == b->rows &&
           a->singles == b->singles && a->chunks == b->chunks && a->tiles == b->tiles;
}

static void forget(vlmp_cuda *cuda, struct recorded *it)
{
    if (it->graph != NULL) vlmp_cuda_ok(cuda, cudaGraphExecDestroy(it->graph), "a graph's end");
    *it = (struct recorded){0};
}

/* Where the shape is, or goes to in place of the one that was not asked for the longest. */
static struct recorded *find(vlmp_cuda *cuda, vlmp_replay *replay, const struct shape *shape)
{
    struct recorded *oldest = replay->recorded;
    for (int i = 0; i < SHAPES; i++) {
        struct recorded *it = &replay->recorded[i];
        if (is_same(&it->shape, shape)) return it;
        if (it->used < oldest->used) oldest = it;
    }
    forget(cuda, oldest);
    return oldest;
}

bool vlmp_cuda_replay(vlmp_ctx *ctx, vlmp_replay **replay, const vlmp_step *step)
{
    vlmp_cuda *cuda = vlmp_cuda_of(ctx);
    const struct shape shape = {step,          cuda->scratch, step->rows,
                                step->singles, step->chunks,  step->tiles};
    cuda->turn++; /* what is recorded knows nothing of what was before it, nor the reverse */
    if (*replay == NULL) *replay = vlmp_calloc(1, sizeof **replay);
    if (*replay == NULL || step->rows == 0) return false;
    struct recorded *it = find(cuda, *replay, &shape);
    bool seen = it->shape.step != NULL;
    it->shape = shape;
    it->used = ++(*replay)->asked;
    if (it->graph != NULL) {
        vlmp_cuda_ok(cuda, cudaGraphLaunch(it->graph, cuda->stream), "a graph");
        return true;
    }
    if (seen &&
        vlmp_cuda_ok(cuda, cudaStreamBeginCapture(cuda->stream, cudaStreamCaptureModeThreadLocal),
                     "recording"))
        (*replay)->recording = it;
    return false;
}

void vlmp_cuda_replay_end(vlmp_ctx *ctx, vlmp_replay *replay)
{
    vlmp_cuda *cuda = vlmp_cuda_of(ctx);
    cuda->turn++;
    if (replay == NULL || replay->recording == NULL) return;
    struct recorded *it = replay->recording;
    cudaGraph_t graph = NULL;
    replay->recording = NULL;
    bool good = vlmp_cuda_ok(cuda, cudaStreamEndCapture(cuda->stream, &graph), "recording") &&
                vlmp_cuda_ok(cuda, cudaGraphInstantiateWithFlags(&it->graph, graph, 0), "a graph");
    if (graph != NULL) vlmp_cuda_ok(cuda, cudaGraphDestroy(graph), "a graph's end");
    if (good)
        vlmp_cuda_ok(cuda, cudaGraphLaunch(it->graph, cuda->stream), "a graph");
    else
        it->graph = NULL;
}

void vlmp_cuda_replay_free(vlmp_ctx *ctx, vlmp_replay *replay)
{
    for (int i = 0; replay != NULL && i < SHAPES; i++)
        forget(vlmp_cuda_of(ctx), &replay->recorded[i]);
    free(replay);
}
