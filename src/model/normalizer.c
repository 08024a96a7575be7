#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "src/model/tokenizer_internal.h"

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

static int compose(vlmp_buffer *text, vlmp_error *err)
{
    if (text->length == 0 || is_ascii(text->data, text->length)) return VLMP_OK;
    utf8proc_uint8_t *composed = NULL;
    utf8proc_ssize_t length =
        utf8proc_map((const utf8proc_uint8_t *)text->data, (utf8proc_ssize_t)text->length,
                     &composed, UTF8PROC_STABLE | UTF8PROC_COMPOSE);
    if (length == UTF8PROC_ERROR_NOMEM) return out_of_memory(err);
    if (length < 0)
        return vlmp_fail(err, VLMP_ERR_INPUT, "a text cannot be brought to the form NFC: %s",
                         utf8proc_errmsg(length));
    text->length = 0;
    vlmp_buffer_append(text, composed, (size_t)length);
    free(composed);
    return text->failed ? out_of_memory(err) : VLMP_OK;
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

static int replace(vlmp_buffer *text, vlmp_piece pattern, vlmp_piece content, vlmp_error *err)
{
    if (text->length == 0) return VLMP_OK;
    vlmp_buffer out = {0};
    const char *at = text->data, *end = text->data + text->length;
    for (;;) {
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
            VLMP_TRY(replace(out, n->pattern, n->content, err));
            break;
        }
    }
    return VLMP_OK;
}
