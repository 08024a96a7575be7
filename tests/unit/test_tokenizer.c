/* tokenizer: ids and decodings of small vocabularies of every form equal those of the `tokenizers`
 * package (tests/golden/text, made by scripts/golden-text.py); bad files are refused by name. */
#include "tests/unit/golden_text.h"

#include "src/base/rng.h"
#include "src/text/unicode/unicode.h"

static void check_ids(const vlmp_tokenizer *t, const char *text, bool special, const cJSON *want)
{
    vlmp_error err = {0};
    vlmp_ids ids = {0};
    assert_int_equal(vlmp_tokenizer_encode(t, text, strlen(text), special, &ids, &err), VLMP_OK);
    if ((int)ids.count != cJSON_GetArraySize(want))
        fail_msg("'%s': %zu ids, not %d", text, ids.count, cJSON_GetArraySize(want));
    size_t i = 0;
    for (const cJSON *id = want->child; id != NULL; id = id->next, i++)
        if (ids.data[i] != id->valueint)
            fail_msg("'%s': id %zu is %d, not %d", text, i, ids.data[i], id->valueint);
    vlmp_ids_free(&ids);
}

/* Token by token, and at once. */
static void check_text(const vlmp_tokenizer *t, const cJSON *ids, bool skip, const char *want)
{
    vlmp_error err = {0};
    vlmp_ids all = {0};
    vlmp_buffer pieces = {0}, whole = {0};
    vlmp_text_stream *stream;
    assert_int_equal(vlmp_text_stream_create(&stream, t, skip, &err), VLMP_OK);
    for (const cJSON *id = ids->child; id != NULL; id = id->next) {
        assert_true(vlmp_ids_push(&all, id->valueint));
        assert_int_equal(vlmp_text_stream_push(stream, id->valueint, &pieces, &err), VLMP_OK);
        assert_int_equal(vlmp_utf8_valid(pieces.data, pieces.length), pieces.length);
    }
    assert_int_equal(vlmp_text_stream_finish(stream, &pieces, &err), VLMP_OK);
    vlmp_text_stream_free(stream);
    assert_int_equal(vlmp_tokenizer_decode(t, all.data, all.count, skip, &whole, &err), VLMP_OK);
    assert_string_equal(whole.length > 0 ? whole.data : "", want);
    assert_string_equal(pieces.length > 0 ? pieces.data : "", want);
    vlmp_ids_free(&all);
    vlmp_buffer_free(&pieces);
    vlmp_buffer_free(&whole);
}

static void check_golden(const char *name, const char *strings)
{
    char file[128];
    snprintf(file, sizeof file, "%s.cases.json", name);
    cJSON *texts = golden_json(strings), *cases = golden_json(file);
    vlmp_tokenizer *t = golden_tokenizer(name, NULL);
    assert_int_equal(cJSON_GetArraySize(texts), cJSON_GetArraySize(cases));
    const cJSON *row = cases->child;
    for (const cJSON *text = texts->child; text != NULL; text = text->next, row = row->next) {
        const char *clean = member_text(row, "clean");
        check_ids(t, text->valuestring, false, vlmp_json_get(row, "ids"));
        check_ids(t, text->valuestring, true, vlmp_json_get(row, "special"));
        check_text(t, vlmp_json_get(row, "special"), false, member_text(row, "text"));
        check_text(t, vlmp_json_get(row, "special"), true,
                   clean != NULL ? clean : text->valuestring);
    }
    vlmp_tokenizer_free(t);
    cJSON_Delete(texts);
    cJSON_Delete(cases);
}

