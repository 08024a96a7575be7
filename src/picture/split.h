/* Idefics3's scheme: a picture is resized so that tiles of one size cover it, and cut up. */
#pragma once

#include <stdbool.h>

typedef struct {
    int longest_edge;  /* the longer side becomes this first, up or down; 0: see height */
    int height, width; /* or the picture becomes this; 0: it stays as it is */
    int tile;          /* pixels, of each side */
    bool split;        /* else the picture becomes one tile */
} vlmp_split_bounds;

/* Two resizes in a row, then cuts. */
typedef struct {
    int resized_height, resized_width;
    int canvas_height, canvas_width; /* multiples of the tile */
    int rows, cols;                  /* of the grid; 0: the canvas is one tile */
} vlmp_split_plan;

/* Plans a picture of height × width pixels (≥ 1). False: no grid, because a side vanishes in
 * rounding or there are more than VLMP_MAX_TILES tiles. */
bool vlmp_split_choose(vlmp_split_plan *plan, int height, int width,
                       const vlmp_split_bounds *bounds);
