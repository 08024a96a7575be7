/* Folders whose tokenizer is SentencePiece's file: ids and decodings equal those of transformers
 * (tests/golden/text/sentencepiece, made by scripts/golden-sentencepiece.py); files of other kinds
 * and damaged ones are refused by name. */
#include <limits.h>

#include "formats/tokenizer_model.h"
#include "src/base/rng.h"
#include "src/text/sentencepiece.h"
#include "tests/unit/golden_text.h"
#include "tests/unit/temp_folder.h"

#define GOLDEN VLMP_SOURCE_ROOT "/tests/golden/text/sentencepiece/"

struct opened {
    vlmp_arena arena;
    vlmp_source_files files;
};

static int open_folder(struct opened *o, const char *path, vlmp_error *err)
{
    char inside[PATH_MAX];
    *o = (struct opened){0};
    *err = (vlmp_error){0};
    assert_int_equal(vlmp_folder_boundary(inside, sizeof inside, path, err), VLMP_OK);
    assert_int_equal(vlmp_source_files_map(&o->files, path, inside, &o->arena, err), VLMP_OK);
    return vlmp_tokenizer_model_convert(&o->files, path, inside, false, &o->arena, err);
}

static void close_folder(struct opened *o)
{
    vlmp_source_files_close(&o->files);
    vlmp_arena_free(&o->arena);
}

static vlmp_tokenizer *tokenizer_of(const char *path)
{
    struct opened o;
    vlmp_error err;
    vlmp_tokenizer *t;
    if (open_folder(&o, path, &err) != VLMP_OK) fail_msg("%s", err.message);
    const vlmp_source_file *json = vlmp_source_files_find(&o.files, "tokenizer.json");
    const vlmp_source_file *config = vlmp_source_files_find(&o.files, "tokenizer_config.json");
    assert_true(json != NULL && config != NULL);
    if (vlmp_tokenizer_create(&t, json->data, json->length, config->data, config->length, path,
                              &err) != VLMP_OK)
        fail_msg("%s", err.message);
    close_folder(&o);
    return t;
}

static void check_ids(const vlmp_tokenizer *t, const char *text, bool special, const cJSON *want)
{
    vlmp_error err = {0};
    vlmp_ids ids = {0};
    assert_int_equal(vlmp_tokenizer_encode(t, text, strlen(text), special, &ids, &err), VLMP_OK);
    assert_int_equal(ids.count, cJSON_GetArraySize(want));
    const cJSON *id = want->child;
    for (size_t i = 0; i < ids.count; i++, id = id->next)
        if (ids.data[i] != id->valueint)
            fail_msg("'%s': id %zu is %d, not %d", text, i, ids.data[i], id->valueint);
    vlmp_ids_free(&ids);
}

static void check_text(const vlmp_tokenizer *t, const cJSON *ids, bool skip, const char *want)
{
    vlmp_error err = {0};
    vlmp_ids all = {0};
    vlmp_buffer text = {0};
    for (const cJSON *id = ids->child; id != NULL; id = id->next)
        assert_true(vlmp_ids_push(&all, id->valueint));
    assert_int_equal(vlmp_tokenizer_decode(t, all.data, all.count, skip, &text, &err), VLMP_OK);
    assert_string_equal(text.length > 0 ? text.data : "", want);
    vlmp_ids_free(&all);
    vlmp_buffer_free(&text);
}

static void ids_and_texts_equal_the_reference(void **state)
{
    (void)state;
    static const char *const names[] = {"vicuna", "legacy", "renamed"};
    cJSON *texts = golden_json("strings.json");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[512], file[128];
        snprintf(path, sizeof path, GOLDEN "%s", names[i]);
        snprintf(file, sizeof file, "sentencepiece/%s/cases.json", names[i]);
        vlmp_tokenizer *t = tokenizer_of(path);
        cJSON *cases = golden_json(file);
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
        cJSON_Delete(cases);
        vlmp_tokenizer_free(t);
    }
    cJSON_Delete(texts);
}

/* A protobuf by hand: a key of a field, then what follows. */
#define UNKNOWN "\x0a\x09\x0a\x05<unk>\x18\x02"
#define BEGIN   "\x0a\x07\x0a\x03<s>\x18\x03"
#define END     "\x0a\x08\x0a\x04</s>\x18\x03"
#define LETTER         \
    "\x0a\x08\x0a\x01" \
    "a"                \
    "\x15\x00\x00\x80\xbf"
#define BPE       "\x12\x02\x18\x02"
#define PLAIN     "\x1a\x02\x20\x00"
#define NO_PREFIX "\x1a\x02\x18\x00"
#define GOOD      UNKNOWN BEGIN END LETTER BPE PLAIN

