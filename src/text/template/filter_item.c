/* Filters that look at each item: map, select and their kin; default, items. */
#include <string.h>

#include "src/text/template/jinja.h"

/* One part of a path: a number is an index. */
static int path_part(vlmp_jinja_context *c, const vlmp_jinja_node *node, vlmp_jinja_text part,
                     const vlmp_jinja_value *value, vlmp_jinja_value *out)
{
    vlmp_jinja_value key = vlmp_jinja_string(part.text, part.length);
    bool digits = part.length > 0 && part.length < 10;
    for (size_t i = 0; i < part.length; i++)
        digits = digits && part.text[i] >= '0' && part.text[i] <= '9';
    int64_t index;
    if (digits && vlmp_jinja_read_integer(part, &index)) key = vlmp_jinja_integer(index);
    return vlmp_jinja_item(c, node, value, &key, out);
}

int vlmp_jinja_path(vlmp_jinja_context *c, const vlmp_jinja_node *node,
                    const vlmp_jinja_value *value, const vlmp_jinja_value *attribute, bool lower,
                    vlmp_jinja_value *out)
{
    vlmp_jinja_value found = *value;
    if (attribute != NULL && attribute->kind == VALUE_STRING) {
        vlmp_jinja_text rest = attribute->text;
        for (bool more = true; more;) {
            const char *dot = rest.length > 0 ? memchr(rest.text, '.', rest.length) : NULL;
            size_t length = dot != NULL ? (size_t)(dot - rest.text) : rest.length;
            vlmp_jinja_value outer = found;
            VLMP_TRY(path_part(c, node, (vlmp_jinja_text){rest.text, length}, &outer, &found));
            more = dot != NULL;
            rest.text += length + more;
            rest.length -= length + more;
        }
    } else if (attribute != NULL && attribute->kind == VALUE_INTEGER) {
        VLMP_TRY(vlmp_jinja_item(c, node, value, attribute, &found));
    } else if (attribute != NULL && attribute->kind != VALUE_NONE) {
        return vlmp_jinja_fail(c, node, "an attribute that is a %s",
                               vlmp_jinja_kind_name(attribute));
    }
    if (lower && found.kind == VALUE_STRING)
        return vlmp_jinja_change_case(c, node, found.text, 'l', out);
    *out = found;
    return VLMP_OK;
}

static int filter_default(vlmp_jinja_context *c, const vlmp_jinja_node *node,
                          const vlmp_jinja_value *value, const vlmp_jinja_arguments *arguments,
                          vlmp_jinja_value *out)
{
    (void)c;
    (void)node;
    const vlmp_jinja_value *given = vlmp_jinja_argument(arguments, 0, "default_value");
    bool falsy = vlmp_jinja_truth_argument(arguments, 1, "boolean");
    bool replace = value->kind == VALUE_UNDEFINED || (falsy && !vlmp_jinja_is_true(value));
    *out = !replace ? *value : given != NULL ? *given : vlmp_jinja_string("", 0);
    return VLMP_OK;
}

static int filter_items(vlmp_jinja_context *c, const vlmp_jinja_node *node,
                        const vlmp_jinja_value *value, const vlmp_jinja_arguments *arguments,
                        vlmp_jinja_value *out)
{
    bool found;
    if (value->kind == VALUE_UNDEFINED) return vlmp_jinja_new_list(c, node, 0, FORM_ITERATOR, out);
    if (value->kind != VALUE_DICT)
        return vlmp_jinja_fail(c, node, "the filter 'items' of a %s", vlmp_jinja_kind_name(value));
    VLMP_TRY(
        vlmp_jinja_method(c, node, value, (vlmp_jinja_text){"items", 5}, arguments, &found, out));
    out->list->form = FORM_ITERATOR;
    return VLMP_OK;
}

/* The arguments from `first` on: those of the filter or test that is applied to each item. */
static vlmp_jinja_arguments rest_of(const vlmp_jinja_arguments *arguments, int first)
{
    vlmp_jinja_arguments rest = *arguments;
    rest.count = arguments->count > first ? arguments->count - first : 0;
    for (int i = 0; i < rest.count; i++)
        rest.positional[i] = arguments->positional[first + i];
    return rest;
}

/* select([test [, argument]]), selectattr(attribute [, test [, argument]]) and their opposites.
 * What is false, None too, has no items. */
