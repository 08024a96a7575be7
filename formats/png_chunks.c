#include "formats/png_chunks.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#define AROUND 12 /* bytes of a chunk beside its data: length, type, checksum */

static uint32_t be32(const unsigned char *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* Where a chunk's parts are. cut: it ends before its checksum does. */
typedef struct {
    const unsigned char *header;
    size_t length; /* of its data, as far as the file goes */
    bool cut;
} chunk;

/* Letters, digits and underscores are what the reference takes for a type. false: no chunk here. */
static bool chunk_at(chunk *out, const vlmp_image_bytes *in, size_t at)
{
    if (in->length - at < 8) return false;
    out->header = in->data + at;
    for (int i = 4; i < 8; i++)
        if (!isalnum(out->header[i]) && out->header[i] != '_') return false;
    size_t left = in->length - at - 8, claim = be32(out->header);
    out->cut = left < 4 || claim > left - 4;
    out->length = claim < left ? claim : left;
    return true;
}

static bool is(const chunk *c, const char *type)
{
    return memcmp(c->header + 4, type, 4) == 0;
}

static bool checksum_is_right(const chunk *c)
{
    uLong crc = crc32_z(0, c->header + 4, c->length + 4);
    return crc == be32(c->header + 8 + c->length);
}

static int add_piece(vlmp_png_chunks *out, const unsigned char *bytes, size_t length,
                     const vlmp_image_bytes *in, vlmp_error *err)
{
    vlmp_png_piece *last = out->count > 0 ? &out->pieces[out->count - 1] : NULL;
    if (last != NULL && last->bytes + last->length == bytes) {
        last->length += length;
        return VLMP_OK;
    }
    if (out->count == out->capacity) {
        size_t capacity = out->capacity == 0 ? 8 : 2 * out->capacity;
        vlmp_png_piece *grown = realloc(out->pieces, capacity * sizeof *grown);
        if (grown == NULL) return vlmp_fail_memory(err, in->name);
        out->pieces = grown;
        out->capacity = capacity;
    }
    out->pieces[out->count++] = (vlmp_png_piece){bytes, length};
    return VLMP_OK;
}

/* Colour profiles, gamma, times and so on are not even parsed. */
static int keep(vlmp_png_chunks *out, const chunk *c, const vlmp_image_bytes *in, vlmp_error *err)
{
    static const char *const read[] = {"IHDR", "PLTE", "tEXt", "zTXt", "iTXt"};
    vlmp_png_piece data = {c->header + 8, c->length};
    if (is(c, "eXIf")) out->exif = data;
    if (is(c, "tRNS")) out->trns = data;
    if (is(c, "acTL") && c->length >= 4 && be32(c->header + 8) > 1)
        vlmp_image_notice(in, "an animation of %u frames: the still picture is read",
                          be32(c->header + 8));
    for (size_t i = 0; i < sizeof read / sizeof *read; i++)
        if (is(c, read[i])) return add_piece(out, c->header, AROUND + c->length, in, err);
    return VLMP_OK;
}

static int fail_chunk(const vlmp_image_bytes *in, size_t at, const char *what, vlmp_error *err)
{
    return vlmp_fail(err, VLMP_ERR_INPUT, "%s: damaged PNG near byte %zu: %s", in->name, at, what);
}

/* Up to the first data chunk. */
static int find_header(vlmp_png_chunks *out, size_t *at, const vlmp_image_bytes *in,
                       vlmp_error *err)
{
    chunk c;
    for (;; *at += AROUND + c.length) {
        if (!chunk_at(&c, in, *at)) return fail_chunk(in, *at, "no chunk where one must be", err);
        if (is(&c, "IDAT")) return VLMP_OK;
        if (is(&c, "IEND")) return fail_chunk(in, *at, "it has no picture data", err);
        if (c.cut) return fail_chunk(in, *at, "a chunk reaches past the end of the file", err);
        if (!checksum_is_right(&c))
            return fail_chunk(in, *at, "a chunk before the picture data has a wrong checksum", err);
        VLMP_TRY(keep(out, &c, in, err));
    }
}

/* The run of data chunks; what is missing shows when they are inflated. */
static int find_data(vlmp_png_chunks *out, size_t *at, const vlmp_image_bytes *in, vlmp_error *err)
{
    static const unsigned char checksum[4];
    chunk c;
    for (; chunk_at(&c, in, *at) && is(&c, "IDAT"); *at += AROUND + c.length) {
        if (c.cut) {
            memcpy(out->clipped, c.header, 8);
            for (int i = 0; i < 4; i++)
                out->clipped[i] = (unsigned char)(c.length >> (24 - 8 * i));
            VLMP_TRY(add_piece(out, out->clipped, 8, in, err));
            VLMP_TRY(add_piece(out, c.header + 8, c.length, in, err));
            VLMP_TRY(add_piece(out, checksum, 4, in, err));
            *at = in->length;
            return vlmp_image_damage(in, err, "the file ends in its picture data");
        }
        if (!checksum_is_right(&c))
            VLMP_TRY(
                vlmp_image_damage(in, err, "picture data has a wrong checksum (byte %zu)", *at));
        VLMP_TRY(add_piece(out, c.header, AROUND + c.length, in, err));
    }
    return VLMP_OK;
}

/* What follows the picture. */
static int find_rest(vlmp_png_chunks *out, size_t at, const vlmp_image_bytes *in, vlmp_error *err)
{
    chunk c;
    for (; chunk_at(&c, in, at); at += AROUND + c.length) {
        if (is(&c, "IEND")) {
            if (!c.cut && c.length == 0 && checksum_is_right(&c)) return VLMP_OK;
            return vlmp_image_damage(in, err, "its end chunk is damaged");
        }
        if (c.length < be32(c.header))
            return fail_chunk(in, at, "a chunk reaches past the end of the file", err);
        if (c.cut) break;
        if (!checksum_is_right(&c))
            VLMP_TRY(vlmp_image_damage(in, err,
                                       "a chunk behind the picture data has a wrong "
                                       "checksum (byte %zu)",
                                       at));
        if (!is(&c, "IHDR") && !is(&c, "PLTE")) VLMP_TRY(keep(out, &c, in, err));
    }
    return vlmp_image_damage(in, err, "its end chunk is missing");
}

int vlmp_png_find_chunks(vlmp_png_chunks *out, const vlmp_image_bytes *in, vlmp_error *err)
{
    static const unsigned char end[AROUND] = {0,   0,   0,    0,    'I',  'E',
                                              'N', 'D', 0xae, 0x42, 0x60, 0x82};
    size_t at = 8;
    *out = (vlmp_png_chunks){0};
    VLMP_TRY(add_piece(out, in->data, at, in, err));
    VLMP_TRY(find_header(out, &at, in, err));
    VLMP_TRY(find_data(out, &at, in, err));
    VLMP_TRY(find_rest(out, at, in, err));
    return add_piece(out, end, sizeof end, in, err);
}
