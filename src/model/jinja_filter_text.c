/* Filters that make texts and numbers. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/model/jinja.h"
#include "src/model/unicode_tables.h"

static int change_case(jinja_context *c, const jinja_node *node, const jinja_value *value, char how,
                       jinja_value *out)
{
    jinja_text text;
    VLMP_TRY(jinja_to_text(c, node, value, &text));
    return jinja_change_case(c, node, text, how, out);
}

static int filter_upper(jinja_context *c, const jinja_node *node, const jinja_value *value,
                        const jinja_arguments *arguments, jinja_value *out)
{
    (void)arguments;
    return change_case(c, node, value, 'u', out);
}

static int filter_lower(jinja_context *c, const jinja_node *node, const jinja_value *value,
                        const jinja_arguments *arguments, jinja_value *out)
{
    (void)arguments;
    return change_case(c, node, value, 'l', out);
}

static int filter_capitalize(jinja_context *c, const jinja_node *node, const jinja_value *value,
                             const jinja_arguments *arguments, jinja_value *out)
{
    (void)arguments;
    return change_case(c, node, value, 'c', out);
}

/* Words begin behind white space, hyphens and opening brackets: "they're" has one. */
static int filter_title(jinja_context *c, const jinja_node *node, const jinja_value *value,
                        const jinja_arguments *arguments, jinja_value *out)
{
    (void)arguments;
    jinja_text text;
    vlmp_buffer titled = {0};
    int status = VLMP_OK;
    bool starts = true;
    VLMP_TRY(jinja_to_text(c, node, value, &text));
    for (size_t at = 0, end = 0; at < text.length && status == VLMP_OK; at = end) {
        uint32_t letter = vlmp_utf8_next(text.text, text.length, &end);
        jinja_value changed;
        status = jinja_change_case(c, node, (jinja_text){text.text + at, end - at},
                                   starts ? 'u' : 'l', &changed);
        if (status == VLMP_OK) vlmp_buffer_append(&titled, changed.text.text, changed.text.length);
        starts = jinja_is_space(letter) ||
                 (letter < 0x80 && letter > 0 && strchr("-({[<", (int)letter) != NULL);
    }
    return jinja_from_buffer(c, node, &titled, status, out);
}

static int filter_trim(jinja_context *c, const jinja_node *node, const jinja_value *value,
                       const jinja_arguments *arguments, jinja_value *out)
{
    jinja_text text, characters;
    const jinja_value *given = jinja_argument(arguments, 0, "chars");
    bool any = given == NULL || given->kind == VALUE_NONE;
    VLMP_TRY(jinja_to_text(c, node, value, &text));
    if (!any && given->kind != VALUE_STRING)
        return jinja_fail(c, node, "trim of a %s", jinja_kind_name(given));
    if (!any) characters = given->text;
    text = jinja_strip(text, any ? NULL : &characters, true, true);
    *out = jinja_string(text.text, text.length);
    return VLMP_OK;
}

static int filter_string(jinja_context *c, const jinja_node *node, const jinja_value *value,
                         const jinja_arguments *arguments, jinja_value *out)
{
    (void)arguments;
    jinja_text text;
    VLMP_TRY(jinja_to_text(c, node, value, &text));
    *out = jinja_string(text.text, text.length);
    return VLMP_OK;
}

/* Only where a print statement drops it: what comes behind would be escaped. */
static int filter_safe(jinja_context *c, const jinja_node *node, const jinja_value *value,
                       const jinja_arguments *arguments, jinja_value *out)
{
    (void)value;
    (void)arguments;
    (void)out;
    return jinja_fail(c, node, "the filter 'safe' is only supported at the end of {{ … }}");
}

