/* A model's configuration against the tensors of its folder, as vlmp_model_open holds them
 * together. */
#include <stdio.h>
#include <string.h>

#include "formats/hf_folder.h"
#include "src/model/weights.h"
#include "src/store/finite.h"
#include "tests/unit/tiny_model.h"

static tiny_model tiny;

static int set_up(void **state)
{
    tiny_make(&tiny);
    return temp_folder_make(state);
}

static int tear_down(void **state)
{
    tiny_free(&tiny);
    return temp_folder_remove(state);
}

/* The tiny model of these tensors, with `change` in place of `part` of its configuration. */
static int open_model(const char *part, const char *change, vlmp_error *err)
{
    static int number;
    char folder[20], name[40], json[2 * sizeof tiny_config];
    snprintf(folder, sizeof folder, "model%d", number++);
    tiny_write(&tiny, folder);
    const char *at = strstr(tiny_config, part);
    assert_non_null(at);
    snprintf(json, sizeof json, "%.*s%s%s", (int)(at - tiny_config), tiny_config, change,
             at + strlen(part));
    snprintf(name, sizeof name, "%s/config.json", folder);
    temp_write(name, json, strlen(json));
    vlmp_source *source;
    vlmp_model model;
    *err = (vlmp_error){0};
    int status = vlmp_folder_open(&source, temp_path(folder), err);
    if (status != VLMP_OK) return status;
    status = vlmp_model_open(&model, source, err);
    if (status == VLMP_OK) status = vlmp_source_check_finite(source, NULL, NULL, err);
    vlmp_model_close(&model);
    source->close(source);
    return status;
}

static void good(const char *part, const char *change)
{
    vlmp_error err;
    if (open_model(part, change, &err) != VLMP_OK) fail_msg("%s", err.message);
}

static void refused(const char *part, const char *change, const char *message)
{
    vlmp_error err;
    assert_int_equal(open_model(part, change, &err), VLMP_ERR_INPUT);
    if (strstr(err.message, message) == NULL) fail_msg("no '%s' in: %s", message, err.message);
}

static vlmp_tensor *named(const char *name)
{
    for (size_t i = 0; i < tiny.count; i++)
        if (strcmp(tiny.names[i], name) == 0) return &tiny.tensors[i];
    fail_msg("no %s", name);
    return NULL;
}

static void configuration_and_tensors(void **state)
{
    (void)state;
    good("", "");
    refused("\"vocab_size\":32", "\"vocab_size\":48", "embed_tokens");
    refused("\"vocab_size\":32", "\"vocab_size\":3", "image_token_index");
    refused("\"image_token_index\":4", "\"image_token_index\":32", "image_token_index");
    /* Original LLaVA's. */
    static const char needs_none[] = "\"image_token_needs_no_row\":true,\"image_token_index\":";
    char config[80];
    snprintf(config, sizeof config, "%s32", needs_none);
    good("\"image_token_index\":4", config);
    snprintf(config, sizeof config, "%s33", needs_none);
    refused("\"image_token_index\":4", config, "image_token_index");
    refused("\"num_hidden_layers\":2,\"num_attention_heads\":4,\"num_key",
            "\"num_hidden_layers\":1,\"num_attention_heads\":4,\"num_key", "fewer layers");
    refused("\"num_hidden_layers\":2,\"num_attention_heads\":4,\"num_key",
            "\"num_hidden_layers\":3,\"num_attention_heads\":4,\"num_key", "missing");
    refused("\"num_hidden_layers\":2,\"num_attention_heads\":4,\"image",
            "\"num_hidden_layers\":1,\"num_attention_heads\":4,\"image", "fewer layers");
    refused("\"num_key_value_heads\":2", "\"num_key_value_heads\":4", "k_proj");
    refused("\"model_type\":\"llama\"", "\"model_type\":\"qwen2\"", "attn.q.bias");
    refused("\"model_type\":\"llama\"", "\"model_type\":\"llama\",\"mlp_bias\":true",
            "mlp.gate.bias");
    refused("\"vision_feature_layer\":-2", "\"multimodal_projector_bias\":false", "no bias");
    refused("\"patch_size\":8", "\"patch_size\":4", "patch_embedding");
}

