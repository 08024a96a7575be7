/* A SentencePiece model as tokenizer.json. SentencePiece merges the neighbours that make the piece
 * of the highest score; as a list of merges that is every cut of a piece into two others, by the
 * score of the whole, then by id. */
#include "src/text/sentencepiece.h"

#include <stdlib.h>
#include <string.h>

#include "src/text/tokenizer_internal.h"
#include "src/text/unicode/unicode.h"

#define META "\xe2\x96\x81" /* "▁", SentencePiece's space */

/* A token of the folder's own, beside the pieces or in place of one. */
typedef struct {
    vlmp_piece content;
    int32_t id;
    const cJSON *flags; /* of added_tokens_decoder; NULL: none */
} added_token;

typedef struct {
    const vlmp_sentencepiece *m;
    const vlmp_sentencepiece_beside *beside;
    vlmp_piece *names; /* [count]: the pieces, as the folder calls them */
    bool *renamed;     /* [count]: an added token has the id */
    vlmp_piece_map ids;
    added_token *added;
    size_t added_count;
    vlmp_error *err;
} converter;

static int out_of_memory(const converter *c)
{
    return vlmp_fail_memory(c->err, c->m->where);
}

/* {"32000": {"content": …}} or {"<image>": 32000}. */
static int read_added(converter *c, const cJSON *item, bool decoder, added_token *out)
{
    const cJSON *content = decoder ? vlmp_json_get(item, "content") : NULL;
    const char *text = content != NULL ? content->valuestring : decoder ? NULL : item->string;
    char *end = NULL;
    double id = decoder ? strtod(item->string, &end) : item->valuedouble;
    bool number = decoder ? end != item->string && *end == '\0' : cJSON_IsNumber(item);
    if (text == NULL || text[0] == '\0' || !number || !(id >= 0) ||
        id >= (double)VLMP_SENTENCEPIECE_MAX_PIECES || id != (double)(int32_t)id)
        return vlmp_fail(c->err, VLMP_ERR_INPUT,
                         "%s: the added token '%.60s' needs a text and an id from 0 to %zu",
                         decoder ? c->beside->config_where : c->beside->added_where, item->string,
                         VLMP_SENTENCEPIECE_MAX_PIECES - 1);
    *out = (added_token){{text, (uint32_t)strlen(text)}, (int32_t)id, decoder ? item : NULL};
    return VLMP_OK;
}

static int list_added(converter *c)
{
    const cJSON *list = vlmp_json_get(c->beside->config, "added_tokens_decoder"), *item;
    bool decoder = cJSON_IsObject(list);
    if (!decoder) list = c->beside->added;
    int count = list == NULL ? 0 : cJSON_GetArraySize(list);
    c->added = vlmp_alloc((size_t)count, sizeof *c->added);
    if (c->added == NULL) return out_of_memory(c);
    cJSON_ArrayForEach(item, list)
        VLMP_TRY(read_added(c, item, decoder, &c->added[c->added_count++]));
    return VLMP_OK;
}

/* An added token with the id of a piece is another name of it, unless that is a piece's that keeps
 * its own: the token then is that one. */
static int name_pieces(converter *c)
{
    size_t count = c->m->count;
    c->names = vlmp_alloc(count, sizeof *c->names);
    c->renamed = vlmp_calloc(count, sizeof *c->renamed);
    if (c->names == NULL || c->renamed == NULL ||
        !vlmp_piece_map_init(&c->ids, count + c->added_count))
        return out_of_memory(c);
    for (size_t i = 0; i < c->added_count; i++)
        if ((size_t)c->added[i].id < count) c->renamed[c->added[i].id] = true;
    for (size_t id = 0; id < count; id++) {
        const vlmp_sp_piece *piece = &c->m->pieces[id];
        c->names[id] = (vlmp_piece){piece->text, (uint32_t)piece->length};
        if (c->renamed[id]) continue;
        if (vlmp_piece_map_find(&c->ids, piece->text, piece->length) >= 0)
            return vlmp_fail(c->err, VLMP_ERR_INPUT,
                             "%s: the piece '%.*s' appears twice; download it again", c->m->where,
                             (int)piece->length, piece->text);
        if (!vlmp_piece_map_put(&c->ids, piece->text, piece->length, (int32_t)id))
            return out_of_memory(c);
    }
    for (size_t i = 0; i < c->added_count; i++) {
        added_token *a = &c->added[i];
        int32_t own = vlmp_piece_map_find(&c->ids, a->content.text, a->content.length);
        if (own >= 0) a->id = own;
        if (own < 0 && (size_t)a->id < count) c->names[a->id] = a->content;
        if (own < 0 && !vlmp_piece_map_put(&c->ids, a->content.text, a->content.length, a->id))
            return out_of_memory(c);
    }
    return VLMP_OK;
}

