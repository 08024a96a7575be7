/* Packed files: the golden file is read, everything else is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/packed.h"
#include "formats/st_hash.h"
#include "formats/weight_sizes.h"
#include "src/base/file.h"
#include "src/base/packed_parts.h"
#include "tests/unit/temp_folder.h"

static char *golden;
static size_t golden_length;

static int set_up(void **state)
{
    vlmp_error err = {0};
    if (temp_folder_make(state) != 0) return 1;
    return vlmp_file_read(&golden, &golden_length,
                          VLMP_SOURCE_ROOT "/tests/golden/packed/tiny.vlmp", 1 << 20, &err);
}

static int tear_down(void **state)
{
    free(golden);
    return temp_folder_remove(state);
}

static size_t golden_data_start(void)
{
    uint64_t length;
    memcpy(&length, golden, 8); /* little-endian machines only, like the runtime */
    return (size_t)length + 8;
}

/* w = (u − z)·s from the file, as FORMAT.md section 4 says. */
static float weight_at(const vlmp_source *source, const char *name, int n, int k, int columns)
{
    char part[100];
    const vlmp_scheme *scheme = source->scheme(source, name);
    assert_non_null(scheme);
    snprintf(part, sizeof part, "%s.codes", name);
    const vlmp_tensor *codes = source->find(source, part);
    snprintf(part, sizeof part, "%s.scales", name);
    const vlmp_tensor *scales = source->find(source, part);
    snprintf(part, sizeof part, "%s.zeros", name);
    const vlmp_tensor *zeros = source->find(source, part);
    int bits = scheme->codes == VLMP_CODES_U4 ? 4 : 8;
    int group = scheme->group == 0 ? columns : scheme->group, g = k / group;
    const unsigned char *row = codes->data + n * codes->shape[1];
    int u = bits == 8 ? row[k] : row[k / 2] >> 4 * (k % 2) & 15;
    int z = 1 << (bits - 1);
    if (zeros != NULL) {
        row = zeros->data + n * zeros->shape[1];
        z = bits == 8 ? row[g] : row[g / 2] >> 4 * (g % 2) & 15;
    }
    float s;
    size_t size = vlmp_dtype_size(scales->dtype);
    vlmp_to_f32(&s, scales->data + (size_t)(n * scales->shape[1] + g) * size, scales->dtype, 1);
    return (float)(u - z) * s;
}

static void golden_is_read(void **state)
{
    (void)state;
    static const float q[2][6] = {{-1, 0, 0, 0.5f, 2, 4}, {1.75f, 1.75f, 15, 0, -15, -7}};
    static const float projector[2][3] = {{0, 63.5f, -63.5f}, {-16, -8, 0.125f}};
    vlmp_error err = {0};
    vlmp_source *source;
    temp_write("golden", golden, golden_length);
    assert_int_equal(vlmp_packed_open(&source, temp_path("golden"), &err), VLMP_OK);
    assert_int_equal(vlmp_packed_verify(source, NULL, NULL, &err), VLMP_OK);
    assert_string_equal(source->kind, "packed");
    for (int n = 0; n < 2; n++) {
        for (int k = 0; k < 6; k++)
            assert_true(weight_at(source, "vision.layers.0.attn.q", n, k, 6) == q[n][k]);
        for (int k = 0; k < 3; k++)
            assert_true(weight_at(source, "projector.1", n, k, 3) == projector[n][k]);
    }
    assert_true(source->scheme(source, "projector.1")->int8_activations);
    assert_null(source->scheme(source, "projector.0"));
    assert_true(source->find(source, "vision.post_norm.weight")->unused);
    const vlmp_tensor *kept = source->find(source, "projector.0.weight");
    assert_string_equal(kept->source_name, "multi_modal_projector.linear_1.weight");
    assert_false(kept->unused);
    size_t length;
    assert_memory_equal(source->file(source, "config.json", &length), "{\"model_type\":", 14);
    assert_memory_equal(source->file(source, "tokenizer.json", &length), "{}", 2);
    assert_int_equal(length, 2);
    assert_null(source->file(source, "other.json", &length));
    assert_string_equal(source->at(source, 0)->name, "vision.class");
    assert_string_equal(vlmp_packed_note(source, "vlmp.recipe", NULL),
                        "{\"version\":1,\"rules\":[]}");
    source->close(source);
}

