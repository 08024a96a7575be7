#include "src/text/tokenizer_internal.h"

/* Bytes that print as themselves keep their code point; the other 68 follow from U+0100 in their
 * order. */
static bool is_printing(unsigned byte)
{
    return (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte != 0xad);
}

uint32_t vlmp_byte_letter(unsigned char byte)
{
    if (is_printing(byte)) return byte;
    if (byte <= 0x20) return 0x100u + byte;
    if (byte <= 0xa0) return 0x121u + (byte - 0x7fu);
    return 0x143u;
}

int vlmp_letter_byte(uint32_t c)
{
    if (c < 0x100) return is_printing(c) ? (int)c : -1;
    if (c <= 0x120) return (int)(c - 0x100);
    if (c <= 0x142) return (int)(c - 0x121 + 0x7f);
    return c == 0x143 ? 0xad : -1;
}