static int choose(vlmp_jinja_context *c, const vlmp_jinja_node *node, const vlmp_jinja_value *value,
                  const vlmp_jinja_arguments *arguments, bool by_attribute, bool wanted,
                  vlmp_jinja_value *out)
{
    const vlmp_jinja_value *attribute = by_attribute ? &arguments->positional[0] : NULL;
    const vlmp_jinja_value *test = &arguments->positional[by_attribute];
    bool tested = arguments->count > by_attribute;
    vlmp_jinja_list *list;
    if (arguments->count < by_attribute)
        return vlmp_jinja_fail(c, node, "selectattr of no attribute");
    if (tested && test->kind != VALUE_STRING)
        return vlmp_jinja_fail(c, node, "a test that is a %s", vlmp_jinja_kind_name(test));
    VLMP_TRY(vlmp_jinja_new_list(c, node, 0, FORM_ITERATOR, out));
    if (!vlmp_jinja_is_true(value)) return VLMP_OK;
    vlmp_jinja_arguments rest = rest_of(arguments, by_attribute + 1);
    VLMP_TRY(vlmp_jinja_to_list(c, node, value, &list));
    VLMP_TRY(vlmp_jinja_new_list(c, node, list->count, FORM_ITERATOR, out));
    out->list->count = 0;
    for (size_t i = 0; i < list->count; i++) {
        vlmp_jinja_value found;
        VLMP_TRY(vlmp_jinja_path(c, node, &list->items[i], attribute, false, &found));
        bool holds = !tested && vlmp_jinja_is_true(&found);
        if (tested) VLMP_TRY(vlmp_jinja_test(c, node, test->text, &found, &rest, &holds));
        if (holds == wanted) out->list->items[out->list->count++] = list->items[i];
    }
    return VLMP_OK;
}

static int filter_select(vlmp_jinja_context *c, const vlmp_jinja_node *node,
                         const vlmp_jinja_value *value, const vlmp_jinja_arguments *arguments,
                         vlmp_jinja_value *out)
{
    return choose(c, node, value, arguments, false, true, out);
}

static int filter_reject(vlmp_jinja_context *c, const vlmp_jinja_node *node,
                         const vlmp_jinja_value *value, const vlmp_jinja_arguments *arguments,
                         vlmp_jinja_value *out)
{
    return choose(c, node, value, arguments, false, false, out);
}

static int filter_selectattr(vlmp_jinja_context *c, const vlmp_jinja_node *node,
                             const vlmp_jinja_value *value, const vlmp_jinja_arguments *arguments,
                             vlmp_jinja_value *out)
{
    return choose(c, node, value, arguments, true, true, out);
}

static int filter_rejectattr(vlmp_jinja_context *c, const vlmp_jinja_node *node,
                             const vlmp_jinja_value *value, const vlmp_jinja_arguments *arguments,
                             vlmp_jinja_value *out)
{
    return choose(c, node, value, arguments, true, false, out);
}

/* map(attribute=… [, default=…]) or map(filter [, its arguments]) */
static int filter_map(vlmp_jinja_context *c, const vlmp_jinja_node *node,
                      const vlmp_jinja_value *value, const vlmp_jinja_arguments *arguments,
                      vlmp_jinja_value *out)
{
    const vlmp_jinja_value *attribute = vlmp_jinja_argument(arguments, INT32_MAX, "attribute");
    const vlmp_jinja_value *fallback = vlmp_jinja_argument(arguments, INT32_MAX, "default");
    bool filtered = arguments->count > 0;
    vlmp_jinja_list *list;
    VLMP_TRY(vlmp_jinja_new_list(c, node, 0, FORM_ITERATOR, out));
    if (!vlmp_jinja_is_true(value)) return VLMP_OK;
    if (filtered ? arguments->positional[0].kind != VALUE_STRING
                 : attribute == NULL || arguments->named_count > 1 + (fallback != NULL))
        return vlmp_jinja_fail(c, node, "such arguments of the filter 'map' are not supported");
    if (fallback != NULL && fallback->kind == VALUE_NONE) fallback = NULL;
    if (fallback != NULL && !filtered && attribute->kind == VALUE_STRING &&
        memchr(attribute->text.text, '.', attribute->text.length) != NULL)
        return vlmp_jinja_fail(c, node, "map of a path with a default is not supported");
    vlmp_jinja_arguments rest = rest_of(arguments, 1);
    VLMP_TRY(vlmp_jinja_to_list(c, node, value, &list));
    VLMP_TRY(vlmp_jinja_new_list(c, node, list->count, FORM_ITERATOR, out));
    for (size_t i = 0; i < list->count; i++) {
        vlmp_jinja_value *item = &out->list->items[i];
        if (filtered)
            VLMP_TRY(vlmp_jinja_filter(c, node, arguments->positional[0].text, &list->items[i],
                                       &rest, item));
        else
            VLMP_TRY(vlmp_jinja_path(c, node, &list->items[i], attribute, false, item));
        if (!filtered && fallback != NULL && item->kind == VALUE_UNDEFINED) *item = *fallback;
    }
    return VLMP_OK;
}

const vlmp_jinja_filter_entry vlmp_jinja_item_filters[] = {
    {"d", filter_default, 2, "default_value boolean"},
    {"default", filter_default, 2, "default_value boolean"},
    {"items", filter_items, 0, ""},
    {"map", filter_map, VLMP_JINJA_MAX_ARGUMENTS, NULL},
    {"reject", filter_reject, VLMP_JINJA_MAX_ARGUMENTS, NULL},
    {"rejectattr", filter_rejectattr, VLMP_JINJA_MAX_ARGUMENTS, NULL},
    {"select", filter_select, VLMP_JINJA_MAX_ARGUMENTS, NULL},
    {"selectattr", filter_selectattr, VLMP_JINJA_MAX_ARGUMENTS, NULL},
    {NULL, NULL, 0, NULL},
};