/* Code (n, k) of a linear times its scale, by the readers that everything else uses. */
static float float_at(const vlmp_source *source, const char *name, int n, int k)
{
    char part[100];
    const vlmp_scheme *scheme = source->scheme(source, name);
    assert_non_null(scheme);
    snprintf(part, sizeof part, "%s.codes", name);
    const vlmp_tensor *codes = source->find(source, part);
    snprintf(part, sizeof part, "%s.scales", name);
    const vlmp_tensor *scales = source->find(source, part);
    vlmp_code_grid grid = vlmp_code_grid_of(scheme);
    int bits = vlmp_code_types[scheme->codes].bits;
    int columns = (int)codes->shape[1] * 8 / bits;
    size_t at = vlmp_scale_index(scheme, (size_t)n, (size_t)scales->shape[1],
                                 (size_t)(k / vlmp_scheme_group(scheme, columns)));
    snprintf(part, sizeof part, "%s.global", name);
    const vlmp_tensor *global = source->find(source, part);
    float scale = vlmp_scale_at(scales->data, at, scheme->scales);
    if (global != NULL) scale *= vlmp_scale_at(global->data, 0, global->dtype);
    int code = vlmp_code_at(codes->data + n * codes->shape[1], k, bits);
    return vlmp_code_level(&grid, code, 0) * scale;
}

/* What the codes of scripts/golden-packed.py stand for, by hand from FORMAT.md. */
static void golden_floats_are_read(void **state)
{
    (void)state;
    static const float q[2][6] = {{0.5f, -0.5f, 224, 0x1p-10f, 0.75f, 0},
                                  {4, 6, -6, 0x1p-5f, 7 * 0x1p-8f, -896}};
    static const float e2m1[16] = {0, 0.5f,  1,  1.5f,  2,  3,  4,  6,
                                   0, -0.5f, -1, -1.5f, -2, -3, -4, -6};
    vlmp_error err = {0};
    vlmp_source *source;
    assert_int_equal(
        vlmp_packed_open(&source, VLMP_SOURCE_ROOT "/tests/golden/packed/floats.vlmp", &err),
        VLMP_OK);
    assert_int_equal(vlmp_packed_verify(source, NULL, NULL, &err), VLMP_OK);
    for (int n = 0; n < 2; n++) {
        for (int k = 0; k < 6; k++)
            assert_true(float_at(source, "text.layers.0.attn.q", n, k) == q[n][k]);
        for (int k = 0; k < 256; k++) {
            int m = k % 16;
            float v = m < 8 ? 0.5f * (1 + (float)m / 8) : 1 + (float)(m - 8) / 8;
            v *= (n == 0 ? 1.0f : -1.0f) * (k < 128 ? 0.5f : 4.0f);
            assert_true(float_at(source, "text.layers.0.attn.o", n, k) == v);
        }
        for (int k = 0; k < 32; k++) {
            float v = n == 0 ? e2m1[k % 16] * 2 : e2m1[15 - k % 16] * 0.125f;
            assert_true(float_at(source, "text.layers.0.mlp.gate", n, k) == v);
        }
    }
    for (int k = 0; k < 32; k++)
        assert_true(float_at(source, "text.layers.0.mlp.up", 0, k) ==
                    e2m1[k % 8] * (k < 16 ? 0.25f : 0.5f));
    source->close(source);
}

/* The worked example of FORMAT.md section 7. */
static void golden_three_bits_are_read(void **state)
{
    (void)state;
    static const float want[2][6] = {{-1, 0, 0, 0.5f, 2, 4}, {0.75f, 0.75f, 7, 0, -7, -3}};
    static const char name[] = VLMP_SOURCE_ROOT "/tests/golden/packed/three.vlmp";
    vlmp_error err = {0};
    vlmp_source *source;
    vlmp_weight_sizes sizes;
    assert_int_equal(vlmp_packed_open(&source, name, &err), VLMP_OK);
    assert_int_equal(vlmp_packed_verify(source, NULL, NULL, &err), VLMP_OK);
    const uint8_t *low = source->find(source, "text.layers.0.attn.q.codes2")->data;
    const uint8_t *high = source->find(source, "text.layers.0.attn.q.codes1")->data;
    const uint8_t *zeros = source->find(source, "text.layers.0.attn.q.zeros")->data;
    const void *scales = source->find(source, "text.layers.0.attn.q.scales")->data;
    assert_int_equal(source->scheme(source, "text.layers.0.attn.q")->codes, VLMP_CODES_U3);
    for (int n = 0; n < 2; n++)
        for (int k = 0; k < 6; k++) {
            int u = vlmp_planes_at(low + 2 * n, high + n, k, VLMP_CODES_U3);
            int z = vlmp_code_at(zeros + 2 * n, k / 2, 4);
            float scale = vlmp_scale_at(scales, (size_t)(3 * n + k / 2), VLMP_F16);
            assert_true((float)(u - z) * scale == want[n][k]);
        }
    vlmp_weight_sizes_of(source, &sizes);
    assert_int_equal(sizes.total.weights, 12);
    assert_int_equal(sizes.total.bytes, 2 * (2 + 1 + 2 + 3 * 2));
    source->close(source);
}

