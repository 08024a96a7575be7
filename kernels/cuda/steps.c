/* Steps and stores of keys and values on the device. */
#include <assert.h>
#include <stdlib.h>

#include "kernels/cuda/cuda.h"
#include "src/base/memory.h"

static const char step_name[] = "a step", store_name[] = "key/value store";

enum { SEGMENT_INTS = sizeof(vlmp_cuda_segment) / sizeof(int32_t) };

/* Where the arrays of a step begin, in integers: segments, segment_of, ids, positions, pages,
 * tiles. */
struct places {
    size_t segment_of, ids, positions, pages, tiles, all;
};

static struct places places_of(const vlmp_step_size *size)
{
    size_t rows = (size_t)size->rows;
    struct places at = {.segment_of = (size_t)size->segments * SEGMENT_INTS};
    at.ids = at.segment_of + rows;
    at.positions = at.ids + rows;
    at.pages = at.positions + VLMP_POSITION_AXES * rows;
    at.tiles = at.pages + (size_t)size->pages;
    at.all = at.tiles + 2 * (rows / VLMP_CUDA_QUERIES + (size_t)size->segments);
    return at;
}

int vlmp_cuda_step_create(vlmp_ctx *ctx, vlmp_step **out, const vlmp_step_size *size,
                          vlmp_error *err)
{
    struct places at = places_of(size);
    vlmp_step *step = vlmp_calloc(1, sizeof *step);
    int32_t *image = vlmp_calloc(at.all, sizeof *image);
    *out = NULL;
    int status = step != NULL && image != NULL
                     ? vlmp_ctx_alloc(ctx, &step->memory, at.all, sizeof *image, step_name, err)
                     : vlmp_fail_memory(err, step_name);
    if (status != VLMP_OK) {
        free(step);
        free(image);
        return status;
    }
    step->size = *size;
    step->image = image;
    step->device = (vlmp_cuda_step){.segments = (const vlmp_cuda_segment *)(void *)step->memory,
                                    .segment_of = step->memory + at.segment_of,
                                    .ids = step->memory + at.ids,
                                    .pages = step->memory + at.pages,
                                    .tiles = step->memory + at.tiles};
    for (size_t axis = 0; axis < VLMP_POSITION_AXES; axis++)
        step->device.positions[axis] = step->memory + at.positions + axis * (size_t)size->rows;
    *out = step;
    return VLMP_OK;
}

void vlmp_cuda_step_free(vlmp_ctx *ctx, vlmp_step *step)
{
    if (step == NULL) return;
    ctx->ops->free(ctx, step->memory);
    free(step->image);
    free(step);
}

/* Chunks that are enough for rows of up to so many stored ones, in few different numbers, so that
 * a recorded step (replay.c) serves for long. */
static int chunks_for(int stored)
{
    int chunks = (stored + 8 * VLMP_CUDA_CHUNK_ROWS - 1) / (8 * VLMP_CUDA_CHUNK_ROWS) * 8;
    return chunks < VLMP_CUDA_MOST_CHUNKS ? chunks : VLMP_CUDA_MOST_CHUNKS;
}

/* Fills the image's segments, and what follows from them: each row's segment and number. */
static void set_segments(vlmp_step *step, const struct places *at, const vlmp_step_rows *from)
{
    vlmp_cuda_segment *segments = (vlmp_cuda_segment *)(void *)step->image;
    int32_t *pages = step->image + at->pages, next = 0;
    int32_t *tile = step->image + at->tiles;
    int longest = 0;
    step->singles = step->tiles = 0;
    for (int s = 0; s < from->segment_count; s++) {
        const vlmp_segment *segment = &from->segments[s];
        bool listed = segment->pages != NULL;
        if (segment->rows == 1) {
            step->singles++;
            if (segment->position >= longest) longest = segment->position + 1;
        }
        for (int row = 0; segment->rows > 1 && row < segment->rows; row += VLMP_CUDA_QUERIES) {
            *tile++ = s, *tile++ = row;
            step->tiles++;
        }
        segments[s] = (vlmp_cuda_segment){segment->first_row, segment->rows, segment->position,
                                          listed ? next : -1};
        for (int r = 0; r < segment->rows; r++) {
            step->image[at->segment_of + (size_t)(segment->first_row + r)] = s;
            step->image[at->positions + (size_t)(segment->first_row + r)] = segment->position + r;
        }
        if (!listed) continue;
        assert(next + segment->page_count <= step->size.pages);
        memcpy(pages + next, segment->pages, (size_t)segment->page_count * sizeof *pages);
        next += segment->page_count;
    }
    step->chunks = chunks_for(longest);
}

void vlmp_cuda_step_set(vlmp_ctx *ctx, vlmp_step *step, const vlmp_step_rows *from)
{
    struct places at = places_of(&step->size);
    size_t rows = (size_t)step->size.rows, bytes = (size_t)from->rows * sizeof *step->image;
    assert(from->rows <= step->size.rows && from->segment_count <= step->size.segments);
    step->rows = from->rows;
    set_segments(step, &at, from);
    for (size_t axis = 0; axis < VLMP_POSITION_AXES && bytes > 0; axis++) {
        int32_t *to = step->image + at.positions + axis * rows;
        const int32_t *given = from->positions[axis];
        if (given == NULL) given = step->image + at.positions;
        if (given != to) memcpy(to, given, bytes);
    }
    if (from->ids != NULL && bytes > 0) memcpy(step->image + at.ids, from->ids, bytes);
    vlmp_ctx_write(ctx, step->memory, step->image, at.all * sizeof *step->image);
}

size_t vlmp_cuda_kv_bytes(const vlmp_kv_shape *shape)
{
    return 2 * (size_t)shape->layers * (size_t)shape->pages * (size_t)shape->page_rows *
           (size_t)shape->kv_heads * (size_t)shape->head_dim * sizeof(uint16_t);
}

int vlmp_cuda_kv_create(vlmp_ctx *ctx, vlmp_kv **out, const vlmp_kv_shape *shape, vlmp_error *err)
{
    vlmp_cuda *cuda = vlmp_cuda_of(ctx);
    size_t bytes = vlmp_cuda_kv_bytes(shape);
    vlmp_kv *kv = vlmp_calloc(1, sizeof *kv);
    *out = NULL;
    if (kv == NULL) return vlmp_fail_memory(err, store_name);
    int status = vlmp_cuda_take(cuda, &kv->k, bytes, store_name, err);
    if (status != VLMP_OK) {
        free(kv);
        return status;
    }
    kv->shape = *shape;
    kv->v = kv->k + bytes / 2 / sizeof *kv->k;
    *out = kv;
    return VLMP_OK;
}

void vlmp_cuda_kv_free(vlmp_ctx *ctx, vlmp_kv *kv)
{
    if (kv == NULL) return;
    ctx->ops->free(ctx, kv->k);
    free(kv);
}
