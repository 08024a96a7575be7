/* model.safetensors.index.json of a folder whose one shard is sound. */
#include "formats/open.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/tiny_model.h"

static void make_folder(void)
{
    static tiny_model tiny;
    tiny_make(&tiny);
    tiny_write(&tiny, "folder");
    tiny_free(&tiny);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    vlmp_source *source;
    vlmp_error err = {0};
    if (fuzz_folder()) make_folder();
    fuzz_file("folder/model.safetensors.index.json", data, size);
    if (!fuzz_was_read(vlmp_model_source_open(&source, temp_path("folder"), &err), &err)) return 0;
    source->close(source);
    return 0;
}
