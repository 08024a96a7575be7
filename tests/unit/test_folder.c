/* Model folders: one file and shards, names and unused tensors, what is refused, the hub cache. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/hf_folder.h"
#include "formats/hub.h"
#include "formats/open.h"
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

static vlmp_source *open_good(const char *name)
{
    vlmp_error err = {0};
    vlmp_source *source;
    if (vlmp_model_source_open(&source, temp_path(name), &err) != VLMP_OK)
        fail_msg("%s: %s", name, err.message);
    return source;
}

static void refuse(const char *name, const char *phrase)
{
    vlmp_error err = {0};
    vlmp_source *source;
    int status = vlmp_model_source_open(&source, temp_path(name), &err);
    if (status != VLMP_ERR_INPUT) fail_msg("%s: status %d (%s)", phrase, status, err.message);
    if (strstr(err.message, phrase) == NULL) fail_msg("%s: '%s'", phrase, err.message);
    if (strstr(err.message, temp_folder) == NULL) fail_msg("no file in '%s'", err.message);
    assert_null(source);
}

static void one_file_is_read(void **state)
{
    (void)state;
    size_t length;
    vlmp_source *s = open_good("model");
    assert_string_equal(s->kind, "folder");
    assert_int_equal(s->count(s), tiny.count);
    const vlmp_tensor *t = s->find(s, "text.layers.1.mlp.down.weight");
    assert_string_equal(t->source_name, "language_model.model.layers.1.mlp.down_proj.weight");
    assert_int_equal(t->shape[1], 96);
    for (size_t i = 0; i < tiny.count; i++)
        if (strcmp(tiny.tensors[i].name, t->source_name) == 0)
            assert_memory_equal(t->data, tiny.tensors[i].data, t->bytes);
    assert_string_equal(s->at(s, 0)->name, "vision.embed.weight");
    assert_string_equal(s->at(s, tiny.count - 1)->name, "text.head.weight");
    assert_false(s->find(s, "vision.layers.0.attn.q.weight")->unused);
    assert_true(s->find(s, "vision.layers.1.attn.q.weight")->unused); /* feature layer −2 of 2 */
    assert_true(s->find(s, "vision.post_norm.bias")->unused);
    assert_null(s->find(s, "newline"));
    assert_null(s->scheme(s, "text.layers.0.attn.q"));
    assert_memory_equal(s->file(s, "config.json", &length), tiny_config, sizeof tiny_config - 1);
    assert_memory_equal(s->file(s, "LICENSE", &length), "free\n", 5);
    assert_string_equal(s->file_at(s, 0), "LICENSE");
    assert_string_equal(s->file_at(s, 2), "tokenizer.json");
    assert_null(s->file_at(s, 3));
    unsigned char first = t->data[0];
    s->release(s, t);
    assert_int_equal(t->data[0], first);
    s->close(s);
}

/* The index that says tensor i is in shard 1 when i < first, else in shard 2. */
static void write_index(const char *name, size_t first, const char *shard1, const char *shard2,
                        const char *extra)
{
    vlmp_buffer out = {0};
    vlmp_buffer_printf(&out, "{\"metadata\":{\"total_size\":1},\"weight_map\":{%s", extra);
    for (size_t i = 0; i < tiny.count; i++)
        vlmp_buffer_printf(&out, "%s\"%s\":\"%s\"", i > 0 ? "," : "", tiny.tensors[i].name,
                           i < first ? shard1 : shard2);
    vlmp_buffer_text(&out, "}}");
    temp_write(name, out.data, out.length);
    vlmp_buffer_free(&out);
}

static const char one[] = "model-00001-of-00002.safetensors";
static const char two[] = "model-00002-of-00002.safetensors";

