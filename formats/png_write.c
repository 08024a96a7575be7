#include "formats/png_write.h"

#include <png.h>
#include <stdlib.h>

int vlmp_png_write(vlmp_buffer *out, const vlmp_image *image, vlmp_error *err)
{
    png_image png = {.version = PNG_IMAGE_VERSION,
                     .width = (png_uint_32)image->width,
                     .height = (png_uint_32)image->height,
                     .format = PNG_FORMAT_RGB};
    png_alloc_size_t size = PNG_IMAGE_PNG_SIZE_MAX(png);
    void *bytes = malloc(size);
    if (bytes == NULL) return vlmp_fail_memory(err, "picture of the report");
    bool written = png_image_write_to_memory(&png, bytes, &size, 0, image->pixels, 0, NULL) != 0;
    if (written) vlmp_buffer_append(out, bytes, size);
    free(bytes);
    return written && !out->failed ? VLMP_OK : vlmp_fail_memory(err, "picture of the report");
}
