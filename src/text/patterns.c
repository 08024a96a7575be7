/* Scanners for the regular expressions that byte-level tokenizers split by. Each gives the same
 * matches as its expression under Oniguruma; every character belongs to some match. */
#include <string.h>

#include "src/text/tokenizer_internal.h"
#include "src/text/unicode/unicode.h"

static const struct {
    const char *expression;
    vlmp_pattern pattern;
} known[] = {
    {"'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+",
     PATTERN_GPT2},
    {"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| "
     "?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
     PATTERN_QWEN2},
    {"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| "
     "?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
     PATTERN_LLAMA3},
};

vlmp_pattern vlmp_pattern_find(const char *expression)
{
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(known[i].expression, expression) == 0) return known[i].pattern;
    return PATTERN_NONE;
}

typedef struct {
    const char *text;
    size_t length;
} scan;

/* The character at `at`, its end in *end; VLMP_UTF8_INVALID at the end of the text. */
static uint32_t peek(const scan *s, size_t at, size_t *end)
{
    *end = at;
    return at < s->length ? vlmp_utf8_next(s->text, s->length, end) : VLMP_UTF8_INVALID;
}

static bool is_other(uint32_t c)
{
    return c != VLMP_UTF8_INVALID && !vlmp_is_space(c) && !vlmp_is_letter(c) && !vlmp_is_number(c);
}

static bool is_line_end(uint32_t c)
{
    return c == '\r' || c == '\n';
}

/* The end of the run of characters of a class; `at` when there is none. */
static size_t run(const scan *s, size_t at, bool (*belongs)(uint32_t))
{
    size_t end;
    while (at < s->length && belongs(peek(s, at, &end)))
        at = end;
    return at;
}

/* 's 't 're 've 'm 'll 'd. Case folding lets U+017F stand for s. */
static size_t contraction(const scan *s, size_t at, bool any_case)
{
    if (s->text[at] != '\'') return at;
    size_t end, second_end;
    uint32_t first = peek(s, at + 1, &end);
    if (any_case && first == 0x17f) return end;
    if (first == VLMP_UTF8_INVALID || first > 127) return at;
    uint32_t second = peek(s, end, &second_end);
    if (any_case) {
        first |= 32;
        if (second < 128) second |= 32;
    }
    if (first == 's' || first == 't' || first == 'm' || first == 'd') return end;
    if ((second == 'e' && (first == 'r' || first == 'v')) || (second == 'l' && first == 'l'))
        return second_end;
    return at;
}

/* \s+(?!\S)|\s+ : a run gives its last character to what follows, if it has more than one. */
static size_t white_space(const scan *s, size_t at)
{
    size_t end = run(s, at, vlmp_is_space);
    if (end == s->length) return end;
    size_t last = vlmp_utf8_back(s->text, end);
    return last > at ? last : end;
}

static size_t next_gpt2(const scan *s, size_t at)
{
    size_t end = contraction(s, at, false);
    if (end > at) return end;
    size_t start = at + (s->text[at] == ' ');
    if ((end = run(s, start, vlmp_is_letter)) > start) return end;
    if ((end = run(s, start, vlmp_is_number)) > start) return end;
    if ((end = run(s, start, is_other)) > start) return end;
    return white_space(s, at);
}

/* The last CR or LF of the white space that starts at `at`, its end; `at` when it has none. */
static size_t lines(const scan *s, size_t at)
{
    size_t found = at, end;
    for (size_t i = at; i < s->length; i = end) {
        uint32_t c = peek(s, i, &end);
        if (!vlmp_is_space(c)) break;
        if (is_line_end(c)) found = end;
    }
    return found;
}

static size_t next_llama3(const scan *s, size_t at, int digits)
{
    size_t end = contraction(s, at, true);
    if (end > at) return end;
    size_t first_end;
    uint32_t first = peek(s, at, &first_end);
    if (vlmp_is_letter(first)) return run(s, at, vlmp_is_letter);
    bool number = vlmp_is_number(first);
    if (!number && !is_line_end(first)) {
        if ((end = run(s, first_end, vlmp_is_letter)) > first_end) return end;
    }
    if (number) {
        for (end = first_end; digits > 1; digits--) {
            size_t next;
            if (end >= s->length || !vlmp_is_number(peek(s, end, &next))) break;
            end = next;
        }
        return end;
    }
    size_t start = at + (first == ' ');
    if ((end = run(s, start, is_other)) > start) return run(s, end, is_line_end);
    if ((end = lines(s, at)) > at) return end;
    return white_space(s, at);
}

size_t vlmp_pattern_next(vlmp_pattern pattern, const char *text, size_t length, size_t at)
{
    scan s = {text, length};
    switch (pattern) {
    case PATTERN_GPT2:
        return next_gpt2(&s, at);
    case PATTERN_QWEN2:
        return next_llama3(&s, at, 1);
    case PATTERN_LLAMA3:
        return next_llama3(&s, at, 3);
    case PATTERN_NONE:
        break;
    }
    return length;
}
