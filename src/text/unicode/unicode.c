#include "src/text/unicode/unicode.h"

static bool in_ranges(const uint32_t (*ranges)[2], size_t count, uint32_t c)
{
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (c > ranges[middle][1])
            low = middle + 1;
        else
            high = middle;
    }
    return low < count && c >= ranges[low][0];
}

static bool ascii_letter(uint32_t c)
{
    return (c | 32) - 'a' < 26;
}

static bool ascii_digit(uint32_t c)
{
    return c - '0' < 10;
}

bool vlmp_is_letter(uint32_t c)
{
    if (c < 128) return ascii_letter(c);
    return in_ranges(vlmp_unicode_letter, vlmp_unicode_letter_count, c);
}

bool vlmp_is_number(uint32_t c)
{
    if (c < 128) return ascii_digit(c);
    return in_ranges(vlmp_unicode_number, vlmp_unicode_number_count, c);
}

bool vlmp_is_space(uint32_t c)
{
    if (c < 128) return c == ' ' || c - 9 < 5;
    return in_ranges(vlmp_unicode_space, vlmp_unicode_space_count, c);
}

bool vlmp_is_numeric(uint32_t c)
{
    if (c < 128) return ascii_digit(c);
    return in_ranges(vlmp_unicode_numeric, vlmp_unicode_numeric_count, c);
}

bool vlmp_is_white_space(uint32_t c)
{
    if (c < 128) return c == ' ' || c - 9 < 5;
    return in_ranges(vlmp_unicode_white_space, vlmp_unicode_white_space_count, c);
}

bool vlmp_is_word(uint32_t c)
{
    if (c < 128) return ascii_letter(c) || ascii_digit(c) || c == '_';
    return in_ranges(vlmp_unicode_word, vlmp_unicode_word_count, c);
}

bool vlmp_is_combining(uint32_t c)
{
    return in_ranges(vlmp_unicode_combining, vlmp_unicode_combining_count, c);
}

bool vlmp_is_decomposing(uint32_t c)
{
    return in_ranges(vlmp_unicode_decomposing, vlmp_unicode_decomposing_count, c);
}

/* What may follow a lead byte (Unicode 15, table 3-7): the number of continuation bytes, and the
 * range of the first of them. */
static int sequence_rule(unsigned char lead, unsigned char *low, unsigned char *high)
{
    *low = 0x80;
    *high = 0xbf;
    if (lead >= 0xc2 && lead <= 0xdf) return 1;
    if (lead >= 0xe0 && lead <= 0xef) {
        if (lead == 0xe0) *low = 0xa0;
        if (lead == 0xed) *high = 0x9f;
        return 2;
    }
    if (lead >= 0xf0 && lead <= 0xf4) {
        if (lead == 0xf0) *low = 0x90;
        if (lead == 0xf4) *high = 0x8f;
        return 3;
    }
    return 0;
}

uint32_t vlmp_utf8_next(const char *text, size_t length, size_t *at)
{
    unsigned char lead = (unsigned char)text[(*at)++];
    if (lead < 0x80) return lead;
    unsigned char low, high;
    int more = sequence_rule(lead, &low, &high);
    if (more == 0) return VLMP_UTF8_INVALID;
    uint32_t c = lead & (0x3fu >> more);
    for (int i = 0; i < more; i++) {
        if (*at >= length) return VLMP_UTF8_INVALID;
        unsigned char next = (unsigned char)text[*at];
        if (next < low || next > high) return VLMP_UTF8_INVALID;
        c = c << 6 | (next & 0x3fu);
        low = 0x80;
        high = 0xbf;
        (*at)++;
    }
    return c;
}

size_t vlmp_utf8_back(const char *text, size_t at)
{
    at--;
    while (at > 0 && ((unsigned char)text[at] & 0xc0) == 0x80)
        at--;
    return at;
}

size_t vlmp_utf8_put(char out[4], uint32_t c)
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (char)(0xc0 | c >> 6);
        out[1] = (char)(0x80 | (c & 0x3f));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (char)(0xe0 | c >> 12);
        out[1] = (char)(0x80 | (c >> 6 & 0x3f));
        out[2] = (char)(0x80 | (c & 0x3f));
        return 3;
    }
    out[0] = (char)(0xf0 | c >> 18);
    out[1] = (char)(0x80 | (c >> 12 & 0x3f));
    out[2] = (char)(0x80 | (c >> 6 & 0x3f));
    out[3] = (char)(0x80 | (c & 0x3f));
    return 4;
}

size_t vlmp_utf8_valid(const char *text, size_t length)
{
    size_t at = 0;
    while (at < length) {
        size_t next = at;
        if (vlmp_utf8_next(text, length, &next) == VLMP_UTF8_INVALID) return at;
        at = next;
    }
    return length;
}

size_t vlmp_utf8_incomplete_tail(const char *text, size_t length)
{
    for (size_t back = 1; back <= 3 && back <= length; back++) {
        unsigned char byte = (unsigned char)text[length - back];
        if ((byte & 0xc0) == 0x80) continue;
        unsigned char low, high;
        size_t more = (size_t)sequence_rule(byte, &low, &high);
        if (more < back) return 0; /* complete, or no lead byte */
        if (back > 1) {
            unsigned char first = (unsigned char)text[length - back + 1];
            if (first < low || first > high) return 0;
        }
        return back;
    }
    return 0;
}
