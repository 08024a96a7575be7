#include "src/text/template/jinja.h"

static bool kind_test(vlmp_jinja_text name, const vlmp_jinja_value *value, bool *out)
{
    vlmp_jinja_value_kind kind = value->kind;
    if (vlmp_jinja_text_is(name, "defined")) {
        *out = kind != VALUE_UNDEFINED;
    } else if (vlmp_jinja_text_is(name, "undefined")) {
        *out = kind == VALUE_UNDEFINED;
    } else if (vlmp_jinja_text_is(name, "none")) {
        *out = kind == VALUE_NONE;
    } else if (vlmp_jinja_text_is(name, "string")) {
        *out = kind == VALUE_STRING;
    } else if (vlmp_jinja_text_is(name, "mapping")) {
        *out = kind == VALUE_DICT;
    } else if (vlmp_jinja_text_is(name, "number")) {
        *out = vlmp_jinja_is_number(value);
    } else if (vlmp_jinja_text_is(name, "integer")) {
        *out = kind == VALUE_INTEGER;
    } else if (vlmp_jinja_text_is(name, "float")) {
        *out = kind == VALUE_FLOAT;
    } else if (vlmp_jinja_text_is(name, "callable")) {
        *out = kind == VALUE_FUNCTION || kind == VALUE_MACRO || kind == VALUE_LOOP ||
               kind == VALUE_UNDEFINED; /* an undefined value fails when it is called */
    } else if (vlmp_jinja_text_is(name, "escaped")) {
        *out = false;
    } else if (vlmp_jinja_text_is(name, "boolean")) {
        *out = kind == VALUE_BOOL;
    } else if (vlmp_jinja_text_is(name, "true")) {
        *out = kind == VALUE_BOOL && value->truth;
    } else if (vlmp_jinja_text_is(name, "false")) {
        *out = kind == VALUE_BOOL && !value->truth;
    } else if (vlmp_jinja_text_is(name, "iterable")) {
        /* An undefined value counts: it is iterated as an empty one. */
        *out = kind == VALUE_LIST || kind == VALUE_STRING || kind == VALUE_DICT ||
               kind == VALUE_UNDEFINED || kind == VALUE_LOOP;
    } else if (vlmp_jinja_text_is(name, "sequence")) {
        *out = vlmp_jinja_is_indexed(value) || kind == VALUE_DICT || kind == VALUE_UNDEFINED;
    } else {
        return false;
    }
    return true;
}

static int number_test(vlmp_jinja_context *c, const vlmp_jinja_node *node, vlmp_jinja_text name,
                       const vlmp_jinja_value *value, const vlmp_jinja_arguments *arguments,
                       bool *found, bool *out)
{
    vlmp_jinja_value two = vlmp_jinja_integer(2), rest, zero = vlmp_jinja_integer(0);
    bool divisible = vlmp_jinja_text_is(name, "divisibleby");
    *found = divisible || vlmp_jinja_text_is(name, "even") || vlmp_jinja_text_is(name, "odd");
    if (!*found) return VLMP_OK;
    if (arguments->count != divisible)
        return vlmp_jinja_fail(c, node, "a test of divisibility takes one number");
    const vlmp_jinja_value *divisor = divisible ? &arguments->positional[0] : &two;
    if (!vlmp_jinja_is_number(value) || !vlmp_jinja_is_number(divisor))
        return vlmp_jinja_fail(c, node, "a test of divisibility of a %s",
                               vlmp_jinja_kind_name(value));
    VLMP_TRY(vlmp_jinja_arithmetic(c, node, '%', value, divisor, &rest));
    vlmp_jinja_value one = vlmp_jinja_integer(1);
    *out = vlmp_jinja_compare_numbers(&rest, name.text[0] == 'o' ? &one : &zero) == 0;
    return VLMP_OK;
}

/* upper, lower: of the value's text; sameas: only where it is plain what Python's "is" says. */
static int other_test(vlmp_jinja_context *c, const vlmp_jinja_node *node, vlmp_jinja_text name,
                      const vlmp_jinja_value *value, const vlmp_jinja_arguments *arguments,
                      bool *found, bool *out)
{
    vlmp_jinja_text text;
    bool upper = vlmp_jinja_text_is(name, "upper");
    *found = true;
    if (upper || vlmp_jinja_text_is(name, "lower")) {
        VLMP_TRY(vlmp_jinja_to_text(c, node, value, &text));
        *out = vlmp_jinja_is_case(text, upper);
        return VLMP_OK;
    }
    *found = vlmp_jinja_text_is(name, "sameas") && arguments->count == 1;
    if (!*found) return VLMP_OK;
    const vlmp_jinja_value *other = &arguments->positional[0];
    if (other->kind != VALUE_NONE && other->kind != VALUE_BOOL)
        return vlmp_jinja_fail(c, node, "sameas a %s is not supported",
                               vlmp_jinja_kind_name(other));
    *out =
        value->kind == other->kind && (other->kind == VALUE_NONE || value->truth == other->truth);
    return VLMP_OK;
}

static int comparison_of(vlmp_jinja_text name)
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
        if (vlmp_jinja_text_is(name, tests[i].name)) return tests[i].op;
    return 0;
}

int vlmp_jinja_test(vlmp_jinja_context *c, const vlmp_jinja_node *node, vlmp_jinja_text name,
                    const vlmp_jinja_value *value, const vlmp_jinja_arguments *arguments, bool *out)
{
    if (arguments->named_count > 0)
        return vlmp_jinja_fail(c, node, "a test with named arguments is not supported");
    if (kind_test(name, value, out)) {
        if (arguments->count > 0) return vlmp_jinja_fail(c, node, "a test with too many arguments");
        return VLMP_OK;
    }
    bool found;
    VLMP_TRY(number_test(c, node, name, value, arguments, &found, out));
    if (found) return VLMP_OK;
    VLMP_TRY(other_test(c, node, name, value, arguments, &found, out));
    if (found) return VLMP_OK;
    int op = comparison_of(name);
    if (op != 0 && arguments->count == 1)
        return vlmp_jinja_compare(c, node, op, value, &arguments->positional[0], out);
    return vlmp_jinja_fail(c, node, "the test '%.*s' is unknown or not supported",
                           (int)(name.length < 60 ? name.length : 60), name.text);
}
