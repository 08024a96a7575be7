/* Reads the pipeline of tokenizer.json: normalizer, pre-tokenizer, decoder, post-processor. */
#include <string.h>

#include "src/base/json.h"
#include "src/text/tokenizer_internal.h"
#include "src/text/unicode/unicode.h"

/* Sequences are flattened; nesting is bounded by the JSON parser. */
typedef int read_fn(vlmp_tokenizer *t, const cJSON *node, vlmp_error *err);

static int read_sequence(vlmp_tokenizer *t, const cJSON *node, const char *list, const char *part,
                         read_fn *read, vlmp_error *err)
{
    const cJSON *items = vlmp_json_get(node, list);
    if (!cJSON_IsArray(items))
        return vlmp_fail(err, VLMP_ERR_INPUT, "%s: the %s 'Sequence' has no list '%s'", t->where,
                         part, list);
    for (const cJSON *item = items->child; item != NULL; item = item->next)
        VLMP_TRY(read(t, item, err));
    return VLMP_OK;
}

static int unsupported(const vlmp_tokenizer *t, const char *part, const char *what, vlmp_error *err)
{
    return vlmp_fail(err, VLMP_ERR_INPUT, "%s: the %s '%.300s' is not supported", t->where, part,
                     what);
}

static int check_stages(const vlmp_tokenizer *t, int count, const char *part, vlmp_error *err)
{
    if (count < MAX_STAGES) return VLMP_OK;
    return vlmp_fail(err, VLMP_ERR_INPUT, "%s: the %s has more than %d stages", t->where, part,
                     MAX_STAGES);
}

int vlmp_tokenizer_string_pattern(vlmp_tokenizer *t, const cJSON *node, const char *part,
                                  vlmp_piece *out, vlmp_error *err)
{
    const cJSON *pattern = vlmp_json_get(node, "pattern");
    const cJSON *text = cJSON_IsObject(pattern) ? vlmp_json_get(pattern, "String") : NULL;
    if (!cJSON_IsString(text) || text->valuestring[0] == '\0') {
        const cJSON *regex = cJSON_IsObject(pattern) ? vlmp_json_get(pattern, "Regex") : NULL;
        return vlmp_fail(err, VLMP_ERR_INPUT, "%s: the %s's pattern '%.300s' is not supported",
                         t->where, part,
                         cJSON_IsString(regex) ? regex->valuestring : "(not a string)");
    }
    return vlmp_tokenizer_copy(t, text->valuestring, out, err);
}

/* A member that must be a string. */
static int read_text(vlmp_tokenizer *t, const cJSON *node, const char *key, vlmp_piece *out,
                     vlmp_error *err)
{
    const char *text;
    VLMP_TRY(vlmp_json_string(node, key, NULL, &text, t->where, err));
    if (text == NULL) return vlmp_fail(err, VLMP_ERR_INPUT, "%s: '%s' is missing", t->where, key);
    return vlmp_tokenizer_copy(t, text, out, err);
}

/* A member that must be one character. */
static int read_character(vlmp_tokenizer *t, const cJSON *node, const char *key, vlmp_piece *out,
                          vlmp_error *err)
{
    VLMP_TRY(read_text(t, node, key, out, err));
    size_t end = 0;
    if (out->length > 0) vlmp_utf8_next(out->text, out->length, &end);
    if (end != out->length || end == 0)
        return vlmp_fail(err, VLMP_ERR_INPUT, "%s: '%s' is not one character", t->where, key);
    return VLMP_OK;
}

