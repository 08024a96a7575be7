/* The tower of an original LLaVA folder: what it is, and where. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/hub.h"
#include "formats/original.h"
#include "src/base/file.h"
#include "src/model/config_fields.h"

#define CLIP   "clip_vision_model"
#define SIGLIP "siglip_vision_model"

/* The towers of published models, by the last part of their names. */
static const struct {
    const char *name;
    vlmp_original_tower tower;
} published[] = {
    {"clip-vit-large-patch14-336", {CLIP, 1024, 4096, 24, 16, 336, 14, .has_class = true}},
    {"clip-vit-large-patch14", {CLIP, 1024, 4096, 24, 16, 224, 14, .has_class = true}},
    {"siglip-so400m-patch14-384", {SIGLIP, 1152, 4304, 27, 16, 384, 14, .has_class = false}},
};

static const char *last_part(const char *name)
{
    const char *slash = strrchr(name, '/');
    return slash != NULL ? slash + 1 : name;
}

static int is_folder(bool *out, const char *path, vlmp_error *err)
{
    vlmp_path_kind kind;
    VLMP_TRY(vlmp_path_look(&kind, path, err));
    *out = kind == VLMP_PATH_FOLDER;
    return VLMP_OK;
}

/* Beside the model's folder, or in the hub cache. A path in the file is not followed: it is of the
 * machine that trained the model. */
static int look(char out[PATH_MAX], const char *name, const char *model, const char *where,
                vlmp_error *err)
{
    char beside[PATH_MAX];
    const char *last = last_part(name);
    bool found = false, plain = last[0] != '\0' && last[0] != '.';
    if (plain && vlmp_path_join(beside, sizeof beside, model, "..") &&
        vlmp_path_join(out, PATH_MAX, beside, last))
        VLMP_TRY(is_folder(&found, out, err));
    if (found) return VLMP_OK;
    VLMP_TRY(vlmp_hub_look(out, PATH_MAX, name, err));
    if (out[0] != '\0') return VLMP_OK;
    return vlmp_fail(
        err, VLMP_ERR_INPUT,
        "%s: the tower '%.200s' (mm_vision_tower) is neither among the model's weights "
        "nor in the hub cache, nor is there a folder '%.200s' beside the model's; put "
        "the tower's folder there%s%.200s",
        where, name, last, vlmp_is_hub_id(name) ? ", or fetch it with: hf download " : "",
        vlmp_is_hub_id(name) ? name : "");
}

/* Of the tower's own config.json, which may describe a text model beside it. */
static int read_sizes(vlmp_original_tower *tower, const cJSON *root, const char *where,
                      vlmp_error *err)
{
    const char *type, *act;
    const cJSON *vision;
    VLMP_TRY(vlmp_json_string(root, "model_type", "?", &type, where, err));
    bool clip = strcmp(type, "clip") == 0 || strcmp(type, CLIP) == 0;
    if (!clip && strcmp(type, "siglip") != 0 && strcmp(type, SIGLIP) != 0)
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: the tower's 'model_type' is '%.64s'; towers of clip and siglip are "
                         "read",
                         where, type);
    VLMP_TRY(vlmp_config_section(root, "vision_config", &vision, where, err));
    if (vision == NULL) vision = root;
    tower->class_name = clip ? CLIP : SIGLIP;
    tower->has_class = clip;
    const int most = 1 << 20;
    const vlmp_config_size sizes[] = {
        {"hidden_size", 768, most, &tower->hidden},
        {"intermediate_size", 3072, most, &tower->intermediate},
        {"num_hidden_layers", 12, most, &tower->layers},
        {"num_attention_heads", 12, most, &tower->heads},
        {"image_size", 224, most, &tower->image_size},
        {"patch_size", clip ? 32 : 16, most, &tower->patch_size},
    };
    VLMP_TRY(vlmp_config_sizes(vision, sizes, sizeof sizes / sizeof *sizes, where, err));
    VLMP_TRY(vlmp_config_string(vision, "hidden_act", clip ? "quick_gelu" : "gelu_pytorch_tanh",
                                &act, where, err));
    VLMP_TRY(vlmp_config_double(vision, "layer_norm_eps", clip ? 1e-5 : 1e-6, &tower->norm_eps,
                                where, err));
    static const char *const acts[] = {"quick_gelu", "gelu", "gelu_pytorch_tanh",
                                       "gelu_new",   "relu", "silu"};
    for (size_t i = 0; i < sizeof acts / sizeof *acts; i++)
        if (strcmp(acts[i], act) == 0) tower->act = acts[i];
    if (tower->act != NULL) return VLMP_OK;
    return vlmp_fail(err, VLMP_ERR_INPUT,
                     "%s: 'hidden_act' is '%.64s', an activation that is not supported", where,
                     act);
}

static int load(cJSON **root, const vlmp_original_tower *tower, const char *name,
                char path[PATH_MAX], vlmp_error *err)
{
    vlmp_path_kind kind = VLMP_PATH_ABSENT;
    char boundary[PATH_MAX];
    *root = NULL;
    if (!vlmp_path_join(path, PATH_MAX, tower->folder, name)) return VLMP_OK;
    VLMP_TRY(vlmp_path_look(&kind, path, err));
    if (kind == VLMP_PATH_ABSENT) return VLMP_OK;
    VLMP_TRY(vlmp_folder_boundary(boundary, sizeof boundary, tower->folder, err));
    VLMP_TRY(vlmp_check_inside(path, boundary, err));
    return vlmp_json_load(root, path, VLMP_MAX_CONFIG, err);
}

static int read_tower(vlmp_original_tower *tower, vlmp_error *err)
{
    cJSON *root;
    char path[PATH_MAX];
    VLMP_TRY(load(&root, tower, "config.json", path, err));
    if (root == NULL)
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: no config.json, which describes the tower; is the download complete?",
                         tower->folder);
    int status = read_sizes(tower, root, path, err);
    cJSON_Delete(root);
    return status;
}

int vlmp_original_find_tower(vlmp_original *out, const cJSON *config, const char *folder,
                             const char *where, vlmp_error *err)
{
    const char *name;
    vlmp_original_tower *tower = &out->tower;
    VLMP_TRY(vlmp_json_string(config, "mm_vision_tower", "", &name, where, err));
    size_t known = 0, count = sizeof published / sizeof *published;
    while (known < count && strcmp(published[known].name, last_part(name)) != 0)
        known++;
    if (out->holds_tower && known < count) {
        *tower = published[known].tower;
    } else {
        VLMP_TRY(look(tower->folder, name, folder, where, err));
        VLMP_TRY(read_tower(tower, err));
    }
    /* LLaVA's code takes the last layer of SigLIP away, and the features behind the one before. */
    if (!tower->has_class) tower->layers--;
    if (tower->layers > 0) return VLMP_OK;
    return vlmp_fail(err, VLMP_ERR_INPUT,
                     "%s: a SigLIP tower of one layer, of which LLaVA's code takes the last away",
                     tower->folder);
}

int vlmp_original_tower_processor(cJSON **out, const vlmp_original_tower *tower, vlmp_error *err)
{
    char path[PATH_MAX];
    *out = NULL;
    if (tower->folder[0] == '\0') return VLMP_OK;
    VLMP_TRY(load(out, tower, "preprocessor_config.json", path, err));
    if (*out == NULL || cJSON_IsObject(*out)) return VLMP_OK;
    cJSON_Delete(*out);
    *out = NULL;
    return vlmp_fail(err, VLMP_ERR_INPUT, "%s: not a JSON object", path);
}
