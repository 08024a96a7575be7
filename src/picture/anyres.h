/* LLaVA-NeXT's "any resolution" scheme: which grid of tiles a picture gets, and which of their
 * features are kept, in which order. All counts of tokens come from here. */
#pragma once

#include "src/base/error.h"

#define VLMP_MAX_PINPOINTS 64
#define VLMP_MAX_TILES     1024 /* of one picture; published models have at most 36 */

/* How a picture is cut up. Tiles are square, tile pixels each side. */
typedef struct {
    int tile_rows, tile_cols;          /* the grid: tile_rows · tile_cols tiles after the base */
    int canvas_height, canvas_width;   /* the grid in pixels */
    int resized_height, resized_width; /* of the picture on it, aspect kept */
    int top, left;                     /* where the picture lies on the black canvas */
} vlmp_anyres_plan;

/* VLMP_ERR_INPUT when one of the resolutions has more than VLMP_MAX_TILES tiles of this side. where
 * names the file. */
int vlmp_anyres_check(const int (*pinpoints)[2], int count, int tile, const char *where,
                      vlmp_error *err);

/* Plans a picture of height × width pixels (EXIF applied, ≥ 1) over the resolutions of
 * image_grid_pinpoints: {height, width}, multiples of tile. None, or a chosen one that is no
 * multiple: VLMP_ERR_INPUT. The resolutions have passed vlmp_anyres_check. */
int vlmp_anyres_choose(vlmp_anyres_plan *plan, int height, int width, const int (*pinpoints)[2],
                       int pinpoint_count, int tile, vlmp_error *err);

/* What is kept of the feature map that the grid's tiles form, and where its tokens lie. The
 * picture's tokens are: base_tokens of the base tile; then for each of `rows` kept map rows its
 * `cols` kept features and one newline. */
typedef struct {
    int side;               /* features on each side of a tile: image size / patch size */
    int map_rows, map_cols; /* the whole map: side · grid */
    int first_row, rows;    /* kept rows */
    int first_col, cols;    /* kept columns; 0 for a picture thinner than a feature */
    int base_tokens;        /* side² */
    int tokens;             /* base_tokens + rows · (cols + 1) */
} vlmp_anyres_layout;

/* height and width are those of the picture, not of the canvas. */
vlmp_anyres_layout vlmp_anyres_features(const vlmp_anyres_plan *plan, int height, int width,
                                        int side);

/* The tile (0 is the first after the base) and the feature in it, row by row, that map position
 * (row, col) is. */
void vlmp_anyres_locate(const vlmp_anyres_layout *layout, int row, int col, int *tile,
                        int *feature);