int vlmp_tokenizer_read_normalizer(vlmp_tokenizer *t, const cJSON *node, vlmp_error *err)
{
    if (node == NULL) return VLMP_OK;
    const char *type = vlmp_tokenizer_type(t, node, "normalizer", err);
    if (type == NULL) return VLMP_ERR_INPUT;
    if (strcmp(type, "Sequence") == 0)
        return read_sequence(t, node, "normalizers", "normalizer", vlmp_tokenizer_read_normalizer,
                             err);
    VLMP_TRY(check_stages(t, t->normalizer_count, "normalizer", err));
    vlmp_normalizer *n = &t->normalizers[t->normalizer_count];
    if (strcmp(type, "NFC") == 0) {
        n->kind = NORMALIZE_NFC;
    } else if (strcmp(type, "Prepend") == 0) {
        n->kind = NORMALIZE_PREPEND;
        VLMP_TRY(read_text(t, node, "prepend", &n->content, err));
    } else if (strcmp(type, "Replace") == 0) {
        n->kind = NORMALIZE_REPLACE;
        VLMP_TRY(vlmp_tokenizer_string_pattern(t, node, "normalizer 'Replace'", &n->pattern, err));
        VLMP_TRY(read_text(t, node, "content", &n->content, err));
    } else {
        return unsupported(t, "normalizer", type, err);
    }
    t->normalizer_count++;
    return VLMP_OK;
}

static int read_byte_level(vlmp_tokenizer *t, const cJSON *node, vlmp_splitter *s, vlmp_error *err)
{
    bool use_regex;
    s->kind = SPLIT_BYTE_LEVEL;
    VLMP_TRY(vlmp_json_bool(node, "add_prefix_space", true, &s->prefix_space, t->where, err));
    VLMP_TRY(vlmp_json_bool(node, "use_regex", true, &use_regex, t->where, err));
    s->pattern = use_regex ? PATTERN_GPT2 : PATTERN_NONE;
    return VLMP_OK;
}

static int read_metaspace(vlmp_tokenizer *t, const cJSON *node, vlmp_splitter *s, vlmp_error *err)
{
    static const char *const schemes[] = {"always", "first", "never"};
    const char *scheme;
    bool prefix_space;
    s->kind = SPLIT_METASPACE;
    VLMP_TRY(read_character(t, node, "replacement", &s->literal, err));
    VLMP_TRY(vlmp_json_bool(node, "split", true, &s->split, t->where, err));
    VLMP_TRY(vlmp_json_string(node, "prepend_scheme", "always", &scheme, t->where, err));
    VLMP_TRY(vlmp_json_bool(node, "add_prefix_space", true, &prefix_space, t->where, err));
    if (!prefix_space) scheme = "never";
    for (int i = 0; i < 3; i++) {
        if (strcmp(scheme, schemes[i]) != 0) continue;
        s->prepend = (vlmp_prepend)i;
        return VLMP_OK;
    }
    return unsupported(t, "Metaspace prepend scheme", scheme, err);
}

static int read_split(vlmp_tokenizer *t, const cJSON *node, vlmp_splitter *s, vlmp_error *err)
{
    static const char *const behaviors[] = {"Removed", "Isolated", "MergedWithPrevious",
                                            "MergedWithNext", "Contiguous"};
    const char *behavior;
    VLMP_TRY(vlmp_json_string(node, "behavior", "", &behavior, t->where, err));
    VLMP_TRY(vlmp_json_bool(node, "invert", false, &s->invert, t->where, err));
    int found = 0;
    while (found < 5 && strcmp(behavior, behaviors[found]) != 0)
        found++;
    if (found == 5) return unsupported(t, "Split behavior", behavior, err);
    s->behavior = (vlmp_behavior)found;
    const cJSON *pattern = vlmp_json_get(node, "pattern");
    const cJSON *regex = cJSON_IsObject(pattern) ? vlmp_json_get(pattern, "Regex") : NULL;
    if (!cJSON_IsString(regex)) {
        s->kind = SPLIT_STRING;
        return vlmp_tokenizer_string_pattern(t, node, "pre-tokenizer 'Split'", &s->literal, err);
    }
    s->kind = SPLIT_PATTERN;
    s->pattern = vlmp_pattern_find(regex->valuestring);
    if (s->pattern == PATTERN_NONE)
        return unsupported(t, "pre-tokenizer 'Split' by", regex->valuestring, err);
    /* The known expressions match everywhere, so these give each match as a word. */
    if (s->behavior == BEHAVIOR_ISOLATED || (s->behavior == BEHAVIOR_REMOVED && s->invert))
        return VLMP_OK;
    return unsupported(t, "behavior of the pre-tokenizer 'Split'", behavior, err);
}

