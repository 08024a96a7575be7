/* Words of codes: what the reference packers make of the same numbers, and the same words whatever
 * piece of the matrix is asked for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "formats/code_words.h"
#include "src/base/packed_parts.h"

enum { MOST = 64 };

/* The words of the matrix code(output, input), which must be `count`. */
static void assert_words(const vlmp_word_layout *layout, int outputs, int inputs, int bits,
                         int (*code)(int output, int input), const uint32_t *want, size_t count)
{
    uint8_t codes[MOST], rows[MOST * MOST];
    size_t row_bytes = vlmp_codes_row_bytes(inputs, bits);
    for (int n = 0; n < outputs; n++) {
        for (int k = 0; k < inputs; k++)
            codes[k] = (uint8_t)code(n, k);
        vlmp_codes_pack(rows + (size_t)n * row_bytes, codes, inputs, bits);
    }
    vlmp_code_rows from = {.data = rows, .outputs = outputs, .inputs = inputs, .bits = bits};
    int64_t shape[2];
    vlmp_words_shape(shape, layout, &from);
    assert_int_equal(shape[0] * shape[1], count);
    for (size_t piece = 1; piece <= count; piece++) {
        unsigned char out[4 * MOST + 4];
        memset(out, 0xa5, sizeof out);
        for (size_t first = 0; first < count; first += piece)
            vlmp_words_put(out + 4 * first, layout, &from, first,
                           piece < count - first ? piece : count - first);
        for (size_t i = 0; i < count; i++)
            for (int b = 0; b < 4; b++)
                assert_int_equal(out[4 * i + (size_t)b], want[i] >> 8 * b & 0xff);
        assert_int_equal(out[4 * count], 0xa5);
    }
}

static int ramps(int n, int k)
{
    return n == 0 ? k : 15 - k;
}

static int one_to_ten(int n, int k)
{
    (void)n;
    return (k < 7 ? k + 1 : k - 15) + 8;
}

static int bytes(int n, int k)
{
    static const int values[2][4] = {{-128, -1, 0, 127}, {1, 2, 3, 4}};
    return values[n][k] + 128;
}

static int zeros_of_two_groups(int n, int g)
{
    return g == 0 ? n : (n + 8) % 16;
}

static int zeros_of_bytes(int n, int g)
{
    static const int values[] = {-128, 0, 127, 5, -5};
    (void)g;
    return values[n] + 128;
}

static int diagonals(int n, int k)
{
    return (k + 2 * n) % 16;
}

static int eights(int n, int g)
{
    (void)n, (void)g;
    return 8;
}

static int counted(int n, int g)
{
    (void)g;
    return n;
}

static int eight_rows(int n, int k)
{
    return n + 8 * k;
}

/* Vectors of compressed-tensors 0.18's, GPTQModel 7.3's and AutoAWQ 0.2.9's own packers. */
static void are_those_of_the_reference_packers(void **state)
{
    (void)state;
    const uint32_t natural[] = {0x76543210, 0xfedcba98, 0x89abcdef, 0x01234567};
    assert_words(&vlmp_words_ct_codes, 2, 16, 4, ramps, natural, 4);
    const uint32_t ten[] = {0x0fedcba9, 0x00000021};
    assert_words(&vlmp_words_ct_codes, 1, 10, 4, one_to_ten, ten, 2);
    const uint32_t eight_bits[] = {0xff807f00, 0x84838281};
    assert_words(&vlmp_words_ct_codes, 2, 4, 8, bytes, eight_bits, 2);
    const uint32_t zeros[] = {0x76543210, 0xfedcba98, 0x00000098, 0x00000010};
    assert_words(&vlmp_words_ct_zeros, 10, 2, 4, zeros_of_two_groups, zeros, 4);
    const uint32_t zeros_8[] = {0x85ff8000, 0x0000007b};
    assert_words(&vlmp_words_ct_zeros, 5, 1, 8, zeros_of_bytes, zeros_8, 2);
    const uint32_t gptq[] = {0x76543210, 0x98765432, 0xba987654, 0xdcba9876,
                             0xfedcba98, 0x10fedcba, 0x3210fedc, 0x543210fe};
    assert_words(&vlmp_words_gptq_codes, 8, 8, 4, diagonals, gptq, 8);
    assert_words(&vlmp_words_gptq_v2_zeros, 8, 1, 4, eights, (uint32_t[]){0x88888888}, 1);
    assert_words(&vlmp_words_gptq_zeros, 8, 1, 4, eights, (uint32_t[]){0x77777777}, 1);
    assert_words(&vlmp_words_gptq_v2_zeros, 8, 1, 4, counted, (uint32_t[]){0x76543210}, 1);
    assert_words(&vlmp_words_gptq_zeros, 8, 1, 4, counted, (uint32_t[]){0x654320ff}, 1);
    const uint32_t awq[] = {0x75316420, 0xfdb9eca8};
    assert_words(&vlmp_words_awq, 8, 2, 4, eight_rows, awq, 2);
}

