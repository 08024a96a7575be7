/* Between image_file.c and the decoders of one kind each. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "formats/image_file.h"

typedef struct {
    const char *name; /* for messages */
    const unsigned char *data;
    size_t length;
    const vlmp_image_limits *limits;
    vlmp_alpha alpha;
    bool strict;
    vlmp_image_report *report;
} vlmp_image_bytes;

/* Refuses a picture by its stated size. extra_bytes is what decoding needs beside the result. */
int vlmp_image_check_size(const vlmp_image_bytes *in, uint64_t width, uint64_t height,
                          uint64_t extra_bytes, vlmp_error *err);

/* Damage that leaves a picture readable: refused when strict, else noted in the report. */
__attribute__((format(printf, 3, 4))) int
vlmp_image_damage(const vlmp_image_bytes *in, vlmp_error *err, const char *format, ...);

/* For the report only: nothing is damaged. */
__attribute__((format(printf, 2, 3))) void vlmp_image_notice(const vlmp_image_bytes *in,
                                                             const char *format, ...);

/* a/255, rounded, for a ≤ 255². */
static inline unsigned vlmp_div_255(unsigned a)
{
    return (a + 128 + ((a + 128) >> 8)) >> 8;
}

/* A pixel that is not opaque by the rule for alpha; the report learns of it. */
static inline void vlmp_image_put(const vlmp_image_bytes *in, uint8_t out[3], const uint8_t rgb[3],
                                  unsigned alpha)
{
    if (alpha != 255) in->report->transparent = true;
    unsigned weight = in->alpha == VLMP_ALPHA_WHITE ? alpha : 255;
    for (int i = 0; i < 3; i++)
        out[i] = (uint8_t)vlmp_div_255(rgb[i] * weight + 255 * (255 - weight));
}

/* *orientation is 1…8 as in EXIF, not yet applied. out->pixels is NULL on failure. */
int vlmp_png_decode(vlmp_image *out, int *orientation, const vlmp_image_bytes *in, vlmp_error *err);
int vlmp_jpeg_decode(vlmp_image *out, int *orientation, const vlmp_image_bytes *in,
                     vlmp_error *err);
int vlmp_webp_decode(vlmp_image *out, int *orientation, const vlmp_image_bytes *in,
                     vlmp_error *err);

/* Orientation values; VLMP_NO_ORIENTATION where there is none or the block is malformed. */
#define VLMP_NO_ORIENTATION (-1)

/* Tag 0x0112 of a TIFF block, which may be preceded by "Exif\0\0" once or twice. */
int vlmp_exif_orientation(const unsigned char *data, size_t length);

/* tiff:Orientation of an XMP packet. */
int vlmp_xmp_orientation(const void *text, size_t length);

/* 1…8 from both; EXIF wins, and unknown values mean 1. */
int vlmp_orientation(int exif, int xmp);
