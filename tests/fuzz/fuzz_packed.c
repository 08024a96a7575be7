/* A packed file: opened, and every byte verified. */
#include "formats/packed.h"
#include "tests/fuzz/st_mutator.h"

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t capacity, unsigned seed)
{
    return fuzz_mutate_header(data, size, capacity, seed, 64);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    vlmp_source *source;
    vlmp_error err = {0};
    const char *path = fuzz_file("model.vlmp", data, size);
    if (!fuzz_was_read(vlmp_packed_open(&source, path, &err), &err)) return 0;
    fuzz_was_read(vlmp_packed_verify(source, NULL, NULL, &err), &err);
    source->close(source);
    return 0;
}
