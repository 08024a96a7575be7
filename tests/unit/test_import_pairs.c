/* Pairs of GGUF files by llama.cpp's own converter (scripts/golden-convert.py) have the weights of
 * the folders that it read, also written anew in other types and pieces; what they say of another
 * model is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/gguf_blocks.h"
#include "formats/gguf_read.h"
#include "formats/open.h"
#include "src/base/file.h"
#include "src/base/packed_parts.h"
#include "src/model/names.h"
#include "tests/unit/temp_folder.h"

#define GOLDEN VLMP_SOURCE_ROOT "/tests/golden/"
#define LLAVA  "import/gguf" /* its text model has another alignment than is written here */
#define QWEN   "import/converted/qwen2.5-vl"
#define IDEFIC "import/converted/idefics3-llama3"
#define TEXT   "model.gguf"
#define TOWER  "mmproj-model.gguf"

enum { NO_TYPE = -1 };

/* One file of a pair, written anew with a change. */
typedef struct {
    const char *pair, *file;
    const char *tensor, *as; /* its other name; "": it is left out; NULL: it stays */
    int type;                /* its other type; NO_TYPE: it stays */
    const char *without;     /* a key that is left out */
    const char *key;         /* that is added: one number, or a text */
    bool array;
    int number;
    const char *text;
    const char *phrase; /* of the refusal; NULL: it is read */
} change;

typedef struct {
    const change *c;
    vlmp_gguf_file file;
    size_t kept[64]; /* tensors */
} rewriting;

static int read_rows(void *arg, size_t index, int64_t first, int64_t count, void *out,
                     vlmp_error *err)
{
    (void)err;
    const rewriting *w = arg;
    const vlmp_gguf_stored *stored = &w->file.tensors[w->kept[index]];
    int k = (int)stored->about.shape[stored->about.rank - 1];
    vlmp_gguf_tensor wanted = stored->about;
    bool other = w->c->tensor != NULL && w->c->type != NO_TYPE &&
                 strcmp(w->c->tensor, stored->about.name) == 0;
    if (other) wanted.type = (vlmp_gguf_type)w->c->type;
    size_t bytes = 0, stored_bytes = 0;
    vlmp_gguf_row_bytes(&wanted, &bytes, err);
    vlmp_gguf_row_bytes(&stored->about, &stored_bytes, err);
    float *row = vlmp_alloc((size_t)k, sizeof *row);
    for (int64_t r = first; r < first + count; r++, out = (char *)out + bytes) {
        const unsigned char *from = stored->data + (size_t)r * stored_bytes;
        vlmp_gguf_to_floats(row, stored->about.type, from, k);
        if (other)
            vlmp_gguf_from_floats(out, wanted.type, row, k);
        else
            memcpy(out, from, bytes);
    }
    free(row);
    return VLMP_OK;
}

/* The keys as they stand, but for the one that goes, which becomes one that nobody asks for. */
static void copy_keys(vlmp_gguf_keys *keys, const rewriting *w)
{
    const vlmp_gguf_file *file = &w->file;
    const char *first = file->tensors[0].about.name, *bytes = (const char *)file->map.data;
    const char *end = memmem(bytes, file->map.length, first, strlen(first));
    vlmp_buffer_append(&keys->bytes, bytes + 24, (size_t)(end - bytes) - 24 - sizeof(uint64_t));
    keys->count = file->key_count;
    if (w->c->without == NULL) return;
    char *at = memmem(keys->bytes.data, keys->bytes.length, w->c->without, strlen(w->c->without));
    assert_non_null(at);
    *at = 'x';
}

static void add_key(vlmp_gguf_keys *keys, const change *c)
{
    if (c->key == NULL) return;
    if (c->text != NULL)
        vlmp_gguf_put_string(keys, c->key, c->text);
    else if (c->array)
        vlmp_gguf_put_i32s(keys, c->key, &(int32_t){c->number}, 1);
    else
        vlmp_gguf_put_u32(keys, c->key, (uint32_t)c->number);
}

