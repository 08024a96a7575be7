/* GGUF against ggml's own package: blocks, and a whole file (scripts/golden-gguf.py). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/gguf_blocks.h"
#include "formats/gguf_names.h"
#include "formats/imatrix.h"
#include "src/base/file.h"
#include "src/base/json.h"
#include "src/base/packed_parts.h"
#include "tests/unit/temp_folder.h"

#define MAX_K 256

static cJSON *golden;

static int set_up(void **state)
{
    vlmp_error err = {0};
    char *text;
    size_t length;
    if (temp_folder_make(state) != 0) return 1;
    if (vlmp_file_read(&text, &length, VLMP_SOURCE_ROOT "/tests/golden/gguf/golden.json", 1 << 20,
                       &err) != VLMP_OK)
        return 1;
    int status = vlmp_json_parse(&golden, text, length, "golden.json", &err);
    free(text);
    return status;
}

static int tear_down(void **state)
{
    cJSON_Delete(golden);
    return temp_folder_remove(state);
}

static size_t from_hex(unsigned char *out, size_t capacity, const char *hex)
{
    size_t length = strlen(hex) / 2;
    assert_true(length <= capacity);
    for (size_t i = 0; i < length; i++) {
        unsigned byte;
        assert_int_equal(sscanf(hex + 2 * i, "%2x", &byte), 1);
        out[i] = (unsigned char)byte;
    }
    return length;
}

static vlmp_gguf_type type_of(const cJSON *item)
{
    const char *name = vlmp_json_get(item, "type")->valuestring;
    for (uint32_t type = 0; type < 64; type++)
        if (vlmp_gguf_type_is_read(type) && strcmp(vlmp_gguf_type_name(type), name) == 0)
            return (vlmp_gguf_type)type;
    fail_msg("no type %s", name);
    return VLMP_GGUF_F32;
}

static void blocks_of_codes(void **state)
{
    (void)state;
    const cJSON *item;
    cJSON_ArrayForEach(item, vlmp_json_get(golden, "codes"))
    {
        const cJSON *codes = vlmp_json_get(item, "codes"), *zeros = vlmp_json_get(item, "zeros");
        const cJSON *scales = vlmp_json_get(item, "scales");
        int k = cJSON_GetArraySize(codes), group = vlmp_json_get(item, "group")->valueint;
        vlmp_gguf_type type = type_of(item);
        vlmp_scheme scheme =
            vlmp_scheme_make(type == VLMP_GGUF_Q8_0 ? VLMP_CODES_U8 : VLMP_CODES_U4, group,
                             zeros != NULL ? VLMP_ZEROS_PACKED : VLMP_ZEROS_NONE, false);
        int bits = vlmp_code_types[scheme.codes].bits;
        uint8_t u[MAX_K], z[MAX_K], packed[MAX_K], packed_zeros[MAX_K];
        uint16_t s[MAX_K];
        for (int i = 0; i < k; i++)
            u[i] = (uint8_t)cJSON_GetArrayItem(codes, i)->valueint;
        for (int g = 0; g < k / group; g++) {
            vlmp_scale_put(s, (size_t)g, VLMP_F16,
                           (float)cJSON_GetArrayItem(scales, g)->valuedouble);
            z[g] = zeros != NULL ? (uint8_t)cJSON_GetArrayItem(zeros, g)->valueint : 0;
        }
        vlmp_codes_pack(packed, u, k, bits);
        vlmp_codes_pack(packed_zeros, z, k / group, bits);
        vlmp_gguf_type found;
        assert_int_equal(vlmp_gguf_fit_of(&scheme, k, &found),
                         zeros != NULL ? VLMP_GGUF_ROUNDED : VLMP_GGUF_EXACT);
        assert_int_equal(found, type);
        vlmp_packed_row row = {&scheme, k, packed, s, zeros != NULL ? packed_zeros : NULL};
        unsigned char want[2 * MAX_K], got[2 * MAX_K];
        size_t length = from_hex(want, sizeof want, vlmp_json_get(item, "bytes")->valuestring);
        assert_true(vlmp_gguf_row_is_exact(&row, type));
        vlmp_gguf_from_codes(got, type, &row);
        assert_memory_equal(got, want, length);
    }
}

static void blocks_of_floats(void **state)
{
    (void)state;
    const cJSON *item;
    cJSON_ArrayForEach(item, vlmp_json_get(golden, "floats"))
    {
        const cJSON *values = vlmp_json_get(item, "x");
        int k = cJSON_GetArraySize(values);
        float x[MAX_K];
        unsigned char want[4 * MAX_K], got[4 * MAX_K];
        for (int i = 0; i < k; i++)
            x[i] = (float)cJSON_GetArrayItem(values, i)->valuedouble;
        size_t length = from_hex(want, sizeof want, vlmp_json_get(item, "bytes")->valuestring);
        vlmp_gguf_from_floats(got, type_of(item), x, k);
        assert_memory_equal(got, want, length);
    }
}

/* Which zeros of a scale the types hold, and that they then do. */
static void zeros_by_type(void **state)
{
    (void)state;
    static const struct {
        vlmp_gguf_type type;
        float scale;
        int zero;
        bool exact;
    } cases[] = {
        {VLMP_GGUF_Q4_0, 0.1f, 7, true},      {VLMP_GGUF_Q4_1, 0.1f, 7, false},
        {VLMP_GGUF_Q4_0, 0.1f, 8, true},      {VLMP_GGUF_Q4_1, 0.1f, 8, true},
        {VLMP_GGUF_Q4_0, 0.1f, 5, false},     {VLMP_GGUF_Q4_1, 0.1f, 5, false},
        {VLMP_GGUF_Q4_0, 0.5f, 5, false},     {VLMP_GGUF_Q4_1, 0.5f, 5, true},
        {VLMP_GGUF_Q4_0, 0.1f, 0, false},     {VLMP_GGUF_Q4_1, 0.1f, 0, true},
        {VLMP_GGUF_Q4_1, 0x1p-24f, 15, true}, {VLMP_GGUF_Q8_0, 0.1f, 127, true},
        {VLMP_GGUF_Q8_0, 0.1f, 128, true},    {VLMP_GGUF_Q8_0, 0.1f, 126, false},
        {VLMP_GGUF_Q8_0, 0.5f, 0, false},
    };
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        vlmp_gguf_type type = cases[c].type;
        int bits = type == VLMP_GGUF_Q8_0 ? 8 : 4;
        vlmp_scheme scheme = vlmp_scheme_make(bits == 8 ? VLMP_CODES_U8 : VLMP_CODES_U4, 32,
                                              VLMP_ZEROS_PACKED, false);
        uint8_t u[32], packed[32], block[34], zero = (uint8_t)cases[c].zero;
        uint16_t scale;
        float got[32];
        for (int i = 0; i < 32; i++)
            u[i] = (uint8_t)(i * 7 % 16 * (bits == 8 ? 17 : 1));
        vlmp_codes_pack(packed, u, 32, bits);
        vlmp_scale_put(&scale, 0, VLMP_F16, cases[c].scale);
        vlmp_packed_row row = {&scheme, 32, packed, &scale, &zero};
        assert_int_equal(vlmp_gguf_row_is_exact(&row, type), cases[c].exact);
        vlmp_gguf_from_codes(block, type, &row);
        vlmp_gguf_to_floats(got, type, block, 32);
        for (int i = 0; i < 32 && cases[c].exact; i++)
            assert_true(got[i] == (float)(u[i] - zero) * vlmp_scale_at(&scale, 0, VLMP_F16));
    }
}

