#include "src/text/template/chat_template.h"

#include <stdlib.h>
#include <string.h>

#include "src/text/template/jinja.h"
#include "src/text/unicode/unicode.h"

struct vlmp_chat_template {
    vlmp_arena arena;
    const char *where;
    vlmp_jinja_node *root;
};

static int compile(vlmp_chat_template *t, const char *text, size_t length, const char *where,
                   vlmp_error *err)
{
    if (length > VLMP_CHAT_TEMPLATE_MAX_BYTES)
        return vlmp_fail(err, VLMP_ERR_INPUT, "%s: a chat template of %zu bytes, more than %zu",
                         where, length, VLMP_CHAT_TEMPLATE_MAX_BYTES);
    size_t valid = vlmp_utf8_valid(text, length);
    if (valid < length)
        return vlmp_fail(err, VLMP_ERR_INPUT, "%s: byte %zu: the chat template is not UTF-8", where,
                         valid);
    t->where = vlmp_arena_copy(&t->arena, where, strlen(where));
    if (t->where == NULL) return vlmp_fail_memory(err, where);
    vlmp_jinja_token *tokens;
    VLMP_TRY(vlmp_jinja_lex(&t->arena, text, length, t->where, &tokens, err));
    vlmp_jinja_parser parser = {
        .arena = &t->arena, .tokens = tokens, .where = t->where, .err = err};
    int status = vlmp_jinja_parse(&parser, &t->root);
    free(tokens);
    return status;
}

int vlmp_chat_template_create(vlmp_chat_template **out, const char *text, size_t length,
                              const char *where, vlmp_error *err)
{
    *out = NULL;
    vlmp_chat_template *t = calloc(1, sizeof *t);
    if (t == NULL) return vlmp_fail_memory(err, where);
    int status = compile(t, text, length, where, err);
    if (status != VLMP_OK) {
        vlmp_chat_template_free(t);
        return status;
    }
    *out = t;
    return VLMP_OK;
}

void vlmp_chat_template_free(vlmp_chat_template *t)
{
    if (t == NULL) return;
    vlmp_arena_free(&t->arena);
    free(t);
}

static vlmp_jinja_value text_value(const char *text)
{
    return vlmp_jinja_string(text, strlen(text));
}

static int put(vlmp_jinja_context *c, const vlmp_jinja_node *node, vlmp_jinja_dict *dict,
               const char *key, vlmp_jinja_value value)
{
    return vlmp_jinja_dict_put(c, node, dict, (vlmp_jinja_text){key, strlen(key)}, value);
}

/* {"type": type} or {"type": "text", "text": text} */
static int content_part(vlmp_jinja_context *c, const vlmp_jinja_node *node, const char *text,
                        vlmp_jinja_value *out)
{
    vlmp_jinja_dict *dict = vlmp_jinja_allocate(c, node, 1, sizeof *dict);
    if (dict == NULL) return c->err->code;
    VLMP_TRY(put(c, node, dict, "type", text_value(text == NULL ? "image" : "text")));
    if (text != NULL) VLMP_TRY(put(c, node, dict, "text", text_value(text)));
    *out = (vlmp_jinja_value){.kind = VALUE_DICT, .dict = dict};
    return VLMP_OK;
}

static int message_value(vlmp_jinja_context *c, const vlmp_jinja_node *node,
                         const vlmp_chat_message *message, vlmp_jinja_value *out)
{
    vlmp_jinja_list *content;
    VLMP_TRY(vlmp_jinja_list_new(c, node, message->part_count, &content));
    for (size_t i = 0; i < message->part_count; i++)
        VLMP_TRY(content_part(c, node, message->parts[i], &content->items[i]));
    vlmp_jinja_dict *dict = vlmp_jinja_allocate(c, node, 1, sizeof *dict);
    if (dict == NULL) return c->err->code;
    VLMP_TRY(put(c, node, dict, "role", text_value(message->role)));
    VLMP_TRY(
        put(c, node, dict, "content", (vlmp_jinja_value){.kind = VALUE_LIST, .list = content}));
    *out = (vlmp_jinja_value){.kind = VALUE_DICT, .dict = dict};
    return VLMP_OK;
}

/* The names that transformers gives to a template. */
static int set_variables(vlmp_jinja_context *c, const vlmp_jinja_node *node, const vlmp_chat *chat)
{
    vlmp_jinja_list *messages;
    vlmp_jinja_dict *names = &c->frame->names;
    VLMP_TRY(vlmp_jinja_list_new(c, node, chat->message_count, &messages));
    for (size_t i = 0; i < chat->message_count; i++)
        VLMP_TRY(message_value(c, node, &chat->messages[i], &messages->items[i]));
    for (size_t i = 0; i < chat->variable_count; i++)
        VLMP_TRY(put(c, node, names, chat->variables[i].name, text_value(chat->variables[i].text)));
    VLMP_TRY(
        put(c, node, names, "messages", (vlmp_jinja_value){.kind = VALUE_LIST, .list = messages}));
    VLMP_TRY(put(c, node, names, "tools", (vlmp_jinja_value){.kind = VALUE_NONE}));
    VLMP_TRY(put(c, node, names, "documents", (vlmp_jinja_value){.kind = VALUE_NONE}));
    return put(c, node, names, "add_generation_prompt",
               (vlmp_jinja_value){.kind = VALUE_BOOL, .truth = chat->add_generation_prompt});
}

static int check_text(const char *text, size_t message, const char *where, vlmp_error *err)
{
    size_t length = strlen(text), valid = vlmp_utf8_valid(text, length);
    if (valid == length) return VLMP_OK;
    return vlmp_fail(err, VLMP_ERR_INPUT, "%s: the text of message %zu: byte %zu: not UTF-8", where,
                     message, valid);
}

static int check_texts(const vlmp_chat *chat, const char *where, vlmp_error *err)
{
    for (size_t i = 0; i < chat->message_count; i++)
        for (size_t p = 0; p < chat->messages[i].part_count; p++)
            if (chat->messages[i].parts[p] != VLMP_CHAT_PICTURE)
                VLMP_TRY(check_text(chat->messages[i].parts[p], i + 1, where, err));
    return VLMP_OK;
}

int vlmp_chat_template_render(const vlmp_chat_template *t, const vlmp_chat *chat, vlmp_buffer *out,
                              vlmp_error *err)
{
    static const vlmp_jinja_node start = {.line = 1};
    VLMP_TRY(check_texts(chat, t->where, err));
    vlmp_jinja_frame frame = {.outer = NULL};
    vlmp_buffer text = {0};
    vlmp_jinja_context c = {
        .frame = &frame, .date = chat->date, .out = &text, .where = t->where, .err = err};
    int status = set_variables(&c, &start, chat);
    if (status == VLMP_OK) status = vlmp_jinja_execute(&c, t->root);
    if (status == VLMP_OK) {
        vlmp_buffer_append(out, text.length > 0 ? text.data : "", text.length);
        if (out->failed) status = vlmp_fail_memory(err, "rendering a chat template");
    }
    vlmp_buffer_free(&text);
    vlmp_arena_free(&c.arena);
    return status;
}
