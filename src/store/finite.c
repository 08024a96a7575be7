#include "src/store/finite.h"

#include <string.h>

#define STEP 4096 /* elements tested without a branch, so that the loop vectorizes */

/* An exponent of all ones is a NaN or an infinity. */
static bool any32(const unsigned char *data, size_t count)
{
    unsigned bad = 0;
    for (size_t i = 0; i < count; i++) {
        uint32_t bits;
        memcpy(&bits, data + 4 * i, sizeof bits);
        bad |= (bits & 0x7f800000u) == 0x7f800000u;
    }
    return bad;
}

static bool any16(const unsigned char *data, size_t count, uint16_t exponent)
{
    uint16_t bad = 0;
    for (size_t i = 0; i < count; i++) {
        uint16_t bits;
        memcpy(&bits, data + 2 * i, sizeof bits);
        bad |= (bits & exponent) == exponent;
    }
    return bad;
}

static bool any(const unsigned char *data, size_t count, vlmp_dtype dtype)
{
    if (dtype == VLMP_F32) return any32(data, count);
    return any16(data, count, dtype == VLMP_BF16 ? 0x7f80u : 0x7c00u);
}

static size_t first(const unsigned char *data, size_t count, vlmp_dtype dtype)
{
    size_t size = vlmp_dtype_size(dtype);
    for (size_t from = 0; from < count; from += STEP) {
        size_t step = count - from < STEP ? count - from : STEP;
        if (!any(data + from * size, step, dtype)) continue;
        while (!any(data + from * size, 1, dtype))
            from++;
        return from;
    }
    return count;
}

size_t vlmp_first_not_finite(const float *values, size_t count)
{
    return first((const unsigned char *)values, count, VLMP_F32);
}

static int check_part(const vlmp_tensor *part, size_t element, vlmp_error *err)
{
    size_t count = part->bytes / vlmp_dtype_size(part->dtype);
    size_t bad = first(part->data, count, part->dtype);
    if (bad == count) return VLMP_OK;
    return vlmp_fail(err, VLMP_ERR_INPUT,
                     "%s: tensor '%s' has a NaN or infinite weight at element %zu; the file is "
                     "damaged or the training diverged",
                     part->file, part->source_name, element + bad);
}

int vlmp_tensor_check_finite(const vlmp_tensor *tensor, vlmp_error *err)
{
    return vlmp_dtype_is_float(tensor->dtype) ? check_part(tensor, 0, err) : VLMP_OK;
}

int vlmp_source_check_finite(const vlmp_source *source, vlmp_error *err)
{
    for (size_t i = 0; i < source->count(source); i++) {
        const vlmp_tensor *tensor = source->at(source, i);
        vlmp_tensor part;
        if (tensor->unused || !vlmp_dtype_is_float(tensor->dtype)) continue;
        for (size_t at = 0; vlmp_tensor_part(&part, tensor, at); at += part.bytes) {
            VLMP_TRY(check_part(&part, at / vlmp_dtype_size(tensor->dtype), err));
            source->release(source, &part);
        }
    }
    return VLMP_OK;
}
