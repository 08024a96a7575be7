/* GGUF files of a model as a packed file. Blocks of 4 and 8 bits that our codes hold exactly stay
 * codes: Q4_0, Q8_0, and Q4_1 where every minimum is a multiple of its scale. Others become the F32
 * values that ggml makes of them. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/gguf_blocks.h"
#include "formats/gguf_pair.h"
#include "src/base/file.h"
#include "src/base/half.h"
#include "src/base/packed_parts.h"
#include "src/model/family.h"
#include "src/model/model.h"

static const vlmp_import_layout layout;

static const vlmp_gguf_pair *pair_of(const vlmp_import *import)
{
    return import->settings;
}

static float half_at(const unsigned char *at)
{
    uint16_t half;
    memcpy(&half, at, sizeof half);
    return vlmp_f16_to_f32(half);
}

static void read_codes(const vlmp_import *import, const vlmp_import_linear *linear, int64_t first,
                       int64_t count, uint8_t *out)
{
    (void)import;
    for (int64_t row = first; row < first + count; row++) {
        vlmp_gguf_type type;
        const unsigned char *at = vlmp_gguf_row_at(linear->own, row, &type);
        for (int64_t k = 0; k < linear->k; k += VLMP_GGUF_BLOCK) {
            const unsigned char *codes = at + (type == VLMP_GGUF_Q4_1 ? 4 : 2);
            at += vlmp_gguf_block_of(type).bytes;
            for (int i = 0; i < VLMP_GGUF_BLOCK; i++)
                *out++ = linear->scheme.codes == VLMP_CODES_U8 ? codes[i] ^ 0x80
                         : i < 16                              ? codes[i] & 15
                                                               : codes[i - 16] >> 4;
        }
    }
}

/* z of d·q + m = (q − z)·d; −1: no code. */
static int zero_of(const unsigned char *block)
{
    float d = half_at(block), m = half_at(block + 2);
    if (d == 0) return m == 0 ? 0 : -1;
    float zero = -m / d;
    bool whole = zero >= 0 && zero <= 15 && zero == truncf(zero) && -d * zero == m;
    return whole ? (int)zero : -1;
}

static void read_zeros(const vlmp_import *import, const vlmp_import_linear *linear, int64_t first,
                       int64_t count, uint8_t *out)
{
    (void)import;
    for (int64_t row = first; row < first + count; row++) {
        vlmp_gguf_type type;
        const unsigned char *at = vlmp_gguf_row_at(linear->own, row, &type);
        for (int64_t k = 0; k < linear->k; k += VLMP_GGUF_BLOCK) {
            *out++ = (uint8_t)zero_of(at);
            at += vlmp_gguf_block_of(type).bytes;
        }
    }
}

/* Blocks begin with d, have an even number of bytes and begin at even ones, so that it is counted
 * in halves. */
static size_t scale_index(const vlmp_import_linear *linear, int64_t n, int64_t group)
{
    const vlmp_gguf_weight *weight = linear->own;
    vlmp_gguf_type type;
    const unsigned char *at = vlmp_gguf_row_at(weight, n, &type);
    at += group * vlmp_gguf_block_of(type).bytes;
    return (size_t)(at - weight->blocks.data) / sizeof(uint16_t);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const vlmp_gguf_weight *)a)->name, ((const vlmp_gguf_weight *)b)->name);
}

static const vlmp_gguf_weight *weight_named(const vlmp_import *import, const char *name)
{
    const vlmp_gguf_pair *pair = pair_of(import);
    const vlmp_gguf_weight wanted = {.name = name};
    return bsearch(&wanted, pair->weights, pair->weight_count, sizeof wanted, by_name);
}

/* One row, in the tensor's type. */
static void read_row(void *out, const vlmp_gguf_weight *weight, vlmp_dtype dtype, int64_t row)
{
    vlmp_gguf_type type;
    const unsigned char *blocks = vlmp_gguf_row_at(weight, row, &type);
    if (vlmp_gguf_dtype_of(type) == dtype && vlmp_gguf_block_of(type).inputs == 1)
        memcpy(out, blocks, (size_t)weight->width * vlmp_dtype_size(dtype));
    else
        vlmp_gguf_to_floats(out, type, blocks, (int)weight->width);
}