int vlmp_tokenizer_read_splitter(vlmp_tokenizer *t, const cJSON *node, vlmp_error *err)
{
    if (node == NULL) return VLMP_OK;
    const char *type = vlmp_tokenizer_type(t, node, "pre-tokenizer", err);
    if (type == NULL) return VLMP_ERR_INPUT;
    if (strcmp(type, "Sequence") == 0)
        return read_sequence(t, node, "pretokenizers", "pre-tokenizer",
                             vlmp_tokenizer_read_splitter, err);
    VLMP_TRY(check_stages(t, t->splitter_count, "pre-tokenizer", err));
    vlmp_splitter *s = &t->splitters[t->splitter_count];
    if (strcmp(type, "ByteLevel") == 0) {
        VLMP_TRY(read_byte_level(t, node, s, err));
    } else if (strcmp(type, "Split") == 0) {
        VLMP_TRY(read_split(t, node, s, err));
    } else if (strcmp(type, "Metaspace") == 0) {
        VLMP_TRY(read_metaspace(t, node, s, err));
    } else if (strcmp(type, "Digits") == 0) {
        bool individual;
        VLMP_TRY(vlmp_json_bool(node, "individual_digits", false, &individual, t->where, err));
        s->kind = SPLIT_DIGITS;
        s->behavior = individual ? BEHAVIOR_ISOLATED : BEHAVIOR_CONTIGUOUS;
    } else if (strcmp(type, "Whitespace") == 0) {
        s->kind = SPLIT_WORDS;
    } else if (strcmp(type, "WhitespaceSplit") == 0) {
        s->kind = SPLIT_SPACES;
    } else {
        return unsupported(t, "pre-tokenizer", type, err);
    }
    t->splitter_count++;
    return VLMP_OK;
}

static int read_strip(vlmp_tokenizer *t, const cJSON *node, vlmp_decoder *d, vlmp_error *err)
{
    int64_t start, stop;
    d->kind = DECODE_STRIP;
    VLMP_TRY(read_character(t, node, "content", &d->pattern, err));
    VLMP_TRY(vlmp_json_int(node, "start", 0, 0, INT32_MAX, &start, t->where, err));
    VLMP_TRY(vlmp_json_int(node, "stop", 0, 0, INT32_MAX, &stop, t->where, err));
    /* The end of a stream is not known while it runs. */
    if (d->fused && stop > 0) return unsupported(t, "decoder", "Strip with 'stop' after Fuse", err);
    d->start = (uint32_t)start;
    d->stop = (uint32_t)stop;
    return VLMP_OK;
}

int vlmp_tokenizer_read_decoder(vlmp_tokenizer *t, const cJSON *node, vlmp_error *err)
{
    if (node == NULL) return VLMP_OK;
    const char *type = vlmp_tokenizer_type(t, node, "decoder", err);
    if (type == NULL) return VLMP_ERR_INPUT;
    if (strcmp(type, "Sequence") == 0)
        return read_sequence(t, node, "decoders", "decoder", vlmp_tokenizer_read_decoder, err);
    VLMP_TRY(check_stages(t, t->decoder_count, "decoder", err));
    vlmp_decoder *d = &t->decoders[t->decoder_count];
    const vlmp_decoder *last = t->decoder_count > 0 ? d - 1 : NULL;
    d->fused = last != NULL && (last->fused || last->kind == DECODE_FUSE);
    if (last != NULL && last->kind == DECODE_BYTE_LEVEL)
        return unsupported(t, "decoder after ByteLevel", type, err);
    if (strcmp(type, "ByteLevel") == 0) {
        d->kind = DECODE_BYTE_LEVEL;
    } else if (strcmp(type, "ByteFallback") == 0) {
        for (int i = 0; i < t->decoder_count; i++)
            if (t->decoders[i].kind == DECODE_BYTE_FALLBACK)
                return unsupported(t, "decoder", "a second ByteFallback", err);
        d->kind = DECODE_BYTE_FALLBACK;
    } else if (strcmp(type, "Fuse") == 0) {
        d->kind = DECODE_FUSE;
    } else if (strcmp(type, "Strip") == 0) {
        VLMP_TRY(read_strip(t, node, d, err));
    } else if (strcmp(type, "Replace") == 0) {
        d->kind = DECODE_REPLACE;
        VLMP_TRY(vlmp_tokenizer_string_pattern(t, node, "decoder 'Replace'", &d->pattern, err));
        VLMP_TRY(read_text(t, node, "content", &d->content, err));
    } else if (strcmp(type, "Metaspace") == 0) {
        vlmp_splitter s = {0};
        VLMP_TRY(read_metaspace(t, node, &s, err));
        d->kind = DECODE_METASPACE;
        d->pattern = s.literal;
        d->drop_first = s.prepend != PREPEND_NEVER;
    } else {
        return unsupported(t, "decoder", type, err);
    }
    if (d->fused && d->kind != DECODE_STRIP) return unsupported(t, "decoder after Fuse", type, err);
    t->decoder_count++;
    return VLMP_OK;
}

