/* compressed-tensors: pack-quantized weights (W4A16, W8A16), and int-quantized ones with dynamic
 * int8 activations (W8A8). The scales keep their type: readers convert to the type they compute in,
 * and lose nothing where that is F32. */
#include <stdio.h>
#include <string.h>

#include "formats/export_plan.h"

#define VERSION "0.15.0" /* of compressed-tensors, whose layout this is */

/* u − 128 as a signed byte. */
static void fill_int8(const vlmp_export_tensor *t, size_t first, size_t count, unsigned char *out)
{
    for (size_t i = 0; i < count; i++)
        out[i] = (unsigned char)(t->source->data[first + i] ^ 0x80);
}

static void fill_shape(const vlmp_export_tensor *t, size_t first, size_t count, unsigned char *out)
{
    for (size_t i = first; i < first + count; i++)
        for (int b = 0; b < 8; b++)
            *out++ = (unsigned char)((uint64_t)(i == 0 ? t->linear->n : t->linear->k) >> 8 * b);
}

static int add_linear(vlmp_export *export, const vlmp_packed_linear *linear, vlmp_error *err)
{
    const vlmp_scheme *scheme = &linear->scheme;
    int64_t n = linear->n, k = linear->k, groups = k / vlmp_scheme_group(scheme, (int)k);
    const vlmp_export_tensor bytes = {.tensor = {.dtype = VLMP_I8, .rank = 2, .shape = {n, k}},
                                      .fate = VLMP_EXPORT_EXACT,
                                      .fill = fill_int8};
    const vlmp_export_tensor sizes = {.tensor = {.dtype = VLMP_I64, .rank = 1, .shape = {2}},
                                      .fate = VLMP_EXPORT_EXACT,
                                      .fill = fill_shape};
    const vlmp_export_tensor scales = {
        .tensor = {.dtype = scheme->scales, .rank = 2, .shape = {n, groups}},
        .fate = VLMP_EXPORT_EXACT};
    if (scheme->int8_activations) {
        VLMP_TRY(vlmp_export_add(export, linear, "weight", &bytes, VLMP_PACKED_CODES, err));
    } else {
        VLMP_TRY(vlmp_export_add_words(export, linear, "weight_packed", &vlmp_words_ct_codes,
                                       VLMP_PACKED_CODES, err));
        VLMP_TRY(vlmp_export_add(export, linear, "weight_shape", &sizes, VLMP_PACKED_PARTS, err));
    }
    VLMP_TRY(vlmp_export_add(export, linear, "weight_scale", &scales, VLMP_PACKED_SCALES, err));
    if (scheme->zeros == VLMP_ZEROS_NONE) return VLMP_OK;
    return vlmp_export_add_words(export, linear, "weight_zero_point", &vlmp_words_ct_zeros,
                                 VLMP_PACKED_ZEROS, err);
}

static int plan(vlmp_export *export, vlmp_error *err)
{
    return vlmp_export_plan_tensors(export, add_linear, err);
}

static const char *format_of(const vlmp_scheme *scheme)
{
    return scheme->int8_activations ? "int-quantized" : "pack-quantized";
}

static void put_args(vlmp_json_writer *w, int bits, bool symmetric, const char *strategy, int group,
                     bool dynamic, const char *observer)
{
    vlmp_json_open(w, '{');
    vlmp_json_pair_int(w, "num_bits", bits);
    vlmp_json_pair_string(w, "type", "int");
    vlmp_json_pair_bool(w, "symmetric", symmetric);
    vlmp_json_pair_string(w, "strategy", strategy);
    vlmp_json_key(w, "group_size");
    if (group > 0)
        vlmp_json_put_int(w, group);
    else
        vlmp_json_put_null(w);
    vlmp_json_pair_string(w, "block_structure", NULL);
    vlmp_json_pair_bool(w, "dynamic", dynamic);
    vlmp_json_pair_string(w, "actorder", NULL);
    vlmp_json_pair_string(w, "observer", observer);
    vlmp_json_key(w, "observer_kwargs");
    vlmp_json_open(w, '{');
    vlmp_json_close(w, '}');
    vlmp_json_close(w, '}');
}

static void put_pattern(void *arg, const char *pattern)
{
    vlmp_buffer text = {0};
    vlmp_json_writer *w = arg;
    vlmp_buffer_printf(&text, "re:%s", pattern);
    if (text.failed)
        w->out.failed = true;
    else
        vlmp_json_put_string(w, text.data);
    vlmp_buffer_free(&text);
}

static int put_group(const vlmp_export *export, vlmp_json_writer *w, vlmp_scheme scheme,
                     vlmp_error *err)
{
    vlmp_json_open(w, '{');
    vlmp_json_key(w, "targets");
    vlmp_json_open(w, '[');
    VLMP_TRY(vlmp_export_patterns(export, vlmp_export_has_scheme, &scheme, put_pattern, w, err));
    vlmp_json_close(w, ']');
    vlmp_json_key(w, "weights");
    put_args(w, vlmp_code_types[scheme.codes].bits, scheme.zeros == VLMP_ZEROS_NONE,
             scheme.group == VLMP_GROUP_CHANNEL ? "channel" : "group", scheme.group, false,
             "minmax");
    vlmp_json_key(w, "input_activations");
    if (scheme.int8_activations)
        put_args(w, 8, true, "token", 0, true, NULL);
    else
        vlmp_json_put_null(w);
    vlmp_json_pair_string(w, "output_activations", NULL);
    vlmp_json_pair_string(w, "format", format_of(&scheme));
    vlmp_json_close(w, '}');
    return VLMP_OK;
}

static int put_config(const vlmp_export *export, vlmp_json_writer *w, vlmp_error *err)
{
    const char *format = format_of(&export->linears[0].scheme);
    for (size_t i = 1; i < export->linear_count; i++)
        if (strcmp(format, format_of(&export->linears[i].scheme)) != 0) format = "mixed-precision";
    vlmp_json_open(w, '{');
    vlmp_json_pair_string(w, "quant_method", "compressed-tensors");
    vlmp_json_pair_string(w, "quantization_status", "compressed");
    vlmp_json_pair_string(w, "format", format);
    vlmp_json_key(w, "config_groups");
    vlmp_json_open(w, '{');
    int groups = 0;
    for (size_t i = 0; i < export->linear_count; i++) {
        if (!vlmp_export_scheme_is_new(export, i)) continue;
        char name[32];
        snprintf(name, sizeof name, "group_%d", groups++);
        vlmp_json_key(w, name);
        VLMP_TRY(put_group(export, w, export->linears[i].scheme, err));
    }
    vlmp_json_close(w, '}');
    vlmp_json_key(w, "ignore");
    vlmp_json_open(w, '[');
    VLMP_TRY(vlmp_export_patterns(export, vlmp_export_is_kept, NULL, put_pattern, w, err));
    vlmp_json_close(w, ']');
    vlmp_json_pair_string(w, "kv_cache_scheme", NULL);
    vlmp_json_pair_string(w, "global_compression_ratio", NULL);
    vlmp_json_pair_string(w, "version", VERSION);
    vlmp_json_close(w, '}');
    return VLMP_OK;
}

static int write_all(const vlmp_export *export, vlmp_outfolder *folder,
                     vlmp_export_progress *progress, void *arg, vlmp_error *err)
{
    return vlmp_export_write_safetensors(export, folder, put_config, NULL, progress, arg, err);
}

const vlmp_export_layout vlmp_export_compressed_tensors = {
    .layout = VLMP_LAYOUT_COMPRESSED_TENSORS,
    .plan = plan,
    .write = write_all,
};