/* SentencePiece finds such pieces whole in a text, wherever they stand. As added tokens of the
 * folder they are found so too; otherwise there is no place for them. */
static int check_user_defined(const converter *c)
{
    for (size_t id = 0; id < c->m->count; id++)
        if (c->m->pieces[id].type == VLMP_SP_USER_DEFINED && !c->renamed[id])
            return vlmp_fail(c->err, VLMP_ERR_INPUT,
                             "%s: the piece '%.*s' is user-defined and not among "
                             "the folder's added tokens; save a tokenizer.json "
                             "(AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER))",
                             c->m->where, (int)c->m->pieces[id].length, c->m->pieces[id].text);
    return VLMP_OK;
}

/* Where the model puts a space in front and the configuration says no, Llama's class in
 * transformers puts none; AutoTokenizer of a LLaVA and SentencePiece itself do. */
static int check_prefix(const converter *c)
{
    bool prefix;
    VLMP_TRY(vlmp_json_bool(c->beside->config, "add_prefix_space", c->m->dummy_prefix, &prefix,
                            c->beside->config_where, c->err));
    if (prefix || !c->m->dummy_prefix) return VLMP_OK;
    return vlmp_fail(c->err, VLMP_ERR_INPUT,
                     "%s: 'add_prefix_space' is false, but tokenizer.model puts a space in front; "
                     "readers differ on which counts: save a tokenizer.json with the class that "
                     "the model was trained with (its save_pretrained), or remove the key",
                     c->beside->config_where);
}

static int put_token(const converter *c, vlmp_json_writer *w, const vlmp_piece *content, int32_t id,
                     const cJSON *flags, bool special)
{
    static const char *const names[] = {"single_word", "lstrip", "rstrip"};
    vlmp_json_open(w, '{');
    vlmp_json_pair_int(w, "id", id);
    vlmp_json_key(w, "content");
    vlmp_json_put_bytes(w, content->text, content->length);
    bool flag;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        VLMP_TRY(vlmp_json_bool(flags, names[i], false, &flag, c->beside->config_where, c->err));
        vlmp_json_pair_bool(w, names[i], flag);
    }
    VLMP_TRY(vlmp_json_bool(flags, "special", special, &special, c->beside->config_where, c->err));
    VLMP_TRY(vlmp_json_bool(flags, "normalized", !special, &flag, c->beside->config_where, c->err));
    /* What is cut out of the text as it stands, so that each stretch gets its own space. */
    vlmp_json_pair_bool(w, "normalized", flag && !c->m->dummy_prefix);
    vlmp_json_pair_bool(w, "special", special);
    vlmp_json_close(w, '}');
    return VLMP_OK;
}

static int put_added(const converter *c, vlmp_json_writer *w)
{
    vlmp_json_pair_open(w, "added_tokens", '[');
    for (size_t id = 0; id < c->m->count; id++) {
        vlmp_sp_type type = c->m->pieces[id].type;
        if ((type == VLMP_SP_UNKNOWN || type == VLMP_SP_CONTROL) && !c->renamed[id])
            VLMP_TRY(put_token(c, w, &c->names[id], (int32_t)id, NULL, true));
    }
    for (size_t i = 0; i < c->added_count; i++) {
        const added_token *a = &c->added[i];
        VLMP_TRY(put_token(c, w, &a->content, a->id, a->flags, false));
    }
    vlmp_json_close(w, ']');
    return VLMP_OK;
}

static void put_type(vlmp_json_writer *w, const char *type)
{
    vlmp_json_open(w, '{');
    vlmp_json_pair_string(w, "type", type);
}

