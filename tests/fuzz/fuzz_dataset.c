/* Data: JSONL, LLaVA conversations, COCO captions, by the name and by the content; every record. */
#include "formats/dataset.h"
#include "tests/fuzz/fuzz.h"

static void read_as(const char *name, const uint8_t *data, size_t size)
{
    vlmp_dataset *set;
    vlmp_error err = {0};
    const char *path = fuzz_file(name, data, size);
    if (!fuzz_was_read(vlmp_dataset_open(&set, path, temp_path("."), &err), &err)) return;
    for (size_t i = 0; i < vlmp_dataset_count(set); i++) {
        vlmp_sample sample;
        err = (vlmp_error){0};
        if (fuzz_was_read(vlmp_dataset_sample(set, i, &sample, &err), &err))
            vlmp_sample_free(&sample);
    }
    vlmp_dataset_close(set);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    read_as("data.jsonl", data, size);
    read_as("data.json", data, size);
    return 0;
}
