#include "src/text/prompt.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/json.h"
#include "src/text/unicode/unicode.h"

#define MAX_VARIABLES 64

/* The first `turns` turns, then either the generation prompt or the answer (NULL: nothing). */
static int render(const vlmp_prompter *p, const vlmp_prompt_request *r, size_t turns,
                  bool generation_prompt, const char *answer, vlmp_buffer *out, vlmp_error *err)
{
    vlmp_chat_variable variables[MAX_VARIABLES];
    size_t count = 0;
    while (count < MAX_VARIABLES &&
           vlmp_tokenizer_named_at(p->tokenizer, count, &variables[count].name,
                                   &variables[count].text))
        count++;
    vlmp_chat_message *messages = vlmp_alloc(turns + 1, sizeof *messages);
    if (messages == NULL) return vlmp_fail_memory(err, "a prompt");
    memcpy(messages, r->turns, turns * sizeof *messages);
    messages[turns] = (vlmp_chat_message){"assistant", &answer, 1};
    vlmp_chat chat = {.messages = messages,
                      .message_count = turns + (answer != NULL),
                      .add_generation_prompt = generation_prompt,
                      .variables = variables,
                      .variable_count = count,
                      .date = p->date};
    int status = vlmp_chat_template_render(p->chat, &chat, out, err);
    free(messages);
    return status;
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

static bool is_blank(const char *text, size_t length)
{
    vlmp_buffer copy = {.data = (char *)(uintptr_t)text, .length = length};
    trim_end(&copy);
    return copy.length == 0;
}

/* Whether text stands behind the answer: in text[from … end − 1], which holds the answer as the
 * template shows it. Where the template changes the answer it is not found, and nothing is known.
 */
static bool has_tail(const vlmp_buffer *text, size_t from, size_t end, const char *answer)
{
    vlmp_buffer trimmed = {.data = (char *)(uintptr_t)answer, .length = strlen(answer)};
    trim_end(&trimmed);
    while (trimmed.length > 0 && strchr(" \n\t\r", trimmed.data[0]) != NULL) {
        trimmed.data++;
        trimmed.length--;
    }
    for (size_t at = end; at >= from + trimmed.length; at--) {
        size_t start = at - trimmed.length;
        if (trimmed.length == 0 || memcmp(text->data + start, trimmed.data, trimmed.length) == 0)
            return !is_blank(text->data + at, end - at);
        if (at == 0) break;
    }
    return false;
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
    VLMP_TRY(render(p, r, r->turn_count, false, r->answer, text, err));
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
        end = text->length;
    }
    if (!text->failed)
        out->end_differs = has_tail(text, prompt->length, end - eos_length, r->answer);
    return text->failed ? vlmp_fail_memory(err, "a prompt") : VLMP_OK;
}

/* The text with what stands for its pictures; placeholders beyond those stay. */
static void spell(const vlmp_prompter *p, const vlmp_prompt_request *r, const vlmp_buffer *text,
                  vlmp_buffer *out)
{
    const char *name = vlmp_tokenizer_token(p->tokenizer, p->image_token);
    size_t length = strlen(name), from = 0;
    int picture = 0;
    for (size_t at = 0; picture < r->pictures && at + length <= text->length;) {
        if (memcmp(text->data + at, name, length) != 0) {
            at++;
            continue;
        }
        vlmp_buffer_append(out, text->data + from, at - from);
        vlmp_buffer_text(out, r->picture_texts[picture++]);
        from = at += length;
    }
    vlmp_buffer_append(out, text->data + from, text->length - from);
}

