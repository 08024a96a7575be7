/* Exports: what the reference packers make of the golden packed file, byte for byte, and each rule
 * of what engines can express. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "formats/export.h"
#include "src/base/file.h"
#include "src/base/outfolder.h"
#include "src/model/family.h"
#include "tests/unit/temp_folder.h"

#define GOLDEN VLMP_SOURCE_ROOT "/tests/golden/"

static void assert_same_file(const char *a, const char *b)
{
    vlmp_error err = {0};
    char *first, *second;
    size_t length, other;
    assert_int_equal(vlmp_file_read(&first, &length, a, 1 << 20, &err), VLMP_OK);
    assert_int_equal(vlmp_file_read(&second, &other, b, 1 << 20, &err), VLMP_OK);
    assert_int_equal(length, other);
    assert_memory_equal(first, second, length);
    free(first);
    free(second);
}

/* A packed file as a folder of the format is the reference's file of weights. */
static void assert_packs(const char *packed, const char *format, const char *reference)
{
    vlmp_error err = {0};
    vlmp_source *source;
    vlmp_export export;
    vlmp_outfolder folder;
    const vlmp_export_layout *layout = vlmp_export_layout_find(format);
    assert_non_null(layout);
    const vlmp_config config = {.family = &vlmp_family_llava, .text.vocab = 1};
    assert_int_equal(vlmp_packed_open(&source, packed, &err), VLMP_OK);
    assert_int_equal(
        vlmp_export_open(&export, source, &config, layout, VLMP_SERVE_TRANSFORMERS, false, &err),
        VLMP_OK);
    for (size_t i = 0; i < export.count; i++)
        assert_int_not_equal(export.tensors[i].fate, VLMP_EXPORT_CONVERTED);
    assert_int_equal(vlmp_outfolder_open(&folder, temp_path("out"), true, &err), VLMP_OK);
    assert_int_equal(layout->write(&export, &folder, NULL, NULL, &err), VLMP_OK);
    assert_int_equal(vlmp_outfolder_commit(&folder, &err), VLMP_OK);
    assert_same_file(reference, temp_path("out/model.safetensors"));
    vlmp_export_free(&export);
    source->close(source);
}

/* tiny.vlmp has codes that fill no word, zeros that fill none, and all kinds of integer schemes;
 * floats8.vlmp blocks that are cut; gptq.vlmp and awq.vlmp zeros of 0. */
static void writes_what_the_reference_packers_write(void **state)
{
    (void)state;
    assert_null(vlmp_export_layout_find("compressed"));
    assert_packs(GOLDEN "packed/tiny.vlmp", "compressed-tensors",
                 GOLDEN "export/compressed-tensors.safetensors");
    assert_packs(GOLDEN "export/floats8.vlmp", "compressed-tensors",
                 GOLDEN "export/floats8.safetensors");
    assert_packs(GOLDEN "export/floats4.vlmp", "compressed-tensors",
                 GOLDEN "export/floats4.safetensors");
    assert_packs(GOLDEN "export/gptq.vlmp", "gptq", GOLDEN "export/gptq.safetensors");
    assert_packs(GOLDEN "export/awq.vlmp", "awq", GOLDEN "export/awq.safetensors");
}

/* NAME n×k bits group zeros activations. */
typedef struct {
    const char *name;
    int n, k, bits, group;
    bool asymmetric, int8;
} made;

static int check(vlmp_layout layout, vlmp_serve engine, const made *linears, size_t count,
                 vlmp_error *err)
{
    vlmp_packed_linear list[8];
    for (size_t i = 0; i < count; i++)
        list[i] = (vlmp_packed_linear){
            linears[i].name,
            vlmp_scheme_make(vlmp_code_type_of_bits(linears[i].bits), linears[i].group,
                             linears[i].asymmetric ? VLMP_ZEROS_PACKED : VLMP_ZEROS_NONE,
                             linears[i].int8),
            linears[i].n, linears[i].k};
    *err = (vlmp_error){0};
    return vlmp_export_check(layout, engine, list, count, false, "x.vlmp", err);
}

