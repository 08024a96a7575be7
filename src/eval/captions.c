#include "src/eval/captions.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "src/eval/ptb.h"

static uint64_t hash_bytes(const char *text, size_t length)
{
    uint64_t hash = 0xcbf29ce484222325u; /* FNV-1a */
    for (size_t i = 0; i < length; i++)
        hash = (hash ^ (unsigned char)text[i]) * 0x100000001b3u;
    return hash ^ hash >> 32;
}

static size_t slot_of(const vlmp_caption_words *v, const char *text, size_t length)
{
    size_t slot = hash_bytes(text, length) & (v->capacity - 1);
    while (v->names[slot] != NULL &&
           (strncmp(v->names[slot], text, length) != 0 || v->names[slot][length] != '\0'))
        slot = (slot + 1) & (v->capacity - 1);
    return slot;
}

static bool vocabulary_grow(vlmp_caption_words *v)
{
    vlmp_caption_words larger = *v;
    larger.capacity = v->capacity == 0 ? 1024 : 2 * v->capacity;
    larger.names = calloc(larger.capacity, sizeof *larger.names);
    larger.numbers = calloc(larger.capacity, sizeof *larger.numbers);
    if (larger.names == NULL || larger.numbers == NULL) {
        free(larger.names);
        free(larger.numbers);
        return false;
    }
    for (size_t i = 0; i < v->capacity; i++) {
        if (v->names[i] == NULL) continue;
        size_t slot = slot_of(&larger, v->names[i], strlen(v->names[i]));
        larger.names[slot] = v->names[i];
        larger.numbers[slot] = v->numbers[i];
    }
    free(v->names);
    free(v->numbers);
    *v = larger;
    return true;
}

/* 0: out of memory. */
static uint32_t number_of(vlmp_caption_words *v, const char *text, size_t length)
{
    if (2 * ((size_t)v->count + 1) > v->capacity && !vocabulary_grow(v)) return 0;
    size_t slot = slot_of(v, text, length);
    if (v->names[slot] == NULL) {
        v->names[slot] = vlmp_arena_copy(&v->arena, text, length);
        if (v->names[slot] == NULL) return 0;
        v->numbers[slot] = ++v->count;
    }
    return v->numbers[slot];
}

int vlmp_ngram_compare(const void *a, const void *b)
{
    const vlmp_ngram *x = a, *y = b;
    for (int i = 0; i < VLMP_NGRAM; i++)
        if (x->words[i] != y->words[i]) return x->words[i] < y->words[i] ? -1 : 1;
    return 0;
}

int vlmp_ngram_order(const vlmp_ngram *gram)
{
    int n = 1;
    while (n < VLMP_NGRAM && gram->words[n] != 0)
        n++;
    return n;
}

const vlmp_ngram *vlmp_sentence_find(const vlmp_sentence *sentence, const vlmp_ngram *gram)
{
    if (sentence->gram_count == 0) return NULL;
    return bsearch(gram, sentence->grams, sentence->gram_count, sizeof *gram, vlmp_ngram_compare);
}

/* Splits at white space, the no-break spaces that the tokenizer puts inside some tokens included:
 * the reference scorer splits its tokens again that way. */
static int split(vlmp_caption_words *v, const char *text, size_t length, uint32_t *words,
                 size_t *count, vlmp_error *err)
{
    size_t n = 0, start = 0, at = 0;
    while (at <= length) {
        utf8proc_int32_t code = ' ';
        utf8proc_ssize_t used = 1;
        if (at < length)
            used = utf8proc_iterate((const utf8proc_uint8_t *)text + at,
                                    (utf8proc_ssize_t)(length - at), &code);
        if (used <= 0) used = 1;
        if (code == ' ' || code == 0xa0) {
            if (at > start) {
                words[n] = number_of(v, text + start, at - start);
                if (words[n++] == 0) return vlmp_fail_memory(err, "captions");
            }
            start = at + (size_t)used;
        }
        at += (size_t)used;
    }
    *count = n;
    return VLMP_OK;
}

static int count_ngrams(vlmp_sentence *out, vlmp_arena *arena, const uint32_t *words, size_t length,
                        vlmp_error *err)
{
    out->length = length;
    vlmp_ngram *grams = vlmp_arena_alloc(arena, length * VLMP_NGRAM, sizeof *grams);
    if (grams == NULL) return vlmp_fail_memory(err, "captions");
    size_t all = 0;
    for (size_t n = 1; n <= VLMP_NGRAM; n++)
        for (size_t i = 0; i + n <= length; i++) {
            memcpy(grams[all].words, words + i, n * sizeof *words);
            grams[all++].count = 1;
        }
    if (all > 0) qsort(grams, all, sizeof *grams, vlmp_ngram_compare);
    size_t unique = 0;
    for (size_t i = 0; i < all; i++) {
        if (unique > 0 && vlmp_ngram_compare(&grams[unique - 1], &grams[i]) == 0)
            grams[unique - 1].count++;
        else
            grams[unique++] = grams[i];
    }
    out->grams = grams;
    out->gram_count = unique;
    return VLMP_OK;
}

static int build_sentence(vlmp_sentence *out, vlmp_arena *arena, vlmp_caption_words *v,
                          const char *text, vlmp_error *err)
{
    vlmp_buffer tokens = {0};
    vlmp_ptb_tokenize(&tokens, text, strlen(text));
    uint32_t *words = vlmp_alloc(tokens.length + 1, sizeof *words);
    int status = VLMP_OK;
    size_t count = 0;
    if (tokens.failed || words == NULL)
        status = vlmp_fail_memory(err, "captions");
    else if (tokens.length > 0)
        status = split(v, tokens.data, tokens.length, words, &count, err);
    if (status == VLMP_OK) status = count_ngrams(out, arena, words, count, err);
    free(words);
    vlmp_buffer_free(&tokens);
    return status;
}

int vlmp_caption_build(vlmp_caption *out, vlmp_caption_words *v, const char *hypothesis,
                       char *const *references, size_t count, vlmp_error *err)
{
    *out = (vlmp_caption){0};
    VLMP_TRY(build_sentence(&out->hypothesis, &out->arena, v, hypothesis, err));
    out->references = vlmp_arena_alloc(&out->arena, count, sizeof *out->references);
    if (out->references == NULL) return vlmp_fail_memory(err, "captions");
    for (size_t i = 0; i < count; i++) {
        VLMP_TRY(build_sentence(&out->references[i], &out->arena, v, references[i], err));
        out->reference_count++;
    }
    return VLMP_OK;
}

void vlmp_caption_free(vlmp_caption *caption)
{
    vlmp_arena_free(&caption->arena);
    *caption = (vlmp_caption){0};
}

void vlmp_caption_words_free(vlmp_caption_words *v)
{
    free(v->names);
    free(v->numbers);
    vlmp_arena_free(&v->arena);
    *v = (vlmp_caption_words){0};
}
