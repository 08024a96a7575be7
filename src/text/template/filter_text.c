/* Filters that make texts and numbers. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/text/template/jinja.h"
#include "src/text/unicode/unicode.h"

static int change_case(vlmp_jinja_context *c, const vlmp_jinja_node *node,
                       const vlmp_jinja_value *value, char how, vlmp_jinja_value *out)
{
    vlmp_jinja_text text;
    VLMP_TRY(vlmp_jinja_to_text(c, node, value, &text));
    return vlmp_jinja_change_case(c, node, text, how, out);
}

static int filter_upper(vlmp_jinja_context *c, const vlmp_jinja_node *node,
                        const vlmp_jinja_value *value, const vlmp_jinja_arguments *arguments,
                        vlmp_jinja_value *out)
{
    (void)arguments;
    return change_case(c, node, value, 'u', out);
}

static int filter_lower(vlmp_jinja_context *c, const vlmp_jinja_node *node,
                        const vlmp_jinja_value *value, const vlmp_jinja_arguments *arguments,
                        vlmp_jinja_value *out)
{
    (void)arguments;
    return change_case(c, node, value, 'l', out);
}

static int filter_capitalize(vlmp_jinja_context *c, const vlmp_jinja_node *node,
                             const vlmp_jinja_value *value, const vlmp_jinja_arguments *arguments,
                             vlmp_jinja_value *out)
{
    (void)arguments;
    return change_case(c, node, value, 'c', out);
}

/* Words begin behind white space, hyphens and opening brackets: "they're" has one. */
static int filter_title(vlmp_jinja_context *c, const vlmp_jinja_node *node,
                        const vlmp_jinja_value *value, const vlmp_jinja_arguments *arguments,
                        vlmp_jinja_value *out)
{
    (void)arguments;
    vlmp_jinja_text text;
    vlmp_buffer titled = {0};
    int status = VLMP_OK;
    bool starts = true;
    VLMP_TRY(vlmp_jinja_to_text(c, node, value, &text));
    for (size_t at = 0, end = 0; at < text.length && status == VLMP_OK; at = end) {
        uint32_t letter = vlmp_utf8_next(text.text, text.length, &end);
        vlmp_jinja_value changed;
        status = vlmp_jinja_change_case(c, node, (vlmp_jinja_text){text.text + at, end - at},
                                        starts ? 'u' : 'l', &changed);
        if (status == VLMP_OK) vlmp_buffer_append(&titled, changed.text.text, changed.text.length);
        starts = vlmp_jinja_is_space(letter) ||
                 (letter < 0x80 && letter > 0 && strchr("-({[<", (int)letter) != NULL);
    }
    return vlmp_jinja_from_buffer(c, node, &titled, status, out);
}

static int filter_trim(vlmp_jinja_context *c, const vlmp_jinja_node *node,
                       const vlmp_jinja_value *value, const vlmp_jinja_arguments *arguments,
                       vlmp_jinja_value *out)
{
    vlmp_jinja_text text, characters;
    const vlmp_jinja_value *given = vlmp_jinja_argument(arguments, 0, "chars");
    bool any = given == NULL || given->kind == VALUE_NONE;
    VLMP_TRY(vlmp_jinja_to_text(c, node, value, &text));
    if (!any && given->kind != VALUE_STRING)
        return vlmp_jinja_fail(c, node, "trim of a %s", vlmp_jinja_kind_name(given));
    if (!any) characters = given->text;
    text = vlmp_jinja_strip(text, any ? NULL : &characters, true, true);
    *out = vlmp_jinja_string(text.text, text.length);
    return VLMP_OK;
}

static int filter_string(vlmp_jinja_context *c, const vlmp_jinja_node *node,
                         const vlmp_jinja_value *value, const vlmp_jinja_arguments *arguments,
                         vlmp_jinja_value *out)
{
    (void)arguments;
    vlmp_jinja_text text;
    VLMP_TRY(vlmp_jinja_to_text(c, node, value, &text));
    *out = vlmp_jinja_string(text.text, text.length);
    return VLMP_OK;
}

/* Only where a print statement drops it: what comes behind would be escaped. */
static int filter_safe(vlmp_jinja_context *c, const vlmp_jinja_node *node,
                       const vlmp_jinja_value *value, const vlmp_jinja_arguments *arguments,
                       vlmp_jinja_value *out)
{
    (void)value;
    (void)arguments;
    (void)out;
    return vlmp_jinja_fail(c, node, "the filter 'safe' is only supported at the end of {{ … }}");
}

