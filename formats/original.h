/* Model folders of LLaVA's own code (liuhaotian/…, lmms-lab/…) become what transformers' conversion
 * makes of them: their configuration names the tower ('mm_vision_tower') instead of describing it,
 * and the code holds what else is to be known. Everything above sees a folder in transformers'
 * layout. docs/names.md has the rules. */
#pragma once

#include <limits.h>
#include <stdbool.h>

#include "formats/shards.h"
#include "formats/source_files.h"
#include "src/base/error.h"
#include "src/base/json.h"

#define VLMP_ORIGINAL_NAME_BYTES 1100 /* a name and what stands in front of it */

typedef struct {
    const char *class_name;   /* transformers' of the tower */
    int hidden, intermediate; /* its sizes */
    int layers;               /* that the model has of it */
    int heads, image_size, patch_size;
    const char *act; /* NULL: the class's */
    double norm_eps; /* 0: the class's */
    bool has_class;  /* a class row */
    /* Its folder; "": not found. Not asked for where the model's weights hold the tower and its
     * name tells the sizes. */
    char folder[PATH_MAX];
} vlmp_original_tower;

/* What the conversion has found out. */
typedef struct {
    bool holds_tower; /* its weights are in the model's folder */
    vlmp_original_tower tower;
} vlmp_original;

/* Whether config.json (the file `where`) is of such a folder. */
int vlmp_original_look(bool *is_one, const vlmp_source_file *config, const char *where,
                       vlmp_error *err);

/* Replaces or adds config.json, tokenizer_config.json, preprocessor_config.json and
 * processor_config.json among the files, and adds a chat_template.jinja where there is no template;
 * their text goes to the arena. folder: the model's, which has these weights. What cannot be said
 * in transformers' layout is VLMP_ERR_INPUT, and so is a tower that is nowhere. */
int vlmp_original_convert(vlmp_original *out, vlmp_source_files *files, const vlmp_shards *shards,
                          const char *folder, vlmp_arena *arena, vlmp_error *err);

/* transformers' name of a tensor of the model's folder, or, tower, of its tower's. false: the model
 * has none of it. */
bool vlmp_original_name(char out[VLMP_ORIGINAL_NAME_BYTES], const char *name,
                        const vlmp_original *original, bool tower);

/* The parts of it, internal: */

/* Finds the tower that the configuration names: sizes, and folder where it is needed. */
int vlmp_original_find_tower(vlmp_original *out, const cJSON *config, const char *folder,
                             const char *where, vlmp_error *err);

/* The object of preprocessor_config.json in the tower's folder; *out NULL: none. cJSON_Delete. */
int vlmp_original_tower_processor(cJSON **out, const vlmp_original_tower *tower, vlmp_error *err);

/* The id of <image>, which becomes one of the tokenizer's tokens if it is none, and the chat
 * template of the model's conversations. text: the text model's type. */
int vlmp_original_prompts(int *image_token, vlmp_source_files *files, const cJSON *config,
                          const char *text, const char *folder, vlmp_arena *arena, vlmp_error *err);
