/* The filter tojson as transformers defines it: json.dumps with its options. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "src/text/template/jinja.h"
#include "src/text/unicode/unicode.h"

#define MAX_JSON_DEPTH 32

typedef struct {
    vlmp_jinja_context *c;
    const vlmp_jinja_node *node;
    vlmp_buffer out;
    bool ascii, sorted;
    bool pretty;            /* each member on a line of its own */
    vlmp_jinja_text indent; /* of a level */
    vlmp_jinja_text comma, colon;
} json_writer;

static void put_escape(vlmp_buffer *out, uint32_t c)
{
    if (c > 0xffff) { /* a surrogate pair */
        vlmp_buffer_printf(out, "\\u%04x", (unsigned)(0xd800 + ((c - 0x10000) >> 10)));
        c = 0xdc00 + ((c - 0x10000) & 0x3ff);
    }
    vlmp_buffer_printf(out, "\\u%04x", (unsigned)c);
}

static void quote(json_writer *w, vlmp_jinja_text text)
{
    static const char escapes[] = "\"\"\\\\\nn\rr\tt\bb\ff";
    vlmp_buffer_text(&w->out, "\"");
    for (size_t at = 0, end = 0; at < text.length; at = end) {
        uint32_t character = vlmp_utf8_next(text.text, text.length, &end);
        const char *escape = character == 0 || character >= 0x80 ? NULL : escapes;
        while (escape != NULL && *escape != '\0' && (uint32_t)*escape != character)
            escape += 2;
        if (escape != NULL && *escape != '\0')
            vlmp_buffer_printf(&w->out, "\\%c", escape[1]);
        else if (character < 0x20 || (w->ascii && character >= 0x7f))
            put_escape(&w->out, character);
        else
            vlmp_buffer_append(&w->out, text.text + at, end - at);
    }
    vlmp_buffer_text(&w->out, "\"");
}

static void put(json_writer *w, vlmp_jinja_text text)
{
    vlmp_buffer_append(&w->out, text.text, text.length);
}

static void new_line(json_writer *w, int depth)
{
    if (!w->pretty) return;
    vlmp_buffer_text(&w->out, "\n");
    for (int i = 0; i < depth; i++)
        put(w, w->indent);
}

static int put_value(json_writer *w, const vlmp_jinja_value *value, int depth);

static int put_list(json_writer *w, const vlmp_jinja_list *list, int depth)
{
    if (list->form > FORM_TUPLE) return vlmp_jinja_fail(w->c, w->node, "tojson of an iterator");
    vlmp_buffer_text(&w->out, "[");
    for (size_t i = 0; i < list->count; i++) {
        if (i > 0) put(w, w->comma);
        new_line(w, depth + 1);
        VLMP_TRY(put_value(w, &list->items[i], depth + 1));
    }
    if (list->count > 0) new_line(w, depth);
    vlmp_buffer_text(&w->out, "]");
    return VLMP_OK;
}

static int compare_keys(const void *a, const void *b)
{
    const vlmp_jinja_text *x = a, *y = b;
    size_t shorter = x->length < y->length ? x->length : y->length;
    int sign = shorter > 0 ? memcmp(x->text, y->text, shorter) : 0;
    return sign != 0 ? sign : (x->length > y->length) - (x->length < y->length);
}

static int put_dict(json_writer *w, const vlmp_jinja_dict *dict, int depth)
{
    vlmp_jinja_text *keys = vlmp_jinja_allocate(w->c, w->node, dict->count, sizeof *keys);
    if (keys == NULL) return w->c->err->code;
    if (dict->count > 0) memcpy(keys, dict->keys, dict->count * sizeof *keys);
    if (w->sorted) qsort(keys, dict->count, sizeof *keys, compare_keys);
    vlmp_buffer_text(&w->out, "{");
    for (size_t i = 0; i < dict->count; i++) {
        if (i > 0) put(w, w->comma);
        new_line(w, depth + 1);
        quote(w, keys[i]);
        put(w, w->colon);
        VLMP_TRY(put_value(w, vlmp_jinja_dict_find(dict, keys[i]), depth + 1));
    }
    if (dict->count > 0) new_line(w, depth);
    vlmp_buffer_text(&w->out, "}");
    return VLMP_OK;
}

