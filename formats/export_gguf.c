#include "formats/export_gguf.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/gguf_blocks.h"
#include "formats/gguf_graph.h"
#include "src/base/code_values.h"
#include "src/base/packed_parts.h"
#include "src/model/names.h"

static vlmp_packed_row packed_row(const vlmp_gguf_item *item, int64_t row)
{
    size_t n = (size_t)item->linear->n, r = (size_t)row;
    return (vlmp_packed_row){
        .scheme = &item->linear->scheme,
        .k = (int)item->out.shape[1],
        .codes = item->codes->data + r * (item->codes->bytes / n),
        .scales = item->scales->data + r * (item->scales->bytes / n),
        .zeros = item->zeros == NULL ? NULL : item->zeros->data + r * (item->zeros->bytes / n),
    };
}

static bool is_exact(const vlmp_gguf_item *item, vlmp_gguf_type type)
{
    bool exact = true;
    for (int64_t row = 0; row < item->out.shape[0] && exact; row++) {
        vlmp_packed_row r = packed_row(item, row);
        exact = vlmp_gguf_row_is_exact(&r, type);
    }
    return exact;
}

/* What a type seems to round, or not to hold, it may happen to: other tools' Q4_0 and Q8_0, where
 * signs of scales became zeros, and scales of few bits. */
static void fit_codes(vlmp_gguf_item *item)
{
    vlmp_gguf_type type;
    const vlmp_packed_linear *linear = item->linear;
    item->fit = vlmp_gguf_fit_of(&linear->scheme, (int)linear->k, &type);
    if (item->fit != VLMP_GGUF_EXACT && vlmp_gguf_has_blocks(&linear->scheme, (int)linear->k)) {
        if (type == VLMP_GGUF_Q4_1 && is_exact(item, VLMP_GGUF_Q4_0)) type = VLMP_GGUF_Q4_0;
        if (is_exact(item, type)) item->fit = VLMP_GGUF_EXACT;
    }
    item->out.type = type;
}

/* codes: scratch of one byte an input. */
static void unpack_row(float *out, uint8_t *codes, const vlmp_packed_row *row)
{
    const vlmp_scheme *scheme = row->scheme;
    vlmp_code_grid grid = vlmp_code_grid_of(scheme);
    int bits = vlmp_code_types[scheme->codes].bits, group = vlmp_scheme_group(scheme, row->k);
    vlmp_codes_unpack(codes, row->codes, row->k, bits);
    for (int g = 0; g < row->k / group; g++) {
        int zero = row->zeros == NULL ? grid.middle : vlmp_code_at(row->zeros, g, bits);
        float scale = vlmp_scale_at(row->scales, (size_t)g, scheme->scales) * scheme->global_scale;
        vlmp_code_values(out + g * group, &grid, codes + g * group, group, zero, scale);
    }
}

static vlmp_gguf_type float_type(vlmp_dtype dtype)
{
    return dtype == VLMP_F32 ? VLMP_GGUF_F32 : dtype == VLMP_F16 ? VLMP_GGUF_F16 : VLMP_GGUF_BF16;
}

static const vlmp_tensor *part_of(const vlmp_source *source, const vlmp_packed_linear *linear,
                                  vlmp_packed_part part)
{
    char full[VLMP_NAME_BYTES + 16];
    snprintf(full, sizeof full, "%s.%s", linear->name,
             vlmp_packed_part_name(part, linear->scheme.codes));
    return source->find(source, full);
}

/* Shape of a piece of the tensor, and how many rows it has: of a vector its elements. */
static int cut_piece(vlmp_gguf_item *item, int64_t *rows, const vlmp_tensor *tensor, int pieces,
                     vlmp_error *err)
{
    int64_t *shape = item->out.shape;
    item->out.rank = tensor->rank - (pieces == 2);
    if (item->out.rank < 1 || item->out.rank > VLMP_GGUF_MAX_RANK)
        return vlmp_fail(err, VLMP_ERR_INPUT, "%s: tensor '%.100s' has %d dimensions", tensor->file,
                         tensor->name, tensor->rank);
    memcpy(shape, tensor->shape, (size_t)item->out.rank * sizeof *shape);
    if (pieces == 3) shape[0] /= 3;
    if (pieces == 2) /* [outputs][channels][frames][rows][columns] */
        memcpy(shape + 2, tensor->shape + 3, 2 * sizeof *shape);
    *rows = shape[0];
    for (int d = 1; d + 1 < item->out.rank; d++)
        *rows *= shape[d];
    return VLMP_OK;
}

/* Its values, or the codes, scales and zeros of its linear. */
static void take_values(vlmp_gguf_item *item, const vlmp_source *source, const vlmp_tensor *tensor,
                        bool f32)
{
    size_t stem = vlmp_name_stem(tensor->name);
    item->from = tensor->name;
    if (vlmp_packed_part_of(tensor->name + stem) == VLMP_PACKED_PARTS) {
        item->dense = tensor;
        item->out.type = tensor->rank == 2 && !f32 ? float_type(tensor->dtype) : VLMP_GGUF_F32;
        return;
    }
    item->linear = vlmp_packed_linear_find(source, tensor->name, stem);
    item->codes = tensor;
    item->scales = part_of(source, item->linear, VLMP_PACKED_SCALES);
    item->zeros = part_of(source, item->linear, VLMP_PACKED_ZEROS);
    item->out.shape[1] = item->linear->k;
    fit_codes(item);
}

