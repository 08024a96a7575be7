/* Exports of safetensors files under the source's tensor names. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/export_plan.h"
#include "formats/safetensors_write.h"
#include "src/base/outfile.h"

#define NAME_BYTES 64 /* of a file of weights, with NUL */

/* Runs of tensors that share a file: first[i] … first[i + 1] − 1. */
typedef struct {
    size_t *first; /* [count + 1] */
    size_t count;
} shard_list;

typedef struct {
    const vlmp_export *export;
    size_t first; /* tensor of the file that is written */
    uint64_t done, total;
    vlmp_export_progress *progress;
    void *arg;
} writing;

static int cut_shards(shard_list *list, const vlmp_export *export, vlmp_error *err)
{
    *list = (shard_list){.first = vlmp_calloc(export->count + 1, sizeof *list->first)};
    if (list->first == NULL) return vlmp_fail_memory(err, export->source->path);
    uint64_t bytes = 0;
    for (size_t i = 0; i < export->count; i++) {
        if (i == 0 || bytes + export->tensors[i].tensor.bytes > export->shard_bytes) {
            list->first[list->count++] = i;
            bytes = 0;
        }
        bytes += export->tensors[i].tensor.bytes;
    }
    list->first[list->count] = export->count;
    return VLMP_OK;
}

static void shard_name(char out[NAME_BYTES], size_t index, size_t count)
{
    if (count == 1)
        snprintf(out, NAME_BYTES, "model.safetensors");
    else
        snprintf(out, NAME_BYTES, "model-%05zu-of-%05zu.safetensors", index + 1, count);
}

/* Copies a piece of the source and drops its pages. */
static void copy_piece(const vlmp_export *export, const vlmp_tensor *from, uint64_t offset,
                       void *out, size_t length)
{
    memcpy(out, from->data + offset, length);
    vlmp_tensor piece = *from;
    piece.file_offset += offset;
    piece.data += offset;
    piece.bytes = length;
    export->source->release(export->source, &piece);
}

static int read_piece(void *arg, size_t index, uint64_t offset, void *out, size_t length,
                      vlmp_error *err)
{
    writing *w = arg;
    const vlmp_export *export = w->export;
    const vlmp_export_tensor *t = &export->tensors[w->first + index];
    if (t->fill == NULL) {
        copy_piece(export, t->source, offset, out, length);
    } else {
        size_t size = vlmp_dtype_size(t->tensor.dtype);
        t->fill(t, (size_t)offset / size, length / size, out);
        const vlmp_tensor *read[] = {t->source, t->high};
        for (int i = 0; i < 2 && offset + length == t->tensor.bytes; i++)
            if (read[i] != NULL) export->source->release(export->source, read[i]);
    }
    w->done += length;
    if (w->progress == NULL || w->progress(w->arg, w->done, w->total) == 0) return VLMP_OK;
    return vlmp_fail(err, VLMP_ERR_INTERRUPTED, "interrupted; nothing is written");
}

static int write_shard(writing *w, const char *path, size_t first, size_t end, vlmp_error *err)
{
    static const vlmp_st_pair format = {.key = "format", .value = "pt", .length = 2};
    vlmp_tensor *tensors = vlmp_alloc(end - first, sizeof *tensors);
    if (tensors == NULL) return vlmp_fail_memory(err, path);
    for (size_t i = first; i < end; i++)
        tensors[i - first] = w->export->tensors[i].tensor;
    w->first = first;
    int status =
        vlmp_safetensors_write(path, false, tensors, end - first, &format, 1, read_piece, w, err);
    free(tensors);
    return status;
}

static int write_text(const vlmp_outfolder *folder, const char *name, const vlmp_buffer *text,
                      vlmp_error *err)
{
    char path[4096];
    if (text->failed) return vlmp_fail_memory(err, name);
    VLMP_TRY(vlmp_outfolder_path(path, folder, name, err));
    return vlmp_file_write(path, text->data, text->length, false, err);
}

