/* Folders of other tools: the weights that their own code makes of them, and what must be refused.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "formats/open.h"
#include "formats/packed.h"
#include "formats/safetensors_write.h"
#include "src/base/file.h"
#include "src/base/json.h"
#include "src/base/packed_parts.h"
#include "src/model/family.h"
#include "tests/unit/temp_folder.h"

#define GOLDEN  VLMP_SOURCE_ROOT "/tests/golden/import/"
#define EXPORTS VLMP_SOURCE_ROOT "/tests/golden/export/"

static const vlmp_tensor *part_of(const vlmp_source *source, const char *linear,
                                  vlmp_packed_part part)
{
    char name[VLMP_NAME_BYTES + 16];
    snprintf(name, sizeof name, "%s.%s", linear, vlmp_packed_part_name(part, VLMP_CODES_U4));
    return source->find(source, name);
}

/* Weights [n][k] of a packed linear against those of the reference: equal. */
static void assert_weights(const vlmp_source *source, const char *linear, int64_t n, int64_t k,
                           const unsigned char *want)
{
    const vlmp_scheme *scheme = source->scheme(source, linear);
    assert_non_null(scheme);
    const vlmp_tensor *codes = part_of(source, linear, VLMP_PACKED_CODES);
    const vlmp_tensor *scales = part_of(source, linear, VLMP_PACKED_SCALES);
    const vlmp_tensor *zeros = part_of(source, linear, VLMP_PACKED_ZEROS);
    const vlmp_tensor *global = part_of(source, linear, VLMP_PACKED_GLOBAL);
    vlmp_code_grid grid = vlmp_code_grid_of(scheme);
    int bits = vlmp_code_types[scheme->codes].bits;
    int group = vlmp_scheme_group(scheme, (int)k), groups = (int)k / group;
    float all = global != NULL ? vlmp_scale_at(global->data, 0, VLMP_F32) : 1.0f;
    assert_int_equal(codes->shape[0], n);
    assert_true((scheme->zeros == VLMP_ZEROS_PACKED) == (zeros != NULL));
    for (int64_t i = 0; i < n * k; i++) {
        size_t row = (size_t)(i / k);
        int input = (int)(i % k), g = input / group, zero = grid.middle;
        if (zeros != NULL)
            zero = vlmp_code_at(zeros->data + row * (size_t)zeros->shape[1], g, bits);
        int code = vlmp_code_at(codes->data + row * (size_t)codes->shape[1], input, bits);
        size_t at = vlmp_scale_index(scheme, row, (size_t)groups, (size_t)g);
        float weight = vlmp_code_level(&grid, code, zero) *
                       (vlmp_scale_at(scales->data, at, scheme->scales) * all);
        float other;
        memcpy(&other, want + (size_t)i * sizeof other, sizeof other);
        if (weight != other)
            fail_msg("%s: row %zu, input %d: %a, not %a", linear, row, input, (double)weight,
                     (double)other);
    }
}

static void check_format(const char *format)
{
    vlmp_error err = {0};
    vlmp_source *source;
    vlmp_safetensors expected;
    char path[1024];
    size_t count;
    snprintf(path, sizeof path, GOLDEN "%s.safetensors", format);
    assert_int_equal(vlmp_safetensors_open(&expected, path, &err), VLMP_OK);
    snprintf(path, sizeof path, GOLDEN "%s", format);
    if (vlmp_model_source_open(&source, path, &err) != VLMP_OK) fail_msg("%s", err.message);
    if (vlmp_packed_verify(source, NULL, NULL, &err) != VLMP_OK) fail_msg("%s", err.message);
    assert_string_equal(source->imported, format);
    assert_string_equal(source->path, path);
    vlmp_packed_linears(source, &count);
    assert_int_equal(count, expected.count);
    for (size_t i = 0; i < expected.count; i++) {
        const vlmp_st_tensor *t = &expected.tensors[i];
        char weight[1100], name[VLMP_NAME_BYTES];
        snprintf(weight, sizeof weight, "%s.weight", t->name);
        assert_int_equal(vlmp_family_llava.canonical_name(name, weight), VLMP_NAME_KNOWN);
        name[vlmp_name_stem(name)] = '\0';
        assert_weights(source, name, t->shape[0], t->shape[1], vlmp_safetensors_data(&expected, t));
    }
    source->close(source);
    vlmp_safetensors_close(&expected);
}

