/* Data: JSONL, LLaVA conversations, COCO captions, by the name and by the content. */
#include "formats/dataset.h"
#include "tests/fuzz/fuzz.h"

static void read_as(const char *name, const uint8_t *data, size_t size)
{
    vlmp_dataset set = {0};
    vlmp_error err = {0};
    const char *path = fuzz_file(name, data, size);
    if (!fuzz_was_read(vlmp_dataset_read(&set, path, temp_path("."), &err), &err)) return;
    if (set.count == 0) abort();
    vlmp_dataset_free(&set);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    read_as("data.jsonl", data, size);
    read_as("data.json", data, size);
    return 0;
}
