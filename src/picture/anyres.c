#include "src/picture/anyres.h"

#include <math.h>
#include <stdint.h>

static int min_int(int a, int b)
{
    return a < b ? a : b;
}

/* The resolution that keeps most of the picture's pixels, then the one that wastes least; the first
 * on ties. Products and truncations are in the reference's order. */
static int best_resolution(int height, int width, const int (*pinpoints)[2], int count)
{
    int best = -1;
    int64_t best_effective = 0, least_wasted = INT64_MAX;
    for (int i = 0; i < count; i++) {
        double scale = fmin((double)pinpoints[i][1] / width, (double)pinpoints[i][0] / height);
        int64_t shown = (int64_t)(width * scale) * (int64_t)(height * scale);
        int64_t own = (int64_t)width * height;
        int64_t effective = shown < own ? shown : own;
        int64_t wasted = (int64_t)pinpoints[i][1] * pinpoints[i][0] - effective;
        if (effective > best_effective || (effective == best_effective && wasted < least_wasted)) {
            best = i;
            best_effective = effective;
            least_wasted = wasted;
        }
    }
    return best;
}

int vlmp_anyres_check(const int (*pinpoints)[2], int count, int tile, const char *where,
                      vlmp_error *err)
{
    for (int i = 0; i < count; i++) {
        int64_t tiles = (int64_t)(pinpoints[i][0] / tile) * (pinpoints[i][1] / tile);
        if (tiles > VLMP_MAX_TILES)
            return vlmp_fail(
                err, VLMP_ERR_INPUT,
                "%s: entry %d of 'image_grid_pinpoints', [%d, %d], makes %lld tiles of "
                "%d x %d pixels, more than the limit of %d",
                where, i, pinpoints[i][0], pinpoints[i][1], (long long)tiles, tile, tile,
                VLMP_MAX_TILES);
    }
    return VLMP_OK;
}

int vlmp_anyres_choose(vlmp_anyres_plan *plan, int height, int width, const int (*pinpoints)[2],
                       int pinpoint_count, int tile, vlmp_error *err)
{
    int best = best_resolution(height, width, pinpoints, pinpoint_count);
    if (best < 0)
        return vlmp_fail(err, VLMP_ERR_INPUT, "image_grid_pinpoints: no resolution to choose from");
    int th = pinpoints[best][0], tw = pinpoints[best][1];
    if (tile < 1 || th < tile || tw < tile || th % tile != 0 || tw % tile != 0)
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "image_grid_pinpoints: [%d, %d] is not a multiple of the tile size %d", th,
                         tw, tile);
    *plan = (vlmp_anyres_plan){.tile_rows = th / tile,
                               .tile_cols = tw / tile,
                               .canvas_height = th,
                               .canvas_width = tw,
                               .resized_height = th,
                               .resized_width = tw};
    double scale_w = (double)tw / width, scale_h = (double)th / height;
    if (scale_w < scale_h)
        plan->resized_height = min_int((int)ceil(height * scale_w), th);
    else
        plan->resized_width = min_int((int)ceil(width * scale_h), tw);
    plan->top = (th - plan->resized_height) / 2;
    plan->left = (tw - plan->resized_width) / 2;
    return VLMP_OK;
}

/* int(round(x, 7)) of the reference: rounding at the seventh decimal lifts products that miss an
 * integer by floating-point noise only. */
static int round7_truncate(double x)
{
    double nearest = nearbyint(x);
    return fabs(x - nearest) < 5e-8 ? (int)nearest : (int)x;
}

vlmp_anyres_layout vlmp_anyres_features(const vlmp_anyres_plan *plan, int height, int width,
                                        int side)
{
    vlmp_anyres_layout l = {.side = side,
                            .map_rows = side * plan->tile_rows,
                            .map_cols = side * plan->tile_cols,
                            .base_tokens = side * side};
    l.rows = l.map_rows;
    l.cols = l.map_cols;
    if ((double)width / height > (double)l.map_cols / l.map_rows) {
        int shown = round7_truncate(height * ((double)l.map_cols / width));
        l.first_row = (l.map_rows - shown) / 2;
        l.rows -= 2 * l.first_row;
    } else {
        int shown = round7_truncate(width * ((double)l.map_rows / height));
        l.first_col = (l.map_cols - shown) / 2;
        l.cols -= 2 * l.first_col;
    }
    l.tokens = l.base_tokens + l.rows * (l.cols + 1);
    return l;
}

void vlmp_anyres_locate(const vlmp_anyres_layout *layout, int row, int col, int *tile, int *feature)
{
    int side = layout->side;
    *tile = row / side * (layout->map_cols / side) + col / side;
    *feature = row % side * side + col % side;
}
