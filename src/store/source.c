#include "src/store/source.h"

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

bool vlmp_tensor_part(vlmp_tensor *part, const vlmp_tensor *tensor, size_t at)
{
    const size_t most = (size_t)8 << 20;
    if (at >= tensor->bytes) return false;
    *part = *tensor;
    part->data += at;
    part->file_offset += at;
    part->bytes = tensor->bytes - at < most ? tensor->bytes - at : most;
    return true;
}

const char *vlmp_source_lack_hint(const vlmp_source *source)
{
    return source->named_by != NULL
               ? "; give the folder of the model that the files were made from by --base"
               : "";
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
