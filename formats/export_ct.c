/* compressed-tensors: pack-quantized weights (W4A16, W8A16), and int-quantized ones with dynamic
 * int8 activations (W8A8). The scales keep their type: readers convert to the type they compute in,
 * and lose nothing where that is F32. */
#include <stdio.h>
#include <string.h>

#include "formats/export_plan.h"

#define VERSION "0.15.0" /* of compressed-tensors, whose layout this is */

/* Words of a row are the packed file's bytes, padded. */
static void fill_packed(const vlmp_export_tensor *t, size_t first, size_t count, unsigned char *out)
{
    size_t row_bytes = (size_t)t->source->shape[1], columns = (size_t)t->columns;
    for (size_t i = 0; i < count; i++, out += 4) {
        size_t row = (first + i) / columns, at = (first + i) % columns * 4;
        size_t bytes = row_bytes - at < 4 ? row_bytes - at : 4;
        memset(out, 0, 4);
        memcpy(out, t->source->data + row * row_bytes + at, bytes);
    }
}

/* u − 128 as a signed byte. */
static void fill_int8(const vlmp_export_tensor *t, size_t first, size_t count, unsigned char *out)
{
    for (size_t i = 0; i < count; i++)
        out[i] = (unsigned char)(t->source->data[first + i] ^ 0x80);
}

/* Zeros of a group, packed along the outputs. */
static void fill_zeros(const vlmp_export_tensor *t, size_t first, size_t count, unsigned char *out)
{
    int bits = vlmp_code_types[t->linear->scheme.codes].bits, in_word = 32 / bits;
    size_t row_bytes = (size_t)t->source->shape[1];
    for (size_t i = 0; i < count; i++, out += 4) {
        int64_t row = (int64_t)((first + i) / (size_t)t->columns) * in_word;
        int group = (int)((first + i) % (size_t)t->columns);
        uint32_t word = 0;
        for (int j = 0; j < in_word && row + j < t->linear->n; j++) {
            const uint8_t *zeros = t->source->data + (size_t)(row + j) * row_bytes;
            word |= (uint32_t)vlmp_code_at(zeros, group, bits) << j * bits;
        }
        for (int b = 0; b < 4; b++)
            out[b] = (unsigned char)(word >> 8 * b);
    }
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
    int bits = vlmp_code_types[scheme->codes].bits, in_word = 32 / bits;
    if (scheme->int8_activations) {
        VLMP_TRY(vlmp_export_add(export, linear, "weight", VLMP_I8, 2, n, k, VLMP_EXPORT_EXACT,
                                 VLMP_PACKED_CODES, fill_int8, err));
    } else {
        VLMP_TRY(vlmp_export_add(export, linear, "weight_packed", VLMP_I32, 2, n,
                                 (k + in_word - 1) / in_word, VLMP_EXPORT_EXACT, VLMP_PACKED_CODES,
                                 fill_packed, err));
        VLMP_TRY(vlmp_export_add(export, linear, "weight_shape", VLMP_I64, 1, 1, 2,
                                 VLMP_EXPORT_EXACT, VLMP_PACKED_PARTS, fill_shape, err));
    }
    VLMP_TRY(vlmp_export_add(export, linear, "weight_scale", scheme->scales, 2, n, groups,
                             VLMP_EXPORT_EXACT, VLMP_PACKED_SCALES, NULL, err));
    if (scheme->zeros == VLMP_ZEROS_NONE) return VLMP_OK;
    return vlmp_export_add(export, linear, "weight_zero_point", VLMP_I32, 2,
                           (n + in_word - 1) / in_word, groups, VLMP_EXPORT_EXACT,
                           VLMP_PACKED_ZEROS, fill_zeros, err);
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
    vlmp_json_key(w, "symmetric");
    vlmp_json_put_bool(w, symmetric);
    vlmp_json_pair_string(w, "strategy", strategy);
    vlmp_json_key(w, "group_size");
    if (group > 0)
        vlmp_json_put_int(w, group);
    else
        vlmp_json_put_null(w);
    vlmp_json_pair_string(w, "block_structure", NULL);
    vlmp_json_key(w, "dynamic");
    vlmp_json_put_bool(w, dynamic);
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

static bool has_scheme(void *arg, const vlmp_packed_linear *linear)
{
    return linear != NULL && vlmp_scheme_same(arg, &linear->scheme);
}

static bool is_kept(void *arg, const vlmp_packed_linear *linear)
{
    (void)arg;
    return linear == NULL;
}

static int put_group(const vlmp_export *export, vlmp_json_writer *w, vlmp_scheme scheme,
                     vlmp_error *err)
{
    vlmp_json_open(w, '{');
    vlmp_json_key(w, "targets");
    vlmp_json_open(w, '[');
    VLMP_TRY(vlmp_export_patterns(export, has_scheme, &scheme, put_pattern, w, err));
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

/* Whether a linear before has the scheme of linear i. */
static bool seen(const vlmp_export *export, size_t i)
{
    for (size_t k = 0; k < i; k++)
        if (vlmp_scheme_same(&export->linears[k].scheme, &export->linears[i].scheme)) return true;
    return false;
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
        if (seen(export, i)) continue;
        char name[32];
        snprintf(name, sizeof name, "group_%d", groups++);
        vlmp_json_key(w, name);
        VLMP_TRY(put_group(export, w, export->linears[i].scheme, err));
    }
    vlmp_json_close(w, '}');
    vlmp_json_key(w, "ignore");
    vlmp_json_open(w, '[');
    VLMP_TRY(vlmp_export_patterns(export, is_kept, NULL, put_pattern, w, err));
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
    return vlmp_export_write_safetensors(export, folder, put_config, progress, arg, err);
}

const vlmp_export_layout vlmp_export_compressed_tensors = {
    .layout = VLMP_LAYOUT_COMPRESSED_TENSORS,
    .plan = plan,
    .write = write_all,
};
