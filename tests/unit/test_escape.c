/* base: what came from outside is fit to be shown, and JSON keeps it as it was. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/escape.h"
#include "src/base/json.h"
#include "src/base/utf8.h"

static void assert_escapes(vlmp_escape_kind kind, const char *text, const char *expected)
{
    vlmp_buffer out = {0};
    vlmp_escape(&out, kind, text, strlen(text));
    vlmp_buffer_append(&out, "", 0);
    assert_string_equal(out.data, expected);
    vlmp_buffer_free(&out);
}

static void each_kind(void **state)
{
    (void)state;
    static const char text[] = "a\tb\n\x1b[2J\x7f\xc2\x9b\xe2\x80\xae\xf3\xa0\x81\xa1\xff<é|日>";
    assert_escapes(VLMP_ESCAPE_LINE, text,
                   "a\\x09b\\x0a\\x1b[2J\\x7f\\u009b\\u202e\\U000e0061\\xff<é|日>");
    assert_escapes(VLMP_ESCAPE_TEXT, text,
                   "a\tb\n\\x1b[2J\\x7f\\u009b\\u202e\\U000e0061\\xff<é|日>");
    assert_escapes(VLMP_ESCAPE_XML, text,
                   "a\tb\n\\x1b[2J\\x7f\\u009b\\u202e\\U000e0061\\xff&lt;é|日&gt;");
    assert_escapes(VLMP_ESCAPE_MARKDOWN, "a|`b`\n<c> \x1b *d*",
                   "a&#124;&#96;b&#96; &lt;c&gt; \\\\x1b \\*d\\*");
    assert_escapes(VLMP_ESCAPE_XML, "\"&'", "&quot;&amp;&#39;");
}

/* Every code point is shown as it is, or in ASCII and longer; nothing hidden remains. */
static void every_code_point(void **state)
{
    (void)state;
    for (uint32_t code = 1; code < 0x110000; code++) {
        if (code >= 0xd800 && code < 0xe000) continue;
        char text[5] = {0}, shown[VLMP_VISIBLE_BYTES];
        size_t n = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4, used;
        static const unsigned char lead[] = {0, 0, 0xc0, 0xe0, 0xf0};
        uint32_t rest = code;
        for (size_t i = n; i-- > 1; rest >>= 6)
            text[i] = (char)(0x80 | (rest & 0x3f));
        text[0] = (char)(lead[n] | rest);
        assert_int_equal(vlmp_utf8_code((unsigned char *)text, n), code);
        size_t length = vlmp_visible(shown, text, n, &used);
        assert_int_equal(used, n);
        if (vlmp_is_hidden(code))
            assert_true(length >= 4 && shown[0] == '\\' && shown[length - 1] < 0x7f);
        else
            assert_memory_equal(shown, text, n);
    }
}

static void json_keeps_hidden_characters(void **state)
{
    (void)state;
    static const char text[] = "\x1b\x7f\xc2\x9b\xe2\x80\xae\xf3\xa0\x81\xa1 é";
    vlmp_json_writer w = {0};
    vlmp_error err = {0};
    cJSON *tree;
    vlmp_json_put_string(&w, text);
    for (size_t i = 0; i < w.out.length - 3; i++) /* "é\"" ends it */
        assert_true(w.out.data[i] >= ' ' && w.out.data[i] < 0x7f);
    assert_int_equal(vlmp_json_parse(&tree, w.out.data, w.out.length, "text", &err), 0);
    assert_string_equal(tree->valuestring, text);
    cJSON_Delete(tree);
    vlmp_buffer_free(&w.out);
    w = (vlmp_json_writer){0};
    vlmp_json_put_string(&w, "a\xff\xed\xa0\x80z"); /* not UTF-8, a surrogate */
    assert_string_equal(w.out.data, "\"a\\ufffd\\ufffd\\ufffd\\ufffdz\"");
    vlmp_buffer_free(&w.out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_kind),
        cmocka_unit_test(every_code_point),
        cmocka_unit_test(json_keeps_hidden_characters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
