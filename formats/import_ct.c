/* compressed-tensors folders (llm-compressor and others), integers and floats: which of the
 * configuration's groups a linear belongs to is told by the types and shapes of its tensors, not by
 * matching names against the groups' patterns. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "formats/code_words.h"
#include "formats/import.h"

#define MAX_GROUPS 64 /* of config_groups */

/* How a format stores codes. */
typedef enum { PACKED, INTEGERS, FLOATS, MX_FLOATS, NV_FLOATS, FORMATS } storage;

static const struct {
    const char *name;
    vlmp_code_type floats; /* NONE: integers */
} formats[FORMATS] = {
    [PACKED] = {"pack-quantized", VLMP_CODES_NONE},
    [INTEGERS] = {"int-quantized", VLMP_CODES_NONE},
    [FLOATS] = {"float-quantized", VLMP_CODES_FP8},
    [MX_FLOATS] = {"mxfp4-pack-quantized", VLMP_CODES_MXFP4},
    [NV_FLOATS] = {"nvfp4-pack-quantized", VLMP_CODES_NVFP4},
};

/* How scales are shared. */
typedef enum { GROUPS, CHANNELS, ONE, BLOCKS, STRATEGIES } sharing;

/* One of config_groups. */
typedef struct {
    const char *name;
    const char *format;  /* its own or the configuration's */
    int64_t bits, group; /* group 0: none is given */
    sharing sharing;
    bool floats, symmetric;
    bool int8_activations;
} config_group;

typedef struct {
    config_group groups[MAX_GROUPS];
    int count;
} settings;

static int refuse_config(const vlmp_import *import, const char *what, vlmp_error *err)
{
    return vlmp_fail(err, VLMP_ERR_INPUT, "%s: quantization_config: %s", import->where, what);
}

static bool is_empty(const cJSON *object)
{
    return object == NULL || (cJSON_IsObject(object) && object->child == NULL);
}

/* What concerns the whole model. */
static int check_model(const vlmp_import *import, const cJSON *config, vlmp_error *err)
{
    const cJSON *sparsity = vlmp_json_get(config, "sparsity_config");
    const char *kind = "dense";
    if (!is_empty(sparsity))
        VLMP_TRY(vlmp_json_string(sparsity, "format", "?", &kind, import->where, err));
    if (strcmp(kind, "dense") != 0)
        return refuse_config(import, "the weights are sparse, which is not read", err);
    if (!is_empty(vlmp_json_get(config, "kv_cache_scheme")))
        return refuse_config(import,
                             "the cache of keys and values is quantized by kv_cache_scheme, which "
                             "is not computed here",
                             err);
    if (!is_empty(vlmp_json_get(config, "transform_config")))
        return refuse_config(
            import, "activations are rotated by transform_config, which is not computed here", err);
    return VLMP_OK;
}

/* input_activations: none, int8 by token, or float8, which are computed as if none were. */
static int read_activations(vlmp_import *import, const cJSON *args, config_group *group,
                            vlmp_error *err)
{
    int64_t bits;
    const char *type;
    bool symmetric, dynamic;
    if (is_empty(args)) return VLMP_OK;
    VLMP_TRY(vlmp_json_int(args, "num_bits", 8, 0, 64, &bits, import->where, err));
    VLMP_TRY(vlmp_json_string(args, "type", "int", &type, import->where, err));
    VLMP_TRY(vlmp_json_bool(args, "symmetric", true, &symmetric, import->where, err));
    dynamic = cJSON_IsTrue(vlmp_json_get(args, "dynamic"));
    if (bits == 8 && symmetric && dynamic && strcmp(type, "int") == 0) {
        group->int8_activations = true;
        return VLMP_OK;
    }
    if (bits == 8 && symmetric && dynamic && strcmp(type, "float") == 0) {
        import->note = "the folder asks for activations of 8-bit floats; they are computed as "
                       "floats of 32 bits here";
        return VLMP_OK;
    }
    char text[300];
    snprintf(text, sizeof text,
             "group '%.40s' computes with %s %s %lld-bit %.20s activations; floats and dynamic "
             "symmetric 8-bit ones are computed here",
             group->name, dynamic ? "dynamic" : "static", symmetric ? "symmetric" : "asymmetric",
             (long long)bits, type);
    return refuse_config(import, text, err);
}

/* Blocks of other sizes than the packed file's are not read. */
static bool is_block(const cJSON *args)
{
    const cJSON *sides = vlmp_json_get(args, "block_structure");
    if (!cJSON_IsArray(sides) || cJSON_GetArraySize(sides) != 2) return false;
    return sides->child->valuedouble == VLMP_BLOCK_OUTPUTS &&
           sides->child->next->valuedouble == VLMP_BLOCK_OUTPUTS;
}