static void put_replace(vlmp_json_writer *w, const char *from, const char *to)
{
    put_type(w, "Replace");
    vlmp_json_pair_open(w, "pattern", '{');
    vlmp_json_pair_string(w, "String", from);
    vlmp_json_close(w, '}');
    vlmp_json_pair_string(w, "content", to);
    vlmp_json_close(w, '}');
}

/* Normalizer and pre-tokenizer: spaces to "▁", and one in front. */
static void put_spaces(const converter *c, vlmp_json_writer *w)
{
    bool first = c->m->dummy_prefix && !c->beside->legacy;
    vlmp_json_key(w, "normalizer");
    if (first) {
        vlmp_json_put_null(w);
        vlmp_json_key(w, "pre_tokenizer");
        put_type(w, "Metaspace");
        vlmp_json_pair_string(w, "replacement", META);
        vlmp_json_pair_string(w, "prepend_scheme", "first");
        vlmp_json_pair_bool(w, "split", false);
        vlmp_json_close(w, '}');
        return;
    }
    put_type(w, "Sequence");
    vlmp_json_pair_open(w, "normalizers", '[');
    if (c->m->dummy_prefix) {
        put_type(w, "Prepend");
        vlmp_json_pair_string(w, "prepend", META);
        vlmp_json_close(w, '}');
    }
    put_replace(w, " ", META);
    vlmp_json_close(w, ']');
    vlmp_json_close(w, '}');
    vlmp_json_key(w, "pre_tokenizer");
    vlmp_json_put_null(w);
}

static void put_decoder(const converter *c, vlmp_json_writer *w)
{
    vlmp_json_key(w, "decoder");
    put_type(w, "Sequence");
    vlmp_json_pair_open(w, "decoders", '[');
    put_replace(w, META, " ");
    static const char *const stages[] = {"ByteFallback", "Fuse"};
    for (size_t i = c->m->byte_fallback ? 0 : 1; i < 2; i++) {
        put_type(w, stages[i]);
        vlmp_json_close(w, '}');
    }
    if (c->m->dummy_prefix) {
        put_type(w, "Strip");
        vlmp_json_pair_string(w, "content", " ");
        vlmp_json_pair_int(w, "start", 1);
        vlmp_json_pair_int(w, "stop", 0);
        vlmp_json_close(w, '}');
    }
    vlmp_json_close(w, ']');
    vlmp_json_close(w, '}');
}

/* special_tokens_map.json, which goes before the configuration where that is from before
 * added_tokens_decoder; else NULL. */
static const cJSON *special_map(const converter *c)
{
    bool newer = vlmp_json_get(c->beside->config, "added_tokens_decoder") != NULL;
    return newer ? NULL : c->beside->special;
}

/* A key of both, null included; NULL: neither has it. */
static const cJSON *setting(const converter *c, const char *key)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(special_map(c), key);
    return item != NULL ? item : cJSON_GetObjectItemCaseSensitive(c->beside->config, key);
}

/* The text of "bos_token" …, where none is given the piece with the trainer's id; *id −1: none. */
static vlmp_piece named_token(const converter *c, const char *key, int32_t piece, int32_t *id)
{
    const cJSON *item = setting(c, key);
    vlmp_piece text = {0};
    if (item == NULL && piece >= 0) text = c->names[piece];
    if (cJSON_IsObject(item)) item = vlmp_json_get(item, "content");
    if (cJSON_IsString(item))
        text = (vlmp_piece){item->valuestring, (uint32_t)strlen(item->valuestring)};
    *id = text.text == NULL ? -1 : vlmp_piece_map_find(&c->ids, text.text, text.length);
    return text;
}

/* An item of the post-processor's template: a special token, or, text NULL, the text. */
static void put_step(vlmp_json_writer *w, const vlmp_piece *token)
{
    vlmp_json_open(w, '{');
    vlmp_json_pair_open(w, token != NULL ? "SpecialToken" : "Sequence", '{');
    vlmp_json_key(w, "id");
    if (token != NULL)
        vlmp_json_put_bytes(w, token->text, token->length);
    else
        vlmp_json_put_string(w, "A");
    vlmp_json_pair_int(w, "type_id", 0);
    vlmp_json_close(w, '}');
    vlmp_json_close(w, '}');
}

