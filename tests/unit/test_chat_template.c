/* chat_template: renderings equal those of transformers (tests/golden/text/templates.json, made by
 * scripts/golden-text.py); what it refuses is refused here too; unsupported constructs are named.
 */
#include "tests/unit/golden_text.h"

#include "src/base/rng.h"
#include "src/text/template/chat_template.h"

static const vlmp_chat_variable variables[] = {{"bos_token", "<s>"}, {"eos_token", "</s>"}};

/* That of scripts/golden-text.py. */
static const struct tm the_date = {.tm_year = 124,
                                   .tm_mon = 6,
                                   .tm_mday = 26,
                                   .tm_hour = 9,
                                   .tm_min = 5,
                                   .tm_wday = 5,
                                   .tm_yday = 207};

static int render_messages(const char *source, size_t length, const vlmp_chat_message *messages,
                           size_t count, bool generate, const struct tm *date, vlmp_buffer *out,
                           vlmp_error *err)
{
    vlmp_chat_template *t;
    VLMP_TRY(vlmp_chat_template_create(&t, source, length, "test.jinja", err));
    vlmp_chat chat = {messages, count, generate, variables, 2, date};
    int status = vlmp_chat_template_render(t, &chat, out, err);
    vlmp_chat_template_free(t);
    return status;
}

/* [[role, pictures, text], …] */
static int render(const char *source, const cJSON *chat, bool generate, vlmp_buffer *out,
                  vlmp_error *err)
{
    vlmp_chat_message messages[8];
    const char *parts[8][8] = {{VLMP_CHAT_PICTURE}};
    size_t count = 0;
    for (const cJSON *row = chat->child; row != NULL; row = row->next, count++) {
        const cJSON *pictures = row->child->next, *text = pictures->next;
        size_t part_count = (size_t)pictures->valueint;
        if (cJSON_IsString(text)) parts[count][part_count++] = text->valuestring;
        messages[count] = (vlmp_chat_message){row->child->valuestring, parts[count], part_count};
    }
    return render_messages(source, strlen(source), messages, count, generate, &the_date, out, err);
}

static void renderings_equal_the_reference(void **state)
{
    (void)state;
    cJSON *rows = golden_json("templates.json");
    size_t equal = 0, refused = 0;
    for (const cJSON *row = rows->child; row != NULL; row = row->next) {
        const char *source = member_text(row, "template");
        for (const cJSON *one = vlmp_json_get(row, "renders")->child; one != NULL;
             one = one->next) {
            const char *want = member_text(one, "text");
            vlmp_buffer out = {0};
            vlmp_error err = {0};
            int status = render(source, vlmp_json_get(one, "chat"),
                                cJSON_IsTrue(vlmp_json_get(one, "generate")), &out, &err);
            if (want == NULL) {
                if (status != VLMP_ERR_INPUT) fail_msg("%s\nwas not refused", source);
                assert_non_null(strstr(err.message, "test.jinja: line "));
                refused++;
            } else if (status != VLMP_OK) {
                fail_msg("%s\n%s", source, err.message);
            } else {
                const char *got = out.length > 0 ? out.data : "";
                if (strcmp(got, want) != 0) fail_msg("%s\ngives\n%s\nnot\n%s", source, got, want);
                equal++;
            }
            vlmp_buffer_free(&out);
        }
    }
    assert_true(equal > 700 && refused > 200);
    cJSON_Delete(rows);
}

/* What Jinja renders and this interpreter does not is refused, never rendered otherwise. */
static void unsupported_pieces_are_refused(void **state)
{
    (void)state;
    cJSON *rows = golden_json("unsupported.json");
    const char *const parts[] = {VLMP_CHAT_PICTURE, "x"};
    const vlmp_chat_message message = {"user", parts, 2};
    for (const cJSON *row = rows->child; row != NULL; row = row->next) {
        vlmp_buffer out = {0};
        vlmp_error err = {0};
        if (render_messages(row->valuestring, strlen(row->valuestring), &message, 1, true,
                            &the_date, &out, &err) != VLMP_ERR_INPUT)
            fail_msg("%s\nwas not refused", row->valuestring);
        assert_non_null(strstr(err.message, "test.jinja: line 1: "));
        vlmp_buffer_free(&out);
    }
    cJSON_Delete(rows);
}

/* Some of it by name. */
static void unsupported_constructs_are_named(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"a\n{% macro f(x) %}{% endmacro %}{{ f(1, 2) }}", "line 2"},
        {"{% macro f(n) %}{{ f(n) }}{% endmacro %}{{ f(0) }}", "nested too deeply"},
        {"{% include 'x' %}", "'include'"},
        {"\n\n{% raw %}{{ x }}", "line 3: a raw block without an end"},
        {"{{ 10 ** 30 }}", "too large"},
        {"{{ 'a' | pprint }}", "'pprint'"},
        {"{{ 'a'.casefold() }}", "'casefold'"},
        {"{{ messages | select | length }}", "length of an iterator"},
        {"{{ '\xc3\x9f' | upper }}", "U+00DF"},
        {"{{ 'a' is filter }}", "'filter'"},
        {"{% for x in [1] recursive %}{% endfor %}", "recursive"},
        {"{{ loop.cycle }}{% for i in [1] %}{{ loop.depth }}{% endfor %}", "loop"},
        {"{{ strftime_now('%Y') }}", "--date"},
        {"{{ messages[0].content }}", "list"},
        {"{{ 'USER: ' + messages[0]['content'] }}", "list"},
        {"{{ raise_exception('only text') }}", "only text"},
        {"{{ [1] | map('upper') | tojson }}", "tojson"},
    };
    static const char *const parts[] = {VLMP_CHAT_PICTURE, "x"};
    static const vlmp_chat_message message = {"user", parts, 2};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        vlmp_buffer out = {0};
        vlmp_error err = {0};
        assert_int_equal(
            render_messages(rows[i][0], strlen(rows[i][0]), &message, 1, true, NULL, &out, &err),
            VLMP_ERR_INPUT);
        if (strstr(err.message, rows[i][1]) == NULL)
            fail_msg("'%s' does not say '%s'", err.message, rows[i][1]);
        assert_int_equal(out.length, 0);
        vlmp_buffer_free(&out);
    }
}