static int filter_replace(jinja_context *c, const jinja_node *node, const jinja_value *value,
                          const jinja_arguments *arguments, jinja_value *out)
{
    jinja_text text, from, to;
    int64_t most = -1;
    const jinja_value *count = jinja_argument(arguments, 2, "count");
    if (jinja_argument(arguments, 0, "old") == NULL || jinja_argument(arguments, 1, "new") == NULL)
        return jinja_fail(c, node, "replace needs two texts");
    VLMP_TRY(jinja_to_text(c, node, value, &text));
    VLMP_TRY(jinja_text_argument(c, node, arguments, 0, "old", &from));
    VLMP_TRY(jinja_text_argument(c, node, arguments, 1, "new", &to));
    if (count != NULL && count->kind != VALUE_NONE)
        VLMP_TRY(jinja_integer_argument(c, node, arguments, 2, "count", &most));
    return jinja_replace(c, node, text, from, to, most, out);
}

static int filter_center(jinja_context *c, const jinja_node *node, const jinja_value *value,
                         const jinja_arguments *arguments, jinja_value *out)
{
    jinja_text text;
    int64_t width = 80;
    VLMP_TRY(jinja_to_text(c, node, value, &text));
    VLMP_TRY(jinja_integer_argument(c, node, arguments, 0, "width", &width));
    int64_t have = (int64_t)jinja_characters(text);
    size_t missing = width > have ? (size_t)(width - have) : 0;
    size_t left = missing / 2 + (missing & (size_t)width & 1);
    return jinja_pad(c, node, text, left, missing - left, (jinja_text){" ", 1}, out);
}

/* indent(width, first, blank): width is a number of spaces or a text. */
static int filter_indent(jinja_context *c, const jinja_node *node, const jinja_value *value,
                         const jinja_arguments *arguments, jinja_value *out)
{
    const jinja_value *given = jinja_argument(arguments, 0, "width");
    bool first = jinja_truth_argument(arguments, 1, "first");
    bool blank = jinja_truth_argument(arguments, 2, "blank");
    int64_t width = 4;
    jinja_value indent;
    if (value->kind != VALUE_STRING)
        return jinja_fail(c, node, "indent of a %s", jinja_kind_name(value));
    if (given != NULL && given->kind == VALUE_STRING) {
        indent = *given;
    } else {
        VLMP_TRY(jinja_integer_argument(c, node, arguments, 0, "width", &width));
        VLMP_TRY(jinja_pad(c, node, (jinja_text){"", 0}, width > 0 ? (size_t)width : 0, 0,
                           (jinja_text){" ", 1}, &indent));
    }
    jinja_text text = value->text;
    vlmp_buffer indented = {0};
    if (first) vlmp_buffer_append(&indented, indent.text.text, indent.text.length);
    for (size_t at = 0, next = 0;; at = next) {
        size_t end = jinja_line_end(text, at, &next);
        if (at > 0) vlmp_buffer_text(&indented, "\n");
        if (at > 0 && (blank || end > at))
            vlmp_buffer_append(&indented, indent.text.text, indent.text.length);
        vlmp_buffer_append(&indented, text.text + at, end - at);
        if (next == end) break;
    }
    return jinja_from_buffer(c, node, &indented, VLMP_OK, out);
}

/* truncate(length, killwords, end, leeway) */
static int filter_truncate(jinja_context *c, const jinja_node *node, const jinja_value *value,
                           const jinja_arguments *arguments, jinja_value *out)
{
    int64_t length = 255, leeway = 5;
    jinja_text text, end = {"...", 3};
    bool kill = jinja_truth_argument(arguments, 1, "killwords");
    VLMP_TRY(jinja_to_text(c, node, value, &text));
    VLMP_TRY(jinja_integer_argument(c, node, arguments, 0, "length", &length));
    VLMP_TRY(jinja_text_argument(c, node, arguments, 2, "end", &end));
    VLMP_TRY(jinja_integer_argument(c, node, arguments, 3, "leeway", &leeway));
    int64_t keep = length - (int64_t)jinja_characters(end);
    if (keep < 0 || leeway < 0 || length > INT32_MAX || leeway > INT32_MAX)
        return jinja_fail(c, node, "such arguments of the filter 'truncate' are not supported");
    *out = jinja_string(text.text, text.length);
    if ((int64_t)jinja_characters(text) <= length + leeway) return VLMP_OK;
    size_t cut = 0;
    for (int64_t i = 0; i < keep; i++)
        vlmp_utf8_next(text.text, text.length, &cut);
    const char *space = kill || cut == 0 ? NULL : memrchr(text.text, ' ', cut);
    if (space != NULL) cut = (size_t)(space - text.text);
    return jinja_concatenate(c, node, (jinja_text){text.text, cut}, end, out);
}