/* By hand from the table of FORMAT.md section 7 and the script that made the file. */
static void sizes_are_counted(void **state)
{
    (void)state;
    vlmp_error err = {0};
    vlmp_source *source;
    vlmp_weight_sizes sizes;
    temp_write("golden", golden, golden_length);
    assert_int_equal(vlmp_packed_open(&source, temp_path("golden"), &err), VLMP_OK);
    vlmp_weight_sizes_of(source, &sizes);
    source->close(source);
    assert_int_equal(sizes.parts[VLMP_COMPONENT_VISION].weights, 3 + 12);
    assert_int_equal(sizes.parts[VLMP_COMPONENT_VISION].bytes, 12 + 6 + 12 + 4);
    assert_int_equal(sizes.parts[VLMP_COMPONENT_PROJECTOR].weights, 6 + 6);
    assert_int_equal(sizes.parts[VLMP_COMPONENT_PROJECTOR].bytes, 12 + 6 + 8);
    assert_int_equal(sizes.parts[VLMP_COMPONENT_TEXT].weights, 128);
    assert_int_equal(sizes.parts[VLMP_COMPONENT_TEXT].bytes, 64 + 32);
    assert_int_equal(sizes.total.weights, 155);
    assert_int_equal(sizes.total.bytes, 156);
    assert_int_equal(sizes.total.quantized_weights, 146);
    assert_int_equal(sizes.total.quantized_bytes, 132);
    assert_int_equal(sizes.unused_bytes, 6);
    assert_true(vlmp_bits_per_weight(sizes.total.bytes, sizes.total.weights) == 8.0 * 156 / 155);
}

/* The file is refused, when opened or when verified, with this phrase; NULL: any. */
static void refuse(const char *name, const char *phrase, const char *what)
{
    vlmp_error err = {0};
    vlmp_source *source;
    int status = vlmp_packed_open(&source, temp_path(name), &err);
    if (status == VLMP_OK) {
        status = vlmp_packed_verify(source, NULL, NULL, &err);
        source->close(source);
    }
    if (status != VLMP_ERR_INPUT) fail_msg("%s: status %d (%s)", what, status, err.message);
    if (phrase != NULL && strstr(err.message, phrase) == NULL)
        fail_msg("%s: '%s'", what, err.message);
    if (strstr(err.message, name) == NULL) fail_msg("no file in '%s'", err.message);
}

/* The golden file with `from` replaced by `to` in its header; padding and, unless told otherwise,
 * vlmp.header made good. */
static void edit_header(const char *name, const char *from, const char *to, int extra_padding,
                        bool rehash)
{
    size_t start = golden_data_start(), used = start;
    while (golden[used - 1] == ' ')
        used--;
    char *hit = memmem(golden + 8, used - 8, from, strlen(from));
    if (hit == NULL) fail_msg("'%s' is not in the header", from);
    size_t before = (size_t)(hit - golden), length = used - strlen(from) + strlen(to);
    size_t padded = (length + 63) / 64 * 64 + (size_t)extra_padding;
    char *file = calloc(padded + golden_length - start, 1);
    assert_non_null(file);
    memcpy(file, golden, before);
    memcpy(file + before, to, strlen(to));
    memcpy(file + before + strlen(to), hit + strlen(from), used - before - strlen(from));
    memset(file + length, ' ', padded - length);
    memcpy(file + padded, golden + start, golden_length - start);
    for (int i = 0; i < 8; i++)
        file[i] = (char)((padded - 8) >> 8 * i);
    size_t at = vlmp_st_header_hash_at((unsigned char *)file, padded);
    if (rehash && at > 0) {
        char hex[VLMP_SHA256_HEX];
        vlmp_st_header_hash((unsigned char *)file, padded, at, hex);
        memcpy(file + at, hex, 64);
    }
    temp_write(name, file, padded + golden_length - start);
    free(file);
}

