/* Packed files: plans, the round trip, the journal's sink. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/hf_folder.h"
#include "formats/journal_sink.h"
#include "formats/packed.h"
#include "src/base/file.h"
#include "tests/unit/schemes.h"
#include "tests/unit/temp_folder.h"
#include "tests/unit/tiny_model.h"

static tiny_model tiny;

static int set_up(void **state)
{
    if (temp_folder_make(state) != 0) return 1;
    tiny_make(&tiny);
    tiny_write(&tiny, "model");
    return 0;
}

static int tear_down(void **state)
{
    tiny_free(&tiny);
    return temp_folder_remove(state);
}

/* What a test model's quantized parts hold: constant codes, a scale that is legal. */
static void fill(const vlmp_tensor *tensor, unsigned char *out)
{
    const char *name = tensor->name;
    bool scales = strlen(name) > 7 && strcmp(name + strlen(name) - 7, ".scales") == 0;
    bool zeros = strlen(name) > 6 && strcmp(name + strlen(name) - 6, ".zeros") == 0;
    bool small = tensor->dtype == VLMP_F8_E4M3 || tensor->dtype == VLMP_F8_E8M0;
    for (size_t i = 0; i < tensor->bytes; i++)
        out[i] = small ? 0x38 : scales ? (i % 2 ? 0x3c : 0) : (unsigned char)(i * 7 + strlen(name));
    for (size_t i = 0; i < tensor->bytes; i++)
        if ((out[i] & 0x7f) == 0x7f) out[i]--; /* NaN among codes of fp8 */
    for (size_t i = 0; zeros && i < tensor->bytes; i++)
        out[i] &= 0x0f; /* the bits behind three 4-bit zeros must be 0 */
    for (size_t i = 0; tensor->dtype == VLMP_F32 && i < tensor->bytes; i += 4) /* scales, norms */
        memcpy(out + i, &(float){0.25f}, 4);
}

/* The last bytes of one tensor, which a test spoils. */
struct spoiled {
    const char *name;
    size_t length;
    unsigned char bytes[4];
};

static int read_fill(void *arg, const vlmp_tensor *tensor, uint64_t offset, void *out,
                     size_t length, vlmp_error *err)
{
    (void)err;
    const struct spoiled *spoiled = arg;
    unsigned char *whole = malloc(tensor->bytes);
    assert_non_null(whole);
    fill(tensor, whole);
    if (spoiled != NULL && strcmp(tensor->name, spoiled->name) == 0)
        memcpy(whole + tensor->bytes - spoiled->length, spoiled->bytes, spoiled->length);
    memcpy(out, whole + offset, length);
    free(whole);
    return VLMP_OK;
}

static vlmp_source *open_model(void)
{
    vlmp_error err = {0};
    vlmp_source *source;
    if (vlmp_folder_open(&source, temp_path("model"), &err) != VLMP_OK) fail_msg("%s", err.message);
    return source;
}

static void make_plan(vlmp_packed_plan *plan, const vlmp_source *source)
{
    static const struct {
        const char *name;
        vlmp_scheme scheme;
    } linears[] = {
        {"text.layers.0.attn.q", SCHEME(4, 32, true, false)},
        {"text.layers.1.mlp.down", SCHEME(4, 32, false, false)},
        {"vision.layers.0.mlp.fc2", SCHEME(8, 0, true, true)},
        {"text.embed", SCHEME(8, 64, false, false)},
        {"text.layers.0.attn.k", {VLMP_CODES_MXFP4, VLMP_F8_E8M0, 32, VLMP_ZEROS_NONE, 1, 0, 0}},
        {"text.layers.0.attn.v", {VLMP_CODES_NVFP4, VLMP_F8_E4M3, 16, VLMP_ZEROS_NONE, 1, 0, 0}},
        {"text.layers.0.attn.o", {VLMP_CODES_FP8, VLMP_F32, 0, VLMP_ZEROS_NONE, 1, 0, 0}},
    };
    vlmp_error err = {0};
    assert_int_equal(vlmp_packed_plan_init(plan, source, &err), VLMP_OK);
    for (size_t i = 0; i < sizeof linears / sizeof *linears; i++)
        if (vlmp_packed_plan_quantize(plan, linears[i].name, &linears[i].scheme, &err) != VLMP_OK)
            fail_msg("%s", err.message);
    assert_int_equal(
        vlmp_packed_plan_replace(plan, "text.layers.0.attn_norm.weight", VLMP_F32, &err), VLMP_OK);
}

