#include "src/model/prompt.h"

#include <stdlib.h>
#include <string.h>

#include "src/base/json.h"
#include "src/model/unicode_tables.h"

#define MAX_VARIABLES 64

static int render(const vlmp_prompter *p, const vlmp_prompt_request *r, bool with_answer,
                  vlmp_buffer *out, vlmp_error *err)
{
    vlmp_chat_message messages[2] = {{"user", r->pictures, r->prompt}, {"assistant", 0, r->answer}};
    vlmp_chat_variable variables[MAX_VARIABLES];
    size_t count = 0;
    while (count < MAX_VARIABLES &&
           vlmp_tokenizer_named_at(p->tokenizer, count, &variables[count].name,
                                   &variables[count].text))
        count++;
    vlmp_chat chat = {.messages = messages,
                      .message_count = with_answer ? 2 : 1,
                      .add_generation_prompt = !with_answer,
                      .variables = variables,
                      .variable_count = count};
    return vlmp_chat_template_render(p->chat, &chat, out, err);
}

static bool begins_with(const vlmp_buffer *text, const char *start, size_t length)
{
    return text->length >= length && (length == 0 || memcmp(text->data, start, length) == 0);
}

/* The end of the last end-of-sequence token in the text; 0 when there is none. */
static size_t last_end(const vlmp_buffer *text, const char *eos)
{
    size_t length = strlen(eos);
    for (size_t at = text->length; at >= length && length > 0; at--)
        if (memcmp(text->data + at - length, eos, length) == 0) return at;
    return 0;
}

static void trim_end(vlmp_buffer *text)
{
    while (text->length > 0) {
        size_t start = vlmp_utf8_back(text->data, text->length), at = start;
        uint32_t c = vlmp_utf8_next(text->data, text->length, &at);
        /* Python's str.isspace also takes the four separators from U+001C. */
        if (!vlmp_is_white_space(c) && !(c >= 0x1c && c <= 0x1f)) break;
        text->length = start;
    }
}

/* The whole text from the prompt's, which is given. */
static int make_text(const vlmp_prompter *p, const vlmp_prompt_request *r,
                     const vlmp_buffer *prompt, vlmp_prompt *out, vlmp_buffer *text,
                     vlmp_error *err)
{
    const char *eos = vlmp_tokenizer_named(p->tokenizer, "eos_token", NULL);
    if (eos == NULL || eos[0] == '\0')
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: tokenizer_config.json names no eos_token, so the end of an answer is "
                         "unknown",
                         p->where);
    VLMP_TRY(render(p, r, true, text, err));
    if (!begins_with(text, prompt->data, prompt->length)) {
        out->answer_appended = true;
        text->length = 0;
        vlmp_buffer_append(text, prompt->data, prompt->length);
        vlmp_buffer_text(text, r->answer);
    }
    if (text->failed) return vlmp_fail_memory(err, "a prompt");
    size_t end = last_end(text, eos), eos_length = strlen(eos);
    if (end >= eos_length && end - eos_length >= prompt->length && end > 0) {
        text->length = end;
    } else {
        trim_end(text);
        vlmp_buffer_text(text, eos);
    }
    return text->failed ? vlmp_fail_memory(err, "a prompt") : VLMP_OK;
}

static int tokenize(const vlmp_prompter *p, const vlmp_buffer *text, bool add_special,
                    vlmp_ids *ids, vlmp_error *err)
{
    return vlmp_tokenizer_encode(p->tokenizer, text->length > 0 ? text->data : "", text->length,
                                 add_special, ids, err);
}

static int count_placeholders(const vlmp_prompter *p, const vlmp_prompt_request *r,
                              const vlmp_ids *ids, size_t *expanded, vlmp_error *err)
{
    size_t found = 0;
    *expanded = ids->count;
    for (size_t i = 0; i < ids->count; i++) {
        if (ids->data[i] != p->image_token) continue;
        int32_t tokens = found < (size_t)r->pictures ? r->picture_tokens[found] : 1;
        if (tokens < 1 || !vlmp_add_size(*expanded, (size_t)tokens - 1, expanded))
            return vlmp_fail(err, VLMP_ERR_INPUT, "%s: picture %zu has %d tokens", p->where,
                             found + 1, tokens);
        found++;
    }
    if (found == (size_t)r->pictures) return VLMP_OK;
    const char *name = vlmp_tokenizer_token(p->tokenizer, p->image_token);
    return vlmp_fail(err, VLMP_ERR_INPUT, "%s: %zu placeholders ('%s') for %d pictures; %s",
                     p->where, found, name != NULL ? name : "?", r->pictures,
                     found > (size_t)r->pictures
                         ? "the prompt or the answer must not spell the placeholder"
                         : "the chat template does not place every picture");
}

/* ids → out->ids; border is an index into ids. */
static int expand(const vlmp_prompter *p, const vlmp_prompt_request *r, const vlmp_ids *ids,
                  size_t border, vlmp_prompt *out, vlmp_error *err)
{
    VLMP_TRY(count_placeholders(p, r, ids, &out->count, err));
    out->ids = vlmp_alloc(out->count, sizeof *out->ids);
    out->picture_starts = vlmp_alloc((size_t)r->pictures, sizeof *out->picture_starts);
    if (out->ids == NULL || out->picture_starts == NULL) return vlmp_fail_memory(err, "a prompt");
    size_t at = 0, picture = 0;
    for (size_t i = 0; i < ids->count; i++) {
        if (i == border) out->answer_start = at;
        int32_t copies = 1;
        if (ids->data[i] == p->image_token) {
            copies = r->picture_tokens[picture];
            out->picture_starts[picture++] = at;
        }
        for (int32_t k = 0; k < copies; k++)
            out->ids[at++] = ids->data[i];
    }
    if (border >= ids->count) out->answer_start = at;
    return VLMP_OK;
}

