#include "formats/imatrix.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/gguf_names.h"

struct list {
    const vlmp_imatrix_entry *entries;
};

/* Tensors 2i and 2i + 1 are an entry's squares and its count. */
static int read_rows(void *arg, size_t index, int64_t first, int64_t count, void *out,
                     vlmp_error *err)
{
    (void)first;
    (void)count;
    (void)err;
    const vlmp_imatrix_entry *entry = &((const struct list *)arg)->entries[index / 2];
    float *values = out;
    if (index % 2 == 1)
        values[0] = (float)entry->tokens;
    else
        memcpy(values, entry->square, (size_t)entry->inputs * sizeof *values);
    return VLMP_OK;
}

static int put_tensors(vlmp_gguf_tensor *tensors, char (*names)[96],
                       const vlmp_imatrix_entry *entry, vlmp_error *err)
{
    char full[128], name[VLMP_GGUF_MAX_NAME + 1];
    snprintf(full, sizeof full, "%s.weight", entry->name);
    if (vlmp_gguf_place_of(name, full, 0, NULL) == NULL)
        return vlmp_fail(err, VLMP_ERR_INPUT, "'%.100s' has no place in a GGUF file", entry->name);
    snprintf(names[0], sizeof names[0], "%s.in_sum2", name);
    snprintf(names[1], sizeof names[1], "%s.counts", name);
    tensors[0] = (vlmp_gguf_tensor){names[0], VLMP_GGUF_F32, 2, {1, entry->inputs}};
    tensors[1] = (vlmp_gguf_tensor){names[1], VLMP_GGUF_F32, 2, {1, 1}};
    return VLMP_OK;
}

static void put_keys(vlmp_gguf_keys *keys, const char *dataset, uint32_t tokens)
{
    vlmp_gguf_put_string(keys, "general.type", "imatrix");
    vlmp_gguf_put_texts(keys, "imatrix.datasets", 1);
    vlmp_gguf_add_text(keys, dataset, strlen(dataset));
    vlmp_gguf_put_u32(keys, "imatrix.chunk_count", 1);
    vlmp_gguf_put_u32(keys, "imatrix.chunk_size", tokens);
}

int vlmp_imatrix_write(vlmp_outfile *file, const vlmp_imatrix_entry *entries, size_t count,
                       const char *dataset, uint32_t tokens, vlmp_error *err)
{
    vlmp_gguf_tensor *tensors = vlmp_alloc(2 * count, sizeof *tensors);
    char(*names)[96] = vlmp_alloc(2 * count, sizeof *names);
    int status = tensors == NULL || names == NULL ? vlmp_fail_memory(err, file->path) : VLMP_OK;
    for (size_t i = 0; i < count && status == VLMP_OK; i++)
        status = put_tensors(tensors + 2 * i, names + 2 * i, &entries[i], err);
    struct list list = {entries};
    vlmp_gguf_keys keys = {0};
    put_keys(&keys, dataset, tokens);
    if (status == VLMP_OK)
        status = vlmp_gguf_write(file, &keys, tensors, 2 * count, read_rows, &list, err);
    vlmp_gguf_keys_free(&keys);
    free(names);
    free(tensors);
    return status;
}