static int write_index(const vlmp_export *export, const vlmp_outfolder *folder,
                       const shard_list *list, vlmp_error *err)
{
    vlmp_json_writer w = {.indent = 2};
    vlmp_json_open(&w, '{');
    vlmp_json_key(&w, "metadata");
    vlmp_json_open(&w, '{');
    vlmp_json_pair_int(&w, "total_size", (int64_t)vlmp_export_bytes(export));
    vlmp_json_close(&w, '}');
    vlmp_json_key(&w, "weight_map");
    vlmp_json_open(&w, '{');
    for (size_t s = 0; s < list->count; s++)
        for (size_t i = list->first[s]; i < list->first[s + 1]; i++) {
            char name[NAME_BYTES];
            shard_name(name, s, list->count);
            vlmp_json_pair_string(&w, export->tensors[i].tensor.name, name);
        }
    vlmp_json_close(&w, '}');
    vlmp_json_close(&w, '}');
    vlmp_buffer_text(&w.out, "\n");
    int status = write_text(folder, "model.safetensors.index.json", &w.out, err);
    vlmp_buffer_free(&w.out);
    return status;
}

/* The name of the type that readers compute in, where the configuration does not say it: they would
 * take the first tensor's. NULL: it is said. */
static int missing_type(const vlmp_export *export, const char *json, size_t length,
                        const char **type, vlmp_error *err)
{
    cJSON *root;
    VLMP_TRY(vlmp_json_parse(&root, json, length, "config.json", err));
    const cJSON *text = vlmp_json_get(root, "text_config");
    bool said =
        vlmp_json_get(root, "dtype") != NULL || vlmp_json_get(root, "torch_dtype") != NULL ||
        (text != NULL &&
         (vlmp_json_get(text, "dtype") != NULL || vlmp_json_get(text, "torch_dtype") != NULL));
    cJSON_Delete(root);
    const vlmp_tensor *table = export->source->find(export->source, "text.embed.weight");
    *type = said || table == NULL      ? NULL
            : table->dtype == VLMP_F32 ? "float32"
            : table->dtype == VLMP_F16 ? "float16"
                                       : "bfloat16";
    return VLMP_OK;
}

/* The source's text, with what is new behind its first brace. */
static int write_config(const vlmp_export *export, const vlmp_outfolder *folder,
                        vlmp_export_put_config *put_config, const char *alone, vlmp_error *err)
{
    size_t length;
    const char *type, *source = export->source->file(export->source, "config.json", &length);
    VLMP_TRY(missing_type(export, source, length, &type, err));
    const char *brace = memchr(source, '{', length);
    vlmp_json_writer w = {.indent = 2};
    vlmp_buffer out = {0};
    int status = put_config(export, &w, err);
    vlmp_buffer_append(&out, source, (size_t)(brace + 1 - source));
    vlmp_buffer_text(&out, "\n\"quantization_config\": ");
    vlmp_buffer_append(&out, w.out.data, w.out.length);
    if (type != NULL) vlmp_buffer_printf(&out, ",\n\"torch_dtype\": \"%s\"", type);
    vlmp_buffer_text(&out, ",");
    vlmp_buffer_append(&out, brace + 1, length - (size_t)(brace + 1 - source));
    out.failed |= w.out.failed;
    if (status == VLMP_OK) status = write_text(folder, "config.json", &out, err);
    vlmp_buffer_text(&w.out, "\n");
    if (status == VLMP_OK && alone != NULL) status = write_text(folder, alone, &w.out, err);
    vlmp_buffer_free(&w.out);
    vlmp_buffer_free(&out);
    return status;
}

int vlmp_export_write_safetensors(const vlmp_export *export, vlmp_outfolder *folder,
                                  vlmp_export_put_config *put_config, const char *alone,
                                  vlmp_export_progress *progress, void *arg, vlmp_error *err)
{
    VLMP_TRY(write_config(export, folder, put_config, alone, err));
    shard_list list;
    VLMP_TRY(cut_shards(&list, export, err));
    writing w = {
        .export = export, .total = vlmp_export_bytes(export), .progress = progress, .arg = arg};
    int status = VLMP_OK;
    for (size_t i = 0; i < list.count && status == VLMP_OK; i++) {
        char name[NAME_BYTES], path[4096];
        shard_name(name, i, list.count);
        status = vlmp_outfolder_path(path, folder, name, err);
        if (status == VLMP_OK)
            status = write_shard(&w, path, list.first[i], list.first[i + 1], err);
    }
    if (status == VLMP_OK && list.count > 1) status = write_index(export, folder, &list, err);
    free(list.first);
    return status;
}
