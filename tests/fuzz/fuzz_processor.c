/* preprocessor_config.json or processor_config.json, and a small picture made ready by it. */
#include "src/picture/preprocess.h"
#include "tests/fuzz/fuzz.h"

enum { WIDTH = 7, HEIGHT = 5, MOST_PIXELS = 256 };

static bool is_small(const vlmp_resize_size *size)
{
    return size->height <= MOST_PIXELS && size->width <= MOST_PIXELS &&
           size->shortest_edge <= MOST_PIXELS && size->longest_edge <= MOST_PIXELS;
}

static void make_tiles(const vlmp_preprocess *pre)
{
    uint8_t pixels[HEIGHT * WIDTH * 3];
    for (size_t i = 0; i < sizeof pixels; i++)
        pixels[i] = (uint8_t)(i * 37);
    const vlmp_image image = {.width = WIDTH, .height = HEIGHT, .pixels = pixels};
    vlmp_tiles tiles;
    vlmp_error err = {0};
    if (!fuzz_was_read(vlmp_preprocess_tiles(&tiles, pre, &image, 1, "picture", &err), &err))
        return;
    float levels[3 * 256];
    if (tiles.count < 1) abort();
    vlmp_preprocess_levels(pre, levels);
    free(tiles.pixels);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static vlmp_preprocess pre;
    vlmp_processor_settings settings;
    vlmp_error err = {0}, other = {0};
    const char *text = (const char *)data;
    if (fuzz_was_read(vlmp_preprocess_parse(&pre, text, size, "processor", &err), &err) &&
        is_small(&pre.size) && pre.crop_height <= MOST_PIXELS && pre.crop_width <= MOST_PIXELS &&
        pre.pinpoint_count == 0)
        make_tiles(&pre);
    fuzz_was_read(vlmp_processor_settings_parse(&settings, text, size, "processor", &other),
                  &other);
    return 0;
}
