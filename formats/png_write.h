/* Small pictures for reports. */
#pragma once

#include "src/base/error.h"
#include "src/base/memory.h"
#include "src/store/image.h"

/* Appends the picture as a PNG file; the same pixels give the same bytes. */
int vlmp_png_write(vlmp_buffer *out, const vlmp_image *image, vlmp_error *err);
