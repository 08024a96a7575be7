/* Added tokens: what tokenizer.json and tokenizer_config.json list beside the vocabulary. */
#include <stdlib.h>
#include <string.h>

#include "src/base/json.h"
#include "src/text/tokenizer_internal.h"

#define MAX_PATTERN_BYTES ((size_t)16 << 20)

static int read_flags(const vlmp_tokenizer *t, const cJSON *node, vlmp_added *a, vlmp_error *err)
{
    VLMP_TRY(vlmp_json_bool(node, "single_word", false, &a->single_word, t->where, err));
    VLMP_TRY(vlmp_json_bool(node, "lstrip", false, &a->lstrip, t->where, err));
    VLMP_TRY(vlmp_json_bool(node, "rstrip", false, &a->rstrip, t->where, err));
    VLMP_TRY(vlmp_json_bool(node, "special", false, &a->special, t->where, err));
    return vlmp_json_bool(node, "normalized", !a->special, &a->normalized, t->where, err);
}

static int normalize_pattern(vlmp_tokenizer *t, vlmp_added *a, vlmp_error *err)
{
    a->pattern = a->content;
    if (!a->normalized || t->normalizer_count == 0) return VLMP_OK;
    vlmp_buffer text = {0};
    int status = vlmp_normalize(t, a->content.text, a->content.length, &text, err);
    t->pattern_bytes += text.length;
    if (status == VLMP_OK && t->pattern_bytes > MAX_PATTERN_BYTES)
        status = vlmp_fail(err, VLMP_ERR_INPUT,
                           "%s: the normal forms of the added tokens have more than %zu bytes",
                           t->where, MAX_PATTERN_BYTES);
    if (status == VLMP_OK) status = vlmp_tokenizer_copy(t, text.data, &a->pattern, err);
    vlmp_buffer_free(&text);
    return status;
}

/* Adds a token, or changes its flags. */
static int put_added(vlmp_tokenizer *t, const char *content, int32_t id, const cJSON *flags,
                     vlmp_error *err)
{
    vlmp_added a = {.id = id};
    VLMP_TRY(read_flags(t, flags, &a, err));
    VLMP_TRY(vlmp_tokenizer_copy(t, content, &a.content, err));
    if (a.content.length == 0) return VLMP_OK;
    VLMP_TRY(normalize_pattern(t, &a, err));
    int32_t index = vlmp_piece_map_find(&t->added_map, a.content.text, a.content.length);
    if (index < 0) {
        index = (int32_t)t->added_count++;
        if (!vlmp_piece_map_put(&t->added_map, a.content.text, a.content.length, index))
            return vlmp_fail_memory(err, t->where);
    }
    t->added[index] = a;
    /* What decoding prints: the reference shows a normalized token in its normal form. */
    t->tokens[id] = a.pattern;
    t->special[id] = a.special;
    return VLMP_OK;
}

static int read_listed(vlmp_tokenizer *t, const cJSON *list, vlmp_error *err)
{
    for (const cJSON *item = list->child; item != NULL; item = item->next) {
        const cJSON *content = cJSON_IsObject(item) ? vlmp_json_get(item, "content") : NULL;
        const cJSON *id = cJSON_IsObject(item) ? vlmp_json_get(item, "id") : NULL;
        if (!cJSON_IsString(content) || !cJSON_IsNumber(id) || id->valuedouble < 0 ||
            id->valuedouble >= (double)t->size)
            return vlmp_fail(err, VLMP_ERR_INPUT,
                             "%s: an added token without a content and a valid id", t->where);
        VLMP_TRY(put_added(t, content->valuestring, (int32_t)id->valuedouble, item, err));
    }
    return VLMP_OK;
}

/* tokenizer_config's added_tokens_decoder: {"32000": {"content": …, flags}}. The vocabulary's own
 * id wins, as in the reference. */
static int read_decoder_list(vlmp_tokenizer *t, const cJSON *config, vlmp_error *err)
{
    const cJSON *list = vlmp_json_get(config, "added_tokens_decoder");
    for (const cJSON *item = cJSON_IsObject(list) ? list->child : NULL; item != NULL;
         item = item->next) {
        const cJSON *content = cJSON_IsObject(item) ? vlmp_json_get(item, "content") : NULL;
        char *end;
        long id = strtol(item->string, &end, 10);
        if (!cJSON_IsString(content) || *end != '\0' || end == item->string || id < 0 ||
            (size_t)id >= t->size)
            return vlmp_fail(err, VLMP_ERR_INPUT, "%s: added_tokens_decoder: '%.50s' is no token",
                             t->config_where, item->string);
        const char *text = content->valuestring;
        if (vlmp_piece_map_find(&t->added_map, text, strlen(text)) >= 0) continue;
        int32_t own = vlmp_piece_map_find(&t->vocabulary, text, strlen(text));
        VLMP_TRY(put_added(t, text, own >= 0 ? own : (int32_t)id, item, err));
    }
    return VLMP_OK;
}

static const char *token_text(const cJSON *node)
{
    if (cJSON_IsObject(node)) node = vlmp_json_get(node, "content");
    return cJSON_IsString(node) ? node->valuestring : NULL;
}

