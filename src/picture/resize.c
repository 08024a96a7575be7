#include "src/picture/resize.h"

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/memory.h"

#define PI 3.14159265358979323846

/* One axis: n source samples become m; the outputs [begin, end) are wanted. */
typedef struct {
    vlmp_resample filter;
    int n, m;
    int begin, end;
    double scale;   /* source samples per output */
    double stretch; /* of the filter: max(scale, 1) */
    double support; /* source samples on each side of the centre */
    int max_taps;
    int bits; /* fractional bits of the weights */
} axis;

static double sinc(double x)
{
    if (x == 0.0) return 1.0;
    x *= PI;
    return sin(x) / x;
}

/* The filters' values decide the last bit of the weights, so every operation and its order is that
 * of the reference; Hamming's two constants are floats there. */
static double filter_value(vlmp_resample filter, double x)
{
    double a = fabs(x);
    switch (filter) {
    case VLMP_RESAMPLE_BOX:
        return x > -0.5 && x <= 0.5 ? 1.0 : 0.0;
    case VLMP_RESAMPLE_BILINEAR:
        return a < 1.0 ? 1.0 - a : 0.0;
    case VLMP_RESAMPLE_HAMMING:
        if (a == 0.0) return 1.0;
        if (a >= 1.0) return 0.0;
        return sin(a * PI) / (a * PI) * ((double)0.54f + (double)0.46f * cos(a * PI));
    case VLMP_RESAMPLE_BICUBIC:
        if (a < 1.0) return ((-0.5 + 2.0) * a - (-0.5 + 3.0)) * a * a + 1.0;
        return a < 2.0 ? (((a - 5.0) * a + 8.0) * a - 4.0) * -0.5 : 0.0;
    case VLMP_RESAMPLE_LANCZOS:
        return x >= -3.0 && x < 3.0 ? sinc(x) * sinc(x / 3.0) : 0.0;
    case VLMP_RESAMPLE_NEAREST:
        break;
    }
    return 0.0;
}

static double filter_support(vlmp_resample filter)
{
    switch (filter) {
    case VLMP_RESAMPLE_BOX:
        return 0.5;
    case VLMP_RESAMPLE_BICUBIC:
        return 2.0;
    case VLMP_RESAMPLE_LANCZOS:
        return 3.0;
    default:
        return 1.0;
    }
}

/* The weights of output i in double, summing to 1; returns how many, *first is the source sample
 * that the first belongs to. weights has room for max_taps. */
static int float_weights(const axis *ax, int i, int *first, double *weights)
{
    double centre = (i + 0.5) * ax->scale;
    double inverse = 1.0 / ax->stretch;
    int low = (int)(centre - ax->support + 0.5);
    int high = (int)(centre + ax->support + 0.5);
    if (low < 0) low = 0;
    if (high > ax->n) high = ax->n;
    double sum = 0.0;
    for (int j = low; j < high; j++) {
        weights[j - low] = filter_value(ax->filter, (j - centre + 0.5) * inverse);
        sum += weights[j - low];
    }
    for (int j = 0; j < high - low; j++)
        if (sum != 0.0) weights[j] /= sum;
    *first = low;
    return high - low;
}

static int fixed_weights(const axis *ax, int i, int *first, double *scratch, int32_t *weights)
{
    int taps = float_weights(ax, i, first, scratch);
    double unit = (double)(1 << ax->bits);
    for (int j = 0; j < taps; j++)
        weights[j] = (int32_t)(scratch[j] * unit + (scratch[j] < 0.0 ? -0.5 : 0.5));
    return taps;
}

/* The most fractional bits for which the largest weight of the axis still fits an int16. */
static int int16_bits(const axis *ax, double *scratch)
{
    double largest = 0.0;
    for (int i = 0; i < ax->m; i++) {
        int first;
        int taps = float_weights(ax, i, &first, scratch);
        for (int j = 0; j < taps; j++)
            if (scratch[j] > largest) largest = scratch[j];
    }
    int bits = 0;
    while (bits < 22 && (int)(0.5 + largest * (double)(1 << (bits + 1))) < 1 << 15)
        bits++;
    return bits;
}

static int axis_init(axis *ax, vlmp_resample filter, vlmp_resize_precision precision, int n, int m,
                     int begin, int end, vlmp_error *err)
{
    *ax = (axis){.filter = filter, .n = n, .m = m, .begin = begin, .end = end, .bits = 22};
    ax->scale = (double)(float)n / m; /* the reference keeps its source box in floats */
    ax->stretch = ax->scale < 1.0 ? 1.0 : ax->scale;
    ax->support = filter_support(filter) * ax->stretch;
    ax->max_taps = (int)ceil(ax->support) * 2 + 1;
    if (precision == VLMP_RESIZE_TORCHVISION) {
        double *scratch = vlmp_alloc((size_t)ax->max_taps, sizeof *scratch);
        if (scratch == NULL) return vlmp_fail_memory(err, "resize weights");
        ax->bits = int16_bits(ax, scratch);
        free(scratch);
    }
    return VLMP_OK;
}