static void check_round_trip(const vlmp_source *model, const vlmp_source *packed)
{
    size_t kept = 0, length, other;
    for (size_t i = 0; i < packed->count(packed); i++) {
        const vlmp_tensor *t = packed->at(packed, i), *from = model->find(model, t->name);
        if (from == NULL || from->dtype != t->dtype) {
            unsigned char *want = malloc(t->bytes);
            assert_non_null(want);
            fill(t, want);
            assert_memory_equal(t->data, want, t->bytes);
            free(want);
            continue;
        }
        kept++;
        assert_int_equal(t->bytes, from->bytes);
        assert_memory_equal(t->data, from->data, t->bytes);
        assert_string_equal(t->source_name, from->source_name);
        assert_int_equal(t->unused, from->unused);
        assert_int_equal((uintptr_t)t->data % (t->bytes % 64 == 0 ? 64 : 2), 0);
    }
    assert_int_equal(kept, model->count(model) - 8);
    for (size_t i = 0; model->file_at(model, i) != NULL; i++) {
        const char *name = model->file_at(model, i);
        assert_string_equal(packed->file_at(packed, i), name);
        const char *have = packed->file(packed, name, &length);
        const char *want = model->file(model, name, &other);
        assert_int_equal(length, other);
        assert_memory_equal(have, want, length);
    }
}

static void round_trip(void **state)
{
    (void)state;
    vlmp_error err = {0};
    vlmp_source *model = open_model(), *packed;
    vlmp_packed_plan plan;
    make_plan(&plan, model);
    vlmp_packed_entry entries[] = {{"vlmp.recipe", "{\"version\":1}", 0},
                                   {"vlmp.decisions", NULL, 500}};
    uint64_t size;
    assert_int_equal(vlmp_packed_size(&plan, entries, 2, &size, &err), VLMP_OK);
    entries[1].value = "{\"text.layers.0.attn.q\":{\"error\":0.125}}";
    char digest[VLMP_SHA256_HEX];
    for (int i = 0; i < 2; i++)
        if (vlmp_packed_write(&plan, entries, 2, temp_path(i ? "b.vlmp" : "a.vlmp"), false,
                              read_fill, NULL, digest, &err) != VLMP_OK)
            fail_msg("%s", err.message);
    char *a, *b;
    size_t a_length, b_length;
    assert_int_equal(vlmp_file_read(&a, &a_length, temp_path("a.vlmp"), 1 << 24, &err), VLMP_OK);
    assert_int_equal(vlmp_file_read(&b, &b_length, temp_path("b.vlmp"), 1 << 24, &err), VLMP_OK);
    assert_int_equal(a_length, size);
    assert_int_equal(a_length, b_length);
    assert_memory_equal(a, b, a_length);
    free(a);
    free(b);
    assert_int_equal(vlmp_packed_open(&packed, temp_path("a.vlmp"), &err), VLMP_OK);
    assert_int_equal(vlmp_packed_verify(packed, NULL, NULL, &err), VLMP_OK);
    assert_string_equal(packed->digest, digest);
    check_round_trip(model, packed);
    size_t linears;
    vlmp_packed_linears(packed, &linears);
    assert_int_equal(linears, 7);
    assert_int_equal(packed->find(packed, "text.layers.0.attn.v.scales")->dtype, VLMP_F8_E4M3);
    assert_int_equal(packed->find(packed, "text.layers.0.attn.v.global")->bytes, 4);
    assert_int_equal(packed->scheme(packed, "text.layers.0.attn.v")->codes, VLMP_CODES_NVFP4);
    assert_int_equal(packed->scheme(packed, "text.layers.0.attn.k")->scales, VLMP_F8_E8M0);
    assert_int_equal(packed->scheme(packed, "text.layers.0.attn.o")->codes, VLMP_CODES_FP8);
    const vlmp_scheme *scheme = packed->scheme(packed, "text.layers.1.mlp.down");
    assert_int_equal(scheme->group, 32);
    assert_int_equal(scheme->zeros, VLMP_ZEROS_PACKED);
    packed->close(packed);
    vlmp_packed_plan_free(&plan);
    model->close(model);
}

