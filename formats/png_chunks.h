/* The chunks of a PNG file, found and checked before libpng sees a byte: libpng would allocate what
 * a length claims, and stops at damage that leaves every pixel readable. */
#pragma once

#include "formats/image_codec.h"

typedef struct {
    const unsigned char *bytes;
    size_t length;
} vlmp_png_piece;

typedef struct {
    vlmp_png_piece *pieces; /* [count] one after another: the file that libpng reads */
    size_t count, capacity;
    unsigned char clipped[8];  /* header of a data chunk that claims more than the file has */
    vlmp_png_piece exif, trns; /* the last of each; length 0: none */
} vlmp_png_chunks;

/* Keeps header, palette, the run of data chunks and texts. What Pillow refuses is refused: damage
 * up to the first data chunk, and a chunk behind them that reaches past the end of the file. What
 * it reads all the same goes to vlmp_image_damage. On failure, too, pieces are the caller's to
 * free. */
int vlmp_png_find_chunks(vlmp_png_chunks *out, const vlmp_image_bytes *in, vlmp_error *err);
