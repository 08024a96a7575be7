/* Functions, and methods of strings and dictionaries. */
#include <string.h>

#include "src/model/jinja.h"

#define MAX_RANGE 100000 /* Jinja's sandbox has the same bound */

static const char *const functions[] = {"raise_exception", "namespace", "range", "dict",
                                        "strftime_now"};

bool jinja_is_function(jinja_text name)
{
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++)
        if (jinja_text_is(name, functions[i])) return true;
    return false;
}

static int call_range(jinja_context *c, const jinja_node *node, const jinja_arguments *arguments,
                      jinja_value *out)
{
    int64_t values[3] = {0, 0, 1};
    if (arguments->count < 1 || arguments->count > 3 || arguments->named_count > 0)
        return jinja_fail(c, node, "range takes one to three numbers");
    for (int i = 0; i < arguments->count; i++) {
        if (arguments->positional[i].kind != VALUE_INTEGER)
            return jinja_fail(c, node, "range of a %s", jinja_kind_name(&arguments->positional[i]));
        values[i] = arguments->positional[i].number;
        if (values[i] > INT32_MAX || values[i] < -INT32_MAX)
            return jinja_fail(c, node, "range of a number that is too large");
    }
    if (arguments->count == 1) {
        values[1] = values[0];
        values[0] = 0;
    }
    int64_t step = values[2], distance = step > 0 ? values[1] - values[0] : values[0] - values[1];
    if (step == 0) return jinja_fail(c, node, "range with a step of 0");
    int64_t size = step > 0 ? step : -step,
            count = distance <= 0 ? 0 : (distance + size - 1) / size;
    if (count > MAX_RANGE) return jinja_fail(c, node, "range of more than %d numbers", MAX_RANGE);
    jinja_list *list;
    VLMP_TRY(jinja_list_new(c, node, (size_t)count, &list));
    for (int64_t i = 0; i < count; i++)
        list->items[i] = (jinja_value){.kind = VALUE_INTEGER, .number = values[0] + i * step};
    *out = (jinja_value){.kind = VALUE_LIST, .list = list};
    return VLMP_OK;
}

static int call_dict(jinja_context *c, const jinja_node *node, const jinja_arguments *arguments,
                     jinja_value_kind kind, jinja_value *out)
{
    jinja_dict *dict = jinja_allocate(c, node, 1, sizeof *dict);
    if (dict == NULL) return c->err->code;
    if (arguments->count > 1 ||
        (arguments->count == 1 && arguments->positional[0].kind != VALUE_DICT))
        return jinja_fail(c, node, "namespace and dict take named values only");
    if (arguments->count == 1) {
        const jinja_dict *given = arguments->positional[0].dict;
        for (size_t i = 0; i < given->count; i++)
            VLMP_TRY(jinja_dict_put(c, node, dict, given->keys[i], given->values[i]));
    }
    for (int i = 0; i < arguments->named_count; i++)
        VLMP_TRY(jinja_dict_put(c, node, dict, arguments->names[i], arguments->named[i]));
    *out = (jinja_value){.kind = kind, .dict = dict};
    return VLMP_OK;
}

int jinja_call(jinja_context *c, const jinja_node *node, jinja_text name,
               const jinja_arguments *arguments, jinja_value *out)
{
    if (jinja_text_is(name, "range")) return call_range(c, node, arguments, out);
    if (jinja_text_is(name, "namespace"))
        return call_dict(c, node, arguments, VALUE_NAMESPACE, out);
    if (jinja_text_is(name, "dict")) return call_dict(c, node, arguments, VALUE_DICT, out);
    if (jinja_text_is(name, "strftime_now"))
        return jinja_fail(c, node,
                          "strftime_now is not supported: the prompt would change with "
                          "the day");
    jinja_text text = {"", 0};
    if (arguments->count > 0) VLMP_TRY(jinja_to_text(c, node, &arguments->positional[0], &text));
    return jinja_fail(c, node, "the template refuses these messages: %.*s",
                      (int)(text.length < 300 ? text.length : 300), text.text);
}

