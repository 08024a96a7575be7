/* Weights on the device: rows of codes begin at 16 bytes, the rest lies as in the file. Codes of 3
 * bits become the 4-bit ones of the same weights: their zeros have 4 bits already, and without
 * zeros both the code and the middle are 4 more. */
#include <assert.h>
#include <stdlib.h>

#include "kernels/cuda/cuda.h"
#include "src/base/memory.h"

enum { PARTS = 5, PART_ALIGN = 256, ROW_ALIGN = 16 };

/* A part as it lies on the host, and where it goes. */
struct part {
    const void *from; /* NULL: there is none */
    size_t width;     /* bytes of a row */
    size_t pitch;     /* of a row on the device */
    size_t rows;
    size_t at; /* in the weight's memory */
};

static struct part rows_of(const void *from, size_t rows, size_t width, size_t align)
{
    return (struct part){from, width, (width + align - 1) / align * align, rows, 0};
}

/* false: too large to count. */
static bool list_parts(const vlmp_linear *w, struct part parts[PARTS], size_t *bytes)
{
    size_t n = (size_t)w->n, k = (size_t)w->k;
    vlmp_packed_shape shape = {0};
    vlmp_scheme scheme = w->scheme;
    scheme.global_scale = 1; /* shapes are those of files, which may not store it */
    memset(parts, 0, PARTS * sizeof *parts);
    if (vlmp_linear_quantized(w)) {
        if (!vlmp_packed_shape_of(&shape, w->n, w->k, &scheme)) return false;
        size_t codes = shape.parts[VLMP_PACKED_CODES].bytes / n;
        size_t zeros = w->zeros != NULL ? shape.parts[VLMP_PACKED_ZEROS].bytes / n : 0;
        parts[1] = rows_of(w->codes, n, codes, ROW_ALIGN);
        parts[2] = rows_of(w->scales, 1, shape.parts[VLMP_PACKED_SCALES].bytes, 1);
        parts[3] = rows_of(w->zeros, n, zeros, 1);
    } else {
        parts[0] = rows_of(w->weight, n, k * vlmp_dtype_size(w->dtype), 1);
    }
    parts[4] = rows_of(w->bias, 1, n * sizeof *w->bias, 1);
    *bytes = 0;
    for (int i = 0; i < PARTS; i++) {
        size_t part;
        if (parts[i].from == NULL) continue;
        parts[i].at = *bytes;
        if (!vlmp_mul_size(parts[i].rows, parts[i].pitch, &part) ||
            !vlmp_add_size(part, PART_ALIGN - 1, &part) ||
            !vlmp_add_size(*bytes, part / PART_ALIGN * PART_ALIGN, bytes))
            return false;
    }
    return true;
}

/* *w with codes of 4 bits; false: no memory. *codes is to be freed. */
static bool widen(vlmp_linear *w, uint8_t **codes)
{
    size_t row_bytes = vlmp_codes_row_bytes(w->k, 4);
    uint8_t *row = vlmp_alloc((size_t)w->k, 1);
    *codes = vlmp_alloc((size_t)w->n, row_bytes);
    if (row == NULL || *codes == NULL) {
        free(row);
        return false;
    }
    int more = w->zeros == NULL
                   ? vlmp_code_types[VLMP_CODES_U4].middle - vlmp_code_types[VLMP_CODES_U3].middle
                   : 0;
    for (int n = 0; n < w->n; n++) {
        vlmp_planes_unpack(row, vlmp_linear_codes(w, n), vlmp_linear_high(w, n), w->k,
                           w->scheme.codes);
        for (int k = 0; k < w->k; k++)
            row[k] = (uint8_t)(row[k] + more);
        vlmp_codes_pack(*codes + (size_t)n * row_bytes, row, w->k, 4);
    }
    free(row);
    w->scheme.codes = VLMP_CODES_U4;
    w->codes = *codes;
    w->high = NULL;
    return true;
}

static vlmp_cuda_weight weight_of(const vlmp_linear *w)
{
    vlmp_cuda_weight to = {.n = w->n, .k = w->k, .dtype = (int)w->dtype};
    if (!vlmp_linear_quantized(w)) return to;
    const vlmp_code_info *info = &vlmp_code_types[w->scheme.codes];
    to.bits = info->bits;
    assert(to.bits == 4 || to.bits == 8); /* weights.cuh reads no others */
    to.group = vlmp_linear_group(w);
    to.groups = vlmp_linear_groups(w);
    to.middle = info->middle;
    to.mantissa = info->floats.mantissa;
    to.bias = info->floats.bias;
    to.scale_type = (int)w->scheme.scales;
    to.scale_outputs = w->scheme.blocks ? VLMP_BLOCK_OUTPUTS : 1;
    to.global_scale = w->scheme.global_scale;
    to.int8 = vlmp_linear_int8(w);
    return to;
}

/* Norms and activations so wide will make codes, too (rows.cu). */
static void note_width(vlmp_cuda *cuda, int k)
{
    int i = 0;
    while (i < VLMP_CUDA_WIDTHS && cuda->int8_widths[i] != 0 && cuda->int8_widths[i] != k)
        i++;
    if (i < VLMP_CUDA_WIDTHS) cuda->int8_widths[i] = k;
}

static int prepare(vlmp_ctx *ctx, const vlmp_linear *w, void **own, vlmp_error *err)
{
    static const char what[] = "a weight";
    struct part parts[PARTS];
    size_t bytes;
    vlmp_cuda *cuda = vlmp_cuda_of(ctx);
    vlmp_cuda_weight *to = vlmp_calloc(1, sizeof *to);
    if (to == NULL || !list_parts(w, parts, &bytes)) {
        free(to);
        return vlmp_fail_memory(err, what);
    }
    *to = weight_of(w);
    int status = vlmp_cuda_take(cuda, &to->memory, bytes, what, err);
    if (status != VLMP_OK) {
        free(to);
        return status;
    }
    const void *at[PARTS];
    for (int i = 0; i < PARTS; i++) {
        unsigned char *place = to->memory + parts[i].at;
        at[i] = parts[i].from != NULL ? place : NULL;
        if (parts[i].from != NULL)
            vlmp_cuda_put(cuda, place, parts[i].pitch, parts[i].from, parts[i].width,
                          parts[i].rows);
    }
    to->weight = at[0];
    to->codes = at[1];
    to->code_bytes = parts[1].pitch;
    to->scales = at[2];
    to->zeros = at[3];
    to->zero_bytes = parts[3].pitch;
    to->bias_at = at[4];
    if (to->int8) note_width(cuda, to->k);
    *own = to;
    return VLMP_OK;
}

int vlmp_cuda_prepare(vlmp_ctx *ctx, vlmp_linear *w, vlmp_error *err)
{
    vlmp_linear wide = *w;
    uint8_t *codes = NULL;
    int status = w->scheme.codes == VLMP_CODES_U3 && !widen(&wide, &codes)
                     ? vlmp_fail_memory(err, "codes of 4 bits for the device")
                     : prepare(ctx, &wide, &w->own, err);
    free(codes);
    return status;
}

void vlmp_cuda_release(vlmp_ctx *ctx, void *own)
{
    vlmp_cuda_weight *w = own;
    if (w == NULL) return;
    ctx->ops->free(ctx, w->memory);
    free(w);
}
