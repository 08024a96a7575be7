/* UTF-8: validity, code points. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Bytes of the sequence at p (1 … 4) when it is well formed, else 0: overlong forms, surrogates and
 * values above U+10FFFF are not (Unicode 15, table 3-7). left > 0 bytes may be read. */
static inline size_t vlmp_utf8_length(const unsigned char *p, size_t left)
{
    if (p[0] < 0x80) return 1;
    size_t n = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
    if (p[0] < 0xc2 || p[0] > 0xf4 || left < n) return 0;
    unsigned char low = p[0] == 0xe0 ? 0xa0 : p[0] == 0xf0 ? 0x90 : 0x80;
    unsigned char high = p[0] == 0xed ? 0x9f : p[0] == 0xf4 ? 0x8f : 0xbf;
    if (p[1] < low || p[1] > high) return 0;
    for (size_t i = 2; i < n; i++)
        if (p[i] < 0x80 || p[i] > 0xbf) return 0;
    return n;
}

/* The code point of the well-formed sequence of n bytes at p. */
static inline uint32_t vlmp_utf8_code(const unsigned char *p, size_t n)
{
    if (n == 1) return p[0];
    uint32_t code = p[0] & (0x7fu >> n);
    for (size_t i = 1; i < n; i++)
        code = code << 6 | (p[i] & 0x3fu);
    return code;
}

/* The first byte that is not part of valid UTF-8; length when all is valid. */
static inline size_t vlmp_utf8_check(const char *text, size_t length)
{
    size_t i = 0;
    while (i < length) {
        size_t n = vlmp_utf8_length((const unsigned char *)text + i, length - i);
        if (n == 0) break;
        i += n;
    }
    return i;
}
