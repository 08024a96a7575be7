#include "src/base/escape.h"

#include <string.h>

#include "src/base/utf8.h"

bool vlmp_is_hidden(uint32_t code)
{
    static const struct {
        uint32_t first, last;
    } ranges[] = {
        {0x00, 0x1f},     {0x7f, 0x9f},       /* controls */
        {0x61c, 0x61c},   {0x200e, 0x200f},   /* direction marks */
        {0x2028, 0x202e}, {0x2060, 0x206f},   /* separators, embeddings, overrides, isolates */
        {0xfdd0, 0xfdef}, {0xfeff, 0xfeff},   /* non-characters, byte order mark */
        {0xfff9, 0xfffb}, {0xe0000, 0xe007f}, /* annotations, tags */
    };
    if ((code & 0xfffe) == 0xfffe) return true;
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++)
        if (code >= ranges[i].first && code <= ranges[i].last) return true;
    return false;
}

/* "\x" and two digits, "\u" and four, "\U" and eight. */
static size_t put_code(char *out, char letter, int digits, uint32_t code)
{
    static const char hex[] = "0123456789abcdef";
    out[0] = '\\';
    out[1] = letter;
    for (int i = 0; i < digits; i++)
        out[2 + i] = hex[code >> 4 * (digits - 1 - i) & 15];
    return 2 + (size_t)digits;
}

size_t vlmp_visible(char out[VLMP_VISIBLE_BYTES], const char *text, size_t length, size_t *used)
{
    const unsigned char *p = (const unsigned char *)text;
    size_t n = vlmp_utf8_length(p, length);
    *used = n > 0 ? n : 1;
    if (n == 0) return put_code(out, 'x', 2, p[0]);
    uint32_t code = vlmp_utf8_code(p, n);
    if (!vlmp_is_hidden(code)) {
        memcpy(out, text, n);
        return n;
    }
    if (code < 0x80) return put_code(out, 'x', 2, code);
    return code < 0x10000 ? put_code(out, 'u', 4, code) : put_code(out, 'U', 8, code);
}

static const char *xml_entity(char c)
{
    return c == '&'    ? "&amp;"
           : c == '<'  ? "&lt;"
           : c == '>'  ? "&gt;"
           : c == '"'  ? "&quot;"
           : c == '\'' ? "&#39;"
                       : NULL;
}

/* Entities where a renderer might not honour a backslash: tags, cells, code spans. */
static const char *markdown_mark(char c)
{
    const char *entity = xml_entity(c);
    if (entity != NULL) return entity;
    return c == '|'    ? "&#124;"
           : c == '`'  ? "&#96;"
           : c == '@'  ? "&#64;"
           : c == '\\' ? "\\\\"
           : c == '*'  ? "\\*"
           : c == '_'  ? "\\_"
           : c == '~'  ? "\\~"
           : c == '['  ? "\\["
           : c == ']'  ? "\\]"
                       : NULL;
}

void vlmp_escape(vlmp_buffer *out, vlmp_escape_kind kind, const char *text, size_t length)
{
    for (size_t at = 0, used; at < length; at += used) {
        char shown[VLMP_VISIBLE_BYTES];
        bool space = text[at] == '\n' || text[at] == '\t';
        if (space && kind != VLMP_ESCAPE_LINE) {
            used = 1;
            vlmp_buffer_append(out, kind == VLMP_ESCAPE_MARKDOWN ? " " : text + at, 1);
            continue;
        }
        size_t n = vlmp_visible(shown, text + at, length - at, &used);
        for (size_t i = 0; i < n; i++) {
            const char *mark = kind == VLMP_ESCAPE_XML        ? xml_entity(shown[i])
                               : kind == VLMP_ESCAPE_MARKDOWN ? markdown_mark(shown[i])
                                                              : NULL;
            if (mark != NULL)
                vlmp_buffer_text(out, mark);
            else
                vlmp_buffer_append(out, &shown[i], 1);
        }
    }
}