static int read_dense(void *arg, const vlmp_tensor *tensor, uint64_t offset, void *out,
                      size_t length, vlmp_error *err)
{
    const vlmp_import *import = arg;
    const vlmp_gguf_weight *weight = weight_named(import, tensor->name);
    size_t bytes = (size_t)weight->width * vlmp_dtype_size(tensor->dtype);
    unsigned char *row = vlmp_alloc(bytes, 1);
    if (row == NULL) return vlmp_fail_memory(err, tensor->name);
    while (length > 0) {
        size_t at = (size_t)offset % bytes, part = bytes - at < length ? bytes - at : length;
        read_row(row, weight, tensor->dtype, (int64_t)(offset / bytes));
        memcpy(out, row + at, part);
        out = (char *)out + part;
        offset += part;
        length -= part;
    }
    free(row);
    if (offset == tensor->bytes) import->from->release(import->from, &weight->blocks);
    return VLMP_OK;
}

static uint64_t stored_bytes(const vlmp_import *import, const char *name)
{
    char weight[VLMP_NAME_BYTES + 16];
    size_t stem = vlmp_name_stem(name);
    vlmp_packed_part part = vlmp_packed_part_of(name + stem);
    snprintf(weight, sizeof weight, "%.*s%s", (int)stem, name,
             part == VLMP_PACKED_PARTS ? name + stem : ".weight");
    const vlmp_gguf_weight *found = weight_named(import, weight);
    uint64_t bytes = 0; /* of a file of the folder */
    for (int i = 0; found != NULL && i < found->order.pieces; i++)
        bytes += found->pieces[i]->bytes;
    return bytes;
}

static void put_decision(vlmp_json_writer *w, const char *name, vlmp_gguf_type type)
{
    vlmp_json_open(w, '{');
    vlmp_json_key(w, "name");
    vlmp_json_put_bytes(w, name, vlmp_name_stem(name));
    vlmp_json_pair_string(w, "method", layout.name);
    vlmp_json_pair_string(w, "type", vlmp_gguf_type_name(type));
    vlmp_json_close(w, '}');
}

/* One of a weight, or of each piece where they differ. */
static void put_decisions(vlmp_json_writer *w, const vlmp_import *import)
{
    const vlmp_gguf_pair *pair = pair_of(import);
    vlmp_json_open(w, '[');
    for (size_t i = 0; i < pair->weight_count; i++) {
        const vlmp_gguf_weight *weight = &pair->weights[i];
        for (int p = 0; p < weight->order.pieces; p++) {
            vlmp_gguf_type type = weight->pieces[p]->about.type;
            bool again = p > 0 && type == weight->pieces[p - 1]->about.type;
            if (!again && vlmp_gguf_block_of(type).inputs > 1) put_decision(w, weight->name, type);
        }
    }
    vlmp_json_close(w, ']');
}

static const vlmp_import_layout layout = {
    .name = "gguf",
    .named_by = "llama.cpp",
    .codes = read_codes,
    .zeros = read_zeros,
    .scale = scale_index,
    .dense = read_dense,
    .stored = stored_bytes,
    .put_decisions = put_decisions,
};

/* Whether codes hold what the blocks do, which are of one type, and which. */
static bool scheme_of(const vlmp_gguf_weight *weight, vlmp_scheme *scheme)
{
    vlmp_gguf_type type = weight->pieces[0]->about.type;
    bool eight = type == VLMP_GGUF_Q8_0;
    if (!eight && type != VLMP_GGUF_Q4_0 && type != VLMP_GGUF_Q4_1) return false;
    *scheme = vlmp_scheme_make(eight ? VLMP_CODES_U8 : VLMP_CODES_U4, VLMP_GGUF_BLOCK,
                               VLMP_ZEROS_NONE, false);
    size_t bytes = (size_t)vlmp_gguf_block_of(type).bytes;
    for (int i = 0; i < weight->order.pieces; i++) {
        const vlmp_gguf_stored *stored = weight->pieces[i];
        if (stored->about.type != type) return false;
        for (size_t at = 0; type == VLMP_GGUF_Q4_1 && at < stored->bytes; at += bytes)
            if (zero_of(stored->data + at) < 0) return false;
    }
    return true;
}

