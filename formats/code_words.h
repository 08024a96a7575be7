/* Codes and zeros in the 32-bit words of other tools' folders. A matrix [outputs][inputs] (zeros:
 * [outputs][groups]) of b-bit codes becomes words of 32/b codes each, neighbours along one of its
 * sides; the words' matrix has the outputs first, or is turned.
 *
 *   compressed-tensors  codes  inputs together, outputs first
 *                       zeros  outputs together, outputs first
 *   GPTQ                codes  inputs together, turned
 *                       zeros  outputs together, turned, less one (version 1) or as they are (2)
 *   AWQ ("gemm")        codes  outputs together, turned, in AWQ's order
 *                       zeros  likewise
 *
 * Sources: compressed-tensors (compressors/pack_quantized), GPTQModel (PackableQuantLinear.pack,
 * convert_gptq_v2_to_v1_format_module), AutoAWQ (modules/linear/gemm.py). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VLMP_WORD_BITS 32

typedef struct {
    bool outputs_together; /* else inputs, or groups */
    bool turned;           /* words [inputs][outputs]; else [outputs][inputs] */
    bool awq_order;        /* of the 8 codes of a word: 0 2 4 6 1 3 5 7, the first lowest */
    /* Each word has 1 less in every field; the subtraction is that of whole words modulo 2³², so
     * that a field of 0 borrows from the next, and adding whole words gives all zeros back. */
    bool less_one;
} vlmp_word_layout;

extern const vlmp_word_layout vlmp_words_ct_codes, vlmp_words_ct_zeros, vlmp_words_gptq_codes,
    vlmp_words_gptq_zeros, vlmp_words_gptq_v2_zeros, vlmp_words_awq;

/* Rows of codes, low bits first, each from a byte on: the parts of src/base/packed_parts.h. */
typedef struct {
    const uint8_t *data;
    int64_t outputs, inputs;
    int bits; /* 4 or 8 */
    /* Of 3-bit codes, which words have as codes of 4: data is the plane of low bits, this the other
     * (else NULL), and `more` what each code of 4 bits is greater by. */
    const uint8_t *high;
    int more;
} vlmp_code_rows;

/* Sides of the words' matrix. */
void vlmp_words_shape(int64_t shape[2], const vlmp_word_layout *layout, const vlmp_code_rows *rows);

/* The lowest bit of code i in its word, i counted along the side that words hold neighbours of. */
int vlmp_word_shift(const vlmp_word_layout *layout, int64_t i, int bits);

/* What is taken from, or added to, each word where layout->less_one. */
uint32_t vlmp_words_ones(int bits);

static inline uint32_t vlmp_word_load(const unsigned char in[4])
{
    return in[0] | (uint32_t)in[1] << 8 | (uint32_t)in[2] << 16 | (uint32_t)in[3] << 24;
}

static inline void vlmp_word_store(unsigned char out[4], uint32_t word)
{
    for (int b = 0; b < 4; b++)
        out[b] = (unsigned char)(word >> 8 * b);
}

/* Words first … first + count − 1 of the matrix, little-endian; where codes end within a word its
 * rest is 0. */
void vlmp_words_put(unsigned char *out, const vlmp_word_layout *layout, const vlmp_code_rows *rows,
                    size_t first, size_t count);

/* The inverse: codes of outputs first … first + count − 1, one a byte, out[count][inputs], from the
 * whole matrix of words for so many outputs. */
void vlmp_words_get(uint8_t *out, const vlmp_word_layout *layout, const unsigned char *words,
                    int64_t outputs, int64_t inputs, int bits, int64_t first, int64_t count);
