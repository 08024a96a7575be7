#include "formats/export.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/export_plan.h"
#include "formats/safetensors_write.h"
#include "src/base/outfile.h"
#include "src/model/family.h"
#include "src/model/names.h"

#define SHARD_BYTES 5000000000ull /* as Hugging Face's tools cut */

static const vlmp_export_layout *const known[] = {
    &vlmp_export_compressed_tensors, &vlmp_export_gptq, &vlmp_export_awq, &vlmp_export_gguf};

const char *vlmp_export_fate_name(vlmp_export_fate fate)
{
    static const char *const names[] = {"kept", "exact", "converted"};
    return names[fate];
}

const vlmp_export_layout *vlmp_export_layout_find(const char *name)
{
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(vlmp_layout_name(known[i]->layout), name) == 0) return known[i];
    return NULL;
}

int vlmp_export_check_family(const vlmp_config *config, vlmp_layout layout, const char *where,
                             vlmp_error *err)
{
    if (vlmp_family_runs(config->family) && config->image_token >= config->text.vocab)
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: the embedding table has no row for the picture token %d, as in "
                         "original LLaVA checkpoints, and other engines want one; export from a "
                         "checkpoint that was converted to the Hugging Face layout",
                         where, config->image_token);
    if (layout != VLMP_LAYOUT_GGUF || config->family->gguf != NULL) return VLMP_OK;
    return vlmp_fail(err, VLMP_ERR_INPUT,
                     "%s: llama.cpp has no graph for '%s' that is known here; take --format "
                     "compressed-tensors",
                     where, config->model_type);
}

int vlmp_export_open(vlmp_export *export, const vlmp_source *source, const vlmp_config *config,
                     const vlmp_export_layout *layout, vlmp_serve engine, bool requantize,
                     vlmp_error *err)
{
    *export = (vlmp_export){.source = source,
                            .config = config,
                            .layout = layout,
                            .engine = engine,
                            .shard_bytes = SHARD_BYTES};
    if (source->named_by != NULL && !layout->names)
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: its tensors have %s's names, which no reader of %s knows; take "
                         "--format gguf",
                         source->path, source->named_by, vlmp_layout_name(layout->layout));
    VLMP_TRY(vlmp_export_check_family(config, layout->layout, source->path, err));
    const vlmp_packed_linear *linears = vlmp_packed_linears(source, &export->linear_count);
    VLMP_TRY(vlmp_export_check(layout->layout, engine, linears, export->linear_count, requantize,
                               source->path, err));
    vlmp_packed_linear *written =
        vlmp_arena_alloc(&export->arena, export->linear_count, sizeof *written);
    if (written == NULL) return vlmp_fail_memory(err, source->path);
    for (size_t i = 0; i < export->linear_count; i++) {
        written[i] = linears[i];
        written[i].scheme = vlmp_export_scheme(&linears[i].scheme);
    }
    export->linears = written;
    return layout->plan(export, err);
}

const vlmp_packed_linear *vlmp_export_linear_find(const vlmp_export *export, const char *name,
                                                  size_t length)
{
    size_t count;
    const vlmp_packed_linear *found = vlmp_packed_linear_find(export->source, name, length);
    return found != NULL ? export->linears + (found - vlmp_packed_linears(export->source, &count))
                         : NULL;
}

void vlmp_export_free(vlmp_export *export)
{
    if (export->own != NULL) export->layout->release(export);
    free(export->tensors);
    vlmp_arena_free(&export->arena);
    *export = (vlmp_export){0};
}

uint64_t vlmp_export_bytes(const vlmp_export *export)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < export->count; i++)
        bytes += export->tensors[i].tensor.bytes;
    return bytes;
}

int vlmp_export_append(vlmp_export *export, const vlmp_export_tensor *tensor, vlmp_error *err)
{
    if (export->count == export->capacity) {
        size_t grown = export->capacity == 0 ? 64 : export->capacity * 2;
        void *tensors = realloc(export->tensors, grown * sizeof *export->tensors);
        if (tensors == NULL) return vlmp_fail_memory(err, export->source->path);
        export->tensors = tensors;
        export->capacity = grown;
    }
    export->tensors[export->count++] = *tensor;
    return VLMP_OK;
}

