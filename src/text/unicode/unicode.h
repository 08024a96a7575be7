/* UTF-8 and the character classes that pre-tokenizers ask for. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Sorted, inclusive ranges of code points (unicode_tables.c, generated). */
extern const uint32_t vlmp_unicode_letter[][2];
extern const size_t vlmp_unicode_letter_count;
extern const uint32_t vlmp_unicode_number[][2];
extern const size_t vlmp_unicode_number_count;
extern const uint32_t vlmp_unicode_space[][2];
extern const size_t vlmp_unicode_space_count;
extern const uint32_t vlmp_unicode_numeric[][2];
extern const size_t vlmp_unicode_numeric_count;
extern const uint32_t vlmp_unicode_white_space[][2];
extern const size_t vlmp_unicode_white_space_count;
extern const uint32_t vlmp_unicode_word[][2];
extern const size_t vlmp_unicode_word_count;
extern const uint32_t vlmp_unicode_combining[][2];
extern const size_t vlmp_unicode_combining_count;
extern const uint32_t vlmp_unicode_decomposing[][2];
extern const size_t vlmp_unicode_decomposing_count;

bool vlmp_is_letter(uint32_t c);      /* \p{L} */
bool vlmp_is_number(uint32_t c);      /* \p{N} */
bool vlmp_is_space(uint32_t c);       /* \s */
bool vlmp_is_numeric(uint32_t c);     /* what the Digits pre-tokenizer cuts out */
bool vlmp_is_white_space(uint32_t c); /* what added tokens strip, WhitespaceSplit */
bool vlmp_is_word(uint32_t c);        /* \w */
bool vlmp_is_combining(uint32_t c);   /* its combining class is not 0 (see normalizer.c) */
bool vlmp_is_decomposing(uint32_t c); /* it has a canonical decomposition (see normalizer.c) */

#define VLMP_UTF8_INVALID UINT32_MAX

/* The code point at text[*at], *at < length, and *at moved behind it. A malformed sequence
 * (overlong forms, surrogates and values above U+10FFFF included) gives VLMP_UTF8_INVALID; *at then
 * moves behind its maximal valid prefix, at least one byte, as the Unicode standard replaces it. */
uint32_t vlmp_utf8_next(const char *text, size_t length, size_t *at);

/* The start of the character that ends before at; at > 0, text is valid. */
size_t vlmp_utf8_back(const char *text, size_t at);

/* Writes 1 … 4 bytes, returns how many. c is a scalar value. */
size_t vlmp_utf8_put(char out[4], uint32_t c);

/* The bytes of text that are valid from its start; length when all are. */
size_t vlmp_utf8_valid(const char *text, size_t length);

/* Bytes at the end of text that begin a character and await more; text is otherwise arbitrary. */
size_t vlmp_utf8_incomplete_tail(const char *text, size_t length);
