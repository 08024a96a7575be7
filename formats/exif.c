/* The one EXIF tag that changes pixels. Everything is read through bounds-checked accessors; a
 * malformed block means "no orientation", as a picture is not worth less for it. */
#include <string.h>

#include "formats/image_codec.h"

#define TAG_ORIENTATION 0x0112
#define ENTRY_BYTES     12

typedef struct {
    const unsigned char *data;
    size_t length;
    bool little;
} tiff_block;

static bool read_u16(const tiff_block *b, size_t at, uint32_t *out)
{
    if (at > b->length || b->length - at < 2) return false;
    const unsigned char *p = b->data + at;
    *out = b->little ? (uint32_t)(p[1] << 8 | p[0]) : (uint32_t)(p[0] << 8 | p[1]);
    return true;
}

static bool read_u32(const tiff_block *b, size_t at, uint32_t *out)
{
    uint32_t first, second;
    if (!read_u16(b, at, &first) || !read_u16(b, at + 2, &second)) return false;
    *out = b->little ? second << 16 | first : first << 16 | second;
    return true;
}

/* The entry's first value. VLMP_NO_ORIENTATION: the entry is void, as if it were not there; 0: it
 * holds something that is no orientation. */
static int entry_value(const tiff_block *b, size_t entry)
{
    static const unsigned char sizes[14] = {0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4};
    uint32_t type, count, at = 0, value = 0;
    if (!read_u16(b, entry + 2, &type) || !read_u32(b, entry + 4, &count))
        return VLMP_NO_ORIENTATION;
    if (type == 0 || type >= sizeof sizes || count == 0) return VLMP_NO_ORIENTATION;
    uint64_t bytes = (uint64_t)count * sizes[type];
    if (bytes > 4) { /* the values lie elsewhere */
        if (!read_u32(b, entry + 8, &at) || at > b->length || b->length - at < bytes)
            return VLMP_NO_ORIENTATION;
    }
    size_t place = bytes > 4 ? at : entry + 8;
    switch (type) {
    case 6:
        value = b->data[place];
        break; /* SBYTE */
    case 3:    /* SHORT */
    case 8:
        read_u16(b, place, &value);
        break;
    case 4: /* LONG, SLONG, IFD */
    case 9:
    case 13:
        read_u32(b, place, &value);
        break;
    default:
        return 0;
    }
    return value <= 8 ? (int)value : 0;
}

int vlmp_exif_orientation(const unsigned char *data, size_t length)
{
    static const unsigned char prefix[6] = {'E', 'x', 'i', 'f', 0, 0};
    for (int i = 0; i < 2 && length >= 6 && memcmp(data, prefix, 6) == 0; i++) {
        data += 6;
        length -= 6;
    }
    if (length < 8 || !((data[0] == 'I' && data[1] == 'I') || (data[0] == 'M' && data[1] == 'M')))
        return VLMP_NO_ORIENTATION;
    tiff_block b = {data, length, data[0] == 'I'};
    uint32_t magic, offset, entries;
    /* 42 in either byte order: writers are known to confuse it */
    if (!read_u16(&b, 2, &magic) || (magic != 42 && magic != 42u << 8) || !read_u32(&b, 4, &offset))
        return VLMP_NO_ORIENTATION;
    if (!read_u16(&b, offset, &entries)) return VLMP_NO_ORIENTATION;
    int found = VLMP_NO_ORIENTATION; /* the first that is not void */
    for (uint32_t i = 0; i < entries && found == VLMP_NO_ORIENTATION; i++) {
        size_t entry = (size_t)offset + 2 + (size_t)i * ENTRY_BYTES;
        uint32_t tag;
        if (entry + ENTRY_BYTES > length) break;
        if (read_u16(&b, entry, &tag) && tag == TAG_ORIENTATION) found = entry_value(&b, entry);
    }
    return found;
}

int vlmp_xmp_orientation(const void *text, size_t length)
{
    static const char key[] = "tiff:Orientation";
    size_t key_length = sizeof key - 1;
    const char *p = text, *end = p + length;
    while ((p = memmem(p, (size_t)(end - p), key, key_length)) != NULL) {
        p += key_length;
        size_t left = (size_t)(end - p);
        size_t skip = left >= 1 && p[0] == '>' ? 1 : left >= 2 && memcmp(p, "=\"", 2) == 0 ? 2 : 0;
        if (skip != 0 && left > skip && p[skip] >= '0' && p[skip] <= '9') return p[skip] - '0';
    }
    return VLMP_NO_ORIENTATION;
}

int vlmp_orientation(int exif, int xmp)
{
    int value = exif != VLMP_NO_ORIENTATION ? exif : xmp;
    return value >= 1 && value <= 8 ? value : 1;
}
