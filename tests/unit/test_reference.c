#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "formats/safetensors_write.h"
#include "formats/tensor_file.h"
#include "src/eval/reference.h"
#include "tests/unit/temp_folder.h"

#define HINT "make it again"
#define HEX  "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

enum { TOKENS = 5, DIM = 8, VOCAB = 12, PADDED = 20 };

/* Two samples of two and three tokens; a head whose rows from VOCAB on are padding. */
static float states[TOKENS * DIM], head[PADDED * DIM];
static int32_t targets[TOKENS] = {3, 11, 0, 7, 2};
static int first[] = {0, 2, 5};
static int32_t ids[2][5] = {{1, 4, 4, 3, 11}, {1, 4, 0, 7, 2}};

static char model_name[] = "a model";

static void fill(void)
{
    for (int i = 0; i < TOKENS * DIM; i++)
        states[i] = sinf((float)i);
    for (int i = 0; i < VOCAB * DIM; i++)
        head[i] = cosf(3 * (float)i);
}

static vlmp_sequence sequence(int index, vlmp_span *answer)
{
    return (vlmp_sequence){.length = 5, .ids = ids[index], .answer_count = 1, .answers = answer};
}

static void digest(const vlmp_sequence *sequences, int count, char hex[VLMP_SHA256_HEX])
{
    vlmp_sha256 hash;
    vlmp_sha256_start(&hash);
    for (int i = 0; i < count; i++)
        vlmp_tokens_digest_add(&hash, &sequences[i]);
    vlmp_sha256_finish(&hash, hex);
}

static int check_all(const vlmp_reference *r, const vlmp_sequence *sequences, int count)
{
    char hex[VLMP_SHA256_HEX];
    vlmp_error err = {0};
    for (int i = 0; i < count; i++)
        VLMP_TRY(vlmp_reference_check_sample(r, i, &sequences[i], "m", &err));
    digest(sequences, count, hex);
    return vlmp_reference_check_all(r, count, hex, "m", &err);
}

static void make(vlmp_reference *r, int vocab)
{
    fill();
    *r = (vlmp_reference){
        .name = model_name,
        .where = model_name,
        .model = {.tensors = HEX, .files = {HEX}},
        .side = {DIM, vocab, VOCAB, 512, HEX},
        .itself = "f123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
        .data_digest = HEX,
        .hidden = {.samples = 2,
                   .first = first,
                   .tokens = TOKENS,
                   .dim = DIM,
                   .targets = targets,
                   .states = {.rows = TOKENS, .dim = DIM, .memory = states, .fd = -1}},
        .head = {.n = vocab, .k = DIM, .weight = head, .dtype = VLMP_F32},
        .head_memory = head};
    vlmp_span spans[] = {{3, 5}, {2, 5}};
    vlmp_sequence sequences[] = {sequence(0, &spans[0]), sequence(1, &spans[1])};
    digest(sequences, 2, r->tokens_digest);
}

static void save(const vlmp_reference *r, const char *name)
{
    vlmp_error err = {0};
    vlmp_arena arena = {0};
    vlmp_tensor *tensors;
    size_t count;
    const char *metadata;
    assert_int_equal(vlmp_reference_export(r, &arena, &tensors, &count, &metadata, &err), 0);
    vlmp_outfile file;
    assert_int_equal(vlmp_outfile_open(&file, temp_path(name), true, &err), 0);
    assert_int_equal(vlmp_tensor_file_write(&file, VLMP_REFERENCE_KEY, metadata, tensors, count,
                                            NULL, NULL, &err),
                     0);
    vlmp_outfile_abort(&file);
    vlmp_arena_free(&arena);
}

static int load(vlmp_reference *out, const char *name, vlmp_error *err)
{
    vlmp_tensor_file *file;
    const char *path = temp_path(name);
    *out = (vlmp_reference){0};
    VLMP_TRY(vlmp_tensor_file_open(&file, path, VLMP_REFERENCE_KEY, HINT, err));
    int status = vlmp_tensor_file_verify(file, NULL, NULL, err);
    if (status == VLMP_OK)
        status = vlmp_reference_import(out, vlmp_tensor_file_find, vlmp_tensor_file_release, file,
                                       vlmp_tensor_file_metadata(file), path, ".", err);
    vlmp_tensor_file_close(file);
    return status;
}