/* The items of a tensor's pieces, where they lie in this file. */
static int add_pieces(vlmp_gguf_plan *plan, const vlmp_tensor *tensor, vlmp_gguf_part part,
                      const vlmp_config *config, vlmp_error *err)
{
    char canonical[VLMP_NAME_BYTES], name[VLMP_GGUF_MAX_NAME + 1];
    int stem = (int)vlmp_name_stem(tensor->name), piece = 0;
    vlmp_packed_part packed = vlmp_packed_part_of(tensor->name + stem);
    if (packed == VLMP_PACKED_SCALES || packed == VLMP_PACKED_ZEROS) return VLMP_OK;
    snprintf(canonical, sizeof canonical, "%.*s%s", stem, tensor->name,
             packed == VLMP_PACKED_PARTS ? tensor->name + stem : ".weight");
    const vlmp_gguf_place *place = vlmp_gguf_place_of(name, canonical, 0, config);
    if (place == NULL)
        return vlmp_fail(err, VLMP_ERR_INPUT, "%s: tensor '%.100s' has no place in a GGUF file",
                         tensor->file, tensor->name);
    while (place != NULL && place->part == part) {
        int64_t rows = 0;
        vlmp_gguf_item *item = &plan->items[plan->count];
        *item = (vlmp_gguf_item){.piece = piece};
        item->out.name = vlmp_arena_copy(&plan->arena, name, strlen(name));
        if (item->out.name == NULL) return vlmp_fail_memory(err, "export");
        VLMP_TRY(cut_piece(item, &rows, tensor, place->pieces, err));
        VLMP_TRY(vlmp_gguf_order_of(&item->order, place, rows, config, &plan->arena, err));
        take_values(item, plan->source, tensor, place->f32);
        plan->count++;
        place = vlmp_gguf_place_of(name, canonical, ++piece, config);
    }
    return VLMP_OK;
}

static int add_items(vlmp_gguf_plan *plan, vlmp_gguf_part part, const vlmp_gguf_model *model,
                     vlmp_error *err)
{
    const vlmp_source *source = model->source;
    /* One more for the RoPE factors. */
    plan->items = vlmp_calloc(VLMP_GGUF_PIECES * source->count(source) + 1, sizeof *plan->items);
    if (plan->items == NULL) return vlmp_fail_memory(err, "export");
    for (size_t i = 0; i < source->count(source); i++) {
        const vlmp_tensor *tensor = source->at(source, i);
        if (!tensor->unused) VLMP_TRY(add_pieces(plan, tensor, part, model->config, err));
    }
    return VLMP_OK;
}

static int add_rope_factors(vlmp_gguf_plan *plan, const vlmp_text_config *text, vlmp_error *err)
{
    if (text->rope.kind != VLMP_ROPE_LLAMA3) return VLMP_OK;
    const float *factors = vlmp_gguf_rope_factors(text, &plan->arena);
    if (factors == NULL) return vlmp_fail_memory(err, "export");
    plan->items[plan->count++] = (vlmp_gguf_item){.out = {.name = VLMP_GGUF_ROPE_FACTORS,
                                                          .type = VLMP_GGUF_F32,
                                                          .rank = 1,
                                                          .shape = {text->head_dim / 2}},
                                                  .values = factors};
    return VLMP_OK;
}

int vlmp_gguf_plan_make(vlmp_gguf_plan *plan, vlmp_gguf_part part, const vlmp_gguf_model *model,
                        vlmp_error *err)
{
    *plan = (vlmp_gguf_plan){.source = model->source};
    if (part == VLMP_GGUF_TOWER) VLMP_TRY(vlmp_gguf_check_graph(model->config, err));
    VLMP_TRY(add_items(plan, part, model, err));
    if (part == VLMP_GGUF_TOWER) {
        vlmp_gguf_tower_keys(plan, model);
        return VLMP_OK;
    }
    VLMP_TRY(add_rope_factors(plan, &model->config->text, err));
    return vlmp_gguf_text_keys(plan, model, err);
}

void vlmp_gguf_plan_free(vlmp_gguf_plan *plan)
{
    vlmp_gguf_keys_free(&plan->keys);
    free(plan->items);
    vlmp_arena_free(&plan->arena);
    *plan = (vlmp_gguf_plan){0};
}

uint32_t vlmp_gguf_file_type(const vlmp_gguf_plan *plan)
{
    static const struct {
        vlmp_gguf_type type;
        uint32_t file_type; /* llama.h */
    } known[] = {{VLMP_GGUF_F32, 0},  {VLMP_GGUF_F16, 1},  {VLMP_GGUF_Q4_0, 2},
                 {VLMP_GGUF_Q4_1, 3}, {VLMP_GGUF_Q8_0, 7}, {VLMP_GGUF_BF16, 32}};
    double most = -1;
    uint32_t best = 0;
    for (size_t t = 0; t < sizeof known / sizeof *known; t++) {
        double weights = 0;
        for (size_t i = 0; i < plan->count; i++) {
            const vlmp_gguf_tensor *out = &plan->items[i].out;
            if (out->type == known[t].type && out->rank == 2)
                weights += (double)out->shape[0] * (double)out->shape[1];
        }
        if (weights > most) {
            most = weights;
            best = known[t].file_type;
        }
    }
    return best;
}

