/* A safetensors file by itself: header, metadata, every tensor's first and last byte. */
#include "formats/safetensors.h"
#include "tests/fuzz/st_mutator.h"

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t capacity, unsigned seed)
{
    return fuzz_mutate_header(data, size, capacity, seed, 8);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    vlmp_safetensors file;
    vlmp_error err = {0};
    const char *path = fuzz_file("model.safetensors", data, size);
    if (!fuzz_was_read(vlmp_safetensors_open(&file, path, &err), &err)) return 0;
    for (size_t i = 0; i < file.count; i++) {
        const vlmp_st_tensor *tensor = &file.tensors[i];
        const unsigned char *bytes = vlmp_safetensors_data(&file, tensor);
        if (tensor->end > tensor->begin)
            fuzz_sink += bytes[0] + bytes[tensor->end - tensor->begin - 1];
        if (vlmp_safetensors_find(&file, tensor->name) != tensor) abort();
    }
    vlmp_safetensors_close(&file);
    return 0;
}
