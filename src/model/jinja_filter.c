/* Finds a filter and checks its arguments. */
#include <string.h>

#include "src/model/jinja.h"

int jinja_text_argument(jinja_context *c, const jinja_node *node, const jinja_arguments *arguments,
                        int index, const char *name, jinja_text *out)
{
    const jinja_value *given = jinja_argument(arguments, index, name);
    return given == NULL ? VLMP_OK : jinja_to_text(c, node, given, out);
}

int jinja_integer_argument(jinja_context *c, const jinja_node *node,
                           const jinja_arguments *arguments, int index, const char *name,
                           int64_t *out)
{
    const jinja_value *given = jinja_argument(arguments, index, name);
    if (given == NULL) return VLMP_OK;
    if (given->kind != VALUE_INTEGER && given->kind != VALUE_BOOL)
        return jinja_fail(c, node, "the argument '%s' is a %s", name, jinja_kind_name(given));
    *out = jinja_integer_of(given);
    return VLMP_OK;
}

bool jinja_truth_argument(const jinja_arguments *arguments, int index, const char *name)
{
    const jinja_value *given = jinja_argument(arguments, index, name);
    return given != NULL && jinja_is_true(given);
}

/* Whether `name` is a word of `words`. */
static bool is_word_of(const char *words, jinja_text name)
{
    for (const char *at = words; *at != '\0';) {
        size_t length = strcspn(at, " ");
        if (jinja_same_text(name, (jinja_text){at, length})) return true;
        at += length + (at[length] == ' ');
    }
    return false;
}

static int apply(jinja_context *c, const jinja_node *node, const jinja_filter_entry *filter,
                 const jinja_value *value, const jinja_arguments *arguments, jinja_value *out)
{
    bool known = arguments->count <= filter->most;
    for (int i = 0; i < arguments->named_count && filter->named != NULL; i++)
        known = known && is_word_of(filter->named, arguments->names[i]);
    if (known) return filter->apply(c, node, value, arguments, out);
    return jinja_fail(c, node, "such arguments of the filter '%s' are not supported", filter->name);
}

int jinja_filter(jinja_context *c, const jinja_node *node, jinja_text name,
                 const jinja_value *value, const jinja_arguments *arguments, jinja_value *out)
{
    const jinja_filter_entry *const tables[] = {jinja_text_filters, jinja_list_filters,
                                                jinja_item_filters};
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++)
        for (const jinja_filter_entry *filter = tables[i]; filter->name != NULL; filter++)
            if (jinja_text_is(name, filter->name))
                return apply(c, node, filter, value, arguments, out);
    return jinja_fail(c, node, "the filter '%.*s' is unknown or not supported",
                      (int)(name.length < 60 ? name.length : 60), name.text);
}