#define O "text.layers.0.attn.o"
#define V "vision.layers.0.attn.o"

/* Each breaks one rule, which the message is known by; NULL: none. */
static const struct {
    vlmp_layout layout;
    vlmp_serve engine;
    made linear;
    const char *message;
} cases[] = {
    {VLMP_LAYOUT_COMPRESSED_TENSORS, VLMP_SERVE_VLLM, {O, 64, 64, 4, 32, false, false}, NULL},
    {VLMP_LAYOUT_COMPRESSED_TENSORS, VLMP_SERVE_VLLM, {O, 64, 64, 4, 32, true, false}, NULL},
    {VLMP_LAYOUT_COMPRESSED_TENSORS, VLMP_SERVE_VLLM, {O, 64, 64, 8, 0, false, true}, NULL},
    {VLMP_LAYOUT_COMPRESSED_TENSORS, VLMP_SERVE_VLLM, {O, 64, 64, 3, 32, false, false}, NULL},
    {VLMP_LAYOUT_AWQ, VLMP_SERVE_VLLM, {O, 64, 64, 3, 32, true, false}, NULL},
    {VLMP_LAYOUT_GPTQ, VLMP_SERVE_VLLM, {O, 64, 68, 3, 0, false, false}, "no whole 32-bit words"},
    {VLMP_LAYOUT_COMPRESSED_TENSORS,
     VLMP_SERVE_VLLM,
     {O, 64, 64, 3, 32, false, true},
     "8-bit weights, one scale an output"},
    {VLMP_LAYOUT_GGUF,
     VLMP_SERVE_LLAMACPP,
     {O, 64, 64, 3, 32, false, false},
     "no type of this format holds 3-bit codes"},
    {VLMP_LAYOUT_COMPRESSED_TENSORS,
     VLMP_SERVE_VLLM,
     {"text.head", 64, 64, 4, 0, false, false},
     NULL},
    {VLMP_LAYOUT_COMPRESSED_TENSORS,
     VLMP_SERVE_VLLM,
     {"text.embed", 64, 64, 8, 0, false, false},
     "embedding tables"},
    {VLMP_LAYOUT_COMPRESSED_TENSORS,
     VLMP_SERVE_VLLM,
     {O, 64, 64, 4, 32, false, true},
     "8-bit weights, one scale an output"},
    {VLMP_LAYOUT_COMPRESSED_TENSORS,
     VLMP_SERVE_VLLM,
     {O, 64, 64, 8, 32, false, true},
     "8-bit weights, one scale an output"},
    {VLMP_LAYOUT_COMPRESSED_TENSORS,
     VLMP_SERVE_VLLM,
     {O, 64, 72, 8, 0, false, true},
     "multiples of 16"},
    {VLMP_LAYOUT_COMPRESSED_TENSORS, VLMP_SERVE_TRANSFORMERS, {O, 64, 72, 8, 0, false, true}, NULL},
    {VLMP_LAYOUT_COMPRESSED_TENSORS,
     VLMP_SERVE_VLLM,
     {O, 64, 64, 8, 32, true, false},
     "know no zero points"},
    {VLMP_LAYOUT_COMPRESSED_TENSORS,
     VLMP_SERVE_TRANSFORMERS,
     {O, 64, 64, 8, 32, true, false},
     NULL},
    {VLMP_LAYOUT_COMPRESSED_TENSORS,
     VLMP_SERVE_SGLANG,
     {O, 64, 64, 4, 32, true, false},
     "as symmetric"},
    {VLMP_LAYOUT_COMPRESSED_TENSORS,
     VLMP_SERVE_SGLANG,
     {"projector.0", 64, 64, 4, 32, false, false},
     "projector"},
    {VLMP_LAYOUT_COMPRESSED_TENSORS,
     VLMP_SERVE_SGLANG,
     {"text.head", 64, 64, 4, 32, false, false},
     "head"},
    {VLMP_LAYOUT_COMPRESSED_TENSORS,
     VLMP_SERVE_VLLM,
     {O, 64, 64, 4, 16, false, false},
     "groups of 32, 64, 128"},
    {VLMP_LAYOUT_COMPRESSED_TENSORS,
     VLMP_SERVE_VLLM,
     {O, 64, 60, 4, 0, false, false},
     "whole 32-bit words"},
    {VLMP_LAYOUT_COMPRESSED_TENSORS,
     VLMP_SERVE_VLLM,
     {O, 60, 64, 4, 0, true, false},
     "zeros of a group"},
    {VLMP_LAYOUT_COMPRESSED_TENSORS, VLMP_SERVE_VLLM, {O, 60, 64, 4, 0, false, false}, NULL},
    {VLMP_LAYOUT_GPTQ, VLMP_SERVE_VLLM, {O, 64, 64, 4, 32, false, false}, NULL},
    {VLMP_LAYOUT_GPTQ, VLMP_SERVE_VLLM, {V, 64, 64, 8, 32, false, false}, NULL},
    {VLMP_LAYOUT_GPTQ, VLMP_SERVE_TRANSFORMERS, {O, 64, 64, 8, 32, true, false}, NULL},
    {VLMP_LAYOUT_GPTQ, VLMP_SERVE_VLLM, {O, 64, 64, 4, 32, true, false}, "symmetric GPTQ"},
    {VLMP_LAYOUT_GPTQ, VLMP_SERVE_VLLM, {O, 64, 64, 4, 0, false, false}, "whole channels here F32"},
    {VLMP_LAYOUT_GPTQ, VLMP_SERVE_VLLM, {O, 64, 64, 8, 0, false, true}, "weights alone"},
    {VLMP_LAYOUT_GPTQ, VLMP_SERVE_VLLM, {O, 64, 64, 4, 16, false, false}, "groups of 32, 64, 128"},
    {VLMP_LAYOUT_GPTQ, VLMP_SERVE_VLLM, {"text.embed", 64, 64, 4, 32, false, false}, "embedding"},
    {VLMP_LAYOUT_GPTQ, VLMP_SERVE_VLLM, {"text.head", 64, 64, 4, 32, false, false}, "dense head"},
    {VLMP_LAYOUT_GPTQ, VLMP_SERVE_VLLM, {"projector.0", 64, 64, 4, 32, false, false}, "projector"},
    {VLMP_LAYOUT_GPTQ, VLMP_SERVE_TRANSFORMERS, {V, 64, 64, 4, 32, false, false}, "text model's"},
    {VLMP_LAYOUT_GPTQ, VLMP_SERVE_VLLM, {O, 64, 60, 4, 0, false, false}, "an output's codes"},
    {VLMP_LAYOUT_GPTQ, VLMP_SERVE_VLLM, {O, 60, 64, 4, 32, false, false}, "zeros of a group"},
    {VLMP_LAYOUT_AWQ, VLMP_SERVE_VLLM, {O, 64, 64, 4, 32, true, false}, NULL},
    {VLMP_LAYOUT_AWQ, VLMP_SERVE_TRANSFORMERS, {V, 64, 64, 4, 32, false, false}, NULL},
    {VLMP_LAYOUT_AWQ, VLMP_SERVE_VLLM, {O, 64, 64, 8, 32, false, false}, "4 bits alone"},
    {VLMP_LAYOUT_AWQ, VLMP_SERVE_VLLM, {O, 60, 64, 4, 32, false, false}, "zeros of a group"},
    {VLMP_LAYOUT_AWQ, VLMP_SERVE_VLLM, {O, 64, 64, 4, 0, false, false}, "whole channels here F32"},
    {VLMP_LAYOUT_AWQ, VLMP_SERVE_VLLM, {"text.head", 64, 64, 4, 32, false, false}, "dense head"},
    {VLMP_LAYOUT_GGUF, VLMP_SERVE_LLAMACPP, {O, 64, 64, 4, 32, true, false}, "a minimum in F16"},
    {VLMP_LAYOUT_GGUF, VLMP_SERVE_LLAMACPP, {O, 64, 64, 4, 32, false, false}, NULL},
    {VLMP_LAYOUT_GGUF,
     VLMP_SERVE_LLAMACPP,
     {O, 64, 64, 4, 0, false, false},
     "those of whole channels"},
    {VLMP_LAYOUT_GGUF, VLMP_SERVE_LLAMACPP, {O, 64, 64, 8, 32, true, false}, "of 8 bits"},
    {VLMP_LAYOUT_GGUF, VLMP_SERVE_LLAMACPP, {O, 64, 80, 8, 0, false, false}, "blocks of 32"},
    {VLMP_LAYOUT_GGUF, VLMP_SERVE_LLAMACPP, {O, 64, 64, 8, 0, false, true}, "weights alone"},
};

