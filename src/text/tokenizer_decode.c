/* Decoding as a stream through the file's decoders. A decoder passes what it can no longer change;
 * ByteFallback keeps a run of bytes until it ends (the whole run is text, or none of it), and the
 * end of the chain keeps bytes of an unfinished character. */
#include <stdlib.h>
#include <string.h>

#include "src/text/tokenizer_internal.h"
#include "src/text/unicode/unicode.h"

struct vlmp_text_stream {
    const vlmp_tokenizer *tokenizer;
    bool skip_special;
    bool started;     /* a token has been printed */
    vlmp_buffer run;  /* ByteFallback's pending bytes */
    vlmp_buffer tail; /* an unfinished character */
    vlmp_buffer scratch[MAX_STAGES];
    size_t tokens_seen[MAX_STAGES];
    uint32_t stripped[MAX_STAGES];
    bool strip_done[MAX_STAGES];
    size_t limit; /* bytes that a stage may make of one token */
    int grown_at; /* the stage that made more, from 1; 0: none */
    vlmp_buffer *out;
};

static int pass(vlmp_text_stream *s, int stage, const char *text, size_t length);

/* Bytes → UTF-8, each maximal malformed part as U+FFFD. */
static void put_lossy(vlmp_text_stream *s, const char *text, size_t length)
{
    vlmp_buffer_append(&s->tail, text, length);
    if (s->tail.failed) return;
    size_t keep = vlmp_utf8_incomplete_tail(s->tail.data, s->tail.length);
    size_t usable = s->tail.length - keep;
    for (size_t at = 0, end = 0; at < usable; at = end) {
        if (vlmp_utf8_next(s->tail.data, usable, &end) == VLMP_UTF8_INVALID)
            vlmp_buffer_text(s->out, "\xef\xbf\xbd");
        else
            vlmp_buffer_append(s->out, s->tail.data + at, end - at);
    }
    memmove(s->tail.data, s->tail.data + usable, keep);
    s->tail.length = keep;
}

