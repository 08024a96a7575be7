/* What the fuzz targets share. Each target is LLVMFuzzerTestOneInput in a file of its own: linked
 * with libFuzzer (option fuzz), or with replay.c, which feeds a corpus and some mutants of it.
 * Every input is read, or refused with a message; nothing else may happen. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/error.h"
#include "tests/unit/temp_folder.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* libFuzzer's own mutation, or replay.c's: at most `capacity` bytes; the new size. */
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t capacity);
/* Optional: a target's mutation, which makes lengths and hashes good again. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t capacity, unsigned seed);

/* Where reads go that a sanitizer is to watch. */
static volatile unsigned fuzz_sink __attribute__((unused));

/* Input is read or refused; whether it was read. */
static inline bool fuzz_was_read(int status, const vlmp_error *err)
{
    bool refused = (status == VLMP_ERR_INPUT || status == VLMP_ERR_USAGE) && err->code == status &&
                   err->message[0] != '\0';
    if (status == VLMP_OK || refused) return status == VLMP_OK;
    fprintf(stderr, "status %d: '%s'\n", status, err->message);
    abort();
}

static inline void fuzz_leave(void)
{
    temp_folder_remove(NULL);
}

/* A folder for this process, made at the first call; whether it is new. */
static inline bool fuzz_folder(void)
{
    if (temp_folder[0] != '\0') return false;
    if (temp_folder_make(NULL) != 0 || atexit(fuzz_leave) != 0) abort();
    return true;
}

/* The path of a file in that folder that holds these bytes. */
static inline const char *fuzz_file(const char *name, const uint8_t *data, size_t size)
{
    fuzz_folder();
    temp_write(name, data, size);
    return temp_path(name);
}

/* Several texts in one input, form feeds between them: the next one as a string of its own, its
 * length in *length. An input that is used up gives an empty string. Free it. */
static inline char *fuzz_text(const uint8_t **data, size_t *size, size_t *length)
{
    const uint8_t *end = *size > 0 ? memchr(*data, '\f', *size) : NULL;
    *length = end != NULL ? (size_t)(end - *data) : *size;
    char *text = malloc(*length + 1);
    if (text == NULL) abort();
    if (*length > 0) memcpy(text, *data, *length);
    text[*length] = '\0';
    size_t used = *length + (end != NULL);
    *data += used;
    *size -= used;
    return text;
}