static void rewrite(const change *c, const char *from, const char *to)
{
    vlmp_error err = {0};
    rewriting w = {.c = c};
    vlmp_gguf_tensor tensors[64];
    vlmp_gguf_keys keys = {0};
    vlmp_outfile out;
    size_t count = 0;
    bool found = c->tensor == NULL;
    assert_int_equal(vlmp_gguf_open(&w.file, from, &err), VLMP_OK);
    assert_true(w.file.tensor_count < 64);
    for (size_t i = 0; i < w.file.tensor_count; i++) {
        tensors[count] = w.file.tensors[i].about;
        w.kept[count] = i;
        if (c->tensor != NULL && strcmp(c->tensor, tensors[count].name) == 0) {
            found = true;
            if (c->as != NULL) tensors[count].name = c->as;
            if (c->type != NO_TYPE) tensors[count].type = (vlmp_gguf_type)c->type;
        }
        count += *tensors[count].name != '\0';
    }
    assert_true(found);
    copy_keys(&keys, &w);
    add_key(&keys, c);
    assert_int_equal(vlmp_outfile_open(&out, to, true, &err), VLMP_OK);
    assert_int_equal(vlmp_gguf_write(&out, &keys, tensors, count, read_rows, &w, &err), VLMP_OK);
    assert_int_equal(vlmp_outfile_commit(&out, &err), VLMP_OK);
    vlmp_outfile_abort(&out);
    vlmp_gguf_keys_free(&keys);
    vlmp_gguf_close(&w.file);
}

/* Opens the pair with a change. */
static int open_changed(vlmp_opener *opener, vlmp_source **out, const change *c, vlmp_error *err)
{
    char text[1024], tower[1024];
    static char base[1024];
    bool of_text = strcmp(c->file, TEXT) == 0;
    snprintf(text, sizeof text, GOLDEN "%s/" TEXT, c->pair);
    snprintf(tower, sizeof tower, GOLDEN "%s/" TOWER, c->pair);
    snprintf(base, sizeof base, GOLDEN "%s", c->pair);
    rewrite(c, of_text ? text : tower, temp_path("changed.gguf"));
    *opener = (vlmp_opener){
        .gguf = true, .base = base, .mmproj = of_text ? tower : temp_path("changed.gguf")};
    return vlmp_opener_open(opener, out, of_text ? temp_path("changed.gguf") : text, err);
}

static float *values_of(const vlmp_tensor *tensor, size_t *count)
{
    *count = vlmp_dtype_count(tensor->dtype, tensor->bytes);
    float *out = vlmp_alloc(*count, sizeof *out);
    vlmp_to_f32(out, tensor->data, tensor->dtype, *count);
    return out;
}

/* Every tensor that the folder's model reads, and no other; but for one, within its type. */
static void assert_same(const vlmp_source *pair, const char *folder, const char *changed)
{
    vlmp_error err = {0};
    vlmp_opener opener = {0};
    vlmp_source *source;
    size_t tensors = 0;
    assert_int_equal(vlmp_opener_open(&opener, &source, folder, &err), VLMP_OK);
    for (size_t i = 0; i < source->count(source); i++) {
        const vlmp_tensor *wanted = source->at(source, i);
        if (wanted->unused) continue;
        tensors++;
        const vlmp_tensor *got = pair->find(pair, wanted->name);
        if (got == NULL) fail_msg("%s is missing", wanted->name);
        size_t count, got_count;
        float *a = values_of(wanted, &count), *b = values_of(got, &got_count);
        assert_int_equal(got_count, count);
        assert_int_equal(got->rank, wanted->rank);
        /* Scales of 8 bits: half a step of the largest of 32 values, which are below 2. */
        float bound = changed != NULL && strcmp(changed, wanted->name) == 0 ? 1.0f / 127 : 0;
        for (size_t k = 0; k < count; k++)
            if (!(fabsf(a[k] - b[k]) <= bound)) fail_msg("%s: value %zu", wanted->name, k);
        free(a);
        free(b);
    }
    assert_int_equal(pair->count(pair), tensors);
    vlmp_opener_close(&opener, source);
    vlmp_opener_free(&opener);
}

