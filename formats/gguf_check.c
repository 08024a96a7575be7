/* GGUF files against the model that they are said to be made from: what would be computed as
 * something else is refused. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "formats/gguf_graph.h"
#include "formats/gguf_pair.h"
#include "src/model/family.h"
#include "src/text/prompt.h"
#include "src/text/vocabulary.h"

/* A number that a file says under a key, and the base's; what llama.cpp takes where there is no
 * such key, 0: nothing that could differ. */
typedef struct {
    const char *key;
    double base, absent;
} expectation;

static int check_numbers(const vlmp_gguf_file *file, const char *prefix,
                         const expectation *expected, size_t count, vlmp_error *err)
{
    for (size_t i = 0; i < count; i++) {
        char key[128];
        double said;
        snprintf(key, sizeof key, "%s.%s", prefix, expected[i].key);
        double absent = expected[i].absent != 0 ? expected[i].absent : expected[i].base;
        VLMP_TRY(vlmp_gguf_number(file, key, absent, &said, err));
        /* Reals are F32, and come from decimals by different ways. */
        if (fabs(said - expected[i].base) <= 1e-6 * fabs(expected[i].base)) continue;
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: %s is %g, the base model's is %g; give --base the model that the "
                         "file was made from",
                         file->path, key, said, expected[i].base);
    }
    return VLMP_OK;
}

static int check_text_is(const vlmp_gguf_file *file, const char *key, const char *wanted,
                         const char *fallback, const char *hint, vlmp_error *err)
{
    const char *said;
    size_t length;
    VLMP_TRY(vlmp_gguf_text(file, key, &said, &length, err));
    if (said == NULL) said = fallback, length = strlen(fallback);
    if (vlmp_gguf_text_is(said, length, wanted)) return VLMP_OK;
    return vlmp_fail(err, VLMP_ERR_INPUT, "%s: %s is '%.*s', not '%s'; %s", file->path, key,
                     length > 40 ? 40 : (int)length, said, wanted, hint);
}

static int check_whole(const vlmp_gguf_file *file, vlmp_error *err)
{
    double splits;
    VLMP_TRY(vlmp_gguf_number(file, "split.count", 1, &splits, err));
    if (splits <= 1) return VLMP_OK;
    return vlmp_fail(err, VLMP_ERR_INPUT,
                     "%s: one of %g parts of a file; join them with llama-gguf-split --merge",
                     file->path, splits);
}

/* Numbers of an array where it is there. */
static int check_array(const vlmp_gguf_file *file, const char *key, const int *base, int count,
                       vlmp_error *err)
{
    double said[VLMP_MAX_FEATURE_LAYERS];
    size_t length;
    VLMP_TRY(vlmp_gguf_numbers(file, key, said, VLMP_MAX_FEATURE_LAYERS, &length, err));
    bool same = length >= (size_t)count;
    for (size_t i = 0; i < length && same; i++)
        same = said[i] == (i < (size_t)count ? base[i] : 0);
    if (length == 0 || same) return VLMP_OK;
    return vlmp_fail(err, VLMP_ERR_INPUT,
                     "%s: %s has other numbers than the base model's configuration; give --base "
                     "the model that the file was made from",
                     file->path, key);
}

static int check_text(const vlmp_gguf_file *file, const vlmp_text_config *text, vlmp_error *err)
{
    const char *arch = vlmp_gguf_architecture(text);
    bool linear = text->rope.kind == VLMP_ROPE_LINEAR;
    const expectation expected[] = {
        {"block_count", text->layers, 0},
        {"embedding_length", text->hidden, 0},
        {"feed_forward_length", text->intermediate, 0},
        {"attention.head_count", text->heads, 0},
        {"attention.head_count_kv", text->kv_heads, text->heads},
        {"attention.key_length", text->head_dim, text->hidden / text->heads},
        {"rope.dimension_count", text->head_dim, 0},
        {"attention.layer_norm_rms_epsilon", (double)text->norm_eps, 0},
        {"rope.freq_base", text->rope.theta, 10000},
        {"rope.scaling.factor", linear ? text->rope.factor : 1, 1},
    };
    char key[64];
    VLMP_TRY(check_whole(file, err));
    VLMP_TRY(check_text_is(file, "general.architecture", arch, "",
                           "it does not hold the text model of the base", err));
    VLMP_TRY(check_numbers(file, arch, expected, sizeof expected / sizeof *expected, err));
    snprintf(key, sizeof key, "%s.rope.dimension_sections", arch);
    VLMP_TRY(check_array(file, key, text->sections, VLMP_POSITION_AXES, err));
    snprintf(key, sizeof key, "%s.rope.scaling.type", arch);
    return check_text_is(file, key, linear ? "linear" : "none", linear ? "" : "none",
                         "the base model's positions turn otherwise", err);
}

