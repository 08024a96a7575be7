#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "src/text/tokenizer_internal.h"
#include "src/text/unicode/unicode.h"

static int out_of_memory(vlmp_error *err)
{
    return vlmp_fail_memory(err, "normalizing a text");
}

static bool is_ascii(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if ((unsigned char)text[i] >= 0x80) return false;
    return true;
}

static bool decomposes(uint32_t c)
{
    const utf8proc_property_t *property = utf8proc_get_property((utf8proc_int32_t)c);
    return property->decomp_type == 0 && property->decomp_seqindex != UINT16_MAX;
}

/* The reference normalizes by an older Unicode version than utf8proc: marks and compositions that
 * came later are plain characters to it, which nothing moves across. U+11A7 is no Hangul vowel or
 * consonant, but utf8proc 2.8 composes it away after a syllable. */
static bool is_plain_to_reference(uint32_t c)
{
    const utf8proc_property_t *property = utf8proc_get_property((utf8proc_int32_t)c);
    return c == 0x11a7 || (property->combining_class != 0 && !vlmp_is_combining(c)) ||
           (decomposes(c) && !vlmp_is_decomposing(c));
}

/* Appends composed text; a composition that the reference does not know is taken apart again. */
static void put_composed(vlmp_buffer *out, const char *text, size_t length)
{
    for (size_t at = 0, end = 0; at < length; at = end) {
        uint32_t c = vlmp_utf8_next(text, length, &end);
        utf8proc_int32_t parts[8];
        utf8proc_ssize_t count = 0;
        if (c >= 0x300 && decomposes(c) && !vlmp_is_decomposing(c))
            count =
                utf8proc_decompose_char((utf8proc_int32_t)c, parts, 8, UTF8PROC_DECOMPOSE, NULL);
        if (count < 1 || count > 8) vlmp_buffer_append(out, text + at, end - at);
        for (utf8proc_ssize_t i = 0; count <= 8 && i < count; i++) {
            char bytes[4];
            vlmp_buffer_append(out, bytes, vlmp_utf8_put(bytes, (uint32_t)parts[i]));
        }
    }
}

/* A stretch without such characters. */
static int compose_stretch(vlmp_buffer *out, const char *text, size_t length, vlmp_error *err)
{
    if (is_ascii(text, length)) {
        vlmp_buffer_append(out, text, length);
        return VLMP_OK;
    }
    utf8proc_uint8_t *composed = NULL;
    utf8proc_ssize_t composed_length =
        utf8proc_map((const utf8proc_uint8_t *)text, (utf8proc_ssize_t)length, &composed,
                     UTF8PROC_STABLE | UTF8PROC_COMPOSE);
    if (composed_length == UTF8PROC_ERROR_NOMEM) return out_of_memory(err);
    if (composed_length < 0)
        return vlmp_fail(err, VLMP_ERR_INPUT, "a text cannot be brought to the form NFC: %s",
                         utf8proc_errmsg(composed_length));
    put_composed(out, (const char *)composed, (size_t)composed_length);
    free(composed);
    return VLMP_OK;
}

static int compose(vlmp_buffer *text, vlmp_error *err)
{
    if (text->length == 0 || is_ascii(text->data, text->length)) return VLMP_OK;
    vlmp_buffer out = {0};
    int status = VLMP_OK;
    size_t start = 0;
    for (size_t at = 0, end = 0; at < text->length && status == VLMP_OK; at = end) {
        uint32_t c = vlmp_utf8_next(text->data, text->length, &end);
        if (c < 0x300 || !is_plain_to_reference(c)) continue;
        status = compose_stretch(&out, text->data + start, at - start, err);
        vlmp_buffer_append(&out, text->data + at, end - at);
        start = end;
    }
    if (status == VLMP_OK)
        status = compose_stretch(&out, text->data + start, text->length - start, err);
    vlmp_buffer_free(text);
    *text = out;
    return status == VLMP_OK && out.failed ? out_of_memory(err) : status;
}

static int prepend(vlmp_buffer *text, vlmp_piece content, vlmp_error *err)
{
    if (text->length == 0 || content.length == 0) return VLMP_OK;
    size_t old = text->length;
    vlmp_buffer_append(text, content.text, content.length);
    if (text->failed) return out_of_memory(err);
    memmove(text->data + content.length, text->data, old);
    memcpy(text->data, content.text, content.length);
    return VLMP_OK;
}

/* Stops when the text has more than limit bytes; the caller looks. */
static int replace(vlmp_buffer *text, vlmp_piece pattern, vlmp_piece content, size_t limit,
                   vlmp_error *err)
{
    if (text->length == 0) return VLMP_OK;
    vlmp_buffer out = {0};
    const char *at = text->data, *end = text->data + text->length;
    while (out.length <= limit) {
        const char *hit = memmem(at, (size_t)(end - at), pattern.text, pattern.length);
        vlmp_buffer_append(&out, at, (size_t)((hit == NULL ? end : hit) - at));
        if (hit == NULL) break;
        vlmp_buffer_append(&out, content.text, content.length);
        at = hit + pattern.length;
    }
    vlmp_buffer_free(text);
    *text = out;
    return out.failed ? out_of_memory(err) : VLMP_OK;
}

int vlmp_normalize(const vlmp_tokenizer *t, const char *text, size_t length, vlmp_buffer *out,
                   vlmp_error *err)
{
    size_t limit = vlmp_grown_limit(length);
    out->length = 0;
    vlmp_buffer_append(out, text, length);
    if (out->failed) return out_of_memory(err);
    for (int i = 0; i < t->normalizer_count; i++) {
        const vlmp_normalizer *n = &t->normalizers[i];
        switch (n->kind) {
        case NORMALIZE_NFC:
            VLMP_TRY(compose(out, err));
            break;
        case NORMALIZE_PREPEND:
            VLMP_TRY(prepend(out, n->content, err));
            break;
        case NORMALIZE_REPLACE:
            VLMP_TRY(replace(out, n->pattern, n->content, limit, err));
            break;
        }
        if (out->length > limit) return vlmp_text_grows(t, "normalizer", i, err);
    }
    return VLMP_OK;
}