static void shards_are_read(void **state)
{
    (void)state;
    assert_int_equal(mkdir(temp_path("shards"), 0700), 0);
    temp_write("shards/config.json", tiny_config, sizeof tiny_config - 1);
    tiny_write_part(&tiny, "shards/model-00001-of-00002.safetensors", 0, 20);
    tiny_write_part(&tiny, "shards/model-00002-of-00002.safetensors", 20, tiny.count);
    write_index("shards/model.safetensors.index.json", 20, one, two, "");
    temp_write("shards/model.safetensors", "stale", 5); /* the index wins */
    vlmp_source *whole = open_good("model"), *shards = open_good("shards");
    char a[65], b[65];
    vlmp_error err = {0};
    assert_int_equal(whole->digest_now(whole, a, &err), VLMP_OK);
    assert_int_equal(shards->digest_now(shards, b, &err), VLMP_OK);
    assert_string_equal(a, b);
    assert_string_equal(shards->digest, b);
    assert_null(shards->file_at(shards, 1)); /* the index is not carried */
    whole->close(whole);
    shards->close(shards);
}

static void bad_indices_are_refused(void **state)
{
    (void)state;
    const char *index = "shards/model.safetensors.index.json";
    static const char *const outside[] = {
        "../model/model.safetensors", "/etc/passwd", "a/b", "", ".", "..", ".hidden", "a\\\\b"};
    for (size_t i = 0; i < sizeof outside / sizeof *outside; i++) {
        write_index(index, 20, outside[i], two, "");
        refuse("shards", "not a plain file name");
    }
    write_index(index, 20, "absent.safetensors", two, "");
    refuse("shards", "absent.safetensors: no such file");
    write_index(index, 19, one, two, "");
    refuse("shards", "is not in model-00002-of-00002.safetensors");
    write_index(index, 20, one, two,
                "\"language_model.extra.weight\":\""
                "x"
                "\",");
    refuse("shards", "no such file");
    temp_write(index, "{\"weight_map\":[]}", 17);
    refuse("shards", "no object 'weight_map'");
    temp_write(index, "{\"weight_map\":{}}", 17);
    refuse("shards", "'weight_map' is empty");
    temp_write(index, "{\"weight_map\":{\"a\":1}}", 22);
    refuse("shards", "not a plain file name");
    temp_write(index, "{\"weight_map\":", 14);
    refuse("shards", "not valid JSON");
    tiny_write_part(&tiny, "shards/model-00001-of-00002.safetensors", 0, 21);
    write_index(index, 20, one, two, "");
    refuse("shards", "in two files or not in the index");
    tiny_write_part(&tiny, "shards/model-00001-of-00002.safetensors", 0, 20);
    write_index(index, 20, one, two, "");
    vlmp_source *good = open_good("shards");
    good->close(good);
}

static void links_that_leave_are_refused(void **state)
{
    (void)state;
    assert_int_equal(mkdir(temp_path("links"), 0700), 0);
    temp_write("links/config.json", tiny_config, sizeof tiny_config - 1);
    assert_int_equal(
        symlink(temp_path("model/model.safetensors"), temp_path("links/model.safetensors")), 0);
    refuse("links", "a link that leaves the model folder");
}

static void bad_folders_are_refused(void **state)
{
    (void)state;
    static const char extra_config[] = "{\"model_type\":\"llava\",\"quantization_config\":{}}";
    assert_int_equal(mkdir(temp_path("bad"), 0700), 0);
    refuse("bad", "no config.json");
    temp_write("bad/config.json", "{\"model_type\":\"llava\"}", 22);
    refuse("bad", "no model.safetensors");
    temp_write("bad/pytorch_model.bin", "PK", 2);
    refuse("bad", "convert the PyTorch pickles");
    temp_write("bad/config.json", extra_config, sizeof extra_config - 1);
    refuse("bad", "quantized already, by the method");
    temp_write("bad/config.json", "{\"model_type\":\"gpt2\"}", 21);
    refuse("bad", "convert the PyTorch pickles"); /* of other architectures too */
    temp_write("bad/config.json", "{\"model_type\":\"\xff\"}", 18);
    refuse("bad", "not valid UTF-8");
    temp_write("bad/config.json", "{}", 2);
    refuse("bad", "no 'model_type'");
    refuse("nothing", "no such model folder or packed file");
    temp_write("bad/config.json", tiny_config, sizeof tiny_config - 1);
    refuse("model/model.safetensors", "this is not a packed model");
}

/* Tensor `index` under another name. */
static void refuse_name(size_t index, const char *name, const char *phrase)
{
    const char *old = tiny.tensors[index].name;
    tiny.tensors[index].name = name;
    tiny_write_part(&tiny, "bad/model.safetensors", 0, tiny.count);
    tiny.tensors[index].name = old;
    refuse("bad", phrase);
}