static int read_special(vlmp_tokenizer *t, const cJSON *node, const cJSON *piece, vlmp_ids *ids,
                        vlmp_error *err)
{
    const char *name;
    VLMP_TRY(vlmp_json_string(piece, "id", "", &name, t->where, err));
    const cJSON *tokens = vlmp_json_get(node, "special_tokens");
    const cJSON *token = cJSON_IsObject(tokens) ? vlmp_json_get(tokens, name) : NULL;
    const cJSON *list = cJSON_IsObject(token) ? vlmp_json_get(token, "ids") : NULL;
    if (!cJSON_IsArray(list))
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: the post-processor's special token '%.100s' has no ids", t->where,
                         name);
    for (const cJSON *id = list->child; id != NULL; id = id->next) {
        if (!cJSON_IsNumber(id) || id->valuedouble < 0 || id->valuedouble >= (double)t->size)
            return vlmp_fail(err, VLMP_ERR_INPUT,
                             "%s: the post-processor's special token '%.100s' has an id outside "
                             "the vocabulary",
                             t->where, name);
        if (!vlmp_ids_push(ids, (int32_t)id->valuedouble)) return vlmp_fail_memory(err, t->where);
    }
    return VLMP_OK;
}

static int read_template(vlmp_tokenizer *t, const cJSON *node, vlmp_error *err)
{
    const cJSON *single = vlmp_json_get(node, "single");
    bool seen = false;
    if (t->before.count + t->after.count > 0)
        return unsupported(t, "post-processor", "a second TemplateProcessing", err);
    for (const cJSON *piece = cJSON_IsArray(single) ? single->child : NULL; piece != NULL;
         piece = piece->next) {
        const cJSON *special = cJSON_IsObject(piece) ? vlmp_json_get(piece, "SpecialToken") : NULL;
        const cJSON *sequence = cJSON_IsObject(piece) ? vlmp_json_get(piece, "Sequence") : NULL;
        const char *id = "";
        if (special != NULL) {
            VLMP_TRY(read_special(t, node, special, seen ? &t->after : &t->before, err));
            continue;
        }
        if (sequence != NULL) VLMP_TRY(vlmp_json_string(sequence, "id", "", &id, t->where, err));
        if (seen || strcmp(id, "A") != 0)
            return unsupported(t, "post-processor", "TemplateProcessing with such a piece", err);
        seen = true;
    }
    if (!seen) return unsupported(t, "post-processor", "TemplateProcessing without the text", err);
    return VLMP_OK;
}

int vlmp_tokenizer_read_processor(vlmp_tokenizer *t, const cJSON *node, vlmp_error *err)
{
    if (node == NULL) return VLMP_OK;
    const char *type = vlmp_tokenizer_type(t, node, "post-processor", err);
    if (type == NULL) return VLMP_ERR_INPUT;
    if (strcmp(type, "Sequence") == 0)
        return read_sequence(t, node, "processors", "post-processor", vlmp_tokenizer_read_processor,
                             err);
    if (strcmp(type, "TemplateProcessing") == 0) return read_template(t, node, err);
    if (strcmp(type, "ByteLevel") == 0) return VLMP_OK; /* moves offsets, which nobody reads */
    return unsupported(t, "post-processor", type, err);
}
