/* prompt: texts, ids and the answer's start equal those of the reference rule (tests/golden/text/
 * prompts.json, made by scripts/golden-text.py); templates are found where transformers finds them.
 */
#include "tests/unit/golden_text.h"

#include "src/model/prompt.h"

static const char config[] =
    "{\"bos_token\": \"<s>\", \"eos_token\": \"</s>\", \"unk_token\": \"<unk>\"}";

static void check_row(const cJSON *row)
{
    static const int32_t picture_tokens[] = {3, 5};
    const char *source = member_text(row, "template");
    vlmp_error err = {0};
    vlmp_chat_template *chat;
    vlmp_prompt got;
    vlmp_tokenizer *t = golden_tokenizer(member_text(row, "tokenizer"), config);
    int32_t image = vlmp_tokenizer_find(t, "<image>");
    assert_int_equal(vlmp_chat_template_create(&chat, source, strlen(source), "test", &err), 0);
    vlmp_prompter prompter = {chat, t, image, "test"};
    vlmp_prompt_request request = {member_text(row, "prompt"), member_text(row, "answer"),
                                   member_int(row, "pictures"), picture_tokens};
    if (vlmp_prompt_make(&prompter, &request, &got, &err) != VLMP_OK) fail_msg("%s", err.message);
    assert_string_equal(got.text, member_text(row, "text"));
    const cJSON *ids = vlmp_json_get(row, "ids");
    assert_int_equal(got.count, cJSON_GetArraySize(ids));
    size_t i = 0;
    for (const cJSON *id = ids->child; id != NULL; id = id->next, i++)
        assert_int_equal(got.ids[i], id->valueint);
    assert_int_equal(got.answer_start, member_int(row, "answer_start"));
    assert_int_equal(got.border_moved, cJSON_IsTrue(vlmp_json_get(row, "moved")));
    for (int k = 0; k < request.pictures; k++) {
        size_t start = got.picture_starts[k];
        for (size_t n = 0; n < (size_t)picture_tokens[k]; n++)
            assert_int_equal(got.ids[start + n], image);
        assert_true(start == 0 || k > 0 || got.ids[start - 1] != image);
    }
    vlmp_prompt_free(&got);
    vlmp_chat_template_free(chat);
    vlmp_tokenizer_free(t);
}

static void prompts_equal_the_reference(void **state)
{
    (void)state;
    cJSON *rows = golden_json("prompts.json");
    int moved = 0;
    for (const cJSON *row = rows->child; row != NULL; row = row->next) {
        check_row(row);
        moved += cJSON_IsTrue(vlmp_json_get(row, "moved"));
    }
    assert_true(moved > 0); /* the case occurs */
    cJSON_Delete(rows);
}

static int make(const char *source, const char *names, const char *prompt, const char *answer,
                int pictures, vlmp_error *err)
{
    static const int32_t picture_tokens[] = {2, 2};
    vlmp_chat_template *chat;
    vlmp_prompt got;
    vlmp_tokenizer *t = golden_tokenizer("gpt2", names);
    assert_int_equal(vlmp_chat_template_create(&chat, source, strlen(source), "test", err), 0);
    vlmp_prompter prompter = {chat, t, vlmp_tokenizer_find(t, "<image>"), "model"};
    vlmp_prompt_request request = {prompt, answer, pictures, picture_tokens};
    int status = vlmp_prompt_make(&prompter, &request, &got, err);
    vlmp_prompt_free(&got);
    vlmp_chat_template_free(chat);
    vlmp_tokenizer_free(t);
    return status;
}

static void placeholders_must_match_the_pictures(void **state)
{
    (void)state;
    static const char good[] = "{% for m in messages %}{% for c in m.content %}{{ '<image>' if "
                               "c.type == 'image' else c.text }}{% endfor %}{% endfor %}";
    static const struct {
        const char *source, *names, *prompt, *answer;
        int pictures;
        const char *says; /* NULL: it works */
    } rows[] = {
        {good, config, "a", "b", 2, NULL},
        {good, config, "a <image> b", "b", 1, "must not spell"},
        {good, config, "a", "<image>", 1, "must not spell"},
        {good, config, "a <image> b", NULL, 1, "must not spell"},
        {"{{ messages[0].content[-1].text }}", config, "a", "b", 1, "does not place"},
        {good, "{}", "a", "b", 1, "eos_token"},
        {good, "{}", "a", NULL, 1, NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        vlmp_error err = {0};
        int status = make(rows[i].source, rows[i].names, rows[i].prompt, rows[i].answer,
                          rows[i].pictures, &err);
        assert_int_equal(status, rows[i].says == NULL ? VLMP_OK : VLMP_ERR_INPUT);
        if (rows[i].says != NULL) assert_non_null(strstr(err.message, rows[i].says));
    }
}

typedef struct {
    vlmp_source base;
    const char *names[4], *texts[4];
} memory_source;

static const char *memory_file(const vlmp_source *self, const char *name, size_t *length)
{
    const memory_source *source = (const memory_source *)(const void *)self;
    for (int i = 0; i < 4; i++) {
        if (source->names[i] == NULL || strcmp(source->names[i], name) != 0) continue;
        *length = strlen(source->texts[i]);
        return source->texts[i];
    }
    return NULL;
}

static void templates_are_found(void **state)
{
    (void)state;
    static const struct {
        const char *names[4], *texts[4], *renders;
    } rows[] = {
        {{"chat_template.jinja", "chat_template.json"},
         {"raw", "{\"chat_template\": \"x\"}"},
         "raw"},
        {{"chat_template.json", "tokenizer_config.json"},
         {"{\"chat_template\": \"json\"}", "{\"chat_template\": \"x\"}"},
         "json"},
        {{"processor_config.json", "tokenizer_config.json"},
         {"{\"processor_class\": \"x\"}", "{\"chat_template\": \"config\"}"},
         "config"},
        {{"tokenizer_config.json"},
         {"{\"chat_template\": [{\"name\": \"tool\", \"template\": \"x\"}, {\"name\": \"default\", "
          "\"template\": \"list\"}]}"},
         "list"},
        {{"tokenizer_config.json"}, {"{}"}, NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        memory_source source = {.base = {.path = "folder", .file = memory_file}};
        memcpy(source.names, rows[i].names, sizeof source.names);
        memcpy(source.texts, rows[i].texts, sizeof source.texts);
        vlmp_error err = {0};
        vlmp_chat_template *t;
        int status = vlmp_chat_template_load(&t, &source.base, &err);
        assert_int_equal(status, rows[i].renders == NULL ? VLMP_ERR_INPUT : VLMP_OK);
        if (rows[i].renders == NULL) continue;
        vlmp_chat chat = {0};
        vlmp_buffer out = {0};
        assert_int_equal(vlmp_chat_template_render(t, &chat, &out, &err), VLMP_OK);
        assert_string_equal(out.data, rows[i].renders);
        vlmp_buffer_free(&out);
        vlmp_chat_template_free(t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prompts_equal_the_reference),
        cmocka_unit_test(placeholders_must_match_the_pictures),
        cmocka_unit_test(templates_are_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
