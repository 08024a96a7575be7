/* The tensors of compressed-tensors folders: pack-quantized weights (W4A16, W8A16), int-quantized
 * ones with dynamic int8 activations (W8A8), floats of 8 bits and packed ones of 4. The scales keep
 * their type: readers convert to the type they compute in, and lose nothing where that is F32. */
#include <math.h>
#include <string.h>

#include "formats/export_ct.h"

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

/* Readers divide by the global scale. */
static void fill_divisor(const vlmp_export_tensor *t, size_t first, size_t count,
                         unsigned char *out)
{
    float divisor = 1.0f / vlmp_scale_at(t->source->data, 0, VLMP_F32);
    if (first == 0 && count > 0) memcpy(out, &divisor, sizeof divisor);
}

/* Codes and scales as they lie; bytes of exponents are no type of their own there. */
static int add_floats(vlmp_export *export, const vlmp_packed_linear *linear, vlmp_error *err)
{
    const vlmp_scheme *scheme = &linear->scheme;
    vlmp_packed_shape shape;
    vlmp_packed_shape_of(&shape, linear->n, linear->k, scheme); /* checked when it was opened */
    bool bytes = vlmp_code_types[scheme->codes].bits == 8;
    vlmp_export_tensor codes = {
        .tensor = {.dtype = bytes ? VLMP_F8_E4M3 : VLMP_U8,
                   .rank = 2,
                   .shape = {linear->n, shape.parts[VLMP_PACKED_CODES].columns}},
        .fate = VLMP_EXPORT_EXACT};
    vlmp_export_tensor scales = codes;
    scales.tensor.dtype = scheme->scales == VLMP_F8_E8M0 ? VLMP_U8 : scheme->scales;
    scales.tensor.shape[0] = shape.parts[VLMP_PACKED_SCALES].rows;
    scales.tensor.shape[1] = shape.groups;
    VLMP_TRY(vlmp_export_add(export, linear, bytes ? "weight" : "weight_packed", &codes,
                             VLMP_PACKED_CODES, err));
    VLMP_TRY(vlmp_export_add(export, linear, "weight_scale", &scales, VLMP_PACKED_SCALES, err));
    if (!vlmp_scheme_has_global(scheme)) return VLMP_OK;
    const vlmp_export_tensor divisor = {.tensor = {.dtype = VLMP_F32, .rank = 1, .shape = {1}},
                                        .fate = VLMP_EXPORT_EXACT,
                                        .fill = fill_divisor};
    VLMP_TRY(
        vlmp_export_add(export, linear, "weight_global_scale", &divisor, VLMP_PACKED_GLOBAL, err));
    vlmp_export_tensor *added = &export->tensors[export->count - 1];
    int exponent;
    if (frexpf(vlmp_scale_at(added->source->data, 0, VLMP_F32), &exponent) != 0.5f)
        added->fate = VLMP_EXPORT_CONVERTED; /* no power of two, whose inverse is exact */
    return VLMP_OK;
}

/* One signed byte a code. */
static int add_bytes(vlmp_export *export, const vlmp_packed_linear *linear, vlmp_error *err)
{
    const vlmp_export_tensor codes = {
        .tensor = {.dtype = VLMP_I8, .rank = 2, .shape = {linear->n, linear->k}},
        .fate = VLMP_EXPORT_EXACT,
        .fill = fill_int8};
    return vlmp_export_add(export, linear, "weight", &codes, VLMP_PACKED_CODES, err);
}

static int add_words(vlmp_export *export, const vlmp_packed_linear *linear, vlmp_error *err)
{
    const vlmp_export_tensor sizes = {.tensor = {.dtype = VLMP_I64, .rank = 1, .shape = {2}},
                                      .fate = VLMP_EXPORT_EXACT,
                                      .fill = fill_shape};
    VLMP_TRY(vlmp_export_add_words(export, linear, "weight_packed", &vlmp_words_ct_codes,
                                   VLMP_PACKED_CODES, err));
    return vlmp_export_add(export, linear, "weight_shape", &sizes, VLMP_PACKED_PARTS, err);
}

static int add_linear(vlmp_export *export, const vlmp_packed_linear *linear, vlmp_error *err)
{
    const vlmp_scheme *scheme = &linear->scheme;
    if (vlmp_codes_are_floats(scheme->codes)) return add_floats(export, linear, err);
    VLMP_TRY(scheme->int8_activations ? add_bytes(export, linear, err)
                                      : add_words(export, linear, err));
    int64_t groups = linear->k / vlmp_scheme_group(scheme, (int)linear->k);
    const vlmp_export_tensor scales = {
        .tensor = {.dtype = scheme->scales, .rank = 2, .shape = {linear->n, groups}},
        .fate = VLMP_EXPORT_EXACT};
    VLMP_TRY(vlmp_export_add(export, linear, "weight_scale", &scales, VLMP_PACKED_SCALES, err));
    if (scheme->zeros == VLMP_ZEROS_NONE) return VLMP_OK;
    return vlmp_export_add_words(export, linear, "weight_zero_point", &vlmp_words_ct_zeros,
                                 VLMP_PACKED_ZEROS, err);
}

static int plan(vlmp_export *export, vlmp_error *err)
{
    return vlmp_export_plan_tensors(export, add_linear, err);
}

static int write_all(const vlmp_export *export, vlmp_outfolder *folder,
                     vlmp_export_progress *progress, void *arg, vlmp_error *err)
{
    return vlmp_export_write_safetensors(export, folder, vlmp_ct_put_config, NULL, progress, arg,
                                         err);
}

const vlmp_export_layout vlmp_export_compressed_tensors = {
    .layout = VLMP_LAYOUT_COMPRESSED_TENSORS,
    .plan = plan,
    .write = write_all,
};
