#include "src/model/jinja.h"

static bool kind_test(jinja_text name, const jinja_value *value, bool *out)
{
    jinja_value_kind kind = value->kind;
    if (jinja_text_is(name, "defined")) {
        *out = kind != VALUE_UNDEFINED;
    } else if (jinja_text_is(name, "undefined")) {
        *out = kind == VALUE_UNDEFINED;
    } else if (jinja_text_is(name, "none")) {
        *out = kind == VALUE_NONE;
    } else if (jinja_text_is(name, "string")) {
        *out = kind == VALUE_STRING;
    } else if (jinja_text_is(name, "mapping")) {
        *out = kind == VALUE_DICT;
    } else if (jinja_text_is(name, "number")) {
        *out = kind == VALUE_INTEGER || kind == VALUE_BOOL;
    } else if (jinja_text_is(name, "integer")) {
        *out = kind == VALUE_INTEGER;
    } else if (jinja_text_is(name, "boolean")) {
        *out = kind == VALUE_BOOL;
    } else if (jinja_text_is(name, "true")) {
        *out = kind == VALUE_BOOL && value->truth;
    } else if (jinja_text_is(name, "false")) {
        *out = kind == VALUE_BOOL && !value->truth;
    } else if (jinja_text_is(name, "iterable") || jinja_text_is(name, "sequence")) {
        /* An undefined value counts: it is iterated as an empty one. */
        *out = kind == VALUE_LIST || kind == VALUE_STRING || kind == VALUE_DICT ||
               kind == VALUE_UNDEFINED || (kind == VALUE_LOOP && name.text[0] == 'i');
    } else {
        return false;
    }
    return true;
}

static int number_test(jinja_context *c, const jinja_node *node, jinja_text name,
                       const jinja_value *value, const jinja_arguments *arguments, bool *found,
                       bool *out)
{
    int64_t divisor = 2;
    bool divisible = jinja_text_is(name, "divisibleby");
    *found = divisible || jinja_text_is(name, "even") || jinja_text_is(name, "odd");
    if (!*found) return VLMP_OK;
    if (divisible && arguments->count == 1 && arguments->positional[0].kind == VALUE_INTEGER)
        divisor = arguments->positional[0].number;
    else if (divisible)
        divisor = 0;
    if (value->kind != VALUE_INTEGER || divisor == 0)
        return jinja_fail(c, node, "a test of divisibility of a %s", jinja_kind_name(value));
    bool even = divisor == -1 || value->number % divisor == 0;
    *out = even != (name.text[0] == 'o');
    return VLMP_OK;
}

static int comparison_of(jinja_text name)
{
    static const struct {
        const char *name;
        int op;
    } tests[] = {
        {"eq", OPERATOR2('=', '=')},
        {"equalto", OPERATOR2('=', '=')},
        {"==", OPERATOR2('=', '=')},
        {"ne", OPERATOR2('!', '=')},
        {"!=", OPERATOR2('!', '=')},
        {"in", COMPARE_IN},
        {"lt", '<'},
        {"lessthan", '<'},
        {"<", '<'},
        {"gt", '>'},
        {"greaterthan", '>'},
        {">", '>'},
        {"le", OPERATOR2('<', '=')},
        {"<=", OPERATOR2('<', '=')},
        {"ge", OPERATOR2('>', '=')},
        {">=", OPERATOR2('>', '=')},
    };
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++)
        if (jinja_text_is(name, tests[i].name)) return tests[i].op;
    return 0;
}

int jinja_test(jinja_context *c, const jinja_node *node, jinja_text name, const jinja_value *value,
               const jinja_arguments *arguments, bool *out)
{
    if (arguments->named_count > 0)
        return jinja_fail(c, node, "a test with named arguments is not supported");
    if (kind_test(name, value, out)) {
        if (arguments->count > 0) return jinja_fail(c, node, "a test with too many arguments");
        return VLMP_OK;
    }
    bool found;
    VLMP_TRY(number_test(c, node, name, value, arguments, &found, out));
    if (found) return VLMP_OK;
    int op = comparison_of(name);
    if (op != 0 && arguments->count == 1)
        return jinja_compare(c, node, op, value, &arguments->positional[0], out);
    return jinja_fail(c, node, "the test '%.*s' is unknown or not supported",
                      (int)(name.length < 60 ? name.length : 60), name.text);
}
