/* What the tests of pictures share: the patterns of scripts/golden-images.py and golden lines. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h> /* needs some of the above */

#include "src/base/sha256.h"
#include "src/store/image.h"

#define GOLDEN_IMAGES VLMP_SOURCE_ROOT "/tests/golden/images/"

static inline uint8_t pattern_noise(uint32_t index, uint32_t seed)
{
    uint32_t v = index * 2654435761u + seed;
    v ^= v >> 15;
    v *= 2246822519u;
    v ^= v >> 13;
    return (uint8_t)(v >> 24);
}

/* 0: noise, 1: black and white noise, 2: a slope with some noise. Free pixels. */
static inline vlmp_image pattern(int width, int height, int kind, int seed)
{
    vlmp_image image = {width, height, malloc((size_t)width * (size_t)height * 3)};
    assert_non_null(image.pixels);
    uint32_t i = 0;
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++)
            for (int c = 0; c < 3; c++, i++) {
                uint8_t v = pattern_noise(i, (uint32_t)seed);
                if (kind == 1) v = v & 1 ? 255 : 0;
                if (kind == 2) v = (uint8_t)(x + 2 * y + 40 * c + (v >> 6));
                image.pixels[i] = v;
            }
    return image;
}

/* Calls check for every line of a golden text file; at least `least` lines must be there. */
static inline void each_golden_line(const char *file, int least, void (*check)(const char *line))
{
    char path[4096], line[512];
    snprintf(path, sizeof path, "%s%s", GOLDEN_IMAGES, file);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    int count = 0;
    for (; fgets(line, sizeof line, f) != NULL; count++) {
        line[strcspn(line, "\n")] = '\0';
        check(line);
    }
    fclose(f);
    assert_true(count >= least);
}

/* Fails with the golden line when bytes hash to something else. */
static inline void assert_golden(const void *bytes, size_t length, const char *hex,
                                 const char *line)
{
    char got[VLMP_SHA256_HEX];
    vlmp_sha256_hex(bytes, length, got);
    if (strcmp(got, hex) != 0) fail_msg("differs from the reference: %s", line);
}
