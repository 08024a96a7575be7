#include "src/picture/preprocess.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/memory.h"
#include "src/picture/anyres.h"
#include "src/picture/smart_resize.h"

/* A canvas that a picture is padded or resized to may have this many pixels. */
#define MAX_CANVAS_PIXELS ((int64_t)1 << 28)

/* The base and the grid of a LLaVA-NeXT processor, and all tiles together: computed for every
 * picture, however small it is. Published models have at most 6 million. */
#define MAX_GRID_PIXELS ((int64_t)1 << 26)

typedef struct {
    int height, width;
} extent;

static int fail_extreme(const vlmp_image *image, const char *name, vlmp_error *err)
{
    return vlmp_fail(err, VLMP_ERR_INPUT,
                     "%s: a picture of %d x %d pixels is too long and thin for this model's image "
                     "processor; crop it",
                     name, image->width, image->height);
}

static int check_canvas(int64_t height, int64_t width, const vlmp_image *image, const char *name,
                        vlmp_error *err)
{
    if (height > 0 && width > 0 && height <= MAX_CANVAS_PIXELS && width <= MAX_CANVAS_PIXELS &&
        height * width <= MAX_CANVAS_PIXELS)
        return VLMP_OK;
    return fail_extreme(image, name, err);
}

/* int(edge · long / short) for the longer side: the product is exact, the quotient is rounded once,
 * then truncated. 0 when it is beyond all measure. */
static extent shortest_edge_size(int height, int width, int64_t edge)
{
    double scaled =
        width <= height ? (double)(edge * height) / width : (double)(edge * width) / height;
    int other = scaled < (double)INT32_MAX ? (int)scaled : 0;
    return width <= height ? (extent){other, (int)edge} : (extent){(int)edge, other};
}

/* With a bound on the longer side. */
static extent bounded_size(int height, int width, int edge, int longest)
{
    double low = fmin(height, width), high = fmax(height, width);
    double raw = 0.0;
    bool bounded = high / low * edge > longest;
    if (bounded) {
        raw = longest * low / high;
        edge = (int)nearbyint(raw);
    }
    if ((height <= width && height == edge) || (width <= height && width == edge))
        return (extent){height, width};
    double used = bounded ? raw : (double)edge;
    if (width < height) return (extent){(int)(used * height / width), edge};
    return (extent){edge, (int)(used * width / height)};
}

static extent resized_size(const vlmp_preprocess *pre, int height, int width)
{
    const vlmp_resize_size *s = &pre->size;
    if (!pre->do_resize) return (extent){height, width};
    if (s->height != 0) return (extent){s->height, s->width};
    if (s->longest_edge != 0) return bounded_size(height, width, s->shortest_edge, s->longest_edge);
    return shortest_edge_size(height, width, s->shortest_edge);
}

static int floor_half(int value)
{
    return value >= 0 ? value / 2 : -((1 - value) / 2);
}

static void blank(uint8_t *pixels, extent size, const int color[3])
{
    size_t count = (size_t)size.height * (size_t)size.width;
    for (size_t i = 0; i < count; i++, pixels += 3)
        for (int c = 0; c < 3; c++)
            pixels[c] = (uint8_t)color[c];
}

static void paste(uint8_t *canvas, int canvas_width, int top, int left, const vlmp_image *image)
{
    for (int y = 0; y < image->height; y++)
        memcpy(canvas + ((size_t)(top + y) * (size_t)canvas_width + (size_t)left) * 3,
               image->pixels + (size_t)y * (size_t)image->width * 3, (size_t)image->width * 3);
}

/* The last steps that all tiles share: resizes to pre->size, crops the centre into tile[out.height]
 * [out.width][3]. Where the crop is larger, black shows. Only the cropped part is computed. */
static int resize_crop(uint8_t *tile, extent out, const vlmp_preprocess *pre,
                       const vlmp_image *image, const char *name, vlmp_error *err)
{
    extent size = resized_size(pre, image->height, image->width);
    if (size.height < 1 || size.width < 1) return fail_extreme(image, name, err);
    int top = floor_half(size.height - out.height), left = floor_half(size.width - out.width);
    vlmp_rect window = {.x = left > 0 ? left : 0,
                        .y = top > 0 ? top : 0,
                        .width = size.width < out.width ? size.width : out.width,
                        .height = size.height < out.height ? size.height : out.height};
    vlmp_image part;
    VLMP_TRY(vlmp_resize(&part, image, size.width, size.height, &window, pre->resample,
                         pre->precision, err));
    memset(tile, 0, (size_t)out.height * (size_t)out.width * 3);
    paste(tile, out.width, top < 0 ? -top : 0, left < 0 ? -left : 0, &part);
    free(part.pixels);
    return VLMP_OK;
}

