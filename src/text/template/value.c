#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "src/text/template/jinja.h"
#include "src/text/unicode/unicode.h"

#define MAX_COMPARE_DEPTH 32

vlmp_jinja_value vlmp_jinja_string(const char *text, size_t length)
{
    return (vlmp_jinja_value){.kind = VALUE_STRING, .text = {text, length}};
}

vlmp_jinja_value vlmp_jinja_undefined(vlmp_jinja_text name)
{
    return (vlmp_jinja_value){.kind = VALUE_UNDEFINED, .text = name};
}

bool vlmp_jinja_text_is(vlmp_jinja_text text, const char *other)
{
    return strlen(other) == text.length && memcmp(text.text, other, text.length) == 0;
}

bool vlmp_jinja_same_text(vlmp_jinja_text a, vlmp_jinja_text b)
{
    return a.length == b.length && (a.length == 0 || memcmp(a.text, b.text, a.length) == 0);
}

bool vlmp_jinja_is_space(uint32_t c)
{
    return c != VLMP_UTF8_INVALID && (vlmp_is_white_space(c) || (c >= 0x1c && c <= 0x1f));
}

const char *vlmp_jinja_kind_name(const vlmp_jinja_value *value)
{
    static const char *const names[] = {"undefined value", "None",   "boolean",  "number",
                                        "number",          "string", "list",     "dictionary",
                                        "namespace",       "loop",   "function", "macro"};
    static const char *const forms[] = {"list", "tuple", "range", "view", "iterator"};
    return value->kind == VALUE_LIST ? forms[value->list->form] : names[value->kind];
}

bool vlmp_jinja_is_true(const vlmp_jinja_value *value)
{
    switch (value->kind) {
    case VALUE_UNDEFINED:
    case VALUE_NONE:
        return false;
    case VALUE_BOOL:
        return value->truth;
    case VALUE_INTEGER:
        return value->number != 0;
    case VALUE_FLOAT:
        return value->real != 0;
    case VALUE_STRING:
        return value->text.length > 0;
    case VALUE_LIST:
        return value->list->count > 0 || value->list->form == FORM_ITERATOR;
    case VALUE_DICT:
        return value->dict->count > 0;
    case VALUE_NAMESPACE:
    case VALUE_LOOP:
    case VALUE_FUNCTION:
    case VALUE_MACRO:
        return true;
    }
    return true;
}

const vlmp_jinja_value *vlmp_jinja_dict_find(const vlmp_jinja_dict *dict, vlmp_jinja_text key)
{
    for (size_t i = 0; i < dict->count; i++)
        if (vlmp_jinja_same_text(dict->keys[i], key)) return &dict->values[i];
    return NULL;
}

int vlmp_jinja_dict_put(vlmp_jinja_context *c, const vlmp_jinja_node *node, vlmp_jinja_dict *dict,
                        vlmp_jinja_text key, vlmp_jinja_value value)
{
    for (size_t i = 0; i < dict->count; i++) {
        if (!vlmp_jinja_same_text(dict->keys[i], key)) continue;
        dict->values[i] = value;
        return VLMP_OK;
    }
    if (dict->count == dict->capacity) {
        size_t capacity = dict->capacity == 0 ? 4 : dict->capacity * 2;
        vlmp_jinja_text *keys = vlmp_jinja_allocate(c, node, capacity, sizeof *keys);
        vlmp_jinja_value *values = vlmp_jinja_allocate(c, node, capacity, sizeof *values);
        if (keys == NULL || values == NULL) return c->err->code;
        if (dict->count > 0) {
            memcpy(keys, dict->keys, dict->count * sizeof *keys);
            memcpy(values, dict->values, dict->count * sizeof *values);
        }
        dict->keys = keys;
        dict->values = values;
        dict->capacity = capacity;
    }
    dict->keys[dict->count] = key;
    dict->values[dict->count++] = value;
    return VLMP_OK;
}

int vlmp_jinja_namespace_put(vlmp_jinja_context *c, const vlmp_jinja_node *node,
                             vlmp_jinja_dict *names, vlmp_jinja_text name, vlmp_jinja_value value)
{
    if (name.length > 0 && name.text[0] == '_')
        return vlmp_jinja_fail(c, node,
                               "'%.*s' in a namespace; no name there may begin with an underscore",
                               (int)(name.length < 60 ? name.length : 60), name.text);
    return vlmp_jinja_dict_put(c, node, names, name, value);
}