static void saved_is_read_back(void **state)
{
    (void)state;
    vlmp_error err = {0};
    vlmp_reference r, back;
    make(&r, VOCAB);
    save(&r, "r.ref");
    bool is;
    assert_int_equal(vlmp_tensor_file_is(&is, temp_path("r.ref"), VLMP_REFERENCE_KEY, &err), 0);
    assert_true(is);
    assert_int_equal(vlmp_tensor_file_is(&is, temp_path("r.ref"), VLMP_CALIBRATION_KEY, &err), 0);
    assert_false(is);
    if (load(&back, "r.ref", &err) != 0) fail_msg("%s", err.message);
    assert_string_equal(back.name, r.name);
    assert_null(vlmp_identity_difference(&back.model, &r.model));
    assert_string_equal(back.itself, r.itself);
    assert_memory_equal(&back.side, &r.side, sizeof r.side);
    assert_string_equal(back.tokens_digest, r.tokens_digest);
    assert_memory_equal(back.hidden.states.memory, states, sizeof states);
    assert_memory_equal(back.hidden.first, first, sizeof first);
    assert_memory_equal(back.head.weight, head, VOCAB * DIM * sizeof *head);
    vlmp_reference_free(&back);
}

/* Every bit of the file is under a hash. */
static void any_flipped_bit_is_refused(void **state)
{
    (void)state;
    vlmp_reference r, back;
    make(&r, VOCAB);
    save(&r, "r.ref");
    char *bytes;
    size_t length;
    vlmp_error err = {0};
    assert_int_equal(vlmp_file_read(&bytes, &length, temp_path("r.ref"), 1 << 20, &err), 0);
    for (size_t at = 0; at < length; at++) {
        bytes[at] ^= (char)(1 << at % 8);
        temp_write("bad.ref", bytes, length);
        bytes[at] ^= (char)(1 << at % 8);
        err = (vlmp_error){0};
        if (load(&back, "bad.ref", &err) != VLMP_ERR_INPUT || err.message[0] == '\0')
            fail_msg("byte %zu of %zu: status %d", at, length, err.code);
    }
    free(bytes);
}

static void a_file_without_hashes_is_old(void **state)
{
    (void)state;
    vlmp_error err = {0};
    vlmp_reference back;
    const vlmp_st_pair pair = {VLMP_REFERENCE_KEY, "{\"version\":1}", 13};
    assert_int_equal(
        vlmp_safetensors_write(temp_path("old.ref"), true, NULL, 0, &pair, 1, NULL, NULL, &err), 0);
    assert_int_equal(load(&back, "old.ref", &err), VLMP_ERR_INPUT);
    assert_non_null(strstr(err.message, "no hashes"));
    assert_non_null(strstr(err.message, HINT));
}

static void other_tokens_are_refused(void **state)
{
    (void)state;
    vlmp_reference r;
    make(&r, VOCAB);
    vlmp_span spans[] = {{3, 5}, {2, 5}};
    vlmp_sequence sequences[] = {sequence(0, &spans[0]), sequence(1, &spans[1])};
    assert_int_equal(check_all(&r, sequences, 2), 0);
    assert_int_equal(check_all(&r, sequences, 1), VLMP_ERR_INPUT);
    spans[0].from = 2;
    assert_int_equal(check_all(&r, sequences, 2), VLMP_ERR_INPUT);
    /* A digest that lies: the stored tokens are compared too. */
    digest(sequences, 2, r.tokens_digest);
    assert_int_equal(check_all(&r, sequences, 2), VLMP_ERR_INPUT);
    spans[0].from = 3;
    int32_t changed[] = {1, 4, 4, 3, 10};
    sequences[0].ids = changed;
    digest(sequences, 2, r.tokens_digest);
    assert_int_equal(check_all(&r, sequences, 2), VLMP_ERR_INPUT);
}

static void only_padding_may_differ(void **state)
{
    (void)state;
    vlmp_error err = {0};
    int common;
    const vlmp_side plain = {DIM, VOCAB, VOCAB, 512, HEX};
    vlmp_side other = plain;
    assert_int_equal(vlmp_side_check(&plain, "m", &other, "r", &common, &err), 0);
    assert_int_equal(common, VOCAB);
    other.vocabulary = PADDED;
    assert_int_equal(vlmp_side_check(&plain, "m", &other, "r", &common, &err), 0);
    assert_int_equal(common, VOCAB);
    assert_int_equal(vlmp_side_check(&other, "m", &plain, "r", &common, &err), 0);
    assert_int_equal(common, VOCAB);
    other.token_ids = VOCAB + 1;
    assert_int_equal(vlmp_side_check(&plain, "m", &other, "r", &common, &err), VLMP_ERR_INPUT);
    assert_int_equal(vlmp_side_check(&other, "m", &plain, "r", &common, &err), VLMP_ERR_INPUT);
    other = plain;
    other.width++;
    assert_int_equal(vlmp_side_check(&plain, "m", &other, "r", &common, &err), VLMP_ERR_INPUT);
    other = plain;
    other.processor[0] = 'f';
    assert_int_equal(vlmp_side_check(&plain, "m", &other, "r", &common, &err), VLMP_ERR_INPUT);
    other = plain;
    other.context = 1;
    assert_int_equal(vlmp_side_check(&plain, "m", &other, "r", &common, &err), 0);
}