static const struct {
    const char *from, *to, *phrase;
} edits[] = {
    {"\"vlmp.version\":\"1\"", "\"vlmp.version\":\"2\"", "use a newer vlmpack"},
    {"vlmp.version", "vlmp.versiom", "this is not a packed model"},
    {"[\\\"codes-4\\\"", "[\\\"codes-2\\\",\\\"codes-4\\\"", "feature 'codes-2'"},
    {"[\\\"codes-4\\\"", "[4", "needs the feature"},
    {"\"vlmp.requires\":\"[", "\"vlmp.requires\":\"{", "not valid JSON"},
    {"\"vlmp.config\"", "\"xlmp.config\"", "no 'vlmp.config'"},
    {"\"vlmp.linears\"", "\"xlmp.linears\"", "no 'vlmp.linears'"},
    {"\"vlmp.tensors\"", "\"xlmp.tensors\"", "no 'vlmp.tensors'"},
    {"\"vlmp.digest\"", "\"xlmp.digest\"", "no 'vlmp.digest'"},
    {"\"vlmp.digest\":\"c6", "\"vlmp.digest\":\"c7", "does not match the tensors' hashes"},
    {"\"vlmp.digest\":\"c6", "\"vlmp.digest\":\"c", "not a SHA-256"},
    {"\"vlmp.header\"", "\"vlmp.heather\"", "no readable 'vlmp.header'"},
    {"\\\"vision.class\\\":{", "\\\"vision.clasp\\\":{", "'vision.class' is not listed"},
    {"\\\"file/tokenizer.json\\\":{", "\\\"x\\\":{},\\\"file/tokenizer.json\\\":{",
     "lists 13 tensors, the header 12"},
    {"\\\"sha256\\\"", "\\\"sha257\\\"", "has no SHA-256"},
    {"\\\"source\\\"", "\\\"sauce\\\"", "has no source name"},
    {"\\\"source\\\":\\\"", "\\\"source\\\":[\\\"", "not valid JSON"},
    {"\"file/tokenizer.json\":{", "\"file/../x.json\":{", "not a file of a model"},
    {"\\\"shape\\\":[2,6],\\\"bits\\\":4,\\\"group\\\":2",
     "\\\"shape\\\":[2,6],\\\"bits\\\":4,\\\"group\\\":4", "do not fit"},
    {"\\\"shape\\\":[2,6],\\\"bits\\\":4,\\\"group\\\":2",
     "\\\"shape\\\":[2,6],\\\"bits\\\":4,\\\"group\\\":-1", "do not fit"},
    {"\\\"shape\\\":[2,6],\\\"bits\\\":4,\\\"group\\\":2",
     "\\\"shape\\\":[2,6],\\\"bits\\\":4,\\\"group\\\":3", "scales' at byte"},
    {"\\\"shape\\\":[2,6],\\\"bits\\\":4", "\\\"shape\\\":[2,6],\\\"bits\\\":2", "do not fit"},
    {"\\\"shape\\\":[2,6],\\\"bits\\\":4", "\\\"shape\\\":[2,6],\\\"bits\\\":3",
     "q.codes2' is missing"},
    {"\\\"shape\\\":[2,6],\\\"bits\\\":4", "\\\"shape\\\":[2,6],\\\"bits\\\":8", "codes' at byte"},
    {"\\\"shape\\\":[2,6]", "\\\"shape\\\":[0,6]", "out of range"},
    {"\\\"shape\\\":[2,6]", "\\\"shape\\\":[2,1e300]", "out of range"},
    {"\\\"shape\\\":[2,6]", "\\\"shape\\\":[2,6,1]", "two numbers"},
    {"\\\"shape\\\":[2,6]", "\\\"shape\\\":[3,6]", "codes' at byte"},
    {"\\\"shape\\\":[8,16],", "\\\"codes\\\":\\\"fp6\\\",\\\"shape\\\":[8,16],", "do not fit"},
    {"\\\"shape\\\":[8,16],", "\\\"codes\\\":\\\"fp8\\\",\\\"shape\\\":[8,16],", "do not fit"},
    {"\\\"shape\\\":[8,16],", "\\\"codes\\\":\\\"mxfp4\\\",\\\"shape\\\":[8,16],", "do not fit"},
    {"\\\"shape\\\":[2,6],\\\"bits\\\":4,\\\"group\\\":2,\\\"symmetric\\\":false",
     "\\\"codes\\\":\\\"fp8\\\",\\\"shape\\\":[2,6],\\\"bits\\\":8,\\\"group\\\":0,"
     "\\\"symmetric\\\":false",
     "do not fit"},
    {"\\\"shape\\\":[2,6],", "\\\"scales\\\":\\\"I8\\\",\\\"shape\\\":[2,6],", "scales of a type"},
    {"\\\"shape\\\":[2,6],", "\\\"scales\\\":\\\"BF16\\\",\\\"shape\\\":[2,6],", "not BF16 of"},
    {"\\\"symmetric\\\":false", "\\\"symmetric\\\":true", "although its linear has no zeros"},
    {"\\\"symmetric\\\":true", "\\\"symmetric\\\":false", "zeros' is missing"},
    {"\\\"activations\\\":\\\"int8\\\"", "\\\"activations\\\":\\\"int7\\\"", "neither float nor"},
    {"\\\"projector.1\\\":{\\\"shape\\\":[2,3],\\\"bits\\\":8,\\\"group\\\":0,\\\"symmetric\\\":"
     "true,\\\"activations\\\":\\\"int8\\\"},",
     "", "the linears have 2"},
    {"\\\"projector.1\\\":{\\\"shape\\\"", "\\\"projector.2\\\":{\\\"shape\\\"",
     "'projector.2.codes' is missing"},
    {"\"shape\":[2,1],\"data_offsets\"", "\"shape\":[2],\"data_offsets\"",
     "not F32 of shape 2 × 1"},
};