static int read_weights(const vlmp_import *import, const cJSON *args, config_group *group,
                        vlmp_error *err)
{
    const char *type, *strategy;
    VLMP_TRY(vlmp_json_int(args, "num_bits", 8, 0, 64, &group->bits, import->where, err));
    VLMP_TRY(vlmp_json_string(args, "type", "int", &type, import->where, err));
    VLMP_TRY(vlmp_json_bool(args, "symmetric", true, &group->symmetric, import->where, err));
    VLMP_TRY(
        vlmp_json_int(args, "group_size", 0, -1, INT32_MAX, &group->group, import->where, err));
    VLMP_TRY(vlmp_json_string(args, "strategy", group->group > 0 ? "group" : "tensor", &strategy,
                              import->where, err));
    static const struct {
        const char *name;
        sharing sharing;
    } strategies[] = {{"group", GROUPS},
                      {"tensor_group", GROUPS},
                      {"channel", CHANNELS},
                      {"tensor", ONE},
                      {"block", BLOCKS}};
    group->floats = strcmp(type, "float") == 0;
    group->sharing = STRATEGIES;
    for (size_t i = 0; i < sizeof strategies / sizeof *strategies; i++)
        if (strcmp(strategies[i].name, strategy) == 0) group->sharing = strategies[i].sharing;
    if (group->sharing == BLOCKS && !is_block(args)) group->sharing = STRATEGIES;
    char text[300];
    snprintf(text, sizeof text,
             "group '%.40s' has %lld-bit %.20s weights with the strategy '%.20s'; 4 and 8 bits "
             "with one scale a group, channel, tensor or block of 128 × 128 are read",
             group->name, (long long)group->bits, type, strategy);
    bool good = (strcmp(type, "int") == 0 || group->floats) && group->sharing != STRATEGIES &&
                (group->bits == 4 || group->bits == 8);
    return good ? VLMP_OK : refuse_config(import, text, err);
}

static const char *copy_text(vlmp_import *import, const char *text)
{
    return vlmp_arena_copy(&import->arena, text, strlen(text));
}

static int read_group(vlmp_import *import, const cJSON *item, const char *format,
                      config_group *group, vlmp_error *err)
{
    const cJSON *weights = vlmp_json_get(item, "weights");
    VLMP_TRY(vlmp_json_string(item, "format", format, &format, import->where, err));
    group->name = copy_text(import, item->string);
    group->format = copy_text(import, format);
    if (group->name == NULL || group->format == NULL) return vlmp_fail_memory(err, import->where);
    if (!cJSON_IsObject(weights))
        return refuse_config(import, "a group quantizes no weights; such a model is not read", err);
    VLMP_TRY(read_weights(import, weights, group, err));
    if (!is_empty(vlmp_json_get(item, "output_activations")))
        return refuse_config(import, "outputs are quantized, which is not computed here", err);
    return read_activations(import, vlmp_json_get(item, "input_activations"), group, err);
}

static int configure(vlmp_import *import, const cJSON *config, vlmp_error *err)
{
    settings *s = vlmp_arena_alloc(&import->arena, 1, sizeof *s);
    const cJSON *groups = vlmp_json_get(config, "config_groups");
    const char *format;
    if (s == NULL) return vlmp_fail_memory(err, import->where);
    import->settings = s;
    VLMP_TRY(check_model(import, config, err));
    VLMP_TRY(vlmp_json_string(config, "format", "?", &format, import->where, err));
    if (!cJSON_IsObject(groups)) return refuse_config(import, "has no 'config_groups'", err);
    for (const cJSON *item = groups->child; item != NULL; item = item->next) {
        if (s->count == MAX_GROUPS) return refuse_config(import, "has too many groups", err);
        VLMP_TRY(read_group(import, item, format, &s->groups[s->count], err));
        s->count++;
    }
    return VLMP_OK;
}