static const vlmp_tensor *find_part(const vlmp_export *export, const char *stem, const char *part)
{
    char name[VLMP_NAME_BYTES + 16];
    snprintf(name, sizeof name, "%s.%s", stem, part);
    return export->source->find(export->source, name);
}

int vlmp_export_add(vlmp_export *export, const vlmp_packed_linear *linear, const char *suffix,
                    const vlmp_export_tensor *made, vlmp_packed_part part, vlmp_error *err)
{
    vlmp_code_type type =
        vlmp_packed_linear_find(export->source, linear->name, strlen(linear->name))->scheme.codes;
    const vlmp_tensor *codes =
        find_part(export, linear->name, vlmp_packed_part_name(VLMP_PACKED_CODES, type));
    size_t base = strlen(codes->source_name), tail = strlen(".weight");
    if (base <= tail || strcmp(codes->source_name + base - tail, ".weight") != 0)
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: the source name of %s, '%.200s', does not end in '.weight'; make the "
                         "file again",
                         export->source->path, linear->name, codes->source_name);
    base -= tail;
    char *name = vlmp_arena_alloc(&export->arena, base + strlen(suffix) + 2, 1);
    if (name == NULL) return vlmp_fail_memory(err, export->source->path);
    sprintf(name, "%.*s.%s", (int)base, codes->source_name, suffix);
    vlmp_export_tensor added = *made;
    added.tensor.name = name;
    added.linear = linear;
    if (part < VLMP_PACKED_PARTS)
        added.source = find_part(export, linear->name, vlmp_packed_part_name(part, type));
    if (part == VLMP_PACKED_CODES && type == VLMP_CODES_U3)
        added.high = find_part(export, linear->name, vlmp_packed_part_name(VLMP_PACKED_HIGH, type));
    VLMP_TRY(vlmp_st_bytes(&added.tensor, &added.tensor.bytes, err));
    return vlmp_export_append(export, &added, err);
}

int vlmp_export_plan_tensors(vlmp_export *export, vlmp_export_add_linear *add_linear,
                             vlmp_error *err)
{
    const vlmp_source *source = export->source;
    for (size_t i = 0; i < source->count(source); i++) {
        const vlmp_tensor *tensor = source->at(source, i);
        vlmp_packed_part part = vlmp_packed_part_of(tensor->name + vlmp_name_stem(tensor->name));
        if (part == VLMP_PACKED_CODES) {
            const char *name = tensor->name;
            VLMP_TRY(add_linear(export, vlmp_export_linear_find(export, name, vlmp_name_stem(name)),
                                err));
            continue;
        }
        if (part != VLMP_PACKED_PARTS) continue;
        vlmp_export_tensor kept = {.tensor = *tensor, .source = tensor, .fate = VLMP_EXPORT_KEPT};
        kept.tensor.name = tensor->source_name;
        kept.tensor.data = NULL;
        VLMP_TRY(vlmp_export_append(export, &kept, err));
    }
    return VLMP_OK;
}

/* The name that a file of the source folder has in the export; NULL: it is left. GGUF files say
 * themselves how they are quantized; beside them the configuration is what reads them back. */
static const char *exported_name(const vlmp_export *export, const char *name)
{
    static const char *const left[] = {"quantize_config.json", "CHECKLIST.md",
                                       VLMP_FOLDER_SUMS,       "kserve.json",
                                       "kserve-route.json",    "compose.json"};
    for (size_t i = 0; i < sizeof left / sizeof *left; i++)
        if (strcmp(name, left[i]) == 0) return NULL;
    if (strcmp(name, "config.json") == 0 && export->layout->layout != VLMP_LAYOUT_GGUF) return NULL;
    return strcmp(name, "README.md") == 0 ? "README-base.md" : name;
}

int vlmp_export_write_files(const vlmp_export *export, vlmp_outfolder *folder, vlmp_error *err)
{
    const vlmp_source *source = export->source;
    const char *name;
    for (size_t i = 0; (name = source->file_at(source, i)) != NULL; i++) {
        const char *written = exported_name(export, name);
        if (written == NULL) continue;
        char path[4096];
        size_t length;
        const char *bytes = source->file(source, name, &length);
        VLMP_TRY(vlmp_outfolder_path(path, folder, written, err));
        VLMP_TRY(vlmp_file_write(path, bytes, length, false, err));
    }
    return VLMP_OK;
}