/* A token that the configuration names is special, and is found in a text. One that the vocabulary
 * lacks stays unknown: it has no row in the embedding. */
static int read_named(vlmp_tokenizer *t, const char *name, const char *text, vlmp_error *err)
{
    int32_t id = vlmp_tokenizer_find(t, text);
    if (id >= 0) {
        if (vlmp_piece_map_find(&t->added_map, text, strlen(text)) < 0) {
            cJSON *flags = cJSON_CreateObject();
            int status = flags != NULL && cJSON_AddBoolToObject(flags, "special", true) != NULL
                             ? put_added(t, text, id, flags, err)
                             : vlmp_fail_memory(err, t->where);
            cJSON_Delete(flags);
            VLMP_TRY(status);
        }
        t->special[id] = true;
    }
    if (name == NULL) return VLMP_OK;
    vlmp_named *n = &t->named[t->named_count];
    n->name = vlmp_arena_copy(&t->arena, name, strlen(name));
    n->content = vlmp_arena_copy(&t->arena, text, strlen(text));
    n->id = id;
    if (n->name == NULL || n->content == NULL) return vlmp_fail_memory(err, t->where);
    t->named_count++;
    return VLMP_OK;
}

static const char *const list_keys[] = {"additional_special_tokens", "extra_special_tokens"};

static int read_config(vlmp_tokenizer *t, const cJSON *config, vlmp_error *err)
{
    VLMP_TRY(read_decoder_list(t, config, err));
    for (const cJSON *item = config->child; item != NULL; item = item->next) {
        size_t length = strlen(item->string);
        const char *text = token_text(item);
        if (text == NULL || length < 7 || strcmp(item->string + length - 6, "_token") != 0)
            continue;
        VLMP_TRY(read_named(t, item->string, text, err));
    }
    for (size_t i = 0; i < 2; i++) {
        const cJSON *list = vlmp_json_get(config, list_keys[i]);
        for (const cJSON *item = list == NULL ? NULL : list->child; item != NULL;
             item = item->next) {
            const char *text = token_text(item);
            /* An object gives names to its tokens: {"image_token": "<image>"}. */
            if (text != NULL) VLMP_TRY(read_named(t, item->string, text, err));
        }
    }
    return VLMP_OK;
}

static size_t children(const cJSON *node)
{
    size_t count = 0;
    for (const cJSON *item = node == NULL ? NULL : node->child; item != NULL; item = item->next)
        count++;
    return count;
}

static int build_tries(vlmp_tokenizer *t, vlmp_error *err)
{
    for (size_t i = 0; i < t->added_count; i++) {
        const vlmp_added *a = &t->added[i];
        vlmp_trie *trie = a->normalized ? &t->normalized : &t->raw;
        if (a->pattern.length > 0 &&
            !vlmp_trie_put(trie, a->pattern.text, a->pattern.length, (int32_t)i))
            return vlmp_fail_memory(err, t->where);
    }
    return VLMP_OK;
}

int vlmp_tokenizer_read_added(vlmp_tokenizer *t, const cJSON *root, const cJSON *config,
                              vlmp_error *err)
{
    const cJSON *list = vlmp_json_get(root, "added_tokens");
    if (list != NULL && !cJSON_IsArray(list))
        return vlmp_fail(err, VLMP_ERR_INPUT, "%s: 'added_tokens' is not a list", t->where);
    if (config != NULL && !cJSON_IsObject(config))
        return vlmp_fail(err, VLMP_ERR_INPUT, "%s: is not an object", t->config_where);
    size_t most = children(list), named = 0;
    if (config != NULL) {
        named = children(config);
        for (size_t i = 0; i < 2; i++)
            named += children(vlmp_json_get(config, list_keys[i]));
        most += named + children(vlmp_json_get(config, "added_tokens_decoder"));
    }
    t->added = vlmp_arena_alloc(&t->arena, most + 1, sizeof *t->added);
    t->named = vlmp_arena_alloc(&t->arena, named + 1, sizeof *t->named);
    if (t->added == NULL || t->named == NULL || !vlmp_piece_map_init(&t->added_map, most))
        return vlmp_fail_memory(err, t->where);
    if (list != NULL) VLMP_TRY(read_listed(t, list, err));
    if (config != NULL) VLMP_TRY(read_config(t, config, err));
    return build_tries(t, err);
}

const char *vlmp_tokenizer_named(const vlmp_tokenizer *t, const char *name, int32_t *id)
{
    for (size_t i = 0; i < t->named_count; i++) {
        if (strcmp(t->named[i].name, name) != 0) continue;
        if (id != NULL) *id = t->named[i].id;
        return t->named[i].content;
    }
    if (id != NULL) *id = -1;
    return NULL;
}

bool vlmp_tokenizer_named_at(const vlmp_tokenizer *t, size_t index, const char **name,
                             const char **content)
{
    if (index >= t->named_count) return false;
    *name = t->named[index].name;
    *content = t->named[index].content;
    return true;
}

int32_t vlmp_tokenizer_find(const vlmp_tokenizer *t, const char *content)
{
    size_t length = strlen(content);
    int32_t index = vlmp_piece_map_find(&t->added_map, content, length);
    if (index >= 0) return t->added[index].id;
    return vlmp_piece_map_find(&t->vocabulary, content, length);
}