static void ids_and_texts_equal_the_reference(void **state)
{
    (void)state;
    static const char *const names[] = {
        "gpt2",          "qwen2",         "llama3",          "digits",           "digit-runs",
        "flags",         "llama2",        "metaspace-first", "metaspace-always", "metaspace-never",
        "unknown-fused", "unknown-single"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        check_golden(names[i], "strings.json");
    for (int i = 0; i < 10; i++) {
        char name[32];
        snprintf(name, sizeof name, "split-%d", i);
        check_golden(name, "split-strings.json");
    }
}

static void nul_is_a_character(void **state)
{
    (void)state;
    vlmp_tokenizer *t = golden_tokenizer("gpt2", NULL);
    vlmp_error err = {0};
    vlmp_ids ids = {0};
    vlmp_buffer text = {0};
    assert_int_equal(vlmp_tokenizer_encode(t, "a\0b", 3, false, &ids, &err), VLMP_OK);
    assert_int_equal(vlmp_tokenizer_decode(t, ids.data, ids.count, false, &text, &err), VLMP_OK);
    assert_int_equal(text.length, 3);
    assert_memory_equal(text.data, "a\0b", 3);
    vlmp_ids_free(&ids);
    vlmp_buffer_free(&text);
    vlmp_tokenizer_free(t);
}

static void malformed_text_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"ab\x80", "\xc0\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80",
                                      "x\xe6\x97"};
    static const char *const where[] = {"byte 2", "byte 0", "byte 0", "byte 0", "byte 1"};
    vlmp_tokenizer *t = golden_tokenizer("gpt2", NULL);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        vlmp_error err = {0};
        vlmp_ids ids = {0};
        assert_int_equal(vlmp_tokenizer_encode(t, bad[i], strlen(bad[i]), false, &ids, &err),
                         VLMP_ERR_INPUT);
        assert_non_null(strstr(err.message, where[i]));
        vlmp_ids_free(&ids);
    }
    vlmp_tokenizer_free(t);
}

/* A character of four bytes, one byte a token, comes out whole; cut short, as one U+FFFD. */
static void a_stream_holds_back_unfinished_characters(void **state)
{
    (void)state;
    static const char *const letters[] = {"\xc3\xb0", "\xc5\x81", "\xc4\xba", "\xc4\xa2"};
    vlmp_tokenizer *t = golden_tokenizer("gpt2", NULL);
    vlmp_error err = {0};
    vlmp_buffer text = {0};
    vlmp_text_stream *stream;
    assert_int_equal(vlmp_text_stream_create(&stream, t, false, &err), VLMP_OK);
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 4 - round; i++) {
            int32_t id = vlmp_tokenizer_find(t, letters[i]);
            assert_true(id >= 0);
            assert_int_equal(text.length, round * 4);
            assert_int_equal(vlmp_text_stream_push(stream, id, &text, &err), VLMP_OK);
        }
    }
    assert_int_equal(text.length, 4);
    assert_int_equal(vlmp_text_stream_finish(stream, &text, &err), VLMP_OK);
    assert_string_equal(text.data, "\xf0\x9f\x98\x80\xef\xbf\xbd");
    vlmp_text_stream_free(stream);
    vlmp_buffer_free(&text);
    vlmp_tokenizer_free(t);
}

static void the_configuration_names_and_adds_tokens(void **state)
{
    (void)state;
    static const char config[] =
        "{\"bos_token\": \"<s>\", \"eos_token\": {\"content\": \"</s>\"}, \"pad_token\": null,"
        "\"unk_token\": \"nowhere\", \"additional_special_tokens\": [\"image\"],"
        "\"added_tokens_decoder\": {\"9000\": {\"content\": \"<new>\", \"special\": true}}}";
    vlmp_tokenizer *t = golden_tokenizer("gpt2", config);
    vlmp_error err = {0};
    int32_t id;
    assert_string_equal(vlmp_tokenizer_named(t, "bos_token", &id), "<s>");
    assert_int_equal(id, vlmp_tokenizer_find(t, "<s>"));
    assert_string_equal(vlmp_tokenizer_named(t, "eos_token", &id), "</s>");
    assert_null(vlmp_tokenizer_named(t, "pad_token", &id));
    assert_int_equal(id, -1);
    assert_string_equal(vlmp_tokenizer_named(t, "unk_token", &id), "nowhere");
    assert_int_equal(id, -1);
    assert_int_equal(vlmp_tokenizer_find(t, "<new>"), 9000);
    assert_int_equal(vlmp_tokenizer_size(t), 9001);
    assert_null(vlmp_tokenizer_token(t, 8999));
    vlmp_ids ids = {0};
    assert_int_equal(vlmp_tokenizer_encode(t, "<new><new>", 10, false, &ids, &err), VLMP_OK);
    assert_int_equal(ids.count, 2);
    assert_int_equal(ids.data[1], 9000);
    vlmp_ids_free(&ids);
    vlmp_tokenizer_free(t);
}

