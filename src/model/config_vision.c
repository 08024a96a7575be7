/* The towers: CLIP, SigLIP and its copies in Idefics3 and SmolVLM, with the defaults of their
 * classes. */
#include <string.h>

#include "src/model/config.h"
#include "src/model/config_fields.h"

#define MAX_DIM (1 << 20) /* no plausible model exceeds it; larger values are corrupt files */

struct tower_sizes {
    int hidden, intermediate, layers, heads, image_size, patch_size;
};

static const struct tower_class {
    const char *model_type;
    struct tower_sizes sizes;
    struct tower_sizes absent; /* of LLaVA's own towers, where there is no section */
    double norm_eps;
    const char *act;
    bool patch_bias, has_class, has_pre_norm;
    vlmp_vision_positions positions;
} classes[] = {
    {"clip_vision_model",
     {768, 3072, 12, 12, 224, 32},
     {1024, 4096, 24, 16, 336, 14},
     1e-5,
     "quick_gelu",
     false,
     true,
     true,
     VLMP_POSITIONS_IN_ORDER},
    {"siglip_vision_model",
     {768, 3072, 12, 12, 224, 16},
     {1152, 4304, 26, 16, 384, 14},
     1e-6,
     "gelu_pytorch_tanh",
     true,
     false,
     false,
     VLMP_POSITIONS_IN_ORDER},
    {"idefics3_vision",
     {1152, 3072, 12, 16, 224, 32},
     {1152, 3072, 12, 16, 224, 32},
     1e-6,
     "gelu_pytorch_tanh",
     true,
     false,
     false,
     VLMP_POSITIONS_BUCKETS},
};

static const struct tower_class *find_class(const char *name)
{
    for (size_t i = 0; i < sizeof classes / sizeof *classes; i++)
        if (strcmp(classes[i].model_type, name) == 0) return &classes[i];
    return NULL;
}

static int read_sizes(vlmp_vision_config *vision, const struct tower_sizes *fallback,
                      const cJSON *object, const char *where, vlmp_error *err)
{
    const vlmp_config_size sizes[] = {
        {"hidden_size", fallback->hidden, MAX_DIM, &vision->hidden},
        {"intermediate_size", fallback->intermediate, MAX_DIM, &vision->intermediate},
        {"num_hidden_layers", fallback->layers, VLMP_MAX_LAYERS, &vision->layers},
        {"num_attention_heads", fallback->heads, 4096, &vision->heads},
        {"image_size", fallback->image_size, 16384, &vision->image_size},
        {"patch_size", fallback->patch_size, 1024, &vision->patch_size},
    };
    VLMP_TRY(vlmp_config_sizes(object, sizes, sizeof sizes / sizeof *sizes, where, err));
    return vlmp_config_channels(object, "num_channels", where, err);
}

static int read_class(vlmp_vision_config *vision, const struct tower_class *class,
                      const struct tower_sizes *sizes, const cJSON *object, const char *where,
                      vlmp_error *err)
{
    VLMP_TRY(vlmp_config_refuse(object, "per_layer_config", where, err));
    VLMP_TRY(read_sizes(vision, sizes, object, where, err));
    VLMP_TRY(vlmp_config_epsilon(object, "layer_norm_eps", class->norm_eps, &vision->norm_eps,
                                 where, err));
    VLMP_TRY(
        vlmp_config_read_activation(object, "hidden_act", class->act, &vision->act, where, err));
    if (vision->hidden % vision->heads != 0)
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: vision hidden_size %d is no multiple of %d heads", where,
                         vision->hidden, vision->heads);
    if (vision->image_size < vision->patch_size)
        return vlmp_fail(err, VLMP_ERR_INPUT, "%s: image_size %d is below patch_size %d", where,
                         vision->image_size, vision->patch_size);
    vision->head_dim = vision->hidden / vision->heads;
    vision->patch_bias = class->patch_bias;
    vision->has_class = class->has_class;
    vision->has_pre_norm = class->has_pre_norm;
    vision->positions = class->positions;
    return VLMP_OK;
}

int vlmp_config_read_tower(vlmp_vision_config *vision, const char *class_name, const cJSON *object,
                           const char *where, vlmp_error *err)
{
    const struct tower_class *class = find_class(class_name);
    return read_class(vision, class, &class->sizes, object, where, err);
}

int vlmp_config_read_named_tower(vlmp_vision_config *vision, const char *fallback,
                                 const cJSON *object, const char *where, vlmp_error *err)
{
    const char *type;
    VLMP_TRY(vlmp_config_string(object, "model_type", fallback, &type, where, err));
    const struct tower_class *class = find_class(type);
    if (class == NULL || class->positions == VLMP_POSITIONS_BUCKETS)
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: vision tower '%.64s' is not supported; clip_vision_model and "
                         "siglip_vision_model are",
                         where, type);
    return read_class(vision, class, object == NULL ? &class->absent : &class->sizes, object, where,
                      err);
}

int vlmp_position_bucket(int i, int side)
{
    const float last = (float)(1.0 - 1e-6);
    double step = 1.0 / side;
    float at = (float)i * (1.0f / (float)side);
    int bucket = 0;
    if (at > last) at = last;
    while (bucket + 1 < side && (float)(step + bucket * step) <= at)
        bucket++;
    return bucket;
}

int vlmp_feature_width(const vlmp_config *config)
{
    const vlmp_projector_config *projector = &config->projector;
    return config->vision.hidden * config->vision.feature_count * projector->shuffle *
           projector->shuffle;
}
