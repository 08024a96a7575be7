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

/* Bytes of so many inputs of the weight. */
static size_t row_bytes(const vlmp_gguf_weight *weight, int64_t inputs)
{
    vlmp_gguf_block block = vlmp_gguf_block_of(weight->stored->about.type);
    return (size_t)(inputs / block.inputs) * (size_t)block.bytes;
}

/* The blocks of the model's row. */
static const unsigned char *row_at(const vlmp_gguf_weight *weight, int64_t rows, int64_t inputs,
                                   int64_t row)
{
    return weight->stored->data +
           (size_t)vlmp_gguf_file_row(rows, weight->heads, row) * row_bytes(weight, inputs);
}

static void read_codes(const vlmp_import *import, const vlmp_import_linear *linear, int64_t first,
                       int64_t count, uint8_t *out)
{
    (void)import;
    const vlmp_gguf_weight *weight = linear->own;
    vlmp_gguf_block block = vlmp_gguf_block_of(weight->stored->about.type);
    for (int64_t row = first; row < first + count; row++) {
        const unsigned char *at = row_at(weight, linear->n, linear->k, row);
        for (int64_t k = 0; k < linear->k; k += VLMP_GGUF_BLOCK, at += block.bytes) {
            const unsigned char *codes = at + 2;
            if (weight->stored->about.type == VLMP_GGUF_Q4_1) codes = at + 4;
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
    const vlmp_gguf_weight *weight = linear->own;
    size_t bytes = (size_t)vlmp_gguf_block_of(VLMP_GGUF_Q4_1).bytes;
    for (int64_t row = first; row < first + count; row++) {
        const unsigned char *at = row_at(weight, linear->n, linear->k, row);
        for (int64_t k = 0; k < linear->k; k += VLMP_GGUF_BLOCK, at += bytes)
            *out++ = (uint8_t)zero_of(at);
    }
}

/* Blocks begin with d and have an even number of bytes, so that it is counted in halves. */
static size_t scale_index(const vlmp_import_linear *linear, int64_t n, int64_t group)
{
    const vlmp_gguf_weight *weight = linear->own;
    int64_t row = vlmp_gguf_file_row(linear->n, weight->heads, n);
    int64_t block = row * (linear->k / VLMP_GGUF_BLOCK) + group;
    return (size_t)block * (size_t)vlmp_gguf_block_of(weight->stored->about.type).bytes / 2;
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

/* Rows of a tensor as they are moved: a vector's elements are rows of one. */
static int64_t width_of(const vlmp_tensor *tensor, int heads)
{
    return tensor->rank == 1 && heads > 0 ? 1 : tensor->shape[tensor->rank - 1];
}

static int read_dense(void *arg, const vlmp_tensor *tensor, uint64_t offset, void *out,
                      size_t length, vlmp_error *err)
{
    const vlmp_import *import = arg;
    const vlmp_gguf_weight *weight = weight_named(import, tensor->name);
    size_t element = vlmp_dtype_size(tensor->dtype);
    int64_t width = width_of(tensor, weight->heads);
    size_t bytes = (size_t)width * element, rows = tensor->bytes / bytes;
    unsigned char *row = vlmp_alloc(bytes, 1);
    if (row == NULL) return vlmp_fail_memory(err, tensor->name);
    bool decoded = vlmp_gguf_block_of(weight->stored->about.type).inputs > 1;
    while (length > 0) {
        size_t r = (size_t)offset / bytes, at = (size_t)offset % bytes;
        size_t part = bytes - at < length ? bytes - at : length;
        const unsigned char *blocks = row_at(weight, (int64_t)rows, width, (int64_t)r);
        if (decoded)
            vlmp_gguf_to_floats((float *)row, weight->stored->about.type, blocks, (int)width);
        memcpy(out, (decoded ? row : blocks) + at, part);
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
    return found != NULL ? found->stored->bytes : 0; /* a file of the folder */
}

static void put_decisions(vlmp_json_writer *w, const vlmp_import *import)
{
    const vlmp_gguf_pair *pair = pair_of(import);
    vlmp_json_open(w, '[');
    for (size_t i = 0; i < pair->weight_count; i++) {
        const vlmp_gguf_weight *weight = &pair->weights[i];
        vlmp_gguf_type type = weight->stored->about.type;
        if (vlmp_gguf_block_of(type).inputs == 1) continue;
        vlmp_json_open(w, '{');
        vlmp_json_key(w, "name");
        vlmp_json_put_bytes(w, weight->name, vlmp_name_stem(weight->name));
        vlmp_json_pair_string(w, "method", import->layout->name);
        vlmp_json_pair_string(w, "type", vlmp_gguf_type_name(type));
        vlmp_json_close(w, '}');
    }
    vlmp_json_close(w, ']');
}

static const vlmp_import_layout layout = {
    .name = "gguf",
    .codes = read_codes,
    .zeros = read_zeros,
    .scale = scale_index,
    .dense = read_dense,
    .stored = stored_bytes,
    .put_decisions = put_decisions,
};

/* Whether codes hold what the blocks do, and which. */
static bool scheme_of(const vlmp_gguf_stored *stored, vlmp_scheme *scheme)
{
    vlmp_gguf_type type = stored->about.type;
    bool eight = type == VLMP_GGUF_Q8_0;
    if (!eight && type != VLMP_GGUF_Q4_0 && type != VLMP_GGUF_Q4_1) return false;
    *scheme = vlmp_scheme_make(eight ? VLMP_CODES_U8 : VLMP_CODES_U4, VLMP_GGUF_BLOCK,
                               VLMP_ZEROS_NONE, false);
    size_t bytes = (size_t)vlmp_gguf_block_of(type).bytes;
    for (size_t at = 0; type == VLMP_GGUF_Q4_1 && at < stored->bytes; at += bytes)
        if (zero_of(stored->data + at) < 0) return false;
    return true;
}

static int add_linear(vlmp_gguf_pair *pair, const vlmp_gguf_weight *weight,
                      const vlmp_scheme *scheme, vlmp_error *err)
{
    vlmp_import_linear *linear = &pair->import.linears[pair->import.linear_count++];
    const vlmp_gguf_tensor *about = &weight->stored->about;
    bool zeros = about->type == VLMP_GGUF_Q4_1;
    *linear = (vlmp_import_linear){
        .name = vlmp_arena_copy(&pair->t.arena, weight->name, vlmp_name_stem(weight->name)),
        .source = about->name,
        .parts = {[VLMP_IMPORT_CODES] = &weight->blocks,
                  [VLMP_IMPORT_SCALES] = &weight->blocks,
                  [VLMP_IMPORT_ZEROS] = zeros ? &weight->blocks : NULL},
        .n = about->shape[0],
        .k = about->shape[1],
        .scheme = *scheme,
        .own = weight};
    if (linear->name == NULL) return vlmp_fail_memory(err, weight->blocks.file);
    return vlmp_import_survey(&pair->import, linear, err);
}

static vlmp_dtype dtype_of(vlmp_gguf_type type)
{
    return type == VLMP_GGUF_F16 ? VLMP_F16 : type == VLMP_GGUF_BF16 ? VLMP_BF16 : VLMP_F32;
}

/* Sorted by name, weights become linears, in this order, or tensors of the table. */
static int sort_out(vlmp_gguf_pair *pair, vlmp_error *err)
{
    pair->t.table.tensors = vlmp_alloc(pair->weight_count, sizeof *pair->t.table.tensors);
    pair->import.linears = vlmp_calloc(pair->weight_count, sizeof *pair->import.linears);
    if (pair->t.table.tensors == NULL || pair->import.linears == NULL)
        return vlmp_fail_memory(err, pair->t.base.path);
    if (pair->weight_count > 0)
        qsort(pair->weights, pair->weight_count, sizeof *pair->weights, by_name);
    for (size_t i = 0; i < pair->weight_count; i++) {
        const vlmp_gguf_weight *weight = &pair->weights[i];
        vlmp_scheme scheme;
        vlmp_tensor tensor = weight->blocks;
        bool codes = tensor.rank == 2 && !weight->floats && scheme_of(weight->stored, &scheme);
        bool as_it_is =
            vlmp_gguf_block_of(weight->stored->about.type).inputs == 1 && weight->heads == 0;
        tensor.dtype = dtype_of(weight->stored->about.type);
        tensor.data = as_it_is ? weight->stored->data : NULL;
        tensor.bytes = vlmp_dtype_size(tensor.dtype);
        for (int d = 0; d < tensor.rank; d++)
            tensor.bytes *= (size_t)tensor.shape[d];
        if (codes) VLMP_TRY(add_linear(pair, weight, &scheme, err));
        VLMP_TRY(vlmp_table_source_add(&pair->t, &tensor, weight->name, err));
    }
    return vlmp_table_source_sort(&pair->t, err);
}

/* Files of llama.cpp's first converters call fc1 "ffn_down" and fc2 "ffn_up". */
static bool names_are_swapped(const vlmp_gguf_pair *pair)
{
    const vlmp_vision_config *vision = &pair->t.config.vision;
    const vlmp_gguf_stored *down =
        vlmp_gguf_find_tensor(&pair->files[VLMP_GGUF_TOWER], "v.blk.0.ffn_down.weight");
    return down != NULL && vision->hidden != vision->intermediate && down->about.rank == 2 &&
           down->about.shape[0] == vision->intermediate && down->about.shape[1] == vision->hidden;
}

static void swap_names(char *canonical)
{
    char *at = strstr(canonical, ".mlp.fc");
    if (at == NULL) return;
    at += strlen(".mlp.fc");
    *at = *at == '1' ? '2' : '1';
}

/* Told by the base's configuration (RoPE), or never computed here (the norm behind the tower). */
static bool is_left(const char *name)
{
    static const char *const left[] = {VLMP_GGUF_ROPE_FACTORS, "v.post_ln.weight",
                                       "v.post_ln.bias"};
    for (size_t i = 0; i < sizeof left / sizeof *left; i++)
        if (strcmp(name, left[i]) == 0) return true;
    return false;
}

static int add_weight(vlmp_gguf_pair *pair, vlmp_gguf_part part, const vlmp_gguf_stored *stored,
                      bool swapped, vlmp_error *err)
{
    char canonical[VLMP_NAME_BYTES];
    const vlmp_gguf_tensor *about = &stored->about;
    const vlmp_gguf_place *place = vlmp_gguf_place_named(canonical, part, about->name);
    vlmp_gguf_weight *weight = &pair->weights[pair->weight_count];
    *weight = (vlmp_gguf_weight){.stored = stored,
                                 .blocks = {.source_name = about->name,
                                            .file = pair->files[part].path,
                                            .file_offset = stored->offset,
                                            .dtype = VLMP_U8,
                                            .rank = about->rank,
                                            .data = stored->data,
                                            .bytes = stored->bytes}};
    if (place == NULL)
        return vlmp_import_refuse(&weight->blocks, err,
                                  "has no place in a model of type %s; use a supported model",
                                  pair->t.config.family->model_type);
    if (swapped) swap_names(canonical);
    memcpy(weight->blocks.shape, about->shape, sizeof about->shape);
    weight->floats = place->f32;
    weight->heads = vlmp_gguf_moved_heads(place, &pair->t.config.text);
    if (weight->heads > 0 && about->rank == 1 && vlmp_gguf_block_of(about->type).inputs > 1)
        return vlmp_import_refuse(&weight->blocks, err, "is quantized, which no vector is");
    if (weight->heads > 0 && about->shape[0] % (2 * weight->heads) != 0)
        return vlmp_import_refuse(&weight->blocks, err,
                                  "has %lld rows, which are no %d heads; give another --base",
                                  (long long)about->shape[0], weight->heads);
    weight->name = vlmp_arena_copy(&pair->t.arena, canonical, strlen(canonical));
    if (weight->name == NULL) return vlmp_fail_memory(err, pair->files[part].path);
    pair->weight_count++;
    return VLMP_OK;
}

static int name_weights(vlmp_gguf_pair *pair, vlmp_error *err)
{
    bool swapped = names_are_swapped(pair);
    pair->weights = vlmp_calloc(pair->files[VLMP_GGUF_TEXT].tensor_count +
                                    pair->files[VLMP_GGUF_TOWER].tensor_count,
                                sizeof *pair->weights);
    if (pair->weights == NULL) return vlmp_fail_memory(err, pair->t.base.path);
    for (int part = VLMP_GGUF_TEXT; part <= VLMP_GGUF_TOWER; part++)
        for (size_t i = 0; i < pair->files[part].tensor_count; i++) {
            const vlmp_gguf_stored *stored = &pair->files[part].tensors[i];
            if (is_left(stored->about.name)) continue;
            VLMP_TRY(add_weight(pair, (vlmp_gguf_part)part, stored,
                                swapped && part == VLMP_GGUF_TOWER, err));
        }
    return VLMP_OK;
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
    VLMP_TRY(name_weights(pair, err));
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