/* A token made of byte letters is bytes; any other stands for itself. */
static void pass_byte_level(vlmp_text_stream *s, int stage, const char *text, size_t length)
{
    vlmp_buffer *bytes = &s->scratch[stage];
    bytes->length = 0;
    for (size_t at = 0; at < length;) {
        int byte = vlmp_letter_byte(vlmp_utf8_next(text, length, &at));
        if (byte < 0) {
            put_lossy(s, text, length);
            return;
        }
        char value = (char)byte;
        vlmp_buffer_append(bytes, &value, 1);
    }
    put_lossy(s, bytes->data, bytes->length);
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    c |= 32;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static int flush_run(vlmp_text_stream *s, int stage)
{
    if (s->run.length == 0) return VLMP_OK;
    size_t length = s->run.length;
    s->run.length = 0;
    if (vlmp_utf8_valid(s->run.data, length) == length)
        return pass(s, stage + 1, s->run.data, length);
    for (size_t i = 0; i < length; i++)
        VLMP_TRY(pass(s, stage + 1, "\xef\xbf\xbd", 3));
    return VLMP_OK;
}

static int pass_byte_fallback(vlmp_text_stream *s, int stage, const char *text, size_t length)
{
    if (length == 6 && memcmp(text, "<0x", 3) == 0 && text[5] == '>') {
        int high = hex_digit(text[3]), low = hex_digit(text[4]);
        if (text[3] == '+') high = 0; /* Rust's number parser takes a sign */
        if (high >= 0 && low >= 0) {
            char byte = (char)(high << 4 | low);
            vlmp_buffer_append(&s->run, &byte, 1);
            return VLMP_OK;
        }
    }
    VLMP_TRY(flush_run(s, stage));
    return pass(s, stage + 1, text, length);
}

static int pass_replace(vlmp_text_stream *s, int stage, const char *text, size_t length)
{
    const vlmp_decoder *d = &s->tokenizer->decoders[stage];
    vlmp_buffer *out = &s->scratch[stage];
    out->length = 0;
    for (size_t at = 0; at < length;) {
        const char *hit = memmem(text + at, length - at, d->pattern.text, d->pattern.length);
        size_t end = hit == NULL ? length : (size_t)(hit - text);
        vlmp_buffer_append(out, text + at, end - at);
        if (hit != NULL) vlmp_buffer_append(out, d->content.text, d->content.length);
        at = hit == NULL ? length : end + d->pattern.length;
        if (out->length <= s->limit) continue;
        s->grown_at = stage + 1;
        return VLMP_ERR_INPUT;
    }
    return pass(s, stage + 1, out->data, out->length);
}

static bool begins_with(const char *text, size_t length, vlmp_piece piece)
{
    return length >= piece.length && memcmp(text, piece.text, piece.length) == 0;
}

/* After Fuse there is one token: only the very start of the text is stripped. */
static int pass_strip(vlmp_text_stream *s, int stage, const char *text, size_t length)
{
    const vlmp_decoder *d = &s->tokenizer->decoders[stage];
    uint32_t *cut = &s->stripped[stage];
    bool *done = &s->strip_done[stage];
    if (!d->fused) {
        *cut = 0;
        *done = false;
    }
    while (!*done && length > 0 && *cut < d->start && begins_with(text, length, d->pattern)) {
        text += d->pattern.length;
        length -= d->pattern.length;
        ++*cut;
    }
    if (length > 0) *done = true;
    for (uint32_t i = 0; i < d->stop && length >= d->pattern.length; i++) {
        if (!begins_with(text + length - d->pattern.length, d->pattern.length, d->pattern)) break;
        length -= d->pattern.length;
    }
    return pass(s, stage + 1, text, length);
}

static int pass_metaspace(vlmp_text_stream *s, int stage, const char *text, size_t length)
{
    const vlmp_decoder *d = &s->tokenizer->decoders[stage];
    bool drop = d->drop_first && s->tokens_seen[stage]++ == 0;
    vlmp_buffer *out = &s->scratch[stage];
    out->length = 0;
    for (size_t at = 0, end = 0; at < length; at = end) {
        vlmp_utf8_next(text, length, &end);
        if (end - at != d->pattern.length || !begins_with(text + at, end - at, d->pattern))
            vlmp_buffer_append(out, text + at, end - at);
        else if (!drop)
            vlmp_buffer_append(out, " ", 1);
    }
    return pass(s, stage + 1, out->data, out->length);
}

static int pass(vlmp_text_stream *s, int stage, const char *text, size_t length)
{
    if (stage == s->tokenizer->decoder_count) {
        vlmp_buffer_append(s->out, text, length);
        return VLMP_OK;
    }
    switch (s->tokenizer->decoders[stage].kind) {
    case DECODE_BYTE_LEVEL:
        pass_byte_level(s, stage, text, length);
        return VLMP_OK;
    case DECODE_REPLACE:
        return pass_replace(s, stage, text, length);
    case DECODE_BYTE_FALLBACK:
        return pass_byte_fallback(s, stage, text, length);
    case DECODE_FUSE:
        return pass(s, stage + 1, text, length);
    case DECODE_STRIP:
        return pass_strip(s, stage, text, length);
    case DECODE_METASPACE:
        return pass_metaspace(s, stage, text, length);
    }
    return VLMP_OK;
}

/* status: of pass. */
static int check(const vlmp_text_stream *s, int status, vlmp_error *err)
{
    if (status != VLMP_OK) return vlmp_text_grows(s->tokenizer, "decoder", s->grown_at - 1, err);
    bool failed = s->out->failed || s->run.failed || s->tail.failed;
    for (int i = 0; i < MAX_STAGES; i++)
        failed |= s->scratch[i].failed;
    return failed ? vlmp_fail_memory(err, "decoding tokens") : VLMP_OK;
}

int vlmp_text_stream_push(vlmp_text_stream *s, int32_t id, vlmp_buffer *out, vlmp_error *err)
{
    const vlmp_tokenizer *t = s->tokenizer;
    if (vlmp_tokenizer_token(t, id) == NULL || (s->skip_special && t->special[id])) return VLMP_OK;
    s->out = out;
    if (t->decoder_count == 0 && s->started) vlmp_buffer_text(out, " ");
    s->started = true;
    s->limit = vlmp_grown_limit(t->tokens[id].length);
    return check(s, pass(s, 0, t->tokens[id].text, t->tokens[id].length), err);
}

int vlmp_text_stream_finish(vlmp_text_stream *s, vlmp_buffer *out, vlmp_error *err)
{
    int status = VLMP_OK;
    s->out = out;
    for (int i = 0; i < s->tokenizer->decoder_count && status == VLMP_OK; i++)
        if (s->tokenizer->decoders[i].kind == DECODE_BYTE_FALLBACK) status = flush_run(s, i);
    if (s->tail.length > 0) vlmp_buffer_text(out, "\xef\xbf\xbd");
    s->tail.length = 0;
    return check(s, status, err);
}

int vlmp_text_stream_create(vlmp_text_stream **out, const vlmp_tokenizer *tokenizer,
                            bool skip_special, vlmp_error *err)
{
    *out = calloc(1, sizeof **out);
    if (*out == NULL) return vlmp_fail_memory(err, "decoding tokens");
    (*out)->tokenizer = tokenizer;
    (*out)->skip_special = skip_special;
    return VLMP_OK;
}

void vlmp_text_stream_free(vlmp_text_stream *s)
{
    if (s == NULL) return;
    vlmp_buffer_free(&s->run);
    vlmp_buffer_free(&s->tail);
    for (int i = 0; i < MAX_STAGES; i++)
        vlmp_buffer_free(&s->scratch[i]);
    free(s);
}

int vlmp_tokenizer_decode(const vlmp_tokenizer *t, const int32_t *ids, size_t count,
                          bool skip_special, vlmp_buffer *out, vlmp_error *err)
{
    vlmp_text_stream *s;
    VLMP_TRY(vlmp_text_stream_create(&s, t, skip_special, err));
    int status = VLMP_OK;
    for (size_t i = 0; i < count && status == VLMP_OK; i++)
        status = vlmp_text_stream_push(s, ids[i], out, err);
    if (status == VLMP_OK) status = vlmp_text_stream_finish(s, out, err);
    vlmp_text_stream_free(s);
    return status;
}
