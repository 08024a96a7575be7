/* Operations on text that filters and methods share. */
#include <inttypes.h>
#include <string.h>
#include <utf8proc.h>

#include "src/model/jinja.h"
#include "src/model/unicode_tables.h"

int jinja_change_case(jinja_context *c, const jinja_node *node, jinja_text text, char how,
                      jinja_value *out)
{
    /* A change of case may lengthen a character (U+0250 has 2 bytes, its capital 3). */
    char *changed = jinja_allocate(c, node, text.length + 1, 4);
    if (changed == NULL) return c->err->code;
    size_t length = 0;
    for (size_t at = 0; at < text.length;) {
        bool first = at == 0;
        utf8proc_int32_t character = (utf8proc_int32_t)vlmp_utf8_next(text.text, text.length, &at);
        if (how == 'c' && first)
            character = utf8proc_totitle(character);
        else
            character = how == 'u' ? utf8proc_toupper(character) : utf8proc_tolower(character);
        length += vlmp_utf8_put(changed + length, (uint32_t)character);
    }
    *out = jinja_string(changed, length);
    return VLMP_OK;
}

static bool is_stripped(jinja_text character, const jinja_text *characters)
{
    size_t at = 0;
    if (characters == NULL)
        return jinja_is_space(vlmp_utf8_next(character.text, character.length, &at));
    for (size_t start = 0; start < characters->length; start = at) {
        at = start;
        vlmp_utf8_next(characters->text, characters->length, &at);
        jinja_text one = {characters->text + start, at - start};
        if (jinja_same_text(one, character)) return true;
    }
    return false;
}

jinja_text jinja_strip(jinja_text text, const jinja_text *characters, bool left, bool right)
{
    while (left && text.length > 0) {
        size_t end = 0;
        vlmp_utf8_next(text.text, text.length, &end);
        if (!is_stripped((jinja_text){text.text, end}, characters)) break;
        text.text += end;
        text.length -= end;
    }
    while (right && text.length > 0) {
        size_t start = vlmp_utf8_back(text.text, text.length);
        if (!is_stripped((jinja_text){text.text + start, text.length - start}, characters)) break;
        text.length = start;
    }
    return text;
}

static int from_buffer(jinja_context *c, const jinja_node *node, vlmp_buffer *buffer, int status,
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

int jinja_replace(jinja_context *c, const jinja_node *node, jinja_text text, jinja_text from,
                  jinja_text to, jinja_value *out)
{
    if (from.length == 0) return jinja_fail(c, node, "replacing the empty string is not supported");
    vlmp_buffer changed = {0};
    int status = VLMP_OK;
    while (status == VLMP_OK) {
        const char *hit =
            text.length == 0 ? NULL : memmem(text.text, text.length, from.text, from.length);
        size_t before = hit == NULL ? text.length : (size_t)(hit - text.text);
        vlmp_buffer_append(&changed, text.text, before);
        if (hit == NULL) break;
        vlmp_buffer_append(&changed, to.text, to.length);
        text.text += before + from.length;
        text.length -= before + from.length;
        if (changed.length > (size_t)16 << 20)
            status = jinja_fail(c, node, "a text grows too long");
    }
    return from_buffer(c, node, &changed, status, out);
}

#define MAX_JSON_DEPTH 32

static void quote(vlmp_buffer *out, jinja_text text)
{
    static const char escapes[] = "\"\"\\\\\nn\rr\tt\bb\ff";
    vlmp_buffer_text(out, "\"");
    for (size_t i = 0; i < text.length; i++) {
        char character = text.text[i];
        const char *escape = character == '\0' ? NULL : escapes;
        while (escape != NULL && *escape != '\0' && *escape != character)
            escape += 2;
        if (escape != NULL && *escape != '\0')
            vlmp_buffer_printf(out, "\\%c", escape[1]);
        else if ((unsigned char)character < 0x20)
            vlmp_buffer_printf(out, "\\u%04x", character);
        else
            vlmp_buffer_append(out, &character, 1);
    }
    vlmp_buffer_text(out, "\"");
}

static int put_json(jinja_context *c, const jinja_node *node, const jinja_value *value, int depth,
                    vlmp_buffer *out)
{
    if (depth > MAX_JSON_DEPTH || ++c->steps > 10000000)
        return jinja_fail(c, node, "tojson of a value nested too deeply");
    switch (value->kind) {
    case VALUE_NONE:
        vlmp_buffer_text(out, "null");
        return VLMP_OK;
    case VALUE_BOOL:
        vlmp_buffer_text(out, value->truth ? "true" : "false");
        return VLMP_OK;
    case VALUE_INTEGER:
        vlmp_buffer_printf(out, "%" PRId64, value->number);
        return VLMP_OK;
    case VALUE_STRING:
        quote(out, value->text);
        return VLMP_OK;
    case VALUE_LIST:
        vlmp_buffer_text(out, "[");
        for (size_t i = 0; i < value->list->count; i++) {
            if (i > 0) vlmp_buffer_text(out, ", ");
            VLMP_TRY(put_json(c, node, &value->list->items[i], depth + 1, out));
        }
        vlmp_buffer_text(out, "]");
        return VLMP_OK;
    case VALUE_DICT:
        vlmp_buffer_text(out, "{");
        for (size_t i = 0; i < value->dict->count; i++) {
            if (i > 0) vlmp_buffer_text(out, ", ");
            quote(out, value->dict->keys[i]);
            vlmp_buffer_text(out, ": ");
            VLMP_TRY(put_json(c, node, &value->dict->values[i], depth + 1, out));
        }
        vlmp_buffer_text(out, "}");
        return VLMP_OK;
    default:
        return jinja_fail(c, node, "tojson of a %s", jinja_kind_name(value));
    }
}

int jinja_to_json(jinja_context *c, const jinja_node *node, const jinja_value *value,
                  jinja_value *out)
{
    vlmp_buffer text = {0};
    int status = put_json(c, node, value, 0, &text);
    return from_buffer(c, node, &text, status, out);
}
