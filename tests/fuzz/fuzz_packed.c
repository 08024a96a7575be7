/* A packed file: opened, and every byte verified. */
#include "formats/packed.h"
#include "formats/packed_layout.h"
#include "tests/fuzz/st_mutator.h"

static void mend(uint8_t *data, size_t length)
{
    char hex[VLMP_SHA256_HEX];
    vlmp_error err = {0};
    size_t at = vlmp_packed_header_hash_at(data, length);
    if (at == 0) return;
    if (vlmp_packed_header_hash(data, length, at, hex, &err) != VLMP_OK) abort();
    memcpy(data + at, hex, VLMP_SHA256_HEX - 1);
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t capacity, unsigned seed)
{
    return fuzz_mutate_header(data, size, capacity, seed, 64, mend);
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
