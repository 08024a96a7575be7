#include "src/model/config.h"

#include <math.h>
#include <string.h>

#include "src/base/json.h"
#include "src/model/family.h"

#define MAX_DIM      (1 << 20) /* no plausible model exceeds it; larger values are corrupt files */
#define MAX_HEAD_DIM 1024

static int read_dim(const cJSON *object, const char *key, int fallback, int low, int high, int *out,
                    const char *where, vlmp_error *err)
{
    int64_t value;
    VLMP_TRY(vlmp_json_int(object, key, fallback, low, high, &value, where, err));
    *out = (int)value;
    return VLMP_OK;
}

int vlmp_config_read_activation(const cJSON *object, const char *key, const char *fallback,
                                vlmp_activation *out, const char *where, vlmp_error *err)
{
    static const struct {
        const char *name;
        vlmp_activation act;
    } known[] = {
        {"gelu", VLMP_GELU},          {"gelu_pytorch_tanh", VLMP_GELU_TANH},
        {"gelu_new", VLMP_GELU_TANH}, {"quick_gelu", VLMP_QUICK_GELU},
        {"silu", VLMP_SILU},          {"swish", VLMP_SILU},
        {"relu", VLMP_RELU},
    };
    const char *name;
    VLMP_TRY(vlmp_json_string(object, key, fallback, &name, where, err));
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (strcmp(known[i].name, name) == 0) {
            *out = known[i].act;
            return VLMP_OK;
        }
    }
    return vlmp_fail(err, VLMP_ERR_INPUT, "%s: '%s' is '%s', an activation that is not supported",
                     where, key, name);
}

int vlmp_config_read_clip(vlmp_vision_config *vision, const cJSON *object, const char *where,
                          vlmp_error *err)
{
    /* A LLaVA without vision_config means CLIP L/14-336; one with it means CLIP's class defaults.
     */
    bool large = object == NULL;
    const char *type;
    VLMP_TRY(vlmp_json_string(object, "model_type", "clip_vision_model", &type, where, err));
    if (strcmp(type, "clip_vision_model") != 0)
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: vision tower '%s' is not supported; clip_vision_model is", where,
                         type);
    VLMP_TRY(read_dim(object, "hidden_size", large ? 1024 : 768, 1, MAX_DIM, &vision->hidden, where,
                      err));
    VLMP_TRY(read_dim(object, "intermediate_size", large ? 4096 : 3072, 1, MAX_DIM,
                      &vision->intermediate, where, err));
    VLMP_TRY(read_dim(object, "num_hidden_layers", large ? 24 : 12, 1, VLMP_MAX_LAYERS,
                      &vision->layers, where, err));
    VLMP_TRY(read_dim(object, "num_attention_heads", large ? 16 : 12, 1, 4096, &vision->heads,
                      where, err));
    VLMP_TRY(read_dim(object, "image_size", large ? 336 : 224, 1, 16384, &vision->image_size, where,
                      err));
    VLMP_TRY(
        read_dim(object, "patch_size", large ? 14 : 32, 1, 1024, &vision->patch_size, where, err));
    double eps;
    VLMP_TRY(vlmp_json_double(object, "layer_norm_eps", 1e-5, &eps, where, err));
    vision->norm_eps = (float)eps;
    VLMP_TRY(
        vlmp_config_read_activation(object, "hidden_act", "quick_gelu", &vision->act, where, err));
    if (vision->hidden % vision->heads != 0)
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: vision hidden_size %d is no multiple of %d heads", where,
                         vision->hidden, vision->heads);
    if (vision->image_size < vision->patch_size)
        return vlmp_fail(err, VLMP_ERR_INPUT, "%s: image_size %d is below patch_size %d", where,
                         vision->image_size, vision->patch_size);
    vision->head_dim = vision->hidden / vision->heads;
    vision->has_class = true;
    return VLMP_OK;
}