/* The size of every tile that resize_crop makes of a source of this size. */
static extent tile_size(const vlmp_preprocess *pre, int height, int width)
{
    if (pre->do_center_crop) return (extent){pre->crop_height, pre->crop_width};
    return resized_size(pre, height, width);
}

static int alloc_tiles(vlmp_tiles *out, int count, extent size, const vlmp_image *image,
                       const char *name, vlmp_error *err)
{
    VLMP_TRY(check_canvas(size.height, size.width, image, name, err));
    size_t tile = (size_t)size.height * (size_t)size.width * 3;
    *out = (vlmp_tiles){.count = count,
                        .height = size.height,
                        .width = size.width,
                        .pixels = vlmp_alloc((size_t)count, tile),
                        .image_height = image->height,
                        .image_width = image->width};
    return out->pixels == NULL ? vlmp_fail_memory(err, "picture tiles") : VLMP_OK;
}

static int single_tile(vlmp_tiles *out, const vlmp_preprocess *pre, const vlmp_image *image,
                       const char *name, vlmp_error *err)
{
    extent size = tile_size(pre, image->height, image->width);
    VLMP_TRY(alloc_tiles(out, 1, size, image, name, err));
    return resize_crop(out->pixels, size, pre, image, name, err);
}

static int square_tile(vlmp_tiles *out, const vlmp_preprocess *pre, const vlmp_image *image,
                       const char *name, vlmp_error *err)
{
    int side = image->width > image->height ? image->width : image->height;
    int color[3];
    VLMP_TRY(check_canvas(side, side, image, name, err));
    for (int c = 0; c < 3; c++)
        color[c] = (int)(pre->mean[c] * 255.0);
    vlmp_image square = {side, side, vlmp_alloc((size_t)side * (size_t)side, 3)};
    if (square.pixels == NULL) return vlmp_fail_memory(err, "a padded picture");
    blank(square.pixels, (extent){side, side}, color);
    paste(square.pixels, side, (side - image->height) / 2, (side - image->width) / 2, image);
    int status = single_tile(out, pre, &square, name, err);
    free(square.pixels);
    out->image_height = image->height;
    out->image_width = image->width;
    return status;
}

/* The picture on its black canvas. */
static int anyres_canvas(vlmp_image *canvas, const vlmp_anyres_plan *plan,
                         const vlmp_preprocess *pre, const vlmp_image *image, vlmp_error *err)
{
    vlmp_image resized;
    VLMP_TRY(vlmp_resize(&resized, image, plan->resized_width, plan->resized_height, NULL,
                         pre->resample, pre->precision, err));
    *canvas =
        (vlmp_image){plan->canvas_width, plan->canvas_height,
                     vlmp_calloc((size_t)plan->canvas_width * (size_t)plan->canvas_height, 3)};
    if (canvas->pixels != NULL)
        paste(canvas->pixels, canvas->width, plan->top, plan->left, &resized);
    free(resized.pixels);
    return canvas->pixels == NULL ? vlmp_fail_memory(err, "a picture canvas") : VLMP_OK;
}

static int cut_tiles(vlmp_tiles *out, const vlmp_preprocess *pre, const vlmp_anyres_plan *plan,
                     const vlmp_image *canvas, int side, const char *name, vlmp_error *err)
{
    size_t tile_bytes = (size_t)out->height * (size_t)out->width * 3;
    vlmp_image piece = {side, side, vlmp_alloc((size_t)side * (size_t)side, 3)};
    if (piece.pixels == NULL) return vlmp_fail_memory(err, "a picture tile");
    int status = VLMP_OK;
    for (int i = 0; status == VLMP_OK && i < plan->tile_rows * plan->tile_cols; i++) {
        int top = i / plan->tile_cols * side, left = i % plan->tile_cols * side;
        for (int y = 0; y < side; y++)
            memcpy(piece.pixels + (size_t)y * (size_t)side * 3,
                   canvas->pixels + ((size_t)(top + y) * (size_t)canvas->width + (size_t)left) * 3,
                   (size_t)side * 3);
        status = resize_crop(out->pixels + (size_t)(i + 1) * tile_bytes,
                             (extent){out->height, out->width}, pre, &piece, name, err);
    }
    free(piece.pixels);
    return status;
}

