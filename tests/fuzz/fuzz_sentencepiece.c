/* tokenizer_config.json, a form feed, tokenizer.model. What is read of the model alone is a
 * tokenizer that encodes and decodes. */
#include "src/text/sentencepiece.h"
#include "src/text/tokenizer.h"
#include "tests/fuzz/fuzz.h"

static void use(const vlmp_json_writer *tokenizer, const vlmp_json_writer *config, bool must)
{
    static const char text[] = " ab  \xe2\x96\x81<s>\xc3\xa9\n a</s>";
    vlmp_tokenizer *t;
    vlmp_error err = {0};
    vlmp_ids ids = {0};
    vlmp_buffer out = {0};
    int status = vlmp_tokenizer_create(&t, tokenizer->out.data, tokenizer->out.length,
                                       config->out.data, config->out.length, "tokenizer", &err);
    if (!fuzz_was_read(status, &err)) {
        if (!must) return;
        fprintf(stderr, "what was converted is refused: %s\n", err.message);
        abort();
    }
    if (vlmp_tokenizer_encode(t, text, sizeof text - 1, true, &ids, &err) != VLMP_OK ||
        vlmp_tokenizer_decode(t, ids.data, ids.count, false, &out, &err) != VLMP_OK)
        abort();
    vlmp_ids_free(&ids);
    vlmp_buffer_free(&out);
    vlmp_tokenizer_free(t);
}

static void convert(const vlmp_sentencepiece *model, const cJSON *config)
{
    vlmp_json_writer tokenizer = {0}, settings = {0};
    vlmp_error err = {0};
    vlmp_sentencepiece_beside beside = {.config = config,
                                        .added = vlmp_json_get(config, "added"),
                                        .special = vlmp_json_get(config, "special"),
                                        .config_where = "config",
                                        .added_where = "added",
                                        .legacy = model->count % 2 == 0};
    int status = vlmp_sentencepiece_convert(&tokenizer, &settings, model, &beside, &err);
    if (fuzz_was_read(status, &err)) use(&tokenizer, &settings, config == NULL);
    vlmp_buffer_free(&tokenizer.out);
    vlmp_buffer_free(&settings.out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t length;
    char *text = fuzz_text(&data, &size, &length);
    cJSON *config = NULL;
    vlmp_sentencepiece model;
    vlmp_error err = {0};
    int status = vlmp_json_parse(&config, text, length, "config", &err);
    if (length == 0 || (status == VLMP_OK && cJSON_IsObject(config))) {
        err = (vlmp_error){0};
        status = vlmp_sentencepiece_read(&model, data, size, "model", &err);
        if (fuzz_was_read(status, &err)) convert(&model, config);
        vlmp_sentencepiece_free(&model);
    }
    cJSON_Delete(config);
    free(text);
    return 0;
}
