/* Encoding: added tokens cut the text first, the rest goes through normalizer, pre-tokenizer and
 * model. */
#include "src/text/tokenizer.h"

#include <stdlib.h>
#include <string.h>

#include "src/text/tokenizer_internal.h"
#include "src/text/unicode/unicode.h"

bool vlmp_ids_push(vlmp_ids *ids, int32_t id)
{
    if (ids->count == ids->capacity) {
        size_t capacity = ids->capacity < 64 ? 64 : ids->capacity, bytes;
        if (!vlmp_mul_size(capacity, 2, &capacity) ||
            !vlmp_mul_size(capacity, sizeof *ids->data, &bytes))
            return false;
        int32_t *data = realloc(ids->data, bytes);
        if (data == NULL) return false;
        ids->data = data;
        ids->capacity = capacity;
    }
    ids->data[ids->count++] = id;
    return true;
}

void vlmp_ids_free(vlmp_ids *ids)
{
    free(ids->data);
    *ids = (vlmp_ids){0};
}

static size_t space_before(const char *text, size_t at)
{
    while (at > 0) {
        size_t start = vlmp_utf8_back(text, at), end = start;
        if (!vlmp_is_white_space(vlmp_utf8_next(text, at, &end))) break;
        at = start;
    }
    return at;
}

static size_t space_after(const char *text, size_t length, size_t at)
{
    for (size_t end = at; at < length; at = end)
        if (!vlmp_is_white_space(vlmp_utf8_next(text, length, &end))) break;
    return at;
}

/* single_word: no word character may touch the match. */
static bool stands_alone(const char *text, size_t length, size_t start, size_t stop)
{
    if (start > 0) {
        size_t at = vlmp_utf8_back(text, start);
        if (vlmp_is_word(vlmp_utf8_next(text, length, &at))) return false;
    }
    return stop == length || !vlmp_is_word(vlmp_utf8_next(text, length, &stop));
}

typedef struct {
    vlmp_cutter cutter;
    vlmp_buffer normalized;
} encoder;

typedef int piece_fn(encoder *e, const char *text, size_t length, bool at_start);

/* Cuts text at the added tokens of one trie; pieces between them go to rest. */
static int cut_added(encoder *e, const vlmp_trie *trie, const char *text, size_t length,
                     bool at_start, piece_fn *rest)
{
    const vlmp_tokenizer *t = e->cutter.tokenizer;
    if (trie->count == 0) return rest(e, text, length, at_start);
    size_t done = 0;
    for (size_t at = 0; at < length;) {
        size_t matched = 0;
        int32_t index = vlmp_trie_longest(trie, text + at, length - at, &matched);
        if (index < 0) {
            at++;
            continue;
        }
        const vlmp_added *a = &t->added[index];
        size_t start = at, stop = at + matched;
        at = stop;
        if (a->single_word && !stands_alone(text, length, start, stop)) continue;
        if (a->lstrip) {
            start = space_before(text, start);
            if (start < done) start = done;
        }
        if (a->rstrip) stop = space_after(text, length, stop);
        if (done < start) VLMP_TRY(rest(e, text + done, start - done, at_start && done == 0));
        if (!vlmp_ids_push(e->cutter.ids, a->id))
            return vlmp_fail_memory(e->cutter.err, "tokenizing");
        done = stop;
    }
    return done < length ? rest(e, text + done, length - done, at_start && done == 0) : VLMP_OK;
}

int vlmp_text_grows(const vlmp_tokenizer *t, const char *part, int stage, vlmp_error *err)
{
    return vlmp_fail(err, VLMP_ERR_INPUT,
                     "%s: stage %d of the %s makes more than %d times as many bytes of "
                     "a text; no real tokenizer does",
                     t->where, stage + 1, part, VLMP_TEXT_GROWTH);
}

static int encode_words(encoder *e, const char *text, size_t length, bool at_start)
{
    return vlmp_cut(&e->cutter, text, length, at_start);
}

static int encode_piece(encoder *e, const char *text, size_t length, bool at_start)
{
    const vlmp_tokenizer *t = e->cutter.tokenizer;
    if (t->normalizer_count > 0) {
        VLMP_TRY(vlmp_normalize(t, text, length, &e->normalized, e->cutter.err));
        text = e->normalized.data;
        length = e->normalized.length;
    }
    return cut_added(e, &t->normalized, text, length, at_start, encode_words);
}

static int push_all(vlmp_ids *out, const vlmp_ids *ids, vlmp_error *err)
{
    for (size_t i = 0; i < ids->count; i++)
        if (!vlmp_ids_push(out, ids->data[i])) return vlmp_fail_memory(err, "tokenizing");
    return VLMP_OK;
}

int vlmp_tokenizer_encode(const vlmp_tokenizer *t, const char *text, size_t length,
                          bool add_special, vlmp_ids *ids, vlmp_error *err)
{
    size_t valid = vlmp_utf8_valid(text, length);
    if (valid < length)
        return vlmp_fail(err, VLMP_ERR_INPUT, "a text to tokenize: byte %zu: not UTF-8", valid);
    if (add_special) VLMP_TRY(push_all(ids, &t->before, err));
    encoder e = {.cutter = {.tokenizer = t,
                            .ids = ids,
                            .err = err,
                            .limit = vlmp_grown_limit(length),
                            .bpe = vlmp_bpe_create()}};
    int status = e.cutter.bpe == NULL ? vlmp_fail_memory(err, "tokenizing")
                                      : cut_added(&e, &t->raw, text, length, true, encode_piece);
    vlmp_bpe_free(e.cutter.bpe);
    vlmp_buffer_free(&e.normalized);
    for (int i = 0; i < MAX_STAGES; i++) {
        vlmp_buffer_free(&e.cutter.scratch[i]);
        vlmp_buffer_free(&e.cutter.words[i]);
    }
    VLMP_TRY(status);
    return add_special ? push_all(ids, &t->after, err) : VLMP_OK;
}

const char *vlmp_tokenizer_token(const vlmp_tokenizer *t, int32_t id)
{
    return id >= 0 && (size_t)id < t->size ? t->tokens[id].text : NULL;
}

int32_t vlmp_tokenizer_size(const vlmp_tokenizer *t)
{
    return (int32_t)t->size;
}