static void weights_are_the_reference(void **state)
{
    (void)state;
    check_format("compressed-tensors");
}

static void schemes_are_the_folders(void **state)
{
    (void)state;
    vlmp_error err = {0};
    vlmp_source *source;
    size_t length;
    assert_int_equal(vlmp_model_source_open(&source, GOLDEN "compressed-tensors", &err), VLMP_OK);
    const vlmp_scheme *scheme = source->scheme(source, "text.layers.0.attn.k");
    assert_int_equal(scheme->scales, VLMP_BF16);
    assert_int_equal(scheme->group, 16);
    assert_int_equal(scheme->zeros, VLMP_ZEROS_PACKED);
    scheme = source->scheme(source, "vision.layers.0.mlp.fc1");
    assert_true(scheme->int8_activations);
    assert_int_equal(scheme->zeros, VLMP_ZEROS_NONE);
    assert_false(source->scheme(source, "vision.layers.0.mlp.fc2")->int8_activations);
    /* A negative scale mirrors codes and zero of its group, and leaves the others. */
    const uint8_t *zeros = part_of(source, "text.layers.0.attn.q", VLMP_PACKED_ZEROS)->data;
    assert_int_equal(zeros[0], 0x88);
    assert_int_equal(zeros[2], 0x78);
    const vlmp_tensor *kept = source->find(source, "text.layers.0.attn_norm.weight");
    assert_int_equal(kept->dtype, VLMP_BF16);
    assert_string_equal(kept->source_name, "language_model.model.layers.0.input_layernorm.weight");
    const char *config = source->file(source, "config.json", &length);
    assert_null(memmem(config, length, "quantization", strlen("quantization")));
    source->close(source);
}

typedef enum { DROP, RENAME, RETYPE, RESHAPE, PATCH } action;

/* One change of a tensor, known by the end of its name. */
typedef struct {
    const char *format, *tensor;
    action action;
    const char *text; /* RENAME: the end's new form */
    int64_t number;   /* RETYPE, RESHAPE: rows; PATCH: the first bytes */
    const char *phrase;
} damage;

static bool ends_with(const char *text, const char *tail)
{
    size_t length = strlen(text), end = strlen(tail);
    return length >= end && strcmp(text + length - end, tail) == 0;
}

/* The changed tensor; *bytes is for a PATCH. */
static void change(vlmp_tensor *t, const damage *d, char name[1100], unsigned char *bytes)
{
    if (d->action == RENAME) {
        snprintf(name, 1100, "%.*s%s", (int)(strlen(t->name) - strlen(d->tensor)), t->name,
                 d->text);
        t->name = name;
    } else if (d->action == RETYPE) {
        t->dtype = (vlmp_dtype)d->number;
    } else if (d->action == RESHAPE) {
        int64_t count = 1;
        for (int i = 0; i < t->rank; i++)
            count *= t->shape[i];
        t->rank = 2;
        t->shape[0] = d->number;
        t->shape[1] = count / d->number;
    } else {
        memcpy(bytes, t->data, t->bytes);
        memcpy(bytes, &d->number, t->bytes < sizeof d->number ? t->bytes : sizeof d->number);
        t->data = bytes;
    }
}

