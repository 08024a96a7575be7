#include <png.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include "formats/image_codec.h"
#include "formats/png_chunks.h"
#include "src/base/memory.h"

#define MAX_TEXT_CHUNKS 1000
#define MAX_CHUNK_BYTES 8000000

/* Lives in the caller of the function that calls setjmp, so no value of it is lost by longjmp. */
typedef struct {
    png_structp png;
    png_infop info, end;
    jmp_buf jump;
    char message[256];
    bool no_memory;
    const vlmp_image_bytes *in;
    vlmp_png_chunks chunks;
    size_t piece, position; /* of what libpng reads next */
    vlmp_image image;
    uint8_t palette[256][4];  /* opaque black where the file has no entry */
    int transparent_color[3]; /* 8-bit samples of the one colour, or −1 */
    int color, depth, interlace;
    uint32_t rows_left; /* of all passes; not 0 before the first */
    bool refused;       /* r->err says why */
    vlmp_error *err;
} reader;

static void on_error(png_structp png, png_const_charp message)
{
    reader *r = png_get_error_ptr(png);
    snprintf(r->message, sizeof r->message, "%s", message);
    longjmp(r->jump, 1);
}

/* Most warnings are about chunks that do not matter here; those about the picture's data are
 * damage. A wrong checksum over the inflated data means wrong pixels. */
static void on_warning(png_structp png, png_const_charp message)
{
    reader *r = png_get_error_ptr(png);
    if (strncmp(message, "IDAT: ", 6) != 0) return;
    if (strstr(message, "incorrect data check") != NULL) on_error(png, message);
    r->refused = vlmp_image_damage(r->in, r->err, "%s", message) != VLMP_OK;
    if (r->refused) longjmp(r->jump, 1);
}

static png_voidp on_malloc(png_structp png, png_alloc_size_t size)
{
    reader *r = png_get_mem_ptr(png);
    void *p = malloc(size);
    if (p == NULL) r->no_memory = true;
    return p;
}

static void on_free(png_structp png, png_voidp p)
{
    (void)png;
    free(p);
}

static void on_read(png_structp png, png_bytep out, size_t length)
{
    reader *r = png_get_io_ptr(png);
    while (length > 0) {
        if (r->piece == r->chunks.count) png_error(png, "the file ends too early");
        const vlmp_png_piece *piece = &r->chunks.pieces[r->piece];
        size_t left = piece->length - r->position, part = length < left ? length : left;
        memcpy(out, piece->bytes + r->position, part);
        out += part;
        length -= part;
        r->position += part;
        if (r->position < piece->length) continue;
        r->piece++;
        r->position = 0;
    }
}

