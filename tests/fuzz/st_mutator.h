/* A mutator for safetensors files: half of the mutants keep a header whose length is right and
 * which is padded, so that what lies behind those checks is reached. */
#pragma once

#include "formats/st_hash.h"
#include "tests/fuzz/fuzz.h"

/* Puts right the hash that a header of ours carries of itself, where it does. */
static inline void fuzz_mend_hash(uint8_t *data, size_t length)
{
    char hex[VLMP_SHA256_HEX];
    size_t at = vlmp_st_header_hash_at(data, length);
    if (at == 0) return;
    vlmp_st_header_hash(data, length, at, hex);
    memcpy(data + at, hex, VLMP_SHA256_HEX - 1);
}

static inline size_t fuzz_mutate_header(uint8_t *data, size_t size, size_t capacity, unsigned seed,
                                        size_t pad)
{
    uint64_t header = 0;
    if (size >= 8) memcpy(&header, data, 8);
    if (seed % 2 == 0 || header == 0 || header > size - 8)
        return LLVMFuzzerMutate(data, size, capacity);
    size_t start = 8 + (size_t)header, rest = size - start, used = start;
    uint8_t *copy = malloc(capacity + rest + 1);
    if (copy == NULL) abort();
    while (used > 8 && data[used - 1] == ' ')
        used--;
    memcpy(copy, data, used);
    used = 8 + LLVMFuzzerMutate(copy + 8, used - 8, capacity - 8);
    size_t padded = (used + pad - 1) / pad * pad;
    if (padded + rest <= capacity) {
        memset(copy + used, ' ', padded - used);
        memcpy(copy + padded, data + start, rest);
        for (int i = 0; i < 8; i++)
            copy[i] = (uint8_t)((uint64_t)(padded - 8) >> 8 * i);
        fuzz_mend_hash(copy, padded);
        size = padded + rest;
        memcpy(data, copy, size);
    }
    free(copy);
    return size;
}