/* The golden folder's tensors with one change, in the folder "bad". */
static void write_damaged(const damage *d)
{
    static unsigned char patched[1 << 16];
    static char name[1100];
    vlmp_error err = {0};
    vlmp_safetensors file;
    vlmp_tensor tensors[64];
    size_t count = 0;
    bool hit = false;
    char path[1024];
    snprintf(path, sizeof path, GOLDEN "%s/model.safetensors", d->format);
    assert_int_equal(vlmp_safetensors_open(&file, path, &err), VLMP_OK);
    assert_true(file.count <= 64);
    for (size_t i = 0; i < file.count; i++) {
        const vlmp_st_tensor *from = &file.tensors[i];
        bool meant = ends_with(from->name, d->tensor);
        hit |= meant;
        if (meant && d->action == DROP) continue;
        vlmp_tensor *t = &tensors[count++];
        *t = (vlmp_tensor){.name = from->name,
                           .dtype = from->dtype,
                           .rank = from->rank,
                           .data = vlmp_safetensors_data(&file, from),
                           .bytes = (size_t)(from->end - from->begin)};
        memcpy(t->shape, from->shape, sizeof t->shape);
        if (meant) change(t, d, name, patched);
    }
    assert_true(hit);
    if (vlmp_safetensors_write(temp_path("bad/model.safetensors"), true, tensors, count, NULL, 0,
                               NULL, NULL, &err) != VLMP_OK)
        fail_msg("%s", err.message);
    vlmp_safetensors_close(&file);
}

static void copy_file(const char *format, const char *name)
{
    vlmp_error err = {0};
    char path[1024], *text;
    size_t length;
    snprintf(path, sizeof path, GOLDEN "%s/%s", format, name);
    assert_int_equal(vlmp_file_read(&text, &length, path, 1 << 20, &err), VLMP_OK);
    snprintf(path, sizeof path, "bad/%s", name);
    temp_write(path, text, length);
    free(text);
}

static void refuse(const char *phrase, const char *file)
{
    vlmp_error err = {0};
    vlmp_source *source;
    int status = vlmp_model_source_open(&source, temp_path("bad"), &err);
    if (status == VLMP_OK) fail_msg("read, but: %s", phrase);
    assert_int_equal(status, VLMP_ERR_INPUT);
    assert_null(source);
    if (strstr(err.message, phrase) == NULL || strstr(err.message, file) == NULL)
        fail_msg("'%s' lacks '%s' or '%s'", err.message, phrase, file);
}

#define CT "compressed-tensors"

static const damage damages[] = {
    {CT, "q_proj.weight_packed", DROP, NULL, 0, "q_proj.weight_scale' is there, but not the codes"},
    {CT, "o_proj.weight_scale", DROP, NULL, 0,
     "o_proj.weight_packed' is there, but not the scales"},
    {CT, "o_proj.weight_shape", DROP, NULL, 0,
     "o_proj.weight_packed' is there, but not the weight"},
    {CT, "k_proj.weight_zero_point", DROP, NULL, 0, "k_proj.weight_packed' fits no group"},
    {CT, "fc1.weight", DROP, NULL, 0, "fc1.weight_scale' is there, but not the codes"},
    {CT, "o_proj.weight_packed", RETYPE, NULL, VLMP_U32, "o_proj.weight_packed' at byte"},
    {CT, "o_proj.weight_scale", RETYPE, NULL, VLMP_U32, "o_proj.weight_scale' has type U32"},
    {CT, "o_proj.weight_packed", RESHAPE, NULL, 32, "I32 of shape 64 × 16"},
    {CT, "k_proj.weight_scale", RESHAPE, NULL, 17, "k_proj.weight_scale' at byte"},
    {CT, "k_proj.weight_scale", RESHAPE, NULL, 8, "17 groups, which do not divide 64 inputs"},
    {CT, "k_proj.weight_zero_point", RESHAPE, NULL, 10, "k_proj.weight_zero_point' at byte"},
    {CT, "gate_proj.weight_scale", RESHAPE, NULL, 48, "gate_proj.weight_scale' at byte"},
    {CT, "gate_proj.weight_shape", PATCH, NULL, INT64_MAX, "gate_proj.weight_shape' has a side"},
    {CT, "gate_proj.weight_shape", PATCH, NULL, 0, "gate_proj.weight_shape' has a side of 0"},
    {CT, "gate_proj.weight_shape", PATCH, NULL, 95, "gate_proj.weight_packed' at byte"},
    {CT, "gate_proj.weight_scale", PATCH, NULL, 0x7fc0, "is nan, which is no scale"},
    {CT, "gate_proj.weight_scale", PATCH, NULL, 0x7f80, "is inf, which is no scale"},
    {CT, "fc1.weight", RESHAPE, NULL, 24, "fc1.weight_scale' at byte"},
    {CT, "gate_proj.weight_scale", RENAME, "gate_proj.input_scale", 0, "gate_proj.input_scale' is"},
    {CT, "gate_proj.weight_scale", RENAME, "k_scale", 0, "keys are quantized"},
    {CT, "gate_proj.weight_scale", RENAME, "gate_proj.output_scale", 0, "outputs are quantized"},
    {CT, "gate_proj.weight_shape", RENAME, "gate_proj.bitmask", 0, "sparse weights"},
    {CT, "v_proj.weight_zero_point", RENAME, "v_proj.weight_g_idx", 0, "v_proj.weight_g_idx' at"},
    {CT, "gate_proj.weight_packed", RENAME, "door_proj.weight_packed", 0, "belongs to no linear"},
};

