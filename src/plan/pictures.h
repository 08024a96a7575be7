/* What a picture costs a model: tiles, rows in the tower and in the prompt. */
#pragma once

#include "src/model/model.h"
#include "src/model/tiles.h"

typedef struct {
    int width, height;
    int tiles;
    int tokens;     /* rows of the prompt */
    int tower_rows; /* of all tiles */
    int tile_rows;  /* of one */
    double pixels;  /* that the tower sees of it, the picture in small left out */
} vlmp_picture_cost;

/* The image processor that a model goes with where its folder has none: the class's defaults.
 * false: its family has more than one, or none is needed. */
bool vlmp_usual_processor(vlmp_preprocess *out, const vlmp_family *family);

/* pre: the model's processor, or NULL. What it refuses is VLMP_ERR_INPUT. */
int vlmp_picture_cost_of(vlmp_picture_cost *out, const vlmp_config *config,
                         const vlmp_preprocess *pre, int width, int height, vlmp_error *err);

/* Of pictures of common shapes up to 4096 pixels a side: the one with the most tokens, at most as
 * many (0: any); of those, one that the tower sees as large as it is. Fails where none has. */
int vlmp_largest_picture(vlmp_picture_cost *out, const vlmp_config *config,
                         const vlmp_preprocess *pre, double most_tokens, vlmp_error *err);