static void edited_headers_are_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof edits / sizeof *edits; i++) {
        edit_header("edited", edits[i].from, edits[i].to, 0, true);
        refuse("edited", edits[i].phrase, edits[i].to);
    }
    edit_header("edited", "\"pt\"", "\"pt\"", 1, true);
    refuse("edited", "not a multiple of 64", "one space of padding more");
    edit_header("edited", "\"pt\"", "\"pu\"", 0, false);
    refuse("edited", "does not match its hash", "another letter");
    edit_header("edited", "\"pt\"", "\"pu\"", 0, true);
    vlmp_error err = {0};
    vlmp_source *source;
    assert_int_equal(vlmp_packed_open(&source, temp_path("edited"), &err), VLMP_OK);
    source->close(source);
}

static void every_flipped_bit_is_found(void **state)
{
    (void)state;
    temp_write("flipped", golden, golden_length);
    FILE *file = fopen(temp_path("flipped"), "r+b");
    assert_non_null(file);
    for (size_t i = 0; i < golden_length; i++) {
        char flipped = (char)(golden[i] ^ 1 << i % 8);
        assert_int_equal(pwrite(fileno(file), &flipped, 1, (off_t)i), 1);
        refuse("flipped", NULL, "a flipped bit");
        assert_int_equal(pwrite(fileno(file), &golden[i], 1, (off_t)i), 1);
    }
    fclose(file);
}

static void every_cut_is_found(void **state)
{
    (void)state;
    temp_write("cut", golden, golden_length);
    for (size_t length = golden_length; length-- > 0;) {
        assert_int_equal(truncate(temp_path("cut"), (off_t)length), 0);
        refuse("cut", NULL, "a cut file");
    }
}

/* A scale of the golden file that is not legal, with the hashes made good. */
static void bad_values_are_refused(void **state)
{
    (void)state;
    static const uint16_t scales[] = {0x0000, 0x8000, 0xbc00, 0x7c00, 0x7e00};
    for (size_t i = 0; i < sizeof scales / sizeof *scales; i++) {
        vlmp_error err = {0};
        vlmp_source *source;
        temp_write("golden", golden, golden_length);
        assert_int_equal(vlmp_packed_open(&source, temp_path("golden"), &err), VLMP_OK);
        const vlmp_tensor *t = source->find(source, "vision.layers.0.attn.q.scales");
        char old_hash[VLMP_SHA256_HEX], new_hash[VLMP_SHA256_HEX];
        char *data = golden + t->file_offset, saved[2];
        size_t bytes = t->bytes;
        source->close(source);
        vlmp_sha256_hex(data, bytes, old_hash);
        memcpy(saved, data + 4, 2);
        memcpy(data + 4, &scales[i], 2);
        vlmp_sha256_hex(data, bytes, new_hash);
        edit_header("value", old_hash, new_hash, 0, true);
        memcpy(data + 4, saved, 2);
        refuse("value", "scale 2 of 'vision.layers.0.attn.q'", "a bad scale");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden_is_read),
        cmocka_unit_test(golden_floats_are_read),
        cmocka_unit_test(golden_three_bits_are_read),
        cmocka_unit_test(sizes_are_counted),
        cmocka_unit_test(edited_headers_are_refused),
        cmocka_unit_test(every_flipped_bit_is_found),
        cmocka_unit_test(every_cut_is_found),
        cmocka_unit_test(bad_values_are_refused),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