static void work_is_bounded(void **state)
{
    (void)state;
    static const char *const parts[] = {"x"};
    static const vlmp_chat_message message = {"user", parts, 1};
    static const char *const greedy[] = {
        "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}",
        "{% set n = namespace(x='ab') %}{% for a in range(99) %}{% set n.x = n.x + n.x %}{% endfor "
        "%}",
        "{% for a in range(99999) %}{{ messages | tojson }}{% endfor %}",
        "{% set n = namespace(x=[]) %}{% for a in range(99) %}{% set n.x = [n.x, n.x] %}{% endfor "
        "%}"
        "{{ n.x == n.x }}{{ n.x | tojson }}",
    };
    for (size_t i = 0; i < sizeof greedy / sizeof *greedy; i++) {
        vlmp_buffer out = {0};
        vlmp_error err = {0};
        assert_int_equal(
            render_messages(greedy[i], strlen(greedy[i]), &message, 1, false, NULL, &out, &err),
            VLMP_ERR_INPUT);
        vlmp_buffer_free(&out);
    }
    static const char *const nested[][3] = {
        {"{{ ", "(", ""},
        {"{{ ", "-", "1 }}"},
        {"{{ ", "not ", "1 }}"},
        {"", "{% if 1 %}", ""},
        {"{{ ", "1+", "1 }}"},
        {"{{ a", "[0]", "}}"},
        {"{{ 1 ", "| d ", "}}"},
        {"{{ ", "1 if ", "1 }}"},
        {"{{ 1", " if 1", " }}"},
        {"{{ 1", " == 1", " }}"},
        {"{{ ", "1 if 1 else ", "1 }}"},
    };
    for (size_t i = 0; i < sizeof nested / sizeof *nested; i++) {
        vlmp_buffer source = {0}, out = {0};
        vlmp_error err = {0};
        vlmp_buffer_text(&source, nested[i][0]);
        for (int k = 0; k < 20000; k++)
            vlmp_buffer_text(&source, nested[i][1]);
        vlmp_buffer_text(&source, nested[i][2]);
        int status =
            render_messages(source.data, source.length, &message, 1, false, NULL, &out, &err);
        assert_true(status == VLMP_ERR_INPUT || status == VLMP_OK);
        vlmp_buffer_free(&source);
        vlmp_buffer_free(&out);
    }
}

/* Damaged templates give an error or some text; the sanitizers watch. */
static void damaged_templates_do_no_harm(void **state)
{
    (void)state;
    static const char pieces[][8] = {"{{", "}}", "{%", "%}",   "{#",       "#}",   "-", "+",
                                     "'",  "\"", "(",  ")",    "[",        "]",    ":", ".",
                                     "|",  "\\", "\n", " in ", " if ",     " is ", "0", "9",
                                     "~",  ",",  "=",  "{",    "\xc3\xa9", "%"};
    static const char *const parts[] = {VLMP_CHAT_PICTURE, "a\xc3\xa9 b", "c"};
    static const vlmp_chat_message messages[] = {{"user", parts, 2}, {"assistant", parts + 2, 1}};
    cJSON *rows = golden_json("templates.json");
    vlmp_rng rng = {3};
    size_t refused = 0;
    for (const cJSON *row = rows->child; row != NULL; row = row->next) {
        const char *source = member_text(row, "template");
        size_t length = strlen(source);
        for (int round = 0; round < 60; round++) {
            vlmp_buffer text = {0}, out = {0};
            vlmp_error err = {0};
            size_t at = vlmp_rng_below(&rng, length + 1);
            size_t skip = vlmp_rng_below(&rng, 4);
            vlmp_buffer_append(&text, source, at);
            vlmp_buffer_text(&text, pieces[vlmp_rng_below(&rng, sizeof pieces / sizeof *pieces)]);
            if (at + skip < length)
                vlmp_buffer_append(&text, source + at + skip, length - at - skip);
            if (render_messages(text.data, text.length, messages, 2, true, NULL, &out, &err) !=
                VLMP_OK) {
                assert_int_equal(err.code, VLMP_ERR_INPUT);
                refused++;
            }
            vlmp_buffer_free(&text);
            vlmp_buffer_free(&out);
        }
    }
    assert_true(refused > 1000);
    cJSON_Delete(rows);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(renderings_equal_the_reference),
        cmocka_unit_test(unsupported_pieces_are_refused),
        cmocka_unit_test(unsupported_constructs_are_named),
        cmocka_unit_test(work_is_bounded),
        cmocka_unit_test(damaged_templates_do_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