/* The source samples that the outputs [begin, end) read. */
static void axis_span(const axis *ax, int *low, int *high)
{
    *low = (int)((ax->begin + 0.5) * ax->scale - ax->support + 0.5);
    *high = (int)((ax->end - 1 + 0.5) * ax->scale + ax->support + 0.5);
    if (*low < 0) *low = 0;
    if (*high > ax->n) *high = ax->n;
}

static uint8_t clamp_shift(int32_t sum, int bits)
{
    int32_t value = sum >> bits;
    return (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value);
}

static int image_alloc(vlmp_image *image, int width, int height, vlmp_error *err)
{
    size_t size;
    *image = (vlmp_image){.width = width, .height = height};
    if (!vlmp_mul_size((size_t)width * 3, (size_t)height, &size) ||
        (image->pixels = vlmp_alloc(size, 1)) == NULL)
        return vlmp_fail_memory(err, "a resized picture");
    return VLMP_OK;
}

static void horizontal_row(uint8_t *out, const uint8_t *in, const axis *ax, const int *bounds,
                           const int32_t *weights)
{
    for (int i = 0; i < ax->end - ax->begin; i++) {
        const uint8_t *p = in + (ptrdiff_t)bounds[2 * i] * 3;
        const int32_t *w = weights + (size_t)i * (size_t)ax->max_taps;
        int32_t r = 1 << (ax->bits - 1), g = r, b = r;
        for (int j = 0; j < bounds[2 * i + 1]; j++, p += 3) {
            r += p[0] * w[j];
            g += p[1] * w[j];
            b += p[2] * w[j];
        }
        out[3 * i] = clamp_shift(r, ax->bits);
        out[3 * i + 1] = clamp_shift(g, ax->bits);
        out[3 * i + 2] = clamp_shift(b, ax->bits);
    }
}

/* Columns [ax->begin, ax->end) of the rows [row_begin, row_end) of in. source_x is the source
 * column that in's first column is. */
static int horizontal_pass(vlmp_image *out, const vlmp_image *in, const axis *ax, int source_x,
                           int row_begin, int row_end, vlmp_error *err)
{
    int columns = ax->end - ax->begin;
    size_t count;
    bool fits = vlmp_mul_size((size_t)columns, (size_t)ax->max_taps, &count);
    int *bounds = vlmp_alloc((size_t)columns, 2 * sizeof *bounds);
    int32_t *weights = fits ? vlmp_alloc(count, sizeof *weights) : NULL;
    double *scratch = vlmp_alloc((size_t)ax->max_taps, sizeof *scratch);
    int status = bounds == NULL || weights == NULL || scratch == NULL
                     ? vlmp_fail_memory(err, "resize weights")
                     : image_alloc(out, columns, row_end - row_begin, err);
    if (status == VLMP_OK) {
        for (int i = 0; i < columns; i++) {
            int first;
            bounds[2 * i + 1] = fixed_weights(ax, ax->begin + i, &first, scratch,
                                              weights + (size_t)i * (size_t)ax->max_taps);
            bounds[2 * i] = first - source_x;
        }
        for (int y = row_begin; y < row_end; y++)
            horizontal_row(out->pixels + (size_t)(y - row_begin) * (size_t)columns * 3,
                           in->pixels + (size_t)y * (size_t)in->width * 3, ax, bounds, weights);
    }
    free(bounds);
    free(weights);
    free(scratch);
    return status;
}

/* Rows [ax->begin, ax->end) of the columns [column_begin, column_end) of in. source_y is the source
 * row that in's first row is. */
static int vertical_pass(vlmp_image *out, const vlmp_image *in, const axis *ax, int source_y,
                         int column_begin, int column_end, vlmp_error *err)
{
    size_t samples = (size_t)(column_end - column_begin) * 3;
    int32_t *weights = vlmp_alloc((size_t)ax->max_taps, sizeof *weights);
    double *scratch = vlmp_alloc((size_t)ax->max_taps, sizeof *scratch);
    int32_t *sums = vlmp_alloc(samples, sizeof *sums);
    int status = weights == NULL || scratch == NULL || sums == NULL
                     ? vlmp_fail_memory(err, "resize weights")
                     : image_alloc(out, column_end - column_begin, ax->end - ax->begin, err);
    for (int i = ax->begin; status == VLMP_OK && i < ax->end; i++) {
        int first;
        int taps = fixed_weights(ax, i, &first, scratch, weights);
        for (size_t x = 0; x < samples; x++)
            sums[x] = 1 << (ax->bits - 1);
        for (int j = 0; j < taps; j++) {
            size_t row = (size_t)(first - source_y + j);
            const uint8_t *p = in->pixels + (row * (size_t)in->width + (size_t)column_begin) * 3;
            for (size_t x = 0; x < samples; x++)
                sums[x] += p[x] * weights[j];
        }
        uint8_t *to = out->pixels + (size_t)(i - ax->begin) * samples;
        for (size_t x = 0; x < samples; x++)
            to[x] = clamp_shift(sums[x], ax->bits);
    }
    free(weights);
    free(scratch);
    free(sums);
    return status;
}

