#include <string.h>

#include "src/text/tokenizer_internal.h"
#include "src/text/unicode/unicode.h"

/* A splitter hands its words to the next one; the last to BPE. The depth is that of the pipeline.
 */
static int pass_on(vlmp_cutter *c, int stage, const char *text, size_t length, bool at_start);

static int out_of_memory(vlmp_cutter *c)
{
    return vlmp_fail_memory(c->err, "tokenizing");
}

static int check_growth(vlmp_cutter *c, int stage, const vlmp_buffer *word)
{
    if (word->failed) return out_of_memory(c);
    return word->length <= c->limit ? VLMP_OK
                                    : vlmp_text_grows(c->tokenizer, "pre-tokenizer", stage, c->err);
}

/* Words are the stretches between cuts, as the behaviour puts the delimiters. A delimiter is given
 * with its end; word_start is where the pending word began. */
typedef struct {
    vlmp_cutter *c;
    int stage;
    const char *text;
    size_t word_start, length;
    bool at_start;
    vlmp_behavior behavior;
    bool in_delimiter; /* BEHAVIOR_CONTIGUOUS, MERGED_WITH_PREVIOUS: what the last stretch was */
} word_cut;

static int emit(word_cut *w, size_t end)
{
    size_t start = w->word_start;
    w->word_start = end;
    return pass_on(w->c, w->stage + 1, w->text + start, end - start, w->at_start && start == 0);
}

/* The text between two cuts, of one kind. Empty stretches are left out by the caller. */
static int stretch(word_cut *w, size_t start, size_t end, bool delimiter)
{
    bool previous = w->in_delimiter;
    w->in_delimiter = delimiter;
    switch (w->behavior) {
    case BEHAVIOR_REMOVED:
        if (!delimiter)
            return pass_on(w->c, w->stage + 1, w->text + start, end - start,
                           w->at_start && start == 0);
        return VLMP_OK;
    case BEHAVIOR_ISOLATED:
        return emit(w, end);
    case BEHAVIOR_MERGED_WITH_PREVIOUS:
        /* A delimiter joins the text before it, not another delimiter. */
        if (start > w->word_start && (!delimiter || previous)) VLMP_TRY(emit(w, start));
        return end == w->length ? emit(w, end) : VLMP_OK;
    case BEHAVIOR_MERGED_WITH_NEXT:
        if (start > w->word_start && (delimiter || !previous)) VLMP_TRY(emit(w, start));
        return end == w->length ? emit(w, end) : VLMP_OK;
    case BEHAVIOR_CONTIGUOUS:
        if (start > w->word_start && delimiter != previous) VLMP_TRY(emit(w, start));
        return end == w->length ? emit(w, end) : VLMP_OK;
    }
    return VLMP_OK;
}

static int cut_by_string(vlmp_cutter *c, int stage, const char *text, size_t length, bool at_start,
                         vlmp_piece literal, vlmp_behavior behavior, bool invert)
{
    word_cut w = {c, stage, text, 0, length, at_start, behavior, false};
    size_t at = 0;
    while (at < length) {
        const char *hit = memmem(text + at, length - at, literal.text, literal.length);
        size_t start = hit == NULL ? length : (size_t)(hit - text);
        if (start > at) VLMP_TRY(stretch(&w, at, start, invert));
        if (hit == NULL) break;
        at = start + literal.length;
        VLMP_TRY(stretch(&w, start, at, !invert));
    }
    return VLMP_OK;
}

static int cut_by_class(vlmp_cutter *c, int stage, const char *text, size_t length, bool at_start,
                        bool (*is_delimiter)(uint32_t), vlmp_behavior behavior)
{
    word_cut w = {c, stage, text, 0, length, at_start, behavior, false};
    size_t run_start = 0;
    for (size_t at = 0, end = 0; at < length; at = end) {
        if (!is_delimiter(vlmp_utf8_next(text, length, &end))) continue;
        if (at > run_start) VLMP_TRY(stretch(&w, run_start, at, false));
        VLMP_TRY(stretch(&w, at, end, true));
        run_start = end;
    }
    return length > run_start ? stretch(&w, run_start, length, false) : VLMP_OK;
}

/* \w+|[^\w\s]+ */
static int cut_words(vlmp_cutter *c, int stage, const char *text, size_t length, bool at_start)
{
    enum { NOTHING, WORD, OTHER } kind = NOTHING;
    size_t start = 0;
    for (size_t at = 0, end = 0; at < length; at = end) {
        uint32_t character = vlmp_utf8_next(text, length, &end);
        int now = vlmp_is_word(character) ? WORD : vlmp_is_white_space(character) ? NOTHING : OTHER;
        if (now == (int)kind) continue;
        if (kind != NOTHING)
            VLMP_TRY(pass_on(c, stage + 1, text + start, at - start, at_start && start == 0));
        start = at;
        kind = now;
    }
    if (kind == NOTHING) return VLMP_OK;
    return pass_on(c, stage + 1, text + start, length - start, at_start && start == 0);
}