static int tokenize(const vlmp_prompter *p, const vlmp_prompt_request *r, const vlmp_buffer *text,
                    bool add_special, vlmp_ids *ids, vlmp_error *err)
{
    vlmp_buffer spelled = {0};
    bool spells = r->picture_texts != NULL && r->pictures > 0 && text->length > 0;
    if (spells) spell(p, r, text, &spelled);
    const vlmp_buffer *from = spells ? &spelled : text;
    int status = spelled.failed
                     ? vlmp_fail_memory(err, "a prompt")
                     : vlmp_tokenizer_encode(p->tokenizer, from->length > 0 ? from->data : "",
                                             from->length, add_special, ids, err);
    vlmp_buffer_free(&spelled);
    return status;
}

/* Placeholders among the ids that picture `picture` has, and what each becomes. */
static int32_t placeholders_of(const vlmp_prompt_request *r, size_t picture)
{
    return r->picture_texts != NULL ? r->picture_tokens[picture] : 1;
}

static int32_t copies_of(const vlmp_prompt_request *r, size_t picture)
{
    return r->picture_texts != NULL ? 1 : r->picture_tokens[picture];
}

/* *expanded: of the ids, once all placeholders are copied. */
static int count_placeholders(const vlmp_prompter *p, const vlmp_prompt_request *r,
                              const vlmp_ids *ids, size_t *expanded, vlmp_error *err)
{
    size_t found = 0, wanted = 0;
    *expanded = ids->count;
    for (size_t i = 0; i < (size_t)r->pictures; i++) {
        int32_t copies = copies_of(r, i);
        if (r->picture_tokens[i] < 1 || !vlmp_add_size(*expanded, (size_t)copies - 1, expanded) ||
            !vlmp_add_size(wanted, (size_t)placeholders_of(r, i), &wanted))
            return vlmp_fail(err, VLMP_ERR_INPUT, "%s: picture %zu has %d tokens", p->where, i + 1,
                             r->picture_tokens[i]);
    }
    for (size_t i = 0; i < ids->count; i++)
        found += ids->data[i] == p->image_token;
    if (found == wanted) return VLMP_OK;
    const char *name = vlmp_tokenizer_token(p->tokenizer, p->image_token);
    if (r->picture_texts != NULL)
        return vlmp_fail(
            err, VLMP_ERR_INPUT,
            "%s: %zu placeholders ('%s') where %d pictures need %zu; the chat template "
            "must place every picture, and neither prompt nor answer spell the "
            "placeholder",
            p->where, found, name, r->pictures, wanted);
    return vlmp_fail(err, VLMP_ERR_INPUT, "%s: %zu placeholders ('%s') for %d pictures; %s",
                     p->where, found, name != NULL ? name : "?", r->pictures,
                     found > wanted
                         ? "the prompt or the answer must not spell the placeholder"
                         : "the chat template does not place every picture, or config.json's "
                           "image_token_index is another token");
}

/* ids → out->ids; the borders of out->answers, indices into ids, move along. */
static int expand(const vlmp_prompter *p, const vlmp_prompt_request *r, const vlmp_ids *ids,
                  vlmp_prompt *out, vlmp_error *err)
{
    VLMP_TRY(count_placeholders(p, r, ids, &out->count, err));
    if (out->count > INT_MAX)
        return vlmp_fail(err, VLMP_ERR_INPUT, "%s: %zu tokens, too many for a prompt", p->where,
                         out->count);
    out->ids = vlmp_alloc(out->count, sizeof *out->ids);
    out->picture_starts = vlmp_alloc((size_t)r->pictures, sizeof *out->picture_starts);
    int *moved = vlmp_alloc(ids->count + 1, sizeof *moved); /* where each id begins */
    if (out->ids == NULL || out->picture_starts == NULL || moved == NULL) {
        free(moved);
        return vlmp_fail_memory(err, "a prompt");
    }
    size_t at = 0, picture = 0;
    int32_t left = 0; /* placeholders of the picture before `picture` */
    for (size_t i = 0; i < ids->count; i++) {
        int32_t copies = 1;
        moved[i] = (int)at;
        if (ids->data[i] == p->image_token) {
            if (left == 0) {
                out->picture_starts[picture] = at;
                left = placeholders_of(r, picture++);
            }
            copies = copies_of(r, picture - 1);
            left--;
        }
        for (int32_t k = 0; k < copies; k++)
            out->ids[at++] = ids->data[i];
    }
    moved[ids->count] = (int)at;
    for (size_t k = 0; k < out->answer_count; k++)
        out->answers[k] = (vlmp_span){moved[out->answers[k].from], moved[out->answers[k].end]};
    free(moved);
    return VLMP_OK;
}