static void rules_say_what_fits(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        vlmp_error err;
        int status = check(cases[i].layout, cases[i].engine, &cases[i].linear, 1, &err);
        if (cases[i].message == NULL) {
            assert_int_equal(status, VLMP_OK);
            continue;
        }
        assert_int_equal(status, VLMP_ERR_INPUT);
        if (strstr(err.message, cases[i].message) == NULL ||
            strstr(err.message, cases[i].linear.name) == NULL)
            fail_msg("case %zu: %s", i, err.message);
    }
    vlmp_error err;
    assert_int_equal(check(VLMP_LAYOUT_COMPRESSED_TENSORS, VLMP_SERVE_VLLM, NULL, 0, &err),
                     VLMP_ERR_INPUT);
}

static void what_is_one_product_has_one_scheme(void **state)
{
    (void)state;
    const made whole[] = {{"text.layers.0.attn.q", 64, 64, 4, 32, false, false},
                          {"text.layers.0.attn.k", 64, 64, 4, 32, false, false},
                          {"text.layers.0.attn.v", 64, 64, 4, 32, false, false},
                          {"text.layers.0.mlp.gate", 64, 64, 8, 0, false, false},
                          {"text.layers.0.mlp.up", 64, 64, 8, 0, false, false},
                          {"vision.layers.0.mlp.fc1", 64, 64, 4, 32, false, false}};
    vlmp_error err;
    const vlmp_layout layout = VLMP_LAYOUT_COMPRESSED_TENSORS;
    assert_int_equal(check(layout, VLMP_SERVE_VLLM, whole, 6, &err), VLMP_OK);
    for (int change = 0; change < 4; change++) {
        made broken[6];
        memcpy(broken, whole, sizeof broken);
        if (change == 0) broken[2].group = 64;
        if (change == 1) broken[0].asymmetric = true;
        if (change == 2) broken[4].bits = 4;
        if (change == 3) broken[1].name = "text.layers.1.attn.o"; /* k is kept */
        assert_int_equal(check(layout, VLMP_SERVE_VLLM, broken, 6, &err), VLMP_ERR_INPUT);
        assert_non_null(strstr(err.message, change == 2 ? "mlp.gate" : "attn.q"));
        if (change == 3) assert_non_null(strstr(err.message, "attn.k (kept)"));
        assert_int_equal(check(layout, VLMP_SERVE_TRANSFORMERS, broken, 6, &err), VLMP_OK);
    }
    made mixed[] = {{V, 64, 64, 8, 0, false, true}, {O, 64, 64, 4, 32, false, false}};
    assert_int_equal(check(layout, VLMP_SERVE_VLLM, mixed, 2, &err), VLMP_OK);
    assert_int_equal(check(layout, VLMP_SERVE_SGLANG, mixed, 2, &err), VLMP_ERR_INPUT);
    assert_non_null(strstr(err.message, "one of these"));
    const made sizes[] = {{V, 64, 64, 4, 32, false, false}, {O, 64, 64, 4, 64, false, false}};
    assert_int_equal(check(VLMP_LAYOUT_GPTQ, VLMP_SERVE_VLLM, sizes, 2, &err), VLMP_OK);
    assert_int_equal(check(VLMP_LAYOUT_AWQ, VLMP_SERVE_VLLM, sizes, 2, &err), VLMP_ERR_INPUT);
    assert_non_null(strstr(err.message, "one group size"));
}