/* Of several pieces, a scale that is none is told here, where it is known which has it. */
static int check_scales(const vlmp_gguf_weight *weight, vlmp_error *err)
{
    for (int i = 0; i < weight->order.pieces; i++) {
        const vlmp_gguf_stored *stored = weight->pieces[i];
        vlmp_tensor piece = weight->blocks;
        piece.source_name = stored->about.name;
        size_t bytes = (size_t)vlmp_gguf_block_of(stored->about.type).bytes;
        for (size_t at = 0; at < stored->bytes; at += bytes) {
            float scale = half_at(stored->data + at);
            if (!isfinite(scale))
                return vlmp_import_refuse(&piece, err,
                                          "at element %zu is %g, which is no scale; the file is "
                                          "damaged, download it again",
                                          at / sizeof(uint16_t), (double)scale);
        }
    }
    return VLMP_OK;
}

static int add_linear(vlmp_gguf_pair *pair, const vlmp_gguf_weight *weight,
                      const vlmp_scheme *scheme, vlmp_error *err)
{
    vlmp_import_linear *linear = &pair->import.linears[pair->import.linear_count++];
    const vlmp_tensor *blocks = &weight->blocks;
    bool zeros = weight->pieces[0]->about.type == VLMP_GGUF_Q4_1;
    *linear = (vlmp_import_linear){
        .name = vlmp_arena_copy(&pair->t.arena, weight->name, vlmp_name_stem(weight->name)),
        .source = blocks->source_name,
        .parts = {[VLMP_IMPORT_CODES] = blocks,
                  [VLMP_IMPORT_SCALES] = blocks,
                  [VLMP_IMPORT_ZEROS] = zeros ? blocks : NULL},
        .n = blocks->shape[0],
        .k = blocks->shape[1],
        .scheme = *scheme,
        .own = weight};
    if (linear->name == NULL) return vlmp_fail_memory(err, blocks->file);
    VLMP_TRY(check_scales(weight, err));
    return vlmp_import_survey(&pair->import, linear, err);
}

/* The type of values that pieces of one have, or else of what is made of them. */
static vlmp_dtype dtype_of(const vlmp_gguf_weight *weight)
{
    vlmp_dtype dtype = vlmp_gguf_dtype_of(weight->pieces[0]->about.type);
    for (int i = 1; i < weight->order.pieces; i++)
        if (vlmp_gguf_dtype_of(weight->pieces[i]->about.type) != dtype) dtype = VLMP_F32;
    return dtype;
}

/* A weight as a tensor of the table, whose data are those of the file where they are the model's.
 */
static int add_tensor(vlmp_gguf_pair *pair, const vlmp_gguf_weight *weight, vlmp_error *err)
{
    vlmp_tensor tensor = weight->blocks;
    const vlmp_gguf_stored *first = weight->pieces[0];
    bool moves = weight->order.pieces > 1 || vlmp_gguf_order_moves(&weight->order);
    tensor.dtype = dtype_of(weight);
    tensor.data = vlmp_gguf_block_of(first->about.type).inputs == 1 && !moves ? first->data : NULL;
    tensor.bytes = vlmp_dtype_size(tensor.dtype);
    for (int d = 0; d < tensor.rank; d++)
        if (!vlmp_mul_size(tensor.bytes, (size_t)tensor.shape[d], &tensor.bytes))
            return vlmp_import_refuse(&tensor, err, "is too large");
    return vlmp_table_source_add(&pair->t, &tensor, weight->name, err);
}

/* Weights become linears, in this order, or tensors of the table. */
static int sort_out(vlmp_gguf_pair *pair, vlmp_error *err)
{
    pair->t.table.tensors = vlmp_alloc(pair->weight_count, sizeof *pair->t.table.tensors);
    pair->import.linears = vlmp_calloc(pair->weight_count, sizeof *pair->import.linears);
    if (pair->t.table.tensors == NULL || pair->import.linears == NULL)
        return vlmp_fail_memory(err, pair->t.base.path);
    for (size_t i = 0; i < pair->weight_count; i++) {
        const vlmp_gguf_weight *weight = &pair->weights[i];
        vlmp_scheme scheme;
        if (weight->blocks.rank == 2 && !weight->floats && scheme_of(weight, &scheme))
            VLMP_TRY(add_linear(pair, weight, &scheme, err));
        VLMP_TRY(add_tensor(pair, weight, err));
    }
    return vlmp_table_source_sort(&pair->t, err);
}