static void bad_tensor_names_are_refused(void **state)
{
    (void)state;
    refuse_name(3, "value_head.weight", "tensor 'value_head.weight' has no place");
    /* layer 0's first norm a second time, in another layout */
    refuse_name(3, "model.vision_tower.encoder.layers.0.layer_norm1.weight",
                "both are vision.layers.0.norm1.weight");
    tiny.tensors[3].name = "vision_tower.vision_model.embeddings.position_ids";
    tiny_write_part(&tiny, "bad/model.safetensors", 0, tiny.count);
    tiny.tensors[3].name = tiny.names[3];
    vlmp_source *s = open_good("bad");
    assert_int_equal(s->count(s), tiny.count - 1);
    s->close(s);
}

static void hub_cache_is_searched(void **state)
{
    (void)state;
    static const char *const folders[] = {"hub",
                                          "hub/models--org--tiny",
                                          "hub/models--org--tiny/refs",
                                          "hub/models--org--tiny/refs/pr",
                                          "hub/models--org--tiny/snapshots",
                                          "hub/models--org--tiny/blobs",
                                          "hub/models--org--tiny/snapshots/abc123"};
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++)
        assert_int_equal(mkdir(temp_path(folders[i]), 0700), 0);
    temp_write("hub/models--org--tiny/refs/main", "abc123\n", 7);
    temp_write("hub/models--org--tiny/refs/pr/1", "abc123", 6);
    temp_write("hub/models--org--tiny/refs/evil", "../../..", 8);
    temp_write("hub/models--org--tiny/blobs/1", tiny_config, sizeof tiny_config - 1);
    tiny_write_part(&tiny, "hub/models--org--tiny/blobs/2", 0, tiny.count);
    const char *snapshot = "hub/models--org--tiny/snapshots/abc123";
    char link[300];
    snprintf(link, sizeof link, "%s/config.json", snapshot);
    assert_int_equal(symlink("../../blobs/1", temp_path(link)), 0);
    snprintf(link, sizeof link, "%s/model.safetensors", snapshot);
    assert_int_equal(symlink("../../blobs/2", temp_path(link)), 0);
    setenv("HF_HUB_CACHE", temp_path("hub"), 1);
    static const char *const good[] = {"org/tiny", "org/tiny@main", "org/tiny@abc123",
                                       "org/tiny@pr/1"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        vlmp_error err = {0};
        vlmp_source *s;
        if (vlmp_model_source_open(&s, good[i], &err) != VLMP_OK) fail_msg("%s", err.message);
        assert_string_equal(s->path, temp_path(snapshot));
        s->close(s);
    }
    static const struct {
        const char *id, *phrase;
    } bad[] = {{"org/other", "hf download org/other"},
               {"org/tiny@v2", "hf download org/tiny --revision v2"},
               {"org/tiny@evil", "does not name a commit"},
               {"org/tiny@../x", "no such model folder"},
               {"../tiny", "no such model folder"},
               {"org/", "no such model folder"},
               {"a/b/c", "no such model folder"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        vlmp_error err = {0};
        vlmp_source *s;
        assert_int_equal(vlmp_model_source_open(&s, bad[i].id, &err), VLMP_ERR_INPUT);
        if (strstr(err.message, bad[i].phrase) == NULL) fail_msg("%s", err.message);
    }
    /* A link out of the repository's cache is refused here too. */
    unlink(temp_path(link));
    assert_int_equal(symlink(temp_path("model/model.safetensors"), temp_path(link)), 0);
    vlmp_error err = {0};
    vlmp_source *s;
    assert_int_equal(vlmp_model_source_open(&s, "org/tiny", &err), VLMP_ERR_INPUT);
    assert_non_null(strstr(err.message, "a link that leaves"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_file_is_read),        cmocka_unit_test(shards_are_read),
        cmocka_unit_test(bad_indices_are_refused), cmocka_unit_test(links_that_leave_are_refused),
        cmocka_unit_test(bad_folders_are_refused), cmocka_unit_test(bad_tensor_names_are_refused),
        cmocka_unit_test(hub_cache_is_searched),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