static void tensors_too_many(void **state)
{
    (void)state;
    static const char *const names[] = {
        "language_model.model.layers.1.self_attn.q_proj.bias",
        "language_model.model.layers.0.self_attn.o_proj.bias",
        "language_model.model.layers.0.mlp.up_proj.bias",
        "language_model.model.layers.0.input_layernorm.bias",
        "language_model.model.norm.bias",
        "image_newline",
        "language_model.model.layers.2.input_layernorm.weight",
        "vision_tower.vision_model.encoder.layers.2.layer_norm1.weight",
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        tiny_add(&tiny, names[i], 64, 0);
        refused("", "", names[i]);
        free((void *)(uintptr_t)tiny.tensors[--tiny.count].data);
    }
}

/* A head is stored or tied; a tied one that is stored again is the table. */
static void heads(void **state)
{
    (void)state;
    static const char plain[] = "\"text_config\":{",
                      tied[] = "\"text_config\":{\"tie_word_embeddings\":true,",
                      outer[] = "\"tie_word_embeddings\":true,\"text_config\":{";
    vlmp_tensor *head = named("language_model.lm_head.weight");
    vlmp_tensor *table = named("language_model.model.embed_tokens.weight");
    refused(plain, tied, "differs from the embedding table");
    refused(plain, outer, "differs from the embedding table");
    unsigned char *bytes = (unsigned char *)(uintptr_t)head->data;
    memcpy(bytes, table->data, head->bytes);
    good(plain, tied);
    good(plain, plain);
    assert_ptr_equal(head, &tiny.tensors[tiny.count - 1]);
    tiny.count--;
    good(plain, tied);
    good(plain, outer);
    refused(plain, plain, "no head");
    tiny.count++;
}

static void not_finite(void **state)
{
    (void)state;
    for (size_t i = 0; i < tiny.count; i++) {
        uint16_t *last = (uint16_t *)(uintptr_t)(tiny.tensors[i].data + tiny.tensors[i].bytes - 2);
        uint16_t kept = *last;
        bool unused = strstr(tiny.names[i], "encoder.layers.1.") != NULL ||
                      strstr(tiny.names[i], "post_layernorm") != NULL;
        *last = i % 2 ? 0x7f80 : 0xffc0;
        if (unused)
            good("", "");
        else
            refused("", "", tiny.names[i]);
        *last = kept;
    }
}

enum { WIDEST = 66311 }; /* inputs of bytes whose products with int8 fit 32 bits */

static const vlmp_tensor *find_wide(const vlmp_source *source, const char *name)
{
    static unsigned char bytes[2 * WIDEST];
    static const vlmp_tensor scales = {
        .dtype = VLMP_F32, .rank = 2, .shape = {1, 1}, .data = bytes, .bytes = 4};
    static vlmp_tensor codes = {.dtype = VLMP_U8, .rank = 2, .data = bytes};
    (void)source;
    if (strstr(name, ".scales") != NULL) return &scales;
    codes.shape[0] = 1;
    codes.shape[1] = strstr(name, "wide") != NULL ? WIDEST + 1 : WIDEST;
    codes.bytes = (size_t)codes.shape[1];
    return &codes;
}

static const vlmp_scheme *scheme_of_wide(const vlmp_source *source, const char *name)
{
    static vlmp_scheme schemes[2];
    (void)source;
    for (int i = 0; i < 2; i++)
        schemes[i] = vlmp_scheme_make(VLMP_CODES_U8, VLMP_GROUP_CHANNEL, VLMP_ZEROS_NONE, i != 0);
    return &schemes[strstr(name, "int8") != NULL];
}

/* Rows that are too long for sums in 32 bits are refused with both numbers, however int8
 * activations were asked for. */