/* Outputs and inputs, and the bits that the words of a row have room for. */
static int read_packed(vlmp_import_linear *linear, int *bits, vlmp_error *err)
{
    const vlmp_tensor *shape = linear->parts[VLMP_IMPORT_SHAPE];
    const vlmp_tensor *codes = linear->parts[VLMP_IMPORT_CODES];
    if (shape == NULL)
        return vlmp_import_refuse(codes, err,
                                  "is there, but not the weight_shape of its linear; is the "
                                  "download complete?");
    VLMP_TRY(vlmp_import_need(linear, VLMP_IMPORT_SHAPE, VLMP_I64, 2, 0, err));
    int64_t sides[2];
    memcpy(sides, shape->data, sizeof sides);
    for (int i = 0; i < 2; i++)
        if (sides[i] < 1 || sides[i] > INT32_MAX)
            return vlmp_import_refuse(shape, err, "has a side of %lld; download the model again",
                                      (long long)sides[i]);
    linear->n = sides[0];
    linear->k = sides[1];
    *bits = codes->rank == 2 && codes->shape[1] == (linear->k + 7) / 8 ? 4 : 8;
    return vlmp_import_need(linear, VLMP_IMPORT_CODES, VLMP_I32, linear->n,
                            (linear->k * *bits + 31) / 32, err);
}

static int read_integers(vlmp_import_linear *linear, int *bits, vlmp_error *err)
{
    const vlmp_tensor *codes = linear->parts[VLMP_IMPORT_CODES];
    *bits = 8;
    linear->n = codes->shape[0];
    linear->k = codes->rank == 2 ? codes->shape[1] : 0;
    if (codes->rank == 2 && linear->n >= 1 && linear->k >= 1 && linear->n <= INT32_MAX &&
        linear->k <= INT32_MAX)
        return VLMP_OK;
    return vlmp_import_refuse(codes, err, "is no matrix; download the model again");
}

/* Scales [n][groups], one for each block, or a single one. */
static int read_scales(vlmp_import_linear *linear, int64_t *groups, sharing *shared,
                       vlmp_error *err)
{
    const vlmp_tensor *scales = linear->parts[VLMP_IMPORT_SCALES];
    size_t count = scales->bytes / vlmp_dtype_size(scales->dtype);
    int64_t rows = linear->n, blocks = (linear->n + VLMP_BLOCK_OUTPUTS - 1) / VLMP_BLOCK_OUTPUTS;
    *groups = scales->rank == 2 ? scales->shape[1] : 1;
    *shared = count == 1 && linear->n > 1 ? ONE : *groups == 1 ? CHANNELS : GROUPS;
    if (scales->rank == 2 && scales->shape[0] != linear->n && scales->shape[0] == blocks &&
        linear->parts[VLMP_IMPORT_CODES]->dtype == VLMP_F8_E4M3 && *shared != ONE) {
        *shared = BLOCKS;
        rows = blocks;
    }
    linear->one_scale = *shared == ONE;
    if (linear->one_scale) return VLMP_OK;
    if (*groups < 1 || linear->k % *groups != 0)
        return vlmp_import_refuse(scales, err,
                                  "has %lld groups, which do not divide %lld inputs; download the "
                                  "model again",
                                  (long long)*groups, (long long)linear->k);
    if (scales->rank == 1 && scales->shape[0] == linear->n) return VLMP_OK;
    return vlmp_import_need(linear, VLMP_IMPORT_SCALES, scales->dtype, rows, *groups, err);
}

/* The type of the scales that a storage has; *type gets it. */
static int check_scale_type(const vlmp_import_linear *linear, storage kept, vlmp_dtype *type,
                            vlmp_error *err)
{
    const vlmp_tensor *scales = linear->parts[VLMP_IMPORT_SCALES];
    bool good = kept == MX_FLOATS   ? scales->dtype == VLMP_U8
                : kept == NV_FLOATS ? scales->dtype == VLMP_F8_E4M3
                                    : vlmp_dtype_is_float(scales->dtype);
    *type = kept == MX_FLOATS ? VLMP_F8_E8M0 : scales->dtype;
    if (good) return VLMP_OK;
    return vlmp_import_refuse(scales, err, "has type %s, which scales of %s codes do not have",
                              vlmp_dtype_name(scales->dtype), formats[kept].name);
}

static int check_zeros(const vlmp_import_linear *linear, int bits, int64_t groups, vlmp_error *err)
{
    const vlmp_tensor *zeros = linear->parts[VLMP_IMPORT_ZEROS];
    if (zeros == NULL) return VLMP_OK;
    if (zeros->dtype != VLMP_I8)
        return vlmp_import_need(linear, VLMP_IMPORT_ZEROS, VLMP_I32, (linear->n * bits + 31) / 32,
                                groups, err);
    if (linear->one_scale && zeros->bytes == 1) return VLMP_OK;
    VLMP_TRY(vlmp_import_need(linear, VLMP_IMPORT_ZEROS, VLMP_I8, linear->n, groups, err));
    for (size_t i = 0; i < zeros->bytes; i++) {
        int zero = zeros->data[i] < 0x80 ? zeros->data[i] : zeros->data[i] - 256;
        if (zero < -(1 << (bits - 1)) || zero >= 1 << (bits - 1))
            return vlmp_import_refuse(zeros, err, "at element %zu is %d, no zero of %d bits", i,
                                      zero, bits);
    }
    return VLMP_OK;
}