/* transformers 4 writes rope_theta and rope_scaling, 5 writes rope_parameters with both. */
static int read_rope(vlmp_rope_config *rope, const cJSON *object, const char *where,
                     vlmp_error *err)
{
    const cJSON *scaling = vlmp_json_get(object, "rope_parameters");
    double theta;
    VLMP_TRY(vlmp_json_double(object, "rope_theta", 10000.0, &theta, where, err));
    if (scaling != NULL)
        VLMP_TRY(vlmp_json_double(scaling, "rope_theta", theta, &theta, where, err));
    else
        scaling = vlmp_json_get(object, "rope_scaling");
    if (!(theta > 0))
        return vlmp_fail(err, VLMP_ERR_INPUT, "%s: rope_theta must be positive", where);
    *rope = (vlmp_rope_config){.kind = VLMP_ROPE_DEFAULT, .theta = theta, .factor = 1};
    if (scaling == NULL) return VLMP_OK;
    const char *type;
    VLMP_TRY(vlmp_json_string(scaling, "type", "default", &type, where, err));
    VLMP_TRY(vlmp_json_string(scaling, "rope_type", type, &type, where, err));
    if (strcmp(type, "default") == 0) return VLMP_OK;
    VLMP_TRY(vlmp_json_double(scaling, "factor", 1, &rope->factor, where, err));
    if (!(rope->factor >= 1))
        return vlmp_fail(err, VLMP_ERR_INPUT, "%s: rope scaling factor must be at least 1", where);
    if (strcmp(type, "linear") == 0) {
        rope->kind = VLMP_ROPE_LINEAR;
    } else if (strcmp(type, "llama3") == 0) {
        rope->kind = VLMP_ROPE_LLAMA3;
        VLMP_TRY(
            vlmp_json_double(scaling, "low_freq_factor", 1, &rope->low_freq_factor, where, err));
        VLMP_TRY(
            vlmp_json_double(scaling, "high_freq_factor", 4, &rope->high_freq_factor, where, err));
        VLMP_TRY(vlmp_json_double(scaling, "original_max_position_embeddings", 8192,
                                  &rope->original_max_positions, where, err));
        if (!(rope->high_freq_factor > rope->low_freq_factor && rope->low_freq_factor > 0))
            return vlmp_fail(err, VLMP_ERR_INPUT,
                             "%s: llama3 RoPE needs 0 < low_freq_factor < "
                             "high_freq_factor",
                             where);
    } else {
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: RoPE type '%s' is not supported; default, linear "
                         "and llama3 are",
                         where, type);
    }
    return VLMP_OK;
}

static const struct text_defaults {
    const char *model_type;
    int vocab, intermediate, kv_heads, max_positions;
    bool qkv_bias;
} text_defaults[] = {
    {"llama", 32000, 11008, 0, 2048, false},
    {"mistral", 32000, 14336, 8, 131072, false},
    {"qwen2", 151936, 22016, 32, 32768, true},
};

/* Qwen2's "layer_types", or where it is absent the layers from max_window_layers on. */
static int read_sliding_layers(vlmp_text_config *text, const cJSON *object, const char *where,
                               vlmp_error *err)
{
    const cJSON *types = vlmp_json_get(object, "layer_types");
    int first;
    VLMP_TRY(read_dim(object, "max_window_layers", 28, 0, 1 << 20, &first, where, err));
    if (types == NULL) {
        for (int i = first; i < text->layers && text->window > 0; i++)
            text->sliding[i] = true;
        return VLMP_OK;
    }
    const cJSON *item = cJSON_IsArray(types) ? types->child : NULL;
    int layer = 0;
    for (; item != NULL && layer < text->layers; item = item->next, layer++) {
        const char *type = cJSON_IsString(item) ? item->valuestring : "";
        text->sliding[layer] = strcmp(type, "sliding_attention") == 0;
        if (!text->sliding[layer] && strcmp(type, "full_attention") != 0)
            return vlmp_fail(err, VLMP_ERR_INPUT,
                             "%s: 'layer_types' of layer %d is '%.64s'; full_attention and "
                             "sliding_attention are known",
                             where, layer, type);
        if (text->sliding[layer] && text->window == 0)
            return vlmp_fail(err, VLMP_ERR_INPUT,
                             "%s: layer %d has sliding_attention, but there is no window "
                             "('use_sliding_window' and 'sliding_window')",
                             where, layer);
    }
    if (item == NULL && layer == text->layers) return VLMP_OK;
    return vlmp_fail(err, VLMP_ERR_INPUT,
                     "%s: 'layer_types' must have one entry for each of %d "
                     "layers",
                     where, text->layers);
}