static int equal(vlmp_jinja_context *c, const vlmp_jinja_node *node, const vlmp_jinja_value *a,
                 const vlmp_jinja_value *b, int depth, bool *out);

static int equal_lists(vlmp_jinja_context *c, const vlmp_jinja_node *node, const vlmp_jinja_list *a,
                       const vlmp_jinja_list *b, int depth, bool *out)
{
    if (a->form == FORM_VIEW || b->form == FORM_VIEW)
        return vlmp_jinja_fail(c, node, "a comparison of a dictionary's view is not supported");
    *out = a == b;
    if (*out || a->form == FORM_ITERATOR || a->form != b->form) return VLMP_OK;
    *out = a->count == b->count;
    for (size_t i = 0; *out && i < a->count; i++)
        VLMP_TRY(equal(c, node, &a->items[i], &b->items[i], depth + 1, out));
    return VLMP_OK;
}

static int equal_dicts(vlmp_jinja_context *c, const vlmp_jinja_node *node, const vlmp_jinja_dict *a,
                       const vlmp_jinja_dict *b, int depth, bool *out)
{
    *out = a->count == b->count;
    for (size_t i = 0; *out && i < a->count; i++) {
        const vlmp_jinja_value *other = vlmp_jinja_dict_find(b, a->keys[i]);
        *out = other != NULL;
        if (other != NULL) VLMP_TRY(equal(c, node, &a->values[i], other, depth + 1, out));
    }
    return VLMP_OK;
}

static int equal(vlmp_jinja_context *c, const vlmp_jinja_node *node, const vlmp_jinja_value *a,
                 const vlmp_jinja_value *b, int depth, bool *out)
{
    if (depth > MAX_COMPARE_DEPTH || ++c->steps > 10000000)
        return vlmp_jinja_fail(c, node, "a comparison of values nested too deeply");
    *out = false;
    if (vlmp_jinja_is_number(a) && vlmp_jinja_is_number(b)) {
        *out = vlmp_jinja_compare_numbers(a, b) == 0;
        return VLMP_OK;
    }
    if (a->kind != b->kind) return VLMP_OK;
    switch (a->kind) {
    case VALUE_STRING:
        *out = vlmp_jinja_same_text(a->text, b->text);
        return VLMP_OK;
    case VALUE_LIST:
        return equal_lists(c, node, a->list, b->list, depth, out);
    case VALUE_DICT:
        return equal_dicts(c, node, a->dict, b->dict, depth, out);
    case VALUE_NAMESPACE:
        *out = a->dict == b->dict;
        return VLMP_OK;
    case VALUE_LOOP:
        *out = a->loop == b->loop;
        return VLMP_OK;
    case VALUE_MACRO:
        *out = a->macro == b->macro;
        return VLMP_OK;
    case VALUE_FUNCTION:
        *out = vlmp_jinja_same_text(a->text, b->text);
        return VLMP_OK;
    default:
        *out = true;
        return VLMP_OK;
    }
}

int vlmp_jinja_equal(vlmp_jinja_context *c, const vlmp_jinja_node *node, const vlmp_jinja_value *a,
                     const vlmp_jinja_value *b, bool *out)
{
    return equal(c, node, a, b, 0, out);
}

int vlmp_jinja_to_text(vlmp_jinja_context *c, const vlmp_jinja_node *node,
                       const vlmp_jinja_value *value, vlmp_jinja_text *out)
{
    static const char *const words[] = {"None", "True", "False"};
    const char *word = "";
    switch (value->kind) {
    case VALUE_STRING:
        *out = value->text;
        return VLMP_OK;
    case VALUE_UNDEFINED:
        break;
    case VALUE_NONE:
        word = words[0];
        break;
    case VALUE_BOOL:
        word = words[value->truth ? 1 : 2];
        break;
    case VALUE_INTEGER: {
        char *digits = vlmp_jinja_allocate(c, node, 24, 1);
        if (digits == NULL) return c->err->code;
        *out = (vlmp_jinja_text){digits, (size_t)snprintf(digits, 24, "%" PRId64, value->number)};
        return VLMP_OK;
    }
    case VALUE_FLOAT:
        return vlmp_jinja_float_text(c, node, value->real, out);
    default:
        return vlmp_jinja_fail(
            c, node,
            "a %s is used as text, which is not supported (a template for messages "
            "whose content is a string does this)",
            vlmp_jinja_kind_name(value));
    }
    *out = (vlmp_jinja_text){word, strlen(word)};
    return VLMP_OK;
}

