/* Reads tokenizer.json: the model, and the order in which the parts are read. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/json.h"
#include "src/text/tokenizer_internal.h"
#include "src/text/unicode/unicode.h"

#define MAX_ID ((int64_t)1 << 22)

static int out_of_memory(const vlmp_tokenizer *t, vlmp_error *err)
{
    return vlmp_fail_memory(err, t->where);
}

int vlmp_tokenizer_copy(vlmp_tokenizer *t, const char *text, vlmp_piece *out, vlmp_error *err)
{
    size_t length = strlen(text);
    char *copy = vlmp_arena_copy(&t->arena, text, length);
    if (copy == NULL || length > UINT32_MAX) return out_of_memory(t, err);
    *out = (vlmp_piece){copy, (uint32_t)length};
    return VLMP_OK;
}

const char *vlmp_tokenizer_type(const vlmp_tokenizer *t, const cJSON *node, const char *part,
                                vlmp_error *err)
{
    const cJSON *type = cJSON_IsObject(node) ? vlmp_json_get(node, "type") : NULL;
    if (cJSON_IsString(type)) return type->valuestring;
    vlmp_fail(err, VLMP_ERR_INPUT, "%s: %s has no 'type'; is this a tokenizer.json?", t->where,
              part);
    return NULL;
}

static int add_token(vlmp_tokenizer *t, const cJSON *item, vlmp_error *err)
{
    double id = item->valuedouble;
    if (!cJSON_IsNumber(item) || id < 0 || id >= (double)MAX_ID || id != (double)(int32_t)id)
        return vlmp_fail(err, VLMP_ERR_INPUT, "%s: token '%.100s': not an id below %lld", t->where,
                         item->string, (long long)MAX_ID);
    vlmp_piece piece;
    VLMP_TRY(vlmp_tokenizer_copy(t, item->string, &piece, err));
    if (!vlmp_piece_map_put(&t->vocabulary, piece.text, piece.length, (int32_t)id))
        return out_of_memory(t, err);
    t->tokens[(size_t)id] = piece;
    return VLMP_OK;
}

/* The ids that the file uses, added tokens included, so that arrays are allocated once. */
static int count_ids(vlmp_tokenizer *t, const cJSON *vocabulary, const cJSON *root,
                     const cJSON *config, size_t *tokens, vlmp_error *err)
{
    double largest = -1;
    *tokens = 0;
    for (const cJSON *item = vocabulary->child; item != NULL; item = item->next) {
        if (item->valuedouble > largest) largest = item->valuedouble;
        ++*tokens;
    }
    const cJSON *added = vlmp_json_get(root, "added_tokens");
    for (const cJSON *item = added == NULL ? NULL : added->child; item != NULL; item = item->next) {
        const cJSON *id = vlmp_json_get(item, "id");
        if (cJSON_IsNumber(id) && id->valuedouble > largest) largest = id->valuedouble;
    }
    const cJSON *more = config == NULL ? NULL : vlmp_json_get(config, "added_tokens_decoder");
    for (const cJSON *item = more == NULL ? NULL : more->child; item != NULL; item = item->next) {
        double id = item->string == NULL ? -1 : strtod(item->string, NULL);
        if (id > largest) largest = id;
    }
    if (!(largest < (double)MAX_ID))
        return vlmp_fail(err, VLMP_ERR_INPUT, "%s: a token id above %lld", t->where,
                         (long long)MAX_ID);
    t->size = (size_t)(largest + 1);
    return VLMP_OK;
}

static bool put_merge(vlmp_tokenizer *t, int32_t left, int32_t right, int32_t rank, int32_t id)
{
    uint64_t pair = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
    uint64_t hash = pair * 0x9e3779b97f4a7c15u;
    size_t slot = (size_t)(hash ^ hash >> 32) & t->merge_mask;
    while (t->merges[slot].id >= 0 && t->merges[slot].pair != pair)
        slot = (slot + 1) & t->merge_mask;
    t->merges[slot] = (vlmp_merge){pair, rank, id}; /* as in the reference, the last one wins */
    return true;
}

/* "left right" or ["left", "right"]. */
static bool merge_sides(const cJSON *item, vlmp_piece *left, vlmp_piece *right)
{
    if (cJSON_IsString(item)) {
        const char *text = item->valuestring, *space = strchr(text, ' ');
        if (space == NULL || strchr(space + 1, ' ') != NULL) return false;
        *left = (vlmp_piece){text, (uint32_t)(space - text)};
        *right = (vlmp_piece){space + 1, (uint32_t)strlen(space + 1)};
        return true;
    }
    if (!cJSON_IsArray(item) || cJSON_GetArraySize(item) != 2) return false;
    const cJSON *a = item->child, *b = a->next;
    if (!cJSON_IsString(a) || !cJSON_IsString(b)) return false;
    *left = (vlmp_piece){a->valuestring, (uint32_t)strlen(a->valuestring)};
    *right = (vlmp_piece){b->valuestring, (uint32_t)strlen(b->valuestring)};
    return true;
}

