#include <string.h>

#include "src/model/jinja.h"
#include "src/model/unicode_tables.h"

typedef int filter_fn(jinja_context *c, const jinja_node *node, const jinja_value *value,
                      const jinja_arguments *arguments, jinja_value *out);

static const jinja_value *argument(const jinja_arguments *arguments, int index, const char *name)
{
    if (index < arguments->count) return &arguments->positional[index];
    for (int i = 0; i < arguments->named_count; i++)
        if (jinja_text_is(arguments->names[i], name)) return &arguments->named[i];
    return NULL;
}

static int text_argument(jinja_context *c, const jinja_node *node, const jinja_value *value,
                         const char *name, jinja_text *out)
{
    if (value == NULL || value->kind != VALUE_STRING)
        return jinja_fail(c, node, "the argument '%s' is no string", name);
    *out = value->text;
    return VLMP_OK;
}

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

static int filter_trim(jinja_context *c, const jinja_node *node, const jinja_value *value,
                       const jinja_arguments *arguments, jinja_value *out)
{
    jinja_text text, characters;
    const jinja_value *given = argument(arguments, 0, "chars");
    VLMP_TRY(jinja_to_text(c, node, value, &text));
    if (given != NULL) VLMP_TRY(text_argument(c, node, given, "chars", &characters));
    text = jinja_strip(text, given == NULL ? NULL : &characters, true, true);
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

static int filter_length(jinja_context *c, const jinja_node *node, const jinja_value *value,
                         const jinja_arguments *arguments, jinja_value *out)
{
    (void)arguments;
    size_t count = 0;
    if (value->kind == VALUE_STRING) {
        for (size_t at = 0; at < value->text.length; count++)
            vlmp_utf8_next(value->text.text, value->text.length, &at);
    } else {
        jinja_list *list;
        VLMP_TRY(jinja_to_list(c, node, value, &list));
        count = list->count;
    }
    *out = (jinja_value){.kind = VALUE_INTEGER, .number = (int64_t)count};
    return VLMP_OK;
}

static int filter_default(jinja_context *c, const jinja_node *node, const jinja_value *value,
                          const jinja_arguments *arguments, jinja_value *out)
{
    (void)c;
    (void)node;
    const jinja_value *given = argument(arguments, 0, "default_value");
    const jinja_value *falsy = argument(arguments, 1, "boolean");
    bool replace = value->kind == VALUE_UNDEFINED ||
                   (falsy != NULL && jinja_is_true(falsy) && !jinja_is_true(value));
    *out = !replace ? *value : given != NULL ? *given : jinja_string("", 0);
    return VLMP_OK;
}

static int end_of_list(jinja_context *c, const jinja_node *node, const jinja_value *value,
                       bool last, jinja_value *out)
{
    jinja_list *list;
    VLMP_TRY(jinja_to_list(c, node, value, &list));
    *out = jinja_undefined((jinja_text){"an item of an empty list", 24});
    if (list->count > 0) *out = list->items[last ? list->count - 1 : 0];
    return VLMP_OK;
}

static int filter_first(jinja_context *c, const jinja_node *node, const jinja_value *value,
                        const jinja_arguments *arguments, jinja_value *out)
{
    (void)arguments;
    return end_of_list(c, node, value, false, out);
}

static int filter_last(jinja_context *c, const jinja_node *node, const jinja_value *value,
                       const jinja_arguments *arguments, jinja_value *out)
{
    (void)arguments;
    return end_of_list(c, node, value, true, out);
}

static int filter_list(jinja_context *c, const jinja_node *node, const jinja_value *value,
                       const jinja_arguments *arguments, jinja_value *out)
{
    (void)arguments;
    jinja_list *list;
    VLMP_TRY(jinja_to_list(c, node, value, &list));
    *out = (jinja_value){.kind = VALUE_LIST, .list = list};
    return VLMP_OK;
}

static int filter_reverse(jinja_context *c, const jinja_node *node, const jinja_value *value,
                          const jinja_arguments *arguments, jinja_value *out)
{
    (void)arguments;
    jinja_value bounds[3] = {
        {.kind = VALUE_NONE}, {.kind = VALUE_NONE}, {.kind = VALUE_INTEGER, .number = -1}};
    return jinja_slice(c, node, value, bounds, out);
}

static int filter_join(jinja_context *c, const jinja_node *node, const jinja_value *value,
                       const jinja_arguments *arguments, jinja_value *out)
{
    jinja_text separator = {"", 0}, text;
    const jinja_value *given = argument(arguments, 0, "d");
    if (argument(arguments, 1, "attribute") != NULL)
        return jinja_fail(c, node, "the filter 'join' with an attribute is not supported");
    if (given != NULL) VLMP_TRY(jinja_to_text(c, node, given, &separator));
    jinja_list *list;
    VLMP_TRY(jinja_to_list(c, node, value, &list));
    *out = jinja_string("", 0);
    for (size_t i = 0; i < list->count; i++) {
        if (i > 0) VLMP_TRY(jinja_concatenate(c, node, out->text, separator, out));
        VLMP_TRY(jinja_to_text(c, node, &list->items[i], &text));
        VLMP_TRY(jinja_concatenate(c, node, out->text, text, out));
    }
    return VLMP_OK;
}

static int filter_replace(jinja_context *c, const jinja_node *node, const jinja_value *value,
                          const jinja_arguments *arguments, jinja_value *out)
{
    jinja_text text, from, to;
    if (argument(arguments, 2, "count") != NULL)
        return jinja_fail(c, node, "the filter 'replace' with a count is not supported");
    VLMP_TRY(jinja_to_text(c, node, value, &text));
    VLMP_TRY(text_argument(c, node, argument(arguments, 0, "old"), "old", &from));
    VLMP_TRY(text_argument(c, node, argument(arguments, 1, "new"), "new", &to));
    return jinja_replace(c, node, text, from, to, out);
}

static int filter_items(jinja_context *c, const jinja_node *node, const jinja_value *value,
                        const jinja_arguments *arguments, jinja_value *out)
{
    jinja_list *none;
    bool found;
    if (value->kind == VALUE_UNDEFINED) {
        VLMP_TRY(jinja_list_new(c, node, 0, &none));
        *out = (jinja_value){.kind = VALUE_LIST, .list = none};
        return VLMP_OK;
    }
    VLMP_TRY(jinja_method(c, node, value, (jinja_text){"items", 5}, arguments, &found, out));
    return found ? VLMP_OK
                 : jinja_fail(c, node, "the filter 'items' of a %s", jinja_kind_name(value));
}

static int filter_tojson(jinja_context *c, const jinja_node *node, const jinja_value *value,
                         const jinja_arguments *arguments, jinja_value *out)
{
    if (arguments->count + arguments->named_count > 0)
        return jinja_fail(c, node, "the filter 'tojson' with arguments is not supported");
    return jinja_to_json(c, node, value, out);
}

/* selectattr(attribute [, test [, argument]]) and its opposite. */
static int select_attribute(jinja_context *c, const jinja_node *node, const jinja_value *value,
                            const jinja_arguments *arguments, bool wanted, jinja_value *out)
{
    jinja_text attribute, test = {"", 0};
    jinja_list *list, *kept;
    jinja_arguments rest = {.count = 0};
    VLMP_TRY(text_argument(c, node, argument(arguments, 0, "attribute"), "attribute", &attribute));
    if (memchr(attribute.text, '.', attribute.length) != NULL || arguments->named_count > 0)
        return jinja_fail(c, node, "such arguments of the filter 'selectattr' are not supported");
    if (arguments->count > 1)
        VLMP_TRY(text_argument(c, node, &arguments->positional[1], "test", &test));
    for (int i = 2; i < arguments->count; i++)
        rest.positional[rest.count++] = arguments->positional[i];
    VLMP_TRY(jinja_to_list(c, node, value, &list));
    VLMP_TRY(jinja_list_new(c, node, list->count, &kept));
    kept->count = 0;
    for (size_t i = 0; i < list->count; i++) {
        jinja_value found;
        VLMP_TRY(jinja_attribute(c, node, &list->items[i], attribute, &found));
        bool holds = jinja_is_true(&found);
        if (arguments->count > 1) VLMP_TRY(jinja_test(c, node, test, &found, &rest, &holds));
        if (holds == wanted) kept->items[kept->count++] = list->items[i];
    }
    *out = (jinja_value){.kind = VALUE_LIST, .list = kept};
    return VLMP_OK;
}

static int filter_selectattr(jinja_context *c, const jinja_node *node, const jinja_value *value,
                             const jinja_arguments *arguments, jinja_value *out)
{
    return select_attribute(c, node, value, arguments, true, out);
}

static int filter_rejectattr(jinja_context *c, const jinja_node *node, const jinja_value *value,
                             const jinja_arguments *arguments, jinja_value *out)
{
    return select_attribute(c, node, value, arguments, false, out);
}

static int filter_map(jinja_context *c, const jinja_node *node, const jinja_value *value,
                      const jinja_arguments *arguments, jinja_value *out)
{
    jinja_text attribute;
    jinja_list *list, *mapped;
    if (arguments->count > 0 || arguments->named_count != 1)
        return jinja_fail(c, node, "the filter 'map' is only supported as map(attribute='…')");
    VLMP_TRY(text_argument(c, node, argument(arguments, 0, "attribute"), "attribute", &attribute));
    VLMP_TRY(jinja_to_list(c, node, value, &list));
    VLMP_TRY(jinja_list_new(c, node, list->count, &mapped));
    for (size_t i = 0; i < list->count; i++)
        VLMP_TRY(jinja_attribute(c, node, &list->items[i], attribute, &mapped->items[i]));
    *out = (jinja_value){.kind = VALUE_LIST, .list = mapped};
    return VLMP_OK;
}

/* most: positional arguments that the filter takes. */
static const struct {
    const char *name;
    filter_fn *apply;
    int most;
} filters[] = {
    {"capitalize", filter_capitalize, 0},
    {"count", filter_length, 0},
    {"d", filter_default, 2},
    {"default", filter_default, 2},
    {"first", filter_first, 0},
    {"items", filter_items, 0},
    {"join", filter_join, 2},
    {"last", filter_last, 0},
    {"length", filter_length, 0},
    {"list", filter_list, 0},
    {"lower", filter_lower, 0},
    {"map", filter_map, 0},
    {"rejectattr", filter_rejectattr, 3},
    {"replace", filter_replace, 3},
    {"reverse", filter_reverse, 0},
    {"safe", filter_string, 0},
    {"selectattr", filter_selectattr, 3},
    {"string", filter_string, 0},
    {"tojson", filter_tojson, 0},
    {"trim", filter_trim, 1},
    {"upper", filter_upper, 0},
};

int jinja_filter(jinja_context *c, const jinja_node *node, jinja_text name,
                 const jinja_value *value, const jinja_arguments *arguments, jinja_value *out)
{
    int length = (int)(name.length < 60 ? name.length : 60);
    for (size_t i = 0; i < sizeof filters / sizeof *filters; i++) {
        if (!jinja_text_is(name, filters[i].name)) continue;
        if (arguments->count > filters[i].most)
            return jinja_fail(c, node, "such arguments of the filter '%.*s' are not supported",
                              length, name.text);
        return filters[i].apply(c, node, value, arguments, out);
    }
    return jinja_fail(c, node, "the filter '%.*s' is unknown or not supported", length, name.text);
}