static int check_rope_factors(const vlmp_gguf_pair *pair, vlmp_arena *arena, vlmp_error *err)
{
    const vlmp_gguf_file *file = &pair->files[VLMP_GGUF_TEXT];
    const vlmp_text_config *text = &pair->t.config.text;
    const vlmp_gguf_stored *stored = vlmp_gguf_find_tensor(file, VLMP_GGUF_ROPE_FACTORS);
    bool scaled = text->rope.kind == VLMP_ROPE_LLAMA3;
    bool same = scaled == (stored != NULL);
    if (same && !scaled) return VLMP_OK;
    const float *factors = vlmp_gguf_rope_factors(text, arena);
    if (factors == NULL) return vlmp_fail_memory(err, file->path);
    same = same && stored->about.type == VLMP_GGUF_F32 && stored->about.rank == 1 &&
           stored->about.shape[0] == text->head_dim / 2;
    for (int i = 0; same && i < text->head_dim / 2; i++) {
        float said;
        memcpy(&said, stored->data + (size_t)i * sizeof said, sizeof said);
        same = fabsf(said - factors[i]) <= 1e-4f * factors[i];
    }
    if (same) return VLMP_OK;
    return vlmp_fail(err, VLMP_ERR_INPUT,
                     "%s: tensor '%s' is %s; the base model's positions turn otherwise", file->path,
                     VLMP_GGUF_ROPE_FACTORS, stored == NULL ? "missing" : "of another scaling");
}

/* The only pair of truths that llama.cpp knows of the tower's activation. */
static int check_activation(const vlmp_gguf_file *file, vlmp_activation act, vlmp_error *err)
{
    const struct {
        const char *key;
        bool base;
    } expected[] = {{"clip.use_gelu", act == VLMP_GELU || act == VLMP_GELU_TANH},
                    {"clip.use_silu", act == VLMP_SILU}};
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        bool said;
        VLMP_TRY(vlmp_gguf_truth(file, expected[i].key, false, &said, err));
        if (said != expected[i].base)
            return vlmp_fail(err, VLMP_ERR_INPUT,
                             "%s: %s is %s, so that the tower's activation is not the base "
                             "model's; give --base the model that the file was made from",
                             file->path, expected[i].key, said ? "true" : "false");
    }
    return VLMP_OK;
}

/* Layers of the tower that run. Without the array llama.cpp runs all but the last of a LLaVA's
 * tower, and the first converters counted one less, so that only the base knows. */
static int check_layers(const vlmp_gguf_file *file, const vlmp_config *config, vlmp_error *err)
{
    static const char key[] = "clip.vision.feature_layer";
    const vlmp_vision_config *vision = &config->vision;
    const expectation layers = {"block_count", vision->layers, 0};
    if (vision->run_layers == vision->layers && vlmp_gguf_find_key(file, key) == NULL)
        return check_numbers(file, "clip.vision", &layers, 1, err);
    return check_array(file, key, vision->feature_layers, vision->feature_count, err);
}