static void unsupported_parts_are_named(void **state)
{
    (void)state;
    static const char form[] =
        "{\"added_tokens\": [], \"normalizer\": %s, \"pre_tokenizer\": %s,"
        "\"post_processor\": %s, \"decoder\": %s, \"model\": {\"type\": "
        "\"BPE\", \"vocab\": {\"a\": 0, \"b\": 1, \"ab\": 2}, \"merges\": %s}}";
    static const char *const rows[][6] = {
        {"null", "null", "null", "null", "[\"a b\"]", NULL},
        {"{\"type\":\"Lowercase\"}", "null", "null", "null", "[]", "Lowercase"},
        {"{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"x+\"},\"content\":\"\"}", "null", "null",
         "null", "[]", "x+"},
        {"null", "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"\\\\d\"},\"behavior\":\"Isolated\"}",
         "null", "null", "[]", "\\d"},
        {"null", "{\"type\":\"UnicodeScripts\"}", "null", "null", "[]", "UnicodeScripts"},
        {"null", "null", "{\"type\":\"BertProcessing\"}", "null", "[]", "BertProcessing"},
        {"null", "null", "null", "{\"type\":\"WordPiece\"}", "[]", "WordPiece"},
        {"null", "null", "null", "null", "[\"a c\"]", "merge 0"},
        {"null", "null", "null", "null", "[[\"a\"]]", "merge 0"},
        {"null", "null", "null", "null", "{}", "merges"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char json[2048];
        snprintf(json, sizeof json, form, rows[i][0], rows[i][1], rows[i][2], rows[i][3],
                 rows[i][4]);
        vlmp_error err = {0};
        vlmp_tokenizer *t;
        int status = vlmp_tokenizer_create(&t, json, strlen(json), NULL, 0, "test", &err);
        assert_int_equal(status, rows[i][5] == NULL ? VLMP_OK : VLMP_ERR_INPUT);
        if (rows[i][5] == NULL) {
            vlmp_tokenizer_free(t);
            continue;
        }
        assert_null(t);
        assert_non_null(strstr(err.message, "test"));
        assert_non_null(strstr(err.message, rows[i][5]));
    }
}

/* Damaged files give an error or a tokenizer that works; the sanitizers watch. */
static void damaged_files_do_no_harm(void **state)
{
    (void)state;
    static const char *const names[] = {"flags", "llama2", "llama3"};
    static const char sample[] = "Hi <image> 12 \xe6\x97\xa5 photograph";
    vlmp_rng rng = {7};
    size_t refused = 0;
    for (int round = 0; round < 300; round++) {
        char file[64], path[4096], *json;
        size_t length;
        vlmp_error err = {0};
        vlmp_tokenizer *t;
        snprintf(file, sizeof file, "%s.tokenizer.json", names[round % 3]);
        golden_path(path, file);
        assert_int_equal(vlmp_file_read(&json, &length, path, MAX_GOLDEN_BYTES, &err), VLMP_OK);
        for (uint64_t k = vlmp_rng_below(&rng, 4) + 1; k > 0; k--)
            json[vlmp_rng_below(&rng, length)] = "0129-\"[]{}:,ax\\ \x80"[vlmp_rng_below(&rng, 17)];
        if (vlmp_tokenizer_create(&t, json, length, NULL, 0, "test", &err) == VLMP_OK) {
            vlmp_ids ids = {0};
            vlmp_buffer text = {0};
            assert_int_equal(vlmp_tokenizer_encode(t, sample, sizeof sample - 1, true, &ids, &err),
                             VLMP_OK);
            assert_int_equal(vlmp_tokenizer_decode(t, ids.data, ids.count, false, &text, &err),
                             VLMP_OK);
            vlmp_ids_free(&ids);
            vlmp_buffer_free(&text);
            vlmp_tokenizer_free(t);
        } else {
            assert_int_equal(err.code, VLMP_ERR_INPUT);
            refused++;
        }
        free(json);
    }
    assert_true(refused > 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids_and_texts_equal_the_reference),
        cmocka_unit_test(nul_is_a_character),
        cmocka_unit_test(malformed_text_is_refused),
        cmocka_unit_test(a_stream_holds_back_unfinished_characters),
        cmocka_unit_test(the_configuration_names_and_adds_tokens),
        cmocka_unit_test(unsupported_parts_are_named),
        cmocka_unit_test(damaged_files_do_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
