#include <png.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include "formats/image_codec.h"
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
    size_t position;
    vlmp_image image;
    uint8_t *row;            /* one row as stored, samples of less than a byte unpacked */
    uint8_t palette[256][3]; /* black where the file has no entry */
    int color, depth, interlace;
    vlmp_error *err;
} reader;

static void on_error(png_structp png, png_const_charp message)
{
    reader *r = png_get_error_ptr(png);
    snprintf(r->message, sizeof r->message, "%s", message);
    longjmp(r->jump, 1);
}

/* Warnings are about chunks that do not matter here; those about pixels are errors. */
static void on_warning(png_structp png, png_const_charp message)
{
    (void)png;
    (void)message;
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
    if (length > r->in->length - r->position) png_error(png, "the file ends too early");
    memcpy(out, r->in->data + r->position, length);
    r->position += length;
}

/* Chunks with colour profiles, gamma, times and so on are not even parsed; EXIF is kept as it is.
 */
static void choose_chunks(png_structp png)
{
    static const unsigned char ignored[] = "bKGD\0cHRM\0gAMA\0hIST\0iCCP\0oFFs\0pCAL\0pHYs\0sBIT\0"
                                           "sCAL\0sPLT\0sRGB\0sTER\0tIME\0tRNS\0";
    static const unsigned char exif[] = "eXIf\0";
    png_set_keep_unknown_chunks(png, PNG_HANDLE_CHUNK_NEVER, ignored,
                                (int)(sizeof ignored - 1) / 5);
    png_set_keep_unknown_chunks(png, PNG_HANDLE_CHUNK_ALWAYS, exif, 1);
}

