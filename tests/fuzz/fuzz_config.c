/* config.json, and generation_config.json behind a form feed. */
#include "src/model/config.h"
#include "src/model/stop_tokens.h"
#include "tests/fuzz/fuzz.h"

static char *texts[2];
static size_t lengths[2];

static const char *file(const vlmp_source *self, const char *name, size_t *length)
{
    (void)self;
    int which = strcmp(name, "config.json") != 0;
    *length = lengths[which];
    return lengths[which] > 0 ? texts[which] : NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static vlmp_config config;
    vlmp_error err = {0};
    for (int i = 0; i < 2; i++)
        texts[i] = fuzz_text(&data, &size, &lengths[i]);
    int status = vlmp_config_read(&config, texts[0], lengths[0], "config.json", &err);
    if (fuzz_was_read(status, &err)) {
        vlmp_source source = {.path = "model", .file = file};
        vlmp_stop_tokens stop;
        if (fuzz_was_read(vlmp_stop_tokens_read(&stop, &source, config.text.vocab, &err), &err))
            vlmp_stop_tokens_free(&stop);
    }
    free(texts[0]);
    free(texts[1]);
    return 0;
}
