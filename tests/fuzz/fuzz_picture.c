/* A picture of any kind, through the entry that recognises it; every pixel is looked at. */
#include "formats/image_file.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const vlmp_image_limits limits = {
        .max_file_bytes = 1 << 20, .max_pixels = 1 << 18, .max_memory_bytes = 64 << 20};
    const vlmp_image_options options = {.limits = &limits};
    vlmp_image image;
    vlmp_error err = {0};
    if (!fuzz_was_read(vlmp_image_decode(&image, data, size, "picture", &options, NULL, &err),
                       &err))
        return 0;
    if (image.width < 1 || image.height < 1) abort();
    for (size_t i = 0; i < (size_t)image.width * (size_t)image.height * 3; i++)
        fuzz_sink += image.pixels[i];
    free(image.pixels);
    return 0;
}