/* Scratch of a writer. */
typedef struct {
    const vlmp_gguf_plan *plan;
    float *row;     /* as wide as the widest */
    uint8_t *codes; /* likewise */
    vlmp_gguf_progress *progress;
} writer;

static int check_finite(const vlmp_gguf_item *item, const float *row, size_t count, vlmp_error *err)
{
    if (item->out.type != VLMP_GGUF_F16) return VLMP_OK;
    for (size_t i = 0; i < count; i++)
        if (!(fabsf(row[i]) < 65520.0f))
            return vlmp_fail(err, VLMP_ERR_INPUT,
                             "'%.100s': the value %g does not fit F16, which is what llama.cpp "
                             "would hold it in",
                             item->from, (double)row[i]);
    return VLMP_OK;
}

static int read_dense(writer *w, const vlmp_gguf_item *item, int64_t row, void *out,
                      vlmp_error *err)
{
    size_t k = (size_t)item->out.shape[item->out.rank - 1];
    size_t element = vlmp_dtype_size(item->dense->dtype);
    const unsigned char *data = item->dense->data;
    if (item->out.rank == 1) { /* its elements are rows */
        for (size_t i = 0; i < k; i++)
            vlmp_to_f32(w->row + i,
                        data + (size_t)vlmp_gguf_model_row(&item->order, item->piece, (int64_t)i) *
                                   element,
                        item->dense->dtype, 1);
    } else {
        data += (size_t)vlmp_gguf_model_row(&item->order, item->piece, row) * k * element;
        vlmp_to_f32(w->row, data, item->dense->dtype, k);
    }
    VLMP_TRY(check_finite(item, w->row, k, err));
    vlmp_gguf_from_floats(out, item->out.type, w->row, (int)k);
    return VLMP_OK;
}

static int read_packed(writer *w, const vlmp_gguf_item *item, int64_t r, void *out, vlmp_error *err)
{
    vlmp_packed_row row = packed_row(item, vlmp_gguf_model_row(&item->order, item->piece, r));
    if (item->fit != VLMP_GGUF_ANEW) {
        vlmp_gguf_from_codes(out, item->out.type, &row);
        return VLMP_OK;
    }
    unpack_row(w->row, w->codes, &row);
    VLMP_TRY(check_finite(item, w->row, (size_t)row.k, err));
    vlmp_gguf_from_floats(out, item->out.type, w->row, row.k);
    return VLMP_OK;
}

static int read_rows(void *arg, size_t index, int64_t first, int64_t count, void *out,
                     vlmp_error *err)
{
    writer *w = arg;
    const vlmp_gguf_item *item = &w->plan->items[index];
    size_t row_bytes = 0;
    VLMP_TRY(vlmp_gguf_row_bytes(&item->out, &row_bytes, err));
    for (int64_t r = first; r < first + count; r++, out = (char *)out + row_bytes) {
        if (item->values != NULL)
            memcpy(out, item->values, row_bytes);
        else if (item->dense != NULL)
            VLMP_TRY(read_dense(w, item, r, out, err));
        else
            VLMP_TRY(read_packed(w, item, r, out, err));
    }
    const vlmp_source *source = w->plan->source;
    if (item->dense != NULL) source->release(source, item->dense);
    if (item->codes != NULL) source->release(source, item->codes);
    vlmp_gguf_progress *p = w->progress;
    p->done += (uint64_t)count * row_bytes;
    if (p->step == NULL || p->step(p->arg, p->done, p->total) == 0) return VLMP_OK;
    return vlmp_fail(err, VLMP_ERR_INTERRUPTED, "interrupted; nothing is written");
}

int vlmp_gguf_plan_write(const vlmp_gguf_plan *plan, vlmp_outfile *file,
                         vlmp_gguf_progress *progress, vlmp_error *err)
{
    int64_t widest = 1;
    vlmp_gguf_tensor *tensors = vlmp_alloc(plan->count, sizeof *tensors);
    for (size_t i = 0; i < plan->count && tensors != NULL; i++) {
        tensors[i] = plan->items[i].out;
        int64_t k = tensors[i].shape[tensors[i].rank - 1];
        widest = k > widest ? k : widest;
    }
    writer w = {plan, vlmp_alloc((size_t)widest, sizeof(float)), vlmp_alloc((size_t)widest, 1),
                progress};
    int status = tensors == NULL || w.row == NULL || w.codes == NULL
                     ? vlmp_fail_memory(err, file->path)
                     : vlmp_gguf_write(file, &plan->keys, tensors, plan->count, read_rows, &w, err);
    free(w.codes);
    free(w.row);
    free(tensors);
    return status;
}
