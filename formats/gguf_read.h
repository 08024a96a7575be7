/* Reading GGUF files, versions 2 and 3 (ggml's docs/gguf.md). Opening checks the whole header: what
 * it counts is there, nothing is named twice, tensors follow one another and end within the file.
 */
#pragma once

#include "formats/gguf_write.h"
#include "src/base/file.h"

#define VLMP_GGUF_MAX_KEYS    ((uint64_t)1 << 16)
#define VLMP_GGUF_MAX_TENSORS ((uint64_t)1 << 20)

#define VLMP_GGUF_VALUE_TEXT 8 /* type of a value: a length of 8 bytes, and so many bytes */

typedef struct {
    const char *name;
    uint32_t type; /* of the value; of an array's elements */
    bool array;
    uint64_t count;             /* elements of an array */
    const unsigned char *value; /* the first element */
    size_t at;                  /* byte of the file where the key begins, for messages */
} vlmp_gguf_key;

typedef struct {
    vlmp_gguf_tensor about;
    uint64_t offset; /* in the file */
    const unsigned char *data;
    size_t bytes;
} vlmp_gguf_stored;

typedef struct {
    const char *path;
    vlmp_map map;
    vlmp_gguf_key *keys; /* sorted by name */
    size_t key_count;
    vlmp_gguf_stored *tensors; /* in the file's order */
    size_t tensor_count;
    vlmp_arena arena;
} vlmp_gguf_file;

/* Whether the file begins as a GGUF file does. */
int vlmp_gguf_is(bool *out, const char *path, vlmp_error *err);

int vlmp_gguf_open(vlmp_gguf_file *file, const char *path, vlmp_error *err);
void vlmp_gguf_close(vlmp_gguf_file *file); /* of {0} too */

/* NULL when absent. */
const vlmp_gguf_key *vlmp_gguf_find_key(const vlmp_gguf_file *file, const char *name);
const vlmp_gguf_stored *vlmp_gguf_find_tensor(const vlmp_gguf_file *file, const char *name);

/* A single number of any type; fallback when absent. Another kind of value is VLMP_ERR_INPUT. */
int vlmp_gguf_number(const vlmp_gguf_file *file, const char *name, double fallback, double *out,
                     vlmp_error *err);

/* A single truth. */
int vlmp_gguf_truth(const vlmp_gguf_file *file, const char *name, bool fallback, bool *out,
                    vlmp_error *err);

/* An array of numbers; *count 0 when absent. Another kind of value, or one of more than there is
 * room for, is VLMP_ERR_INPUT. */
int vlmp_gguf_numbers(const vlmp_gguf_file *file, const char *name, double *out, size_t room,
                      size_t *count, vlmp_error *err);

/* A single text, which is not NUL-terminated; NULL when absent. Another kind: VLMP_ERR_INPUT. */
int vlmp_gguf_text(const vlmp_gguf_file *file, const char *name, const char **out, size_t *length,
                   vlmp_error *err);
bool vlmp_gguf_text_is(const char *text, size_t length, const char *other);