int vlmp_jinja_concatenate(vlmp_jinja_context *c, const vlmp_jinja_node *node, vlmp_jinja_text a,
                           vlmp_jinja_text b, vlmp_jinja_value *out)
{
    char *text = vlmp_jinja_allocate(c, node, a.length + b.length + 1, 1);
    if (text == NULL) return c->err->code;
    if (a.length > 0) memcpy(text, a.text, a.length);
    if (b.length > 0) memcpy(text + a.length, b.text, b.length);
    *out = vlmp_jinja_string(text, a.length + b.length);
    return VLMP_OK;
}

int vlmp_jinja_list_new(vlmp_jinja_context *c, const vlmp_jinja_node *node, size_t count,
                        vlmp_jinja_list **out)
{
    *out = vlmp_jinja_allocate(c, node, 1, sizeof **out);
    if (*out == NULL) return c->err->code;
    (*out)->items = vlmp_jinja_allocate(c, node, count, sizeof *(*out)->items);
    if ((*out)->items == NULL) return c->err->code;
    (*out)->count = count;
    return VLMP_OK;
}

static int characters(vlmp_jinja_context *c, const vlmp_jinja_node *node, vlmp_jinja_text text,
                      vlmp_jinja_list **out)
{
    size_t count = 0;
    for (size_t at = 0; at < text.length; count++)
        vlmp_utf8_next(text.text, text.length, &at);
    VLMP_TRY(vlmp_jinja_list_new(c, node, count, out));
    size_t i = 0;
    for (size_t at = 0, start = 0; at < text.length; start = at) {
        vlmp_utf8_next(text.text, text.length, &at);
        (*out)->items[i++] = vlmp_jinja_string(text.text + start, at - start);
    }
    return VLMP_OK;
}

bool vlmp_jinja_is_indexed(const vlmp_jinja_value *value)
{
    return value->kind == VALUE_STRING ||
           (value->kind == VALUE_LIST && value->list->form <= FORM_RANGE);
}

int vlmp_jinja_new_list(vlmp_jinja_context *c, const vlmp_jinja_node *node, size_t count,
                        vlmp_jinja_form form, vlmp_jinja_value *out)
{
    vlmp_jinja_list *list;
    VLMP_TRY(vlmp_jinja_list_new(c, node, count, &list));
    list->form = form;
    *out = (vlmp_jinja_value){.kind = VALUE_LIST, .list = list};
    return VLMP_OK;
}

int vlmp_jinja_from_buffer(vlmp_jinja_context *c, const vlmp_jinja_node *node, vlmp_buffer *buffer,
                           int status, vlmp_jinja_value *out)
{
    if (status == VLMP_OK && buffer->failed)
        status = vlmp_fail_memory(c->err, "rendering a chat template");
    if (status == VLMP_OK)
        status = vlmp_jinja_concatenate(c, node, (vlmp_jinja_text){buffer->data, buffer->length},
                                        (vlmp_jinja_text){NULL, 0}, out);
    vlmp_buffer_free(buffer);
    return status;
}

int vlmp_jinja_to_list(vlmp_jinja_context *c, const vlmp_jinja_node *node,
                       const vlmp_jinja_value *value, vlmp_jinja_list **out)
{
    switch (value->kind) {
    case VALUE_LIST:
        *out = value->list;
        if (value->list->form != FORM_ITERATOR) return VLMP_OK;
        VLMP_TRY(vlmp_jinja_list_new(c, node, 0, out));
        **out = (vlmp_jinja_list){.items = value->list->items, .count = value->list->count};
        value->list->count = 0; /* read once */
        return VLMP_OK;
    case VALUE_STRING:
        return characters(c, node, value->text, out);
    case VALUE_UNDEFINED:
        return vlmp_jinja_list_new(c, node, 0, out);
    case VALUE_DICT:
        VLMP_TRY(vlmp_jinja_list_new(c, node, value->dict->count, out));
        for (size_t i = 0; i < value->dict->count; i++)
            (*out)->items[i] =
                vlmp_jinja_string(value->dict->keys[i].text, value->dict->keys[i].length);
        return VLMP_OK;
    default:
        return vlmp_jinja_fail(c, node, "a %s is no sequence", vlmp_jinja_kind_name(value));
    }
}
