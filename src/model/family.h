/* A family of models is one small file that fills this record; nothing else knows it. */
#pragma once

#include <cjson/cJSON.h>
#include <stdint.h>

#include "src/base/memory.h"
#include "src/model/config.h"
#include "src/model/names.h"
#include "src/picture/preprocess.h"

/* A picture as it is shown. */
typedef struct {
    int width, height; /* after EXIF orientation */
    int among;         /* pictures in its prompt, itself included */
} vlmp_shown_picture;

/* How one picture becomes rows of the text model. Counts come from here and nowhere else. */
typedef struct {
    int tiles;                /* pictures for the tower */
    int tokens;               /* rows in the prompt that are features or newlines */
    int grid_rows, grid_cols; /* of tiles; 0: one tile that is the whole picture */
    /* LLaVA-NeXT: of the map that the grid's tiles form, in patches. Tiles of any size: of the one
     * tile. */
    int first_row, rows; /* kept after unpadding */
    int first_col, cols;
} vlmp_image_plan;

#define VLMP_MIXED_ROWS 4

#define VLMP_SPELLINGS 2

/* What transformers and the engines call modules, for exports; "model." and such may stand in
 * front. Layers by what stands before their numbers, in one spelling or two. */
typedef struct {
    const char *tower[VLMP_SPELLINGS]; /* "vision_tower.vision_model.encoder.layers", … */
    const char *text[VLMP_SPELLINGS];
    const char *taps[VLMP_SPELLINGS]; /* the projectors' own list; none: NULL */
    const char *projector[2];         /* its linears; a second that there is not: NULL */
} vlmp_module_names;

typedef struct vlmp_family {
    const char *name;
    const char *model_type; /* in config.json */
    const char *architectures[2];
    unsigned processors; /* kinds of picture processors that it can go with: 1 << kind, … */
    bool flat_text;      /* the text model's sizes may stand at the top level of config.json */
    const vlmp_module_names *modules; /* NULL: as the checkpoint calls them */
    const char *gguf; /* llama.cpp's type of the projector; NULL: no graph of it fits */
    int (*read_config)(vlmp_config *config, const cJSON *root, const char *where, vlmp_error *err);
    /* How checkpoints name tensors. */
    vlmp_name_kind (*canonical_name)(char out[VLMP_NAME_BYTES], const char *source_name);
    /* pre: the model's processor, of one of its kinds; NULL where the folder has none, which is
     * VLMP_ERR_INPUT where it decides. */
    int (*plan_image)(const vlmp_config *config, const vlmp_preprocess *pre,
                      vlmp_shown_picture picture, vlmp_image_plan *plan, vlmp_error *err);
    /* Whether the plan is one that plan_image could have made: what pack, mix and spell rely on. */
    bool (*plan_is_valid)(const vlmp_config *config, const vlmp_image_plan *plan);
    /* Appends the text that stands in the prompt for the picture: plan->tokens times `row`, the
     * placeholder's, with what marks tiles between. NULL: the rows alone. */
    void (*spell)(const vlmp_config *config, const vlmp_image_plan *plan, const char *row,
                  vlmp_buffer *out);
    /* Which of the projected rows [tiles·tile tokens] each of the plan->tokens rows is, counted
     * from `first`; `newline` stands for the row that ends a row of the map. */
    void (*pack)(const vlmp_config *config, const vlmp_image_plan *plan, int32_t first,
                 int32_t newline, int32_t *out);
    /* Where rows are resampled, in place of pack: of each of the plan->tokens rows the projected
     * rows that it is the weighted sum of, part by part: from and weights [VLMP_MIXED_ROWS], stride
     * apart. */
    void (*mix)(const vlmp_config *config, const vlmp_image_plan *plan, int32_t first,
                int32_t newline, size_t stride, int32_t *from, float *weights);
} vlmp_family;

/* vlmp_family_other when no family reads this model_type. */
const vlmp_family *vlmp_family_find(const char *model_type);

/* "llava, llava_next, …": all that run. */
void vlmp_family_types(char *out, size_t capacity);

/* Rows that the projector makes of one tile, where all have one size. */
int vlmp_tile_tokens(const vlmp_config *config);

/* A pack for plans whose rows are those of their tiles, in order. */
void vlmp_pack_in_order(const vlmp_config *config, const vlmp_image_plan *plan, int32_t first,
                        int32_t newline, int32_t *out);

/* Whether models of the family can be run; of others the weights alone are known. */
static inline bool vlmp_family_runs(const vlmp_family *family)
{
    return family->plan_image != NULL;
}

extern const vlmp_family vlmp_family_llava;
extern const vlmp_family vlmp_family_llava_next;
extern const vlmp_family vlmp_family_llava_onevision;
extern const vlmp_family vlmp_family_qwen2_vl;
extern const vlmp_family vlmp_family_qwen2_5_vl;
extern const vlmp_family vlmp_family_qwen3_vl;
extern const vlmp_family vlmp_family_idefics3;
extern const vlmp_family vlmp_family_smolvlm;
extern const vlmp_family vlmp_family_other;
