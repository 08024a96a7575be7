/* Functions. */
#include <string.h>

#include "src/text/template/jinja.h"

#define MAX_RANGE 100000 /* Jinja's sandbox has the same bound */

/* Those of Jinja's environment; the last four are known only to be refused. */
static const char *const functions[] = {
    "raise_exception", "namespace", "range",  "dict", "strftime_now",
    "lipsum",          "cycler",    "joiner", "self"};

bool vlmp_jinja_is_function(vlmp_jinja_text name)
{
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++)
        if (vlmp_jinja_text_is(name, functions[i])) return true;
    return false;
}

static int call_range(vlmp_jinja_context *c, const vlmp_jinja_node *node,
                      const vlmp_jinja_arguments *arguments, vlmp_jinja_value *out)
{
    int64_t values[3] = {0, 0, 1};
    if (arguments->count < 1 || arguments->count > 3 || arguments->named_count > 0)
        return vlmp_jinja_fail(c, node, "range takes one to three numbers");
    for (int i = 0; i < arguments->count; i++) {
        if (arguments->positional[i].kind != VALUE_INTEGER &&
            arguments->positional[i].kind != VALUE_BOOL)
            return vlmp_jinja_fail(c, node, "range of a %s",
                                   vlmp_jinja_kind_name(&arguments->positional[i]));
        values[i] = vlmp_jinja_integer_of(&arguments->positional[i]);
        if (values[i] > INT32_MAX || values[i] < -INT32_MAX)
            return vlmp_jinja_fail(c, node, "range of a number that is too large");
    }
    if (arguments->count == 1) {
        values[1] = values[0];
        values[0] = 0;
    }
    int64_t step = values[2], distance = step > 0 ? values[1] - values[0] : values[0] - values[1];
    if (step == 0) return vlmp_jinja_fail(c, node, "range with a step of 0");
    int64_t size = step > 0 ? step : -step,
            count = distance <= 0 ? 0 : (distance + size - 1) / size;
    if (count > MAX_RANGE)
        return vlmp_jinja_fail(c, node, "range of more than %d numbers", MAX_RANGE);
    VLMP_TRY(vlmp_jinja_new_list(c, node, (size_t)count, FORM_RANGE, out));
    for (int64_t i = 0; i < count; i++)
        out->list->items[i] = vlmp_jinja_integer(values[0] + i * step);
    return VLMP_OK;
}

static int call_dict(vlmp_jinja_context *c, const vlmp_jinja_node *node,
                     const vlmp_jinja_arguments *arguments, vlmp_jinja_value_kind kind,
                     vlmp_jinja_value *out)
{
    vlmp_jinja_dict *dict = vlmp_jinja_allocate(c, node, 1, sizeof *dict);
    if (dict == NULL) return c->err->code;
    int (*put)(vlmp_jinja_context *, const vlmp_jinja_node *, vlmp_jinja_dict *, vlmp_jinja_text,
               vlmp_jinja_value) =
        kind == VALUE_NAMESPACE ? vlmp_jinja_namespace_put : vlmp_jinja_dict_put;
    if (arguments->count > 1 ||
        (arguments->count == 1 && arguments->positional[0].kind != VALUE_DICT))
        return vlmp_jinja_fail(c, node, "namespace and dict take named values only");
    if (arguments->count == 1) {
        const vlmp_jinja_dict *given = arguments->positional[0].dict;
        for (size_t i = 0; i < given->count; i++)
            VLMP_TRY(put(c, node, dict, given->keys[i], given->values[i]));
    }
    for (int i = 0; i < arguments->named_count; i++)
        VLMP_TRY(put(c, node, dict, arguments->names[i], arguments->named[i]));
    *out = (vlmp_jinja_value){.kind = kind, .dict = dict};
    return VLMP_OK;
}

int vlmp_jinja_call(vlmp_jinja_context *c, const vlmp_jinja_node *node, vlmp_jinja_text name,
                    const vlmp_jinja_arguments *arguments, vlmp_jinja_value *out)
{
    if (vlmp_jinja_text_is(name, "range")) return call_range(c, node, arguments, out);
    if (vlmp_jinja_text_is(name, "namespace"))
        return call_dict(c, node, arguments, VALUE_NAMESPACE, out);
    if (vlmp_jinja_text_is(name, "dict")) return call_dict(c, node, arguments, VALUE_DICT, out);
    if (vlmp_jinja_text_is(name, "strftime_now")) {
        vlmp_jinja_text format;
        const vlmp_jinja_value *given = vlmp_jinja_argument(arguments, 0, "format");
        if (given == NULL || given->kind != VALUE_STRING)
            return vlmp_jinja_fail(c, node, "strftime_now without a format");
        format = given->text;
        return vlmp_jinja_date(c, node, format, out);
    }
    if (!vlmp_jinja_text_is(name, "raise_exception"))
        return vlmp_jinja_fail(c, node, "the function '%.*s' is not supported", (int)name.length,
                               name.text);
    vlmp_jinja_text text = {"", 0};
    if (arguments->count > 0)
        VLMP_TRY(vlmp_jinja_to_text(c, node, &arguments->positional[0], &text));
    return vlmp_jinja_fail(c, node, "the template refuses these messages: %.*s",
                           (int)(text.length < 300 ? text.length : 300), text.text);
}
