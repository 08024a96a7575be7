/* Picture files: PNG, JPEG and WebP, recognised by their first bytes, to 8-bit RGB. The pixels are
 * those of Pillow's Image.open and ImageOps.exif_transpose: colour profiles and gamma are ignored,
 * 16-bit gray saturates at 255 while the other 16-bit kinds keep their high byte, the EXIF (or XMP)
 * orientation is applied, an animation is its first picture. Transparency is blended or dropped. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/error.h"
#include "src/store/image.h"

/* What a picture may cost; checked before anything of that size is allocated. */
typedef struct {
    uint64_t max_file_bytes;
    uint64_t max_pixels;       /* width × height */
    uint64_t max_memory_bytes; /* of decoding, the result included */
} vlmp_image_limits;

/* 256 MiB, 178 956 970 pixels (Pillow's limit), 2 GiB. */
extern const vlmp_image_limits vlmp_image_default_limits;

/* What shows where a picture is transparent: through an alpha channel, a palette or a colour. */
typedef enum {
    VLMP_ALPHA_WHITE, /* white: transformers since 5.21, given a picture object */
    VLMP_ALPHA_DROP,  /* the colour that is stored there: given a path, and before 5.21 */
} vlmp_alpha;

/* "white" or "drop". */
bool vlmp_alpha_parse(vlmp_alpha *out, const char *name);

typedef struct {
    const vlmp_image_limits *limits; /* NULL: the defaults */
    vlmp_alpha alpha;
    bool strict; /* refuse what is damaged, even where the reference reads it */
} vlmp_image_options;

/* What is worth saying about a picture that was read. */
typedef struct {
    bool transparent;  /* somewhere: the rule for alpha made its pixels */
    bool damaged;      /* but readable, as the reference reads it */
    char warning[160]; /* the first damage or peculiarity; "": none */
} vlmp_image_report;

/* Reads a picture. options NULL: white, not strict, default limits. A file that is missing,
 * damaged, truncated, too large or of another kind is VLMP_ERR_INPUT. Damaged yet readable is what
 * Pillow reads with every row of pixels there. Free out->pixels; it is NULL on failure. report may
 * be NULL. */
int vlmp_image_load(vlmp_image *out, const char *path, const vlmp_image_options *options,
                    vlmp_image_report *report, vlmp_error *err);

/* The same from length bytes in memory; name is for messages. */
int vlmp_image_decode(vlmp_image *out, const void *bytes, size_t length, const char *name,
                      const vlmp_image_options *options, vlmp_image_report *report,
                      vlmp_error *err);
