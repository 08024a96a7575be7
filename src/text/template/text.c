/* Operations on text that filters and methods share. */
#include <string.h>
#include <utf8proc.h>

#include "src/text/template/jinja.h"
#include "src/text/unicode/unicode.h"

#define MAX_PADDING 100000
#define MAX_GROWN   ((size_t)16 << 20)

/* Letters that become several in upper case (SpecialCasing of Unicode). */
static bool is_special_upper(uint32_t c)
{
    static const uint16_t ranges[][2] = {
        {0xdf, 0xdf},     {0x149, 0x149},   {0x1f0, 0x1f0},   {0x390, 0x390},   {0x3b0, 0x3b0},
        {0x587, 0x587},   {0x1e96, 0x1e9a}, {0x1f50, 0x1f50}, {0x1f52, 0x1f52}, {0x1f54, 0x1f54},
        {0x1f56, 0x1f56}, {0x1f80, 0x1faf}, {0x1fb2, 0x1fb4}, {0x1fb6, 0x1fb7}, {0x1fbc, 0x1fbc},
        {0x1fc2, 0x1fc4}, {0x1fc6, 0x1fc7}, {0x1fcc, 0x1fcc}, {0x1fd2, 0x1fd3}, {0x1fd6, 0x1fd7},
        {0x1fe2, 0x1fe4}, {0x1fe6, 0x1fe7}, {0x1ff2, 0x1ff4}, {0x1ff6, 0x1ff7}, {0x1ffc, 0x1ffc},
        {0xfb00, 0xfb06}, {0xfb13, 0xfb17}};
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++)
        if (c >= ranges[i][0] && c <= ranges[i][1]) return true;
    return false;
}

static bool is_cased(uint32_t c)
{
    utf8proc_category_t category = utf8proc_category((utf8proc_int32_t)c);
    return category == UTF8PROC_CATEGORY_LU || category == UTF8PROC_CATEGORY_LL ||
           category == UTF8PROC_CATEGORY_LT;
}

int vlmp_jinja_change_case(vlmp_jinja_context *c, const vlmp_jinja_node *node, vlmp_jinja_text text,
                           char how, vlmp_jinja_value *out)
{
    /* A change of case may lengthen a character (U+0250 has 2 bytes, its capital 3). */
    char *changed = vlmp_jinja_allocate(c, node, text.length + 1, 4);
    if (changed == NULL) return c->err->code;
    size_t length = 0;
    bool starts = true; /* a word, for 't'; the text, for 'c' */
    for (size_t at = 0; at < text.length;) {
        uint32_t character = vlmp_utf8_next(text.text, text.length, &at);
        utf8proc_int32_t letter = (utf8proc_int32_t)character;
        bool up = how == 'u' || (how != 'l' && starts);
        /* Python also looks at the neighbours of a sigma, and lowers U+0130 to two characters. */
        if (up ? is_special_upper(character) : character == 0x3a3 || character == 0x130)
            return vlmp_jinja_fail(c, node,
                                   "a change of case of the letter U+%04X is not supported",
                                   (unsigned)character);
        letter = !up          ? utf8proc_tolower(letter)
                 : how == 'u' ? utf8proc_toupper(letter)
                              : utf8proc_totitle(letter);
        starts = how == 't' && !is_cased(character);
        length += vlmp_utf8_put(changed + length, (uint32_t)letter);
    }
    *out = vlmp_jinja_string(changed, length);
    return VLMP_OK;
}

bool vlmp_jinja_is_case(vlmp_jinja_text text, bool upper)
{
    bool found = false;
    for (size_t at = 0; at < text.length;) {
        uint32_t c = vlmp_utf8_next(text.text, text.length, &at);
        utf8proc_category_t category = utf8proc_category((utf8proc_int32_t)c);
        if (!is_cased(c)) continue;
        if (category != (upper ? UTF8PROC_CATEGORY_LU : UTF8PROC_CATEGORY_LL)) return false;
        found = true;
    }
    return found;
}

size_t vlmp_jinja_characters(vlmp_jinja_text text)
{
    size_t count = 0;
    for (size_t at = 0; at < text.length; count++)
        vlmp_utf8_next(text.text, text.length, &at);
    return count;
}

int vlmp_jinja_pad(vlmp_jinja_context *c, const vlmp_jinja_node *node, vlmp_jinja_text text,
                   size_t left, size_t right, vlmp_jinja_text fill, vlmp_jinja_value *out)
{
    vlmp_buffer padded = {0};
    if (left > MAX_PADDING || right > MAX_PADDING)
        return vlmp_jinja_fail(c, node, "a width above %d", MAX_PADDING);
    for (size_t i = 0; i < left; i++)
        vlmp_buffer_append(&padded, fill.text, fill.length);
    vlmp_buffer_append(&padded, text.text, text.length);
    for (size_t i = 0; i < right; i++)
        vlmp_buffer_append(&padded, fill.text, fill.length);
    return vlmp_jinja_from_buffer(c, node, &padded, VLMP_OK, out);
}

static bool is_stripped(vlmp_jinja_text character, const vlmp_jinja_text *characters)
{
    size_t at = 0;
    if (characters == NULL)
        return vlmp_jinja_is_space(vlmp_utf8_next(character.text, character.length, &at));
    for (size_t start = 0; start < characters->length; start = at) {
        at = start;
        vlmp_utf8_next(characters->text, characters->length, &at);
        vlmp_jinja_text one = {characters->text + start, at - start};
        if (vlmp_jinja_same_text(one, character)) return true;
    }
    return false;
}

vlmp_jinja_text vlmp_jinja_strip(vlmp_jinja_text text, const vlmp_jinja_text *characters, bool left,
                                 bool right)
{
    while (left && text.length > 0) {
        size_t end = 0;
        vlmp_utf8_next(text.text, text.length, &end);
        if (!is_stripped((vlmp_jinja_text){text.text, end}, characters)) break;
        text.text += end;
        text.length -= end;
    }
    while (right && text.length > 0) {
        size_t start = vlmp_utf8_back(text.text, text.length);
        if (!is_stripped((vlmp_jinja_text){text.text + start, text.length - start}, characters))
            break;
        text.length = start;
    }
    return text;
}

int vlmp_jinja_replace(vlmp_jinja_context *c, const vlmp_jinja_node *node, vlmp_jinja_text text,
                       vlmp_jinja_text from, vlmp_jinja_text to, int64_t most,
                       vlmp_jinja_value *out)
{
    vlmp_buffer changed = {0};
    int status = VLMP_OK;
    size_t at = 0;
    for (; status == VLMP_OK && most != 0; most -= most > 0) {
        vlmp_jinja_text rest = {text.text + at, text.length - at};
        const char *hit = from.length == 0 ? rest.text
                          : rest.length == 0
                              ? NULL
                              : memmem(rest.text, rest.length, from.text, from.length);
        if (hit == NULL) break;
        vlmp_buffer_append(&changed, rest.text, (size_t)(hit - rest.text));
        vlmp_buffer_append(&changed, to.text, to.length);
        at += (size_t)(hit - rest.text) + from.length;
        if (changed.length > MAX_GROWN || changed.failed)
            status = vlmp_jinja_fail(c, node, "a text grows too long");
        if (from.length > 0) continue;
        if (at == text.length)
            break; /* an empty text stands before each character and at the end */
        size_t next = at;
        vlmp_utf8_next(text.text, text.length, &next);
        vlmp_buffer_append(&changed, text.text + at, next - at);
        at = next;
    }
    vlmp_buffer_append(&changed, text.text + at, text.length - at);
    return vlmp_jinja_from_buffer(c, node, &changed, status, out);
}