/* Bytes that stand for no number, or for none that a scale can be. */
static void bad_floats_are_refused(void **state)
{
    (void)state;
    static struct spoiled cases[] = {{"text.layers.0.attn.o.codes", 1, {0x7f}},
                                     {"text.layers.0.attn.o.codes", 1, {0xff}},
                                     {"text.layers.0.attn.k.scales", 1, {0xff}},
                                     {"text.layers.0.attn.v.scales", 1, {0x00}},
                                     {"text.layers.0.attn.v.scales", 1, {0x7f}},
                                     {"text.layers.0.attn.v.scales", 1, {0xb8}},
                                     {"text.layers.0.attn.v.global", 4, {0, 0, 0, 0}},
                                     {"text.layers.0.attn.v.global", 4, {0, 0, 0x80, 0xbf}},
                                     {"text.layers.0.attn.v.global", 4, {0, 0, 0x80, 0x7f}},
                                     {"text.layers.0.attn.v.global", 4, {0, 0, 0xc0, 0x7f}}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        vlmp_error err = {0};
        vlmp_source *model = open_model(), *packed;
        vlmp_packed_plan plan;
        char digest[VLMP_SHA256_HEX];
        make_plan(&plan, model);
        assert_int_equal(vlmp_packed_write(&plan, NULL, 0, temp_path("bad.vlmp"), true, read_fill,
                                           &cases[i], digest, &err),
                         VLMP_OK);
        assert_int_equal(vlmp_packed_open(&packed, temp_path("bad.vlmp"), &err), VLMP_OK);
        assert_int_equal(vlmp_packed_verify(packed, NULL, NULL, &err), VLMP_ERR_INPUT);
        if (strstr(err.message, "text.layers.0.attn") == NULL) fail_msg("%s", err.message);
        packed->close(packed);
        vlmp_packed_plan_free(&plan);
        model->close(model);
    }
}

static void keeping_all_keeps_the_digest(void **state)
{
    (void)state;
    vlmp_error err = {0};
    vlmp_source *model = open_model();
    vlmp_packed_plan plan;
    char digest[VLMP_SHA256_HEX], want[VLMP_SHA256_HEX];
    assert_int_equal(vlmp_packed_plan_init(&plan, model, &err), VLMP_OK);
    assert_int_equal(
        vlmp_packed_write(&plan, NULL, 0, temp_path("all.vlmp"), false, NULL, NULL, digest, &err),
        VLMP_OK);
    assert_int_equal(model->digest_now(model, want, &err), VLMP_OK);
    assert_string_equal(digest, want);
    vlmp_packed_plan_free(&plan);
    model->close(model);
}

/* A file from elsewhere: its hashes are right, what it holds is not. */
static void infinity_that_is_kept_is_found(void **state)
{
    (void)state;
    vlmp_error err = {0};
    uint16_t *last = (uint16_t *)(uintptr_t)(tiny.tensors[tiny.count - 1].data +
                                             tiny.tensors[tiny.count - 1].bytes - 2);
    uint16_t kept = *last;
    *last = 0x7f80;
    tiny_write(&tiny, "infinite");
    *last = kept;
    vlmp_source *model, *packed;
    vlmp_packed_plan plan;
    char digest[VLMP_SHA256_HEX];
    assert_int_equal(vlmp_folder_open(&model, temp_path("infinite"), &err), VLMP_OK);
    assert_int_equal(vlmp_packed_plan_init(&plan, model, &err), VLMP_OK);
    assert_int_equal(vlmp_packed_write(&plan, NULL, 0, temp_path("infinite.vlmp"), false, NULL,
                                       NULL, digest, &err),
                     VLMP_OK);
    assert_int_equal(vlmp_packed_open(&packed, temp_path("infinite.vlmp"), &err), VLMP_OK);
    assert_int_equal(vlmp_packed_verify(packed, NULL, NULL, &err), VLMP_ERR_INPUT);
    assert_non_null(strstr(err.message, "lm_head.weight"));
    packed->close(packed);
    vlmp_packed_plan_free(&plan);
    model->close(model);
}

