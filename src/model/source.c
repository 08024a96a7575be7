#include "src/model/source.h"

#include <stdio.h>
#include <string.h>

static void shape_text(char *out, size_t capacity, int rank, const int64_t *shape)
{
    size_t used = 0;
    out[0] = '\0';
    for (int i = 0; i < rank && used < capacity; i++)
        used += (size_t)snprintf(out + used, capacity - used, "%s%lld", i ? " × " : "",
                                 (long long)shape[i]);
}

int vlmp_source_need(const vlmp_source *source, const char *name, int rank, const int64_t *shape,
                     const vlmp_tensor **out, vlmp_error *err)
{
    *out = source->find(source, name);
    const vlmp_tensor *tensor = *out;
    if (tensor == NULL)
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: tensor '%s' is missing; is the download complete?", source->path,
                         name);
    if (!vlmp_dtype_is_float(tensor->dtype))
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: tensor '%s' has type %s; F32, F16 and BF16 weights are supported",
                         tensor->file, tensor->source_name, vlmp_dtype_name(tensor->dtype));
    bool same = tensor->rank == rank;
    for (int i = 0; i < rank && same; i++)
        same = tensor->shape[i] == shape[i];
    if (same) return VLMP_OK;
    char have[128], want[128];
    shape_text(have, sizeof have, tensor->rank, tensor->shape);
    shape_text(want, sizeof want, rank, shape);
    return vlmp_fail(err, VLMP_ERR_INPUT,
                     "%s: tensor '%s' at byte %llu has shape %s; config.json says %s", tensor->file,
                     tensor->source_name, (unsigned long long)tensor->file_offset, have, want);
}

/* An exponent of all ones is a NaN or an infinity. */
size_t vlmp_first_not_finite(const vlmp_tensor *tensor)
{
    size_t count = tensor->bytes / vlmp_dtype_size(tensor->dtype);
    bool wide = tensor->dtype == VLMP_F32;
    uint32_t exponent = wide ? 0x7f800000u : tensor->dtype == VLMP_BF16 ? 0x7f80u : 0x7c00u;
    const size_t step = 4096; /* elements tested without a branch, so that the loop vectorizes */
    for (size_t from = 0; from < count; from += step) {
        size_t to = from + step < count ? from + step : count;
        unsigned bad = 0;
        if (wide) {
            for (size_t i = from; i < to; i++) {
                uint32_t bits;
                memcpy(&bits, tensor->data + 4 * i, sizeof bits);
                bad |= (bits & exponent) == exponent;
            }
        } else {
            for (size_t i = from; i < to; i++) {
                uint16_t bits;
                memcpy(&bits, tensor->data + 2 * i, sizeof bits);
                bad |= (bits & exponent) == exponent;
            }
        }
        for (size_t i = from; bad && i < to; i++) {
            uint32_t bits = 0;
            memcpy(&bits, tensor->data + (wide ? 4 : 2) * i, wide ? 4 : 2);
            if ((bits & exponent) == exponent) return i;
        }
    }
    return SIZE_MAX;
}