static int copy_window(vlmp_image *out, const vlmp_image *in, const vlmp_rect *r, vlmp_error *err)
{
    VLMP_TRY(image_alloc(out, r->width, r->height, err));
    for (int y = 0; y < r->height; y++)
        memcpy(out->pixels + (size_t)y * (size_t)r->width * 3,
               in->pixels + ((size_t)(r->y + y) * (size_t)in->width + (size_t)r->x) * 3,
               (size_t)r->width * 3);
    return VLMP_OK;
}

/* For count of m outputs, from begin on, the source sample at the centre, -1 when outside. The
 * reference adds the step up instead of multiplying, so its rounding errors accumulate; do the
 * same.
 */
static int *nearest_table(int n, int m, int begin, int count)
{
    int *table = vlmp_alloc((size_t)count, sizeof *table);
    double step = (double)(float)n / m;
    double position = step * 0.5;
    for (int i = 0; table != NULL && i < begin + count; i++, position += step)
        if (i >= begin) table[i - begin] = position < n ? (int)position : -1;
    return table;
}

static int nearest(vlmp_image *out, const vlmp_image *in, int width, int height, const vlmp_rect *r,
                   vlmp_error *err)
{
    int *columns = nearest_table(in->width, width, r->x, r->width);
    int *rows = nearest_table(in->height, height, r->y, r->height);
    int status = columns == NULL || rows == NULL ? vlmp_fail_memory(err, "resize tables")
                                                 : image_alloc(out, r->width, r->height, err);
    for (int y = 0; status == VLMP_OK && y < r->height; y++) {
        int row = rows[y];
        uint8_t *to = out->pixels + (size_t)y * (size_t)r->width * 3;
        for (int x = 0; x < r->width; x++, to += 3) {
            int column = columns[x];
            memset(to, 0, 3);
            if (row >= 0 && column >= 0)
                memcpy(to, in->pixels + ((size_t)row * (size_t)in->width + (size_t)column) * 3, 3);
        }
    }
    free(columns);
    free(rows);
    return status;
}

/* Two passes with 8-bit values between. Pillow 13 runs the vertical one first when the height
 * shrinks by more than twice what the width does; earlier releases and torchvision never do. */
static int two_passes(vlmp_image *out, const vlmp_image *in, const axis *ax, const axis *ay,
                      bool vertical_first, vlmp_error *err)
{
    vlmp_image between = {0};
    int low, high, status;
    if (vertical_first) {
        axis_span(ax, &low, &high);
        status = vertical_pass(&between, in, ay, 0, low, high, err);
        if (status == VLMP_OK)
            status = horizontal_pass(out, &between, ax, low, 0, between.height, err);
    } else {
        axis_span(ay, &low, &high);
        status = horizontal_pass(&between, in, ax, 0, low, high, err);
        if (status == VLMP_OK)
            status = vertical_pass(out, &between, ay, low, 0, between.width, err);
    }
    free(between.pixels);
    return status;
}

static int resample(vlmp_image *out, const vlmp_image *in, int width, int height,
                    const vlmp_rect *r, vlmp_resample filter, vlmp_resize_precision precision,
                    vlmp_error *err)
{
    bool change_x = width != in->width, change_y = height != in->height;
    if (!change_x && !change_y) return copy_window(out, in, r, err);
    if (filter == VLMP_RESAMPLE_NEAREST) return nearest(out, in, width, height, r, err);
    axis ax, ay;
    VLMP_TRY(axis_init(&ax, filter, precision, in->width, width, r->x, r->x + r->width, err));
    VLMP_TRY(axis_init(&ay, filter, precision, in->height, height, r->y, r->y + r->height, err));
    if (!change_x) return vertical_pass(out, in, &ay, 0, r->x, r->x + r->width, err);
    if (!change_y) return horizontal_pass(out, in, &ax, 0, r->y, r->y + r->height, err);
    bool vertical_first = precision == VLMP_RESIZE_PILLOW && height < in->height &&
                          in->height - height > 2 * ((int64_t)in->width - width);
    return two_passes(out, in, &ax, &ay, vertical_first, err);
}

int vlmp_resize(vlmp_image *out, const vlmp_image *in, int width, int height,
                const vlmp_rect *window, vlmp_resample filter, vlmp_resize_precision precision,
                vlmp_error *err)
{
    *out = (vlmp_image){0};
    vlmp_rect all = {0, 0, width, height};
    int status = resample(out, in, width, height, window ? window : &all, filter, precision, err);
    if (status != VLMP_OK) {
        free(out->pixels);
        *out = (vlmp_image){0};
    }
    return status;
}