static int dict_method(jinja_context *c, const jinja_node *node, const jinja_dict *dict,
                       jinja_text name, const jinja_arguments *arguments, bool *found,
                       jinja_value *out)
{
    jinja_list *list;
    if (jinja_text_is(name, "get")) {
        const jinja_value *key = &arguments->positional[0];
        if (arguments->count < 1 || arguments->count > 2 || key->kind != VALUE_STRING)
            return jinja_fail(c, node, "such arguments of get are not supported");
        const jinja_value *value = jinja_dict_find(dict, key->text);
        *out = value != NULL           ? *value
               : arguments->count == 2 ? arguments->positional[1]
                                       : (jinja_value){.kind = VALUE_NONE};
        return VLMP_OK;
    }
    bool keys = jinja_text_is(name, "keys"), values = jinja_text_is(name, "values");
    *found = keys || values || jinja_text_is(name, "items");
    if (!*found) return VLMP_OK;
    VLMP_TRY(jinja_list_new(c, node, dict->count, &list));
    for (size_t i = 0; i < dict->count; i++) {
        jinja_value key = jinja_string(dict->keys[i].text, dict->keys[i].length);
        list->items[i] = keys ? key : dict->values[i];
        if (keys || values) continue;
        jinja_list *pair;
        VLMP_TRY(jinja_list_new(c, node, 2, &pair));
        pair->items[0] = key;
        pair->items[1] = dict->values[i];
        list->items[i] = (jinja_value){.kind = VALUE_LIST, .list = pair};
    }
    *out = (jinja_value){.kind = VALUE_LIST, .list = list};
    return VLMP_OK;
}

/* split([separator [, most]]): the pieces, counted first. out NULL: only count. */
static size_t split_pieces(jinja_text text, const jinja_text *separator, int64_t most,
                           jinja_value *out)
{
    size_t count = 0;
    for (;;) {
        if (separator == NULL) {
            text = jinja_strip(text, NULL, true, false);
            if (text.length == 0) return count;
        }
        size_t end = text.length, skip = 0;
        bool last = most >= 0 && count >= (size_t)most;
        for (size_t at = 0; !last && separator == NULL && at < text.length; at++) {
            jinja_text rest = {text.text + at, text.length - at};
            jinja_text stripped =
                ((unsigned char)*rest.text & 0xc0) == 0x80
                    ? rest
                    : jinja_strip((jinja_text){rest.text, rest.length}, NULL, true, false);
            if (stripped.length == rest.length) continue;
            end = at;
            break;
        }
        if (!last && separator != NULL && text.length > 0) {
            const char *hit = memmem(text.text, text.length, separator->text, separator->length);
            if (hit != NULL) {
                end = (size_t)(hit - text.text);
                skip = separator->length;
            }
        }
        jinja_text piece = {text.text, end};
        if (last && separator == NULL) piece = jinja_strip(piece, NULL, false, true);
        if (out != NULL) out[count] = jinja_string(piece.text, piece.length);
        count++;
        if (end == text.length) return count;
        text.text += end + skip;
        text.length -= end + skip;
    }
}

static int split(jinja_context *c, const jinja_node *node, jinja_text text,
                 const jinja_arguments *arguments, jinja_value *out)
{
    const jinja_value *given = &arguments->positional[0];
    bool any = arguments->count == 0 || given->kind == VALUE_NONE;
    int64_t most = -1;
    if (!any && (given->kind != VALUE_STRING || given->text.length == 0))
        return jinja_fail(c, node, "split by a %s or by nothing", jinja_kind_name(given));
    if (arguments->count == 2 && arguments->positional[1].kind == VALUE_INTEGER)
        most = arguments->positional[1].number;
    else if (arguments->count > 1)
        return jinja_fail(c, node, "such arguments of split are not supported");
    const jinja_text *separator = any ? NULL : &given->text;
    jinja_list *list;
    VLMP_TRY(jinja_list_new(c, node, split_pieces(text, separator, most, NULL), &list));
    split_pieces(text, separator, most, list->items);
    *out = (jinja_value){.kind = VALUE_LIST, .list = list};
    return VLMP_OK;
}

