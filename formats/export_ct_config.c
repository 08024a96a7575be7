/* The quantization_config of compressed-tensors folders. */
#include <stdio.h>
#include <string.h>

#include "formats/export_ct.h"

#define VERSION "0.15.0" /* of compressed-tensors, whose layout this is */

/* QuantizationArgs; other members have their defaults. */
typedef struct {
    int bits;
    bool floats, asymmetric, dynamic;
    const char *strategy;
    int group; /* 0: null */
    bool blocks;
    const char *observer; /* NULL: null */
} args;

static const char *format_of(const vlmp_scheme *scheme)
{
    switch (scheme->codes) {
    case VLMP_CODES_FP8:
        return "float-quantized";
    case VLMP_CODES_MXFP4:
        return "mxfp4-pack-quantized";
    case VLMP_CODES_NVFP4:
        return "nvfp4-pack-quantized";
    default:
        return scheme->int8_activations ? "int-quantized" : "pack-quantized";
    }
}

static args weights_of(const vlmp_scheme *scheme)
{
    bool channel = scheme->group == VLMP_GROUP_CHANNEL;
    return (args){.bits = vlmp_code_types[scheme->codes].bits,
                  .floats = vlmp_codes_are_floats(scheme->codes),
                  .asymmetric = scheme->zeros != VLMP_ZEROS_NONE,
                  .strategy = scheme->blocks                   ? "block"
                              : channel                        ? "channel"
                              : vlmp_scheme_has_global(scheme) ? "tensor_group"
                                                               : "group",
                  .group = scheme->blocks ? 0 : scheme->group,
                  .blocks = scheme->blocks,
                  .observer = "minmax"};
}

/* Inputs that engines quantize on their way; false: they are not. FP8 weights go with FP8 inputs,
 * one scale a token, under blocks one for 128 inputs of a token: the package's presets. */
static bool inputs_of(args *inputs, const vlmp_scheme *scheme)
{
    bool fp8 = scheme->codes == VLMP_CODES_FP8;
    *inputs = (args){.bits = 8,
                     .floats = fp8,
                     .dynamic = true,
                     .strategy = scheme->blocks ? "group" : "token",
                     .group = scheme->blocks ? scheme->group : 0};
    return fp8 || scheme->int8_activations;
}

static void put_args(vlmp_json_writer *w, const args *a)
{
    vlmp_json_open(w, '{');
    vlmp_json_pair_int(w, "num_bits", a->bits);
    vlmp_json_pair_string(w, "type", a->floats ? "float" : "int");
    vlmp_json_pair_bool(w, "symmetric", !a->asymmetric);
    vlmp_json_pair_string(w, "strategy", a->strategy);
    vlmp_json_key(w, "group_size");
    if (a->group > 0)
        vlmp_json_put_int(w, a->group);
    else
        vlmp_json_put_null(w);
    vlmp_json_key(w, "block_structure");
    if (a->blocks) {
        vlmp_json_open(w, '[');
        vlmp_json_put_int(w, VLMP_BLOCK_OUTPUTS);
        vlmp_json_put_int(w, VLMP_BLOCK_OUTPUTS);
        vlmp_json_close(w, ']');
    } else {
        vlmp_json_put_null(w);
    }
    vlmp_json_pair_bool(w, "dynamic", a->dynamic);
    vlmp_json_pair_string(w, "actorder", NULL);
    vlmp_json_pair_string(w, "observer", a->observer);
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
    args weights = weights_of(&scheme), inputs;
    put_args(w, &weights);
    vlmp_json_key(w, "input_activations");
    if (inputs_of(&inputs, &scheme))
        put_args(w, &inputs);
    else
        vlmp_json_put_null(w);
    vlmp_json_pair_string(w, "output_activations", NULL);
    vlmp_json_pair_string(w, "format", format_of(&scheme));
    vlmp_json_close(w, '}');
    return VLMP_OK;
}

int vlmp_ct_put_config(const vlmp_export *export, vlmp_json_writer *w, vlmp_error *err)
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
