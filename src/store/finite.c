#include "src/store/finite.h"

static int check_part(const vlmp_tensor *part, size_t element, vlmp_error *err)
{
    size_t count = part->bytes / vlmp_dtype_size(part->dtype);
    size_t bad = vlmp_first_not_finite(part->data, part->dtype, count);
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

static bool is_checked(const vlmp_tensor *tensor)
{
    return !tensor->unused && vlmp_dtype_is_float(tensor->dtype);
}

int vlmp_source_check_finite(const vlmp_source *source, vlmp_finite_progress *progress, void *arg,
                             vlmp_error *err)
{
    uint64_t done = 0, total = 0;
    for (size_t i = 0; i < source->count(source); i++)
        if (is_checked(source->at(source, i))) total += source->at(source, i)->bytes;
    for (size_t i = 0; i < source->count(source); i++) {
        const vlmp_tensor *tensor = source->at(source, i);
        vlmp_tensor part;
        if (!is_checked(tensor)) continue;
        for (size_t at = 0; vlmp_tensor_part(&part, tensor, at); at += part.bytes) {
            VLMP_TRY(check_part(&part, at / vlmp_dtype_size(tensor->dtype), err));
            source->release(source, &part);
            done += part.bytes;
            if (progress != NULL && progress(arg, done, total) != 0)
                return vlmp_fail(err, VLMP_ERR_INTERRUPTED, "interrupted");
        }
    }
    return VLMP_OK;
}
