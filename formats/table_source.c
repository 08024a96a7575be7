#include "formats/table_source.h"

#include <stdlib.h>
#include <string.h>

#include "src/model/family.h"

static const vlmp_table_source *as_table(const vlmp_source *self)
{
    return (const vlmp_table_source *)self;
}

static size_t table_count(const vlmp_source *self)
{
    return as_table(self)->table.count;
}

static const vlmp_tensor *table_at(const vlmp_source *self, size_t index)
{
    return &as_table(self)->table.tensors[index];
}

static const vlmp_tensor *table_find(const vlmp_source *self, const char *name)
{
    return vlmp_tensor_table_find(&as_table(self)->table, name);
}

static const vlmp_scheme *table_scheme(const vlmp_source *self, const char *name)
{
    (void)self;
    (void)name;
    return NULL;
}

static const char *table_file(const vlmp_source *self, const char *name, size_t *length)
{
    const vlmp_source_file *file = vlmp_source_files_find(&as_table(self)->files, name);
    *length = file != NULL ? file->length : 0;
    return file != NULL ? file->data : NULL;
}

static const char *table_file_at(const vlmp_source *self, size_t index)
{
    const vlmp_source_files *files = &as_table(self)->files;
    return index < files->count ? files->entries[index].name : NULL;
}

int vlmp_table_source_init(vlmp_table_source *source, const char *path, vlmp_error *err)
{
    source->base = (vlmp_source){
        .path = vlmp_arena_copy(&source->arena, path, strlen(path)),
        .kind = "folder",
        .count = table_count,
        .at = table_at,
        .find = table_find,
        .scheme = table_scheme,
        .file = table_file,
        .file_at = table_file_at,
    };
    return source->base.path != NULL ? VLMP_OK : vlmp_fail_memory(err, path);
}

void vlmp_table_source_free(vlmp_table_source *source)
{
    vlmp_tensor_table_free(&source->table);
    vlmp_source_files_close(&source->files);
    vlmp_arena_free(&source->arena);
}

int vlmp_table_source_add(vlmp_table_source *source, const vlmp_tensor *tensor, const char *name,
                          vlmp_error *err)
{
    vlmp_tensor *added = &source->table.tensors[source->table.count];
    *added = *tensor;
    added->name = vlmp_arena_copy(&source->arena, name, strlen(name));
    if (added->name == NULL) return vlmp_fail_memory(err, tensor->file);
    const vlmp_vision_config *vision = &source->config.vision;
    added->unused = vlmp_family_runs(source->config.family) &&
                    vlmp_name_is_unused(name, vision->run_layers, vision->has_post_norm);
    source->table.count++;
    return VLMP_OK;
}

static int by_computation(const void *a, const void *b)
{
    return vlmp_name_compare(((const vlmp_tensor *)a)->name, ((const vlmp_tensor *)b)->name);
}

int vlmp_table_source_sort(vlmp_table_source *source, vlmp_error *err)
{
    vlmp_tensor_table *table = &source->table;
    if (table->count == 0)
        return vlmp_fail(err, VLMP_ERR_INPUT, "%s: no tensors; is the download complete?",
                         source->base.path);
    qsort(table->tensors, table->count, sizeof *table->tensors, by_computation);
    return vlmp_tensor_table_index(table, err);
}
