#include "src/picture/split.h"

#include <math.h>
#include <stdint.h>

#include "src/picture/anyres.h"

#define LONGEST 4096 /* a picture is never resized beyond, whatever its bounds say */

/* The shorter side of a picture whose longer one becomes `longest`; ratio: shorter/longer side as
 * the reference has it, width/height. */
static void keep_ratio(int *height, int *width, int longest, bool even)
{
    double ratio = (double)*width / *height;
    bool wide = *width >= *height;
    int other = wide ? (int)(longest / ratio) : (int)(longest * ratio);
    if (even && other % 2 != 0) other++;
    if (other < 1) other = 1;
    *width = wide ? longest : other;
    *height = wide ? other : longest;
}

static int round_up(int value, int step)
{
    return (value + step - 1) / step * step;
}

static void first_resize(vlmp_split_plan *plan, const vlmp_split_bounds *bounds)
{
    int *height = &plan->resized_height, *width = &plan->resized_width;
    if (bounds->longest_edge != 0) {
        keep_ratio(height, width, bounds->longest_edge, true);
        if (*height > LONGEST || *width > LONGEST) keep_ratio(height, width, LONGEST, false);
    } else if (bounds->height != 0) {
        *height = bounds->height;
        *width = bounds->width;
    }
}

bool vlmp_split_choose(vlmp_split_plan *plan, int height, int width,
                       const vlmp_split_bounds *bounds)
{
    int tile = bounds->tile;
    *plan = (vlmp_split_plan){.resized_height = height,
                              .resized_width = width,
                              .canvas_height = tile,
                              .canvas_width = tile};
    first_resize(plan, bounds);
    if (!bounds->split) return true;
    int h = plan->resized_height, w = plan->resized_width;
    double ratio = (double)w / h;
    if (w >= h) {
        w = round_up(w, tile);
        h = round_up((int)(w / ratio), tile);
    } else {
        h = round_up(h, tile);
        w = round_up((int)(h * ratio), tile);
    }
    int rows = h / tile, cols = w / tile;
    if (rows == 0 || cols == 0 || (int64_t)rows * cols > VLMP_MAX_TILES) return false;
    plan->canvas_height = h;
    plan->canvas_width = w;
    if (rows * cols > 1) {
        plan->rows = rows;
        plan->cols = cols;
    }
    return true;
}
