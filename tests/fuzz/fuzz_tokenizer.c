/* tokenizer.json, tokenizer_config.json and a text to encode and decode, form feeds between. */
#include "src/text/tokenizer.h"
#include "src/text/unicode/unicode.h"
#include "tests/fuzz/fuzz.h"

static void decode(const vlmp_tokenizer *t, const vlmp_ids *ids)
{
    vlmp_error err = {0};
    vlmp_buffer whole = {0}, pieces = {0};
    vlmp_text_stream *stream;
    if (vlmp_tokenizer_decode(t, ids->data, ids->count, false, &whole, &err) != VLMP_OK ||
        vlmp_text_stream_create(&stream, t, false, &err) != VLMP_OK)
        abort();
    for (size_t i = 0; i < ids->count; i++)
        if (vlmp_text_stream_push(stream, ids->data[i], &pieces, &err) != VLMP_OK) abort();
    if (vlmp_text_stream_finish(stream, &pieces, &err) != VLMP_OK ||
        whole.length != pieces.length ||
        (whole.length > 0 && memcmp(whole.data, pieces.data, whole.length) != 0) ||
        vlmp_utf8_valid(whole.length > 0 ? whole.data : "", whole.length) != whole.length) {
        fprintf(stderr, "decoding: %s\n", err.message);
        abort();
    }
    vlmp_text_stream_free(stream);
    vlmp_buffer_free(&whole);
    vlmp_buffer_free(&pieces);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t json_length, config_length, text_length;
    char *json = fuzz_text(&data, &size, &json_length);
    char *config = fuzz_text(&data, &size, &config_length);
    char *text = fuzz_text(&data, &size, &text_length);
    vlmp_tokenizer *t;
    vlmp_error err = {0};
    int status = vlmp_tokenizer_create(&t, json, json_length, config_length > 0 ? config : NULL,
                                       config_length, "tokenizer", &err);
    if (fuzz_was_read(status, &err)) {
        vlmp_ids ids = {0};
        status = vlmp_tokenizer_encode(t, text, text_length, true, &ids, &err);
        if (fuzz_was_read(status, &err)) decode(t, &ids);
        vlmp_ids_free(&ids);
        vlmp_tokenizer_free(t);
    }
    free(json);
    free(config);
    free(text);
    return 0;
}
