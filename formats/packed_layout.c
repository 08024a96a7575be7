#include "formats/packed_layout.h"

#include <string.h>

#include "src/model/names.h"

enum { ZEROS = VLMP_CODE_TYPES - 1, INT8_ACTIVATIONS, SCALES };

const char *vlmp_packed_feature(int index)
{
    if (index == ZEROS) return "zeros";
    if (index == INT8_ACTIVATIONS) return "activations-int8";
    if (index == SCALES) return "scales";
    return vlmp_code_types[index + 1].feature;
}

bool vlmp_packed_names_scales(const vlmp_scheme *scheme)
{
    return scheme->scales !=
           vlmp_scheme_make(scheme->codes, scheme->group, scheme->zeros, false).scales;
}

unsigned vlmp_packed_features_of(const vlmp_scheme *scheme)
{
    return 1u << (scheme->codes - 1) | (scheme->zeros == VLMP_ZEROS_PACKED ? 1u << ZEROS : 0u) |
           (scheme->int8_activations ? 1u << INT8_ACTIVATIONS : 0u) |
           (vlmp_packed_names_scales(scheme) ? 1u << SCALES : 0u);
}

bool vlmp_packed_is_file(const char *name)
{
    return strncmp(name, VLMP_PACKED_FILE_PREFIX, sizeof VLMP_PACKED_FILE_PREFIX - 1) == 0;
}

int vlmp_packed_order(const vlmp_tensor *a, const vlmp_tensor *b)
{
    bool file_a = vlmp_packed_is_file(a->name), file_b = vlmp_packed_is_file(b->name);
    if (file_a || file_b) return file_a != file_b ? file_a - file_b : strcmp(a->name, b->name);
    bool rest_a = a->bytes % VLMP_ALIGN != 0, rest_b = b->bytes % VLMP_ALIGN != 0;
    if (rest_a != rest_b) return rest_a - rest_b;
    if (!rest_a) return vlmp_name_compare(a->name, b->name);
    int width = (int)vlmp_dtype_size(b->dtype) - (int)vlmp_dtype_size(a->dtype);
    return width != 0 ? width : strcmp(a->name, b->name);
}
