/* compressed-tensors folders (llm-compressor and others): which of the configuration's groups a
 * linear belongs to is told by the types and shapes of its tensors, not by matching names against
 * the groups' patterns. */
#include <stdio.h>
#include <string.h>

#include "formats/import.h"

#define MAX_GROUPS 64 /* of config_groups */

/* How a format stores codes. */
typedef enum { PACKED, INTEGERS, FORMATS } storage;

static const char *const format_names[FORMATS] = {
    [PACKED] = "pack-quantized", [INTEGERS] = "int-quantized"};

/* One of config_groups. */
typedef struct {
    const char *name;
    const char *format;  /* its own or the configuration's */
    int64_t bits, group; /* group 0: none is given */
    const char *strategy;
    bool symmetric;
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

/* input_activations: none, or int8 by token. */
static int read_activations(const vlmp_import *import, const cJSON *args, config_group *group,
                            vlmp_error *err)
{
    int64_t bits;
    const char *type;
    bool symmetric;
    if (is_empty(args)) return VLMP_OK;
    VLMP_TRY(vlmp_json_int(args, "num_bits", 8, 0, 64, &bits, import->where, err));
    VLMP_TRY(vlmp_json_string(args, "type", "int", &type, import->where, err));
    VLMP_TRY(vlmp_json_bool(args, "symmetric", true, &symmetric, import->where, err));
    char text[300];
    snprintf(text, sizeof text,
             "group '%.40s' computes with %s%s %lld-bit %.20s activations; floats and dynamic "
             "symmetric int8 ones are computed here",
             group->name, cJSON_IsTrue(vlmp_json_get(args, "dynamic")) ? "dynamic " : "static ",
             symmetric ? "symmetric" : "asymmetric", (long long)bits, type);
    group->int8_activations = bits == 8 && strcmp(type, "int") == 0 && symmetric &&
                              cJSON_IsTrue(vlmp_json_get(args, "dynamic"));
    return group->int8_activations ? VLMP_OK : refuse_config(import, text, err);
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
    static const char *const strategies[] = {"group", "channel", "tensor"};
    for (size_t i = 0; i < sizeof strategies / sizeof *strategies; i++)
        if (strcmp(strategies[i], strategy) == 0) group->strategy = strategies[i];
    char text[300];
    snprintf(text, sizeof text,
             "group '%.40s' has %lld-bit %.20s weights with the strategy '%.20s'; integers of 4 "
             "and 8 bits with one scale a group, channel or tensor are read",
             group->name, (long long)group->bits, type, strategy);
    bool good = strcmp(type, "int") == 0 && group->strategy != NULL &&
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

/* Scales [n][groups], or a single one. */
static int read_scales(vlmp_import_linear *linear, int64_t *groups, vlmp_error *err)
{
    const vlmp_tensor *scales = linear->parts[VLMP_IMPORT_SCALES];
    size_t count = scales->bytes / vlmp_dtype_size(scales->dtype);
    if (!vlmp_dtype_is_float(scales->dtype))
        return vlmp_import_refuse(scales, err, "has type %s; F32, F16 and BF16 scales are read",
                                  vlmp_dtype_name(scales->dtype));
    linear->one_scale = count == 1 && linear->n > 1;
    *groups = scales->rank == 2 ? scales->shape[1] : 1;
    if (linear->one_scale) return VLMP_OK;
    if (*groups < 1 || linear->k % *groups != 0)
        return vlmp_import_refuse(scales, err,
                                  "has %lld groups, which do not divide %lld inputs; download the "
                                  "model again",
                                  (long long)*groups, (long long)linear->k);
    if (scales->rank == 1 && scales->shape[0] == linear->n) return VLMP_OK;
    return vlmp_import_need(linear, VLMP_IMPORT_SCALES, scales->dtype, linear->n, *groups, err);
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

/* Inputs in another order than they are stored (activation order) share scales with others than
 * their neighbours. */
static int check_order(const vlmp_import_linear *linear, int64_t groups, vlmp_error *err)
{
    const vlmp_tensor *index = linear->parts[VLMP_IMPORT_INDEX];
    if (index == NULL) return VLMP_OK;
    VLMP_TRY(vlmp_import_need(linear, VLMP_IMPORT_INDEX, VLMP_I32, linear->k, 0, err));
    for (int64_t i = 0; i < linear->k; i++) {
        int32_t group;
        memcpy(&group, index->data + (size_t)i * sizeof group, sizeof group);
        if (group != i / (linear->k / groups))
            return vlmp_import_refuse(
                index, err,
                "puts input %lld into group %d: groups by activation order are not read; quantize "
                "without it (actorder null or \"weight\")",
                (long long)i, group);
    }
    return VLMP_OK;
}

/* The configuration's groups that this linear may belong to must agree. */
static int choose_group(const vlmp_import *import, const vlmp_import_linear *linear, storage kept,
                        int bits, int64_t groups, const config_group **out, vlmp_error *err)
{
    const settings *s = import->settings;
    const vlmp_tensor *codes = linear->parts[VLMP_IMPORT_CODES];
    *out = NULL;
    for (int i = 0; i < s->count; i++) {
        const config_group *g = &s->groups[i];
        bool grouped = strcmp(g->strategy, "group") == 0;
        if (g->bits != bits || strcmp(g->format, format_names[kept]) != 0 ||
            g->symmetric != (linear->parts[VLMP_IMPORT_ZEROS] == NULL) ||
            linear->one_scale != (strcmp(g->strategy, "tensor") == 0) ||
            (grouped ? linear->k / groups != g->group : groups != 1))
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
                              bits, format_names[kept], (long long)groups, (long long)linear->k,
                              linear->parts[VLMP_IMPORT_ZEROS] != NULL ? "yes" : "no");
}

static int fit(vlmp_import *import, vlmp_import_linear *linear, vlmp_error *err)
{
    const vlmp_tensor *codes = linear->parts[VLMP_IMPORT_CODES];
    storage kept = codes->dtype == VLMP_I8 ? INTEGERS : PACKED;
    int bits = 0;
    int64_t groups = 0;
    const config_group *group;
    if (kept == INTEGERS)
        VLMP_TRY(read_integers(linear, &bits, err));
    else
        VLMP_TRY(read_packed(linear, &bits, err));
    VLMP_TRY(read_scales(linear, &groups, err));
    VLMP_TRY(check_zeros(linear, bits, groups, err));
    VLMP_TRY(check_order(linear, groups, err));
    VLMP_TRY(choose_group(import, linear, kept, bits, groups, &group, err));
    bool grouped = strcmp(group->strategy, "group") == 0;
    linear->scheme = vlmp_scheme_make(vlmp_code_type_of_bits(bits),
                                      grouped ? (int)group->group : VLMP_GROUP_CHANNEL,
                                      VLMP_ZEROS_NONE, group->int8_activations);
    linear->scheme.scales = linear->parts[VLMP_IMPORT_SCALES]->dtype;
    return VLMP_OK;
}

/* Words of a row are a packed row's bytes, filled up; signed bytes are moved to unsigned ones. */
static void read_codes(const vlmp_import_linear *linear, int64_t first, int64_t count, uint8_t *out)
{
    const vlmp_tensor *codes = linear->parts[VLMP_IMPORT_CODES];
    int bits = vlmp_code_types[linear->scheme.codes].bits;
    size_t row_bytes = codes->bytes / (size_t)linear->n, k = (size_t)linear->k;
    for (int64_t row = 0; row < count; row++, out += k) {
        vlmp_codes_unpack(out, codes->data + (size_t)(first + row) * row_bytes, (int)k, bits);
        for (size_t i = 0; i < k && codes->dtype == VLMP_I8; i++)
            out[i] ^= 0x80;
    }
}

/* Zeros of a group lie together along the outputs, in words; or are signed bytes. */
static void read_zeros(const vlmp_import_linear *linear, int64_t first, int64_t count, uint8_t *out)
{
    const vlmp_tensor *zeros = linear->parts[VLMP_IMPORT_ZEROS];
    int bits = vlmp_code_types[linear->scheme.codes].bits, in_byte = 8 / bits;
    int64_t groups = linear->k / vlmp_scheme_group(&linear->scheme, (int)linear->k);
    for (int64_t n = first; n < first + count; n++)
        for (int64_t g = 0; g < groups; g++) {
            size_t index = linear->one_scale ? 0 : (size_t)(n * groups + g);
            /* Byte and place within a little-endian word. */
            size_t word = (size_t)(n / (4 * in_byte) * groups + g);
            size_t byte = word * 4 + (size_t)(n % (4 * in_byte) / in_byte);
            *out++ = zeros->dtype == VLMP_I8
                         ? (uint8_t)(zeros->data[index] + (1 << (bits - 1)))
                         : (uint8_t)vlmp_code_at(zeros->data + byte, (int)(n % in_byte), bits);
        }
}

static size_t scale_index(const vlmp_import_linear *linear, int64_t n, int64_t group)
{
    if (linear->one_scale) return 0;
    return (size_t)(n * (linear->k / vlmp_scheme_group(&linear->scheme, (int)linear->k)) + group);
}

static const vlmp_import_suffix suffixes[] = {
    {".weight_packed", VLMP_IMPORT_CODES, NULL},
    {".weight", VLMP_IMPORT_CODES, NULL},
    {".weight_scale", VLMP_IMPORT_SCALES, NULL},
    {".weight_zero_point", VLMP_IMPORT_ZEROS, NULL},
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
