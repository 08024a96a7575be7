#include "formats/image_file.h"

#include <stdlib.h>
#include <string.h>

#include "formats/image_codec.h"
#include "src/base/file.h"
#include "src/base/memory.h"

const vlmp_image_limits vlmp_image_default_limits = {
    .max_file_bytes = (uint64_t)256 << 20,
    .max_pixels = 178956970,
    .max_memory_bytes = (uint64_t)2 << 30,
};

int vlmp_image_check_size(const vlmp_image_bytes *in, uint64_t width, uint64_t height,
                          uint64_t extra_bytes, vlmp_error *err)
{
    uint64_t pixels, memory;
    if (width == 0 || height == 0)
        return vlmp_fail(err, VLMP_ERR_INPUT, "%s: the picture has no pixels (%llu x %llu)",
                         in->name, (unsigned long long)width, (unsigned long long)height);
    if (__builtin_mul_overflow(width, height, &pixels) || pixels > in->limits->max_pixels)
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: the picture claims %llu x %llu pixels, more than the limit of %llu; "
                         "scale it down",
                         in->name, (unsigned long long)width, (unsigned long long)height,
                         (unsigned long long)in->limits->max_pixels);
    if (__builtin_mul_overflow(pixels, 3, &memory) ||
        __builtin_add_overflow(memory, extra_bytes, &memory) ||
        memory > in->limits->max_memory_bytes)
        return vlmp_fail(
            err, VLMP_ERR_INPUT,
            "%s: decoding %llu x %llu pixels takes %llu bytes of memory, more than the "
            "limit of %llu; scale the picture down",
            in->name, (unsigned long long)width, (unsigned long long)height,
            (unsigned long long)memory, (unsigned long long)in->limits->max_memory_bytes);
    return VLMP_OK;
}

/* Where pixel (x, y) of the stored picture goes, as first, per column and per row pixel offsets. */
typedef struct {
    ptrdiff_t origin, column, row;
} placement;

static placement placement_of(int orientation, ptrdiff_t w, ptrdiff_t h)
{
    switch (orientation) {
    case 2:
        return (placement){w - 1, -1, w};
    case 3:
        return (placement){w * h - 1, -1, -w};
    case 4:
        return (placement){w * (h - 1), 1, -w};
    case 5:
        return (placement){0, h, 1};
    case 6:
        return (placement){h - 1, h, -1};
    case 7:
        return (placement){w * h - 1, -h, -1};
    case 8:
        return (placement){h * (w - 1), -h, 1};
    default:
        return (placement){0, 1, w};
    }
}

static int apply_orientation(vlmp_image *image, int orientation, const vlmp_image_bytes *in,
                             vlmp_error *err)
{
    if (orientation == 1) return VLMP_OK;
    size_t bytes = (size_t)image->width * (size_t)image->height * 3;
    VLMP_TRY(
        vlmp_image_check_size(in, (uint64_t)image->width, (uint64_t)image->height, bytes, err));
    uint8_t *turned = vlmp_alloc(bytes, 1);
    if (turned == NULL) return vlmp_fail_memory(err, in->name);
    placement to = placement_of(orientation, image->width, image->height);
    const uint8_t *from = image->pixels;
    for (int y = 0; y < image->height; y++) {
        ptrdiff_t at = to.origin + y * to.row;
        for (int x = 0; x < image->width; x++, from += 3, at += to.column)
            memcpy(turned + at * 3, from, 3);
    }
    free(image->pixels);
    image->pixels = turned;
    if (orientation >= 5) {
        int width = image->width;
        image->width = image->height;
        image->height = width;
    }
    return VLMP_OK;
}

/* Kinds that people will try; told apart so that the message can say what the file is. */
static const struct {
    size_t offset;
    const char *magic;
    const char *kind;
} other_kinds[] = {
    {0, "GIF8", "a GIF picture"},
    {0, "BM", "a BMP picture"},
    {8, "WEBP", "a WebP picture"},
    {0, "II*", "a TIFF picture"},
    {0, "MM", "a TIFF picture"},
    {4, "ftypavi", "an AVIF picture"},
    {4, "ftyp", "a HEIC picture or a video"},
    {0, "\xff\x0a", "a JPEG XL picture"},
    {4, "JXL ", "a JPEG XL picture"},
    {4, "jP  ", "a JPEG 2000 picture"},
    {0, "%PDF", "a PDF document"},
    {0, "<svg", "an SVG drawing"},
    {0, "<?xml", "an XML document"},
    {0, "<!DOCTYPE", "an HTML page"},
    {0, "<html", "an HTML page"},
    {0, "version https://git-lfs", "a Git LFS pointer, not the file itself"},
};

static int fail_kind(const vlmp_image_bytes *in, vlmp_error *err)
{
    const char *kind = "of an unknown kind";
    if (in->length == 0) kind = "empty";
    for (size_t i = 0; i < sizeof other_kinds / sizeof *other_kinds; i++) {
        size_t length = strlen(other_kinds[i].magic), offset = other_kinds[i].offset;
        if (in->length >= offset + length &&
            memcmp(in->data + offset, other_kinds[i].magic, length) == 0) {
            kind = other_kinds[i].kind;
            break;
        }
    }
    return vlmp_fail(err, VLMP_ERR_INPUT,
                     "%s: the file is %s; pictures must be PNG or JPEG, convert it", in->name,
                     kind);
}

int vlmp_image_decode(vlmp_image *out, const void *bytes, size_t length, const char *name,
                      const vlmp_image_limits *limits, vlmp_error *err)
{
    static const unsigned char png_magic[8] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
    static const unsigned char jpeg_magic[3] = {0xff, 0xd8, 0xff};
    vlmp_image_bytes in = {name, bytes, length, limits ? limits : &vlmp_image_default_limits};
    int orientation = 1, status;
    *out = (vlmp_image){0};
    if (length >= sizeof png_magic && memcmp(bytes, png_magic, sizeof png_magic) == 0)
        status = vlmp_png_decode(out, &orientation, &in, err);
    else if (length >= sizeof jpeg_magic && memcmp(bytes, jpeg_magic, sizeof jpeg_magic) == 0)
        status = vlmp_jpeg_decode(out, &orientation, &in, err);
    else
        return fail_kind(&in, err);
    if (status == VLMP_OK) status = apply_orientation(out, orientation, &in, err);
    if (status != VLMP_OK) {
        free(out->pixels);
        *out = (vlmp_image){0};
    }
    return status;
}

int vlmp_image_load(vlmp_image *out, const char *path, const vlmp_image_limits *limits,
                    vlmp_error *err)
{
    uint64_t max_bytes = (limits ? limits : &vlmp_image_default_limits)->max_file_bytes;
    char *bytes;
    size_t length;
    *out = (vlmp_image){0};
    VLMP_TRY(
        vlmp_file_read(&bytes, &length, path, max_bytes > SIZE_MAX ? SIZE_MAX : max_bytes, err));
    int status = vlmp_image_decode(out, bytes, length, path, limits, err);
    free(bytes);
    return status;
}
