/* GGUF files of a model: the values that ggml's own code makes of them (scripts/golden-import.py),
 * which files are meant, and what must be refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/gguf_read.h"
#include "formats/open.h"
#include "formats/packed.h"
#include "src/base/code_values.h"
#include "src/base/file.h"
#include "src/base/json.h"
#include "src/base/packed_parts.h"
#include "src/base/sha256.h"
#include "src/model/family.h"
#include "src/model/model.h"
#include "tests/unit/temp_folder.h"

#define GOLDEN VLMP_SOURCE_ROOT "/tests/golden/import/gguf"
#define TEXT   "model.gguf"
#define TOWER  "mmproj-model.gguf"

static vlmp_source *open_good(vlmp_opener *opener, const char *path)
{
    vlmp_error err = {0};
    vlmp_source *source;
    if (vlmp_opener_open(opener, &source, path, &err) != VLMP_OK) fail_msg("%s", err.message);
    return source;
}

static const vlmp_tensor *part_of(const vlmp_source *source, const char *linear, const char *part)
{
    char name[VLMP_NAME_BYTES + 16];
    snprintf(name, sizeof name, "%s.%s", linear, part);
    return source->find(source, name);
}

/* Rows of a packed linear. */
static float *unpacked(const vlmp_source *source, const char *linear, size_t *count)
{
    const vlmp_scheme *scheme = source->scheme(source, linear);
    const vlmp_tensor *codes = part_of(source, linear, "codes");
    const vlmp_tensor *scales = part_of(source, linear, "scales");
    const vlmp_tensor *zeros = part_of(source, linear, "zeros");
    vlmp_code_grid grid = vlmp_code_grid_of(scheme);
    int bits = vlmp_code_types[scheme->codes].bits;
    size_t n = (size_t)codes->shape[0], k = (size_t)codes->shape[1] * 8 / (size_t)bits;
    size_t groups = (size_t)scales->shape[1], group = k / groups;
    float *out = vlmp_alloc(n * k, sizeof *out);
    uint8_t *row = vlmp_alloc(k, 1);
    for (size_t i = 0; i < n; i++) {
        vlmp_codes_unpack(row, codes->data + i * (size_t)codes->shape[1], (int)k, bits);
        for (size_t g = 0; g < groups; g++) {
            int zero = grid.middle;
            if (zeros != NULL)
                zero = vlmp_code_at(zeros->data + i * (size_t)zeros->shape[1], (int)g, bits);
            float scale = vlmp_scale_at(scales->data, i * groups + g, scheme->scales);
            vlmp_code_values(out + i * k + g * group, &grid, row + g * group, (int)group, zero,
                             scale);
        }
    }
    free(row);
    *count = n * k;
    return out;
}

static float *values_of(const vlmp_source *source, char *name, size_t *count)
{
    const vlmp_tensor *tensor = source->find(source, name);
    if (tensor == NULL) {
        name[vlmp_name_stem(name)] = '\0';
        assert_non_null(source->scheme(source, name));
        return unpacked(source, name, count);
    }
    *count = vlmp_dtype_count(tensor->dtype, tensor->bytes);
    float *out = vlmp_alloc(*count, sizeof *out);
    vlmp_to_f32(out, tensor->data, tensor->dtype, *count);
    return out;
}

static void assert_values(const vlmp_source *source)
{
    vlmp_error err = {0};
    cJSON *golden;
    const cJSON *item;
    int count = 0;
    assert_int_equal(vlmp_json_load(&golden, GOLDEN ".json", 1 << 20, &err), VLMP_OK);
    cJSON_ArrayForEach(item, golden)
    {
        char name[VLMP_NAME_BYTES], hex[VLMP_SHA256_HEX];
        size_t values;
        assert_int_equal(vlmp_family_llava.canonical_name(name, item->string), VLMP_NAME_KNOWN);
        float *got = values_of(source, name, &values);
        /* Zero is zero, whatever its sign. */
        for (size_t i = 0; i < values; i++)
            got[i] += 0.0f;
        vlmp_sha256_hex(got, values * sizeof *got, hex);
        free(got);
        if (strcmp(hex, item->valuestring) != 0) fail_msg("%s: other values", item->string);
        count++;
    }
    assert_int_equal(count, 37);
    cJSON_Delete(golden);
}