/* Codes that stand for floats. */
static void rules_know_floats(void **state)
{
    (void)state;
    static const struct {
        vlmp_code_type codes;
        int group, n, k;
        vlmp_serve engine;
        const char *message; /* NULL: none */
    } floats[] = {
        {VLMP_CODES_FP8, 0, 64, 64, VLMP_SERVE_VLLM, NULL},
        {VLMP_CODES_FP8, 0, 64, 64, VLMP_SERVE_SGLANG, NULL},
        {VLMP_CODES_FP8, 0, 64, 72, VLMP_SERVE_VLLM, "multiples of 16"},
        {VLMP_CODES_FP8, 0, 64, 71, VLMP_SERVE_TRANSFORMERS, NULL},
        {VLMP_CODES_FP8, 128, 128, 128, VLMP_SERVE_VLLM, NULL},
        {VLMP_CODES_FP8, 128, 144, 128, VLMP_SERVE_VLLM, "(fp8 blocks): the engine's kernels"},
        {VLMP_CODES_FP8, 128, 144, 128, VLMP_SERVE_TRANSFORMERS, NULL},
        {VLMP_CODES_MXFP4, 32, 64, 64, VLMP_SERVE_VLLM, NULL},
        {VLMP_CODES_MXFP4, 32, 64, 64, VLMP_SERVE_SGLANG, "not known to load"},
        {VLMP_CODES_NVFP4, 16, 64, 64, VLMP_SERVE_VLLM, NULL},
        {VLMP_CODES_NVFP4, 16, 64, 64, VLMP_SERVE_SGLANG, "not known to load"},
    };
    for (size_t i = 0; i < sizeof floats / sizeof *floats; i++) {
        vlmp_packed_linear linear = {
            O, vlmp_scheme_make(floats[i].codes, floats[i].group, VLMP_ZEROS_NONE, false),
            floats[i].n, floats[i].k};
        vlmp_error err = {0};
        int status = vlmp_export_check(VLMP_LAYOUT_COMPRESSED_TENSORS, floats[i].engine, &linear, 1,
                                       false, "x.vlmp", &err);
        assert_int_equal(status, floats[i].message == NULL ? VLMP_OK : VLMP_ERR_INPUT);
        if (floats[i].message != NULL && strstr(err.message, floats[i].message) == NULL)
            fail_msg("case %zu: %s", i, err.message);
        for (int layout = VLMP_LAYOUT_GPTQ; layout < VLMP_LAYOUTS; layout++)
            assert_int_equal(vlmp_export_check((vlmp_layout)layout, floats[i].engine, &linear, 1,
                                               true, "x.vlmp", &err),
                             VLMP_ERR_INPUT);
    }
}

