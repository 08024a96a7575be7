/* config.json, and generation_config.json behind a form feed. */
#include "src/model/config.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static vlmp_config config;
    vlmp_error err = {0};
    size_t length, more_length;
    char *text = fuzz_text(&data, &size, &length);
    char *more = fuzz_text(&data, &size, &more_length);
    int status = vlmp_config_read(&config, text, length, "config.json", &err);
    if (fuzz_was_read(status, &err) && more_length > 0) {
        status = vlmp_config_read_generation(&config, more, more_length, "generation", &err);
        fuzz_was_read(status, &err);
    }
    free(text);
    free(more);
    return 0;
}