static void values_are_ggmls(void **state)
{
    (void)state;
    vlmp_error err = {0};
    vlmp_opener opener = {.gguf = true};
    vlmp_source *source = open_good(&opener, GOLDEN);
    assert_values(source);
    assert_int_equal(vlmp_packed_verify(source, NULL, NULL, &err), VLMP_OK);
    assert_string_equal(source->imported, "gguf");
    assert_string_equal(source->path, GOLDEN);
    /* What codes hold stays codes. */
    size_t count;
    vlmp_packed_linears(source, &count);
    assert_int_equal(count, 5);
    assert_non_null(source->scheme(source, "vision.layers.0.attn.o"));
    assert_null(source->scheme(source, "text.layers.0.mlp.gate"));
    assert_int_equal(source->find(source, "vision.layers.0.attn.k.weight")->dtype, VLMP_BF16);
    /* So do floats that blocks were made of where they are no linear. */
    assert_int_equal(source->find(source, "vision.position.weight")->dtype, VLMP_F32);
    /* Bytes are the files'. */
    assert_int_equal(source->find(source, "text.embed.weight")->stored, 32 * 144);
    const vlmp_tensor *codes = part_of(source, "text.layers.0.attn.q", "codes");
    assert_int_equal(codes->stored + 32 * 8 * sizeof(uint16_t) + 32 * 4, 32 * 8 * 18);
    /* It is opened once. */
    vlmp_opener_close(&opener, source);
    assert_ptr_equal(open_good(&opener, GOLDEN), source);
    vlmp_opener_free(&opener);
}

/* Bytes of the golden file. */
static char *load(const char *name, size_t *length)
{
    vlmp_error err = {0};
    char path[1024], *bytes;
    snprintf(path, sizeof path, GOLDEN "/%s", name);
    assert_int_equal(vlmp_file_read(&bytes, length, path, 1 << 20, &err), VLMP_OK);
    return bytes;
}

static void copy(const char *name, const char *as)
{
    size_t length;
    char path[64], *bytes = load(name, &length);
    snprintf(path, sizeof path, "bad/%s", as);
    temp_write(path, bytes, length);
    free(bytes);
}

static void start_over(void)
{
    static const char *const names[] = {TEXT,         TOWER,           "config.json",
                                        "other.gguf", "MMPROJ-b.gguf", "x.txt"};
    char path[64];
    mkdir(temp_path("bad"), 0700);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(path, sizeof path, "bad/%s", names[i]);
        unlink(temp_path(path));
        if (i < 3) copy(names[i], names[i]);
    }
}

static void refuse_opening(vlmp_opener opener, const char *path, const char *phrase)
{
    vlmp_error err = {0};
    vlmp_source *source;
    int status = vlmp_opener_open(&opener, &source, path, &err);
    if (status == VLMP_OK) fail_msg("read, but: %s", phrase);
    assert_int_equal(status, VLMP_ERR_INPUT);
    if (strstr(err.message, phrase) == NULL) fail_msg("'%s' lacks '%s'", err.message, phrase);
}