/* How many of the ids are those of a text that the whole one begins with. *merged: fewer than that
 * text has, because its end merges with what follows. */
static int border(const vlmp_prompter *p, const vlmp_prompt_request *r, const vlmp_buffer *start,
                  bool add_special, const vlmp_ids *ids, int *out, bool *merged, vlmp_error *err)
{
    vlmp_ids own = {0};
    int status = tokenize(p, r, start, add_special, &own, err);
    size_t common = 0;
    while (common < own.count && common < ids->count && ids->data[common] == own.data[common])
        common++;
    *out = (int)common;
    *merged = common < own.count;
    vlmp_ids_free(&own);
    return status;
}

static int changed_later(const vlmp_prompter *p, size_t turn, vlmp_error *err)
{
    return vlmp_fail(err, VLMP_ERR_INPUT,
                     "%s: the chat template renders turn %zu otherwise once others follow, so its "
                     "tokens cannot be told; give each exchange as a sample of its own",
                     p->where, turn + 1);
}

/* The answer that turn `turn` of the conversation is, in the ids of the whole text. */
static int find_answer(const vlmp_prompter *p, const vlmp_prompt_request *r, size_t turn,
                       const vlmp_buffer *text, bool add_special, const vlmp_ids *ids,
                       vlmp_prompt *out, vlmp_error *err)
{
    const char *eos = vlmp_tokenizer_named(p->tokenizer, "eos_token", NULL);
    vlmp_buffer prompt = {0}, answered = {0};
    vlmp_span *span = &out->answers[out->answer_count];
    bool merged = false, unused;
    int status = render(p, r, turn, true, NULL, &prompt, err);
    if (status == VLMP_OK) status = render(p, r, turn + 1, false, NULL, &answered, err);
    if (status == VLMP_OK) {
        size_t end = last_end(&answered, eos), least = prompt.length + strlen(eos);
        if (end >= least)
            answered.length = end;
        else
            trim_end(&answered);
        if (answered.length <= prompt.length ||
            !begins_with(&answered, prompt.data, prompt.length) ||
            !begins_with(text, answered.data, answered.length))
            status = changed_later(p, turn, err);
    }
    if (status == VLMP_OK)
        status = border(p, r, &prompt, add_special, ids, &span->from, &merged, err);
    if (status == VLMP_OK)
        status = border(p, r, &answered, add_special, ids, &span->end, &unused, err);
    out->border_moved = out->border_moved || merged;
    out->answer_count += status == VLMP_OK && span->end > span->from;
    vlmp_buffer_free(&prompt);
    vlmp_buffer_free(&answered);
    return status;
}

/* All answers; prompt: the last one's. */
static int find_answers(const vlmp_prompter *p, const vlmp_prompt_request *r,
                        const vlmp_buffer *prompt, const vlmp_buffer *text, bool add_special,
                        const vlmp_ids *ids, vlmp_prompt *out, vlmp_error *err)
{
    out->answers = vlmp_alloc(r->turn_count + 1, sizeof *out->answers);
    if (out->answers == NULL) return vlmp_fail_memory(err, "a prompt");
    for (size_t turn = 0; turn < r->turn_count; turn++)
        if (strcmp(r->turns[turn].role, "assistant") == 0)
            VLMP_TRY(find_answer(p, r, turn, text, add_special, ids, out, err));
    vlmp_span *last = &out->answers[out->answer_count];
    bool merged;
    VLMP_TRY(border(p, r, prompt, add_special, ids, &last->from, &merged, err));
    last->end = (int)ids->count;
    out->border_moved = out->border_moved || merged;
    out->answer_count++;
    return VLMP_OK;
}

