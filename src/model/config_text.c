/* The text models: Llama, Mistral, Qwen2 and its kin, with the defaults and the rules of their
 * classes. */
#include <math.h>
#include <string.h>

#include "src/model/config.h"
#include "src/model/config_fields.h"

#define MAX_DIM      (1 << 20) /* no plausible model exceeds it; larger values are corrupt files */
#define MAX_HEADS    4096
#define MAX_GROUP    64 /* query heads a key head: their scores fit a thread's scratch together */
#define MAX_HEAD_DIM 1024
#define MAX_THETA    1e12

/* The sizes of a class where its configuration says nothing. */
struct text_sizes {
    int hidden, layers, heads, vocab, intermediate;
    int kv_heads; /* 0: as many as query heads */
    int max_positions;
    int window_layers; /* in front of those that slide */
    int head_dim;      /* 0: hidden / heads */
    double norm_eps, theta;
};

static const struct text_sizes llama_sizes = {4096, 32, 32, 32000, 11008, 0, 2048, 0, 0, 1e-6, 1e4};
static const struct text_sizes mistral_sizes = {4096,   32, 32, 32000, 14336, 8,
                                                131072, 0,  0,  1e-6,  1e4};
static const struct text_sizes qwen2_sizes = {4096,  32, 32, 151936, 22016, 32,
                                              32768, 28, 0,  1e-6,   1e4};
static const struct text_sizes qwen2_vl_sizes = {8192,  80, 64, 152064, 29568, 8,
                                                 32768, 80, 0,  1e-5,   1e6};

static const struct text_sizes qwen3_vl_sizes = {4096,   32, 32,  151936, 22016, 32,
                                                 128000, 0,  128, 1e-6,   5e5};

/* What sets a class apart. */
enum {
    QKV_BIAS = 1 << 0,
    BIAS_SWITCHES = 1 << 1, /* 'attention_bias' (of all four linears), Llama's 'mlp_bias' too */
    WHOLE_HEADS = 1 << 2,   /* hidden must be a multiple of heads even where head_dim is given */
    NULL_KV_HEADS = 1 << 3, /* null means as many as query heads */
    NULL_HEAD_DIM = 1 << 4, /* null means hidden / heads */
    MAY_SLIDE = 1 << 5,     /* by use_sliding_window and max_window_layers; layer_types decide */
    SECTIONS = 1 << 6,      /* rotary pairs turn by three axes, 'mrope_section' */
    INTERLEAVED = 1 << 7,   /* … which take turns */
    QK_NORM = 1 << 8,
};

#define QWEN2_VL (QKV_BIAS | WHOLE_HEADS | NULL_KV_HEADS | MAY_SLIDE | SECTIONS)
#define QWEN3_VL (BIAS_SWITCHES | NULL_KV_HEADS | SECTIONS | INTERLEAVED | QK_NORM)

static const struct text_class {
    const char *model_type;
    const struct text_sizes *sizes;
    unsigned has;
} text_classes[] = {
    {"llama", &llama_sizes, BIAS_SWITCHES | WHOLE_HEADS | NULL_KV_HEADS | NULL_HEAD_DIM},
    {"mistral", &mistral_sizes, NULL_HEAD_DIM},
    {"qwen2", &qwen2_sizes, QKV_BIAS | NULL_KV_HEADS | MAY_SLIDE},
    {"qwen2_vl", &qwen2_vl_sizes, QWEN2_VL},
    {"qwen2_vl_text", &qwen2_vl_sizes, QWEN2_VL},
    {"qwen2_5_vl", &qwen2_vl_sizes, QWEN2_VL},
    {"qwen2_5_vl_text", &qwen2_vl_sizes, QWEN2_VL},
    {"qwen3_vl_text", &qwen3_vl_sizes, QWEN3_VL},
};

static bool has(const struct text_class *class, unsigned what)
{
    return (class->has & what) != 0;
}

static int read_llama3(vlmp_rope_config *rope, const cJSON *scaling, const cJSON *object,
                       int max_positions, const char *where, vlmp_error *err)
{
    static const char original[] = "original_max_position_embeddings";
    const cJSON *holder = cJSON_HasObjectItem(object, original) ? object : scaling;
    rope->kind = VLMP_ROPE_LLAMA3;
    VLMP_TRY(vlmp_config_double(scaling, "low_freq_factor", 0, &rope->low_freq_factor, where, err));
    VLMP_TRY(
        vlmp_config_double(scaling, "high_freq_factor", 0, &rope->high_freq_factor, where, err));
    VLMP_TRY(vlmp_config_double(holder, original, max_positions, &rope->original_max_positions,
                                where, err));
    if (!(rope->high_freq_factor > rope->low_freq_factor && rope->low_freq_factor > 0))
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: llama3 RoPE needs 0 < low_freq_factor < high_freq_factor", where);
    if (!(rope->original_max_positions >= 1 && rope->original_max_positions <= 1 << 30))
        return vlmp_fail(err, VLMP_ERR_INPUT, "%s: '%s' is %g, outside 1 … 2³⁰", where, original,
                         rope->original_max_positions);
    return VLMP_OK;
}