/* Which files are meant, by what is beside them. */
static void files_are_found(void **state)
{
    (void)state;
    vlmp_opener opener = {.gguf = true};
    start_over();
    assert_values(open_good(&opener, temp_path("bad/" TEXT)));
    vlmp_opener_free(&opener);

    copy(TEXT, "other.gguf");
    opener.gguf = true;
    refuse_opening(opener, temp_path("bad"), "2 GGUF files of a text model");
    open_good(&opener, temp_path("bad/other.gguf"));
    vlmp_opener_free(&opener);
    copy(TOWER, "MMPROJ-b.gguf");
    opener.gguf = true;
    refuse_opening(opener, temp_path("bad/" TEXT), "2 GGUF files with 'mmproj'");
    opener.mmproj = temp_path("bad/MMPROJ-b.gguf");
    open_good(&opener, temp_path("bad/" TEXT));
    vlmp_opener_free(&opener);

    start_over();
    unlink(temp_path("bad/" TOWER));
    opener = (vlmp_opener){.gguf = true};
    refuse_opening(opener, temp_path("bad"), "0 GGUF files with 'mmproj'");
    opener.mmproj = temp_path("bad/" TEXT);
    refuse_opening(opener, temp_path("bad"), "general.architecture is 'llama', not 'clip'");
    opener.mmproj = GOLDEN "/" TOWER;
    opener.base = temp_path("nowhere");
    refuse_opening(opener, temp_path("bad"), "nowhere: no such model folder");
    unlink(temp_path("bad/config.json"));
    opener.base = NULL;
    refuse_opening(opener, temp_path("bad"), "give it by --base");
    opener.base = GOLDEN;
    open_good(&opener, temp_path("bad"));
    vlmp_opener_free(&opener);
    refuse_opening((vlmp_opener){0}, GOLDEN, "vlm-eval, vlm-run, vlm-inspect and vlm-export");
}

/* Bytes of a file that change: behind a text, or from the file's beginning where it is empty. */
typedef struct {
    const char *file, *behind;
    int skip;
    uint64_t value;
    size_t bytes;
    const char *phrase;
} patch;

#define Q "blk.0.attn_q.weight" /* then rank, sides, type, offset; Q4_0 */

static const patch patches[] = {
    {TEXT, "", 4, 1, 4, "GGUF version 1; 2 and 3"},
    {TEXT, "", 4, 0x03000000, 4, "GGUF version 3, big-endian"},
    {TEXT, "", 8, UINT64_MAX, 8, "tensors, more than are read"},
    {TEXT, "", 8, 100000, 8, "tensors, more than the file holds"},
    {TEXT, "", 8, 13, 8, "must have 1 to 63"},
    {TEXT, "", 16, UINT64_MAX, 8, "keys, more than are read"},
    {TEXT, "", 16, 60000, 8, "keys, more than the file holds"},
    {TEXT, "", 24, UINT64_MAX - 8, 8, "a key has 18446744073709551607 bytes"},
    {TEXT, "", 24, 0, 8, "a key has 0 bytes"},
    {TEXT, "", 32, 7, 1, "a key has a control character"},
    {TEXT, "", 32, 0xff, 1, "a key is not valid UTF-8"},
    {TEXT, "llama.block_count", 0, 99, 4, "is of type 99, which GGUF does not have"},
    {TEXT, "llama.block_count", 0, 0x900000009, 8, "is of type 9, which arrays do not hold"},
    {TEXT, "llama.block_count", 0, 8, 4, "the file holds|bytes, but"},
    {TOWER, "clip.vision.", 0, 0x6863746170, 5, "'clip.vision.patch_size' appears twice"},
    {TEXT, "general.alignment", 4, 0, 4, "general.alignment is 0"},
    {TEXT, "general.alignment", 4, 48, 4, "general.alignment is 48"},
    {TEXT, "general.alignment", 4, 1 << 20, 4, "general.alignment is 1.04858e+06"},
    {TEXT, "blk.0.attn_k", -1, 'q', 1, "blk.0.attn_q.weight' appears twice"},
    {TEXT, Q, 0, 0, 4, "has 0 dimensions"},
    {TEXT, Q, 0, 5, 4, "has 5 dimensions"},
    {TEXT, Q, 4, 0, 8, "has a side of 0"},
    {TEXT, Q, 12, (uint64_t)1 << 31, 8, "has a side of 2147483648"},
    {TEXT, Q, 12, UINT64_MAX, 8, "has a side of 18446744073709551615"},
    {TEXT, Q, 4, 255, 8, "is not made of blocks of 32"},
    {TEXT, Q, 20, 9, 4, Q "' is of type Q8_1, which is not read"},
    {TEXT, Q, 20, 4, 4, Q "' is of type 4, which ggml does not have"},
    {TEXT, Q, 20, UINT32_MAX, 4, "which ggml does not have"},
    {TEXT, Q, 24, 64, 8, Q "' begins at byte 64 of the data"},
    {TEXT, Q, 12, 31, 8, "not where the one before it ends|are no 4 heads"},
    {TEXT, Q, 12, INT32_MAX, 8, "not where the one before it ends"},
    {TEXT, "general.architecture", 12, 'x', 1, "general.architecture is 'xlama', not 'llama'"},
    {TEXT, "head_count", 4, 8, 4, "llama.attention.head_count is 8, the base model's is 4"},
    {TEXT, "rope.freq_base", 4, 0x49742400, 4,
     "rope.freq_base is 1e+06, the base model's is 10000"},
    {TEXT, "head_count_kv", -1, 'x', 1, "head_count_kv is 4, the base model's is 2"},
    {TEXT, "key_length", -1, 'x', 1, "key_length is 64, the base model's is 8"},
    {TOWER, "clip.projector_type", 12, 'x', 1, "clip.projector_type is 'xlp', not 'mlp'"},
    {TOWER, "clip.vision.patch_size", 4, 14, 4, "patch_size is 14, the base model's is 8"},
    {TOWER, "v.blk.0.attn_k", -1, 'x', 1, "v.blk.0.attn_x.weight' has no place"},
    {TEXT, "blk.", 0, '1', 1, "that the text model has fewer layers"},
    {"config.json", "\"vocab_size\": ", 0, 0x3133, 2, TEXT ": tensor 'token_embd.weight' at byte"},
};

