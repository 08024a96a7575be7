#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "src/model/jinja.h"
#include "src/model/unicode_tables.h"

#define MAX_COMPARE_DEPTH 32

jinja_value jinja_string(const char *text, size_t length)
{
    return (jinja_value){.kind = VALUE_STRING, .text = {text, length}};
}

jinja_value jinja_undefined(jinja_text name)
{
    return (jinja_value){.kind = VALUE_UNDEFINED, .text = name};
}

bool jinja_text_is(jinja_text text, const char *other)
{
    return strlen(other) == text.length && memcmp(text.text, other, text.length) == 0;
}

bool jinja_same_text(jinja_text a, jinja_text b)
{
    return a.length == b.length && (a.length == 0 || memcmp(a.text, b.text, a.length) == 0);
}

bool jinja_is_space(uint32_t c)
{
    return c != VLMP_UTF8_INVALID && (vlmp_is_white_space(c) || (c >= 0x1c && c <= 0x1f));
}

const char *jinja_kind_name(const jinja_value *value)
{
    static const char *const names[] = {"undefined value", "None",   "boolean",  "number",
                                        "number",          "string", "list",     "dictionary",
                                        "namespace",       "loop",   "function", "macro"};
    static const char *const forms[] = {"list", "tuple", "range", "view", "iterator"};
    return value->kind == VALUE_LIST ? forms[value->list->form] : names[value->kind];
}

bool jinja_is_true(const jinja_value *value)
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

const jinja_value *jinja_dict_find(const jinja_dict *dict, jinja_text key)
{
    for (size_t i = 0; i < dict->count; i++)
        if (jinja_same_text(dict->keys[i], key)) return &dict->values[i];
    return NULL;
}

int jinja_dict_put(jinja_context *c, const jinja_node *node, jinja_dict *dict, jinja_text key,
                   jinja_value value)
{
    for (size_t i = 0; i < dict->count; i++) {
        if (!jinja_same_text(dict->keys[i], key)) continue;
        dict->values[i] = value;
        return VLMP_OK;
    }
    if (dict->count == dict->capacity) {
        size_t capacity = dict->capacity == 0 ? 4 : dict->capacity * 2;
        jinja_text *keys = jinja_allocate(c, node, capacity, sizeof *keys);
        jinja_value *values = jinja_allocate(c, node, capacity, sizeof *values);
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

static int equal(jinja_context *c, const jinja_node *node, const jinja_value *a,
                 const jinja_value *b, int depth, bool *out);

static int equal_lists(jinja_context *c, const jinja_node *node, const jinja_list *a,
                       const jinja_list *b, int depth, bool *out)
{
    if (a->form == FORM_VIEW || b->form == FORM_VIEW)
        return jinja_fail(c, node, "a comparison of a dictionary's view is not supported");
    *out = a == b;
    if (*out || a->form == FORM_ITERATOR || a->form != b->form) return VLMP_OK;
    *out = a->count == b->count;
    for (size_t i = 0; *out && i < a->count; i++)
        VLMP_TRY(equal(c, node, &a->items[i], &b->items[i], depth + 1, out));
    return VLMP_OK;
}

static int equal_dicts(jinja_context *c, const jinja_node *node, const jinja_dict *a,
                       const jinja_dict *b, int depth, bool *out)
{
    *out = a->count == b->count;
    for (size_t i = 0; *out && i < a->count; i++) {
        const jinja_value *other = jinja_dict_find(b, a->keys[i]);
        *out = other != NULL;
        if (other != NULL) VLMP_TRY(equal(c, node, &a->values[i], other, depth + 1, out));
    }
    return VLMP_OK;
}

static int equal(jinja_context *c, const jinja_node *node, const jinja_value *a,
                 const jinja_value *b, int depth, bool *out)
{
    if (depth > MAX_COMPARE_DEPTH || ++c->steps > 10000000)
        return jinja_fail(c, node, "a comparison of values nested too deeply");
    *out = false;
    if (jinja_is_number(a) && jinja_is_number(b)) {
        *out = jinja_compare_numbers(a, b) == 0;
        return VLMP_OK;
    }
    if (a->kind != b->kind) return VLMP_OK;
    switch (a->kind) {
    case VALUE_STRING:
        *out = jinja_same_text(a->text, b->text);
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
        *out = jinja_same_text(a->text, b->text);
        return VLMP_OK;
    default:
        *out = true;
        return VLMP_OK;
    }
}

int jinja_equal(jinja_context *c, const jinja_node *node, const jinja_value *a,
                const jinja_value *b, bool *out)
{
    return equal(c, node, a, b, 0, out);
}

int jinja_to_text(jinja_context *c, const jinja_node *node, const jinja_value *value,
                  jinja_text *out)
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
        char *digits = jinja_allocate(c, node, 24, 1);
        if (digits == NULL) return c->err->code;
        *out = (jinja_text){digits, (size_t)snprintf(digits, 24, "%" PRId64, value->number)};
        return VLMP_OK;
    }
    case VALUE_FLOAT:
        return jinja_float_text(c, node, value->real, out);
    default:
        return jinja_fail(c, node,
                          "a %s is used as text, which is not supported (a template for messages "
                          "whose content is a string does this)",
                          jinja_kind_name(value));
    }
    *out = (jinja_text){word, strlen(word)};
    return VLMP_OK;
}