/* Under other global scales than q's, k would be computed wrongly. */
static void what_is_one_product_has_one_global_scale(void **state)
{
    (void)state;
    static const char *const names[][2] = {
        {"text.layers.0.attn.q", "text.layers.0.attn.k"},
        {"text.layers.0.self_attn.v_proj", "text.layers.0.self_attn.q_proj"},
        {"vision.layers.0.mlp.gate", "vision.layers.0.mlp.up"}};
    const vlmp_layout layout = VLMP_LAYOUT_COMPRESSED_TENSORS;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        vlmp_packed_linear pair[3];
        for (int k = 0; k < 2; k++)
            pair[k] = (vlmp_packed_linear){
                names[i][k], vlmp_scheme_make(VLMP_CODES_NVFP4, 16, VLMP_ZEROS_NONE, false), 64,
                64};
        pair[2] = pair[1];
        if (i == 0) pair[2].name = "text.layers.0.attn.v";
        vlmp_error err = {0};
        assert_int_equal(vlmp_export_check(layout, VLMP_SERVE_VLLM, pair, 3, false, "x", &err),
                         i == 1 ? VLMP_ERR_INPUT : VLMP_OK); /* k is kept */
        if (i == 1) pair[2].name = "text.layers.0.self_attn.k_proj";
        pair[1].scheme.global_scale = 0.5f;
        err = (vlmp_error){0};
        assert_int_equal(vlmp_export_check(layout, VLMP_SERVE_VLLM, pair, 3, false, "x", &err),
                         VLMP_ERR_INPUT);
        assert_non_null(strstr(err.message, "global scale is another"));
        assert_non_null(strstr(err.message, names[i][1]));
        err = (vlmp_error){0};
        assert_int_equal(
            vlmp_export_check(layout, VLMP_SERVE_TRANSFORMERS, pair, 3, false, "x", &err), VLMP_OK);
    }
}