static bool has_phrase(const char *message, const char *phrases)
{
    char copy_of[200];
    snprintf(copy_of, sizeof copy_of, "%s", phrases);
    for (char *at = strtok(copy_of, "|"); at != NULL; at = strtok(NULL, "|"))
        if (strstr(message, at) != NULL) return true;
    return false;
}

static void write_patched(const patch *p)
{
    size_t length;
    char *bytes = load(p->file, &length), path[64];
    const char *at = memmem(bytes, length, p->behind, strlen(p->behind));
    assert_non_null(at);
    memcpy(bytes + (at - bytes) + strlen(p->behind) + p->skip, &p->value, p->bytes);
    snprintf(path, sizeof path, "bad/%s", p->file);
    temp_write(path, bytes, length);
    free(bytes);
}

static void damaged_files_are_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof patches / sizeof *patches; i++) {
        vlmp_error err = {0};
        vlmp_opener opener = {.gguf = true};
        vlmp_source *source;
        start_over();
        write_patched(&patches[i]);
        int status = vlmp_opener_open(&opener, &source, temp_path("bad"), &err);
        if (status == VLMP_OK) fail_msg("%zu: read, but: %s", i, patches[i].phrase);
        assert_int_equal(status, VLMP_ERR_INPUT);
        if (!has_phrase(err.message, patches[i].phrase) ||
            strstr(err.message, patches[i].file) == NULL)
            fail_msg("%zu: '%s' lacks '%s' or '%s'", i, err.message, patches[i].phrase,
                     patches[i].file);
    }
}

/* At every length the file is refused; only padding may be missing. */
static void cut_files_are_refused(void **state)
{
    (void)state;
    size_t length;
    char *bytes = load(TOWER, &length);
    start_over();
    for (size_t cut = 0; cut < length; cut += cut < 2000 ? 7 : 1999) {
        vlmp_error err = {0};
        vlmp_gguf_file file;
        temp_write("bad/" TOWER, bytes, cut);
        assert_int_equal(vlmp_gguf_open(&file, temp_path("bad/" TOWER), &err), VLMP_ERR_INPUT);
        assert_non_null(strstr(err.message, TOWER));
    }
    free(bytes);
}