static int read_window(vlmp_text_config *text, const cJSON *object, const char *where,
                       vlmp_error *err)
{
    text->window = 0;
    memset(text->sliding, 0, sizeof text->sliding);
    /* Absent means 4096; no window must be an explicit null. */
    bool null = cJSON_IsNull(cJSON_GetObjectItemCaseSensitive(object, "sliding_window"));
    if (strcmp(text->model_type, "mistral") == 0) {
        if (null) return VLMP_OK;
        for (int i = 0; i < text->layers; i++)
            text->sliding[i] = true;
        return read_dim(object, "sliding_window", 4096, 1, 1 << 30, &text->window, where, err);
    }
    if (strcmp(text->model_type, "qwen2") != 0) return VLMP_OK;
    bool used;
    VLMP_TRY(vlmp_json_bool(object, "use_sliding_window", false, &used, where, err));
    if (used && !null)
        VLMP_TRY(read_dim(object, "sliding_window", 4096, 1, 1 << 30, &text->window, where, err));
    return read_sliding_layers(text, object, where, err);
}

/* Absent is the class's own number, null as many as query heads. */
static int read_kv_heads(vlmp_text_config *text, const cJSON *object, int class_default,
                         const char *where, vlmp_error *err)
{
    bool null = cJSON_IsNull(cJSON_GetObjectItemCaseSensitive(object, "num_key_value_heads"));
    int fallback = class_default == 0 || null ? text->heads : class_default;
    VLMP_TRY(
        read_dim(object, "num_key_value_heads", fallback, 1, 4096, &text->kv_heads, where, err));
    if (text->heads % text->kv_heads == 0) return VLMP_OK;
    return vlmp_fail(err, VLMP_ERR_INPUT,
                     "%s: %d attention heads are no multiple of %d key/value heads", where,
                     text->heads, text->kv_heads);
}

/* Only Llama's class has switches for its biases. */
static int read_biases(vlmp_text_config *text, const cJSON *object, bool class_qkv,
                       const char *where, vlmp_error *err)
{
    bool attention = false;
    if (strcmp(text->model_type, "llama") == 0) {
        VLMP_TRY(vlmp_json_bool(object, "attention_bias", false, &attention, where, err));
        VLMP_TRY(vlmp_json_bool(object, "mlp_bias", false, &text->mlp_bias, where, err));
    }
    text->qkv_bias = class_qkv || attention;
    text->o_bias = attention;
    return VLMP_OK;
}

int vlmp_config_read_text(vlmp_text_config *text, const cJSON *object, const cJSON *root,
                          const char *where, vlmp_error *err)
{
    const char *type;
    VLMP_TRY(vlmp_json_string(object, "model_type", "llama", &type, where, err));
    const struct text_defaults *defaults = NULL;
    for (size_t i = 0; i < sizeof text_defaults / sizeof *text_defaults; i++)
        if (strcmp(text_defaults[i].model_type, type) == 0) defaults = &text_defaults[i];
    if (defaults == NULL)
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: text model '%s' is not supported; llama, mistral and qwen2 are",
                         where, type);
    memcpy(text->model_type, defaults->model_type, strlen(defaults->model_type) + 1);
    VLMP_TRY(read_dim(object, "hidden_size", 4096, 1, MAX_DIM, &text->hidden, where, err));
    VLMP_TRY(read_dim(object, "intermediate_size", defaults->intermediate, 1, MAX_DIM,
                      &text->intermediate, where, err));
    VLMP_TRY(
        read_dim(object, "num_hidden_layers", 32, 1, VLMP_MAX_LAYERS, &text->layers, where, err));
    VLMP_TRY(read_dim(object, "num_attention_heads", 32, 1, 4096, &text->heads, where, err));
    VLMP_TRY(read_kv_heads(text, object, defaults->kv_heads, where, err));
    VLMP_TRY(read_dim(object, "head_dim", text->hidden / text->heads, 1, MAX_HEAD_DIM,
                      &text->head_dim, where, err));
    VLMP_TRY(read_dim(object, "vocab_size", defaults->vocab, 1, 1 << 24, &text->vocab, where, err));
    VLMP_TRY(read_dim(object, "max_position_embeddings", defaults->max_positions, 1, 1 << 30,
                      &text->max_positions, where, err));
    double eps;
    VLMP_TRY(vlmp_json_double(object, "rms_norm_eps", 1e-6, &eps, where, err));
    text->norm_eps = (float)eps;
    VLMP_TRY(vlmp_config_read_activation(object, "hidden_act", "silu", &text->act, where, err));
    VLMP_TRY(read_rope(&text->rope, object, where, err));
    VLMP_TRY(read_biases(text, object, defaults->qkv_bias, where, err));
    VLMP_TRY(vlmp_json_bool(root, "tie_word_embeddings", false, &text->tied, where, err));
    VLMP_TRY(vlmp_json_bool(object, "tie_word_embeddings", text->tied, &text->tied, where, err));
    VLMP_TRY(read_window(text, object, where, err));
    if (text->head_dim % 2 != 0)
        return vlmp_fail(err, VLMP_ERR_INPUT, "%s: head_dim %d is odd; RoPE needs pairs", where,
                         text->head_dim);
    return VLMP_OK;
}

