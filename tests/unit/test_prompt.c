/* prompt: texts, ids and the answers' places equal those of the reference rule (tests/golden/text/
 * prompts.json and conversations.json, made by scripts/golden-text.py); templates are found where
 * transformers finds them. */
#include "tests/unit/golden_text.h"

#include "src/text/prompt.h"

static const char config[] =
    "{\"bos_token\": \"<s>\", \"eos_token\": \"</s>\", \"unk_token\": \"<unk>\"}";

#define MAX_TURNS 8
#define MAX_PARTS 4

static const int32_t picture_tokens[] = {3, 5};

/* A question: pictures, then the text. */
static vlmp_chat_message question(const char *parts[MAX_PARTS], int pictures, const char *text)
{
    for (int i = 0; i < pictures; i++)
        parts[i] = VLMP_CHAT_PICTURE;
    parts[pictures] = text;
    return (vlmp_chat_message){"user", parts, (size_t)pictures + 1};
}

static int make(const char *source, const char *tokenizer, const char *names,
                const vlmp_prompt_request *request, vlmp_prompt *got, vlmp_error *err)
{
    vlmp_chat_template *chat;
    vlmp_tokenizer *t = golden_tokenizer(tokenizer, names);
    assert_int_equal(vlmp_chat_template_create(&chat, source, strlen(source), "test", err), 0);
    vlmp_prompter prompter = {chat, t, vlmp_tokenizer_find(t, "<image>"), "model", NULL};
    int status = vlmp_prompt_make(&prompter, request, got, err);
    for (int k = 0; status == VLMP_OK && k < request->pictures; k++) {
        size_t start = got->picture_starts[k];
        for (size_t n = 0; request->picture_texts == NULL && n < (size_t)request->picture_tokens[k];
             n++)
            assert_int_equal(got->ids[start + n], prompter.image_token);
        assert_int_equal(got->ids[start], prompter.image_token);
        assert_true(start == 0 || k > 0 || got->ids[start - 1] != prompter.image_token);
    }
    vlmp_chat_template_free(chat);
    vlmp_tokenizer_free(t);
    return status;
}

static void check_text(const cJSON *row, const vlmp_prompt *got)
{
    assert_string_equal(got->text, member_text(row, "text"));
    const cJSON *ids = vlmp_json_get(row, "ids");
    assert_int_equal(got->count, cJSON_GetArraySize(ids));
    size_t i = 0;
    for (const cJSON *id = ids->child; id != NULL; id = id->next, i++)
        assert_int_equal(got->ids[i], id->valueint);
}

static void check_row(const cJSON *row)
{
    const char *parts[MAX_PARTS];
    vlmp_error err = {0};
    vlmp_prompt got;
    int pictures = member_int(row, "pictures");
    vlmp_chat_message turn = question(parts, pictures, member_text(row, "prompt"));
    vlmp_prompt_request request = {&turn,          1,   member_text(row, "answer"), pictures,
                                   picture_tokens, NULL};
    if (make(member_text(row, "template"), member_text(row, "tokenizer"), config, &request, &got,
             &err) != VLMP_OK)
        fail_msg("%s", err.message);
    check_text(row, &got);
    assert_int_equal(got.answer_count, request.answer != NULL);
    if (request.answer != NULL) {
        assert_int_equal(got.answers[0].from, member_int(row, "answer_start"));
        assert_int_equal(got.answers[0].end, got.count);
    }
    assert_int_equal(got.border_moved, cJSON_IsTrue(vlmp_json_get(row, "moved")));
    vlmp_prompt_free(&got);
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

/* The turns of a conversation; what is not the last answer. */
static size_t read_turns(const cJSON *list, vlmp_chat_message turns[MAX_TURNS],
                         const char *parts[MAX_TURNS][MAX_PARTS], int *pictures)
{
    size_t count = 0;
    *pictures = 0;
    for (const cJSON *turn = list->child; turn != NULL; turn = turn->next, count++) {
        size_t n = 0;
        for (const cJSON *part = turn->child->next->child; part != NULL; part = part->next) {
            parts[count][n++] = cJSON_IsNull(part) ? VLMP_CHAT_PICTURE : part->valuestring;
            *pictures += cJSON_IsNull(part);
        }
        turns[count] = (vlmp_chat_message){turn->child->valuestring, parts[count], n};
    }
    return count;
}

/* Every answer of a conversation is found where the template's rendering of the whole has it. */
static void conversations_equal_the_reference(void **state)
{
    (void)state;
    cJSON *rows = golden_json("conversations.json");
    int equal = 0, refused = 0;
    for (const cJSON *row = rows->child; row != NULL; row = row->next) {
        vlmp_chat_message turns[MAX_TURNS];
        const char *parts[MAX_TURNS][MAX_PARTS];
        vlmp_error err = {0};
        vlmp_prompt got;
        int pictures;
        size_t count = read_turns(vlmp_json_get(row, "turns"), turns, parts, &pictures);
        vlmp_prompt_request request = {turns,    count - 1,      turns[count - 1].parts[0],
                                       pictures, picture_tokens, NULL};
        int status = make(member_text(row, "template"), member_text(row, "tokenizer"), config,
                          &request, &got, &err);
        if (member_text(row, "text") == NULL) {
            assert_int_equal(status, VLMP_ERR_INPUT);
            refused++;
            continue;
        }
        if (status != VLMP_OK) fail_msg("%s", err.message);
        check_text(row, &got);
        const cJSON *spans = vlmp_json_get(row, "answers");
        assert_int_equal(got.answer_count, cJSON_GetArraySize(spans));
        size_t i = 0;
        for (const cJSON *span = spans->child; span != NULL; span = span->next, i++) {
            assert_int_equal(got.answers[i].from, span->child->valueint);
            assert_int_equal(got.answers[i].end, span->child->next->valueint);
        }
        vlmp_prompt_free(&got);
        equal++;
    }
    assert_true(equal > 50 && refused > 0);
    cJSON_Delete(rows);
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
        vlmp_prompt got;
        const char *parts[MAX_PARTS];
        vlmp_chat_message turn = question(parts, rows[i].pictures, rows[i].prompt);
        vlmp_prompt_request request = {&turn,          1,   rows[i].answer, rows[i].pictures,
                                       picture_tokens, NULL};
        int status = make(rows[i].source, "gpt2", rows[i].names, &request, &got, &err);
        vlmp_prompt_free(&got);
        assert_int_equal(status, rows[i].says == NULL ? VLMP_OK : VLMP_ERR_INPUT);
        if (rows[i].says != NULL) assert_non_null(strstr(err.message, rows[i].says));
    }
}