static int filter_wordcount(jinja_context *c, const jinja_node *node, const jinja_value *value,
                            const jinja_arguments *arguments, jinja_value *out)
{
    (void)arguments;
    jinja_text text;
    int64_t words = 0;
    bool inside = false;
    VLMP_TRY(jinja_to_text(c, node, value, &text));
    for (size_t at = 0; at < text.length;) {
        uint32_t letter = vlmp_utf8_next(text.text, text.length, &at);
        /* Python's \w has no marks, the table's has. */
        if (letter >= 0x80 && vlmp_is_word(letter) && !vlmp_is_letter(letter))
            return jinja_fail(c, node, "wordcount of the character U+%04X is not supported",
                              (unsigned)letter);
        bool word = vlmp_is_word(letter);
        words += word && !inside;
        inside = word;
    }
    *out = jinja_integer(words);
    return VLMP_OK;
}

/* text % arguments, or, where they have names, text % a dictionary. */
static int filter_format(jinja_context *c, const jinja_node *node, const jinja_value *value,
                         const jinja_arguments *arguments, jinja_value *out)
{
    jinja_text text;
    jinja_dict named = {0};
    jinja_arguments copy = *arguments;
    jinja_list list = {copy.positional, (size_t)arguments->count, FORM_TUPLE, false};
    VLMP_TRY(jinja_to_text(c, node, value, &text));
    if (arguments->named_count > 0 && arguments->count > 0)
        return jinja_fail(c, node, "format with both kinds of arguments");
    for (int i = 0; i < arguments->named_count; i++)
        VLMP_TRY(jinja_dict_put(c, node, &named, arguments->names[i], arguments->named[i]));
    return jinja_percent(c, node, text, &list, arguments->named_count > 0 ? &named : NULL, out);
}

/* A number from a value, else the default. */
static int filter_int(jinja_context *c, const jinja_node *node, const jinja_value *value,
                      const jinja_arguments *arguments, jinja_value *out)
{
    int64_t base = 10, integer;
    double real = 0;
    const jinja_value *fallback = jinja_argument(arguments, 0, "default");
    VLMP_TRY(jinja_integer_argument(c, node, arguments, 1, "base", &base));
    if (base != 10 || value->kind == VALUE_UNDEFINED)
        return jinja_fail(c, node, "int of an undefined value or by such a base is not supported");
    bool text = value->kind == VALUE_STRING, known = false;
    if (jinja_is_number(value) && value->kind != VALUE_FLOAT) {
        *out = jinja_integer(jinja_integer_of(value));
        return VLMP_OK;
    }
    if (text && jinja_read_integer(value->text, &integer)) {
        *out = jinja_integer(integer);
        return VLMP_OK;
    }
    if (value->kind == VALUE_FLOAT) {
        real = value->real;
        known = true;
    } else if (text) {
        known = jinja_read_real(value->text, &real);
        for (size_t i = 0; i < value->text.length && !known; i++)
            if ((unsigned char)value->text.text[i] >= 0x80 || value->text.length > 60)
                return jinja_fail(c, node, "int of such a text is not supported");
    }
    if (!known) {
        *out = fallback != NULL ? *fallback : jinja_integer(0);
        return VLMP_OK;
    }
    if (fabs(real) >= 0x1p62) return jinja_fail(c, node, "a number that is too large");
    *out = jinja_integer((int64_t)real);
    return VLMP_OK;
}

static bool is_named_number(jinja_text text)
{
    for (size_t i = 0; i < text.length; i++)
        if ((text.text[i] | 32) == 'n' || (unsigned char)text.text[i] >= 0x80) return true;
    return text.length > 60; /* nan, inf, infinity, other digits, and longer than is read */
}

