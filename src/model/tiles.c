#include "src/model/tiles.h"

vlmp_patch_grid vlmp_tile_grid(const vlmp_vision_config *vision, const vlmp_image_plan *plan)
{
    if (vision->image_size == 0) return (vlmp_patch_grid){plan->rows, plan->cols};
    int side = vision->image_size / vision->patch_size;
    return (vlmp_patch_grid){side, side};
}

int vlmp_grid_tower_rows(const vlmp_vision_config *vision, vlmp_patch_grid grid)
{
    return vlmp_grid_patches(grid) + (vision->has_class ? 1 : 0);
}

int vlmp_grid_tokens(const vlmp_config *config, vlmp_patch_grid grid)
{
    int square = config->projector.shuffle * config->projector.shuffle;
    int seen = vlmp_grid_tower_rows(&config->vision, grid) - (config->vision.drop_first ? 1 : 0);
    return seen / square;
}

void vlmp_grid_pixels(const vlmp_vision_config *vision, vlmp_patch_grid grid, int *height,
                      int *width)
{
    bool fixed = vision->image_size > 0;
    *height = fixed ? vision->image_size : grid.rows * vision->patch_size;
    *width = fixed ? vision->image_size : grid.cols * vision->patch_size;
}

size_t vlmp_grid_bytes(const vlmp_vision_config *vision, vlmp_patch_grid grid)
{
    int height, width;
    vlmp_grid_pixels(vision, grid, &height, &width);
    return 3 * (size_t)height * (size_t)width;
}

static int smaller(int a, int b)
{
    return a < b ? a : b;
}

/* Groups of patches, window by window. */
struct walk {
    int rows, cols; /* of the grid of groups */
    int side;       /* of a window, in groups; where there are none, of the whole grid */
};

static struct walk walk_of(const vlmp_vision_config *vision, vlmp_patch_grid grid)
{
    struct walk w = {.rows = grid.rows / vision->merge, .cols = grid.cols / vision->merge};
    int longer = w.rows > w.cols ? w.rows : w.cols;
    w.side = vision->window > 0 ? vision->window / vision->merge : longer;
    return w;
}

void vlmp_grid_ranks(const vlmp_vision_config *vision, vlmp_patch_grid grid, int32_t *ranks)
{
    struct walk w = walk_of(vision, grid);
    int32_t next = 0;
    for (int top = 0; top < w.rows; top += w.side)
        for (int left = 0; left < w.cols; left += w.side)
            for (int y = top; y < smaller(top + w.side, w.rows); y++)
                for (int x = left; x < smaller(left + w.side, w.cols); x++)
                    ranks[y * w.cols + x] = next++;
}

void vlmp_grid_order(const vlmp_vision_config *vision, vlmp_patch_grid grid, int32_t *patches)
{
    struct walk w = walk_of(vision, grid);
    int merge = vision->merge;
    for (int top = 0; top < w.rows; top += w.side)
        for (int left = 0; left < w.cols; left += w.side)
            for (int y = top; y < smaller(top + w.side, w.rows); y++)
                for (int x = left; x < smaller(left + w.side, w.cols); x++)
                    for (int i = 0; i < merge * merge; i++)
                        *patches++ = (y * merge + i / merge) * grid.cols + x * merge + i % merge;
}

int vlmp_grid_windows(const vlmp_vision_config *vision, vlmp_patch_grid grid, int *rows)
{
    struct walk w = walk_of(vision, grid);
    int count = 0, group = vision->merge * vision->merge;
    for (int top = 0; top < w.rows; top += w.side)
        for (int left = 0; left < w.cols; left += w.side, count++)
            if (rows != NULL)
                rows[count] =
                    smaller(w.side, w.rows - top) * smaller(w.side, w.cols - left) * group;
    return count;
}
