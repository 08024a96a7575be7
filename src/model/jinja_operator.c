#include <string.h>

#include "src/model/jinja.h"

static int unsupported(jinja_context *c, const jinja_node *node, int op, const jinja_value *a,
                       const jinja_value *b)
{
    char name[3] = {(char)(op > 255 ? op >> 8 : op), (char)(op > 255 ? op & 255 : 0), 0};
    const jinja_value *undefined = a->kind == VALUE_UNDEFINED   ? a
                                   : b->kind == VALUE_UNDEFINED ? b
                                                                : NULL;
    if (undefined != NULL)
        return jinja_fail(c, node, "'%.*s' is undefined",
                          (int)(undefined->text.length < 60 ? undefined->text.length : 60),
                          undefined->text.text);
    return jinja_fail(c, node,
                      "the operator %s between a %s and a %s is not supported (a template for "
                      "messages whose content is a string does this with a list)",
                      name, jinja_kind_name(a), jinja_kind_name(b));
}

static int64_t number_of(const jinja_value *value)
{
    return value->kind == VALUE_BOOL ? value->truth : value->number;
}

static bool is_number(const jinja_value *value)
{
    return value->kind == VALUE_INTEGER || value->kind == VALUE_BOOL;
}

/* Python's division rounds down, and its remainder has the divisor's sign. */
static int divide(jinja_context *c, const jinja_node *node, int64_t a, int64_t b, bool remainder,
                  int64_t *out)
{
    if (b == 0 || (a == INT64_MIN && b == -1)) return jinja_fail(c, node, "a division by zero");
    int64_t quotient = a / b, rest = a % b;
    if (rest != 0 && (rest < 0) != (b < 0)) {
        quotient--;
        rest += b;
    }
    *out = remainder ? rest : quotient;
    return VLMP_OK;
}

static int arithmetic(jinja_context *c, const jinja_node *node, int op, int64_t a, int64_t b,
                      int64_t *out)
{
    bool overflow = false;
    switch (op) {
    case '+':
        overflow = __builtin_add_overflow(a, b, out);
        break;
    case '-':
        overflow = __builtin_sub_overflow(a, b, out);
        break;
    case '*':
        overflow = __builtin_mul_overflow(a, b, out);
        break;
    case '%':
        return divide(c, node, a, b, true, out);
    case OPERATOR2('/', '/'):
        return divide(c, node, a, b, false, out);
    default:
        return jinja_fail(c, node, "the operator / (it gives a fraction) is not supported");
    }
    return overflow ? jinja_fail(c, node, "a number that is too large") : VLMP_OK;
}

static int add_lists(jinja_context *c, const jinja_node *node, const jinja_list *a,
                     const jinja_list *b, jinja_value *out)
{
    jinja_list *list;
    VLMP_TRY(jinja_list_new(c, node, a->count + b->count, &list));
    if (a->count > 0) memcpy(list->items, a->items, a->count * sizeof *a->items);
    if (b->count > 0) memcpy(list->items + a->count, b->items, b->count * sizeof *b->items);
    *out = (jinja_value){.kind = VALUE_LIST, .list = list};
    return VLMP_OK;
}

int jinja_binary(jinja_context *c, const jinja_node *node, int op, const jinja_value *a,
                 const jinja_value *b, jinja_value *out)
{
    if (op == '~') {
        jinja_text left, right;
        VLMP_TRY(jinja_to_text(c, node, a, &left));
        VLMP_TRY(jinja_to_text(c, node, b, &right));
        return jinja_concatenate(c, node, left, right, out);
    }
    if (is_number(a) && is_number(b)) {
        int64_t result = 0;
        VLMP_TRY(arithmetic(c, node, op, number_of(a), number_of(b), &result));
        *out = (jinja_value){.kind = VALUE_INTEGER, .number = result};
        return VLMP_OK;
    }
    if (op == '+' && a->kind == VALUE_STRING && b->kind == VALUE_STRING)
        return jinja_concatenate(c, node, a->text, b->text, out);
    if (op == '+' && a->kind == VALUE_LIST && b->kind == VALUE_LIST)
        return add_lists(c, node, a->list, b->list, out);
    return unsupported(c, node, op, a, b);
}

static int contains(jinja_context *c, const jinja_node *node, const jinja_value *a,
                    const jinja_value *b, bool *out)
{
    *out = false;
    if (b->kind == VALUE_STRING) {
        if (a->kind != VALUE_STRING)
            return jinja_fail(c, node, "a %s is looked for in a string", jinja_kind_name(a));
        *out = a->text.length == 0 ||
               memmem(b->text.text, b->text.length, a->text.text, a->text.length) != NULL;
        return VLMP_OK;
    }
    jinja_list *list;
    VLMP_TRY(jinja_to_list(c, node, b, &list));
    for (size_t i = 0; i < list->count && !*out; i++)
        VLMP_TRY(jinja_equal(c, node, a, &list->items[i], out));
    return VLMP_OK;
}

static int order(jinja_context *c, const jinja_node *node, int op, const jinja_value *a,
                 const jinja_value *b, int *out)
{
    if (is_number(a) && is_number(b)) {
        *out = (number_of(a) > number_of(b)) - (number_of(a) < number_of(b));
        return VLMP_OK;
    }
    if (a->kind != VALUE_STRING || b->kind != VALUE_STRING) return unsupported(c, node, op, a, b);
    size_t shorter = a->text.length < b->text.length ? a->text.length : b->text.length;
    *out = shorter == 0 ? 0 : memcmp(a->text.text, b->text.text, shorter);
    if (*out == 0) *out = (a->text.length > b->text.length) - (a->text.length < b->text.length);
    return VLMP_OK;
}

int jinja_compare(jinja_context *c, const jinja_node *node, int op, const jinja_value *a,
                  const jinja_value *b, bool *out)
{
    int sign = 0;
    switch (op) {
    case COMPARE_IN:
        return contains(c, node, a, b, out);
    case COMPARE_NOT_IN:
        VLMP_TRY(contains(c, node, a, b, out));
        *out = !*out;
        return VLMP_OK;
    case OPERATOR2('=', '='):
        return jinja_equal(c, node, a, b, out);
    case OPERATOR2('!', '='):
        VLMP_TRY(jinja_equal(c, node, a, b, out));
        *out = !*out;
        return VLMP_OK;
    default:
        break;
    }
    VLMP_TRY(order(c, node, op, a, b, &sign));
    *out = op == '<'                   ? sign < 0
           : op == '>'                 ? sign > 0
           : op == OPERATOR2('<', '=') ? sign <= 0
                                       : sign >= 0;
    return VLMP_OK;
}