/* Blocks of weights are no groups. */
static void schemes_differ_by_blocks(void **state)
{
    (void)state;
    vlmp_scheme blocks = vlmp_scheme_make(VLMP_CODES_FP8, 128, VLMP_ZEROS_NONE, false);
    vlmp_scheme groups = blocks;
    assert_true(blocks.blocks);
    assert_true(vlmp_scheme_same(&blocks, &groups));
    groups.blocks = false;
    assert_false(vlmp_scheme_same(&blocks, &groups));
}

static void folders_appear_whole_or_not_at_all(void **state)
{
    (void)state;
    vlmp_error err = {0};
    vlmp_outfolder folder, second;
    char path[4096];
    assert_int_equal(vlmp_outfolder_open(&folder, temp_path("whole"), false, &err), VLMP_OK);
    assert_int_equal(vlmp_outfolder_open(&second, temp_path("whole"), false, &err),
                     VLMP_ERR_SYSTEM); /* another run writes it */
    assert_int_equal(vlmp_outfolder_path(path, &folder, "a", &err), VLMP_OK);
    assert_int_equal(vlmp_file_write(path, "1", 1, false, &err), VLMP_OK);
    assert_int_not_equal(access(temp_path("whole"), F_OK), 0);
    vlmp_outfolder_abort(&folder);
    assert_int_not_equal(access(temp_path("whole" VLMP_PART_SUFFIX), F_OK), 0);
    for (int round = 0; round < 2; round++) {
        err = (vlmp_error){0};
        assert_int_equal(vlmp_outfolder_open(&folder, temp_path("whole"), round == 1, &err),
                         VLMP_OK);
        vlmp_outfolder_path(path, &folder, round == 0 ? "a" : "b", &err);
        assert_int_equal(vlmp_file_write(path, "1", 1, false, &err), VLMP_OK);
        assert_int_equal(vlmp_outfolder_commit(&folder, &err), VLMP_OK);
        vlmp_outfolder_abort(&folder);
        assert_int_equal(vlmp_outfolder_check(temp_path("whole"), false, &err), VLMP_ERR_USAGE);
    }
    assert_int_equal(access(temp_path("whole/b"), F_OK), 0);
    assert_int_not_equal(access(temp_path("whole/a"), F_OK), 0);
    assert_int_not_equal(access(temp_path("whole" VLMP_PART_SUFFIX), F_OK), 0);
    temp_write("whole/mine", "x", 1); /* nobody's own file is lost */
    err = (vlmp_error){0};
    assert_int_equal(vlmp_outfolder_open(&folder, temp_path("whole"), true, &err), VLMP_ERR_USAGE);
    assert_non_null(strstr(err.message, "mine"));
    /* What a killed run left is taken over. */
    assert_int_equal(mkdir(temp_path("left" VLMP_PART_SUFFIX), 0700), 0);
    temp_write("left" VLMP_PART_SUFFIX "/old", "x", 1);
    assert_int_equal(vlmp_outfolder_open(&folder, temp_path("left"), false, &err), VLMP_OK);
    assert_int_equal(vlmp_outfolder_commit(&folder, &err), VLMP_OK);
    assert_int_not_equal(access(temp_path("left/old"), F_OK), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_what_the_reference_packers_write),
        cmocka_unit_test(rules_say_what_fits),
        cmocka_unit_test(what_is_one_product_has_one_scheme),
        cmocka_unit_test(rules_know_floats),
        cmocka_unit_test(what_is_one_product_has_one_global_scale),
        cmocka_unit_test(schemes_differ_by_blocks),
        cmocka_unit_test(folders_appear_whole_or_not_at_all),
    };
    return cmocka_run_group_tests(tests, temp_folder_make, temp_folder_remove);
}