static void refused(const char *model, size_t length, const char *message)
{
    struct opened o;
    vlmp_error err;
    temp_write("tokenizer.model", model, length);
    assert_int_equal(open_folder(&o, temp_folder, &err), VLMP_ERR_INPUT);
    if (strstr(err.message, message) == NULL || strstr(err.message, temp_folder) == NULL)
        fail_msg("no '%s' in: %s", message, err.message);
    assert_null(vlmp_source_files_find(&o.files, "tokenizer.json"));
    close_folder(&o);
}

static void other_models_are_named(void **state)
{
    (void)state;
#define REFUSED(model, message) refused(model, sizeof(model) - 1, message)
    REFUSED("", "byte 0: it has no pieces");
    REFUSED("IQ== 0\nIg== 1\n", "no SentencePiece model"); /* tiktoken's ranks */
    REFUSED("version https://git-lfs.github.com/spec/v1\n", "download it again");
    REFUSED(UNKNOWN BEGIN END PLAIN, "of the type unigram");
    REFUSED(UNKNOWN BEGIN END PLAIN "\x12\x02\x18\x04", "of the type char");
    REFUSED(UNKNOWN BEGIN END BPE, "remove_extra_whitespaces");
    REFUSED(GOOD "\x1a\x02\x28\x00", "escape_whitespaces");
    REFUSED(GOOD "\x1a\x03\x12\x01z", "precompiled_charsmap");
    REFUSED(GOOD "\x12\x03\xc0\x01\x01", "treat_whitespace_as_suffix");
    REFUSED(GOOD "\x0a\x05\x0a\x01z\x18\x05", "piece 4 is marked unused");
    REFUSED(GOOD "\x0a\x05\x0a\x01z\x18\x04", "'z' is user-defined");
    REFUSED(GOOD "\x0a\x03\x0a\x01"
                 "a",
            "'a' appears twice");
    REFUSED(GOOD "\x0a\x02\x0a\x00", "byte 50: a piece without text");
    REFUSED(GOOD "\x0a\x03\x0a\x01\xff", "not UTF-8");
    REFUSED(GOOD "\x0a\x03\x0a\x01\x00", "not UTF-8");
    REFUSED(GOOD "\x0a\x05\x0a\x01z\x18\x07", "unknown type");
    REFUSED(GOOD "\x0a\x08\x0a\x01z\x15\x00\x00\xc0\x7f", "no number");
    REFUSED(GOOD "\x0a\x05\x0a\x01z\x10\x01", "another kind");
    REFUSED(GOOD "\x0a\x7f", "longer than what holds it");
    REFUSED(GOOD "\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "longer than what holds it");
    REFUSED(GOOD "\x20\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", "a number without an end");
    REFUSED(GOOD "\x23", "unknown kind");
    REFUSED(GOOD "\x02\x00", "not the start of a field");
    REFUSED(GOOD "\x12\x03\xc0\x02\x03", "unk_id is not the id");
    REFUSED(GOOD "\x12\x03\xc8\x02\x44", "the trainer's id 68 is none of its 4 pieces");
    REFUSED(GOOD "\x12\x06\xc8\x02\xff\xff\xff\x7f", "an id that no piece can have");
#undef REFUSED
}

static void companions_are_checked(void **state)
{
    (void)state;
    static const struct {
        const char *name, *text, *message;
    } rows[] = {
        {"added_tokens.json", "{\"<image>\":4.5}", "added_tokens.json: the added token '<image>'"},
        {"added_tokens.json", "{\"<image>\":4194304}", "an id from 0 to 4194303"},
        {"added_tokens.json", "[\"<image>\"]", "added_tokens.json: not a JSON object"},
        {"tokenizer_config.json", "{\"added_tokens_decoder\":{\"x\":{\"content\":\"y\"}}}",
         "tokenizer_config.json: the added token 'x'"},
        {"tokenizer_config.json", "{\"added_tokens_decoder\":{\"4\":{}}}", "'4' needs a text"},
        {"tokenizer_config.json",
         "{\"added_tokens_decoder\":{\"4\":{\"content\":\"y\",\"lstrip\":1}}}", "'lstrip'"},
        {"tokenizer_config.json", "{\"legacy\":\"no\"}", "'legacy' is not true or false"},
        {"tokenizer_config.json", "{\"add_bos_token\":1}", "'add_bos_token'"},
        {"tokenizer_config.json", "{\"add_prefix_space\":0}", "'add_prefix_space' is not true"},
        {"tokenizer_config.json", "{\"add_prefix_space\":false}",
         "tokenizer_config.json: 'add_prefix_space' is false"},
        {"special_tokens_map.json", "{", "special_tokens_map.json: byte"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        temp_write(rows[i].name, rows[i].text, strlen(rows[i].text));
        refused(GOOD, sizeof GOOD - 1, rows[i].message);
        remove(temp_path(rows[i].name));
    }
}

/* Its default, and false of a model that puts no space in front: no reader does otherwise. */
static void a_prefix_that_is_the_models_is_read(void **state)
{
    (void)state;
    static const struct {
        const char *config, *model;
        size_t length;
    } rows[] = {
        {"{\"add_prefix_space\":true}", GOOD, sizeof GOOD - 1},
        {"{\"add_prefix_space\":null}", GOOD, sizeof GOOD - 1},
        {"{\"add_prefix_space\":false}", GOOD NO_PREFIX, sizeof(GOOD NO_PREFIX) - 1},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        vlmp_ids ids = {0};
        vlmp_error err = {0};
        temp_write("tokenizer_config.json", rows[i].config, strlen(rows[i].config));
        temp_write("tokenizer.model", rows[i].model, rows[i].length);
        vlmp_tokenizer *t = tokenizer_of(temp_folder);
        assert_int_equal(vlmp_tokenizer_encode(t, "a", 1, false, &ids, &err), VLMP_OK);
        assert_int_equal(ids.count, i < 2 ? 2 : 1); /* "▁" is no piece: unknown */
        vlmp_ids_free(&ids);
        vlmp_tokenizer_free(t);
    }
    remove(temp_path("tokenizer_config.json"));
}

/* a, aa, aaa …: of n characters, with n − 1 cuts. */
static void pieces_with_too_many_cuts_are_refused(void **state)
{
    (void)state;
    vlmp_buffer model = {0};
    char text[512];
    memset(text, 'a', sizeof text);
    vlmp_buffer_append(&model, GOOD, sizeof GOOD - 1);
    for (unsigned n = 2; n <= sizeof text; n++) { /* lengths as varints of two bytes */
        const unsigned char head[] = {0x0a, ((n + 3) & 127) | 128, (n + 3) >> 7,
                                      0x0a, (n & 127) | 128,       n >> 7};
        vlmp_buffer_append(&model, head, sizeof head);
        vlmp_buffer_append(&model, text, n);
        if (n != 448) continue;
        struct opened o;
        vlmp_error err;
        temp_write("tokenizer.model", model.data, model.length); /* 29.3 of 32 MiB */
        assert_int_equal(open_folder(&o, temp_folder, &err), VLMP_OK);
        close_folder(&o);
    }
    assert_false(model.failed);
    refused(model.data, model.length, "tokenizer.model: its pieces are cut into others");
    vlmp_buffer_free(&model);
}

/* What the files leave out: names of the trainer's pieces, <s> in front. */
static void a_model_alone_is_enough(void **state)
{
    (void)state;
    temp_write("tokenizer.model", GOOD, sizeof GOOD - 1);
    vlmp_tokenizer *t = tokenizer_of(temp_folder);
    vlmp_ids ids = {0};
    vlmp_error err = {0};
    int32_t id;
    assert_string_equal(vlmp_tokenizer_named(t, "eos_token", &id), "</s>");
    assert_int_equal(id, 2);
    assert_int_equal(vlmp_tokenizer_encode(t, "a</s>?", 6, true, &ids, &err), VLMP_OK);
    static const int32_t want[] = {1, 0, 3, 2, 0}; /* no "▁" among the pieces */
    assert_int_equal(ids.count, 5);
    assert_memory_equal(ids.data, want, sizeof want);
    vlmp_ids_free(&ids);
    vlmp_tokenizer_free(t);
}

/* Damaged files give an error or a tokenizer that works; the sanitizers watch. */
static void damaged_files_do_no_harm(void **state)
{
    (void)state;
    char *model, *damaged;
    size_t length, refusals = 0;
    vlmp_error err = {0};
    vlmp_rng rng = {5};
    assert_int_equal(
        vlmp_file_read(&model, &length, GOLDEN "renamed/tokenizer.model", 1 << 20, &err), 0);
    damaged = malloc(length);
    assert_non_null(damaged);
    for (int round = 0; round < 300; round++) {
        struct opened o;
        memcpy(damaged, model, length);
        for (uint64_t k = vlmp_rng_below(&rng, 4) + 1; k > 0; k--)
            damaged[vlmp_rng_below(&rng, length)] = (char)vlmp_rng_below(&rng, 256);
        temp_write("tokenizer.model", damaged, round % 2 ? length : vlmp_rng_below(&rng, length));
        int status = open_folder(&o, temp_folder, &err);
        close_folder(&o);
        if (status == VLMP_OK)
            vlmp_tokenizer_free(tokenizer_of(temp_folder));
        else
            refusals++;
        assert_true(status == VLMP_OK || status == VLMP_ERR_INPUT);
    }
    assert_true(refusals > 100);
    free(damaged);
    free(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids_and_texts_equal_the_reference),
        cmocka_unit_test(other_models_are_named),
        cmocka_unit_test(companions_are_checked),
        cmocka_unit_test(a_prefix_that_is_the_models_is_read),
        cmocka_unit_test(pieces_with_too_many_cuts_are_refused),
        cmocka_unit_test(a_model_alone_is_enough),
        cmocka_unit_test(damaged_files_do_no_harm),
    };
    return cmocka_run_group_tests_name("tokenizer_model", tests, temp_folder_make,
                                       temp_folder_remove);
}
