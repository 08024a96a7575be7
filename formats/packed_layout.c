#include "formats/packed_layout.h"

#include <string.h>

#include "src/model/names.h"

const char *const vlmp_packed_features[VLMP_PACKED_FEATURES] = {"codes-4", "codes-8", "zeros",
                                                                "activations-int8"};

bool vlmp_packed_shape_of(vlmp_packed_shape *out, const vlmp_packed_linear *linear)
{
    const vlmp_scheme *scheme = &linear->scheme;
    if (scheme->bits != 4 && scheme->bits != 8) return false;
    if (linear->n < 1 || linear->k < 1 || linear->n > INT32_MAX || linear->k > INT32_MAX ||
        scheme->group < 0 || (scheme->group > 0 && linear->k % scheme->group != 0))
        return false;
    /* At most 2^31 · 8 bits: no product overflows. */
    bool per_channel = scheme->group == 0;
    out->groups = per_channel ? 1 : linear->k / scheme->group;
    out->code_bytes = (linear->k * scheme->bits + 7) / 8;
    out->zero_bytes = scheme->symmetric ? 0 : (out->groups * scheme->bits + 7) / 8;
    out->scale_type = per_channel ? VLMP_F32 : VLMP_F16;
    return true;
}

unsigned vlmp_packed_features_of(const vlmp_packed_linear *linear)
{
    return (linear->scheme.bits == 4 ? 1u : 2u) | (linear->scheme.symmetric ? 0u : 4u) |
           (linear->scheme.int8_activations ? 8u : 0u);
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