int vlmp_config_read(vlmp_config *config, const char *json, size_t length, const char *where,
                     vlmp_error *err)
{
    *config = (vlmp_config){0};
    cJSON *root;
    VLMP_TRY(vlmp_json_parse(&root, json, length, where, err));
    const char *type = NULL;
    int status = vlmp_json_string(root, "model_type", "", &type, where, err);
    if (status == VLMP_OK) {
        config->family = vlmp_family_find(type);
        if (config->family == NULL)
            status = vlmp_fail(err, VLMP_ERR_INPUT,
                               "%s: model_type '%s' is not supported; llava and llava_next are",
                               where, type);
        else
            status = config->family->read_config(config, root, where, err);
    }
    cJSON_Delete(root);
    return status;
}

/* "eos_token_id" is a number or a list. */
static int read_eos(vlmp_config *config, const cJSON *object, const char *where, vlmp_error *err)
{
    const cJSON *eos = vlmp_json_get(object, "eos_token_id");
    if (eos == NULL) return VLMP_OK;
    const cJSON *item = cJSON_IsArray(eos) ? eos->child : eos;
    config->eos_count = 0;
    for (; item != NULL && config->eos_count < VLMP_MAX_EOS; item = item->next) {
        if (!cJSON_IsNumber(item) || item->valuedouble < 0 || item->valuedouble > 1e9)
            return vlmp_fail(err, VLMP_ERR_INPUT, "%s: 'eos_token_id' is not a token id", where);
        config->eos[config->eos_count++] = (int32_t)item->valuedouble;
        if (item == eos) break;
    }
    return VLMP_OK;
}

int vlmp_config_read_generation(vlmp_config *config, const char *json, size_t length,
                                const char *where, vlmp_error *err)
{
    cJSON *root;
    VLMP_TRY(vlmp_json_parse(&root, json, length, where, err));
    int status = read_eos(config, root, where, err);
    cJSON_Delete(root);
    return status;
}

void vlmp_rope_frequencies(const vlmp_rope_config *rope, int head_dim, float *inv_freq)
{
    for (int i = 0; i < head_dim / 2; i++) {
        float exponent = (float)(2 * i) / (float)head_dim;
        float freq = 1.0f / powf((float)rope->theta, exponent);
        if (rope->kind == VLMP_ROPE_LINEAR) {
            freq /= (float)rope->factor;
        } else if (rope->kind == VLMP_ROPE_LLAMA3) {
            float length = (float)rope->original_max_positions;
            float wavelength = 2.0f * 3.14159265358979323846f / freq;
            float low = (float)rope->low_freq_factor, high = (float)rope->high_freq_factor;
            float scaled = freq / (float)rope->factor;
            float smooth = (length / wavelength - low) / (high - low);
            if (wavelength > length / low)
                freq = scaled;
            else if (wavelength >= length / high)
                freq = (1.0f - smooth) * scaled + smooth * freq;
        }
        inv_freq[i] = freq;
    }
}