/* The same weights with padding behind, either way round: no difference. */
static void padding_is_not_scored(void **state)
{
    (void)state;
    vlmp_error err = {0};
    vlmp_pool *pool;
    vlmp_ctx *ctx;
    assert_int_equal(vlmp_pool_create(&pool, 1, &err), 0);
    assert_int_equal(vlmp_ctx_create(&ctx, VLMP_BACKEND_CPU, NULL, pool, &err), 0);
    vlmp_reference r;
    double nll[3][TOKENS];
    for (int way = 0; way < 3; way++) {
        make(&r, VOCAB);
        vlmp_linear narrow = r.head, wide = r.head;
        wide.n = PADDED;
        vlmp_scored model = {&r.hidden, way == 1 ? &wide : &narrow};
        vlmp_scored reference = {&r.hidden, way == 2 ? &wide : &narrow};
        vlmp_token_scores scores = {0};
        assert_int_equal(vlmp_score_tokens(ctx, &model, &reference, VOCAB, &scores, &err), 0);
        assert_int_equal(scores.samples, 2);
        assert_int_equal(scores.tokens, TOKENS);
        for (int i = 0; i < TOKENS; i++) {
            nll[way][i] = scores.nll[i];
            /* Kernels may order sums by the number of rows: F32 logits of size 8, 2⁻²¹. */
            assert_true(fabs(scores.kl[i]) < 1e-6 && scores.top1[i]);
            assert_true(fabs(nll[way][i] - nll[0][i]) < 1e-6);
        }
        vlmp_scores_free(&scores);
    }
    vlmp_ctx_free(ctx);
    vlmp_pool_free(pool);
}

static void an_identity_names_what_differs(void **state)
{
    (void)state;
    vlmp_error err = {0};
    vlmp_identity a = {.tensors = HEX}, b;
    memcpy(a.files[0], HEX, sizeof HEX);
    memcpy(a.files[4], HEX, sizeof HEX);
    vlmp_json_writer w = {0};
    cJSON *tree;
    vlmp_identity_write(&a, &w);
    assert_int_equal(vlmp_json_parse(&tree, w.out.data, w.out.length, "x", &err), 0);
    assert_int_equal(vlmp_identity_read(&b, tree, "x", &err), 0);
    assert_null(vlmp_identity_difference(&a, &b));
    b.files[4][0] = 'f';
    assert_string_equal(vlmp_identity_difference(&a, &b), "tokenizer.json");
    memset(b.files[0], 0, sizeof b.files[0]);
    assert_string_equal(vlmp_identity_difference(&a, &b), "config.json");
    b.tensors[0] = 'f';
    assert_string_equal(vlmp_identity_difference(&a, &b), "weights");
    cJSON_Delete(tree);
    vlmp_buffer_free(&w.out);
    static const char *const bad[] = {"{}",
                                      "[]",
                                      "{\"tensors\":\"12\"}",
                                      "{\"tensors\":\"" HEX "\",\"files\":{\"x\":\"" HEX "\"}}",
                                      "{\"tensors\":\"" HEX "\",\"files\":[\"" HEX "\"]}",
                                      "{\"tensors\":\"" HEX "\",\"files\":{\"config.json\":1}}"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(vlmp_json_parse(&tree, bad[i], strlen(bad[i]), "x", &err), 0);
        assert_int_equal(vlmp_identity_read(&b, tree, "x", &err), VLMP_ERR_INPUT);
        cJSON_Delete(tree);
    }
    assert_int_equal(vlmp_identity_read(&b, NULL, "x", &err), VLMP_ERR_INPUT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(saved_is_read_back),
        cmocka_unit_test(any_flipped_bit_is_refused),
        cmocka_unit_test(a_file_without_hashes_is_old),
        cmocka_unit_test(other_tokens_are_refused),
        cmocka_unit_test(only_padding_may_differ),
        cmocka_unit_test(padding_is_not_scored),
        cmocka_unit_test(an_identity_names_what_differs),
    };
    return cmocka_run_group_tests(tests, temp_folder_make, temp_folder_remove);
}