/* A scale that is no number is named by its tensor. */
static void scales_must_be_finite(void **state)
{
    (void)state;
    vlmp_error err = {0};
    vlmp_gguf_file file;
    size_t length;
    char *bytes = load(TEXT, &length);
    start_over();
    assert_int_equal(vlmp_gguf_open(&file, GOLDEN "/" TEXT, &err), VLMP_OK);
    const vlmp_gguf_stored *q = vlmp_gguf_find_tensor(&file, Q);
    memcpy(bytes + q->offset + 18, "\x00\x7e", 2);
    vlmp_gguf_close(&file);
    temp_write("bad/" TEXT, bytes, length);
    free(bytes);
    refuse_opening((vlmp_opener){.gguf = true}, temp_path("bad"), Q "' at element 9 is nan");
}

/* Whether the table is stored again is seen when the values of both are made. */
static void a_tied_head_can_be_blocks(void **state)
{
    (void)state;
    static const char tied[] = "{\"tie_word_embeddings\": true,";
    vlmp_opener opener = {.gguf = true};
    vlmp_error err = {0};
    vlmp_model model;
    size_t length;
    char *json = load("config.json", &length), config[2048];
    start_over();
    snprintf(config, sizeof config, "%s%.*s", tied, (int)length - 1, json + 1);
    free(json);
    temp_write("bad/config.json", config, strlen(config));
    vlmp_source *source = open_good(&opener, temp_path("bad"));
    assert_int_equal(vlmp_model_open(&model, source, &err), VLMP_ERR_INPUT);
    assert_non_null(strstr(err.message, "differs from the embedding table"));
    vlmp_model_close(&model);
    vlmp_opener_free(&opener);
}

/* Two texts with their lengths change places; a stands before b. */
static void swap_texts(char *bytes, size_t length, const char *a, const char *b)
{
    char *first = memmem(bytes, length, a, strlen(a)),
         *second = memmem(bytes, length, b, strlen(b));
    size_t x = strlen(a) + sizeof(uint64_t), y = strlen(b) + sizeof(uint64_t);
    assert_true(first != NULL && first < second);
    first -= sizeof(uint64_t), second -= sizeof(uint64_t);
    size_t between = (size_t)(second - first) - x;
    char *turned = vlmp_alloc(x + between + y, 1);
    memcpy(turned, second, y);
    memcpy(turned + y, first + x, between);
    memcpy(turned + y + between, first, x);
    memcpy(first, turned, x + between + y);
    free(turned);
}

/* What llama.cpp's first converters call ffn_up and ffn_down. */
static void swapped_names_are_read(void **state)
{
    (void)state;
    vlmp_opener opener = {.gguf = true};
    size_t length;
    char *bytes = load(TOWER, &length);
    start_over();
    swap_texts(bytes, length, "v.blk.0.ffn_up.weight", "v.blk.0.ffn_down.weight");
    swap_texts(bytes, length, "v.blk.0.ffn_up.bias", "v.blk.0.ffn_down.bias");
    temp_write("bad/" TOWER, bytes, length);
    free(bytes);
    assert_values(open_good(&opener, temp_path("bad")));
    vlmp_opener_free(&opener);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_are_ggmls),          cmocka_unit_test(files_are_found),
        cmocka_unit_test(damaged_files_are_refused), cmocka_unit_test(cut_files_are_refused),
        cmocka_unit_test(scales_must_be_finite),     cmocka_unit_test(a_tied_head_can_be_blocks),
        cmocka_unit_test(swapped_names_are_read),
    };
    return cmocka_run_group_tests(tests, temp_folder_make, temp_folder_remove);
}