static int filter_replace(vlmp_jinja_context *c, const vlmp_jinja_node *node,
                          const vlmp_jinja_value *value, const vlmp_jinja_arguments *arguments,
                          vlmp_jinja_value *out)
{
    vlmp_jinja_text text, from, to;
    int64_t most = -1;
    const vlmp_jinja_value *count = vlmp_jinja_argument(arguments, 2, "count");
    if (vlmp_jinja_argument(arguments, 0, "old") == NULL ||
        vlmp_jinja_argument(arguments, 1, "new") == NULL)
        return vlmp_jinja_fail(c, node, "replace needs two texts");
    VLMP_TRY(vlmp_jinja_to_text(c, node, value, &text));
    VLMP_TRY(vlmp_jinja_text_argument(c, node, arguments, 0, "old", &from));
    VLMP_TRY(vlmp_jinja_text_argument(c, node, arguments, 1, "new", &to));
    if (count != NULL && count->kind != VALUE_NONE)
        VLMP_TRY(vlmp_jinja_integer_argument(c, node, arguments, 2, "count", &most));
    return vlmp_jinja_replace(c, node, text, from, to, most, out);
}

static int filter_center(vlmp_jinja_context *c, const vlmp_jinja_node *node,
                         const vlmp_jinja_value *value, const vlmp_jinja_arguments *arguments,
                         vlmp_jinja_value *out)
{
    vlmp_jinja_text text;
    int64_t width = 80;
    VLMP_TRY(vlmp_jinja_to_text(c, node, value, &text));
    VLMP_TRY(vlmp_jinja_integer_argument(c, node, arguments, 0, "width", &width));
    int64_t have = (int64_t)vlmp_jinja_characters(text);
    size_t missing = width > have ? (size_t)(width - have) : 0;
    size_t left = missing / 2 + (missing & (size_t)width & 1);
    return vlmp_jinja_pad(c, node, text, left, missing - left, (vlmp_jinja_text){" ", 1}, out);
}

/* indent(width, first, blank): width is a number of spaces or a text. */
static int filter_indent(vlmp_jinja_context *c, const vlmp_jinja_node *node,
                         const vlmp_jinja_value *value, const vlmp_jinja_arguments *arguments,
                         vlmp_jinja_value *out)
{
    const vlmp_jinja_value *given = vlmp_jinja_argument(arguments, 0, "width");
    bool first = vlmp_jinja_truth_argument(arguments, 1, "first");
    bool blank = vlmp_jinja_truth_argument(arguments, 2, "blank");
    int64_t width = 4;
    vlmp_jinja_value indent;
    if (value->kind != VALUE_STRING)
        return vlmp_jinja_fail(c, node, "indent of a %s", vlmp_jinja_kind_name(value));
    if (given != NULL && given->kind == VALUE_STRING) {
        indent = *given;
    } else {
        VLMP_TRY(vlmp_jinja_integer_argument(c, node, arguments, 0, "width", &width));
        VLMP_TRY(vlmp_jinja_pad(c, node, (vlmp_jinja_text){"", 0}, width > 0 ? (size_t)width : 0, 0,
                                (vlmp_jinja_text){" ", 1}, &indent));
    }
    vlmp_jinja_text text = value->text;
    vlmp_buffer indented = {0};
    if (first) vlmp_buffer_append(&indented, indent.text.text, indent.text.length);
    for (size_t at = 0, next = 0;; at = next) {
        size_t end = vlmp_jinja_line_end(text, at, &next);
        if (at > 0) vlmp_buffer_text(&indented, "\n");
        if (at > 0 && (blank || end > at))
            vlmp_buffer_append(&indented, indent.text.text, indent.text.length);
        vlmp_buffer_append(&indented, text.text + at, end - at);
        if (next == end) break;
    }
    return vlmp_jinja_from_buffer(c, node, &indented, VLMP_OK, out);
}

/* truncate(length, killwords, end, leeway) */
static int filter_truncate(vlmp_jinja_context *c, const vlmp_jinja_node *node,
                           const vlmp_jinja_value *value, const vlmp_jinja_arguments *arguments,
                           vlmp_jinja_value *out)
{
    int64_t length = 255, leeway = 5;
    vlmp_jinja_text text, end = {"...", 3};
    bool kill = vlmp_jinja_truth_argument(arguments, 1, "killwords");
    VLMP_TRY(vlmp_jinja_to_text(c, node, value, &text));
    VLMP_TRY(vlmp_jinja_integer_argument(c, node, arguments, 0, "length", &length));
    VLMP_TRY(vlmp_jinja_text_argument(c, node, arguments, 2, "end", &end));
    VLMP_TRY(vlmp_jinja_integer_argument(c, node, arguments, 3, "leeway", &leeway));
    int64_t keep = length - (int64_t)vlmp_jinja_characters(end);
    if (keep < 0 || leeway < 0 || length > INT32_MAX || leeway > INT32_MAX)
        return vlmp_jinja_fail(c, node,
                               "such arguments of the filter 'truncate' are not supported");
    *out = vlmp_jinja_string(text.text, text.length);
    if ((int64_t)vlmp_jinja_characters(text) <= length + leeway) return VLMP_OK;
    size_t cut = 0;
    for (int64_t i = 0; i < keep; i++)
        vlmp_utf8_next(text.text, text.length, &cut);
    const char *space = kill || cut == 0 ? NULL : memrchr(text.text, ' ', cut);
    if (space != NULL) cut = (size_t)(space - text.text);
    return vlmp_jinja_concatenate(c, node, (vlmp_jinja_text){text.text, cut}, end, out);
}

