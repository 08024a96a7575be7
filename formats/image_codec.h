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
} vlmp_image_bytes;

/* Refuses a picture by its stated size. extra_bytes is what decoding needs beside the result. */
int vlmp_image_check_size(const vlmp_image_bytes *in, uint64_t width, uint64_t height,
                          uint64_t extra_bytes, vlmp_error *err);

/* *orientation is 1…8 as in EXIF, not yet applied. out->pixels is NULL on failure. */
int vlmp_png_decode(vlmp_image *out, int *orientation, const vlmp_image_bytes *in, vlmp_error *err);
int vlmp_jpeg_decode(vlmp_image *out, int *orientation, const vlmp_image_bytes *in,
                     vlmp_error *err);

/* Orientation values; VLMP_NO_ORIENTATION where there is none or the block is malformed. */
#define VLMP_NO_ORIENTATION (-1)

/* Tag 0x0112 of a TIFF block, which may be preceded by "Exif\0\0" once or twice. */
int vlmp_exif_orientation(const unsigned char *data, size_t length);

/* tiff:Orientation of an XMP packet. */
int vlmp_xmp_orientation(const void *text, size_t length);

/* 1…8 from both; EXIF wins, and unknown values mean 1. */
int vlmp_orientation(int exif, int xmp);