/* Texts in place of the pictures: what a family makes of its tiles. */
static void spelled_pictures(void **state)
{
    (void)state;
    static const char template[] = "{% for m in messages %}{% for part in m.content %}"
                                   "{{ '<image>' if part.type == 'image' else part.text }}"
                                   "{% endfor %};{% endfor %}";
    static const char *const texts[] = {"[<image>\n<image>]", "<image>"};
    static const int32_t tokens[] = {2, 1}, other[] = {3, 1};
    const char *parts[MAX_PARTS];
    vlmp_chat_message turn = question(parts, 2, "x");
    vlmp_prompt_request request = {&turn, 1, "y", 2, tokens, texts};
    vlmp_prompt spelled, plain;
    vlmp_error err = {0};
    assert_int_equal(make(template, "gpt2", config, &request, &spelled, &err), VLMP_OK);
    /* The same text in the template, no picture left to count. */
    static const char whole[] = "{% for m in messages %}{% if m.role == 'user' %}"
                                "[<image>\n<image>]<image>x{% else %}y{% endif %};{% endfor %}";
    static const int32_t ones[] = {1, 1, 1};
    vlmp_prompt_request written = {&turn, 1, "y", 3, ones, NULL};
    assert_int_equal(make(whole, "gpt2", config, &written, &plain, &err), VLMP_OK);
    assert_int_equal(spelled.count, plain.count);
    assert_memory_equal(spelled.ids, plain.ids, plain.count * sizeof *plain.ids);
    assert_int_equal(spelled.answers[0].from, plain.answers[0].from);
    assert_int_equal(spelled.picture_starts[1], plain.picture_starts[2]);
    vlmp_prompt_free(&spelled);
    vlmp_prompt_free(&plain);
    request.picture_tokens = other;
    assert_int_equal(make(template, "gpt2", config, &request, &spelled, &err), VLMP_ERR_INPUT);
    assert_non_null(strstr(err.message, "2 pictures need 4"));
}

/* A template that shows the first answer only while it is the last. */
static void a_turn_that_changes_is_refused(void **state)
{
    (void)state;
    static const char source[] = "{% for m in messages %}{% if loop.last or m.role == 'user' %}"
                                 "{{ m.content[0].text }}{% endif %};{% endfor %}";
    static const char *const texts[] = {"a", "b", "c"};
    const vlmp_chat_message turns[] = {
        {"user", texts, 1}, {"assistant", texts + 1, 1}, {"user", texts + 2, 1}};
    vlmp_prompt_request request = {turns, 3, "d", 0, picture_tokens, NULL};
    vlmp_prompt got;
    vlmp_error err = {0};
    assert_int_equal(make(source, "gpt2", config, &request, &got, &err), VLMP_ERR_INPUT);
    assert_non_null(strstr(err.message, "turn 2 otherwise"));
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
        cmocka_unit_test(conversations_equal_the_reference),
        cmocka_unit_test(a_turn_that_changes_is_refused),
        cmocka_unit_test(spelled_pictures),
        cmocka_unit_test(placeholders_must_match_the_pictures),
        cmocka_unit_test(templates_are_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