/* The configuration's groups that this linear may belong to must agree. */
static int choose_group(const vlmp_import *import, const vlmp_import_linear *linear, storage kept,
                        int bits, int64_t groups, sharing shared, const config_group **out,
                        vlmp_error *err)
{
    const settings *s = import->settings;
    const vlmp_tensor *codes = linear->parts[VLMP_IMPORT_CODES];
    *out = NULL;
    for (int i = 0; i < s->count; i++) {
        const config_group *g = &s->groups[i];
        /* A group may be as wide as the channel. */
        bool fits = g->sharing == shared || (g->sharing == GROUPS && shared == CHANNELS);
        if (g->bits != bits || strcmp(g->format, formats[kept].name) != 0 || !fits ||
            g->floats != (formats[kept].floats != VLMP_CODES_NONE) ||
            g->symmetric != (linear->parts[VLMP_IMPORT_ZEROS] == NULL) ||
            (g->sharing == GROUPS && linear->k / groups != g->group))
            continue;
        if (*out != NULL && ((*out)->int8_activations != g->int8_activations))
            return vlmp_import_refuse(codes, err,
                                      "fits the groups '%.40s' and '%.40s' of the configuration, "
                                      "which differ in activations",
                                      (*out)->name, g->name);
        *out = g;
    }
    if (*out != NULL) return VLMP_OK;
    return vlmp_import_refuse(codes, err,
                              "fits no group of the configuration: %d-bit codes as %s, %lld scales "
                              "for %lld inputs, zeros: %s",
                              bits, formats[kept].name, (long long)groups, (long long)linear->k,
                              linear->parts[VLMP_IMPORT_ZEROS] != NULL ? "yes" : "no");
}

static storage storage_of(const vlmp_import_linear *linear)
{
    switch (linear->parts[VLMP_IMPORT_CODES]->dtype) {
    case VLMP_I8:
        return INTEGERS;
    case VLMP_F8_E4M3:
        return FLOATS;
    case VLMP_U8:
        return linear->parts[VLMP_IMPORT_GLOBAL] != NULL ? NV_FLOATS : MX_FLOATS;
    default:
        return PACKED;
    }
}

/* Two codes a byte. */
static int read_halves(vlmp_import_linear *linear, int *bits, vlmp_error *err)
{
    VLMP_TRY(read_integers(linear, bits, err));
    *bits = 4;
    if (linear->k > INT32_MAX / 2)
        return vlmp_import_refuse(linear->parts[VLMP_IMPORT_CODES], err, "is too wide");
    linear->k *= 2;
    return VLMP_OK;
}

/* Readers divide by it. */
static int read_global(const vlmp_import_linear *linear, float *factor, vlmp_error *err)
{
    float divisor;
    VLMP_TRY(vlmp_import_need(linear, VLMP_IMPORT_GLOBAL, VLMP_F32, 1, 0, err));
    memcpy(&divisor, linear->parts[VLMP_IMPORT_GLOBAL]->data, sizeof divisor);
    *factor = 1.0f / divisor;
    if (divisor > 0 && isfinite(divisor) && isfinite(*factor)) return VLMP_OK;
    return vlmp_import_refuse(linear->parts[VLMP_IMPORT_GLOBAL], err,
                              "is %g, which divides no scale; download the model again",
                              (double)divisor);
}

static int check_floats(const vlmp_import_linear *linear, vlmp_error *err)
{
    const vlmp_tensor *codes = linear->parts[VLMP_IMPORT_CODES];
    for (size_t i = 0; i < codes->bytes; i++)
        if ((codes->data[i] & 0x7f) == VLMP_E4M3_NAN)
            return vlmp_import_refuse(codes, err, "at element %zu is NaN; download the model again",
                                      i);
    return VLMP_OK;
}

