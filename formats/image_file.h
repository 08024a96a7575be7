/* Picture files: PNG and JPEG, recognised by their first bytes, to 8-bit RGB. The pixels are those
 * of Pillow's Image.open, ImageOps.exif_transpose and convert("RGB"): alpha is dropped without
 * blending, colour profiles and gamma are ignored, 16-bit gray saturates at 255 while the other
 * 16-bit kinds keep their high byte, the EXIF (or XMP) orientation is applied. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "src/base/error.h"
#include "src/model/image.h"

/* What a picture may cost; checked before anything of that size is allocated. */
typedef struct {
    uint64_t max_file_bytes;
    uint64_t max_pixels;       /* width × height */
    uint64_t max_memory_bytes; /* of decoding, the result included */
} vlmp_image_limits;

/* 256 MiB, 178 956 970 pixels (Pillow's limit), 2 GiB. */
extern const vlmp_image_limits vlmp_image_default_limits;

/* Reads a picture. limits NULL: the defaults. A file that is missing, damaged, truncated, too large
 * or of another kind is VLMP_ERR_INPUT. Free out->pixels; it is NULL on failure. */
int vlmp_image_load(vlmp_image *out, const char *path, const vlmp_image_limits *limits,
                    vlmp_error *err);

/* The same from length bytes in memory; name is for messages. */
int vlmp_image_decode(vlmp_image *out, const void *bytes, size_t length, const char *name,
                      const vlmp_image_limits *limits, vlmp_error *err);