static int add_merge(vlmp_tokenizer *t, const cJSON *item, int32_t rank, vlmp_buffer *joined,
                     vlmp_error *err)
{
    vlmp_piece left, right;
    if (!merge_sides(item, &left, &right))
        return vlmp_fail(err, VLMP_ERR_INPUT, "%s: merge %d is neither \"a b\" nor [\"a\", \"b\"]",
                         t->where, rank);
    joined->length = 0;
    vlmp_buffer_append(joined, left.text, left.length);
    vlmp_buffer_append(joined, right.text, right.length);
    if (joined->failed) return out_of_memory(t, err);
    int32_t a = vlmp_piece_map_find(&t->vocabulary, left.text, left.length);
    int32_t b = vlmp_piece_map_find(&t->vocabulary, right.text, right.length);
    int32_t both = vlmp_piece_map_find(&t->vocabulary, joined->data, joined->length);
    if (a < 0 || b < 0 || both < 0)
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: merge %d ('%.60s') uses or makes a token that the vocabulary lacks",
                         t->where, rank, joined->data);
    put_merge(t, a, b, rank, both);
    return VLMP_OK;
}

static int read_merges(vlmp_tokenizer *t, const cJSON *merges, vlmp_error *err)
{
    size_t count = 0, slots = 16;
    for (const cJSON *item = merges->child; item != NULL; item = item->next)
        count++;
    if (count > INT32_MAX) return vlmp_fail(err, VLMP_ERR_INPUT, "%s: too many merges", t->where);
    while (slots < 2 * count)
        slots *= 2;
    t->merges = vlmp_alloc(slots, sizeof *t->merges);
    if (t->merges == NULL) return out_of_memory(t, err);
    t->merge_mask = slots - 1;
    for (size_t i = 0; i < slots; i++)
        t->merges[i].id = -1;
    vlmp_buffer joined = {0};
    int status = VLMP_OK;
    int32_t rank = 0;
    for (const cJSON *item = merges->child; item != NULL && status == VLMP_OK; item = item->next)
        status = add_merge(t, item, rank++, &joined, err);
    vlmp_buffer_free(&joined);
    return status;
}

static int read_options(vlmp_tokenizer *t, const cJSON *model, vlmp_error *err)
{
    static const char *const unsupported[] = {"continuing_subword_prefix", "end_of_word_suffix"};
    for (size_t i = 0; i < 2; i++) {
        const char *text;
        VLMP_TRY(vlmp_json_string(model, unsupported[i], "", &text, t->where, err));
        if (text[0] != '\0')
            return vlmp_fail(err, VLMP_ERR_INPUT, "%s: the BPE model's %s '%.50s' is not supported",
                             t->where, unsupported[i], text);
    }
    double dropout;
    VLMP_TRY(vlmp_json_double(model, "dropout", 0, &dropout, t->where, err));
    if (dropout != 0)
        return vlmp_fail(err, VLMP_ERR_INPUT, "%s: a BPE model with dropout is not supported",
                         t->where);
    VLMP_TRY(vlmp_json_bool(model, "byte_fallback", false, &t->byte_fallback, t->where, err));
    VLMP_TRY(vlmp_json_bool(model, "fuse_unk", false, &t->fuse_unknown, t->where, err));
    VLMP_TRY(vlmp_json_bool(model, "ignore_merges", false, &t->ignore_merges, t->where, err));
    const char *unknown;
    VLMP_TRY(vlmp_json_string(model, "unk_token", NULL, &unknown, t->where, err));
    t->unknown = -1;
    if (unknown == NULL) return VLMP_OK;
    t->unknown = vlmp_piece_map_find(&t->vocabulary, unknown, strlen(unknown));
    if (t->unknown < 0)
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: the unknown token '%.100s' is not in the vocabulary", t->where,
                         unknown);
    return VLMP_OK;
}

static void index_characters(vlmp_tokenizer *t)
{
    static const char hex[] = "0123456789ABCDEF";
    for (unsigned i = 0; i < 256; i++) {
        char name[] = {'<', '0', 'x', hex[i >> 4], hex[i & 15], '>'};
        t->bytes[i] = vlmp_piece_map_find(&t->vocabulary, name, sizeof name);
    }
    for (uint32_t c = 0; c < 1024; c++) {
        char text[4];
        size_t length = vlmp_utf8_put(text, c);
        t->characters[c] = vlmp_piece_map_find(&t->vocabulary, text, length);
    }
}

int vlmp_tokenizer_read_model(vlmp_tokenizer *t, const cJSON *model, vlmp_error *err)
{
    const cJSON *vocabulary = vlmp_json_get(model, "vocab");
    for (const cJSON *item = vocabulary->child; item != NULL; item = item->next)
        VLMP_TRY(add_token(t, item, err));
    const cJSON *merges = vlmp_json_get(model, "merges");
    if (!cJSON_IsArray(merges))
        return vlmp_fail(err, VLMP_ERR_INPUT, "%s: the model has no list of merges", t->where);
    VLMP_TRY(read_merges(t, merges, err));
    VLMP_TRY(read_options(t, model, err));
    index_characters(t);
    return VLMP_OK;
}