static void floats_of_blocks(void **state)
{
    (void)state;
    const cJSON *item;
    unsigned read = 0, tested = 0;
    for (uint32_t type = 0; type < 64; type++)
        read += vlmp_gguf_type_is_read(type) && vlmp_gguf_block_of(type).inputs > 1;
    cJSON_ArrayForEach(item, vlmp_json_get(golden, "blocks"))
    {
        unsigned char blocks[2 * MAX_K], want[4 * MAX_K];
        float got[MAX_K];
        from_hex(blocks, sizeof blocks, vlmp_json_get(item, "bytes")->valuestring);
        from_hex(want, sizeof want, vlmp_json_get(item, "values")->valuestring);
        vlmp_gguf_to_floats(got, type_of(item), blocks, MAX_K);
        assert_memory_equal(got, want, sizeof got);
        tested++;
    }
    assert_int_equal(tested, read);
}

/* What has no exact place: F32 scales, minima, groups that cut blocks, 8 bits with zeros. */
static void what_does_not_fit(void **state)
{
    (void)state;
    static const struct {
        vlmp_code_type codes;
        int group, k;
        vlmp_zeros zeros;
        vlmp_gguf_fit fit;
        vlmp_gguf_type type;
    } cases[] = {
        {VLMP_CODES_U4, 64, 128, VLMP_ZEROS_NONE, VLMP_GGUF_EXACT, VLMP_GGUF_Q4_0},
        {VLMP_CODES_U4, 64, 128, VLMP_ZEROS_PACKED, VLMP_GGUF_ROUNDED, VLMP_GGUF_Q4_1},
        {VLMP_CODES_U4, 0, 128, VLMP_ZEROS_NONE, VLMP_GGUF_ROUNDED, VLMP_GGUF_Q4_0},
        {VLMP_CODES_U8, 0, 128, VLMP_ZEROS_NONE, VLMP_GGUF_ROUNDED, VLMP_GGUF_Q8_0},
        {VLMP_CODES_U8, 32, 64, VLMP_ZEROS_PACKED, VLMP_GGUF_ANEW, VLMP_GGUF_Q8_0},
        {VLMP_CODES_U8, 0, 48, VLMP_ZEROS_NONE, VLMP_GGUF_ANEW, VLMP_GGUF_F16},
        {VLMP_CODES_U4, 16, 64, VLMP_ZEROS_NONE, VLMP_GGUF_ANEW, VLMP_GGUF_Q8_0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        vlmp_gguf_type type;
        vlmp_scheme scheme =
            vlmp_scheme_make(cases[i].codes, cases[i].group, cases[i].zeros, false);
        assert_int_equal(vlmp_gguf_fit_of(&scheme, cases[i].k, &type), cases[i].fit);
        assert_int_equal(type, cases[i].type);
    }
}

/* The file holds these bytes; returns how many. */
static size_t file_is(const char *path, const char *hex)
{
    unsigned char want[4096];
    size_t length = from_hex(want, sizeof want, hex), got;
    vlmp_error err = {0};
    char *bytes;
    assert_int_equal(vlmp_file_read(&bytes, &got, path, 1 << 20, &err), VLMP_OK);
    assert_int_equal(got, length);
    assert_memory_equal(bytes, want, length);
    free(bytes);
    return length;
}

static int read_rows(void *arg, size_t index, int64_t first, int64_t count, void *out,
                     vlmp_error *err)
{
    (void)arg;
    (void)err;
    int columns = index == 0 ? 2 : 5;
    for (int i = 0; i < (int)count * columns; i++)
        ((float *)out)[i] = (float)((int)first * columns + i);
    return VLMP_OK;
}

static void put_keys(vlmp_gguf_keys *keys)
{
    vlmp_gguf_put_string(keys, "general.architecture", "llama");
    vlmp_gguf_put_u32(keys, "a.count", 7);
    vlmp_gguf_put_f32(keys, "a.eps", 1e-5f);
    vlmp_gguf_put_bool(keys, "a.on", true);
    vlmp_gguf_put_string(keys, "a.name", "zwölf");
    vlmp_gguf_put_i32s(keys, "a.numbers", (const int32_t[]){-1, 2, 3}, 3);
    vlmp_gguf_put_f32s(keys, "a.reals", (const float[]){0.5f, -2.0f}, 2);
    vlmp_gguf_put_texts(keys, "a.words", 3);
    vlmp_gguf_add_text(keys, "x", 1);
    vlmp_gguf_add_text(keys, "", 0);
    vlmp_gguf_add_text(keys, "Ġy", strlen("Ġy"));
}

static void whole_file(void **state)
{
    (void)state;
    const char *path = temp_path("t.gguf");
    vlmp_error err = {0};
    vlmp_gguf_keys keys = {0};
    put_keys(&keys);
    const vlmp_gguf_tensor tensors[] = {{"m", VLMP_GGUF_F32, 2, {3, 2}},
                                        {"v", VLMP_GGUF_F32, 1, {5}}};
    vlmp_outfile file;
    assert_int_equal(vlmp_outfile_open(&file, path, false, &err), VLMP_OK);
    assert_int_equal(vlmp_gguf_write(&file, &keys, tensors, 2, read_rows, NULL, &err), VLMP_OK);
    assert_int_equal(vlmp_outfile_commit(&file, &err), VLMP_OK);
    size_t length = file_is(path, vlmp_json_get(golden, "file")->valuestring);
    uint64_t size;
    assert_int_equal(vlmp_gguf_size(&keys, tensors, 2, &size, &err), VLMP_OK);
    assert_int_equal(size, length);
    vlmp_gguf_keys_free(&keys);
}

static void importance_matrix(void **state)
{
    (void)state;
    const char *path = temp_path("i.gguf");
    const cJSON *matrix = vlmp_json_get(golden, "imatrix"), *sites = vlmp_json_get(matrix, "sites");
    vlmp_error err = {0};
    vlmp_imatrix_entry entries[2];
    float squares[2][MAX_K];
    for (int i = 0; i < 2; i++) {
        const cJSON *site = cJSON_GetArrayItem(sites, i), *square = vlmp_json_get(site, "square");
        entries[i] = (vlmp_imatrix_entry){.name = vlmp_json_get(site, "linear")->valuestring,
                                          .square = squares[i],
                                          .inputs = cJSON_GetArraySize(square),
                                          .tokens = vlmp_json_get(site, "tokens")->valueint};
        for (int j = 0; j < entries[i].inputs; j++)
            squares[i][j] = (float)cJSON_GetArrayItem(square, j)->valuedouble;
    }
    vlmp_outfile file;
    assert_int_equal(vlmp_outfile_open(&file, path, false, &err), VLMP_OK);
    assert_int_equal(vlmp_imatrix_write(&file, entries, 2, "pictures.calib", 40, &err), VLMP_OK);
    assert_int_equal(vlmp_outfile_commit(&file, &err), VLMP_OK);
    file_is(path, vlmp_json_get(matrix, "bytes")->valuestring);

    entries[1].name = "text.layers.0.attn.other";
    assert_int_equal(vlmp_outfile_open(&file, temp_path("n.gguf"), false, &err), VLMP_OK);
    assert_int_equal(vlmp_imatrix_write(&file, entries, 2, "d", 40, &err), VLMP_ERR_INPUT);
    assert_non_null(strstr(err.message, "text.layers.0.attn.other"));
    vlmp_outfile_abort(&file);
}

static void rows_of_blocks_only(void **state)
{
    (void)state;
    vlmp_error err = {0};
    uint64_t size;
    vlmp_gguf_keys keys = {0};
    const vlmp_gguf_tensor tensor = {"m", VLMP_GGUF_Q4_0, 2, {3, 40}};
    assert_int_equal(vlmp_gguf_size(&keys, &tensor, 1, &size, &err), VLMP_ERR_INPUT);
    assert_non_null(strstr(err.message, "blocks of 32"));
    vlmp_gguf_keys_free(&keys);
}

/* Names lead there and back; llama.cpp's are those of its converter. */
static void names_of_tensors(void **state)
{
    (void)state;
    static const struct {
        const char *canonical, *name;
        vlmp_gguf_part part;
        bool qwen; /* a tower with fused q, k and v, patches of two frames and a gated MLP */
        int heads, piece, pieces;
    } cases[] = {
        {"text.layers.31.attn.q.weight", "blk.31.attn_q.weight", VLMP_GGUF_TEXT, false, 4, 0, 1},
        {"text.layers.0.attn.k.bias", "blk.0.attn_k.bias", VLMP_GGUF_TEXT, false, 2, 0, 1},
        {"text.layers.0.attn.v.weight", "blk.0.attn_v.weight", VLMP_GGUF_TEXT, false, 0, 0, 1},
        {"vision.class", "v.class_embd", VLMP_GGUF_TOWER, false, 0, 0, 1},
        {"vision.embed.weight", "v.patch_embd.weight", VLMP_GGUF_TOWER, false, 0, 0, 1},
        {"vision.embed.weight", "v.patch_embd.weight", VLMP_GGUF_TOWER, true, 0, 0, 2},
        {"vision.embed.weight", "v.patch_embd.weight.1", VLMP_GGUF_TOWER, true, 0, 1, 2},
        {"vision.layers.7.attn.q.weight", "v.blk.7.attn_q.weight", VLMP_GGUF_TOWER, false, 0, 0, 1},
        {"vision.layers.7.attn.qkv.bias", "v.blk.7.attn_v.bias", VLMP_GGUF_TOWER, true, 0, 2, 3},
        {"vision.layers.7.mlp.fc1.bias", "v.blk.7.ffn_up.bias", VLMP_GGUF_TOWER, false, 0, 0, 1},
        {"vision.layers.7.mlp.up.bias", "v.blk.7.ffn_up.bias", VLMP_GGUF_TOWER, true, 0, 0, 1},
        {"vision.post_norm.weight", "v.post_ln.weight", VLMP_GGUF_TOWER, true, 0, 0, 1},
        {"projector.1.bias", "mm.2.bias", VLMP_GGUF_TOWER, false, 0, 0, 1},
        {"projector.0.weight", "mm.model.fc.weight", VLMP_GGUF_TOWER, true, 0, 0, 1},
    };
    char name[VLMP_GGUF_MAX_NAME + 1], canonical[VLMP_NAME_BYTES];
    vlmp_error err = {0};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        bool qwen = cases[i].qwen;
        vlmp_config config = {.vision = {.fused_qkv = qwen,
                                         .gated = qwen,
                                         .has_post_norm = qwen,
                                         .frames = 1 + qwen,
                                         .patch_size = 2},
                              .projector = {.linears = 2 - qwen},
                              .text = {.model_type = "llama", .heads = 4, .kv_heads = 2}};
        vlmp_gguf_order order;
        const vlmp_gguf_place *place =
            vlmp_gguf_place_of(name, cases[i].canonical, cases[i].piece, &config);
        assert_string_equal(name, cases[i].name);
        assert_int_equal(place->pieces, cases[i].pieces);
        assert_int_equal(vlmp_gguf_order_of(&order, place, 16, &config, NULL, &err), VLMP_OK);
        assert_int_equal(order.heads, cases[i].heads);
        assert_ptr_equal(vlmp_gguf_place_named(canonical, cases[i].part, name, &config), place);
        assert_string_equal(canonical, cases[i].canonical);
        assert_null(vlmp_gguf_place_named(canonical, 1 - cases[i].part, name, &config));
    }
}

