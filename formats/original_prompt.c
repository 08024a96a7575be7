/* The prompts of an original LLaVA folder: the token that stands for a picture, and the
 * conversations that its code knows (conversation.py) as chat templates. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/original.h"

#define IMAGE "<image>"

/* A message's pictures, each on a line of its own, and its text. */
#define CONTENT                                                                          \
    "{% for part in m['content'] %}{% if part['type'] == 'image' %}{{ '" IMAGE "\\n' }}" \
    "{% endif %}{% endfor %}"                                                            \
    "{% for part in m['content'] %}{% if part['type'] == 'text' %}{{ part['text'] }}"    \
    "{% endif %}{% endfor %}"

/* system: what a conversation begins with, unless its first message says something else. */
#define WITH_SYSTEM(text)                                                                   \
    "{% if messages[0]['role'] == 'system' %}"                                              \
    "{% set system = messages[0]['content'][0]['text'] %}{% set messages = messages[1:] %}" \
    "{% else %}{% set system = '" text "' %}{% endif %}"

#define FOR_EACH "{% for m in messages %}"
#define END      "{% endfor %}{% if add_generation_prompt %}"

static const char vicuna_v1[] =
    WITH_SYSTEM("A chat between a curious user and an artificial "
                "intelligence assistant. The assistant gives "
                "helpful, detailed, and polite answers to the user\\'s "
                "questions.") "{{ system + ' ' }}" FOR_EACH
                              "{% if m['role'] == 'user' %}{{ 'USER: ' "
                              "}}" CONTENT "{{ ' ' }}"
                              "{% else %}{{ 'ASSISTANT: ' }}" CONTENT
                              "{{ eos_token }}{% endif %}" END "{{ 'ASSISTANT:' }}{% endif %}";

static const char mistral_instruct[] = FOR_EACH
    "{% if m['role'] == 'user' %}{{ '[INST] ' }}" CONTENT "{{ ' [/INST]' }}"
    "{% elif m['role'] == 'assistant' %}{{ ' ' }}" CONTENT "{{ ' ' + eos_token }}"
    "{% else %}{{ raise_exception('the conversation mistral_instruct has no system text') }}"
    "{% endif %}{% endfor %}";

static const char chatml_direct[] = WITH_SYSTEM(
    "Answer the questions.") "{{ '<|im_start|>system\\n' + system + '<|im_end|>' }}" FOR_EACH
                             "{{ '<|im_start|>' + m['role'] + '\\n' }}" CONTENT
                             "{{ '<|im_end|>' }}" END "{{ '<|im_start|>assistant\\n' }}{% endif %}";

static const char qwen_1_5[] =
    WITH_SYSTEM("You are a helpful assistant.") "{{ '<|im_start|>system\\n' + system + "
                                                "'<|im_end|>\\n' }}" FOR_EACH
                                                "{{ '<|im_start|>' + m['role'] + '\\n' }}" CONTENT
                                                "{{ '<|im_end|>\\n' }}" END
                                                "{{ '<|im_start|>assistant\\n' }}{% endif %}";

#define HEADER(role) "{{ '<|start_header_id|>' + " role " + '<|end_header_id|>\\n\\n' }}"

static const char llava_llama_3[] = WITH_SYSTEM(
    "You are a helpful language and vision assistant. You are able to understand the visual "
    "content that the user provides, and assist the user with a variety of tasks using natural "
    "language.") "{{ bos_token }}" HEADER("'system'") "{{ system + '<|eot_id|>' }}" FOR_EACH
    HEADER("m['role']") CONTENT "{{ '<|eot_id|>' }}" END HEADER("'assistant'") "{% endif %}";

/* What the tokenizer's files tell. */
struct tokens {
    int next;  /* the first id above all */
    int image; /* −1: none */
    bool im_start, start_header;
};

static void see(struct tokens *tokens, const char *text, double id)
{
    if (!(id >= 0 && id < 1 << 24)) return; /* refused where the tokenizer is read */
    if (id >= tokens->next) tokens->next = (int)id + 1;
    if (strcmp(text, IMAGE) == 0) tokens->image = (int)id;
    tokens->im_start |= strcmp(text, "<|im_start|>") == 0;
    tokens->start_header |= strcmp(text, "<|start_header_id|>") == 0;
}

static const char *text_of(const cJSON *object, const char *key)
{
    const cJSON *item = vlmp_json_get(object, key);
    return cJSON_IsString(item) ? item->valuestring : "";
}

