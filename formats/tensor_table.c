#include "formats/tensor_table.h"

#include <stdlib.h>
#include <string.h>

#include "src/base/memory.h"

typedef struct {
    const char *name;
    size_t index;
} name_index;

static int by_name(const void *a, const void *b)
{
    return strcmp(((const name_index *)a)->name, ((const name_index *)b)->name);
}

int vlmp_tensor_table_index(vlmp_tensor_table *table, vlmp_error *err)
{
    name_index *sorted = vlmp_alloc(table->count, sizeof *sorted);
    table->by_name = vlmp_alloc(table->count, sizeof *table->by_name);
    if (sorted == NULL || table->by_name == NULL) {
        free(sorted);
        return vlmp_fail_memory(err, "list of tensors");
    }
    for (size_t i = 0; i < table->count; i++)
        sorted[i] = (name_index){table->tensors[i].name, i};
    qsort(sorted, table->count, sizeof *sorted, by_name);
    int status = VLMP_OK;
    for (size_t i = 0; i < table->count && status == VLMP_OK; i++) {
        table->by_name[i] = sorted[i].index;
        if (i == 0 || strcmp(sorted[i - 1].name, sorted[i].name) != 0) continue;
        const vlmp_tensor *a = &table->tensors[sorted[i - 1].index];
        const vlmp_tensor *b = &table->tensors[sorted[i].index];
        status = vlmp_fail(err, VLMP_ERR_INPUT,
                           "%s: tensor '%.200s' at byte %llu and tensor '%.200s' of %s both are "
                           "%s; remove one of them",
                           a->file, a->source_name, (unsigned long long)a->file_offset,
                           b->source_name, b->file, a->name);
    }
    free(sorted);
    return status;
}

void vlmp_tensor_table_free(vlmp_tensor_table *table)
{
    free(table->tensors);
    free(table->by_name);
    *table = (vlmp_tensor_table){0};
}

const vlmp_tensor *vlmp_tensor_table_find(const vlmp_tensor_table *table, const char *name)
{
    size_t low = 0, high = table->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const vlmp_tensor *tensor = &table->tensors[table->by_name[middle]];
        int order = strcmp(name, tensor->name);
        if (order == 0) return tensor;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

void vlmp_map_sha256(const vlmp_map *map, size_t offset, size_t bytes, char hex[VLMP_SHA256_HEX])
{
    vlmp_sha256 hash;
    vlmp_sha256_start(&hash);
    const size_t piece = (size_t)8 << 20;
    for (size_t at = 0; at < bytes; at += piece) {
        size_t length = bytes - at < piece ? bytes - at : piece;
        vlmp_sha256_update(&hash, map->data + offset + at, length);
        vlmp_map_release(map, offset + at, length);
    }
    vlmp_sha256_finish(&hash, hex);
}

int vlmp_tensor_table_digest(const vlmp_tensor_table *table, char (*hashes)[VLMP_SHA256_HEX],
                             char hex[VLMP_SHA256_HEX], vlmp_error *err)
{
    vlmp_buffer text = {0};
    for (size_t i = 0; i < table->count; i++) {
        const vlmp_tensor *tensor = &table->tensors[table->by_name[i]];
        vlmp_buffer_printf(&text, "%s %s ", tensor->name, vlmp_dtype_name(tensor->dtype));
        for (int d = 0; d < tensor->rank; d++)
            vlmp_buffer_printf(&text, "%s%lld", d > 0 ? "," : "", (long long)tensor->shape[d]);
        vlmp_buffer_printf(&text, " %s\n", hashes[table->by_name[i]]);
    }
    int status = text.failed ? vlmp_fail_memory(err, "list of tensors") : VLMP_OK;
    if (status == VLMP_OK) vlmp_sha256_hex(text.data, text.length, hex);
    vlmp_buffer_free(&text);
    return status;
}

int vlmp_tensors_digest(const vlmp_tensor *tensors, char (*hashes)[VLMP_SHA256_HEX], size_t count,
                        char hex[VLMP_SHA256_HEX], vlmp_error *err)
{
    vlmp_tensor_table table = {.tensors = vlmp_alloc(count, sizeof *tensors), .count = count};
    if (table.tensors == NULL) return vlmp_fail_memory(err, "list of tensors");
    if (count > 0) memcpy(table.tensors, tensors, count * sizeof *tensors);
    int status = vlmp_tensor_table_index(&table, err);
    if (status == VLMP_OK) status = vlmp_tensor_table_digest(&table, hashes, hex, err);
    vlmp_tensor_table_free(&table);
    return status;
}