/* Both planes of 3-bit codes, as the codes of 4 bits that stand for the same weights. */
static void planes_are_codes_of_4_bits(void **state)
{
    enum { OUTPUTS = 16, INPUTS = 44 };
    static const vlmp_word_layout *const layouts[] = {&vlmp_words_ct_codes, &vlmp_words_gptq_codes,
                                                      &vlmp_words_awq};
    (void)state;
    for (int more = 0; more <= 4; more += 4) {
        uint8_t low[OUTPUTS * INPUTS], high[OUTPUTS * INPUTS], wide[OUTPUTS * INPUTS];
        for (int n = 0; n < OUTPUTS; n++) {
            uint8_t codes[INPUTS];
            for (int k = 0; k < INPUTS; k++)
                codes[k] = (uint8_t)((5 * k + 3 * n + k / 8) % 8);
            vlmp_planes_pack(low + (size_t)n * vlmp_codes_row_bytes(INPUTS, 2),
                             high + (size_t)n * vlmp_codes_row_bytes(INPUTS, 1), codes, INPUTS,
                             VLMP_CODES_U3);
            for (int k = 0; k < INPUTS; k++)
                codes[k] = (uint8_t)(codes[k] + more);
            vlmp_codes_pack(wide + (size_t)n * vlmp_codes_row_bytes(INPUTS, 4), codes, INPUTS, 4);
        }
        vlmp_code_rows four = {.data = wide, .outputs = OUTPUTS, .inputs = INPUTS, .bits = 4};
        vlmp_code_rows three = four;
        three.data = low;
        three.high = high;
        three.more = more;
        for (size_t i = 0; i < sizeof layouts / sizeof *layouts; i++) {
            int64_t shape[2];
            unsigned char want[4 * OUTPUTS * INPUTS], got[4 * OUTPUTS * INPUTS];
            vlmp_words_shape(shape, layouts[i], &four);
            size_t count = (size_t)(shape[0] * shape[1]);
            vlmp_words_put(want, layouts[i], &four, 0, count);
            vlmp_words_put(got, layouts[i], &three, 0, count / 2);
            vlmp_words_put(got + count / 2 * 4, layouts[i], &three, count / 2, count - count / 2);
            assert_memory_equal(got, want, 4 * count);
        }
    }
}

/* Whole words plus one in each field: the zeros again, also where a zero of 0 has borrowed. */
static void one_less_is_undone(void **state)
{
    (void)state;
    for (int bits = 4; bits <= 8; bits += 4)
        for (int first = 0; first < 1 << bits; first++) {
            int in_word = VLMP_WORD_BITS / bits;
            uint8_t rows[8];
            for (int i = 0; i < in_word; i++)
                rows[i] = (uint8_t)((first * (i + 1)) & ((1 << bits) - 1));
            unsigned char out[4], want[4];
            vlmp_code_rows from = {.data = rows, .outputs = in_word, .inputs = 1, .bits = bits};
            vlmp_words_put(out, &vlmp_words_gptq_zeros, &from, 0, 1);
            vlmp_words_put(want, &vlmp_words_gptq_v2_zeros, &from, 0, 1);
            uint32_t word =
                out[0] | (uint32_t)out[1] << 8 | (uint32_t)out[2] << 16 | (uint32_t)out[3] << 24;
            vlmp_word_store(out, word + vlmp_words_ones(bits));
            assert_memory_equal(out, want, 4);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(are_those_of_the_reference_packers),
        cmocka_unit_test(planes_are_codes_of_4_bits),
        cmocka_unit_test(one_less_is_undone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