/* Rows of orders, by hand. */
static void rows_of_orders(void **state)
{
    (void)state;
    static const int32_t to_model[4] = {0, 1, 1, 3}, to_file[4] = {0, 1, 2, 3};
    static const struct {
        vlmp_gguf_order order;
        int64_t model[12]; /* of piece 0, then 1 … */
        bool moves;
    } cases[] = {
        {{.pieces = 1, .rows = 12, .run = 12}, {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}, false},
        {{.pieces = 1, .rows = 12, .run = 12, .heads = 2},
         {0, 3, 1, 4, 2, 5, 6, 9, 7, 10, 8, 11},
         true},
        {{.pieces = 3, .rows = 4, .run = 4}, {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}, false},
        {{.pieces = 2, .rows = 6, .run = 3}, {0, 1, 2, 6, 7, 8, 3, 4, 5, 9, 10, 11}, true},
    };
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        const vlmp_gguf_order *order = &cases[c].order;
        assert_int_equal(vlmp_gguf_order_moves(order), cases[c].moves);
        for (int i = 0; i < 12; i++) {
            int piece, wanted = i / (int)order->rows;
            int64_t r = i % order->rows;
            assert_int_equal(vlmp_gguf_model_row(order, wanted, r), cases[c].model[i]);
            assert_int_equal(vlmp_gguf_file_row(order, cases[c].model[i], &piece), r);
            assert_int_equal(piece, wanted);
        }
    }
    vlmp_gguf_order table = {
        .pieces = 1, .rows = 4, .run = 4, .to_model = to_model, .to_file = to_file};
    int piece;
    assert_true(vlmp_gguf_order_moves(&table));
    assert_int_equal(vlmp_gguf_model_row(&table, 0, 2), 1);
    assert_int_equal(vlmp_gguf_file_row(&table, 2, &piece), 2);
}