static void long_rows_of_int8(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int k;
        bool fast, good;
    } cases[] = {{"int8", WIDEST, false, true},
                 {"int8.wide", WIDEST + 1, false, false},
                 {"wide", WIDEST + 1, false, true},
                 {"wide", WIDEST + 1, true, false}};
    const vlmp_source source = {.path = "f.vlmp", .find = find_wide, .scheme = scheme_of_wide};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        vlmp_error err = {0};
        vlmp_loaded loaded = {.fast_activations = cases[i].fast};
        vlmp_linear w;
        int status =
            vlmp_load_linear(&loaded, &source, cases[i].name, 1, cases[i].k, false, &w, &err);
        assert_int_equal(status, cases[i].good ? VLMP_OK : VLMP_ERR_INPUT);
        if (!cases[i].good && strstr(err.message, "66312 inputs under one scale, more than the "
                                                  "66311") == NULL)
            fail_msg("%s", err.message);
        free(loaded.tensors);
    }
}

static size_t released; /* bytes */

static void count_release(const vlmp_source *source, const vlmp_tensor *tensor)
{
    (void)source;
    released += tensor->bytes;
}

/* All weights of the tiny model for a table that copies them, or does not: how many were prepared,
 * and bytes that were released before the end. */
static int load(const char *folder, bool copies, size_t *early)
{
    vlmp_error err = {0};
    vlmp_source *source;
    vlmp_model model;
    vlmp_pool *pool;
    vlmp_ctx *ctx;
    vlmp_resident resident;
    assert_int_equal(vlmp_pool_create(&pool, 1, &err), VLMP_OK);
    assert_int_equal(vlmp_ctx_create(&ctx, VLMP_BACKEND_REF, NULL, pool, &err), VLMP_OK);
    const vlmp_ops *ops = ctx->ops;
    vlmp_ops changed = *ops;
    changed.copies = copies;
    ctx->ops = &changed;
    assert_int_equal(vlmp_folder_open(&source, temp_path(folder), &err), VLMP_OK);
    source->release = count_release;
    assert_int_equal(vlmp_model_open(&model, source, &err), VLMP_OK);
    released = 0;
    assert_int_equal(vlmp_load_all(&resident, ctx, &model, &err), VLMP_OK);
    *early = released;
    int prepared = resident.loaded.prepared_count;
    vlmp_resident_free(&resident);
    vlmp_model_close(&model);
    source->close(source);
    ctx->ops = ops;
    vlmp_ctx_free(ctx);
    vlmp_pool_free(pool);
    return prepared;
}

/* Of weights that the context copies, no page is kept; a tied table is prepared once. */
static void weights_on_a_device(void **state)
{
    (void)state;
    size_t early;
    tiny_write(&tiny, "untied");
    int prepared = load("untied", false, &early);
    assert_int_equal(early, 0);
    size_t all = released;
    assert_int_equal(load("untied", true, &early), prepared);
    assert_int_equal(early, all);
    assert_int_equal(released, all);

    char json[2 * sizeof tiny_config];
    const char *comma = strchr(tiny_config, ',');
    snprintf(json, sizeof json, "{\"model_type\":\"llava\",\"tie_word_embeddings\":true%s", comma);
    tiny.count--; /* the head */
    tiny_write(&tiny, "tied");
    tiny.count++;
    temp_write("tied/config.json", json, strlen(json));
    size_t head = tiny.tensors[tiny.count - 1].bytes;
    assert_int_equal(load("tied", false, &early), prepared - 1);
    assert_int_equal(released, all - head);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(configuration_and_tensors, set_up, tear_down),
        cmocka_unit_test_setup_teardown(tensors_too_many, set_up, tear_down),
        cmocka_unit_test_setup_teardown(heads, set_up, tear_down),
        cmocka_unit_test_setup_teardown(not_finite, set_up, tear_down),
        cmocka_unit_test(long_rows_of_int8),
        cmocka_unit_test_setup_teardown(weights_on_a_device, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("model_open", tests, NULL, NULL);
}