static void impossible_plans_are_refused(void **state)
{
    (void)state;
    vlmp_source *model = open_model();
    vlmp_packed_plan plan;
    vlmp_error err = {0};
    assert_int_equal(vlmp_packed_plan_init(&plan, model, &err), VLMP_OK);
    static const struct {
        const char *name;
        vlmp_scheme scheme;
    } bad[] = {{"text.layers.0.attn.q", SCHEME(4, 48, true, false)},
               {"text.layers.0.attn.q", {.codes = VLMP_CODES_NONE, .group = 32}},
               {"text.layers.9.attn.q", SCHEME(4, 32, true, false)},
               {"vision.embed", SCHEME(8, 0, true, false)},
               {"text.norm", SCHEME(8, 0, true, false)}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        err = (vlmp_error){0};
        assert_int_equal(vlmp_packed_plan_quantize(&plan, bad[i].name, &bad[i].scheme, &err),
                         VLMP_ERR_INPUT);
    }
    vlmp_packed_plan_free(&plan);
    model->close(model);
}

/* A name that no reader accepts is refused before work, whatever tool made the folder. */
static void unreadable_names_are_refused(void **state)
{
    (void)state;
    static const char *const names[] = {"a\nb.txt", "\x1b[31m.json", "x\x7f.md", "\xff.txt"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[100];
        snprintf(path, sizeof path, "model/%s", names[i]);
        temp_write(path, "text", 4);
        vlmp_source *source = open_model();
        vlmp_packed_plan plan;
        vlmp_error err = {0};
        assert_int_equal(vlmp_packed_plan_init(&plan, source, &err), VLMP_ERR_INPUT);
        assert_non_null(strstr(err.message, names[i]));
        vlmp_packed_plan_free(&plan);
        source->close(source);
        assert_int_equal(remove(temp_path(path)), 0);
    }
    /* Unseen characters that are no controls are kept. */
    temp_write("model/a\xe2\x80\xae"
               "b.txt",
               "text", 4);
    vlmp_source *source = open_model(), *packed;
    vlmp_packed_plan plan;
    vlmp_error err = {0};
    char digest[VLMP_SHA256_HEX];
    size_t length;
    assert_int_equal(vlmp_packed_plan_init(&plan, source, &err), VLMP_OK);
    assert_int_equal(vlmp_packed_write(&plan, NULL, 0, temp_path("bidi.vlmp"), false, read_fill,
                                       NULL, digest, &err),
                     VLMP_OK);
    assert_int_equal(vlmp_packed_open(&packed, temp_path("bidi.vlmp"), &err), VLMP_OK);
    assert_non_null(packed->file(packed,
                                 "a\xe2\x80\xae"
                                 "b.txt",
                                 &length));
    packed->close(packed);
    vlmp_packed_plan_free(&plan);
    source->close(source);
    assert_int_equal(remove(temp_path("model/a\xe2\x80\xae"
                                      "b.txt")),
                     0);
}

/* What was there when the journal was opened and is gone now is an error, and never "not done". */
static void unreadable_records_are_errors(void **state)
{
    (void)state;
    vlmp_error err = {0};
    vlmp_sink *sink;
    const char *text;
    assert_int_equal(
        vlmp_journal_sink_open(&sink, temp_path("u"), "run: 1\n", VLMP_JOURNAL_NEW, &err), VLMP_OK);
    assert_int_equal(sink->commit(sink, "text.0", "{}", &err), VLMP_OK);
    assert_int_equal(sink->note(sink, "text.0", "a note", &err), VLMP_OK);
    assert_int_equal(sink->note(sink, "text.0", "another", &err), VLMP_OK);
    assert_int_equal(sink->record(sink, "text.0", &text, &err), VLMP_OK);
    assert_string_equal(text, "{}");
    assert_int_equal(sink->noted(sink, "text.0", &text, &err), VLMP_OK);
    assert_string_equal(text, "another");
    assert_int_equal(sink->noted(sink, "text.1", &text, &err), VLMP_OK);
    assert_null(text);
    assert_null(vlmp_journal_sink_step(sink, 1)); /* a note is no step */
    for (int bytes = 400; bytes >= 0; bytes -= 400) {
        assert_int_equal(truncate(temp_path("u"), bytes), 0);
        text = "";
        err = (vlmp_error){0};
        assert_int_equal(sink->record(sink, "text.0", &text, &err), VLMP_ERR_SYSTEM);
        assert_non_null(strstr(err.message, "became shorter"));
        assert_null(text);
        err = (vlmp_error){0};
        assert_int_equal(sink->noted(sink, "text.0", &text, &err), VLMP_ERR_SYSTEM);
    }
    vlmp_journal_sink_close(sink);
}

