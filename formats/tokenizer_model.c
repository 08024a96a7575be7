#include "formats/tokenizer_model.h"

#include <limits.h>
#include <stdio.h>

#include "src/base/json.h"
#include "src/text/sentencepiece.h"

static const char *const names[] = {"tokenizer_config.json", "special_tokens_map.json",
                                    "added_tokens.json"};

/* The objects of these files. */
typedef struct {
    cJSON *roots[3]; /* NULL: there is none */
    char paths[3][PATH_MAX];
} companions;

static int load(companions *c, const vlmp_source_files *files, const char *folder, vlmp_error *err)
{
    for (size_t i = 0; i < 3; i++) {
        snprintf(c->paths[i], sizeof c->paths[i], "%.4000s/%s", folder, names[i]);
        VLMP_TRY(vlmp_source_files_object(&c->roots[i], files, names[i], folder, err));
    }
    return VLMP_OK;
}

static int convert(vlmp_source_files *files, const vlmp_sentencepiece *model, const companions *c,
                   bool every_stretch, vlmp_arena *arena, vlmp_error *err)
{
    vlmp_json_writer tokenizer = {0}, config = {.indent = 2};
    vlmp_sentencepiece_beside beside = {.config = c->roots[0],
                                        .special = c->roots[1],
                                        .added = c->roots[2],
                                        .config_where = c->paths[0],
                                        .added_where = c->paths[2]};
    VLMP_TRY(vlmp_json_bool(beside.config, "legacy", true, &beside.legacy, c->paths[0], err));
    beside.legacy |= every_stretch;
    int status = vlmp_sentencepiece_convert(&tokenizer, &config, model, &beside, err);
    if (status == VLMP_OK)
        status = vlmp_source_files_write(files, "tokenizer.json", &tokenizer, arena, err);
    if (status == VLMP_OK) status = vlmp_source_files_write(files, names[0], &config, arena, err);
    vlmp_buffer_free(&tokenizer.out);
    vlmp_buffer_free(&config.out);
    return status;
}

int vlmp_tokenizer_model_convert(vlmp_source_files *files, const char *folder, const char *inside,
                                 bool every_stretch, vlmp_arena *arena, vlmp_error *err)
{
    char path[PATH_MAX];
    vlmp_path_kind kind;
    if (vlmp_source_files_find(files, "tokenizer.json") != NULL) return VLMP_OK;
    if (!vlmp_path_join(path, sizeof path, folder, "tokenizer.model")) return VLMP_OK;
    VLMP_TRY(vlmp_path_look(&kind, path, err));
    if (kind == VLMP_PATH_ABSENT) return VLMP_OK;
    VLMP_TRY(vlmp_check_inside(path, inside, err));
    vlmp_map map;
    vlmp_sentencepiece model = {0};
    companions c = {0};
    VLMP_TRY(vlmp_map_open(&map, path, err));
    int status = vlmp_sentencepiece_read(&model, map.data, map.length, path, err);
    if (status == VLMP_OK) status = load(&c, files, folder, err);
    if (status == VLMP_OK) status = convert(files, &model, &c, every_stretch, arena, err);
    for (size_t i = 0; i < 3; i++)
        cJSON_Delete(c.roots[i]);
    vlmp_sentencepiece_free(&model);
    vlmp_map_close(&map);
    return status;
}