static void damaged_folders_are_refused(void **state)
{
    (void)state;
    assert_int_equal(mkdir(temp_path("bad"), 0700), 0);
    for (size_t i = 0; i < sizeof damages / sizeof *damages; i++) {
        copy_file(damages[i].format, "config.json");
        write_damaged(&damages[i]);
        refuse(damages[i].phrase, "bad/model.safetensors");
    }
}

/* One change of the configuration. */
static const struct {
    const char *format, *from, *to, *phrase;
} edits[] = {
    {CT, "\"kv_cache_scheme\": null", "\"kv_cache_scheme\": {\"num_bits\": 8}", "kv_cache_scheme"},
    {CT, "\"sparsity_config\": {}", "\"sparsity_config\": {\"format\": \"sparse\"}", "sparse"},
    {CT, "\"transform_config\": {}", "\"transform_config\": {\"a\": 1}", "rotated"},
    {CT, "\"quant_method\": \"compressed-tensors\"", "\"quant_method\": \"bitsandbytes\"",
     "'bitsandbytes', which is not read"},
    {CT, "\"quant_method\": \"compressed-tensors\"", "\"quant_method\": 3", "quant_method"},
    {CT, "\"quantization_config\": {", "\"quantization_config\": 3, \"was\": {", "is no object"},
    {CT, "\"config_groups\"", "\"groups\"", "no 'config_groups'"},
    {CT, "\"dynamic\": true", "\"dynamic\": false", "static symmetric 8-bit int activations"},
    {CT, "\"num_bits\": 4", "\"num_bits\": 3", "3-bit int weights"},
    {CT, "\"type\": \"int\"", "\"type\": \"float\"", "q_proj.weight_packed' fits no group"},
    {CT, "\"strategy\": \"tensor\"", "\"strategy\": \"attn_head\"", "attn_head"},
    {CT, "\"group_size\": 16", "\"group_size\": 8", "k_proj.weight_packed' fits no group"},
    {CT, "\"weights\": {", "\"weight\": {", "quantizes no weights"},
};

/* The first `from` of the golden configuration becomes `to`. */
static void edit_config(const char *format, const char *from, const char *to)
{
    vlmp_error err = {0};
    char path[1024], *text;
    size_t length;
    vlmp_buffer out = {0};
    snprintf(path, sizeof path, GOLDEN "%s/config.json", format);
    assert_int_equal(vlmp_file_read(&text, &length, path, 1 << 20, &err), VLMP_OK);
    const char *at = strstr(text, from);
    assert_non_null(at);
    vlmp_buffer_append(&out, text, (size_t)(at - text));
    vlmp_buffer_text(&out, to);
    vlmp_buffer_text(&out, at + strlen(from));
    temp_write("bad/config.json", out.data, out.length);
    vlmp_buffer_free(&out);
    free(text);
}

static void other_configurations_are_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof edits / sizeof *edits; i++) {
        copy_file(edits[i].format, "model.safetensors");
        edit_config(edits[i].format, edits[i].from, edits[i].to);
        refuse(edits[i].phrase, "bad/");
    }
}