static int has_config(bool *out, const char *folder, vlmp_error *err)
{
    char path[PATH_MAX];
    vlmp_path_kind kind = VLMP_PATH_ABSENT;
    if (vlmp_path_join(path, sizeof path, folder, "config.json"))
        VLMP_TRY(vlmp_path_look(&kind, path, err));
    *out = kind != VLMP_PATH_ABSENT;
    return VLMP_OK;
}

/* The base's files and configuration. */
static int read_base(vlmp_gguf_pair *pair, const vlmp_gguf_bases *bases, const char *own,
                     vlmp_error *err)
{
    char boundary[PATH_MAX];
    bool found, given = bases->base != NULL;
    const char *base = given ? bases->base : own;
    VLMP_TRY(has_config(&found, base, err));
    if (!found && !given && bases->spare != NULL) {
        base = bases->spare;
        VLMP_TRY(has_config(&found, base, err));
    }
    if (!found)
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: no config.json%s; GGUF files lack what the Hugging Face folder of "
                         "their model says, give it by --base",
                         base, base == own ? " beside the GGUF files" : "");
    VLMP_TRY(vlmp_folder_boundary(boundary, sizeof boundary, base, err));
    return vlmp_folder_config_read(&pair->base, &pair->t, base, boundary, false, err);
}

static void release(const vlmp_source *self, const vlmp_tensor *tensor)
{
    const vlmp_gguf_pair *pair = (const vlmp_gguf_pair *)self;
    int part = tensor->file == pair->files[VLMP_GGUF_TEXT].path ? VLMP_GGUF_TEXT : VLMP_GGUF_TOWER;
    vlmp_map_release(&pair->files[part].map, (size_t)tensor->file_offset, tensor->bytes);
}

static void close_pair(vlmp_gguf_pair *pair)
{
    free(pair->weights);
    free(pair->import.linears);
    vlmp_gguf_close(&pair->files[VLMP_GGUF_TEXT]);
    vlmp_gguf_close(&pair->files[VLMP_GGUF_TOWER]);
    vlmp_table_source_free(&pair->t);
    vlmp_folder_config_free(&pair->base);
}

/* Whether the tensors are the model's, before any of them is read. */
static int check_model(vlmp_gguf_pair *pair, vlmp_error *err)
{
    vlmp_model model;
    int status = vlmp_model_open(&model, &pair->t.base, err);
    vlmp_model_close(&model);
    return status;
}

static int fill(vlmp_gguf_pair *pair, const char *mmproj, const vlmp_gguf_bases *bases,
                vlmp_error *err)
{
    vlmp_gguf_paths paths;
    VLMP_TRY(vlmp_gguf_find(&paths, pair->t.base.path, mmproj, err));
    VLMP_TRY(read_base(pair, bases, paths.folder, err));
    VLMP_TRY(vlmp_gguf_open(&pair->files[VLMP_GGUF_TEXT], paths.text, err));
    VLMP_TRY(vlmp_gguf_open(&pair->files[VLMP_GGUF_TOWER], paths.tower, err));
    VLMP_TRY(vlmp_gguf_pair_check(pair, err));
    VLMP_TRY(vlmp_gguf_pair_weights(pair, err));
    VLMP_TRY(sort_out(pair, err));
    return check_model(pair, err);
}

int vlmp_gguf_pair_open(vlmp_source **out, const char *path, const char *mmproj,
                        const vlmp_gguf_bases *bases, vlmp_error *err)
{
    *out = NULL;
    vlmp_gguf_pair pair = {.import = {.layout = &layout,
                                      .settings = &pair,
                                      .where = path,
                                      .from = &pair.t.base,
                                      .note = "activations are floats here, where llama.cpp rounds "
                                              "those of quantized weights to 8 bits"}};
    int status = vlmp_table_source_init(&pair.t, path, err);
    pair.t.base.release = release;
    if (status == VLMP_OK) status = fill(&pair, mmproj, bases, err);
    if (status == VLMP_OK) status = vlmp_import_open(out, &pair.import, &pair.t.base, err);
    close_pair(&pair);
    return status;
}