static void converted_pairs_are_the_models(void **state)
{
    (void)state;
    static const char *const pairs[] = {QWEN, IDEFIC};
    for (int i = 0; i < 2; i++) {
        const change none = {.pair = pairs[i], .file = TOWER, .type = NO_TYPE};
        vlmp_error err = {0};
        vlmp_opener opener;
        vlmp_source *source;
        char folder[1024];
        if (open_changed(&opener, &source, &none, &err) != VLMP_OK) fail_msg("%s", err.message);
        snprintf(folder, sizeof folder, GOLDEN "models%s", strrchr(pairs[i], '/'));
        assert_same(source, folder, NULL);
        vlmp_opener_free(&opener);
    }
}

/* A piece of other blocks than the rest: the whole is floats. */
static void pieces_of_several_types_are_read(void **state)
{
    (void)state;
    const change mixed = {
        .pair = QWEN, .file = TOWER, .tensor = "v.blk.1.attn_k.weight", .type = VLMP_GGUF_Q8_0};
    vlmp_error err = {0};
    vlmp_opener opener;
    vlmp_source *source;
    if (open_changed(&opener, &source, &mixed, &err) != VLMP_OK) fail_msg("%s", err.message);
    assert_same(source, GOLDEN "models/qwen2.5-vl", "vision.layers.1.attn.qkv.weight");
    const vlmp_tensor *tensor = source->find(source, "vision.layers.1.attn.qkv.weight");
    assert_int_equal(tensor->dtype, VLMP_F32);
    assert_int_equal(tensor->stored, 2 * 32 * 32 * 2 + 32 * 34);
    vlmp_opener_free(&opener);
}

