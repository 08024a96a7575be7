/* A quantized linear of another tool's folder as the parts of a packed one. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/import.h"

float vlmp_import_scale(const vlmp_import_linear *linear, size_t index)
{
    return vlmp_scale_at(linear->parts[VLMP_IMPORT_SCALES]->data, index, linear->scheme.scales);
}

int64_t vlmp_import_groups(const vlmp_import_linear *linear)
{
    return linear->k / vlmp_scheme_group(&linear->scheme, (int)linear->k);
}

/* Rows of scales: outputs, or blocks of them. */
static int64_t scale_rows(const vlmp_import_linear *linear)
{
    if (!linear->scheme.blocks) return linear->n;
    return (linear->n + VLMP_BLOCK_OUTPUTS - 1) / VLMP_BLOCK_OUTPUTS;
}

static int survey_scales(const vlmp_import *import, vlmp_import_linear *linear, vlmp_error *err)
{
    int64_t groups = vlmp_import_groups(linear), rows = linear->one_scale ? 1 : scale_rows(linear);
    int64_t outputs = linear->scheme.blocks ? VLMP_BLOCK_OUTPUTS : 1;
    for (int64_t row = 0; row < rows; row++)
        for (int64_t g = 0; g < groups; g++) {
            size_t index = import->layout->scale(linear, row * outputs, g);
            float scale = vlmp_import_scale(linear, index);
            linear->flips |= scale < 0;
            if (isfinite(scale) && (scale >= 0 || !vlmp_codes_are_floats(linear->scheme.codes)))
                continue;
            return vlmp_import_refuse(linear->parts[VLMP_IMPORT_SCALES], err,
                                      "at element %zu is %g, which is no scale; the file is "
                                      "damaged, download it again",
                                      index, (double)scale);
        }
    return VLMP_OK;
}

/* Whether all zeros are the grid's middle, as if none were stored. */
static int all_middle(const vlmp_import *import, const vlmp_import_linear *linear, bool *middle,
                      vlmp_error *err)
{
    enum { ROWS = 64 };
    size_t groups = (size_t)vlmp_import_groups(linear);
    uint8_t *zeros = vlmp_alloc(groups, ROWS), want = 0;
    if (zeros == NULL) return vlmp_fail_memory(err, linear->name);
    want = (uint8_t)vlmp_code_types[linear->scheme.codes].middle;
    *middle = true;
    for (int64_t first = 0; first < linear->n && *middle; first += ROWS) {
        int64_t count = linear->n - first < ROWS ? linear->n - first : ROWS;
        import->layout->zeros(import, linear, first, count, zeros);
        for (size_t i = 0; i < (size_t)count * groups; i++)
            *middle &= zeros[i] == want;
    }
    free(zeros);
    return VLMP_OK;
}

int vlmp_import_survey(const vlmp_import *import, vlmp_import_linear *linear, vlmp_error *err)
{
    bool middle = true;
    VLMP_TRY(survey_scales(import, linear, err));
    if (linear->parts[VLMP_IMPORT_ZEROS] != NULL)
        VLMP_TRY(all_middle(import, linear, &middle, err));
    linear->scheme.zeros = middle && !linear->flips ? VLMP_ZEROS_NONE : VLMP_ZEROS_PACKED;
    return VLMP_OK;
}

/* Zeros [count][groups] of the packed linear's grid, and the scales' signs applied: (u − z)·s is
 * ((m − u) − (m − z))·(−s), m the highest code. */
static void read_zeros(const vlmp_import *import, const vlmp_import_linear *linear, int64_t first,
                       int64_t count, uint8_t *out)
{
    const vlmp_code_info *info = &vlmp_code_types[linear->scheme.codes];
    size_t groups = (size_t)vlmp_import_groups(linear);
    int high = (1 << info->bits) - 1;
    if (linear->parts[VLMP_IMPORT_ZEROS] != NULL)
        import->layout->zeros(import, linear, first, count, out);
    else
        memset(out, info->middle, (size_t)count * groups);
    for (int64_t row = 0; row < count && linear->flips; row++)
        for (size_t g = 0; g < groups; g++) {
            uint8_t *zero = &out[(size_t)row * groups + g];
            size_t index = import->layout->scale(linear, first + row, (int64_t)g);
            if (vlmp_import_scale(linear, index) < 0) *zero = (uint8_t)(high - *zero);
        }
}

/* Codes of one group: those under a scale of 0 become the zero, those under a negative one are
 * mirrored. */
static void settle_group(const vlmp_import_linear *linear, float scale, uint8_t zero,
                         uint8_t *codes, size_t count)
{
    int high = (1 << vlmp_code_types[linear->scheme.codes].bits) - 1;
    if (scale == 0) memset(codes, zero, count);
    for (size_t i = 0; i < count && scale < 0; i++)
        codes[i] = (uint8_t)(high - codes[i]);
}