/* Idefics3's positions: of rows that patches share, each reads back what its patches got. */
static void rows_of_positions(void **state)
{
    (void)state;
    enum { SIDE = 25 }; /* of which some buckets are shared and some are nobody's */
    vlmp_config config = {
        .vision = {.positions = VLMP_POSITIONS_BUCKETS, .image_size = 2 * SIDE, .patch_size = 2}};
    vlmp_arena arena = {0};
    vlmp_error err = {0};
    vlmp_gguf_order order;
    char name[VLMP_GGUF_MAX_NAME + 1];
    int shared = 0, piece;
    const vlmp_gguf_place *place = vlmp_gguf_place_of(name, "vision.position.weight", 0, &config);
    assert_int_equal(vlmp_gguf_order_of(&order, place, SIDE * SIDE, &config, &arena, &err),
                     VLMP_OK);
    for (int i = 0; i < SIDE * SIDE; i++) {
        int64_t model = vlmp_gguf_model_row(&order, 0, i);
        int64_t bucket =
            vlmp_position_bucket(i / SIDE, SIDE) * SIDE + vlmp_position_bucket(i % SIDE, SIDE);
        assert_int_equal(model, bucket);
        shared += model != i;
        assert_int_equal(vlmp_gguf_model_row(&order, 0, vlmp_gguf_file_row(&order, model, &piece)),
                         model);
    }
    assert_true(shared > 0);
    /* A table of another size is refused by its shape. */
    assert_int_equal(vlmp_gguf_order_of(&order, place, 9, &config, &arena, &err), VLMP_OK);
    assert_false(vlmp_gguf_order_moves(&order));
    vlmp_arena_free(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_of_codes),   cmocka_unit_test(blocks_of_floats),
        cmocka_unit_test(floats_of_blocks),  cmocka_unit_test(zeros_by_type),
        cmocka_unit_test(what_does_not_fit), cmocka_unit_test(whole_file),
        cmocka_unit_test(importance_matrix), cmocka_unit_test(rows_of_blocks_only),
        cmocka_unit_test(names_of_tensors),  cmocka_unit_test(rows_of_orders),
        cmocka_unit_test(rows_of_positions),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
