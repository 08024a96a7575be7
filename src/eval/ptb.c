#include "src/eval/ptb.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "src/eval/ptb_text.h"

/* Symbols outside ASCII that are tokens; other characters that are no letters are dropped. */
static const uint16_t symbol_ranges[][2] = {
    {0x00a1, 0x00a1}, {0x00a5, 0x00a9}, {0x00ac, 0x00ac}, {0x00ae, 0x00b4}, {0x00b6, 0x00b9},
    {0x00bf, 0x00bf}, {0x00d7, 0x00d7}, {0x00f7, 0x00f7}, {0x037e, 0x037e}, {0x0387, 0x0387},
    {0x0589, 0x0589}, {0x05be, 0x05be}, {0x05c0, 0x05c0}, {0x05c3, 0x05c3}, {0x05c6, 0x05c6},
    {0x05f3, 0x05f4}, {0x0600, 0x0603}, {0x0606, 0x060c}, {0x0614, 0x0614}, {0x061b, 0x061b},
    {0x061e, 0x061f}, {0x066a, 0x066a}, {0x066d, 0x066d}, {0x06d4, 0x06d4}, {0x0700, 0x070d},
    {0x07f6, 0x07f8}, {0x0964, 0x0965}, {0x0e3f, 0x0e3f}, {0x0e4f, 0x0e4f}, {0x1fbd, 0x1fbd},
    {0x2016, 0x2017}, {0x201a, 0x201a}, {0x201e, 0x2023}, {0x2030, 0x2038}, {0x203b, 0x203b},
    {0x203e, 0x2042}, {0x2044, 0x2044}, {0x2070, 0x2070}, {0x2074, 0x207e}, {0x2080, 0x208e},
    {0x20a4, 0x20a4}, {0x2100, 0x2101}, {0x2103, 0x2106}, {0x2108, 0x2109}, {0x2114, 0x2114},
    {0x2116, 0x2118}, {0x211e, 0x2123}, {0x2125, 0x2125}, {0x2127, 0x2127}, {0x2129, 0x2129},
    {0x212e, 0x212e}, {0x213a, 0x213b}, {0x2140, 0x2144}, {0x214a, 0x214d}, {0x214f, 0x214f},
    {0x2155, 0x215e}, {0x2190, 0x2bff}, {0x3001, 0x3002}, {0x3012, 0x3012}, {0x30fb, 0x30fb},
    {0xff01, 0xff0f}, {0xff1a, 0xff20}, {0xff3b, 0xff40}, {0xff5b, 0xff65}, {0xffe0, 0xffe1},
    {0xffe5, 0xffe6}};

bool vlmp_ptb_symbol(uint32_t c)
{
    if (c < 0x80) return c != 0 && strchr("+%&~^|\\=/$#@*_<>()[]{}", (int)c) != NULL;
    for (size_t i = 0; i < sizeof symbol_ranges / sizeof *symbol_ranges; i++)
        if (c >= symbol_ranges[i][0] && c <= symbol_ranges[i][1]) return true;
    return false;
}

bool vlmp_ptb_letter(uint32_t c)
{
    if (c < 0x80) return vlmp_ptb_ascii_letter(c);
    if (c == 0xad) return true;
    if (c > 0xffff || vlmp_ptb_symbol(c)) return false; /* the reference sees UTF-16 halves */
    switch (utf8proc_category((utf8proc_int32_t)c)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
        return true;
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
        return c < 0x1000;
    default:
        return (c >= 0x2c2 && c <= 0x2c5) || (c >= 0x2d2 && c <= 0x2df);
    }
}

bool vlmp_ptb_digit(uint32_t c)
{
    if (c < 0x80) return vlmp_ptb_ascii_digit(c);
    return c <= 0xffff && utf8proc_category((utf8proc_int32_t)c) == UTF8PROC_CATEGORY_ND;
}

bool vlmp_ptb_word(uint32_t c)
{
    return vlmp_ptb_letter(c) || vlmp_ptb_digit(c);
}

bool vlmp_ptb_space(uint32_t c)
{
    return c == ' ' || (c >= '\t' && c <= '\r') || c == 0xa0 || c == 0x85 || c == 0x2028 ||
           c == 0x2029 || c == 0x3000 || (c >= 0x2000 && c <= 0x200a);
}

bool vlmp_ptb_is(const vlmp_ptb_line *line, size_t at, const char *text)
{
    for (; *text != '\0'; text++, at++) {
        uint32_t c = vlmp_ptb_at(line, at);
        if (c >= 'A' && c <= 'Z') c |= 0x20;
        if (c != (unsigned char)*text) return false;
    }
    return true;
}