void vlmp_preprocess_base(const vlmp_preprocess *pre, int *height, int *width, int *side)
{
    const vlmp_resize_size *s = &pre->size;
    *height = s->height != 0 ? s->height : s->shortest_edge;
    *width = s->height != 0 ? s->width : s->shortest_edge;
    *side = pre->crop_height != 0 ? pre->crop_height : *height;
}

/* Sizes that come from the processor alone. */
static int check_grid(const char *what, int64_t height, int64_t width, vlmp_error *err)
{
    if (height * width <= MAX_GRID_PIXELS) return VLMP_OK;
    return vlmp_fail(err, VLMP_ERR_INPUT,
                     "image processor: %s of %lld x %lld pixels, more than the limit of %lld", what,
                     (long long)width, (long long)height, (long long)MAX_GRID_PIXELS);
}

static int anyres_tiles(vlmp_tiles *out, const vlmp_preprocess *pre, const vlmp_image *image,
                        const char *name, vlmp_error *err)
{
    extent base_size;
    int side;
    vlmp_preprocess_base(pre, &base_size.height, &base_size.width, &side);
    extent size = tile_size(pre, base_size.height, base_size.width);
    extent of_piece = tile_size(pre, side, side);
    if (size.height != of_piece.height || size.width != of_piece.width)
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "image processor: size and crop_size make base and grid tiles of "
                         "different sizes (%d x %d and %d x %d)",
                         size.width, size.height, of_piece.width, of_piece.height);
    vlmp_anyres_plan plan;
    VLMP_TRY(vlmp_anyres_choose(&plan, image->height, image->width, pre->pinpoints,
                                pre->pinpoint_count, side, err));
    int count = 1 + plan.tile_rows * plan.tile_cols;
    VLMP_TRY(check_grid("'size' makes a base", base_size.height, base_size.width, err));
    VLMP_TRY(check_grid("'image_grid_pinpoints' has a grid", plan.canvas_height, plan.canvas_width,
                        err));
    VLMP_TRY(check_grid("'size' and 'crop_size' make tiles", (int64_t)size.height * count,
                        size.width, err));
    VLMP_TRY(alloc_tiles(out, count, size, image, name, err));
    vlmp_image base, canvas = {0};
    VLMP_TRY(vlmp_resize(&base, image, base_size.width, base_size.height, NULL, pre->resample,
                         pre->precision, err));
    int status = resize_crop(out->pixels, size, pre, &base, name, err);
    free(base.pixels);
    if (status == VLMP_OK) status = anyres_canvas(&canvas, &plan, pre, image, err);
    if (status == VLMP_OK) status = cut_tiles(out, pre, &plan, &canvas, side, name, err);
    free(canvas.pixels);
    return status;
}

static void cut(uint8_t *tile, const vlmp_image *from, int top, int left, int side)
{
    for (int y = 0; y < side; y++)
        memcpy(tile + (size_t)y * (size_t)side * 3,
               from->pixels + ((size_t)(top + y) * (size_t)from->width + (size_t)left) * 3,
               (size_t)side * 3);
}

/* The grid of tiles that the resized picture is cut into, then all of it as a tile of its own; or
 * that alone. */
static int split_tiles(vlmp_tiles *out, const vlmp_preprocess *pre, const vlmp_image *image,
                       const char *name, vlmp_error *err)
{
    vlmp_split_plan plan;
    int side = pre->tile_side;
    size_t bytes = (size_t)side * (size_t)side * 3;
    VLMP_TRY(vlmp_preprocess_split(&plan, pre, image->height, image->width, name, err));
    int grid = plan.rows * plan.cols;
    VLMP_TRY(alloc_tiles(out, grid + 1, (extent){side, side}, image, name, err));
    vlmp_image resized, canvas, whole;
    VLMP_TRY(vlmp_resize(&resized, image, plan.resized_width, plan.resized_height, NULL,
                         pre->resample, pre->precision, err));
    int status = vlmp_resize(&canvas, &resized, plan.canvas_width, plan.canvas_height, NULL,
                             pre->resample, pre->precision, err);
    free(resized.pixels);
    VLMP_TRY(status);
    for (int i = 0; i < grid; i++)
        cut(out->pixels + (size_t)i * bytes, &canvas, i / plan.cols * side, i % plan.cols * side,
            side);
    status = vlmp_resize(&whole, &canvas, side, side, NULL, pre->resample, pre->precision, err);
    free(canvas.pixels);
    VLMP_TRY(status);
    memcpy(out->pixels + (size_t)grid * bytes, whole.pixels, bytes);
    free(whole.pixels);
    return VLMP_OK;
}

