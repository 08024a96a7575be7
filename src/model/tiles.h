/* A picture's tiles as the tower sees them: grids of patches, the order of their rows, the windows
 * that some layers attend in. Towers of one size of tile have one grid, others that of the plan. */
#pragma once

#include "src/model/family.h"

typedef struct {
    int rows, cols; /* patches */
} vlmp_patch_grid;

/* Of each of the plan's tiles. plan may be NULL where all tiles have one size. */
vlmp_patch_grid vlmp_tile_grid(const vlmp_vision_config *vision, const vlmp_image_plan *plan);

static inline int vlmp_grid_patches(vlmp_patch_grid grid)
{
    return grid.rows * grid.cols;
}

/* Rows of a tile in the tower: its patches, and the class row where there is one. */
int vlmp_grid_tower_rows(const vlmp_vision_config *vision, vlmp_patch_grid grid);

/* Rows that the projector makes of a tile. */
int vlmp_grid_tokens(const vlmp_config *config, vlmp_patch_grid grid);

/* Pixels of a tile. */
void vlmp_grid_pixels(const vlmp_vision_config *vision, vlmp_patch_grid grid, int *height,
                      int *width);

/* Bytes of a tile [height][width][3]. */
size_t vlmp_grid_bytes(const vlmp_vision_config *vision, vlmp_patch_grid grid);

/* The tower's rows stand window by window, in a window group by group (merge × merge patches that
 * the projector makes one row of), in a group row by row. patches[i]: which patch, counted row by
 * row over the grid, row i is (the class row not counted). */
void vlmp_grid_order(const vlmp_vision_config *vision, vlmp_patch_grid grid, int32_t *patches);

/* ranks[g]: where the projected row stands among those of its tile that group g, counted row by row
 * over the grid of groups, became. */
void vlmp_grid_ranks(const vlmp_vision_config *vision, vlmp_patch_grid grid, int32_t *ranks);

/* rows[i]: of window i, in the order in which they stand. Returns how many; rows may be NULL. */
int vlmp_grid_windows(const vlmp_vision_config *vision, vlmp_patch_grid grid, int *rows);