static int make_ids(const vlmp_prompter *p, const vlmp_prompt_request *r, const vlmp_buffer *prompt,
                    const vlmp_buffer *text, vlmp_prompt *out, vlmp_error *err)
{
    const char *bos = vlmp_tokenizer_named(p->tokenizer, "bos_token", NULL);
    bool has_bos = bos != NULL && bos[0] != '\0' && begins_with(prompt, bos, strlen(bos));
    vlmp_ids prompt_ids = {0}, ids = {0};
    int status = tokenize(p, prompt, !has_bos, &prompt_ids, err);
    if (status == VLMP_OK && r->answer != NULL) status = tokenize(p, text, !has_bos, &ids, err);
    size_t border = prompt_ids.count;
    if (status == VLMP_OK && r->answer == NULL) {
        status = expand(p, r, &prompt_ids, border, out, err);
    } else if (status == VLMP_OK) {
        size_t common = 0;
        while (common < border && common < ids.count && ids.data[common] == prompt_ids.data[common])
            common++;
        out->border_moved = common < border;
        status = expand(p, r, &ids, common, out, err);
    }
    vlmp_ids_free(&prompt_ids);
    vlmp_ids_free(&ids);
    return status;
}

int vlmp_prompt_make(const vlmp_prompter *p, const vlmp_prompt_request *r, vlmp_prompt *out,
                     vlmp_error *err)
{
    *out = (vlmp_prompt){0};
    vlmp_buffer prompt = {0}, whole = {0};
    vlmp_buffer *text = r->answer == NULL ? &prompt : &whole;
    int status = render(p, r, false, &prompt, err);
    if (status == VLMP_OK && r->answer != NULL) status = make_text(p, r, &prompt, out, &whole, err);
    if (status == VLMP_OK) status = make_ids(p, r, &prompt, text, out, err);
    if (status == VLMP_OK) {
        out->text = strndup(text->length > 0 ? text->data : "", text->length);
        out->text_length = text->length;
        out->prompt_length = prompt.length;
        if (out->text == NULL) status = vlmp_fail_memory(err, "a prompt");
    }
    vlmp_buffer_free(&prompt);
    vlmp_buffer_free(&whole);
    if (status != VLMP_OK) vlmp_prompt_free(out);
    return status;
}

void vlmp_prompt_free(vlmp_prompt *prompt)
{
    free(prompt->text);
    free(prompt->ids);
    free(prompt->picture_starts);
    *prompt = (vlmp_prompt){0};
}

int vlmp_tokenizer_load(vlmp_tokenizer **out, const vlmp_source *source, vlmp_error *err)
{
    size_t length = 0, config_length = 0;
    const char *json = source->file(source, "tokenizer.json", &length);
    const char *config = source->file(source, "tokenizer_config.json", &config_length);
    *out = NULL;
    if (json == NULL)
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: there is no tokenizer.json; convert the tokenizer with transformers "
                         "(save_pretrained of a fast tokenizer)",
                         source->path);
    return vlmp_tokenizer_create(out, json, length, config, config_length, source->path, err);
}

/* The chat_template of a JSON file: a string, or a list of {name, template}. NULL: it has none. */
static const char *template_in(const cJSON *root)
{
    const cJSON *item = cJSON_IsObject(root) ? vlmp_json_get(root, "chat_template") : NULL;
    if (cJSON_IsString(item)) return item->valuestring;
    if (cJSON_IsObject(item)) item = vlmp_json_get(item, "default");
    if (cJSON_IsString(item)) return item->valuestring;
    for (const cJSON *one = cJSON_IsArray(item) ? item->child : NULL; one != NULL;
         one = one->next) {
        const cJSON *name = cJSON_IsObject(one) ? vlmp_json_get(one, "name") : NULL;
        const cJSON *text = cJSON_IsObject(one) ? vlmp_json_get(one, "template") : NULL;
        if (cJSON_IsString(name) && cJSON_IsString(text) &&
            strcmp(name->valuestring, "default") == 0)
            return text->valuestring;
    }
    return NULL;
}

static int load_from_json(vlmp_chat_template **out, const vlmp_source *source, const char *name,
                          vlmp_error *err)
{
    size_t length = 0;
    const char *json = source->file(source, name, &length);
    if (json == NULL) return VLMP_OK;
    cJSON *root;
    VLMP_TRY(vlmp_json_parse(&root, json, length, name, err));
    const char *text = template_in(root);
    int status = VLMP_OK;
    if (text != NULL) status = vlmp_chat_template_create(out, text, strlen(text), name, err);
    cJSON_Delete(root);
    return status;
}

int vlmp_chat_template_load(vlmp_chat_template **out, const vlmp_source *source, vlmp_error *err)
{
    static const char *const files[] = {"chat_template.json", "processor_config.json",
                                        "tokenizer_config.json"};
    static const char raw[] = "chat_template.jinja";
    size_t length = 0;
    const char *text = source->file(source, raw, &length);
    *out = NULL;
    if (text != NULL) return vlmp_chat_template_create(out, text, length, raw, err);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        VLMP_TRY(load_from_json(out, source, files[i], err));
        if (*out != NULL) return VLMP_OK;
    }
    return vlmp_fail(err, VLMP_ERR_INPUT,
                     "%s: there is no chat template (chat_template.jinja, chat_template.json, or "
                     "'chat_template' in processor_config.json or tokenizer_config.json)",
                     source->path);
}
