#include "formats/image_file.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
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

bool vlmp_alpha_parse(vlmp_alpha *out, const char *name)
{
    static const char *const alpha_names[] = {"white", "drop"};
    for (int i = 0; i < 2; i++) {
        if (strcmp(name, alpha_names[i]) != 0) continue;
        *out = (vlmp_alpha)i;
        return true;
    }
    return false;
}

static void note(const vlmp_image_bytes *in, const char *format, va_list args)
{
    vlmp_image_report *report = in->report;
    if (report->warning[0] == '\0')
        vsnprintf(report->warning, sizeof report->warning, format, args);
}

int vlmp_image_damage(const vlmp_image_bytes *in, vlmp_error *err, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    if (!in->strict) {
        note(in, format, args);
        in->report->damaged = true;
        va_end(args);
        return VLMP_OK;
    }
    char what[256];
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    return vlmp_fail(err, VLMP_ERR_INPUT,
                     "%s: damaged: %s; it is readable, and read without --strict-pictures",
                     in->name, what);
}

void vlmp_image_notice(const vlmp_image_bytes *in, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    note(in, format, args);
    va_end(args);
}

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
#define AT(offset, magic) offset, sizeof magic - 1, magic
static const struct {
    size_t offset, length;
    const char *magic, *kind;
} other_kinds[] = {
    {AT(0, "GIF8"), "a GIF picture"},
    {AT(0, "II*\0"), "a TIFF picture"},
    {AT(0, "MM\0*"), "a TIFF picture"},
    {AT(0, "II+\0"), "a TIFF picture"},
    {AT(0, "MM\0+"), "a TIFF picture"},
    {AT(4, "ftypavif"), "an AVIF picture"},
    {AT(4, "ftypavis"), "an AVIF picture"},
    {AT(4, "ftyphei"), "a HEIC picture"},
    {AT(4, "ftyphev"), "a HEIC picture"},
    {AT(4, "ftypmif1"), "a HEIC or AVIF picture"},
    {AT(4, "ftypmsf1"), "a HEIC or AVIF picture"},
    {AT(0, "\xff\x0a"), "a JPEG XL picture"},
    {AT(4, "JXL "), "a JPEG XL picture"},
    {AT(4, "jP  "), "a JPEG 2000 picture"},
    {AT(0, "\xff\x4f\xff\x51"), "a JPEG 2000 picture"},
    {AT(0, "8BPS"), "a Photoshop picture"},
    {AT(0, "\0\0\1\0"), "an ICO picture"},
    {AT(0, "P3\n"), "a PPM picture"},
    {AT(0, "P5\n"), "a PGM picture"},
    {AT(0, "P6\n"), "a PPM picture"},
    {AT(0, "BM"), "a BMP picture"},
    {AT(0, "%PDF"), "a PDF document"},
    {AT(0, "%!PS"), "a PostScript document"},
    {AT(4, "ftyp"), "a video"},
    {AT(0, "version https://git-lfs"),
     "a Git LFS pointer, not the file itself: run 'git lfs pull'"},
};

static bool begins(const vlmp_image_bytes *in, size_t offset, const char *magic, size_t length)
{
    return in->length >= offset + length && memcmp(in->data + offset, magic, length) == 0;
}

/* The first bytes of a text, past a byte order mark and white space, in lower case. */
static void text_start(char out[1025], const vlmp_image_bytes *in)
{
    size_t at = in->length >= 3 && memcmp(in->data, "\xef\xbb\xbf", 3) == 0 ? 3 : 0, n = 0;
    while (at < in->length && isspace(in->data[at]))
        at++;
    for (; at < in->length && in->data[at] != '\0' && n < 1024; at++)
        out[n++] = (char)tolower(in->data[at]);
    out[n] = '\0';
}

static const char *kind_of(const vlmp_image_bytes *in)
{
    if (in->length == 0) return "empty";
    for (size_t i = 0; i < sizeof other_kinds / sizeof *other_kinds; i++)
        if (begins(in, other_kinds[i].offset, other_kinds[i].magic, other_kinds[i].length))
            return other_kinds[i].kind;
    char text[1025];
    text_start(text, in);
    if (text[0] == '<' && strstr(text, "<svg") != NULL) return "an SVG picture";
    if (strncmp(text, "<!doctype html", 14) == 0 || strstr(text, "<html") != NULL)
        return "an HTML page";
    return strncmp(text, "<?xml", 5) == 0 ? "an XML document" : "of an unknown kind";
}

static int fail_kind(const vlmp_image_bytes *in, vlmp_error *err)
{
    const char *kind = kind_of(in);
    bool picture = strstr(kind, "picture") != NULL;
    return vlmp_fail(err, VLMP_ERR_INPUT, "%s: the file is %s; %s", in->name, kind,
                     picture ? "convert it to PNG" : "pictures must be PNG, JPEG or WebP");
}

int vlmp_image_decode(vlmp_image *out, const void *bytes, size_t length, const char *name,
                      const vlmp_image_options *options, vlmp_image_report *report, vlmp_error *err)
{
    vlmp_image_options o = options != NULL ? *options : (vlmp_image_options){0};
    vlmp_image_report unwanted;
    if (report == NULL) report = &unwanted;
    vlmp_image_bytes in = {.name = name,
                           .data = bytes,
                           .length = length,
                           .limits = o.limits != NULL ? o.limits : &vlmp_image_default_limits,
                           .alpha = o.alpha,
                           .strict = o.strict,
                           .report = report};
    int orientation = 1, status;
    *out = (vlmp_image){0};
    *report = (vlmp_image_report){0};
    if (begins(&in, 0, "\x89PNG\r\n\x1a\n", 8))
        status = vlmp_png_decode(out, &orientation, &in, err);
    else if (begins(&in, 0, "\xff\xd8\xff", 3))
        status = vlmp_jpeg_decode(out, &orientation, &in, err);
    else if (begins(&in, 0, "RIFF", 4) && begins(&in, 8, "WEBP", 4))
        status = vlmp_webp_decode(out, &orientation, &in, err);
    else
        return fail_kind(&in, err);
    if (status == VLMP_OK) status = apply_orientation(out, orientation, &in, err);
    if (status != VLMP_OK) {
        free(out->pixels);
        *out = (vlmp_image){0};
    }
    return status;
}

int vlmp_image_load(vlmp_image *out, const char *path, const vlmp_image_options *options,
                    vlmp_image_report *report, vlmp_error *err)
{
    const vlmp_image_limits *limits = &vlmp_image_default_limits;
    if (options != NULL && options->limits != NULL) limits = options->limits;
    uint64_t max_bytes = limits->max_file_bytes;
    char *bytes;
    size_t length;
    *out = (vlmp_image){0};
    VLMP_TRY(
        vlmp_file_read(&bytes, &length, path, max_bytes > SIZE_MAX ? SIZE_MAX : max_bytes, err));
    int status = vlmp_image_decode(out, bytes, length, path, options, report, err);
    free(bytes);
    return status;
}