static int check_tower(const vlmp_gguf_file *file, const vlmp_config *config, vlmp_error *err)
{
    const vlmp_vision_config *vision = &config->vision;
    const expectation expected[] = {
        {"patch_size", vision->patch_size, 0},
        {"embedding_length", vision->hidden, 0},
        {"attention.head_count", vision->heads, 0},
        {"attention.layer_norm_epsilon", (double)vision->norm_eps, 0},
        {"projector.scale_factor", config->projector.shuffle, 0},
        {"spatial_merge_size", vision->merge, 0},
        {"n_wa_pattern", vlmp_gguf_whole_every(vision), 0},
        {"image_size", vision->image_size, 0}, /* of tiles that have one; the last */
    };
    size_t count = sizeof expected / sizeof *expected - (vision->image_size == 0);
    const char *hint = "it does not hold a tower and projector as the base has them";
    VLMP_TRY(check_whole(file, err));
    VLMP_TRY(check_text_is(file, "general.architecture", "clip", "", hint, err));
    VLMP_TRY(check_text_is(file, "clip.projector_type", config->family->gguf, "mlp", hint, err));
    VLMP_TRY(check_numbers(file, "clip.vision", expected, count, err));
    VLMP_TRY(check_layers(file, config, err));
    return check_activation(file, vision->act, err);
}

/* Tokens of the base's vocabulary under the ids that they have in the file. Those that are found in
 * a text before it is cut are respelt by some converters. */
static int compare_tokens(const vlmp_gguf_file *file, const vlmp_gguf_key *tokens,
                          const vlmp_vocabulary *vocabulary, vlmp_error *err)
{
    const unsigned char *at = tokens->value;
    for (uint64_t id = 0; id < tokens->count && id < (uint64_t)vocabulary->count; id++) {
        uint64_t length;
        memcpy(&length, at, sizeof length);
        const char *said = (const char *)at + sizeof length;
        const vlmp_vocabulary_token *token = &vocabulary->tokens[id];
        at += sizeof length + length;
        if (token->kind != VLMP_PIECE_NORMAL) continue;
        if (length == token->length && memcmp(said, token->text, length) == 0) continue;
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: token %llu is '%.*s', the base model's is '%.*s'; give --base the "
                         "model that the file was made from",
                         file->path, (unsigned long long)id, length > 40 ? 40 : (int)length, said,
                         token->length > 40 ? 40 : (int)token->length, token->text);
    }
    return VLMP_OK;
}

static int check_tokens(const vlmp_gguf_pair *pair, vlmp_error *err)
{
    const vlmp_gguf_file *file = &pair->files[VLMP_GGUF_TEXT];
    const vlmp_gguf_key *tokens = vlmp_gguf_find_key(file, "tokenizer.ggml.tokens");
    size_t length;
    if (tokens == NULL || !tokens->array || tokens->type != VLMP_GGUF_VALUE_TEXT) return VLMP_OK;
    if (pair->t.base.file(&pair->t.base, "tokenizer.json", &length) == NULL) return VLMP_OK;
    vlmp_tokenizer *tokenizer;
    vlmp_vocabulary vocabulary;
    vlmp_error other = {0};
    VLMP_TRY(vlmp_tokenizer_load(&tokenizer, &pair->t.base, err));
    int status = vlmp_vocabulary_of(&vocabulary, tokenizer, &other);
    /* A pipeline that GGUF cannot say. */
    status = status == VLMP_OK ? compare_tokens(file, tokens, &vocabulary, err)
                               : vlmp_fail_tried(err, &other);
    vlmp_vocabulary_free(&vocabulary);
    vlmp_tokenizer_free(tokenizer);
    return status;
}

int vlmp_gguf_pair_check(vlmp_gguf_pair *pair, vlmp_error *err)
{
    const vlmp_config *config = &pair->t.config;
    if (config->family->gguf == NULL)
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: GGUF files of models of type '%.40s', which the base is, are not "
                         "read; give another --base",
                         pair->t.base.path, config->model_type);
    VLMP_TRY(check_text(&pair->files[VLMP_GGUF_TEXT], &config->text, err));
    VLMP_TRY(check_rope_factors(pair, &pair->t.arena, err));
    VLMP_TRY(check_tower(&pair->files[VLMP_GGUF_TOWER], config, err));
    int status = vlmp_gguf_check_graph(config, err);
    if (status != VLMP_OK) vlmp_error_at(err, pair->t.base.path);
    return status == VLMP_OK ? check_tokens(pair, err) : status;
}