static int fit(vlmp_import *import, vlmp_import_linear *linear, vlmp_error *err)
{
    storage kept = storage_of(linear);
    int bits = 0;
    int64_t groups = 0;
    sharing shared = STRATEGIES;
    vlmp_dtype type;
    const config_group *group;
    bool halves = kept == MX_FLOATS || kept == NV_FLOATS;
    VLMP_TRY(kept == PACKED ? read_packed(linear, &bits, err)
             : halves       ? read_halves(linear, &bits, err)
                            : read_integers(linear, &bits, err));
    VLMP_TRY(check_scale_type(linear, kept, &type, err));
    VLMP_TRY(read_scales(linear, &groups, &shared, err));
    VLMP_TRY(check_zeros(linear, bits, groups, err));
    VLMP_TRY(vlmp_import_check_order(linear, groups, err));
    VLMP_TRY(choose_group(import, linear, kept, bits, groups, shared, &group, err));
    vlmp_code_type codes = formats[kept].floats;
    if (codes == VLMP_CODES_NONE) codes = vlmp_code_type_of_bits(bits);
    bool whole = group->sharing == CHANNELS || group->sharing == ONE;
    linear->scheme = vlmp_scheme_make(codes, whole ? VLMP_GROUP_CHANNEL : (int)(linear->k / groups),
                                      VLMP_ZEROS_NONE, group->int8_activations);
    linear->scheme.scales = type;
    if (kept == FLOATS) VLMP_TRY(check_floats(linear, err));
    return kept == NV_FLOATS ? read_global(linear, &linear->scheme.global_scale, err) : VLMP_OK;
}

/* Words of a row are a packed row's bytes, filled up; signed bytes are moved to unsigned ones. */
static void read_codes(const vlmp_import *import, const vlmp_import_linear *linear, int64_t first,
                       int64_t count, uint8_t *out)
{
    (void)import;
    const vlmp_tensor *codes = linear->parts[VLMP_IMPORT_CODES];
    int bits = vlmp_code_types[linear->scheme.codes].bits;
    size_t row_bytes = codes->bytes / (size_t)linear->n, k = (size_t)linear->k;
    for (int64_t row = 0; row < count; row++, out += k) {
        vlmp_codes_unpack(out, codes->data + (size_t)(first + row) * row_bytes, (int)k, bits);
        for (size_t i = 0; i < k && codes->dtype == VLMP_I8; i++)
            out[i] ^= 0x80;
    }
}

/* Words, or signed bytes. */
static void read_zeros(const vlmp_import *import, const vlmp_import_linear *linear, int64_t first,
                       int64_t count, uint8_t *out)
{
    (void)import;
    const vlmp_tensor *zeros = linear->parts[VLMP_IMPORT_ZEROS];
    int bits = vlmp_code_types[linear->scheme.codes].bits;
    int64_t groups = vlmp_import_groups(linear);
    if (zeros->dtype != VLMP_I8) {
        vlmp_words_get(out, &vlmp_words_ct_zeros, zeros->data, linear->n, groups, bits, first,
                       count);
        return;
    }
    for (int64_t i = first * groups; i < (first + count) * groups; i++)
        *out++ = (uint8_t)(zeros->data[linear->one_scale ? 0 : i] + (1 << (bits - 1)));
}

static size_t scale_index(const vlmp_import_linear *linear, int64_t n, int64_t group)
{
    if (linear->one_scale) return 0;
    return (size_t)((linear->scheme.blocks ? n / VLMP_BLOCK_OUTPUTS : n) *
                        vlmp_import_groups(linear) +
                    group);
}

static const vlmp_import_suffix suffixes[] = {
    {".weight_packed", VLMP_IMPORT_CODES, NULL},
    {".weight", VLMP_IMPORT_CODES, NULL},
    {".weight_scale", VLMP_IMPORT_SCALES, NULL},
    {".weight_zero_point", VLMP_IMPORT_ZEROS, NULL},
    {".weight_global_scale", VLMP_IMPORT_GLOBAL, NULL},
    {".weight_g_idx", VLMP_IMPORT_INDEX, NULL},
    {".weight_shape", VLMP_IMPORT_SHAPE, NULL},
    {".input_scale", VLMP_IMPORT_REFUSED, "activations under static scales are not computed here"},
    {".input_zero_point", VLMP_IMPORT_REFUSED, "activations with zeros are not computed here"},
    {".input_global_scale", VLMP_IMPORT_REFUSED, "4-bit activations are not computed here"},
    {".output_scale", VLMP_IMPORT_REFUSED, "outputs are quantized, which is not computed here"},
    {".k_scale", VLMP_IMPORT_REFUSED, "keys are quantized, which is not computed here"},
    {".v_scale", VLMP_IMPORT_REFUSED, "values are quantized, which is not computed here"},
    {".bitmask", VLMP_IMPORT_REFUSED, "sparse weights are not read"},
    {0}};

const vlmp_import_layout vlmp_import_compressed_tensors = {
    .name = "compressed-tensors",
    .suffixes = suffixes,
    .configure = configure,
    .fit = fit,
    .codes = read_codes,
    .zeros = read_zeros,
    .scale = scale_index,
};