static void put_special(vlmp_json_writer *w, const vlmp_piece *token, int32_t id)
{
    vlmp_json_key_bytes(w, token->text, token->length);
    vlmp_json_open(w, '{');
    vlmp_json_key(w, "id");
    vlmp_json_put_bytes(w, token->text, token->length);
    vlmp_json_pair_open(w, "ids", '[');
    vlmp_json_put_int(w, id);
    vlmp_json_close(w, ']');
    vlmp_json_pair_open(w, "tokens", '[');
    vlmp_json_put_bytes(w, token->text, token->length);
    vlmp_json_close(w, ']');
    vlmp_json_close(w, '}');
}

/* What stands before and behind a text: bos_token unless the configuration says no, eos_token where
 * it says so. */
static int put_processor(const converter *c, vlmp_json_writer *w)
{
    static const char *const keys[] = {"add_bos_token", "add_eos_token"};
    static const char *const names[] = {"bos_token", "eos_token"};
    const int32_t pieces[] = {c->m->begin, c->m->end};
    vlmp_piece tokens[2];
    int32_t ids[2];
    for (int i = 0; i < 2; i++) {
        bool add;
        VLMP_TRY(vlmp_json_bool(c->beside->config, keys[i], i == 0, &add, c->beside->config_where,
                                c->err));
        tokens[i] = named_token(c, names[i], pieces[i], &ids[i]);
        if (!add) ids[i] = -1;
    }
    vlmp_json_key(w, "post_processor");
    put_type(w, "TemplateProcessing");
    vlmp_json_pair_open(w, "single", '[');
    if (ids[0] >= 0) put_step(w, &tokens[0]);
    put_step(w, NULL);
    if (ids[1] >= 0) put_step(w, &tokens[1]);
    vlmp_json_close(w, ']');
    vlmp_json_pair_open(w, "pair", '[');
    put_step(w, NULL);
    vlmp_json_close(w, ']');
    vlmp_json_pair_open(w, "special_tokens", '{');
    for (int i = 0; i < 2; i++)
        if (ids[i] >= 0 && (i == 0 || ids[0] != ids[1])) put_special(w, &tokens[i], ids[i]);
    vlmp_json_close(w, '}');
    vlmp_json_close(w, '}');
    return VLMP_OK;
}

typedef struct {
    float score;
    int32_t id;
} ranked;

static int by_rank(const void *a, const void *b)
{
    const ranked *x = a, *y = b;
    if (x->score != y->score) return x->score > y->score ? -1 : 1;
    return (x->id > y->id) - (x->id < y->id);
}

/* Only normal pieces are merged, and made by merges. */
static bool is_normal(const converter *c, const char *text, size_t length)
{
    int32_t id = vlmp_piece_map_find(&c->ids, text, length);
    return id >= 0 && (size_t)id < c->m->count && c->m->pieces[id].type == VLMP_SP_NORMAL;
}

static void put_cuts(const converter *c, vlmp_json_writer *w, const vlmp_piece *whole)
{
    for (size_t at = 0; at < whole->length;) {
        vlmp_utf8_next(whole->text, whole->length, &at);
        if (at == whole->length || !is_normal(c, whole->text, at) ||
            !is_normal(c, whole->text + at, whole->length - at))
            continue;
        vlmp_json_open(w, '[');
        vlmp_json_put_bytes(w, whole->text, at);
        vlmp_json_put_bytes(w, whole->text + at, whole->length - at);
        vlmp_json_close(w, ']');
    }
}

static int put_merges(const converter *c, vlmp_json_writer *w)
{
    size_t count = 0;
    ranked *order = vlmp_alloc(c->m->count, sizeof *order);
    if (order == NULL) return out_of_memory(c);
    for (size_t id = 0; id < c->m->count; id++)
        if (c->m->pieces[id].type == VLMP_SP_NORMAL)
            order[count++] = (ranked){c->m->pieces[id].score, (int32_t)id};
    if (count > 0) qsort(order, count, sizeof *order, by_rank);
    vlmp_json_pair_open(w, "merges", '[');
    size_t start = w->out.length;
    for (size_t i = 0; i < count && w->out.length - start <= VLMP_SENTENCEPIECE_MAX_MERGES; i++)
        put_cuts(c, w, &c->names[order[i].id]);
    bool fits = w->out.length - start <= VLMP_SENTENCEPIECE_MAX_MERGES;
    vlmp_json_close(w, ']');
    free(order);
    return fits ? VLMP_OK
                : vlmp_fail(c->err, VLMP_ERR_INPUT,
                            "%s: its pieces are cut into others in more ways than any trained "
                            "tokenizer's (over %zu MiB of merges); it is damaged: download it "
                            "again, or put a tokenizer.json beside it",
                            c->m->where, VLMP_SENTENCEPIECE_MAX_MERGES >> 20);
}