/* Rotary positions on a part of each head, by section, or apart by kind of layer. */
static int refuse_rope(const cJSON *object, const cJSON *scaling, bool sections, const char *where,
                       vlmp_error *err)
{
    const cJSON *const holders[] = {object, scaling};
    for (int i = 0; i < 2; i++) {
        double part;
        VLMP_TRY(vlmp_json_double(holders[i], "partial_rotary_factor", 1, &part, where, err));
        if (part != 1)
            return vlmp_fail(err, VLMP_ERR_INPUT,
                             "%s: 'partial_rotary_factor' is %g; only rotation of whole heads (1) "
                             "is supported",
                             where, part);
    }
    for (const cJSON *item = scaling != NULL ? scaling->child : NULL; item != NULL;
         item = item->next)
        if (cJSON_IsObject(item))
            return vlmp_fail(err, VLMP_ERR_INPUT,
                             "%s: RoPE that differs by kind of layer ('%.64s') is not supported",
                             where, item->string);
    return sections ? VLMP_OK : vlmp_config_refuse(scaling, "mrope_section", where, err);
}

/* How many rotary pairs turn by time, by row and by column. */
static int read_sections(vlmp_text_config *text, const cJSON *scaling, const char *where,
                         vlmp_error *err)
{
    static const int published[VLMP_POSITION_AXES] = {16, 24, 24};
    const cJSON *list = vlmp_json_get(scaling, "mrope_section"), *item;
    int count = 0, pairs = 0;
    bool good = cJSON_IsArray(list);
    if (list == NULL && !text->interleaved && text->head_dim == 2 * (16 + 24 + 24)) {
        memcpy(text->sections, published, sizeof published);
        return VLMP_OK;
    }
    cJSON_ArrayForEach(item, list)
    {
        double value = cJSON_IsNumber(item) ? item->valuedouble : 0;
        good = good && count < VLMP_POSITION_AXES && value >= 1 && value <= MAX_HEAD_DIM &&
               value == (int)value;
        if (!good) break;
        text->sections[count++] = (int)value;
        pairs += (int)value;
    }
    if (good && count == VLMP_POSITION_AXES && (text->interleaved || pairs == text->head_dim / 2))
        return VLMP_OK;
    return vlmp_fail(
        err, VLMP_ERR_INPUT,
        "%s: 'mrope_section' must be three numbers of rotary pairs that add up to half "
        "of the heads' width %d",
        where, text->head_dim);
}

/* transformers 4 writes rope_theta and rope_scaling, 5 writes rope_parameters with both. Of the
 * two objects, a rope_scaling that says something wins, as in the reference. */
static int read_rope(vlmp_text_config *text, const struct text_class *class, const cJSON *object,
                     const char *where, vlmp_error *err)
{
    vlmp_rope_config *rope = &text->rope;
    const cJSON *scaling;
    const char *type;
    double theta;
    VLMP_TRY(vlmp_config_section(object, "rope_scaling", &scaling, where, err));
    if (scaling == NULL || scaling->child == NULL)
        VLMP_TRY(vlmp_config_section(object, "rope_parameters", &scaling, where, err));
    VLMP_TRY(refuse_rope(object, scaling, has(class, SECTIONS), where, err));
    const cJSON *holder = cJSON_HasObjectItem(scaling, "rope_theta") ? scaling : object;
    VLMP_TRY(vlmp_config_double(holder, "rope_theta", class->sizes->theta, &theta, where, err));
    if (!(theta > 0 && theta <= MAX_THETA))
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: rope_theta is %g; it must be positive and at most %g", where, theta,
                         MAX_THETA);
    *rope = (vlmp_rope_config){.kind = VLMP_ROPE_DEFAULT, .theta = theta, .factor = 1};
    VLMP_TRY(vlmp_config_string(scaling, "type", "default", &type, where, err));
    VLMP_TRY(vlmp_config_string(scaling, "rope_type", type, &type, where, err));
    if (has(class, SECTIONS)) VLMP_TRY(read_sections(text, scaling, where, err));
    if (strcmp(type, "default") == 0 || (has(class, SECTIONS) && strcmp(type, "mrope") == 0))
        return VLMP_OK;
    bool linear = strcmp(type, "linear") == 0;
    if (!linear && strcmp(type, "llama3") != 0)
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: RoPE type '%.64s' is not supported; default, linear and llama3 are",
                         where, type);
    VLMP_TRY(vlmp_config_double(scaling, "factor", 0, &rope->factor, where, err));
    if (!(rope->factor >= 1))
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: %s RoPE needs a 'factor' of at least 1; it is %g or missing", where,
                         type, rope->factor);
    if (!linear) return read_llama3(rope, scaling, object, text->max_positions, where, err);
    rope->kind = VLMP_ROPE_LINEAR;
    return VLMP_OK;
}