/* A prefix or suffix, or a list of them. */
static int begins_or_ends(jinja_context *c, const jinja_node *node, jinja_text text,
                          const jinja_arguments *arguments, bool begin, jinja_value *out)
{
    if (arguments->count != 1)
        return jinja_fail(c, node, "such arguments of startswith or endswith are not supported");
    const jinja_value *given = &arguments->positional[0];
    const jinja_value *one = given;
    size_t count = 1;
    if (given->kind == VALUE_LIST) {
        one = given->list->items;
        count = given->list->count;
    }
    *out = (jinja_value){.kind = VALUE_BOOL, .truth = false};
    for (size_t i = 0; i < count; i++, one++) {
        if (one->kind != VALUE_STRING)
            return jinja_fail(c, node, "startswith or endswith of a %s", jinja_kind_name(one));
        if (one->text.length > text.length) continue;
        size_t from = begin ? 0 : text.length - one->text.length;
        jinja_text part = {text.text + from, one->text.length};
        if (jinja_same_text(part, one->text)) out->truth = true;
    }
    return VLMP_OK;
}

static int strip(jinja_context *c, const jinja_node *node, jinja_text text,
                 const jinja_arguments *arguments, bool left, bool right, jinja_value *out)
{
    const jinja_value *given = &arguments->positional[0];
    bool any = arguments->count == 0 || given->kind == VALUE_NONE;
    if (arguments->count > 1 || (!any && given->kind != VALUE_STRING))
        return jinja_fail(c, node, "such arguments of strip are not supported");
    text = jinja_strip(text, any ? NULL : &given->text, left, right);
    *out = jinja_string(text.text, text.length);
    return VLMP_OK;
}

static int string_method(jinja_context *c, const jinja_node *node, jinja_text text, jinja_text name,
                         const jinja_arguments *arguments, bool *found, jinja_value *out)
{
    const jinja_value *given = arguments->positional;
    if (jinja_text_is(name, "strip")) return strip(c, node, text, arguments, true, true, out);
    if (jinja_text_is(name, "lstrip")) return strip(c, node, text, arguments, true, false, out);
    if (jinja_text_is(name, "rstrip")) return strip(c, node, text, arguments, false, true, out);
    if (jinja_text_is(name, "upper")) return jinja_change_case(c, node, text, 'u', out);
    if (jinja_text_is(name, "lower")) return jinja_change_case(c, node, text, 'l', out);
    if (jinja_text_is(name, "capitalize")) return jinja_change_case(c, node, text, 'c', out);
    if (jinja_text_is(name, "split")) return split(c, node, text, arguments, out);
    bool begin = jinja_text_is(name, "startswith");
    if (begin || jinja_text_is(name, "endswith"))
        return begins_or_ends(c, node, text, arguments, begin, out);
    *found = jinja_text_is(name, "replace");
    if (!*found) return VLMP_OK;
    if (arguments->count != 2 || given[0].kind != VALUE_STRING || given[1].kind != VALUE_STRING)
        return jinja_fail(c, node, "such arguments of replace are not supported");
    return jinja_replace(c, node, text, given[0].text, given[1].text, out);
}

int jinja_method(jinja_context *c, const jinja_node *node, const jinja_value *receiver,
                 jinja_text name, const jinja_arguments *arguments, bool *found, jinja_value *out)
{
    *found = true;
    if (receiver->kind == VALUE_UNDEFINED)
        return jinja_fail(c, node, "'%.*s' is undefined",
                          (int)(receiver->text.length < 60 ? receiver->text.length : 60),
                          receiver->text.text);
    if (arguments->named_count > 0)
        return jinja_fail(c, node, "a method with named arguments is not supported");
    if (receiver->kind == VALUE_DICT)
        return dict_method(c, node, receiver->dict, name, arguments, found, out);
    if (receiver->kind == VALUE_STRING)
        return string_method(c, node, receiver->text, name, arguments, found, out);
    *found = false;
    return VLMP_OK;
}