/* Some tools describe the quantization in the text model's part. */
static void descriptions_of_the_text_model(void **state)
{
    (void)state;
    vlmp_error err = {0};
    vlmp_source *source;
    char *text;
    size_t length;
    cJSON *root;
    assert_int_equal(vlmp_file_read(&text, &length, GOLDEN CT "/config.json", 1 << 20, &err),
                     VLMP_OK);
    assert_int_equal(vlmp_json_parse(&root, text, length, "config.json", &err), VLMP_OK);
    cJSON *moved = cJSON_DetachItemFromObject(root, "quantization_config");
    assert_true(cJSON_AddItemToObject(cJSON_GetObjectItem(root, "text_config"),
                                      "quantization_config", moved));
    vlmp_json_writer w = {0};
    vlmp_json_put_tree(&w, root);
    temp_write("bad/config.json", w.out.data, w.out.length);
    copy_file(CT, "model.safetensors");
    if (vlmp_model_source_open(&source, temp_path("bad"), &err) != VLMP_OK)
        fail_msg("%s", err.message);
    assert_string_equal(source->imported, CT);
    const char *config = source->file(source, "config.json", &length);
    assert_null(memmem(config, length, "quantization", strlen("quantization")));
    source->close(source);
    vlmp_buffer_free(&w.out);
    cJSON_Delete(root);
    free(text);
}

#define TEXT_CONFIG                                                                                \
    "{\"model_type\":\"llava\",\"image_token_index\":4,\"vision_feature_layer\":-2,"               \
    "\"text_config\":{\"model_type\":\"llama\",\"hidden_size\":64,\"intermediate_size\":96,"       \
    "\"num_hidden_layers\":1,\"num_attention_heads\":4,\"vocab_size\":32},\"vision_config\":{"     \
    "\"hidden_size\":32,\"intermediate_size\":48,\"num_hidden_layers\":2,\"num_attention_heads\":" \
    "4,"                                                                                           \
    "\"image_size\":16,\"patch_size\":8},\"quantization_config\":{"
#define GPTQ         "\"quant_method\":\"gptq\",\"bits\":4,\"group_size\":32"
#define GPTQ_BY_GPTQ GPTQ ",\"meta\":{\"quantizer\":[\"gptqmodel:5.0\"]}"
#define AWQ          "\"quant_method\":\"awq\",\"bits\":4,\"group_size\":32"
#define CT_GROUPS    "\"quant_method\":\"compressed-tensors\",\"format\":\"x\",\"config_groups\":{"
#define CT_GROUP(name, format, bits, rest)                                                       \
    "\"" name "\":{\"format\":\"" format "\",\"weights\":{\"type\":\"float\",\"num_bits\":" bits \
    "," rest "}}"
#define FLOATS8                                                                               \
    CT_GROUPS CT_GROUP("a", "float-quantized", "8", "\"strategy\":\"channel\"") "," CT_GROUP( \
        "b", "float-quantized", "8", "\"strategy\":\"block\",\"block_structure\":[128,128]") "}"
#define FLOATS4                                                                                    \
    CT_GROUPS CT_GROUP(                                                                            \
        "a", "mxfp4-pack-quantized", "4",                                                          \
        "\"strategy\":\"group\",\"group_size\":32") "," CT_GROUP("b", "nvfp4-pack-quantized", "4", \
                                                                 "\"strategy\":\"tensor_group\","  \
                                                                 "\"group_size\":16") "}"

/* Tensors that reference packers made of a packed file, as a folder. */
static void make_folder(const char *golden, const char *quantization)
{
    vlmp_error err = {0};
    char path[1024], *bytes;
    size_t length;
    vlmp_buffer config = {0};
    snprintf(path, sizeof path, EXPORTS "%s.safetensors", golden);
    assert_int_equal(vlmp_file_read(&bytes, &length, path, 1 << 20, &err), VLMP_OK);
    temp_write("bad/model.safetensors", bytes, length);
    free(bytes);
    vlmp_buffer_printf(&config, "%s%s}}", TEXT_CONFIG, quantization);
    temp_write("bad/config.json", config.data, config.length);
    vlmp_buffer_free(&config);
}