static void sink_keeps_and_gives(void **state)
{
    (void)state;
    vlmp_error err = {0};
    vlmp_sink *sink;
    vlmp_source *model = open_model();
    vlmp_packed_plan plan;
    make_plan(&plan, model);
    assert_int_equal(
        vlmp_journal_sink_open(&sink, temp_path("j"), "model: x\n", VLMP_JOURNAL_NEW, &err),
        VLMP_OK);
    for (size_t i = 0; i < plan.tensor_count; i++) {
        if (plan.tensors[i].data != NULL) continue;
        vlmp_tensor tensor = plan.tensors[i];
        unsigned char *bytes = malloc(tensor.bytes);
        assert_non_null(bytes);
        fill(&tensor, bytes);
        tensor.data = bytes;
        assert_int_equal(sink->put(sink, &tensor, &err), VLMP_OK);
        free(bytes);
    }
    assert_int_equal(sink->commit(sink, "text.0", "{\"error\":1}", &err), VLMP_OK);
    assert_int_equal(sink->put(sink, &tiny.tensors[0], &err), VLMP_OK); /* never committed */
    vlmp_journal_sink_close(sink);

    assert_int_equal(
        vlmp_journal_sink_open(&sink, temp_path("j"), "model: x\n", VLMP_JOURNAL_RESUME, &err),
        VLMP_OK);
    assert_string_equal(vlmp_journal_sink_step(sink, 0), "text.0");
    assert_null(vlmp_journal_sink_step(sink, 1));
    const char *record;
    assert_int_equal(sink->record(sink, "text.0", &record, &err), VLMP_OK);
    assert_string_equal(record, "{\"error\":1}");
    assert_int_equal(sink->record(sink, "text.1", &record, &err), VLMP_OK);
    assert_null(record);
    vlmp_tensor tensor;
    void *memory;
    assert_int_equal(sink->get(sink, "text.embed.codes", &tensor, &memory, &err), VLMP_OK);
    assert_int_equal(tensor.bytes, 32 * 64);
    assert_int_equal(tensor.shape[1], 64);
    assert_ptr_equal(tensor.data, memory);
    free(memory);
    assert_int_equal(sink->get(sink, tiny.tensors[0].name, &tensor, &memory, &err), VLMP_ERR_INPUT);
    char digest[VLMP_SHA256_HEX];
    err = (vlmp_error){0};
    if (vlmp_packed_write(&plan, NULL, 0, temp_path("sink.vlmp"), false, vlmp_journal_sink_read,
                          sink, digest, &err) != VLMP_OK)
        fail_msg("%s", err.message);
    vlmp_source *packed;
    assert_int_equal(vlmp_packed_open(&packed, temp_path("sink.vlmp"), &err), VLMP_OK);
    assert_int_equal(vlmp_packed_verify(packed, NULL, NULL, &err), VLMP_OK);
    check_round_trip(model, packed);
    packed->close(packed);
    vlmp_journal_sink_close(sink);
    vlmp_packed_plan_free(&plan);
    model->close(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip),
        cmocka_unit_test(bad_floats_are_refused),
        cmocka_unit_test(keeping_all_keeps_the_digest),
        cmocka_unit_test(infinity_that_is_kept_is_found),
        cmocka_unit_test(impossible_plans_are_refused),
        cmocka_unit_test(unreadable_names_are_refused),
        cmocka_unit_test(sink_keeps_and_gives),
        cmocka_unit_test(unreadable_records_are_errors),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