static int put_model(const converter *c, vlmp_json_writer *w)
{
    const vlmp_piece *unknown = &c->names[c->m->unknown];
    vlmp_json_key(w, "model");
    put_type(w, "BPE");
    vlmp_json_key(w, "unk_token");
    vlmp_json_put_bytes(w, unknown->text, unknown->length);
    vlmp_json_pair_bool(w, "fuse_unk", true);
    vlmp_json_pair_bool(w, "byte_fallback", c->m->byte_fallback);
    vlmp_json_pair_open(w, "vocab", '{');
    for (size_t id = 0; id < c->m->count; id++) {
        vlmp_json_key_bytes(w, c->names[id].text, c->names[id].length);
        vlmp_json_put_int(w, (int64_t)id);
    }
    vlmp_json_close(w, '}');
    VLMP_TRY(put_merges(c, w));
    vlmp_json_close(w, '}');
    return VLMP_OK;
}

static int put_tokenizer(const converter *c, vlmp_json_writer *w)
{
    vlmp_json_open(w, '{');
    vlmp_json_pair_string(w, "version", "1.0");
    VLMP_TRY(put_added(c, w));
    put_spaces(c, w);
    VLMP_TRY(put_processor(c, w));
    put_decoder(c, w);
    VLMP_TRY(put_model(c, w));
    vlmp_json_close(w, '}');
    return VLMP_OK;
}

/* Both files' keys, but the added tokens, which tokenizer.json has, and names that neither gives.
 */
static void put_config(const converter *c, vlmp_json_writer *w)
{
    static const char *const names[] = {"bos_token", "eos_token", "unk_token"};
    const int32_t pieces[] = {c->m->begin, c->m->end, c->m->unknown};
    const cJSON *item, *special = special_map(c);
    vlmp_json_open(w, '{');
    cJSON_ArrayForEach(item, special)
    {
        vlmp_json_key(w, item->string);
        vlmp_json_put_tree(w, item);
    }
    cJSON_ArrayForEach(item, c->beside->config)
    {
        if (strcmp(item->string, "added_tokens_decoder") == 0 ||
            cJSON_GetObjectItemCaseSensitive(special, item->string) != NULL)
            continue;
        vlmp_json_key(w, item->string);
        vlmp_json_put_tree(w, item);
    }
    for (size_t i = 0; i < 3; i++) {
        if (setting(c, names[i]) != NULL || pieces[i] < 0) continue;
        vlmp_json_key(w, names[i]);
        vlmp_json_put_bytes(w, c->names[pieces[i]].text, c->names[pieces[i]].length);
    }
    vlmp_json_close(w, '}');
}

int vlmp_sentencepiece_convert(vlmp_json_writer *tokenizer, vlmp_json_writer *config,
                               const vlmp_sentencepiece *model,
                               const vlmp_sentencepiece_beside *beside, vlmp_error *err)
{
    converter c = {.m = model, .beside = beside, .err = err};
    int status = list_added(&c);
    if (status == VLMP_OK) status = name_pieces(&c);
    if (status == VLMP_OK) status = check_user_defined(&c);
    if (status == VLMP_OK) status = check_prefix(&c);
    if (status == VLMP_OK) status = put_tokenizer(&c, tokenizer);
    if (status == VLMP_OK) put_config(&c, config);
    vlmp_piece_map_free(&c.ids);
    free(c.names);
    free(c.renamed);
    free(c.added);
    if (status == VLMP_OK && (tokenizer->out.failed || config->out.failed))
        status = vlmp_fail_memory(err, model->where);
    return status;
}
