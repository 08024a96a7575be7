/* Mutated safetensors headers, shard indices and packed files: every one is read or refused with a
 * message, nothing else. Meant to be built with sanitizers; seeds and number of rounds are
 * arguments. Half of the mutants get their lengths and hashes made good, to reach what lies behind
 * those checks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/open.h"
#include "formats/packed.h"
#include "formats/st_hash.h"
#include "src/base/file.h"
#include "src/base/rng.h"
#include "tests/unit/tiny_model.h"

#define CAPACITY ((size_t)1 << 19)

static vlmp_rng rng;
static unsigned char mutant[CAPACITY];

static size_t below(size_t n)
{
    return (size_t)vlmp_rng_below(&rng, n);
}

static const char *const tokens[] = {"0",
                                     "1",
                                     "18446744073709551615",
                                     "9223372036854775807",
                                     "-1",
                                     "1e9",
                                     "\"",
                                     "{",
                                     "}",
                                     "[",
                                     "]",
                                     ",",
                                     ":",
                                     "64",
                                     "\\",
                                     "\\u0000",
                                     "\xff",
                                     "\\ud800",
                                     "null",
                                     "\"shape\":[",
                                     "true",
                                     "0000"};

static const char *token(void)
{
    return tokens[below(sizeof tokens / sizeof *tokens)];
}

/* Moves bytes [from, length) to `to`; the new length, or the old one when it does not fit. */
static size_t shift(size_t from, size_t to, size_t length)
{
    if (from > length || length - from + to > CAPACITY) return length;
    memmove(mutant + to, mutant + from, length - from);
    return length - from + to;
}

/* One change between byte 8 and limit; returns the new length. */
static size_t change(size_t length, size_t limit)
{
    if (length < 80 || limit < 80) return length;
    size_t at = 8 + below((limit < length ? limit : length) - 8);
    const char *text = token();
    size_t count = strlen(text);
    unsigned char copy[64];
    switch (below(6)) {
    case 0: /* flip a bit */
        mutant[at] ^= (unsigned char)(1u << below(8));
        return length;
    case 1: /* delete */
        return shift(at + 1 + below(12), at, length);
    case 2: /* insert a token */
        length = shift(at, at + count, length);
        if (at + count <= length) memcpy(mutant + at, text, count);
        return length;
    case 3: /* overwrite with a token */
        if (at + count <= length) memcpy(mutant + at, text, count);
        return length;
    case 4: /* copy a piece */
        count = 1 + below(sizeof copy - 1);
        if (at + count > length) return length;
        memcpy(copy, mutant + at, count);
        at = 8 + below(length - 8);
        length = shift(at, at + count, length);
        if (at + count <= length) memcpy(mutant + at, copy, count);
        return length;
    default: /* change a digit */
        while (at < length && (mutant[at] < '0' || mutant[at] > '9'))
            at++;
        if (at < length) mutant[at] = (unsigned char)('0' + below(10));
        return length;
    }
}

static size_t mutate(size_t length, size_t limit)
{
    for (size_t n = 1 + below(4); n > 0; n--)
        length = change(length, limit);
    return length;
}

static void put_length(size_t header)
{
    for (int i = 0; i < 8; i++)
        mutant[i] = (unsigned char)((uint64_t)header >> 8 * i);
}

/* A mutant of the safetensors file seed; pad: the header is filled up to a multiple of pad. */
static size_t mutate_file(const char *seed, size_t length, size_t pad)
{
    uint64_t header;
    memcpy(&header, seed, sizeof header);
    size_t start = 8 + (size_t)header, used = start;
    memcpy(mutant, seed, length);
    if (below(2) == 0) return mutate(length, start);
    while (used > 8 && mutant[used - 1] == ' ')
        used--;
    used = mutate(used, used);
    size_t padded = (used + pad - 1) / pad * pad;
    if (padded + length - start > CAPACITY) return mutate(length, start);
    memset(mutant + used, ' ', padded - used);
    memcpy(mutant + padded, seed + start, length - start);
    put_length(padded - 8);
    size_t at = vlmp_st_header_hash_at(mutant, padded);
    if (at > 0) {
        char hex[VLMP_SHA256_HEX];
        vlmp_error err = {0};
        if (vlmp_st_header_hash(mutant, padded, at, hex, &err) != VLMP_OK) abort();
        memcpy(mutant + at, hex, 64);
    }
    return padded + length - start;
}

/* Opens and, where packed, verifies; counts what was good. */
static bool try_open(const char *name)
{
    vlmp_error err = {0};
    vlmp_source *source = NULL;
    int status = vlmp_model_source_open(&source, temp_path(name), &err);
    if (status == VLMP_OK && strcmp(source->kind, "packed") == 0)
        status = vlmp_packed_verify(source, NULL, NULL, &err);
    if (source != NULL) source->close(source);
    if (status != VLMP_OK && (status != VLMP_ERR_INPUT || err.message[0] == '\0')) {
        fprintf(stderr, "status %d: %s\n", status, err.message);
        abort();
    }
    return status == VLMP_OK;
}

static char *load(const char *path, size_t *length)
{
    char *bytes;
    vlmp_error err = {0};
    if (vlmp_file_read(&bytes, length, path, CAPACITY / 2, &err) != VLMP_OK) abort();
    return bytes;
}

/* The index, eight bytes in front, as mutate leaves them. */
static char *make_index(const tiny_model *tiny, size_t *length)
{
    vlmp_buffer out = {0};
    vlmp_buffer_text(&out, "        {\"metadata\":{},\"weight_map\":{");
    for (size_t i = 0; i < tiny->count; i++)
        vlmp_buffer_printf(&out, "%s\"%s\":\"model.safetensors\"", i > 0 ? "," : "",
                           tiny->tensors[i].name);
    vlmp_buffer_text(&out, "}}");
    if (out.failed) abort();
    *length = out.length;
    return out.data;
}

int main(int argc, char **argv)
{
    static tiny_model tiny;
    void *state = NULL;
    long rounds = argc > 1 ? atol(argv[1]) : 1500;
    rng.state = argc > 2 ? (uint64_t)atol(argv[2]) : 1;
    if (temp_folder_make(&state) != 0) return 1;
    tiny_make(&tiny);
    tiny_write(&tiny, "sharded");
    tiny_write(&tiny, "single");
    size_t packed_length, model_length, index_length;
    char *packed = load(VLMP_SOURCE_ROOT "/tests/golden/packed/tiny.vlmp", &packed_length);
    char *model = load(temp_path("single/model.safetensors"), &model_length);
    char *index = make_index(&tiny, &index_length);
    long good[3] = {0};
    for (long i = 0; i < rounds; i++) {
        temp_write("mutant", mutant, mutate_file(packed, packed_length, 64));
        good[0] += try_open("mutant");
        temp_write("single/model.safetensors", mutant, mutate_file(model, model_length, 8));
        good[1] += try_open("single");
        memcpy(mutant, index, index_length);
        size_t length = mutate(index_length, index_length);
        temp_write("sharded/model.safetensors.index.json", mutant + 8, length - 8);
        good[2] += try_open("sharded");
    }
    printf("%ld rounds, read: %ld packed, %ld safetensors, %ld indices; the others refused\n",
           rounds, good[0], good[1], good[2]);
    free(packed);
    free(model);
    free(index);
    tiny_free(&tiny);
    return temp_folder_remove(&state);
}
