/* Pictures in memory. */
#pragma once

#include <stdint.h>

/* 8-bit RGB, interleaved, rows top to bottom, no padding. Owned: free pixels with free(). */
typedef struct {
    int width;
    int height;
    uint8_t *pixels; /* [height][width][3] */
} vlmp_image;