static int filter_wordcount(vlmp_jinja_context *c, const vlmp_jinja_node *node,
                            const vlmp_jinja_value *value, const vlmp_jinja_arguments *arguments,
                            vlmp_jinja_value *out)
{
    (void)arguments;
    vlmp_jinja_text text;
    int64_t words = 0;
    bool inside = false;
    VLMP_TRY(vlmp_jinja_to_text(c, node, value, &text));
    for (size_t at = 0; at < text.length;) {
        uint32_t letter = vlmp_utf8_next(text.text, text.length, &at);
        /* Python's \w has no marks, the table's has. */
        if (letter >= 0x80 && vlmp_is_word(letter) && !vlmp_is_letter(letter))
            return vlmp_jinja_fail(c, node, "wordcount of the character U+%04X is not supported",
                                   (unsigned)letter);
        bool word = vlmp_is_word(letter);
        words += word && !inside;
        inside = word;
    }
    *out = vlmp_jinja_integer(words);
    return VLMP_OK;
}

/* text % arguments, or, where they have names, text % a dictionary. */
static int filter_format(vlmp_jinja_context *c, const vlmp_jinja_node *node,
                         const vlmp_jinja_value *value, const vlmp_jinja_arguments *arguments,
                         vlmp_jinja_value *out)
{
    vlmp_jinja_text text;
    vlmp_jinja_dict named = {0};
    vlmp_jinja_arguments copy = *arguments;
    vlmp_jinja_list list = {copy.positional, (size_t)arguments->count, FORM_TUPLE, false};
    VLMP_TRY(vlmp_jinja_to_text(c, node, value, &text));
    if (arguments->named_count > 0 && arguments->count > 0)
        return vlmp_jinja_fail(c, node, "format with both kinds of arguments");
    for (int i = 0; i < arguments->named_count; i++)
        VLMP_TRY(vlmp_jinja_dict_put(c, node, &named, arguments->names[i], arguments->named[i]));
    return vlmp_jinja_percent(c, node, text, &list, arguments->named_count > 0 ? &named : NULL,
                              out);
}

/* A number from a value, else the default. */
static int filter_int(vlmp_jinja_context *c, const vlmp_jinja_node *node,
                      const vlmp_jinja_value *value, const vlmp_jinja_arguments *arguments,
                      vlmp_jinja_value *out)
{
    int64_t base = 10, integer;
    double real = 0;
    const vlmp_jinja_value *fallback = vlmp_jinja_argument(arguments, 0, "default");
    VLMP_TRY(vlmp_jinja_integer_argument(c, node, arguments, 1, "base", &base));
    if (base != 10 || value->kind == VALUE_UNDEFINED)
        return vlmp_jinja_fail(c, node,
                               "int of an undefined value or by such a base is not supported");
    bool text = value->kind == VALUE_STRING, known = false;
    if (vlmp_jinja_is_number(value) && value->kind != VALUE_FLOAT) {
        *out = vlmp_jinja_integer(vlmp_jinja_integer_of(value));
        return VLMP_OK;
    }
    if (text && vlmp_jinja_read_integer(value->text, &integer)) {
        *out = vlmp_jinja_integer(integer);
        return VLMP_OK;
    }
    if (value->kind == VALUE_FLOAT) {
        real = value->real;
        known = true;
    } else if (text) {
        known = vlmp_jinja_read_real(value->text, &real);
        for (size_t i = 0; i < value->text.length && !known; i++)
            if ((unsigned char)value->text.text[i] >= 0x80 || value->text.length > 60)
                return vlmp_jinja_fail(c, node, "int of such a text is not supported");
    }
    if (!known) {
        *out = fallback != NULL ? *fallback : vlmp_jinja_integer(0);
        return VLMP_OK;
    }
    if (fabs(real) >= 0x1p62) return vlmp_jinja_fail(c, node, "a number that is too large");
    *out = vlmp_jinja_integer((int64_t)real);
    return VLMP_OK;
}

