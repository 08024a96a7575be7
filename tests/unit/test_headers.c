/* Models by their headers, or by config.json alone, against the same models by their weights: every
 * family. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "formats/hf_folder.h"
#include "src/model/model.h"

static const char *const models[] = {
    "llava-llama",   "llava-mistral", "llava-qwen2", "siglip-llama",    "next-llama",
    "next-llama3",   "next-mistral",  "next-qwen2",  "onevision-qwen2", "idefics3-llama3",
    "smolvlm-llama", "qwen2-vl",      "qwen2.5-vl",  "qwen3-vl"};

static vlmp_source *open_one(const char *name, const char *rest, bool headers)
{
    char path[1024];
    vlmp_error err = {0};
    vlmp_source *source;
    snprintf(path, sizeof path, VLMP_SOURCE_ROOT "/tests/golden/models/%s%s", name, rest);
    if ((headers ? vlmp_folder_open_headers : vlmp_folder_open)(&source, path, &err) != VLMP_OK)
        fail_msg("%s: %s", path, err.message);
    return source;
}

static void same_shape(const vlmp_tensor *a, const vlmp_tensor *b)
{
    bool same = a->rank == b->rank && a->unused == b->unused;
    for (int i = 0; i < a->rank && same; i++)
        same = a->shape[i] == b->shape[i];
    if (!same) fail_msg("%s: %s has another shape", a->file, a->name);
}

/* Each tensor that the model reads is promised with its shape, and nothing else is. */
static void configuration_promises_what_is_there(void **state)
{
    (void)state;
    for (size_t m = 0; m < sizeof models / sizeof *models; m++) {
        vlmp_source *whole = open_one(models[m], "", false);
        vlmp_source *alone = open_one(models[m], "/config.json", true);
        assert_true(alone->promised && !whole->promised);
        for (size_t i = 0; i < whole->count(whole); i++) {
            const vlmp_tensor *tensor = whole->at(whole, i);
            const vlmp_tensor *promised = alone->find(alone, tensor->name);
            if (promised == NULL && !tensor->unused) fail_msg("%s: no %s", models[m], tensor->name);
            if (promised != NULL) same_shape(promised, tensor);
        }
        for (size_t i = 0; i < alone->count(alone); i++) {
            const vlmp_tensor *promised = alone->at(alone, i);
            assert_null(promised->data);
            if (whole->find(whole, promised->name) == NULL)
                fail_msg("%s: nothing is %s", models[m], promised->name);
        }
        vlmp_error err = {0};
        vlmp_model model;
        if (vlmp_model_open(&model, alone, &err) != VLMP_OK) fail_msg("%s", err.message);
        vlmp_model_close(&model);
        whole->close(whole);
        alone->close(alone);
    }
}

static void headers_are_those_of_the_weights(void **state)
{
    (void)state;
    vlmp_source *whole = open_one("next-llama", "", false);
    vlmp_source *headers = open_one("next-llama", "", true);
    assert_false(headers->promised);
    assert_int_equal(whole->count(whole), headers->count(headers));
    for (size_t i = 0; i < whole->count(whole); i++) {
        const vlmp_tensor *a = whole->at(whole, i), *b = headers->at(headers, i);
        assert_string_equal(a->name, b->name);
        assert_int_equal(a->bytes, b->bytes);
        same_shape(a, b);
    }
    whole->close(whole);
    headers->close(headers);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(configuration_promises_what_is_there),
        cmocka_unit_test(headers_are_those_of_the_weights),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
