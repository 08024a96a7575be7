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
        *out = jinja_is_number(value);
    } else if (jinja_text_is(name, "integer")) {
        *out = kind == VALUE_INTEGER;
    } else if (jinja_text_is(name, "float")) {
        *out = kind == VALUE_FLOAT;
    } else if (jinja_text_is(name, "callable")) {
        *out = kind == VALUE_FUNCTION || kind == VALUE_MACRO || kind == VALUE_LOOP ||
               kind == VALUE_UNDEFINED; /* an undefined value fails when it is called */
    } else if (jinja_text_is(name, "escaped")) {
        *out = false;
    } else if (jinja_text_is(name, "boolean")) {
        *out = kind == VALUE_BOOL;
    } else if (jinja_text_is(name, "true")) {
        *out = kind == VALUE_BOOL && value->truth;
    } else if (jinja_text_is(name, "false")) {
        *out = kind == VALUE_BOOL && !value->truth;
    } else if (jinja_text_is(name, "iterable")) {
        /* An undefined value counts: it is iterated as an empty one. */
        *out = kind == VALUE_LIST || kind == VALUE_STRING || kind == VALUE_DICT ||
               kind == VALUE_UNDEFINED || kind == VALUE_LOOP;
    } else if (jinja_text_is(name, "sequence")) {
        *out = jinja_is_indexed(value) || kind == VALUE_DICT || kind == VALUE_UNDEFINED;
    } else {
        return false;
    }
    return true;
}

static int number_test(jinja_context *c, const jinja_node *node, jinja_text name,
                       const jinja_value *value, const jinja_arguments *arguments, bool *found,
                       bool *out)
{
    jinja_value two = jinja_integer(2), rest, zero = jinja_integer(0);
    bool divisible = jinja_text_is(name, "divisibleby");
    *found = divisible || jinja_text_is(name, "even") || jinja_text_is(name, "odd");
    if (!*found) return VLMP_OK;
    if (arguments->count != divisible)
        return jinja_fail(c, node, "a test of divisibility takes one number");
    const jinja_value *divisor = divisible ? &arguments->positional[0] : &two;
    if (!jinja_is_number(value) || !jinja_is_number(divisor))
        return jinja_fail(c, node, "a test of divisibility of a %s", jinja_kind_name(value));
    VLMP_TRY(jinja_arithmetic(c, node, '%', value, divisor, &rest));
    jinja_value one = jinja_integer(1);
    *out = jinja_compare_numbers(&rest, name.text[0] == 'o' ? &one : &zero) == 0;
    return VLMP_OK;
}

/* upper, lower: of the value's text; sameas: only where it is plain what Python's "is" says. */
static int other_test(jinja_context *c, const jinja_node *node, jinja_text name,
                      const jinja_value *value, const jinja_arguments *arguments, bool *found,
                      bool *out)
{
    jinja_text text;
    bool upper = jinja_text_is(name, "upper");
    *found = true;
    if (upper || jinja_text_is(name, "lower")) {
        VLMP_TRY(jinja_to_text(c, node, value, &text));
        *out = jinja_is_case(text, upper);
        return VLMP_OK;
    }
    *found = jinja_text_is(name, "sameas") && arguments->count == 1;
    if (!*found) return VLMP_OK;
    const jinja_value *other = &arguments->positional[0];
    if (other->kind != VALUE_NONE && other->kind != VALUE_BOOL)
        return jinja_fail(c, node, "sameas a %s is not supported", jinja_kind_name(other));
    *out =
        value->kind == other->kind && (other->kind == VALUE_NONE || value->truth == other->truth);
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
    VLMP_TRY(other_test(c, node, name, value, arguments, &found, out));
    if (found) return VLMP_OK;
    int op = comparison_of(name);
    if (op != 0 && arguments->count == 1)
        return jinja_compare(c, node, op, value, &arguments->positional[0], out);
    return jinja_fail(c, node, "the test '%.*s' is unknown or not supported",
                      (int)(name.length < 60 ? name.length : 60), name.text);
}
