#include "formats/folder_config.h"

#include <limits.h>
#include <stdio.h>

#include "formats/tokenizer_model.h"
#include "src/model/family.h"

/* What is said about the weights is taken away: another tool's folder is read as its configuration
 * was before. */
static int begin_import(vlmp_folder_config *out, vlmp_source_files *files, const char *folder,
                        vlmp_error *err)
{
    VLMP_TRY(vlmp_import_begin(&out->import, files, folder, err));
    if (out->import == NULL) return VLMP_OK;
    vlmp_source_file *file = vlmp_source_files_find(files, "config.json");
    file->data = out->import->config;
    file->length = out->import->config_length;
    /* They repeat what is taken away. */
    for (size_t i = 0; i < vlmp_import_file_count; i++)
        vlmp_source_files_drop(files, vlmp_import_files[i].name);
    return VLMP_OK;
}

int vlmp_folder_config_read(vlmp_folder_config *out, vlmp_table_source *source, const char *folder,
                            const char *boundary, bool headers, vlmp_error *err)
{
    char where[PATH_MAX];
    vlmp_source_files *files = &source->files;
    *out = (vlmp_folder_config){0};
    snprintf(where, sizeof where, "%.4000s/config.json", folder);
    VLMP_TRY(vlmp_source_files_map(files, folder, boundary, &source->arena, err));
    if (vlmp_source_files_find(files, "config.json") == NULL)
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: no config.json; give a Hugging Face model folder", folder);
    VLMP_TRY(begin_import(out, files, folder, err));
    VLMP_TRY(vlmp_original_look(&out->is_original, vlmp_source_files_find(files, "config.json"),
                                where, err));
    if (out->is_original) {
        VLMP_TRY(vlmp_tokenizer_model_convert(files, folder, boundary, true, &source->arena, err));
        VLMP_TRY(vlmp_shards_open(&out->shards, folder, boundary, headers, err));
        VLMP_TRY(vlmp_original_convert(&out->original, files, &out->shards, folder, &source->arena,
                                       err));
    }
    const vlmp_source_file *file = vlmp_source_files_find(files, "config.json");
    VLMP_TRY(vlmp_config_read(&source->config, file->data, file->length, where, err));
    /* Where nothing is run, nothing is asked of the tokenizer. */
    if (out->is_original || !vlmp_family_runs(source->config.family)) return VLMP_OK;
    return vlmp_tokenizer_model_convert(files, folder, boundary, false, &source->arena, err);
}

void vlmp_folder_config_free(vlmp_folder_config *config)
{
    vlmp_shards_close(&config->shards);
    vlmp_import_free(config->import);
    *config = (vlmp_folder_config){0};
}
