#include "src/text/vocabulary.h"

#include <stdlib.h>
#include <string.h>

#include "src/text/tokenizer_internal.h"

static const char meta[] = "▁"; /* SentencePiece's space */

static bool is_text(const vlmp_piece *piece, const char *text)
{
    return piece->length == strlen(text) && memcmp(piece->text, text, piece->length) == 0;
}

/* Prepend "▁" and replace " " by it, as the normalizer (in old files) or the pre-tokenizer. */
static bool is_sentencepiece(const vlmp_tokenizer *t, bool *prefix_space)
{
    bool replaces = false;
    *prefix_space = false;
    for (int i = 0; i < t->normalizer_count; i++) {
        const vlmp_normalizer *n = &t->normalizers[i];
        if (n->kind == NORMALIZE_PREPEND && is_text(&n->content, meta))
            *prefix_space = true;
        else if (n->kind == NORMALIZE_REPLACE && is_text(&n->pattern, " ") &&
                 is_text(&n->content, meta))
            replaces = true;
        else
            return false;
    }
    if (t->splitter_count == 0) return replaces;
    const vlmp_splitter *s = &t->splitters[0];
    if (t->splitter_count != 1 || s->kind != SPLIT_METASPACE || s->split || replaces ||
        !is_text(&s->literal, meta))
        return false;
    *prefix_space = s->prepend != PREPEND_NEVER;
    return true;
}

static bool is_byte_level(const vlmp_splitter *s, vlmp_pattern pattern)
{
    return s->kind == SPLIT_BYTE_LEVEL && s->pattern == pattern;
}

static bool is_split_by(const vlmp_splitter *s, vlmp_pattern pattern)
{
    return s->kind == SPLIT_PATTERN && s->pattern == pattern;
}

/* false: none of them. */
static bool find_cut(const vlmp_tokenizer *t, vlmp_vocabulary *out)
{
    const vlmp_splitter *s = t->splitters;
    if (is_sentencepiece(t, &out->prefix_space)) {
        out->cut = VLMP_CUT_NONE;
        return true;
    }
    out->prefix_space = t->splitter_count > 0 && s[t->splitter_count - 1].prefix_space;
    bool nfc = t->normalizer_count == 1 && t->normalizers[0].kind == NORMALIZE_NFC;
    if (t->splitter_count == 2 && nfc && is_split_by(&s[0], PATTERN_QWEN2) &&
        is_byte_level(&s[1], PATTERN_NONE))
        out->cut = VLMP_CUT_QWEN2;
    else if (t->normalizer_count != 0)
        return false;
    else if (t->splitter_count == 1 && is_byte_level(&s[0], PATTERN_GPT2))
        out->cut = VLMP_CUT_GPT2;
    else if (t->splitter_count == 2 && s[0].kind == SPLIT_DIGITS &&
             s[0].behavior == BEHAVIOR_ISOLATED && is_byte_level(&s[1], PATTERN_GPT2))
        out->cut = VLMP_CUT_DIGITS;
    else if (t->splitter_count == 2 && is_split_by(&s[0], PATTERN_LLAMA3) &&
             is_byte_level(&s[1], PATTERN_NONE))
        out->cut = VLMP_CUT_LLAMA3;
    else
        return false;
    return true;
}

static int by_rank(const void *a, const void *b)
{
    const vlmp_merge *x = a, *y = b;
    return (x->rank > y->rank) - (x->rank < y->rank);
}

static int list_merges(vlmp_vocabulary *out, const vlmp_tokenizer *t, vlmp_error *err)
{
    size_t slots = t->merges == NULL ? 0 : t->merge_mask + 1, count = 0;
    vlmp_merge *sorted = vlmp_alloc(slots, sizeof *sorted);
    out->merges = vlmp_alloc(slots, sizeof *out->merges);
    if (sorted == NULL || out->merges == NULL) {
        free(sorted);
        return vlmp_fail_memory(err, t->where);
    }
    for (size_t i = 0; i < slots; i++)
        if (t->merges[i].id >= 0) sorted[count++] = t->merges[i];
    if (count > 0) qsort(sorted, count, sizeof *sorted, by_rank);
    for (size_t i = 0; i < count; i++) {
        out->merges[i].left = (int32_t)(sorted[i].pair >> 32);
        out->merges[i].right = (int32_t)(uint32_t)sorted[i].pair;
        int32_t *rank = &out->tokens[sorted[i].id].rank;
        if (*rank < 0) *rank = (int32_t)i;
    }
    out->merge_count = (int32_t)count;
    free(sorted);
    return VLMP_OK;
}

static int list_tokens(vlmp_vocabulary *out, const vlmp_tokenizer *t, vlmp_error *err)
{
    out->count = (int32_t)t->size;
    out->tokens = vlmp_alloc(t->size, sizeof *out->tokens);
    if (out->tokens == NULL) return vlmp_fail_memory(err, t->where);
    for (size_t id = 0; id < t->size; id++) {
        const vlmp_piece *piece = &t->tokens[id];
        vlmp_piece_kind kind = piece->text == NULL ? VLMP_PIECE_ABSENT : VLMP_PIECE_NORMAL;
        out->tokens[id] = (vlmp_vocabulary_token){piece->text, piece->length, kind, -1};
    }
    for (size_t i = 0; i < t->added_count; i++) {
        const vlmp_added *a = &t->added[i];
        vlmp_piece_kind kind = t->special[a->id] ? VLMP_PIECE_CONTROL : VLMP_PIECE_ADDED;
        out->tokens[a->id] = (vlmp_vocabulary_token){a->content.text, a->content.length, kind, -1};
    }
    for (int i = 0; i < 256 && t->byte_fallback; i++)
        if (t->bytes[i] >= 0) out->tokens[t->bytes[i]].kind = VLMP_PIECE_BYTE;
    if (t->unknown >= 0) out->tokens[t->unknown].kind = VLMP_PIECE_UNKNOWN;
    return VLMP_OK;
}

int vlmp_vocabulary_of(vlmp_vocabulary *out, const vlmp_tokenizer *t, vlmp_error *err)
{
    *out = (vlmp_vocabulary){.whole_words = t->ignore_merges};
    if (!find_cut(t, out))
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: its normalizer and pre-tokenizer are none of those that have a name "
                         "elsewhere (SentencePiece, GPT-2, SmolLM, Llama-3, Qwen2)",
                         t->where);
    int32_t bos, eos;
    vlmp_tokenizer_named(t, "bos_token", &bos);
    vlmp_tokenizer_named(t, "eos_token", &eos);
    out->begins_with_bos = t->before.count > 0 && bos >= 0 && t->before.data[0] == bos;
    out->ends_with_eos = t->after.count > 0 && eos >= 0 && t->after.data[0] == eos;
    VLMP_TRY(list_tokens(out, t, err));
    return list_merges(out, t, err);
}

void vlmp_vocabulary_free(vlmp_vocabulary *vocabulary)
{
    free(vocabulary->tokens);
    free(vocabulary->merges);
    *vocabulary = (vlmp_vocabulary){0};
}
