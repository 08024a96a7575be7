#include <string.h>

#include "src/text/template/jinja.h"

#define MAX_ORDER_DEPTH 32

static int unsupported(vlmp_jinja_context *c, const vlmp_jinja_node *node, int op,
                       const vlmp_jinja_value *a, const vlmp_jinja_value *b)
{
    char name[3] = {(char)(op > 255 ? op >> 8 : op), (char)(op > 255 ? op & 255 : 0), 0};
    const vlmp_jinja_value *undefined = a->kind == VALUE_UNDEFINED   ? a
                                        : b->kind == VALUE_UNDEFINED ? b
                                                                     : NULL;
    if (undefined != NULL)
        return vlmp_jinja_fail(c, node, "'%.*s' is undefined",
                               (int)(undefined->text.length < 60 ? undefined->text.length : 60),
                               undefined->text.text);
    return vlmp_jinja_fail(c, node,
                           "the operator %s between a %s and a %s is not supported (a template for "
                           "messages whose content is a string does this with a list)",
                           name, vlmp_jinja_kind_name(a), vlmp_jinja_kind_name(b));
}

static int add_lists(vlmp_jinja_context *c, const vlmp_jinja_node *node, const vlmp_jinja_list *a,
                     const vlmp_jinja_list *b, vlmp_jinja_value *out)
{
    vlmp_jinja_list *list;
    VLMP_TRY(vlmp_jinja_list_new(c, node, a->count + b->count, &list));
    list->form = a->form;
    if (a->count > 0) memcpy(list->items, a->items, a->count * sizeof *a->items);
    if (b->count > 0) memcpy(list->items + a->count, b->items, b->count * sizeof *b->items);
    *out = (vlmp_jinja_value){.kind = VALUE_LIST, .list = list};
    return VLMP_OK;
}

/* text * count, list * count */
static int repeat(vlmp_jinja_context *c, const vlmp_jinja_node *node, const vlmp_jinja_value *a,
                  int64_t count, vlmp_jinja_value *out)
{
    bool text = a->kind == VALUE_STRING;
    size_t one = text ? a->text.length : a->list->count, total;
    if (count < 0) count = 0;
    if (!vlmp_mul_size(one, (size_t)count, &total))
        return vlmp_jinja_fail(c, node, "a text or list that is too long");
    if (text) {
        char *bytes = vlmp_jinja_allocate(c, node, total + 1, 1);
        if (bytes == NULL) return c->err->code;
        for (size_t at = 0; at < total; at += one)
            memcpy(bytes + at, a->text.text, one);
        *out = vlmp_jinja_string(bytes, total);
        return VLMP_OK;
    }
    vlmp_jinja_form form = a->list->form;
    const vlmp_jinja_list *list = a->list;
    VLMP_TRY(vlmp_jinja_new_list(c, node, total, form, out));
    for (size_t at = 0; at < total; at += one)
        memcpy(out->list->items + at, list->items, one * sizeof *list->items);
    return VLMP_OK;
}

static bool is_repeated(const vlmp_jinja_value *value)
{
    return value->kind == VALUE_STRING ||
           (value->kind == VALUE_LIST && value->list->form <= FORM_TUPLE);
}

static bool is_count(const vlmp_jinja_value *value)
{
    return value->kind == VALUE_INTEGER || value->kind == VALUE_BOOL;
}

/* text % values: a tuple's values, a dictionary's, or the one. */
static int percent(vlmp_jinja_context *c, const vlmp_jinja_node *node, const vlmp_jinja_value *a,
                   const vlmp_jinja_value *b, vlmp_jinja_value *out)
{
    vlmp_jinja_value one = *b;
    vlmp_jinja_list single = {&one, 1, FORM_TUPLE, false};
    bool tuple = b->kind == VALUE_LIST && b->list->form == FORM_TUPLE;
    return vlmp_jinja_percent(c, node, a->text, tuple ? b->list : &single,
                              b->kind == VALUE_DICT ? b->dict : NULL, out);
}

int vlmp_jinja_binary(vlmp_jinja_context *c, const vlmp_jinja_node *node, int op,
                      const vlmp_jinja_value *a, const vlmp_jinja_value *b, vlmp_jinja_value *out)
{
    if (op == '~') {
        vlmp_jinja_text left, right;
        VLMP_TRY(vlmp_jinja_to_text(c, node, a, &left));
        VLMP_TRY(vlmp_jinja_to_text(c, node, b, &right));
        return vlmp_jinja_concatenate(c, node, left, right, out);
    }
    if (vlmp_jinja_is_number(a) && vlmp_jinja_is_number(b))
        return vlmp_jinja_arithmetic(c, node, op, a, b, out);
    if (op == '+' && a->kind == VALUE_STRING && b->kind == VALUE_STRING)
        return vlmp_jinja_concatenate(c, node, a->text, b->text, out);
    if (op == '+' && a->kind == VALUE_LIST && b->kind == VALUE_LIST &&
        a->list->form == b->list->form && is_repeated(a))
        return add_lists(c, node, a->list, b->list, out);
    if (op == '*' && is_repeated(a) && is_count(b))
        return repeat(c, node, a, vlmp_jinja_integer_of(b), out);
    if (op == '*' && is_repeated(b) && is_count(a))
        return repeat(c, node, b, vlmp_jinja_integer_of(a), out);
    if (op == '%' && a->kind == VALUE_STRING) return percent(c, node, a, b, out);
    return unsupported(c, node, op, a, b);
}

