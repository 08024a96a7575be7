/* Tokenizers as tables: which way of cutting, kinds of tokens, merges by rank. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "src/text/vocabulary.h"

#define BYTE_LEVEL \
    "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"trim_offsets\":true,\"use_regex\":%s}"

static const char model[] =
    "\"model\":{\"type\":\"BPE\",\"unk_token\":\"<unk>\",\"byte_fallback\":true,"
    "\"vocab\":{\"<unk>\":0,\"<s>\":1,\"<0x41>\":2,\"a\":3,\"b\":4,\"ab\":5,\"aba\":6},"
    "\"merges\":[\"a b\",\"ab a\"]},"
    "\"added_tokens\":[{\"id\":1,\"content\":\"<s>\",\"special\":true},"
    "{\"id\":8,\"content\":\"<image>\",\"special\":false}]";

/* The vocabulary of a file with this pipeline; VLMP_OK or what refused it. */
static int vocabulary_of(vlmp_vocabulary *v, vlmp_tokenizer **t, const char *pipeline,
                         vlmp_error *err)
{
    char json[8192];
    static const char config[] = "{\"bos_token\":\"<s>\",\"eos_token\":\"ab\"}";
    snprintf(json, sizeof json, "{%s,%s}", pipeline, model);
    assert_int_equal(vlmp_tokenizer_create(t, json, strlen(json), config, strlen(config), "t", err),
                     VLMP_OK);
    return vlmp_vocabulary_of(v, *t, err);
}

static void sentencepiece(void **state)
{
    (void)state;
    static const char *const pipelines[] = {
        "\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"Prepend\","
        "\"prepend\":\"▁\"},{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},"
        "\"content\":\"▁\"}]}",
        "\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":\"▁\","
        "\"prepend_scheme\":\"first\",\"split\":false}",
    };
    for (size_t i = 0; i < 2; i++) {
        vlmp_vocabulary v;
        vlmp_tokenizer *t;
        vlmp_error err = {0};
        assert_int_equal(vocabulary_of(&v, &t, pipelines[i], &err), VLMP_OK);
        assert_int_equal(v.cut, VLMP_CUT_NONE);
        assert_true(v.prefix_space);
        static const vlmp_piece_kind kinds[] = {
            VLMP_PIECE_UNKNOWN, VLMP_PIECE_CONTROL, VLMP_PIECE_BYTE,
            VLMP_PIECE_NORMAL,  VLMP_PIECE_NORMAL,  VLMP_PIECE_CONTROL, /* eos_token is special */
            VLMP_PIECE_NORMAL,  VLMP_PIECE_ABSENT,  VLMP_PIECE_ADDED};
        assert_int_equal(v.count, 9);
        for (int id = 0; id < v.count; id++)
            assert_int_equal(v.tokens[id].kind, kinds[id]);
        assert_int_equal(v.merge_count, 2);
        assert_int_equal(v.merges[1].left, 5);
        assert_int_equal(v.merges[1].right, 3);
        assert_int_equal(v.tokens[6].rank, 1);
        assert_int_equal(v.tokens[3].rank, -1);
        assert_memory_equal(v.tokens[8].text, "<image>", v.tokens[8].length);
        vlmp_vocabulary_free(&v);
        vlmp_tokenizer_free(t);
    }
}

static void byte_level(void **state)
{
    (void)state;
    char pipeline[4096];
    vlmp_vocabulary v;
    vlmp_tokenizer *t;
    vlmp_error err = {0};
    snprintf(pipeline, sizeof pipeline, "\"pre_tokenizer\":" BYTE_LEVEL, "true");
    assert_int_equal(vocabulary_of(&v, &t, pipeline, &err), VLMP_OK);
    assert_int_equal(v.cut, VLMP_CUT_GPT2);
    assert_false(v.begins_with_bos);
    vlmp_vocabulary_free(&v);
    vlmp_tokenizer_free(t);

    snprintf(pipeline, sizeof pipeline,
             "\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Digits\","
             "\"individual_digits\":true}," BYTE_LEVEL "]},\"post_processor\":{\"type\":"
             "\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"<s>\",\"type_id\":0}},"
             "{\"Sequence\":{\"id\":\"A\",\"type_id\":0}}],\"pair\":[],\"special_tokens\":{\"<s>\":"
             "{\"id\":\"<s>\",\"ids\":[1],\"tokens\":[\"<s>\"]}}}",
             "true");
    assert_int_equal(vocabulary_of(&v, &t, pipeline, &err), VLMP_OK);
    assert_int_equal(v.cut, VLMP_CUT_DIGITS);
    assert_true(v.begins_with_bos);
    assert_false(v.ends_with_eos);
    vlmp_vocabulary_free(&v);
    vlmp_tokenizer_free(t);
}

static void others_are_refused(void **state)
{
    (void)state;
    vlmp_vocabulary v;
    vlmp_tokenizer *t;
    vlmp_error err = {0};
    assert_int_equal(
        vocabulary_of(&v, &t, "\"pre_tokenizer\":{\"type\":\"WhitespaceSplit\"}", &err),
        VLMP_ERR_INPUT);
    assert_non_null(strstr(err.message, "t/tokenizer.json"));
    vlmp_vocabulary_free(&v);
    vlmp_tokenizer_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(sentencepiece),
                                       cmocka_unit_test(byte_level),
                                       cmocka_unit_test(others_are_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