static uint32_t be32(const unsigned char *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* Width and height by the header chunk, before libpng sees a byte. libpng holds a row, its
 * predecessor and one of room, of at most 8 bytes a pixel each. */
static int check_claim(const vlmp_image_bytes *in, vlmp_error *err)
{
    if (in->length < 24 || memcmp(in->data + 12, "IHDR", 4) != 0)
        return vlmp_fail(err, VLMP_ERR_INPUT, "%s: damaged PNG: the header chunk is missing",
                         in->name);
    uint32_t width = be32(in->data + 16), height = be32(in->data + 20);
    return vlmp_image_check_size(in, width, height, (uint64_t)width * 24, err);
}

static int read_header(reader *r)
{
    png_uint_32 width, height;
    png_read_info(r->png, r->info);
    png_get_IHDR(r->png, r->info, &width, &height, &r->depth, &r->color, &r->interlace, NULL, NULL);
    png_set_packing(r->png); /* samples of less than a byte take a byte each */
    r->image.width = (int)width;
    r->image.height = (int)height;
    r->image.pixels = vlmp_alloc((size_t)width * height, 3);
    return r->image.pixels != NULL ? VLMP_OK : vlmp_fail_memory(r->err, r->in->name);
}

static void read_palette(reader *r)
{
    png_colorp colors = NULL;
    int count = 0;
    png_get_PLTE(r->png, r->info, &colors, &count);
    for (int i = 0; i < 256; i++) {
        if (i < count) {
            r->palette[i][0] = colors[i].red;
            r->palette[i][1] = colors[i].green;
            r->palette[i][2] = colors[i].blue;
        }
        r->palette[i][3] = 255;
    }
}

/* A palette's alpha values, or the one colour that is transparent. As in the reference that colour
 * is compared with the 8-bit samples that a pixel becomes, by its low bytes. */
static int read_transparency(reader *r)
{
    vlmp_png_piece trns = r->chunks.trns;
    r->transparent_color[0] = -1;
    bool gray = r->color == PNG_COLOR_TYPE_GRAY, rgb = r->color == PNG_COLOR_TYPE_RGB;
    if (r->color == PNG_COLOR_TYPE_PALETTE)
        for (size_t i = 0; i < trns.length && i < 256; i++)
            r->palette[i][3] = trns.bytes[i];
    if (trns.bytes == NULL || (!gray && !rgb)) return VLMP_OK;
    if (trns.length < (gray ? 2 : 6))
        return vlmp_fail(r->err, VLMP_ERR_INPUT,
                         "%s: damaged PNG: its transparency chunk is too short", r->in->name);
    for (int i = 0; i < 3; i++)
        r->transparent_color[i] = trns.bytes[gray ? 1 : 2 * i + 1];
    bool zero = trns.bytes[0] == 0 && trns.bytes[1] == 0;
    if (gray && r->depth == 1) r->transparent_color[0] = zero ? 0 : 255;
    return VLMP_OK;
}

/* One pixel as stored to RGB; the result is its alpha. */
static unsigned convert_pixel(uint8_t out[3], const uint8_t *p, const reader *r)
{
    int wide = r->depth == 16; /* the high byte comes first */
    const int *clear = r->transparent_color;
    switch (r->color) {
    case PNG_COLOR_TYPE_PALETTE:
        memcpy(out, r->palette[p[0]], 3);
        return r->palette[p[0]][3];
    case PNG_COLOR_TYPE_GRAY:
        if (wide) /* not scaled: what does not fit is white */
            memset(out, p[0] != 0 ? 255 : p[1], 3);
        else /* 1, 3, 15 or 255 is white */
            memset(out, p[0] * (255 / ((1 << r->depth) - 1)), 3);
        return out[0] == clear[0] ? 0 : 255;
    case PNG_COLOR_TYPE_GRAY_ALPHA:
        memset(out, p[0], 3);
        return p[1 << wide];
    default:
        for (int i = 0; i < 3; i++)
            out[i] = p[i << wide];
        if (r->color == PNG_COLOR_TYPE_RGB_ALPHA) return p[3 << wide];
        return out[0] == clear[0] && out[1] == clear[1] && out[2] == clear[2] ? 0 : 255;
    }
}

/* Takes a row as soon as it is there: libpng may fail behind the last one. The rows of an
 * interlaced picture come pass by pass, narrower and fewer, and each pixel is put where it belongs.
 */
static void on_row(png_structp png, png_row_infop info, png_bytep data)
{
    reader *r = png_get_user_transform_ptr(png);
    bool whole = r->interlace == PNG_INTERLACE_NONE;
    int pass = whole ? 0 : png_get_current_pass_number(png);
    uint32_t x = whole ? 0 : PNG_PASS_START_COL(pass), y = png_get_current_row_number(png);
    int dx = whole ? 0 : PNG_PASS_COL_SHIFT(pass);
    if (!whole) y = PNG_PASS_START_ROW(pass) + (y << PNG_PASS_ROW_SHIFT(pass));
    uint8_t *to = r->image.pixels + ((size_t)y * (size_t)r->image.width + x) * 3;
    size_t bytes = info->pixel_depth / 8, step = (size_t)3 << dx;
    for (uint32_t i = 0; i < info->width; i++, to += step, data += bytes) {
        uint8_t rgb[3];
        unsigned alpha = convert_pixel(rgb, data, r);
        vlmp_image_put(r->in, to, rgb, alpha);
    }
    r->rows_left--;
}

static void read_rows(reader *r)
{
    bool whole = r->interlace == PNG_INTERLACE_NONE;
    uint32_t width = (uint32_t)r->image.width, height = (uint32_t)r->image.height;
    r->rows_left = whole ? height : 0;
    for (int pass = 0; pass < PNG_INTERLACE_ADAM7_PASSES && !whole; pass++)
        if (PNG_PASS_COLS(width, pass) > 0) r->rows_left += PNG_PASS_ROWS(height, pass);
    for (uint32_t rows = r->rows_left; rows > 0; rows--)
        png_read_row(r->png, NULL, NULL);
}

/* "Raw profile type exif", as ImageMagick writes it: three lines, then the block in hexadecimal. */
static int raw_profile_orientation(char *text, size_t length)
{
    size_t at = 0, out = 0;
    for (int lines = 0; at < length && lines < 3; at++)
        lines += text[at] == '\n';
    unsigned char *bytes = (unsigned char *)text; /* decoded in place */
    int high = -1;
    for (; at < length; at++) {
        char c = text[at];
        int digit = c >= '0' && c <= '9' ? c - '0' : -1;
        if (c >= 'a' && c <= 'f') digit = c - 'a' + 10;
        if (c >= 'A' && c <= 'F') digit = c - 'A' + 10;
        if (digit < 0) continue;
        if (high < 0) {
            high = digit;
        } else {
            bytes[out++] = (unsigned char)(high << 4 | digit);
            high = -1;
        }
    }
    return vlmp_exif_orientation(bytes, out);
}

/* Adds what the texts before (info) or after the pixels (end) say. */
static void collect_orientation(reader *r, png_infop info, int *raw, int *xmp)
{
    png_textp text = NULL;
    int count = png_get_text(r->png, info, &text, NULL);
    for (int i = 0; i < count; i++) {
        size_t size = text[i].text_length != 0 ? text[i].text_length : text[i].itxt_length;
        if (strcmp(text[i].key, "Raw profile type exif") == 0)
            *raw = raw_profile_orientation(text[i].text, size);
        else if (strcmp(text[i].key, "XML:com.adobe.xmp") == 0)
            *xmp = vlmp_xmp_orientation(text[i].text, size);
    }
}

static int orientation(reader *r)
{
    int raw = VLMP_NO_ORIENTATION, xmp = raw;
    vlmp_png_piece block = r->chunks.exif;
    int exif = block.bytes != NULL ? vlmp_exif_orientation(block.bytes, block.length) : raw;
    collect_orientation(r, r->info, &raw, &xmp);
    collect_orientation(r, r->end, &raw, &xmp);
    return vlmp_orientation(exif != VLMP_NO_ORIENTATION ? exif : raw, xmp);
}

/* When the last row has been read, what is wrong behind it matters to strict readers only. */
static int fail_decoding(reader *r, int *result)
{
    if (r->no_memory) return vlmp_fail_memory(r->err, r->in->name);
    if (r->refused) return VLMP_ERR_INPUT;
    if (r->rows_left > 0 || strstr(r->message, "incorrect data check") != NULL)
        return vlmp_fail(r->err, VLMP_ERR_INPUT, "%s: damaged PNG: %s", r->in->name, r->message);
    *result = orientation(r);
    return vlmp_image_damage(r->in, r->err, "the end of the picture's data is missing: %s",
                             r->message);
}

/* Everything that libpng may jump out of. */
static int run(reader *r, int *result)
{
    if (setjmp(r->jump) != 0) return fail_decoding(r, result);
    if ((r->info = png_create_info_struct(r->png)) == NULL ||
        (r->end = png_create_info_struct(r->png)) == NULL)
        return vlmp_fail_memory(r->err, r->in->name);
    png_set_read_fn(r->png, r, on_read);
    png_set_read_user_transform_fn(r->png, on_row);
    png_set_user_transform_info(r->png, r, 0, 0);
    /* vlmp_png_find_chunks has checked them all */
    png_set_crc_action(r->png, PNG_CRC_QUIET_USE, PNG_CRC_QUIET_USE);
    png_set_check_for_invalid_index(r->png, 0); /* they are black, see reader.palette */
    png_set_user_limits(r->png, PNG_UINT_31_MAX, PNG_UINT_31_MAX);
    png_set_chunk_cache_max(r->png, MAX_TEXT_CHUNKS);
    png_set_chunk_malloc_max(r->png, MAX_CHUNK_BYTES);
    VLMP_TRY(read_header(r));
    png_start_read_image(r->png);
    read_palette(r);
    VLMP_TRY(read_transparency(r));
    read_rows(r);
    png_read_end(r->png, r->end);
    *result = orientation(r);
    /* libpng goes on without a text chunk that it has no memory for; the orientation may be there
     */
    return r->no_memory ? vlmp_fail_memory(r->err, r->in->name) : VLMP_OK;
}

static int decode(reader *r, int *result)
{
    VLMP_TRY(vlmp_png_find_chunks(&r->chunks, r->in, r->err));
    if (setjmp(r->jump) == 0)
        r->png = png_create_read_struct_2(PNG_LIBPNG_VER_STRING, r, on_error, on_warning, r,
                                          on_malloc, on_free);
    if (r->png != NULL) return run(r, result);
    return vlmp_fail(r->err, VLMP_ERR_SYSTEM, "%s: libpng does not start: %s", r->in->name,
                     r->message[0] != '\0' ? r->message : "out of memory");
}

int vlmp_png_decode(vlmp_image *out, int *result, const vlmp_image_bytes *in, vlmp_error *err)
{
    VLMP_TRY(check_claim(in, err));
    reader *r = vlmp_calloc(1, sizeof *r);
    if (r == NULL) return vlmp_fail_memory(err, in->name);
    r->in = in;
    r->err = err;
    r->rows_left = 1;
    int status = decode(r, result);
    png_destroy_read_struct(&r->png, &r->info, &r->end);
    free(r->chunks.pieces);
    if (status == VLMP_OK)
        *out = r->image;
    else
        free(r->image.pixels);
    free(r);
    return status;
}
