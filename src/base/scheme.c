#include "src/base/scheme.h"

#include <stdio.h>
#include <string.h>

/* Symmetric codes of 8 bits leave 0 out, so that they are what int8 in ±127 is. Scales that are
 * powers of two are chosen by a quarter of the largest weight: see vlmp_scale_stored. */
const vlmp_code_info vlmp_code_types[VLMP_CODE_TYPES] = {
    [VLMP_CODES_U3] = {.feature = "codes-3", .bits = 3, .high_bits = 1, .middle = 4, .reach = 3.5f},
    [VLMP_CODES_U4] = {.feature = "codes-4", .bits = 4, .middle = 8, .reach = 7.5f},
    [VLMP_CODES_U8] =
        {.feature = "codes-8", .bits = 8, .middle = 128, .low_symmetric = 1, .reach = 127.5f},
    [VLMP_CODES_FP8] = {.name = "fp8",
                        .feature = "codes-fp8",
                        .bits = 8,
                        .floats = {.bits = 8, .mantissa = 3, .bias = 7, .largest = 448.0f},
                        .reach = 448.0f},
    [VLMP_CODES_MXFP4] = {.name = "mxfp4",
                          .feature = "codes-mxfp4",
                          .bits = 4,
                          .floats = {.bits = 4, .mantissa = 1, .bias = 1, .largest = 6.0f},
                          .group = 32,
                          .scales = VLMP_F8_E8M0,
                          .reach = 4.0f},
    [VLMP_CODES_NVFP4] = {.name = "nvfp4",
                          .feature = "codes-nvfp4",
                          .bits = 4,
                          .floats = {.bits = 4, .mantissa = 1, .bias = 1, .largest = 6.0f},
                          .group = 16,
                          .scales = VLMP_F8_E4M3,
                          .reach = 6.0f},
};

vlmp_scheme vlmp_scheme_make(vlmp_code_type codes, int group, vlmp_zeros zeros,
                             bool int8_activations)
{
    const vlmp_code_info *info = &vlmp_code_types[codes];
    bool blocks = codes == VLMP_CODES_FP8 && group != VLMP_GROUP_CHANNEL;
    vlmp_dtype scales = group == VLMP_GROUP_CHANNEL || blocks ? VLMP_F32 : VLMP_F16;
    return (vlmp_scheme){.codes = codes,
                         .scales = info->group != 0 ? info->scales : scales,
                         .group = group,
                         .zeros = zeros,
                         .global_scale = 1.0f,
                         .int8_activations = int8_activations,
                         .blocks = blocks};
}

vlmp_code_type vlmp_code_type_of_bits(int bits)
{
    return vlmp_code_type_of(NULL, bits);
}

vlmp_code_type vlmp_code_type_of(const char *name, int bits)
{
    for (int type = VLMP_CODES_NONE + 1; type < VLMP_CODE_TYPES; type++) {
        const vlmp_code_info *info = &vlmp_code_types[type];
        if (info->bits != bits || (info->name == NULL) != (name == NULL)) continue;
        if (name == NULL || strcmp(info->name, name) == 0) return (vlmp_code_type)type;
    }
    return VLMP_CODES_NONE;
}

void vlmp_codes_text(char *out, size_t capacity, const vlmp_scheme *scheme)
{
    const vlmp_code_info *info = &vlmp_code_types[scheme->codes];
    if (info->name != NULL)
        snprintf(out, capacity, "%s", info->name);
    else
        snprintf(out, capacity, "W%d", info->bits);
}

vlmp_code_grid vlmp_code_grid_of(const vlmp_scheme *scheme)
{
    const vlmp_code_info *info = &vlmp_code_types[scheme->codes];
    int low = scheme->zeros == VLMP_ZEROS_NONE ? info->low_symmetric : 0;
    int high = (1 << info->bits) - 1;
    return (vlmp_code_grid){.count = high - low + 1,
                            .low = low,
                            .high = high,
                            .middle = info->middle,
                            .reach = info->reach,
                            .floats = info->floats};
}