static void settle_codes(const vlmp_import *import, const vlmp_import_linear *linear, int64_t first,
                         int64_t count, const uint8_t *zeros, uint8_t *codes)
{
    size_t groups = (size_t)vlmp_import_groups(linear), group = (size_t)linear->k / groups;
    for (int64_t row = 0; row < count; row++)
        for (size_t g = 0; g < groups; g++) {
            size_t index = import->layout->scale(linear, first + row, (int64_t)g);
            settle_group(linear, vlmp_import_scale(linear, index), zeros[(size_t)row * groups + g],
                         codes + (size_t)row * (size_t)linear->k + g * group, group);
        }
}

/* Rows first … of a part as they are in the packed file. */
typedef struct {
    const vlmp_import *import;
    const vlmp_import_linear *linear;
    int64_t first, count;
    size_t row_bytes;
} wanted_rows;

static int put_codes(const wanted_rows *w, vlmp_packed_part part, uint8_t *out, vlmp_error *err)
{
    const vlmp_import_linear *linear = w->linear;
    size_t k = (size_t)linear->k, groups = (size_t)vlmp_import_groups(linear),
           count = (size_t)w->count;
    int bits = vlmp_code_types[linear->scheme.codes].bits;
    uint8_t *zeros = vlmp_alloc(count, groups);
    uint8_t *codes = part == VLMP_PACKED_CODES && zeros != NULL ? vlmp_alloc(count, k) : NULL;
    int status = VLMP_OK;
    if (zeros == NULL || (part == VLMP_PACKED_CODES && codes == NULL))
        status = vlmp_fail_memory(err, linear->name);
    if (status == VLMP_OK) read_zeros(w->import, linear, w->first, w->count, zeros);
    if (status == VLMP_OK && codes != NULL) {
        w->import->layout->codes(w->import, linear, w->first, w->count, codes);
        settle_codes(w->import, linear, w->first, w->count, zeros, codes);
    }
    const uint8_t *rows = codes != NULL ? codes : zeros;
    size_t columns = codes != NULL ? k : groups;
    for (size_t i = 0; i < count && status == VLMP_OK; i++)
        vlmp_codes_pack(out + i * w->row_bytes, rows + i * columns, (int)columns, bits);
    free(codes);
    free(zeros);
    return status;
}

/* A scale of 0 has no weights that are not: any other will do. */
static void put_scales(const wanted_rows *w, uint8_t *out)
{
    const vlmp_import_linear *linear = w->linear;
    int64_t groups = vlmp_import_groups(linear),
            outputs = linear->scheme.blocks ? VLMP_BLOCK_OUTPUTS : 1;
    size_t at = 0;
    for (int64_t row = w->first; row < w->first + w->count; row++)
        for (int64_t g = 0; g < groups; g++) {
            size_t index = w->import->layout->scale(linear, row * outputs, g);
            float scale = fabsf(vlmp_import_scale(linear, index));
            vlmp_scale_put(out, at++, linear->scheme.scales, scale == 0 ? 1.0f : scale);
        }
}

static int put_rows(const wanted_rows *w, vlmp_packed_part part, uint8_t *out, vlmp_error *err)
{
    if (part == VLMP_PACKED_CODES || part == VLMP_PACKED_ZEROS) return put_codes(w, part, out, err);
    if (part == VLMP_PACKED_GLOBAL)
        memcpy(out, &w->linear->scheme.global_scale, sizeof w->linear->scheme.global_scale);
    else
        put_scales(w, out);
    return VLMP_OK;
}

const vlmp_import_linear *vlmp_import_linear_of(const vlmp_import *import, const char *name)
{
    size_t low = 0, high = import->linear_count, stem = vlmp_name_stem(name);
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const char *other = import->linears[middle].name;
        int order = strncmp(name, other, stem);
        if (order == 0) order = other[stem] == '\0' ? 0 : -1;
        if (order == 0) return &import->linears[middle];
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

int vlmp_import_read(void *arg, const vlmp_tensor *tensor, uint64_t offset, void *out,
                     size_t length, vlmp_error *err)
{
    const vlmp_import *import = arg;
    const vlmp_import_linear *linear = vlmp_import_linear_of(import, tensor->name);
    vlmp_packed_part part = vlmp_packed_part_of(tensor->name + vlmp_name_stem(tensor->name));
    if (linear == NULL || part == VLMP_PACKED_PARTS) /* such as its bias */
        return import->layout->dense(arg, tensor, offset, out, length, err);
    size_t row_bytes = tensor->bytes / (size_t)tensor->shape[0];
    size_t first = (size_t)offset / row_bytes;
    size_t end = ((size_t)offset + length + row_bytes - 1) / row_bytes;
    wanted_rows wanted = {.import = import,
                          .linear = linear,
                          .first = (int64_t)first,
                          .count = (int64_t)(end - first),
                          .row_bytes = row_bytes};
    uint8_t *rows = vlmp_alloc(end - first, row_bytes);
    if (rows == NULL) return vlmp_fail_memory(err, tensor->name);
    int status = put_rows(&wanted, part, rows, err);
    if (status == VLMP_OK) memcpy(out, rows + ((size_t)offset - first * row_bytes), length);
    free(rows);
    if (offset + length < tensor->bytes) return status;
    for (int i = 0; i < VLMP_IMPORT_PARTS; i++)
        if (linear->parts[i] != NULL) import->from->release(import->from, linear->parts[i]);
    return status;
}
