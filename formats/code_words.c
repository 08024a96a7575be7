#include "formats/code_words.h"

#include <string.h>

#include "src/base/packed_parts.h"

const vlmp_word_layout vlmp_words_ct_codes = {0};
const vlmp_word_layout vlmp_words_ct_zeros = {.outputs_together = true};
const vlmp_word_layout vlmp_words_gptq_codes = {.turned = true};
const vlmp_word_layout vlmp_words_gptq_zeros = {
    .outputs_together = true, .turned = true, .less_one = true};
const vlmp_word_layout vlmp_words_gptq_v2_zeros = {.outputs_together = true, .turned = true};
const vlmp_word_layout vlmp_words_awq = {
    .outputs_together = true, .turned = true, .awq_order = true};

void vlmp_words_shape(int64_t shape[2], const vlmp_word_layout *layout, const vlmp_code_rows *rows)
{
    int64_t sides[2] = {rows->outputs, rows->inputs};
    int64_t *together = &sides[layout->outputs_together ? 0 : 1], in_word = VLMP_WORD_BITS;
    in_word /= rows->bits;
    *together = (*together + in_word - 1) / in_word;
    shape[0] = sides[layout->turned ? 1 : 0];
    shape[1] = sides[layout->turned ? 0 : 1];
}

int vlmp_word_shift(const vlmp_word_layout *layout, int64_t i, int bits)
{
    static const int awq_place[8] = {0, 4, 1, 5, 2, 6, 3, 7};
    int lane = (int)(i % (VLMP_WORD_BITS / bits));
    return (layout->awq_order ? awq_place[lane] : lane) * bits;
}

uint32_t vlmp_words_ones(int bits)
{
    return UINT32_MAX / ((1u << bits) - 1);
}

static uint32_t code_at(const vlmp_code_rows *rows, int64_t output, int input)
{
    int low_bits = rows->high != NULL ? vlmp_code_low_bits(VLMP_CODES_U3) : rows->bits;
    const uint8_t *low =
        rows->data + (size_t)output * vlmp_codes_row_bytes((int)rows->inputs, low_bits);
    if (rows->high == NULL) return (uint32_t)vlmp_code_at(low, input, low_bits);
    const uint8_t *high = rows->high + (size_t)output * vlmp_codes_row_bytes((int)rows->inputs, 1);
    return (uint32_t)(vlmp_planes_at(low, high, input, VLMP_CODES_U3) + rows->more);
}

static uint32_t word_of_inputs(const vlmp_code_rows *rows, int64_t output, int64_t index)
{
    size_t row_bytes = vlmp_codes_row_bytes((int)rows->inputs, rows->bits);
    if (rows->high != NULL) {
        int64_t first = index * (VLMP_WORD_BITS / rows->bits), left = rows->inputs - first;
        uint32_t word = 0;
        for (int64_t j = 0; j < VLMP_WORD_BITS / rows->bits && j < left; j++)
            word |= code_at(rows, output, (int)(first + j)) << j * rows->bits;
        return word;
    }
    /* Neighbouring inputs lie as in the word. */
    size_t at = (size_t)index * sizeof(uint32_t), left = row_bytes - at;
    unsigned char bytes[sizeof(uint32_t)] = {0};
    memcpy(bytes, rows->data + (size_t)output * row_bytes + at,
           left < sizeof bytes ? left : sizeof bytes);
    return bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
}

static uint32_t word_of_outputs(const vlmp_word_layout *layout, const vlmp_code_rows *rows,
                                int64_t index, int64_t input)
{
    int64_t first = index * (VLMP_WORD_BITS / rows->bits), left = rows->outputs - first;
    uint32_t word = 0;
    for (int64_t j = 0; j < VLMP_WORD_BITS / rows->bits && j < left; j++)
        word |= code_at(rows, first + j, (int)input) << vlmp_word_shift(layout, j, rows->bits);
    return word;
}

void vlmp_words_put(unsigned char *out, const vlmp_word_layout *layout, const vlmp_code_rows *rows,
                    size_t first, size_t count)
{
    int64_t shape[2];
    vlmp_words_shape(shape, layout, rows);
    size_t columns = (size_t)shape[1], end = first + count;
    /* Down the columns, so that a turned matrix reads along the rows of codes: the words asked for
     * are few rows. */
    for (size_t column = 0; column < columns; column++)
        for (size_t row = (first + columns - 1 - column) / columns; row * columns + column < end;
             row++) {
            int64_t output = (int64_t)(layout->turned ? column : row);
            int64_t input = (int64_t)(layout->turned ? row : column);
            uint32_t word = layout->outputs_together ? word_of_outputs(layout, rows, output, input)
                                                     : word_of_inputs(rows, output, input);
            if (layout->less_one) word -= vlmp_words_ones(rows->bits);
            vlmp_word_store(out + (row * columns + column - first) * sizeof word, word);
        }
}

void vlmp_words_get(uint8_t *out, const vlmp_word_layout *layout, const unsigned char *words,
                    int64_t outputs, int64_t inputs, int bits, int64_t first, int64_t count)
{
    const vlmp_code_rows sizes = {.outputs = outputs, .inputs = inputs, .bits = bits};
    int64_t shape[2], in_word = VLMP_WORD_BITS / bits;
    vlmp_words_shape(shape, layout, &sizes);
    uint32_t ones = layout->less_one ? vlmp_words_ones(bits) : 0, mask = (1u << bits) - 1;
    /* Input by input, so that a turned matrix is read along its rows. */
    for (int64_t input = 0; input < inputs; input++)
        for (int64_t n = first; n < first + count; n++) {
            int64_t output = layout->outputs_together ? n / in_word : n;
            int64_t other = layout->outputs_together ? input : input / in_word;
            int64_t at = layout->turned ? other * shape[1] + output : output * shape[1] + other;
            int shift = vlmp_word_shift(layout, layout->outputs_together ? n : input, bits);
            uint32_t word = vlmp_word_load(words + (size_t)at * sizeof word) + ones;
            out[(n - first) * inputs + input] = (uint8_t)(word >> shift & mask);
        }
}