static int make_ids(const vlmp_prompter *p, const vlmp_prompt_request *r, const vlmp_buffer *prompt,
                    const vlmp_buffer *text, vlmp_prompt *out, vlmp_error *err)
{
    const char *bos = vlmp_tokenizer_named(p->tokenizer, "bos_token", NULL);
    bool has_bos = bos != NULL && bos[0] != '\0' && begins_with(prompt, bos, strlen(bos));
    vlmp_ids ids = {0};
    int status = tokenize(p, r, text, !has_bos, &ids, err);
    if (status == VLMP_OK && r->answer != NULL)
        status = find_answers(p, r, prompt, text, !has_bos, &ids, out, err);
    if (status == VLMP_OK) status = expand(p, r, &ids, out, err);
    vlmp_ids_free(&ids);
    return status;
}

int vlmp_prompt_make(const vlmp_prompter *p, const vlmp_prompt_request *r, vlmp_prompt *out,
                     vlmp_error *err)
{
    *out = (vlmp_prompt){0};
    vlmp_buffer prompt = {0}, whole = {0};
    vlmp_buffer *text = r->answer == NULL ? &prompt : &whole;
    int status = render(p, r, r->turn_count, true, NULL, &prompt, err);
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
    free(prompt->answers);
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
                         "%s: there is no tokenizer.json and no tokenizer.model; convert the "
                         "tokenizer with transformers (save_pretrained of a fast tokenizer)%s",
                         source->path, vlmp_source_lack_hint(source));
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

static int find_in_json(vlmp_buffer *out, const vlmp_source *source, const char *name,
                        vlmp_error *err)
{
    size_t length = 0;
    const char *json = source->file(source, name, &length);
    if (json == NULL) return VLMP_OK;
    cJSON *root;
    VLMP_TRY(vlmp_json_parse(&root, json, length, name, err));
    const char *text = template_in(root);
    if (text != NULL) vlmp_buffer_append(out, text, strlen(text) + 1);
    cJSON_Delete(root);
    return out->failed ? vlmp_fail_memory(err, name) : VLMP_OK;
}

int vlmp_chat_template_find(vlmp_buffer *out, const char **name, const vlmp_source *source,
                            vlmp_error *err)
{
    static const char *const files[] = {"chat_template.jinja", "chat_template.json",
                                        "processor_config.json", "tokenizer_config.json"};
    size_t length = 0;
    const char *text = source->file(source, files[0], &length);
    if (text != NULL) {
        vlmp_buffer_append(out, text, length);
        vlmp_buffer_append(out, "", 1);
        if (out->failed) return vlmp_fail_memory(err, files[0]);
    }
    *name = files[0];
    for (size_t i = 1; i < sizeof files / sizeof *files && out->length == 0; i++) {
        *name = files[i];
        VLMP_TRY(find_in_json(out, source, files[i], err));
    }
    if (out->length > 0) {
        out->length--; /* the NUL */
        return VLMP_OK;
    }
    return vlmp_fail(err, VLMP_ERR_INPUT,
                     "%s: there is no chat template (chat_template.jinja, chat_template.json, or "
                     "'chat_template' in processor_config.json or tokenizer_config.json)%s",
                     source->path, vlmp_source_lack_hint(source));
}

int vlmp_chat_template_load(vlmp_chat_template **out, const vlmp_source *source, vlmp_error *err)
{
    vlmp_buffer text = {0};
    const char *name;
    *out = NULL;
    int status = vlmp_chat_template_find(&text, &name, source, err);
    if (status == VLMP_OK)
        status = vlmp_chat_template_create(out, text.data, text.length, name, err);
    vlmp_buffer_free(&text);
    return status;
}