static bool is_named_number(vlmp_jinja_text text)
{
    for (size_t i = 0; i < text.length; i++)
        if ((text.text[i] | 32) == 'n' || (unsigned char)text.text[i] >= 0x80) return true;
    return text.length > 60; /* nan, inf, infinity, other digits, and longer than is read */
}

static int filter_float(vlmp_jinja_context *c, const vlmp_jinja_node *node,
                        const vlmp_jinja_value *value, const vlmp_jinja_arguments *arguments,
                        vlmp_jinja_value *out)
{
    const vlmp_jinja_value *fallback = vlmp_jinja_argument(arguments, 0, "default");
    double real = 0;
    if (value->kind == VALUE_UNDEFINED)
        return vlmp_jinja_fail(c, node, "float of an undefined value");
    bool text = value->kind == VALUE_STRING;
    bool known = vlmp_jinja_is_number(value) || (text && vlmp_jinja_read_real(value->text, &real));
    if (!known && text && is_named_number(value->text))
        return vlmp_jinja_fail(c, node, "float of such a text is not supported");
    if (vlmp_jinja_is_number(value)) real = vlmp_jinja_real_of(value);
    *out = (vlmp_jinja_value){.kind = VALUE_FLOAT, .real = real};
    if (!known && fallback != NULL) *out = *fallback;
    return VLMP_OK;
}

static int filter_abs(vlmp_jinja_context *c, const vlmp_jinja_node *node,
                      const vlmp_jinja_value *value, const vlmp_jinja_arguments *arguments,
                      vlmp_jinja_value *out)
{
    (void)arguments;
    if (!vlmp_jinja_is_number(value))
        return vlmp_jinja_fail(c, node, "abs of a %s", vlmp_jinja_kind_name(value));
    *out = *value;
    if (value->kind == VALUE_FLOAT) {
        out->real = fabs(value->real);
        return VLMP_OK;
    }
    int64_t number = vlmp_jinja_integer_of(value);
    if (number == INT64_MIN) return vlmp_jinja_fail(c, node, "a number that is too large");
    *out = vlmp_jinja_integer(number < 0 ? -number : number);
    return VLMP_OK;
}

/* round(precision, method): half to even for "common"; only precisions from 0 on. */
static int filter_round(vlmp_jinja_context *c, const vlmp_jinja_node *node,
                        const vlmp_jinja_value *value, const vlmp_jinja_arguments *arguments,
                        vlmp_jinja_value *out)
{
    int64_t precision = 0;
    vlmp_jinja_text method = {"common", 6};
    VLMP_TRY(vlmp_jinja_integer_argument(c, node, arguments, 0, "precision", &precision));
    VLMP_TRY(vlmp_jinja_text_argument(c, node, arguments, 1, "method", &method));
    if (!vlmp_jinja_is_number(value) || precision < 0 || precision > 15)
        return vlmp_jinja_fail(c, node, "round of a %s with this precision is not supported",
                               vlmp_jinja_kind_name(value));
    double real = vlmp_jinja_real_of(value), scale = pow(10, (double)precision);
    *out = (vlmp_jinja_value){.kind = VALUE_FLOAT};
    if (vlmp_jinja_text_is(method, "ceil") || vlmp_jinja_text_is(method, "floor")) {
        /* + 0.0: Python's are integers, which have no negative zero. */
        double moved = (method.text[0] == 'c' ? ceil(real * scale) : floor(real * scale)) + 0.0;
        out->real = moved / scale;
        return VLMP_OK;
    }
    if (!vlmp_jinja_text_is(method, "common"))
        return vlmp_jinja_fail(c, node, "round with such a method");
    if (value->kind != VALUE_FLOAT) {
        *out = vlmp_jinja_integer(vlmp_jinja_integer_of(value));
        return VLMP_OK;
    }
    char digits[400];
    snprintf(digits, sizeof digits, "%.*f", (int)precision, real);
    out->real = strtod(digits, NULL);
    return VLMP_OK;
}

static int filter_tojson(vlmp_jinja_context *c, const vlmp_jinja_node *node,
                         const vlmp_jinja_value *value, const vlmp_jinja_arguments *arguments,
                         vlmp_jinja_value *out)
{
    return vlmp_jinja_to_json(c, node, value, arguments, out);
}

const vlmp_jinja_filter_entry vlmp_jinja_text_filters[] = {
    {"abs", filter_abs, 0, ""},
    {"capitalize", filter_capitalize, 0, ""},
    {"center", filter_center, 1, "width"},
    {"float", filter_float, 1, "default"},
    {"format", filter_format, VLMP_JINJA_MAX_ARGUMENTS, NULL},
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