size_t vlmp_ptb_run(const vlmp_ptb_line *line, size_t at, bool (*test)(uint32_t))
{
    size_t length = 0;
    while (length < VLMP_PTB_RUN && at + length < line->count && test(line->code[at + length]))
        length++;
    return length;
}

/* The tokens that the caption scorer throws away. It spells its brackets in upper case and so never
 * finds the lower-cased "-lrb-": those stay. */
static bool is_punctuation(const char *token, size_t length)
{
    static const char *const list[] = {"''", "'", "``", "`",  ".",   "?", "!",
                                       ",",  ":", "-",  "--", "...", ";"};
    for (size_t i = 0; i < sizeof list / sizeof *list; i++)
        if (strlen(list[i]) == length && memcmp(list[i], token, length) == 0) return true;
    return false;
}

static void emit(vlmp_buffer *out, vlmp_buffer *token)
{
    /* Soft hyphens vanish from words, so a token may be empty. */
    if (token->length > 0 && !is_punctuation(token->data, token->length)) {
        if (out->length > 0 && out->data[out->length - 1] != ' ') vlmp_buffer_text(out, " ");
        vlmp_buffer_append(out, token->data, token->length);
    }
    if (token->failed) out->failed = true;
    token->length = 0;
}

static void append_lower(vlmp_buffer *token, uint32_t c)
{
    utf8proc_uint8_t bytes[4];
    if (c == 0xad) return;
    if (vlmp_ptb_space(c)) c = ' ';
    utf8proc_ssize_t n = utf8proc_encode_char(utf8proc_tolower((utf8proc_int32_t)c), bytes);
    if (n > 0) vlmp_buffer_append(token, bytes, (size_t)n);
}

/* Smileys and telephone numbers: brackets inside are spelled out. */
static void append_token(vlmp_buffer *token, const vlmp_ptb_line *line, size_t at,
                         vlmp_ptb_match match)
{
    for (size_t i = at; i < at + match.keep; i++) {
        uint32_t c = line->code[i];
        if (match.keep > 1 && c == '(') {
            vlmp_buffer_text(token, "-lrb-");
        } else if (match.keep > 1 && c == ')') {
            vlmp_buffer_text(token, "-rrb-");
        } else if (vlmp_ptb_is(line, i, "&amp;")) {
            vlmp_buffer_text(token, "&");
            i += 4;
        } else if (match.straight && vlmp_ptb_any_apostrophe(c)) {
            vlmp_buffer_text(token, vlmp_ptb_apostrophe(c) ? "'" : "`");
        } else {
            append_lower(token, c);
        }
    }
}

static vlmp_ptb_match best_match(const vlmp_ptb_line *line, size_t at)
{
    vlmp_ptb_match best = {0};
    vlmp_ptb_rule *const *tables[] = {vlmp_ptb_word_rules, vlmp_ptb_other_rules};
    for (size_t t = 0; t < 2; t++)
        for (vlmp_ptb_rule *const *rule = tables[t]; *rule != NULL; rule++) {
            vlmp_ptb_match match = (*rule)(line, at);
            if (match.reach > best.reach) best = match;
        }
    return best;
}

static void tokenize_line(vlmp_buffer *out, const vlmp_ptb_line *line)
{
    vlmp_buffer token = {0};
    size_t at = 0;
    while (at < line->count) {
        vlmp_ptb_match match =
            vlmp_ptb_space(line->code[at]) ? (vlmp_ptb_match){0} : best_match(line, at);
        if (match.keep > line->count - at) match.keep = line->count - at;
        if (match.reach == 0 || match.keep == 0) {
            at++;
            continue;
        }
        if (match.text != NULL)
            vlmp_buffer_text(&token, match.text);
        else
            append_token(&token, line, at, match);
        emit(out, &token);
        at += match.keep;
    }
    vlmp_buffer_free(&token);
}

void vlmp_ptb_tokenize(vlmp_buffer *out, const char *text, size_t length)
{
    uint32_t *codes = vlmp_alloc(length, sizeof *codes);
    if (codes == NULL) {
        out->failed = true;
        return;
    }
    size_t count = 0;
    for (size_t at = 0; at < length;) {
        utf8proc_int32_t code;
        utf8proc_ssize_t used = utf8proc_iterate((const utf8proc_uint8_t *)text + at,
                                                 (utf8proc_ssize_t)(length - at), &code);
        codes[count++] = used > 0 ? (uint32_t)code : 0xfffd;
        at += used > 0 ? (size_t)used : 1;
    }
    vlmp_ptb_line line = {codes, count};
    tokenize_line(out, &line);
    free(codes);
}
