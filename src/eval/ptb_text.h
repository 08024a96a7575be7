/* Characters as the tokenizer's rules see them (private to ptb*.c). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A decoded caption. */
typedef struct {
    const uint32_t *code;
    size_t count;
} vlmp_ptb_line;

/* What a rule found. reach decides between rules (the longest wins, then the first): the token and
 * the context that the rule asked for behind it. */
typedef struct {
    size_t reach;
    size_t keep;      /* characters of the token; the rest is read again */
    const char *text; /* the token, when it is not its characters in lower case */
    bool straight;    /* curly apostrophes in the token become ASCII */
} vlmp_ptb_match;

typedef vlmp_ptb_match vlmp_ptb_rule(const vlmp_ptb_line *line, size_t at);

/* Past the end there is a line end. */
static inline uint32_t vlmp_ptb_at(const vlmp_ptb_line *line, size_t at)
{
    return at < line->count ? line->code[at] : '\n';
}

bool vlmp_ptb_letter(uint32_t c); /* joins words: letters, marks, soft hyphen */
bool vlmp_ptb_digit(uint32_t c);
bool vlmp_ptb_word(uint32_t c); /* letter or digit */
bool vlmp_ptb_space(uint32_t c);
bool vlmp_ptb_symbol(uint32_t c); /* a token of its own */
static inline bool vlmp_ptb_ascii_letter(uint32_t c)
{
    return (c | 0x20) >= 'a' && (c | 0x20) <= 'z';
}
static inline bool vlmp_ptb_ascii_digit(uint32_t c)
{
    return c >= '0' && c <= '9';
}
static inline bool vlmp_ptb_ascii_word(uint32_t c)
{
    return vlmp_ptb_ascii_letter(c) || vlmp_ptb_ascii_digit(c);
}
static inline bool vlmp_ptb_apostrophe(uint32_t c)
{
    return c == '\'' || c == 0x92 || c == 0x2019;
}
static inline bool
vlmp_ptb_any_apostrophe(uint32_t c) /* the ones that stand for it by mistake too */
{
    return vlmp_ptb_apostrophe(c) || c == '`' || c == 0x91 || c == 0x2018 || c == 0x201b;
}

/* Whether the ASCII text (lower case) stands at `at`, case ignored. */
bool vlmp_ptb_is(const vlmp_ptb_line *line, size_t at, const char *text);

/* No rule looks further than this: time stays linear on text without spaces. No English word or
 * address is that long. */
enum { VLMP_PTB_RUN = 512, VLMP_PTB_PARTS = 64 };

/* The length of the run of characters from `at` that pass the test, at most VLMP_PTB_RUN. */
size_t vlmp_ptb_run(const vlmp_ptb_line *line, size_t at, bool (*test)(uint32_t));

/* The rules in order of precedence, NULL-terminated. */
extern vlmp_ptb_rule *const vlmp_ptb_word_rules[];
extern vlmp_ptb_rule *const vlmp_ptb_other_rules[];