static uint32_t be32(const unsigned char *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* Follows the chunks to IEND: libpng would allocate what a length claims before it reads. */
static int check_chunks(const vlmp_image_bytes *in, vlmp_error *err)
{
    for (size_t at = 8; in->length - at >= 12;) {
        const unsigned char *chunk = in->data + at;
        uint32_t length = be32(chunk);
        if (length > in->length - at - 12) break;
        if (memcmp(chunk + 4, "IEND", 4) == 0) return VLMP_OK;
        at += 12 + (size_t)length;
    }
    return vlmp_fail(
        err, VLMP_ERR_INPUT,
        "%s: damaged PNG: a chunk reaches past the end of the file, or the last one is "
        "missing",
        in->name);
}

/* Width and height by the header chunk, before libpng sees a byte. libpng holds a row and its
 * predecessor and r->row is one more, of at most 8 bytes a pixel each. */
static int check_claim(const vlmp_image_bytes *in, vlmp_error *err)
{
    if (in->length < 24 || memcmp(in->data + 12, "IHDR", 4) != 0)
        return vlmp_fail(err, VLMP_ERR_INPUT, "%s: damaged PNG: the header chunk is missing",
                         in->name);
    uint32_t width = be32(in->data + 16), height = be32(in->data + 20);
    VLMP_TRY(vlmp_image_check_size(in, width, height, (uint64_t)width * 24, err));
    return check_chunks(in, err);
}

static int read_header(reader *r)
{
    png_uint_32 width, height;
    png_read_info(r->png, r->info);
    png_get_IHDR(r->png, r->info, &width, &height, &r->depth, &r->color, &r->interlace, NULL, NULL);
    png_set_packing(r->png);
    r->image.width = (int)width;
    r->image.height = (int)height;
    r->image.pixels = vlmp_alloc((size_t)width * height, 3);
    r->row = vlmp_alloc(width, 8);
    if (r->image.pixels == NULL || r->row == NULL) return vlmp_fail_memory(r->err, r->in->name);
    return VLMP_OK;
}

static void read_palette(reader *r)
{
    png_colorp colors = NULL;
    int count = 0;
    png_get_PLTE(r->png, r->info, &colors, &count);
    for (int i = 0; i < count && i < 256; i++) {
        r->palette[i][0] = colors[i].red;
        r->palette[i][1] = colors[i].green;
        r->palette[i][2] = colors[i].blue;
    }
}

/* One pixel as stored to RGB. */
static void convert_pixel(uint8_t *out, const uint8_t *p, const reader *r)
{
    int wide = r->depth == 16;
    switch (r->color) {
    case PNG_COLOR_TYPE_PALETTE:
        memcpy(out, r->palette[p[0]], 3);
        return;
    case PNG_COLOR_TYPE_GRAY:
        if (wide) /* not scaled: what does not fit is white */
            memset(out, p[0] != 0 ? 255 : p[1], 3);
        else /* 1, 3, 15 or 255 is white */
            memset(out, p[0] * (255 / ((1 << r->depth) - 1)), 3);
        return;
    case PNG_COLOR_TYPE_GRAY_ALPHA:
        memset(out, p[0], 3);
        return;
    default: /* RGB with or without alpha; the high byte comes first */
        out[0] = p[0];
        out[1] = p[1 << wide];
        out[2] = p[2 << wide];
    }
}

static size_t pixel_bytes(const reader *r)
{
    size_t channels = png_get_channels(r->png, r->info);
    return r->depth == 16 ? 2 * channels : channels;
}

/* The rows come pass by pass when the picture is interlaced, narrower and fewer, and each pixel is
 * put where it belongs: no second copy of the picture is needed. */
static void read_rows(reader *r)
{
    int passes = r->interlace == PNG_INTERLACE_NONE ? 1 : PNG_INTERLACE_ADAM7_PASSES;
    uint32_t width = (uint32_t)r->image.width, height = (uint32_t)r->image.height;
    size_t bytes = pixel_bytes(r);
    for (int pass = 0; pass < passes; pass++) {
        bool whole = passes == 1;
        uint32_t columns = whole ? width : PNG_PASS_COLS(width, pass);
        uint32_t rows = whole ? height : PNG_PASS_ROWS(height, pass);
        if (columns == 0) continue;
        uint32_t x0 = whole ? 0 : PNG_PASS_START_COL(pass),
                 y0 = whole ? 0 : PNG_PASS_START_ROW(pass);
        int dx = whole ? 0 : PNG_PASS_COL_SHIFT(pass), dy = whole ? 0 : PNG_PASS_ROW_SHIFT(pass);
        for (uint32_t y = 0; y < rows; y++) {
            png_read_row(r->png, r->row, NULL);
            uint8_t *to = r->image.pixels + ((size_t)(y0 + (y << dy)) * width + x0) * 3;
            for (uint32_t x = 0; x < columns; x++)
                convert_pixel(to + ((size_t)x << dx) * 3, r->row + x * bytes, r);
        }
    }
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

/* Adds what the chunks before (info) or after the pixels (end) say. */
static void collect_orientation(reader *r, png_infop info, int *exif, int *raw, int *xmp)
{
    png_unknown_chunkp chunks = NULL;
    int chunk_count = (int)png_get_unknown_chunks(r->png, info, &chunks);
    for (int i = 0; i < chunk_count; i++)
        if (memcmp(chunks[i].name, "eXIf", 4) == 0)
            *exif = vlmp_exif_orientation(chunks[i].data, chunks[i].size);
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
    int exif = VLMP_NO_ORIENTATION, raw = exif, xmp = exif;
    collect_orientation(r, r->info, &exif, &raw, &xmp);
    collect_orientation(r, r->end, &exif, &raw, &xmp);
    return vlmp_orientation(exif != VLMP_NO_ORIENTATION ? exif : raw, xmp);
}

static int fail_decoding(reader *r)
{
    if (r->no_memory) return vlmp_fail_memory(r->err, r->in->name);
    return vlmp_fail(r->err, VLMP_ERR_INPUT, "%s: damaged PNG near byte %zu: %s", r->in->name,
                     r->position, r->message);
}

/* Everything that libpng may jump out of. */
static int run(reader *r, int *result)
{
    if (setjmp(r->jump) != 0) return fail_decoding(r);
    if ((r->info = png_create_info_struct(r->png)) == NULL ||
        (r->end = png_create_info_struct(r->png)) == NULL)
        return vlmp_fail_memory(r->err, r->in->name);
    png_set_read_fn(r->png, r, on_read);
    png_set_crc_action(r->png, PNG_CRC_ERROR_QUIT, PNG_CRC_ERROR_QUIT);
    png_set_user_limits(r->png, PNG_UINT_31_MAX, PNG_UINT_31_MAX);
    png_set_chunk_cache_max(r->png, MAX_TEXT_CHUNKS);
    png_set_chunk_malloc_max(r->png, MAX_CHUNK_BYTES);
    choose_chunks(r->png);
    VLMP_TRY(read_header(r));
    png_start_read_image(r->png);
    read_palette(r);
    read_rows(r);
    png_read_end(r->png, r->end);
    *result = orientation(r);
    /* libpng goes on without a text chunk that it has no memory for; the orientation may be there
     */
    return r->no_memory ? vlmp_fail_memory(r->err, r->in->name) : VLMP_OK;
}

int vlmp_png_decode(vlmp_image *out, int *result, const vlmp_image_bytes *in, vlmp_error *err)
{
    VLMP_TRY(check_claim(in, err));
    reader *r = vlmp_calloc(1, sizeof *r);
    if (r == NULL) return vlmp_fail_memory(err, in->name);
    r->in = in;
    r->err = err;
    int status;
    if (setjmp(r->jump) == 0)
        r->png = png_create_read_struct_2(PNG_LIBPNG_VER_STRING, r, on_error, on_warning, r,
                                          on_malloc, on_free);
    if (r->png == NULL)
        status = vlmp_fail(err, VLMP_ERR_SYSTEM, "%s: libpng does not start: %s", in->name,
                           r->message[0] != '\0' ? r->message : "out of memory");
    else
        status = run(r, result);
    png_destroy_read_struct(&r->png, &r->info, &r->end);
    free(r->row);
    if (status == VLMP_OK)
        *out = r->image;
    else
        free(r->image.pixels);
    free(r);
    return status;
}