static int contains(vlmp_jinja_context *c, const vlmp_jinja_node *node, const vlmp_jinja_value *a,
                    const vlmp_jinja_value *b, bool *out)
{
    *out = false;
    if (b->kind == VALUE_STRING) {
        if (a->kind != VALUE_STRING)
            return vlmp_jinja_fail(c, node, "a %s is looked for in a string",
                                   vlmp_jinja_kind_name(a));
        *out = a->text.length == 0 ||
               memmem(b->text.text, b->text.length, a->text.text, a->text.length) != NULL;
        return VLMP_OK;
    }
    vlmp_jinja_list *list;
    size_t i = 0;
    if (b->kind == VALUE_DICT && (a->kind == VALUE_LIST || a->kind == VALUE_DICT))
        return vlmp_jinja_fail(c, node, "a %s is looked for in a dictionary",
                               vlmp_jinja_kind_name(a));
    VLMP_TRY(vlmp_jinja_to_list(c, node, b, &list));
    for (; i < list->count && !*out; i++)
        VLMP_TRY(vlmp_jinja_equal(c, node, a, &list->items[i], out));
    if (b->kind == VALUE_LIST && b->list->form == FORM_ITERATOR) { /* read up to the hit */
        b->list->items += i;
        b->list->count = list->count - i;
    }
    return VLMP_OK;
}

/* The sign of a's place to b's, for < and sorting. */
static int order(vlmp_jinja_context *c, const vlmp_jinja_node *node, int op,
                 const vlmp_jinja_value *a, const vlmp_jinja_value *b, int depth, int *out)
{
    if (depth > MAX_ORDER_DEPTH || ++c->steps > 10000000)
        return vlmp_jinja_fail(c, node, "a comparison of values nested too deeply");
    if (vlmp_jinja_is_number(a) && vlmp_jinja_is_number(b)) {
        *out = vlmp_jinja_compare_numbers(a, b);
        return VLMP_OK;
    }
    if (a->kind == VALUE_STRING && b->kind == VALUE_STRING) {
        size_t shorter = a->text.length < b->text.length ? a->text.length : b->text.length;
        *out = shorter == 0 ? 0 : memcmp(a->text.text, b->text.text, shorter);
        if (*out == 0) *out = (a->text.length > b->text.length) - (a->text.length < b->text.length);
        return VLMP_OK;
    }
    if (a->kind != VALUE_LIST || b->kind != VALUE_LIST || a->list->form != b->list->form ||
        a->list->form > FORM_TUPLE)
        return unsupported(c, node, op, a, b);
    const vlmp_jinja_list *left = a->list, *right = b->list;
    *out = (left->count > right->count) - (left->count < right->count);
    for (size_t i = 0; i < left->count && i < right->count; i++) {
        bool same;
        VLMP_TRY(vlmp_jinja_equal(c, node, &left->items[i], &right->items[i], &same));
        if (!same) return order(c, node, op, &left->items[i], &right->items[i], depth + 1, out);
    }
    return VLMP_OK;
}

int vlmp_jinja_order(vlmp_jinja_context *c, const vlmp_jinja_node *node, const vlmp_jinja_value *a,
                     const vlmp_jinja_value *b, int *out)
{
    return order(c, node, '<', a, b, 0, out);
}

int vlmp_jinja_compare(vlmp_jinja_context *c, const vlmp_jinja_node *node, int op,
                       const vlmp_jinja_value *a, const vlmp_jinja_value *b, bool *out)
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
        return vlmp_jinja_equal(c, node, a, b, out);
    case OPERATOR2('!', '='):
        VLMP_TRY(vlmp_jinja_equal(c, node, a, b, out));
        *out = !*out;
        return VLMP_OK;
    default:
        break;
    }
    VLMP_TRY(order(c, node, op, a, b, 0, &sign));
    *out = op == '<'                   ? sign < 0
           : op == '>'                 ? sign > 0
           : op == OPERATOR2('<', '=') ? sign <= 0
                                       : sign >= 0;
    return VLMP_OK;
}
