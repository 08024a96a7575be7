/* A .ref file. */
#include "formats/tensor_file.h"
#include "src/eval/reference.h"
#include "tests/fuzz/st_mutator.h"

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t capacity, unsigned seed)
{
    return fuzz_mutate_header(data, size, capacity, seed, 8);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    vlmp_tensor_file *file;
    vlmp_reference reference;
    vlmp_error err = {0};
    const char *path = fuzz_file("tiny.ref", data, size);
    if (!fuzz_was_read(vlmp_tensor_file_open(&file, path, VLMP_REFERENCE_KEY, "hint", &err), &err))
        return 0;
    int status =
        vlmp_reference_import(&reference, vlmp_tensor_file_find, vlmp_tensor_file_release, file,
                              vlmp_tensor_file_metadata(file), path, temp_path("."), &err);
    vlmp_tensor_file_close(file);
    if (!fuzz_was_read(status, &err)) return 0;
    const vlmp_hidden *h = &reference.hidden;
    if (h->first[h->samples] != h->tokens || h->dim != reference.head.k) abort();
    vlmp_reference_free(&reference);
    return 0;
}
