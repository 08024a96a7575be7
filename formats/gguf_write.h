/* Writing GGUF files, version 3 (ggml's docs/gguf.md): keys with values, then tensors whose bytes
 * come row by row from the caller. */
#pragma once

#include "src/base/error.h"
#include "src/base/memory.h"
#include "src/base/outfile.h"

#define VLMP_GGUF_MAX_RANK 4
#define VLMP_GGUF_MAX_NAME 63 /* bytes of a tensor's name that ggml reads */

/* Types that are read, of which F32, F16, BF16, Q4_0, Q4_1 and Q8_0 are written. The values are
 * ggml's; blocks and layouts in gguf_blocks.h. */
typedef enum {
    VLMP_GGUF_F32 = 0,
    VLMP_GGUF_F16 = 1,
    VLMP_GGUF_Q4_0 = 2,
    VLMP_GGUF_Q4_1 = 3,
    VLMP_GGUF_Q5_0 = 6,
    VLMP_GGUF_Q5_1 = 7,
    VLMP_GGUF_Q8_0 = 8,
    VLMP_GGUF_Q2_K = 10,
    VLMP_GGUF_Q3_K = 11,
    VLMP_GGUF_Q4_K = 12,
    VLMP_GGUF_Q5_K = 13,
    VLMP_GGUF_Q6_K = 14,
    VLMP_GGUF_IQ4_NL = 20,
    VLMP_GGUF_IQ4_XS = 23,
    VLMP_GGUF_BF16 = 30,
} vlmp_gguf_type;

/* Keys in the order they are put. Start with {0}, free with vlmp_gguf_keys_free. A shortage of
 * memory is kept in bytes.failed and reported by vlmp_gguf_write. */
typedef struct {
    vlmp_buffer bytes; /* encoded */
    uint64_t count;
} vlmp_gguf_keys;

void vlmp_gguf_put_u32(vlmp_gguf_keys *keys, const char *key, uint32_t value);
void vlmp_gguf_put_f32(vlmp_gguf_keys *keys, const char *key, float value);
void vlmp_gguf_put_bool(vlmp_gguf_keys *keys, const char *key, bool value);
void vlmp_gguf_put_text(vlmp_gguf_keys *keys, const char *key, const char *text, size_t length);
void vlmp_gguf_put_string(vlmp_gguf_keys *keys, const char *key, const char *text);
void vlmp_gguf_put_i32s(vlmp_gguf_keys *keys, const char *key, const int32_t *values, size_t count);
void vlmp_gguf_put_f32s(vlmp_gguf_keys *keys, const char *key, const float *values, size_t count);
/* An array of strings: the key with their number, then each. */
void vlmp_gguf_put_texts(vlmp_gguf_keys *keys, const char *key, size_t count);
void vlmp_gguf_add_text(vlmp_gguf_keys *keys, const char *text, size_t length);
void vlmp_gguf_keys_free(vlmp_gguf_keys *keys);

typedef struct {
    const char *name;
    vlmp_gguf_type type;
    int rank;
    int64_t shape[VLMP_GGUF_MAX_RANK]; /* slowest first; the last is a row: whole blocks */
} vlmp_gguf_tensor;

/* Bytes of a row of so many inputs; VLMP_ERR_INPUT names the tensor: no whole blocks. */
int vlmp_gguf_row_bytes(const vlmp_gguf_tensor *tensor, size_t *bytes, vlmp_error *err);

/* Bytes of the whole file. */
int vlmp_gguf_size(const vlmp_gguf_keys *keys, const vlmp_gguf_tensor *tensors, size_t count,
                   uint64_t *bytes, vlmp_error *err);

/* Gives rows first … first + count − 1 of tensors[index], one after another. */
typedef int vlmp_gguf_read_fn(void *arg, size_t index, int64_t first, int64_t count, void *out,
                              vlmp_error *err);

/* Writes some rows at a time. The caller opens the output, commits and aborts it. */
int vlmp_gguf_write(vlmp_outfile *file, const vlmp_gguf_keys *keys, const vlmp_gguf_tensor *tensors,
                    size_t count, vlmp_gguf_read_fn *read, void *arg, vlmp_error *err);
