#include "src/base/scheme.h"

/* Symmetric codes of 8 bits leave 0 out, so that they are what int8 in ±127 is. */
const vlmp_code_info vlmp_code_types[VLMP_CODE_TYPES] = {
    [VLMP_CODES_U4] = {.feature = "codes-4", .bits = 4, .middle = 8, .low_symmetric = 0},
    [VLMP_CODES_U8] = {.feature = "codes-8", .bits = 8, .middle = 128, .low_symmetric = 1},
};

vlmp_code_type vlmp_code_type_of_bits(int bits)
{
    for (int type = VLMP_CODES_NONE + 1; type < VLMP_CODE_TYPES; type++)
        if (vlmp_code_types[type].bits == bits) return (vlmp_code_type)type;
    return VLMP_CODES_NONE;
}

vlmp_code_grid vlmp_code_grid_of(const vlmp_scheme *scheme)
{
    const vlmp_code_info *info = &vlmp_code_types[scheme->codes];
    int low = scheme->zeros == VLMP_ZEROS_NONE ? info->low_symmetric : 0;
    int high = (1 << info->bits) - 1;
    return (vlmp_code_grid){
        .count = high - low + 1, .low = low, .high = high, .middle = info->middle};
}
