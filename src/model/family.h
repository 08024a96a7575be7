/* A family of models is one small file that fills this record; nothing else knows it. */
#pragma once

#include <cjson/cJSON.h>
#include <stdint.h>

#include "src/model/config.h"
#include "src/model/names.h"

/* How one picture becomes rows of the text model. Counts come from here and nowhere else. */
typedef struct {
    int tiles;  /* pictures of image_size × image_size for the tower, base first */
    int tokens; /* rows in the prompt */
    /* The map that the tiles after the base form, in patches; 0: the base alone. */
    int grid_rows, grid_cols; /* tiles */
    int first_row, rows;      /* kept after unpadding */
    int first_col, cols;
} vlmp_image_plan;

typedef struct vlmp_family {
    const char *name;
    const char *model_type; /* in config.json */
    const char *architectures[2];
    int (*read_config)(vlmp_config *config, const cJSON *root, const char *where, vlmp_error *err);
    /* How checkpoints name tensors. */
    vlmp_name_kind (*canonical_name)(char out[VLMP_NAME_BYTES], const char *source_name);
    /* width, height: of the picture after EXIF orientation. */
    int (*plan_image)(const vlmp_config *config, int width, int height, vlmp_image_plan *plan,
                      vlmp_error *err);
    /* Which of the projected rows [tiles·tile tokens] each of the plan->tokens rows is, counted
     * from `first`; `newline` stands for the row that ends a row of the map. */
    void (*pack)(const vlmp_config *config, const vlmp_image_plan *plan, int32_t first,
                 int32_t newline, int32_t *out);
} vlmp_family;

/* Whether the plan is one that plan_image could have made: what pack relies on. */
bool vlmp_image_plan_is_valid(const vlmp_config *config, const vlmp_image_plan *plan);

/* NULL when no family reads this model_type. */
const vlmp_family *vlmp_family_find(const char *model_type);

/* Rows that the projector sees for one tile. */
int vlmp_tile_tokens(const vlmp_config *config);

extern const vlmp_family vlmp_family_llava;
extern const vlmp_family vlmp_family_llava_next;