int jinja_concatenate(jinja_context *c, const jinja_node *node, jinja_text a, jinja_text b,
                      jinja_value *out)
{
    char *text = jinja_allocate(c, node, a.length + b.length + 1, 1);
    if (text == NULL) return c->err->code;
    if (a.length > 0) memcpy(text, a.text, a.length);
    if (b.length > 0) memcpy(text + a.length, b.text, b.length);
    *out = jinja_string(text, a.length + b.length);
    return VLMP_OK;
}

int jinja_list_new(jinja_context *c, const jinja_node *node, size_t count, jinja_list **out)
{
    *out = jinja_allocate(c, node, 1, sizeof **out);
    if (*out == NULL) return c->err->code;
    (*out)->items = jinja_allocate(c, node, count, sizeof *(*out)->items);
    if ((*out)->items == NULL) return c->err->code;
    (*out)->count = count;
    return VLMP_OK;
}

static int characters(jinja_context *c, const jinja_node *node, jinja_text text, jinja_list **out)
{
    size_t count = 0;
    for (size_t at = 0; at < text.length; count++)
        vlmp_utf8_next(text.text, text.length, &at);
    VLMP_TRY(jinja_list_new(c, node, count, out));
    size_t i = 0;
    for (size_t at = 0, start = 0; at < text.length; start = at) {
        vlmp_utf8_next(text.text, text.length, &at);
        (*out)->items[i++] = jinja_string(text.text + start, at - start);
    }
    return VLMP_OK;
}

bool jinja_is_indexed(const jinja_value *value)
{
    return value->kind == VALUE_STRING ||
           (value->kind == VALUE_LIST && value->list->form <= FORM_RANGE);
}

int jinja_new_list(jinja_context *c, const jinja_node *node, size_t count, jinja_form form,
                   jinja_value *out)
{
    jinja_list *list;
    VLMP_TRY(jinja_list_new(c, node, count, &list));
    list->form = form;
    *out = (jinja_value){.kind = VALUE_LIST, .list = list};
    return VLMP_OK;
}

int jinja_from_buffer(jinja_context *c, const jinja_node *node, vlmp_buffer *buffer, int status,
                      jinja_value *out)
{
    if (status == VLMP_OK && buffer->failed)
        status = vlmp_fail_memory(c->err, "rendering a chat template");
    if (status == VLMP_OK)
        status = jinja_concatenate(c, node, (jinja_text){buffer->data, buffer->length},
                                   (jinja_text){NULL, 0}, out);
    vlmp_buffer_free(buffer);
    return status;
}

int jinja_to_list(jinja_context *c, const jinja_node *node, const jinja_value *value,
                  jinja_list **out)
{
    switch (value->kind) {
    case VALUE_LIST:
        *out = value->list;
        if (value->list->form != FORM_ITERATOR) return VLMP_OK;
        VLMP_TRY(jinja_list_new(c, node, 0, out));
        **out = (jinja_list){.items = value->list->items, .count = value->list->count};
        value->list->count = 0; /* read once */
        return VLMP_OK;
    case VALUE_STRING:
        return characters(c, node, value->text, out);
    case VALUE_UNDEFINED:
        return jinja_list_new(c, node, 0, out);
    case VALUE_DICT:
        VLMP_TRY(jinja_list_new(c, node, value->dict->count, out));
        for (size_t i = 0; i < value->dict->count; i++)
            (*out)->items[i] = jinja_string(value->dict->keys[i].text, value->dict->keys[i].length);
        return VLMP_OK;
    default:
        return jinja_fail(c, node, "a %s is no sequence", jinja_kind_name(value));
    }
}