/* "layer_types" decides for Qwen2; the other classes do not look at it, so it may only repeat what
 * they do. */
static int read_layer_types(vlmp_text_config *text, bool decides, const cJSON *types,
                            const char *where, vlmp_error *err)
{
    const cJSON *item = cJSON_IsArray(types) ? types->child : NULL;
    int layer = 0;
    for (; item != NULL && layer < text->layers; item = item->next, layer++) {
        const char *type = cJSON_IsString(item) ? item->valuestring : "";
        bool slides = strcmp(type, "sliding_attention") == 0;
        if (!slides && strcmp(type, "full_attention") != 0 && strcmp(type, "attention") != 0)
            return vlmp_fail(err, VLMP_ERR_INPUT,
                             "%s: 'layer_types' of layer %d is '%.64s'; full_attention and "
                             "sliding_attention are known",
                             where, layer, type);
        if (decides && slides && text->window == 0)
            return vlmp_fail(err, VLMP_ERR_INPUT,
                             "%s: layer %d has sliding_attention, but there is no window "
                             "('use_sliding_window' and 'sliding_window')",
                             where, layer);
        if (!decides && slides != text->sliding[layer])
            return vlmp_fail(err, VLMP_ERR_INPUT,
                             "%s: 'layer_types' of layer %d is '%s', which contradicts "
                             "'sliding_window' of a %s model",
                             where, layer, type, text->model_type);
        text->sliding[layer] = slides;
    }
    if (item == NULL && layer == text->layers) return VLMP_OK;
    return vlmp_fail(err, VLMP_ERR_INPUT,
                     "%s: 'layer_types' must have one entry for each of %d layers", where,
                     text->layers);
}

static int read_window(vlmp_text_config *text, const struct text_class *class, const cJSON *object,
                       const char *where, vlmp_error *err)
{
    const int longest = 1 << 30;
    int first = 0; /* layer with a window */
    bool mistral = strcmp(text->model_type, "mistral") == 0, used = mistral;
    text->window = 0;
    memset(text->sliding, 0, sizeof text->sliding);
    if (has(class, MAY_SLIDE)) {
        VLMP_TRY(vlmp_config_bool(object, "use_sliding_window", false, &used, where, err));
        VLMP_TRY(vlmp_config_int(object, "max_window_layers", class->sizes->window_layers, 0,
                                 longest, &first, where, err));
    }
    /* Absent means 4096; no window must be an explicit null. */
    if (used && !cJSON_IsNull(cJSON_GetObjectItemCaseSensitive(object, "sliding_window"))) {
        VLMP_TRY(
            vlmp_config_int(object, "sliding_window", 4096, 1, longest, &text->window, where, err));
        for (int i = first; i < text->layers; i++)
            text->sliding[i] = true;
    }
    const cJSON *types = vlmp_json_get(object, "layer_types");
    return types == NULL ? VLMP_OK
                         : read_layer_types(text, has(class, MAY_SLIDE), types, where, err);
}