static int filter_float(jinja_context *c, const jinja_node *node, const jinja_value *value,
                        const jinja_arguments *arguments, jinja_value *out)
{
    const jinja_value *fallback = jinja_argument(arguments, 0, "default");
    double real = 0;
    if (value->kind == VALUE_UNDEFINED) return jinja_fail(c, node, "float of an undefined value");
    bool text = value->kind == VALUE_STRING;
    bool known = jinja_is_number(value) || (text && jinja_read_real(value->text, &real));
    if (!known && text && is_named_number(value->text))
        return jinja_fail(c, node, "float of such a text is not supported");
    if (jinja_is_number(value)) real = jinja_real_of(value);
    *out = (jinja_value){.kind = VALUE_FLOAT, .real = real};
    if (!known && fallback != NULL) *out = *fallback;
    return VLMP_OK;
}

static int filter_abs(jinja_context *c, const jinja_node *node, const jinja_value *value,
                      const jinja_arguments *arguments, jinja_value *out)
{
    (void)arguments;
    if (!jinja_is_number(value)) return jinja_fail(c, node, "abs of a %s", jinja_kind_name(value));
    *out = *value;
    if (value->kind == VALUE_FLOAT) {
        out->real = fabs(value->real);
        return VLMP_OK;
    }
    int64_t number = jinja_integer_of(value);
    if (number == INT64_MIN) return jinja_fail(c, node, "a number that is too large");
    *out = jinja_integer(number < 0 ? -number : number);
    return VLMP_OK;
}

/* round(precision, method): half to even for "common"; only precisions from 0 on. */
static int filter_round(jinja_context *c, const jinja_node *node, const jinja_value *value,
                        const jinja_arguments *arguments, jinja_value *out)
{
    int64_t precision = 0;
    jinja_text method = {"common", 6};
    VLMP_TRY(jinja_integer_argument(c, node, arguments, 0, "precision", &precision));
    VLMP_TRY(jinja_text_argument(c, node, arguments, 1, "method", &method));
    if (!jinja_is_number(value) || precision < 0 || precision > 15)
        return jinja_fail(c, node, "round of a %s with this precision is not supported",
                          jinja_kind_name(value));
    double real = jinja_real_of(value), scale = pow(10, (double)precision);
    *out = (jinja_value){.kind = VALUE_FLOAT};
    if (jinja_text_is(method, "ceil") || jinja_text_is(method, "floor")) {
        double moved = method.text[0] == 'c' ? ceil(real * scale) : floor(real * scale);
        out->real = moved / scale;
        return VLMP_OK;
    }
    if (!jinja_text_is(method, "common")) return jinja_fail(c, node, "round with such a method");
    if (value->kind != VALUE_FLOAT) {
        *out = jinja_integer(jinja_integer_of(value));
        return VLMP_OK;
    }
    char digits[400];
    snprintf(digits, sizeof digits, "%.*f", (int)precision, real);
    out->real = strtod(digits, NULL);
    return VLMP_OK;
}

static int filter_tojson(jinja_context *c, const jinja_node *node, const jinja_value *value,
                         const jinja_arguments *arguments, jinja_value *out)
{
    return jinja_to_json(c, node, value, arguments, out);
}

const jinja_filter_entry jinja_text_filters[] = {
    {"abs", filter_abs, 0, ""},
    {"capitalize", filter_capitalize, 0, ""},
    {"center", filter_center, 1, "width"},
    {"float", filter_float, 1, "default"},
    {"format", filter_format, JINJA_MAX_ARGUMENTS, NULL},
    {"indent", filter_indent, 3, "width first blank"},
    {"int", filter_int, 2, "default base"},
    {"lower", filter_lower, 0, ""},
    {"replace", filter_replace, 3, "old new count"},
    {"round", filter_round, 2, "precision method"},
    {"safe", filter_safe, 0, ""},
    {"string", filter_string, 0, ""},
    {"title", filter_title, 0, ""},
    {"tojson", filter_tojson, 4, "ensure_ascii indent separators sort_keys"},
    {"trim", filter_trim, 1, "chars"},
    {"truncate", filter_truncate, 4, "length killwords end leeway"},
    {"upper", filter_upper, 0, ""},
    {"wordcount", filter_wordcount, 0, ""},
    {NULL, NULL, 0, NULL},
};