static int read_parts(vlmp_tokenizer *t, const cJSON *root, const cJSON *config, vlmp_error *err)
{
    const cJSON *model = vlmp_json_get(root, "model");
    const cJSON *type = cJSON_IsObject(model) ? vlmp_json_get(model, "type") : NULL;
    const cJSON *vocabulary = cJSON_IsObject(model) ? vlmp_json_get(model, "vocab") : NULL;
    /* Old files leave the type out; only BPE has merges. */
    if (type != NULL && (!cJSON_IsString(type) || strcmp(type->valuestring, "BPE") != 0))
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: the tokenizer's model is '%.50s'; only BPE is supported", t->where,
                         cJSON_IsString(type) ? type->valuestring : "?");
    if (!cJSON_IsObject(vocabulary))
        return vlmp_fail(err, VLMP_ERR_INPUT, "%s: 'model' has no 'vocab' of a BPE", t->where);
    size_t count;
    VLMP_TRY(count_ids(t, vocabulary, root, config, &count, err));
    t->tokens = vlmp_calloc(t->size + 1, sizeof *t->tokens);
    t->special = vlmp_calloc(t->size + 1, sizeof *t->special);
    if (t->tokens == NULL || t->special == NULL || !vlmp_piece_map_init(&t->vocabulary, count))
        return out_of_memory(t, err);
    VLMP_TRY(vlmp_tokenizer_read_model(t, model, err));
    VLMP_TRY(vlmp_tokenizer_read_normalizer(t, vlmp_json_get(root, "normalizer"), err));
    VLMP_TRY(vlmp_tokenizer_read_splitter(t, vlmp_json_get(root, "pre_tokenizer"), err));
    VLMP_TRY(vlmp_tokenizer_read_decoder(t, vlmp_json_get(root, "decoder"), err));
    VLMP_TRY(vlmp_tokenizer_read_processor(t, vlmp_json_get(root, "post_processor"), err));
    return vlmp_tokenizer_read_added(t, root, config, err);
}

static int parse(vlmp_tokenizer *t, const char *json, size_t json_length, const char *config,
                 size_t config_length, vlmp_error *err)
{
    if (json_length > VLMP_TOKENIZER_MAX_BYTES)
        return vlmp_fail(err, VLMP_ERR_INPUT, "%s: %zu bytes, more than %zu", t->where, json_length,
                         VLMP_TOKENIZER_MAX_BYTES);
    size_t valid = vlmp_utf8_valid(json, json_length);
    if (valid < json_length)
        return vlmp_fail(err, VLMP_ERR_INPUT, "%s: byte %zu: not UTF-8", t->where, valid);
    cJSON *root = NULL, *config_root = NULL;
    int status = vlmp_json_parse(&root, json, json_length, t->where, err);
    if (status == VLMP_OK && config != NULL)
        status = vlmp_json_parse(&config_root, config, config_length, t->config_where, err);
    if (status == VLMP_OK && !cJSON_IsObject(root))
        status = vlmp_fail(err, VLMP_ERR_INPUT, "%s: is not an object", t->where);
    if (status == VLMP_OK) status = read_parts(t, root, config_root, err);
    cJSON_Delete(root);
    cJSON_Delete(config_root);
    return status;
}

/* The path of a file of the folder, for messages. NULL: no memory. */
static char *name_file(vlmp_tokenizer *t, const char *folder, const char *name)
{
    size_t length = strlen(folder) + strlen(name) + 2;
    char *path = vlmp_arena_alloc(&t->arena, length, 1);
    if (path != NULL) snprintf(path, length, "%s/%s", folder, name);
    return path;
}

int vlmp_tokenizer_create(vlmp_tokenizer **out, const char *json, size_t json_length,
                          const char *config, size_t config_length, const char *where,
                          vlmp_error *err)
{
    *out = NULL;
    vlmp_tokenizer *t = calloc(1, sizeof *t);
    if (t == NULL) return vlmp_fail_memory(err, where);
    t->where = name_file(t, where, "tokenizer.json");
    t->config_where = name_file(t, where, "tokenizer_config.json");
    int status = t->where == NULL || t->config_where == NULL
                     ? vlmp_fail_memory(err, where)
                     : parse(t, json, json_length, config, config_length, err);
    if (status != VLMP_OK) {
        vlmp_tokenizer_free(t);
        return status;
    }
    *out = t;
    return VLMP_OK;
}

void vlmp_tokenizer_free(vlmp_tokenizer *t)
{
    if (t == NULL) return;
    vlmp_piece_map_free(&t->vocabulary);
    vlmp_piece_map_free(&t->added_map);
    vlmp_trie_free(&t->raw);
    vlmp_trie_free(&t->normalized);
    vlmp_ids_free(&t->before);
    vlmp_ids_free(&t->after);
    free(t->tokens);
    free(t->special);
    free(t->merges);
    vlmp_arena_free(&t->arena);
    free(t);
}