/* The folder is the golden packed file again, byte for byte. */
static void assert_undone(const char *golden)
{
    vlmp_error err = {0};
    vlmp_source *read, *want;
    char path[1024];
    if (vlmp_model_source_open(&read, temp_path("bad"), &err) != VLMP_OK)
        fail_msg("%s", err.message);
    assert_int_equal(vlmp_packed_verify(read, NULL, NULL, &err), VLMP_OK);
    snprintf(path, sizeof path, EXPORTS "%s.vlmp", golden);
    assert_int_equal(vlmp_packed_open(&want, path, &err), VLMP_OK);
    assert_int_equal(read->count(read), want->count(want));
    for (size_t k = 0; k < want->count(want); k++) {
        const vlmp_tensor *a = want->at(want, k), *b = read->find(read, a->name);
        if (b == NULL) fail_msg("%s: no %s", path, a->name);
        assert_int_equal(a->dtype, b->dtype);
        assert_int_equal(a->bytes, b->bytes);
        if (memcmp(a->data, b->data, a->bytes) != 0) fail_msg("%s: %s", path, a->name);
    }
    read->close(read);
    want->close(want);
}

static void packers_are_undone(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"gptq", GPTQ_BY_GPTQ}, {"awq", AWQ}, {"floats8", FLOATS8}, {"floats4", FLOATS4}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        make_folder(cases[i][0], cases[i][1]);
        assert_undone(cases[i][0]);
    }
}

/* Older tools say it in a file of its own alone, and not by which method. */
static void files_of_their_own(void **state)
{
    (void)state;
    static const struct {
        const char *golden, *file, *text;
    } cases[] = {{"gptq", "bad/quantize_config.json",
                  "{\"bits\":4,\"group_size\":32,\"meta\":{\"quantizer\":\"gptqmodel:1.0\"}}"},
                 {"awq", "bad/quant_config.json",
                  "{\"zero_point\":true,\"q_group_size\":32,\"w_bit\":4,\"version\":\"GEMM\"}"}};
    const char *config = TEXT_CONFIG, *end = strstr(config, ",\"quantization_config");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char plain[1024];
        make_folder(cases[i].golden, "");
        snprintf(plain, sizeof plain, "%.*s}", (int)(end - config), config);
        temp_write("bad/config.json", plain, strlen(plain));
        temp_write(cases[i].file, cases[i].text, strlen(cases[i].text));
        assert_undone(cases[i].golden);
        temp_write(cases[i].file, "[", 1);
        refuse("JSON", cases[i].file + 4);
        temp_write(cases[i].file, "{\"quant_method\":\"hqq\"}", 22);
        refuse("'hqq', which is not read", cases[i].file);
        unlink(temp_path(cases[i].file));
    }
}

/* Zeros of version 1 that tools disagree about, other versions and formats. */
static void other_words_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *golden, *quantization, *phrase;
    } cases[] = {
        {"gptq", GPTQ, "down_proj.qzeros' has at word"},
        {"gptq", GPTQ ",\"checkpoint_format\":\"marlin\"", "'marlin' is not read"},
        {"awq", AWQ ",\"version\":\"gemv\"", "'gemv' is not read"},
        {"awq", GPTQ, "qweight' at byte"},
        {"gptq", AWQ, "is not of 4 bits"},
        {"floats8", FLOATS4, "fits no group"},
        {"floats4", FLOATS8, "fits no group"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        make_folder(cases[i].golden, cases[i].quantization);
        refuse(cases[i].phrase, "bad/");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(weights_are_the_reference),
        cmocka_unit_test(schemes_are_the_folders),
        cmocka_unit_test(damaged_folders_are_refused),
        cmocka_unit_test(other_configurations_are_refused),
        cmocka_unit_test(descriptions_of_the_text_model),
        cmocka_unit_test(packers_are_undone),
        cmocka_unit_test(files_of_their_own),
        cmocka_unit_test(other_words_are_refused),
    };
    return cmocka_run_group_tests(tests, temp_folder_make, temp_folder_remove);
}
