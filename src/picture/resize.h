/* Resampling of 8-bit RGB, bit-exact to Pillow 13 or to torchvision's antialiased uint8 path. */
#pragma once

#include "src/base/error.h"
#include "src/store/image.h"

/* The codes of `resample` in image processor configurations. */
typedef enum {
    VLMP_RESAMPLE_NEAREST = 0,
    VLMP_RESAMPLE_LANCZOS = 1,
    VLMP_RESAMPLE_BILINEAR = 2,
    VLMP_RESAMPLE_BICUBIC = 3,
    VLMP_RESAMPLE_BOX = 4,
    VLMP_RESAMPLE_HAMMING = 5,
} vlmp_resample;

/* Whose fixed-point arithmetic. */
typedef enum {
    VLMP_RESIZE_PILLOW,      /* weights in 22 fractional bits */
    VLMP_RESIZE_TORCHVISION, /* 16-bit weights, as many fractional bits as the largest one allows;
                              * bilinear and bicubic only */
} vlmp_resize_precision;

/* A part of the resized picture, in its pixels. */
typedef struct {
    int x, y, width, height;
} vlmp_rect;

/* Resizes in to width × height and stores `window` of the result in out (NULL: all of it). Only the
 * window is computed. All sizes are ≥ 1 and window lies inside. out->pixels is allocated; on
 * failure (out of memory) it is NULL. */
int vlmp_resize(vlmp_image *out, const vlmp_image *in, int width, int height,
                const vlmp_rect *window, vlmp_resample filter, vlmp_resize_precision precision,
                vlmp_error *err);