/* Both may be NULL. */
static void see_all(struct tokens *tokens, const cJSON *tokenizer, const cJSON *config)
{
    const cJSON *vocabulary = vlmp_json_get(vlmp_json_get(tokenizer, "model"), "vocab");
    const cJSON *added = vlmp_json_get(tokenizer, "added_tokens"), *item;
    const cJSON *more = vlmp_json_get(config, "added_tokens_decoder");
    if (cJSON_IsObject(vocabulary))
        cJSON_ArrayForEach(item, vocabulary) see(tokens, item->string, item->valuedouble);
    cJSON_ArrayForEach(item, added)
    {
        const cJSON *id = vlmp_json_get(item, "id");
        see(tokens, text_of(item, "content"), cJSON_IsNumber(id) ? id->valuedouble : -1);
    }
    if (cJSON_IsObject(more))
        cJSON_ArrayForEach(item, more)
            see(tokens, text_of(item, "content"), strtod(item->string, NULL));
}

/* tokenizer_config.json with one more token. */
static int add_image(vlmp_source_files *files, const cJSON *config, int id, vlmp_arena *arena,
                     vlmp_error *err)
{
    static const char list[] = "added_tokens_decoder";
    const cJSON *item, *more = vlmp_json_get(config, list);
    vlmp_json_writer w = {.indent = 2};
    char key[16];
    snprintf(key, sizeof key, "%d", id);
    vlmp_json_open(&w, '{');
    vlmp_json_pair_open(&w, list, '{');
    if (cJSON_IsObject(more)) cJSON_ArrayForEach(item, more)
        {
            vlmp_json_key(&w, item->string);
            vlmp_json_put_tree(&w, item);
        }
    vlmp_json_pair_open(&w, key, '{');
    vlmp_json_pair_string(&w, "content", IMAGE);
    static const char *const flags[] = {"lstrip", "normalized", "rstrip", "single_word"};
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++)
        vlmp_json_pair_bool(&w, flags[i], false);
    vlmp_json_pair_bool(&w, "special", true);
    vlmp_json_close(&w, '}');
    vlmp_json_close(&w, '}');
    cJSON_ArrayForEach(item, config)
    {
        if (strcmp(item->string, list) == 0) continue;
        vlmp_json_key(&w, item->string);
        vlmp_json_put_tree(&w, item);
    }
    vlmp_json_close(&w, '}');
    return vlmp_source_files_write(files, "tokenizer_config.json", &w, arena, err);
}

static const char *conversation(const struct tokens *tokens, const char *text)
{
    if (strcmp(text, "qwen2") == 0) return qwen_1_5;
    if (strcmp(text, "mistral") == 0) return mistral_instruct;
    return tokens->start_header ? llava_llama_3 : tokens->im_start ? chatml_direct : vicuna_v1;
}

int vlmp_original_prompts(int *image_token, vlmp_source_files *files, const cJSON *config,
                          const char *text, const char *folder, vlmp_arena *arena, vlmp_error *err)
{
    struct tokens tokens = {.image = -1};
    cJSON *tokenizer = NULL, *settings = NULL;
    int status = vlmp_source_files_object(&tokenizer, files, "tokenizer.json", folder, err);
    if (status == VLMP_OK)
        status = vlmp_source_files_object(&settings, files, "tokenizer_config.json", folder, err);
    if (status == VLMP_OK && tokenizer != NULL) {
        see_all(&tokens, tokenizer, settings);
        *image_token = tokens.image >= 0 ? tokens.image : tokens.next;
        if (tokens.image < 0) status = add_image(files, settings, tokens.next, arena, err);
    } else if (status == VLMP_OK) {
        /* Weights can be quantized without; prompts are refused for want of a tokenizer. */
        const cJSON *rows = vlmp_json_get(config, "vocab_size");
        *image_token = cJSON_IsNumber(rows) ? rows->valueint : 32000;
    }
    cJSON_Delete(tokenizer);
    cJSON_Delete(settings);
    VLMP_TRY(status);
    if (vlmp_source_files_find(files, "chat_template.jinja") != NULL ||
        vlmp_source_files_find(files, "chat_template.json") != NULL)
        return VLMP_OK;
    const char *template = conversation(&tokens, text);
    return vlmp_source_files_put(files, "chat_template.jinja", template, strlen(template), err);
}