static const change changes[] = {
    /* Pieces. */
    {QWEN, TOWER, "v.blk.0.attn_k.weight", "", NO_TYPE,
     .phrase = "v.blk.0.attn_q.weight' is there, but 1 of the 3"},
    {QWEN, TOWER, "v.blk.0.attn_q.bias", "", NO_TYPE,
     .phrase = "v.blk.0.attn_k.bias' is there, but 1 of the 3"},
    {QWEN, TOWER, "v.patch_embd.weight.1", "", NO_TYPE,
     .phrase = "v.patch_embd.weight' is there, but 1 of the 2"},
    {QWEN, TOWER, "v.blk.0.attn_k.weight", "v.blk.0.attn_qkv.weight", NO_TYPE,
     .phrase = "are the same weights"},
    {QWEN, TOWER, "v.blk.0.ffn_up.weight", "v.blk.3.attn_q.weight", NO_TYPE,
     .phrase = "v.blk.3.attn_q.weight' is there, but 2"},
    {QWEN, TOWER, "v.blk.0.attn_k.weight", "v.blk.0.attn_x.weight", NO_TYPE,
     .phrase = "attn_x.weight' has no place"},
    {QWEN, TOWER, "v.post_ln.weight", "v.patch_embd.bias", NO_TYPE,
     .phrase = "v.patch_embd.bias' has no place"},
    {QWEN, TOWER, "mm.0.weight", "mm.model.fc.weight", NO_TYPE,
     .phrase = "mm.model.fc.weight' has no place"},
    /* Another model's. */
    {QWEN, TOWER, .type = NO_TYPE, .without = "clip.use_silu", .phrase = "clip.use_silu is false"},
    {QWEN, TOWER, .type = NO_TYPE, .without = "clip.vision.n_wa_pattern",
     .key = "clip.vision.n_wa_pattern", .number = 3,
     .phrase = "n_wa_pattern is 3, the base model's is 2"},
    {QWEN, TOWER, .type = NO_TYPE, .without = "clip.vision.block_count",
     .key = "clip.vision.block_count", .number = 2,
     .phrase = "block_count is 2, the base model's is 3"},
    {QWEN, TEXT, .type = NO_TYPE, .without = "qwen2vl.rope.dimension_sections",
     .key = "qwen2vl.rope.dimension_sections", .array = true, .number = 1,
     .phrase = "dimension_sections has other numbers"},
    {QWEN, TEXT, .type = NO_TYPE, .without = "qwen2vl.rope.dimension_sections",
     .key = "qwen2vl.rope.dimension_sections", .number = 1, .phrase = "is not an array"},
    {IDEFIC, TOWER, .type = NO_TYPE, .without = "clip.use_gelu",
     .phrase = "clip.use_gelu is false"},
    {IDEFIC, TOWER, .type = NO_TYPE, .without = "clip.use_gelu", .key = "clip.use_gelu",
     .number = 1, .phrase = "is not true or false"},
    {IDEFIC, TOWER, .type = NO_TYPE, .without = "clip.vision.projector.scale_factor",
     .key = "clip.vision.projector.scale_factor", .number = 3,
     .phrase = "scale_factor is 3, the base model's is 2"},
    {IDEFIC, TEXT, "rope_freqs.weight", "", NO_TYPE, .phrase = "rope_freqs.weight' is missing"},
    {IDEFIC, TEXT, "rope_freqs.weight", NULL, VLMP_GGUF_F16,
     .phrase = "rope_freqs.weight' is of another scaling"},
    {IDEFIC, TEXT, .type = NO_TYPE, .key = "llama.rope.scaling.type", .text = "yarn",
     .phrase = "rope.scaling.type is 'yarn', not 'none'"},
    {IDEFIC, TEXT, .type = NO_TYPE, .key = "llama.rope.scaling.factor", .number = 2,
     .phrase = "rope.scaling.factor is 2, the base model's is 1"},
    {LLAVA, TEXT, "blk.0.attn_norm.weight", "rope_freqs.weight", NO_TYPE,
     .without = "general.alignment", .phrase = "rope_freqs.weight' is of another scaling"},
    {LLAVA, TEXT, .type = NO_TYPE, .without = "general.alignment", .key = "split.count",
     .number = 2, .phrase = "one of 2 parts of a file"},
    {LLAVA, TEXT, .type = NO_TYPE, .without = "general.alignment", .key = "split.count",
     .number = 1},
    {LLAVA, TEXT, "blk.0.attn_norm.weight", "blk.0.attn_q.bias", VLMP_GGUF_Q8_0,
     .without = "general.alignment", .phrase = "attn_q.bias' is quantized, which no vector is"},
    {LLAVA, TOWER, "v.pre_ln.weight", "v.post_ln.weight", NO_TYPE,
     .phrase = "v.post_ln.weight' has no place"},
    {LLAVA, TOWER, .type = NO_TYPE, .key = "clip.vision.feature_layer", .array = true, .number = 1},
    {LLAVA, TOWER, .type = NO_TYPE, .key = "clip.vision.feature_layer", .array = true, .number = 2,
     .phrase = "feature_layer has other numbers"},
};

static void changed_files(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        const change *c = &changes[i];
        vlmp_error err = {0};
        vlmp_opener opener;
        vlmp_source *source;
        int status = open_changed(&opener, &source, c, &err);
        const char *phrase = c->phrase;
        if (status != (phrase == NULL ? VLMP_OK : VLMP_ERR_INPUT))
            fail_msg("%zu: status %d, %s", i, status, phrase == NULL ? err.message : phrase);
        if (phrase != NULL && strstr(err.message, phrase) == NULL)
            fail_msg("%zu: '%s' lacks '%s'", i, err.message, phrase);
        vlmp_opener_free(&opener);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(converted_pairs_are_the_models),
        cmocka_unit_test(pieces_of_several_types_are_read),
        cmocka_unit_test(changed_files),
    };
    return cmocka_run_group_tests(tests, temp_folder_make, temp_folder_remove);
}