static int read_heads(vlmp_text_config *text, const struct text_class *class, const cJSON *object,
                      const char *where, vlmp_error *err)
{
    VLMP_TRY(vlmp_config_int(object, "num_attention_heads", class->sizes->heads, 1, MAX_HEADS,
                             &text->heads, where, err));
    if (text->heads > text->hidden || (has(class, WHOLE_HEADS) && text->hidden % text->heads != 0))
        return vlmp_fail(err, VLMP_ERR_INPUT, "%s: hidden_size %d does not hold %d attention heads",
                         where, text->hidden, text->heads);
    const cJSON *kv_heads = cJSON_GetObjectItemCaseSensitive(object, "num_key_value_heads");
    const cJSON *head_dim = cJSON_GetObjectItemCaseSensitive(object, "head_dim");
    text->kv_heads = text->heads;
    text->head_dim =
        class->sizes->head_dim > 0 ? class->sizes->head_dim : text->hidden / text->heads;
    if (!(cJSON_IsNull(kv_heads) && has(class, NULL_KV_HEADS)))
        VLMP_TRY(vlmp_config_int(object, "num_key_value_heads",
                                 class->sizes->kv_heads > 0 ? class->sizes->kv_heads : text->heads,
                                 1, MAX_HEADS, &text->kv_heads, where, err));
    if (!(cJSON_IsNull(head_dim) && has(class, NULL_HEAD_DIM)))
        VLMP_TRY(vlmp_config_int(object, "head_dim", text->head_dim, 1, MAX_HEAD_DIM,
                                 &text->head_dim, where, err));
    if (text->heads % text->kv_heads != 0)
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: %d attention heads are no multiple of %d key/value heads", where,
                         text->heads, text->kv_heads);
    if (text->heads / text->kv_heads > MAX_GROUP)
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: %d attention heads share %d key/value heads; more than %d to one are "
                         "not supported",
                         where, text->heads, text->kv_heads, MAX_GROUP);
    if (text->head_dim % 2 != 0)
        return vlmp_fail(err, VLMP_ERR_INPUT, "%s: head_dim %d is odd; RoPE needs pairs", where,
                         text->head_dim);
    return VLMP_OK;
}

/* Some classes have switches for their biases. */
static int read_biases(vlmp_text_config *text, const struct text_class *class, const cJSON *object,
                       const char *where, vlmp_error *err)
{
    bool attention = false;
    if (has(class, BIAS_SWITCHES))
        VLMP_TRY(vlmp_config_bool(object, "attention_bias", false, &attention, where, err));
    if (strcmp(text->model_type, "llama") == 0)
        VLMP_TRY(vlmp_config_bool(object, "mlp_bias", false, &text->mlp_bias, where, err));
    text->qkv_bias = has(class, QKV_BIAS) || attention;
    text->o_bias = attention;
    return VLMP_OK;
}

static int read_class(vlmp_text_config *text, const struct text_class **class, const cJSON *object,
                      const char *where, vlmp_error *err)
{
    const char *type;
    VLMP_TRY(vlmp_config_string(object, "model_type", "llama", &type, where, err));
    *class = NULL;
    for (size_t i = 0; i < sizeof text_classes / sizeof *text_classes; i++)
        if (strcmp(text_classes[i].model_type, type) == 0) *class = &text_classes[i];
    if (*class == NULL)
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: text model '%.64s' is not supported; llama, mistral, qwen2, qwen2_vl "
                         "and qwen3_vl are",
                         where, type);
    memcpy(text->model_type, (*class)->model_type, strlen((*class)->model_type) + 1);
    return vlmp_config_refuse(object, "per_layer_config", where, err);
}

int vlmp_config_read_text(vlmp_text_config *text, const cJSON *object, const cJSON *root,
                          const char *where, vlmp_error *err)
{
    const struct text_class *class;
    VLMP_TRY(read_class(text, &class, object, where, err));
    const struct text_sizes *fallback = class->sizes;
    text->interleaved = has(class, INTERLEAVED);
    text->qk_norm = has(class, QK_NORM);
    const struct {
        const char *key;
        int otherwise, high;
        int *out;
    } sizes[] = {
        {"hidden_size", fallback->hidden, MAX_DIM, &text->hidden},
        {"intermediate_size", fallback->intermediate, MAX_DIM, &text->intermediate},
        {"num_hidden_layers", fallback->layers, VLMP_MAX_LAYERS, &text->layers},
        {"vocab_size", fallback->vocab, 1 << 24, &text->vocab},
        {"max_position_embeddings", fallback->max_positions, 1 << 30, &text->max_positions},
    };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        VLMP_TRY(vlmp_config_int(object, sizes[i].key, sizes[i].otherwise, 1, sizes[i].high,
                                 sizes[i].out, where, err));
    VLMP_TRY(read_heads(text, class, object, where, err));
    VLMP_TRY(vlmp_config_epsilon(object, "rms_norm_eps", fallback->norm_eps, &text->norm_eps, where,
                                 err));
    VLMP_TRY(vlmp_config_read_activation(object, "hidden_act", "silu", &text->act, where, err));
    VLMP_TRY(read_rope(text, class, object, where, err));
    VLMP_TRY(read_biases(text, class, object, where, err));
    bool outer, inner;
    VLMP_TRY(vlmp_config_bool(root, "tie_word_embeddings", false, &outer, where, err));
    VLMP_TRY(vlmp_config_bool(object, "tie_word_embeddings", false, &inner, where, err));
    text->tied = outer || inner;
    return read_window(text, class, object, where, err);
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