static int cut_metaspace(vlmp_cutter *c, int stage, const char *text, size_t length, bool at_start)
{
    const vlmp_splitter *s = &c->tokenizer->splitters[stage];
    vlmp_piece mark = s->literal;
    vlmp_buffer *out = &c->scratch[stage];
    out->length = 0;
    bool marked =
        text[0] == ' ' || (length >= mark.length && memcmp(text, mark.text, mark.length) == 0);
    if (!marked && (s->prepend == PREPEND_ALWAYS || (s->prepend == PREPEND_FIRST && at_start)))
        vlmp_buffer_append(out, mark.text, mark.length);
    for (size_t at = 0; at < length;) {
        const char *space = memchr(text + at, ' ', length - at);
        size_t end = space == NULL ? length : (size_t)(space - text);
        vlmp_buffer_append(out, text + at, end - at);
        if (space != NULL) vlmp_buffer_append(out, mark.text, mark.length);
        at = end + 1;
    }
    VLMP_TRY(check_growth(c, stage, out));
    if (!s->split) return pass_on(c, stage + 1, out->data, out->length, at_start);
    return cut_by_string(c, stage, out->data, out->length, at_start, mark,
                         BEHAVIOR_MERGED_WITH_NEXT, false);
}

static int pass_on_bytes(vlmp_cutter *c, int stage, const char *text, size_t length, bool at_start)
{
    vlmp_buffer *out = &c->words[stage];
    out->length = 0;
    for (size_t i = 0; i < length; i++) {
        char letter[4];
        size_t bytes = vlmp_utf8_put(letter, vlmp_byte_letter((unsigned char)text[i]));
        vlmp_buffer_append(out, letter, bytes);
    }
    VLMP_TRY(check_growth(c, stage, out));
    return pass_on(c, stage + 1, out->data, out->length, at_start);
}

static int cut_byte_level(vlmp_cutter *c, int stage, const char *text, size_t length, bool at_start)
{
    const vlmp_splitter *s = &c->tokenizer->splitters[stage];
    if (s->prefix_space && text[0] != ' ') {
        vlmp_buffer *out = &c->scratch[stage];
        out->length = 0;
        vlmp_buffer_append(out, " ", 1);
        vlmp_buffer_append(out, text, length);
        VLMP_TRY(check_growth(c, stage, out));
        text = out->data;
        length = out->length;
    }
    if (s->pattern == PATTERN_NONE) return pass_on_bytes(c, stage, text, length, at_start);
    for (size_t at = 0, end; at < length; at = end) {
        end = vlmp_pattern_next(s->pattern, text, length, at);
        VLMP_TRY(pass_on_bytes(c, stage, text + at, end - at, at_start && at == 0));
    }
    return VLMP_OK;
}

static int pass_on(vlmp_cutter *c, int stage, const char *text, size_t length, bool at_start)
{
    if (length == 0) return VLMP_OK;
    if (stage == c->tokenizer->splitter_count && (c->spent += length) > c->limit)
        return vlmp_text_grows(c->tokenizer, "pre-tokenizer", stage - 1, c->err);
    if (stage == c->tokenizer->splitter_count)
        return vlmp_bpe_encode(c->tokenizer, c->bpe, text, length, c->ids, c->err);
    const vlmp_splitter *s = &c->tokenizer->splitters[stage];
    switch (s->kind) {
    case SPLIT_BYTE_LEVEL:
        return cut_byte_level(c, stage, text, length, at_start);
    case SPLIT_PATTERN:
        for (size_t at = 0, end; at < length; at = end) {
            end = vlmp_pattern_next(s->pattern, text, length, at);
            VLMP_TRY(pass_on(c, stage + 1, text + at, end - at, at_start && at == 0));
        }
        return VLMP_OK;
    case SPLIT_STRING:
        return cut_by_string(c, stage, text, length, at_start, s->literal, s->behavior, s->invert);
    case SPLIT_DIGITS:
        return cut_by_class(c, stage, text, length, at_start, vlmp_is_numeric, s->behavior);
    case SPLIT_METASPACE:
        return cut_metaspace(c, stage, text, length, at_start);
    case SPLIT_WORDS:
        return cut_words(c, stage, text, length, at_start);
    case SPLIT_SPACES:
        return cut_by_class(c, stage, text, length, at_start, vlmp_is_white_space,
                            BEHAVIOR_REMOVED);
    }
    return VLMP_OK;
}

int vlmp_cut(vlmp_cutter *cutter, const char *text, size_t length, bool at_start)
{
    return pass_on(cutter, 0, text, length, at_start);
}
