/* Finds a filter and checks its arguments. */
#include <string.h>

#include "src/text/template/jinja.h"

int vlmp_jinja_text_argument(vlmp_jinja_context *c, const vlmp_jinja_node *node,
                             const vlmp_jinja_arguments *arguments, int index, const char *name,
                             vlmp_jinja_text *out)
{
    const vlmp_jinja_value *given = vlmp_jinja_argument(arguments, index, name);
    return given == NULL ? VLMP_OK : vlmp_jinja_to_text(c, node, given, out);
}

int vlmp_jinja_integer_argument(vlmp_jinja_context *c, const vlmp_jinja_node *node,
                                const vlmp_jinja_arguments *arguments, int index, const char *name,
                                int64_t *out)
{
    const vlmp_jinja_value *given = vlmp_jinja_argument(arguments, index, name);
    if (given == NULL) return VLMP_OK;
    if (given->kind != VALUE_INTEGER && given->kind != VALUE_BOOL)
        return vlmp_jinja_fail(c, node, "the argument '%s' is a %s", name,
                               vlmp_jinja_kind_name(given));
    *out = vlmp_jinja_integer_of(given);
    return VLMP_OK;
}

bool vlmp_jinja_truth_argument(const vlmp_jinja_arguments *arguments, int index, const char *name)
{
    const vlmp_jinja_value *given = vlmp_jinja_argument(arguments, index, name);
    return given != NULL && vlmp_jinja_is_true(given);
}

/* Whether `name` is a word of `words`. */
static bool is_word_of(const char *words, vlmp_jinja_text name)
{
    for (const char *at = words; *at != '\0';) {
        size_t length = strcspn(at, " ");
        if (vlmp_jinja_same_text(name, (vlmp_jinja_text){at, length})) return true;
        at += length + (at[length] == ' ');
    }
    return false;
}

static int apply(vlmp_jinja_context *c, const vlmp_jinja_node *node,
                 const vlmp_jinja_filter_entry *filter, const vlmp_jinja_value *value,
                 const vlmp_jinja_arguments *arguments, vlmp_jinja_value *out)
{
    bool known = arguments->count <= filter->most;
    for (int i = 0; i < arguments->named_count && filter->named != NULL; i++)
        known = known && is_word_of(filter->named, arguments->names[i]);
    if (known) return filter->apply(c, node, value, arguments, out);
    return vlmp_jinja_fail(c, node, "such arguments of the filter '%s' are not supported",
                           filter->name);
}

int vlmp_jinja_filter(vlmp_jinja_context *c, const vlmp_jinja_node *node, vlmp_jinja_text name,
                      const vlmp_jinja_value *value, const vlmp_jinja_arguments *arguments,
                      vlmp_jinja_value *out)
{
    const vlmp_jinja_filter_entry *const tables[] = {
        vlmp_jinja_text_filters, vlmp_jinja_list_filters, vlmp_jinja_item_filters};
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++)
        for (const vlmp_jinja_filter_entry *filter = tables[i]; filter->name != NULL; filter++)
            if (vlmp_jinja_text_is(name, filter->name))
                return apply(c, node, filter, value, arguments, out);
    return vlmp_jinja_fail(c, node, "the filter '%.*s' is unknown or not supported",
                           (int)(name.length < 60 ? name.length : 60), name.text);
}