static int put_value(json_writer *w, const vlmp_jinja_value *value, int depth)
{
    vlmp_jinja_text text;
    if (depth > MAX_JSON_DEPTH || ++w->c->steps > 10000000)
        return vlmp_jinja_fail(w->c, w->node, "tojson of a value nested too deeply");
    switch (value->kind) {
    case VALUE_NONE:
        vlmp_buffer_text(&w->out, "null");
        return VLMP_OK;
    case VALUE_BOOL:
        vlmp_buffer_text(&w->out, value->truth ? "true" : "false");
        return VLMP_OK;
    case VALUE_INTEGER:
        vlmp_buffer_printf(&w->out, "%" PRId64, value->number);
        return VLMP_OK;
    case VALUE_FLOAT:
        VLMP_TRY(vlmp_jinja_float_text(w->c, w->node, value->real, &text));
        put(w, text);
        return VLMP_OK;
    case VALUE_STRING:
        quote(w, value->text);
        return VLMP_OK;
    case VALUE_LIST:
        return put_list(w, value->list, depth);
    case VALUE_DICT:
        return put_dict(w, value->dict, depth);
    default:
        return vlmp_jinja_fail(w->c, w->node, "tojson of a %s", vlmp_jinja_kind_name(value));
    }
}

/* indent: a number of spaces or a text; it also takes the space behind commas. */
static int read_indent(json_writer *w, const vlmp_jinja_value *given)
{
    if (given == NULL || given->kind == VALUE_NONE) return VLMP_OK;
    w->pretty = true;
    w->comma = (vlmp_jinja_text){",", 1};
    if (given->kind == VALUE_STRING) {
        w->indent = given->text;
        return VLMP_OK;
    }
    int64_t spaces = given->kind == VALUE_INTEGER ? given->number : -1;
    if (spaces < 0 || spaces > 100)
        return vlmp_jinja_fail(w->c, w->node, "tojson with such an indent is not supported");
    vlmp_jinja_value padded;
    VLMP_TRY(vlmp_jinja_pad(w->c, w->node, (vlmp_jinja_text){"", 0}, (size_t)spaces, 0,
                            (vlmp_jinja_text){" ", 1}, &padded));
    w->indent = padded.text;
    return VLMP_OK;
}

static int read_separators(json_writer *w, const vlmp_jinja_value *given)
{
    if (given == NULL || given->kind == VALUE_NONE) return VLMP_OK;
    const vlmp_jinja_list *list = given->kind == VALUE_LIST ? given->list : NULL;
    if (list == NULL || list->count != 2 || list->items[0].kind != VALUE_STRING ||
        list->items[1].kind != VALUE_STRING)
        return vlmp_jinja_fail(w->c, w->node, "tojson with such separators is not supported");
    w->comma = list->items[0].text;
    w->colon = list->items[1].text;
    return VLMP_OK;
}

int vlmp_jinja_to_json(vlmp_jinja_context *c, const vlmp_jinja_node *node,
                       const vlmp_jinja_value *value, const vlmp_jinja_arguments *arguments,
                       vlmp_jinja_value *out)
{
    json_writer w = {.c = c, .node = node, .comma = {", ", 2}, .colon = {": ", 2}};
    w.ascii = vlmp_jinja_truth_argument(arguments, 0, "ensure_ascii");
    VLMP_TRY(read_indent(&w, vlmp_jinja_argument(arguments, 1, "indent")));
    VLMP_TRY(read_separators(&w, vlmp_jinja_argument(arguments, 2, "separators")));
    w.sorted = vlmp_jinja_truth_argument(arguments, 3, "sort_keys");
    int status = put_value(&w, value, 0);
    return vlmp_jinja_from_buffer(c, node, &w.out, status, out);
}