int vlmp_preprocess_split(vlmp_split_plan *plan, const vlmp_preprocess *pre, int height, int width,
                          const char *name, vlmp_error *err)
{
    vlmp_split_bounds bounds = {.tile = pre->tile_side, .split = pre->do_image_splitting};
    if (pre->do_resize) {
        bounds.longest_edge = pre->size.longest_edge;
        bounds.height = pre->size.height;
        bounds.width = pre->size.width;
    }
    if (vlmp_split_choose(plan, height, width, &bounds)) return VLMP_OK;
    return fail_extreme(&(vlmp_image){.height = height, .width = width}, name, err);
}

int vlmp_preprocess_size(const vlmp_preprocess *pre, int *height, int *width, const char *name,
                         vlmp_error *err)
{
    const vlmp_image image = {.width = *width, .height = *height};
    int square = pre->merge_size * pre->patch_size;
    if (!pre->do_resize) {
        if (*height % square == 0 && *width % square == 0) return VLMP_OK;
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: a picture of %d x %d pixels is not made of squares of %d, and the "
                         "image processor does not resize; resize it, or set 'do_resize'",
                         name, *width, *height, square);
    }
    if (!vlmp_smart_resize(height, width, square, pre->least_pixels, pre->most_pixels))
        return fail_extreme(&image, name, err);
    return check_canvas(*height, *width, &image, name, err);
}

static int whole_tile(vlmp_tiles *out, const vlmp_preprocess *pre, const vlmp_image *image,
                      const char *name, vlmp_error *err)
{
    extent size = {image->height, image->width};
    vlmp_image resized;
    VLMP_TRY(vlmp_preprocess_size(pre, &size.height, &size.width, name, err));
    VLMP_TRY(vlmp_resize(&resized, image, size.width, size.height, NULL, pre->resample,
                         pre->precision, err));
    *out = (vlmp_tiles){.count = 1,
                        .height = size.height,
                        .width = size.width,
                        .pixels = resized.pixels,
                        .image_height = image->height,
                        .image_width = image->width};
    return VLMP_OK;
}

int vlmp_preprocess_tiles(vlmp_tiles *out, const vlmp_preprocess *pre, const vlmp_image *image,
                          int among, const char *name, vlmp_error *err)
{
    *out = (vlmp_tiles){0};
    bool alone = pre->kind == VLMP_PROCESSOR_LLAVA_ONEVISION && among > 1;
    bool padded = alone || (pre->kind == VLMP_PROCESSOR_LLAVA && pre->do_pad);
    int status;
    if (vlmp_preprocess_has_grid(pre) && !alone)
        status = anyres_tiles(out, pre, image, name, err);
    else if (pre->kind == VLMP_PROCESSOR_IDEFICS3)
        status = split_tiles(out, pre, image, name, err);
    else if (pre->kind == VLMP_PROCESSOR_QWEN2_VL)
        status = whole_tile(out, pre, image, name, err);
    else if (padded && image->width != image->height)
        status = square_tile(out, pre, image, name, err);
    else
        status = single_tile(out, pre, image, name, err);
    if (status != VLMP_OK) {
        free(out->pixels);
        *out = (vlmp_tiles){0};
    }
    return status;
}

/* The reference rescales in double, rounds to float, and normalizes in float. */
static float normalized(const vlmp_preprocess *pre, int value, int channel)
{
    float x = pre->do_rescale ? (float)((double)value * pre->rescale_factor) : (float)value;
    if (!pre->do_normalize) return x;
    return (x - (float)pre->mean[channel]) / (float)pre->std[channel];
}

void vlmp_preprocess_levels(const vlmp_preprocess *pre, float *levels)
{
    for (int c = 0; c < 3; c++)
        for (int v = 0; v < 256; v++)
            levels[c * 256 + v] = normalized(pre, v, c);
}
