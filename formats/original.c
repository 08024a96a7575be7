#include "formats/original.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/model/config.h"
#include "src/model/config_fields.h"

static const char in_folder[] = "model.vision_tower.vision_tower.";

/* What a folder is, in transformers' words. */
struct model {
    const char *architecture, *type; /* of the whole */
    const char *text;                /* of the text model */
    const char *processor;           /* of pictures */
    const char *ratio;               /* 'image_aspect_ratio' */
    bool pads, tiles, shrinks;       /* to a square; into a grid; its features */
    int image_token;
    int feature_layer;
    bool drop_first;
};

int vlmp_original_look(bool *is_one, const vlmp_source_file *config, const char *where,
                       vlmp_error *err)
{
    cJSON *root;
    VLMP_TRY(vlmp_json_parse(&root, config->data, config->length, where, err));
    *is_one = cJSON_IsString(vlmp_json_get(root, "mm_vision_tower")) &&
              vlmp_json_get(root, "text_config") == NULL &&
              vlmp_json_get(root, "vision_config") == NULL;
    cJSON_Delete(root);
    return VLMP_OK;
}

static int find_text(struct model *model, const cJSON *root, const char *where, vlmp_error *err)
{
    static const struct {
        const char *architecture, *type, *text;
    } known[] = {
        {"LlavaLlamaForCausalLM", "llava_llama", "llama"},
        {"LlavaMistralForCausalLM", "llava_mistral", "mistral"},
        {"LlavaQwenForCausalLM", "llava_qwen", "qwen2"},
        {"LlavaLlamaForCausalLM", "llava", "llama"}, /* of files that name the type alone */
    };
    const cJSON *list = vlmp_json_get(root, "architectures");
    const cJSON *first = cJSON_IsArray(list) ? cJSON_GetArrayItem(list, 0) : NULL;
    const char *type;
    VLMP_TRY(vlmp_json_string(root, "model_type", "", &type, where, err));
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (cJSON_IsString(first) ? strcmp(known[i].architecture, first->valuestring) == 0
                                  : strcmp(known[i].type, type) == 0) {
            model->text = known[i].text;
            return VLMP_OK;
        }
    return vlmp_fail(err, VLMP_ERR_INPUT,
                     "%s: an original LLaVA checkpoint of the architecture '%.64s'; "
                     "LlavaLlamaForCausalLM, LlavaMistralForCausalLM and LlavaQwenForCausalLM are "
                     "read",
                     where, cJSON_IsString(first) ? first->valuestring : type);
}

/* Settings of LLaVA's code that transformers' layout has no words for. */
static int refuse_rest(const struct model *model, const cJSON *root, const char *where,
                       vlmp_error *err)
{
    const char *projector, *merge;
    bool marks, scales;
    VLMP_TRY(vlmp_json_string(root, "mm_projector_type", "linear", &projector, where, err));
    VLMP_TRY(vlmp_json_string(root, "mm_patch_merge_type", "flat", &merge, where, err));
    VLMP_TRY(vlmp_json_bool(root, "mm_use_im_start_end", false, &marks, where, err));
    VLMP_TRY(vlmp_json_bool(root, "s2", false, &scales, where, err));
    if (strcmp(projector, "mlp2x_gelu") != 0)
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: 'mm_projector_type' is '%.64s'; mlp2x_gelu is supported", where,
                         projector);
    const char *wanted = model->tiles ? "spatial_unpad" : "flat";
    if (strcmp(merge, wanted) != 0)
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: 'mm_patch_merge_type' is '%.64s'; with 'image_aspect_ratio' '%.64s' "
                         "%s is supported",
                         where, merge, model->ratio, wanted);
    if (!marks && !scales) return VLMP_OK;
    return vlmp_fail(err, VLMP_ERR_INPUT, "%s: '%s' is not supported", where,
                     marks ? "mm_use_im_start_end" : "s2");
}

/* Which family a folder's way with pictures makes it. */
static int find_family(struct model *model, const cJSON *root, const char *where, vlmp_error *err)
{
    VLMP_TRY(vlmp_json_string(root, "image_aspect_ratio", "square", &model->ratio, where, err));
    model->shrinks = strncmp(model->ratio, "anyres_max_", 11) == 0;
    model->tiles = model->shrinks || strcmp(model->ratio, "anyres") == 0;
    model->pads = strcmp(model->ratio, "pad") == 0;
    if (!model->tiles && !model->pads && strcmp(model->ratio, "square") != 0)
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: 'image_aspect_ratio' is '%.64s'; pad, square, anyres and "
                         "anyres_max_N are supported",
                         where, model->ratio);
    model->type = model->shrinks ? "llava_onevision" : model->tiles ? "llava_next" : "llava";
    model->architecture = model->shrinks ? "LlavaOnevisionForConditionalGeneration"
                          : model->tiles ? "LlavaNextForConditionalGeneration"
                                         : "LlavaForConditionalGeneration";
    model->processor = model->shrinks ? "LlavaOnevisionImageProcessor"
                       : model->tiles ? "LlavaNextImageProcessor"
                                      : "LlavaImageProcessor";
    return refuse_rest(model, root, where, err);
}

static int find_features(struct model *model, const vlmp_original_tower *tower, const cJSON *root,
                         const char *where, vlmp_error *err)
{
    const char *rows;
    model->feature_layer = -1; /* of SigLIP, whatever the file says */
    if (!tower->has_class) return VLMP_OK;
    VLMP_TRY(vlmp_config_int(root, "mm_vision_select_layer", -2, -VLMP_MAX_LAYERS, VLMP_MAX_LAYERS,
                             &model->feature_layer, where, err));
    VLMP_TRY(vlmp_json_string(root, "mm_vision_select_feature", "patch", &rows, where, err));
    model->drop_first = strcmp(rows, "patch") == 0;
    if (model->drop_first || strcmp(rows, "cls_patch") == 0) return VLMP_OK;
    return vlmp_fail(err, VLMP_ERR_INPUT,
                     "%s: 'mm_vision_select_feature' is '%.64s'; patch and cls_patch are known",
                     where, rows);
}

/* One of [width, height], as LLaVA's code has them, written as [height, width]. */
static void put_pair(vlmp_json_writer *w, const cJSON *width, const cJSON *height)
{
    vlmp_json_open(w, '[');
    vlmp_json_put_tree(w, height);
    vlmp_json_put_tree(w, width);
    vlmp_json_close(w, ']');
}

/* "(1x1),…,(6x6)": all between, in sides of a tile. */
static void put_range(vlmp_json_writer *w, const char *text, int side)
{
    const char *last = strrchr(text, '(');
    int from[2] = {0}, to[2] = {0}, most = VLMP_MAX_PINPOINTS + 1;
    if (last == NULL || sscanf(text, "(%4dx%4d)", &from[0], &from[1]) != 2 ||
        sscanf(last, "(%4dx%4d)", &to[0], &to[1]) != 2)
        return;
    for (int i = from[0]; i <= to[0] && most > 0; i++)
        for (int j = from[1]; j <= to[1] && most-- > 0; j++) {
            cJSON width = {.type = cJSON_Number, .valuedouble = (double)i * side};
            cJSON height = {.type = cJSON_Number, .valuedouble = (double)j * side};
            put_pair(w, &width, &height);
        }
}

/* A list, or the text of one in Python's words; *parsed is to be deleted. */
static int pinpoint_list(const cJSON **out, cJSON **parsed, const cJSON *value, const char *where,
                         vlmp_error *err)
{
    *out = value;
    if (!cJSON_IsString(value)) return VLMP_OK;
    char *text = strdup(value->valuestring);
    if (text == NULL) return vlmp_fail_memory(err, where);
    for (char *c = text; *c != '\0'; c++)
        *c = *c == '(' ? '[' : *c == ')' ? ']' : *c;
    int status = vlmp_json_parse(parsed, text, strlen(text), where, err);
    free(text);
    *out = *parsed;
    return status;
}

/* Members that are no pairs are left to the reader of what is written, who refuses them. */
static int put_pinpoints(vlmp_json_writer *w, const cJSON *root, int side, const char *where,
                         vlmp_error *err)
{
    static const char key[] = "image_grid_pinpoints";
    const cJSON *value = vlmp_json_get(root, key), *list = NULL, *item;
    cJSON *parsed = NULL;
    if (value == NULL)
        return vlmp_fail(err, VLMP_ERR_INPUT, "%s: no '%s', which pictures are tiled to", where,
                         key);
    bool range = cJSON_IsString(value) && strchr(value->valuestring, 'x') != NULL;
    if (!range) VLMP_TRY(pinpoint_list(&list, &parsed, value, where, err));
    vlmp_json_pair_open(w, key, '[');
    if (range) put_range(w, value->valuestring, side);
    cJSON_ArrayForEach(item, list)
    {
        if (cJSON_IsArray(item) && cJSON_GetArraySize(item) == 2)
            put_pair(w, cJSON_GetArrayItem(item, 0), cJSON_GetArrayItem(item, 1));
        else
            vlmp_json_put_tree(w, item);
    }
    vlmp_json_close(w, ']');
    cJSON_Delete(parsed);
    return VLMP_OK;
}

static void put_text(vlmp_json_writer *w, const struct model *model, const cJSON *root)
{
    static const char *const others[] = {"architectures", "model_type", "auto_map", "mm_",
                                         "image_",        "tune_",      "freeze_",  "unfreeze_",
                                         "tokenizer_",    "use_mm_",    "vision_"};
    const cJSON *item;
    vlmp_json_pair_open(w, "text_config", '{');
    vlmp_json_pair_string(w, "model_type", model->text);
    cJSON_ArrayForEach(item, root)
    {
        bool other = false;
        for (size_t i = 0; i < sizeof others / sizeof *others; i++)
            other |= strncmp(item->string, others[i], strlen(others[i])) == 0;
        if (other) continue;
        vlmp_json_key(w, item->string);
        vlmp_json_put_tree(w, item);
    }
    vlmp_json_close(w, '}');
}

static void put_vision(vlmp_json_writer *w, const vlmp_original_tower *tower)
{
    vlmp_json_pair_open(w, "vision_config", '{');
    vlmp_json_pair_string(w, "model_type", tower->class_name);
    vlmp_json_pair_int(w, "hidden_size", tower->hidden);
    vlmp_json_pair_int(w, "intermediate_size", tower->intermediate);
    vlmp_json_pair_int(w, "num_hidden_layers", tower->layers);
    vlmp_json_pair_int(w, "num_attention_heads", tower->heads);
    vlmp_json_pair_int(w, "image_size", tower->image_size);
    vlmp_json_pair_int(w, "patch_size", tower->patch_size);
    if (tower->act != NULL) vlmp_json_pair_string(w, "hidden_act", tower->act);
    if (tower->norm_eps > 0) vlmp_json_pair_double(w, "layer_norm_eps", tower->norm_eps);
    if (!tower->has_class) vlmp_json_pair_bool(w, "vision_use_head", false);
    vlmp_json_close(w, '}');
}

static int put_config(vlmp_json_writer *w, const struct model *model,
                      const vlmp_original_tower *tower, const cJSON *root, const char *where,
                      vlmp_error *err)
{
    static const char *const shared[] = {"bos_token_id", "eos_token_id", "pad_token_id",
                                         "dtype",        "torch_dtype",  "tie_word_embeddings"};
    vlmp_json_open(w, '{');
    vlmp_json_pair_open(w, "architectures", '[');
    vlmp_json_put_string(w, model->architecture);
    vlmp_json_close(w, ']');
    vlmp_json_pair_string(w, "model_type", model->type);
    for (size_t i = 0; i < sizeof shared / sizeof *shared; i++) {
        const cJSON *item = cJSON_GetObjectItemCaseSensitive(root, shared[i]);
        if (item == NULL) continue;
        vlmp_json_key(w, shared[i]);
        vlmp_json_put_tree(w, item);
    }
    vlmp_json_pair_int(w, "image_token_index", model->image_token);
    vlmp_json_pair_bool(w, "image_token_needs_no_row", true);
    vlmp_json_pair_string(w, "projector_hidden_act", "gelu");
    vlmp_json_pair_int(w, "vision_feature_layer", model->feature_layer);
    vlmp_json_pair_string(w, "vision_feature_select_strategy",
                          model->drop_first ? "default" : "full");
    if (model->shrinks) vlmp_json_pair_string(w, "vision_aspect_ratio", model->ratio);
    if (model->tiles) VLMP_TRY(put_pinpoints(w, root, tower->image_size, where, err));
    put_text(w, model, root);
    put_vision(w, tower);
    vlmp_json_close(w, '}');
    return VLMP_OK;
}

static void put_size(vlmp_json_writer *w, const char *key, bool whole, int side)
{
    vlmp_json_pair_open(w, key, '{');
    if (whole)
        vlmp_json_pair_int(w, "shortest_edge", side);
    else {
        vlmp_json_pair_int(w, "height", side);
        vlmp_json_pair_int(w, "width", side);
    }
    vlmp_json_close(w, '}');
}

/* The processor, as far as a folder describes it (own), with what the model does before. */
static int put_pictures(vlmp_json_writer *w, const struct model *model,
                        const vlmp_original_tower *tower, const cJSON *own, const cJSON *root,
                        const char *where, vlmp_error *err)
{
    static const char *const taken[] = {"do_convert_rgb", "do_resize",      "do_rescale",
                                        "do_normalize",   "rescale_factor", "resample",
                                        "do_center_crop"};
    static const double clip_mean[] = {0.48145466, 0.4578275, 0.40821073},
                        clip_std[] = {0.26862954, 0.26130258, 0.27577711}, half[] = {0.5, 0.5, 0.5};
    const struct {
        const char *key;
        const double *values;
    } triples[] = {{"image_mean", tower->has_class ? clip_mean : half},
                   {"image_std", tower->has_class ? clip_std : half}};
    vlmp_json_open(w, '{');
    vlmp_json_pair_string(w, "image_processor_type", model->processor);
    for (size_t i = 0; i < sizeof taken / sizeof *taken; i++) {
        const cJSON *item = vlmp_json_get(own, taken[i]);
        if (item == NULL) continue;
        vlmp_json_key(w, taken[i]);
        vlmp_json_put_tree(w, item);
    }
    if (vlmp_json_get(own, "do_center_crop") == NULL)
        vlmp_json_pair_bool(w, "do_center_crop", tower->has_class);
    for (size_t i = 0; i < sizeof triples / sizeof *triples; i++) {
        const cJSON *item = vlmp_json_get(own, triples[i].key);
        if (item != NULL) {
            vlmp_json_key(w, triples[i].key);
            vlmp_json_put_tree(w, item);
            continue;
        }
        vlmp_json_pair_open(w, triples[i].key, '[');
        for (int c = 0; c < 3; c++)
            vlmp_json_put_double(w, triples[i].values[c]);
        vlmp_json_close(w, ']');
    }
    put_size(w, "size", tower->has_class, tower->image_size);
    if (tower->has_class) put_size(w, "crop_size", false, tower->image_size);
    vlmp_json_pair_bool(w, "do_pad", model->pads || model->tiles);
    if (model->tiles) VLMP_TRY(put_pinpoints(w, root, tower->image_size, where, err));
    vlmp_json_close(w, '}');
    return VLMP_OK;
}

/* What counting a picture's rows needs. */
static void put_counts(vlmp_json_writer *w, const struct model *model,
                       const vlmp_original_tower *tower)
{
    int side = tower->image_size / tower->patch_size;
    vlmp_json_open(w, '{');
    vlmp_json_pair_string(w, "processor_class",
                          model->shrinks ? "LlavaOnevisionProcessor"
                          : model->tiles ? "LlavaNextProcessor"
                                         : "LlavaProcessor");
    vlmp_json_pair_string(w, "vision_feature_select_strategy",
                          model->drop_first ? "default" : "full");
    if (model->shrinks) {
        vlmp_json_pair_int(w, "num_image_tokens", side * side);
        vlmp_json_pair_string(w, "vision_aspect_ratio", model->ratio);
    } else {
        vlmp_json_pair_int(w, "patch_size", tower->patch_size);
        vlmp_json_pair_int(w, "num_additional_image_tokens", tower->has_class ? 1 : 0);
    }
    vlmp_json_close(w, '}');
}

static bool holds_tower(const vlmp_shards *shards)
{
    for (size_t i = 0; i < shards->count; i++)
        for (size_t t = 0; t < shards->files[i].count; t++)
            if (strncmp(shards->files[i].tensors[t].name, in_folder, sizeof in_folder - 1) == 0)
                return true;
    return false;
}

static int convert(vlmp_original *out, vlmp_source_files *files, const cJSON *root,
                   const char *folder, const char *where, vlmp_arena *arena, vlmp_error *err)
{
    static const char processor[] = "preprocessor_config.json";
    struct model model = {0};
    vlmp_json_writer config = {.indent = 2}, pictures = {.indent = 2}, counts = {.indent = 2};
    cJSON *own; /* the processor's settings: the model folder's, else the tower's */
    VLMP_TRY(find_text(&model, root, where, err));
    VLMP_TRY(find_family(&model, root, where, err));
    VLMP_TRY(vlmp_original_find_tower(out, root, folder, where, err));
    VLMP_TRY(find_features(&model, &out->tower, root, where, err));
    VLMP_TRY(
        vlmp_original_prompts(&model.image_token, files, root, model.text, folder, arena, err));
    int status = put_config(&config, &model, &out->tower, root, where, err);
    if (status == VLMP_OK)
        status = vlmp_source_files_write(files, "config.json", &config, arena, err);
    vlmp_buffer_free(&config.out);
    VLMP_TRY(status);
    VLMP_TRY(vlmp_source_files_object(&own, files, processor, folder, err));
    if (own == NULL) VLMP_TRY(vlmp_original_tower_processor(&own, &out->tower, err));
    status = put_pictures(&pictures, &model, &out->tower, own, root, where, err);
    if (status == VLMP_OK)
        status = vlmp_source_files_write(files, processor, &pictures, arena, err);
    vlmp_buffer_free(&pictures.out);
    cJSON_Delete(own);
    VLMP_TRY(status);
    put_counts(&counts, &model, &out->tower);
    return vlmp_source_files_write(files, "processor_config.json", &counts, arena, err);
}

int vlmp_original_convert(vlmp_original *out, vlmp_source_files *files, const vlmp_shards *shards,
                          const char *folder, vlmp_arena *arena, vlmp_error *err)
{
    cJSON *root;
    char where[PATH_MAX];
    const vlmp_source_file *config = vlmp_source_files_find(files, "config.json");
    snprintf(where, sizeof where, "%.4000s/config.json", folder);
    *out = (vlmp_original){.holds_tower = holds_tower(shards)};
    VLMP_TRY(vlmp_json_parse(&root, config->data, config->length, where, err));
    int status = convert(out, files, root, folder, where, arena, err);
    cJSON_Delete(root);
    return status;
}

bool vlmp_original_name(char out[VLMP_ORIGINAL_NAME_BYTES], const char *name,
                        const vlmp_original *original, bool tower)
{
    static const char layers[] = "vision_tower.vision_model.encoder.layers.";
    static const struct {
        const char *from, *to;
    } prefixes[] = {
        {in_folder, "vision_tower."},
        {"model.mm_projector.0.", "multi_modal_projector.linear_1."},
        {"model.mm_projector.2.", "multi_modal_projector.linear_2."},
        {"model.image_newline", "image_newline"},
        {"lm_head.", "language_model.lm_head."},
        {"model.", "language_model.model."},
    };
    snprintf(out, VLMP_ORIGINAL_NAME_BYTES, "%s%s", tower ? "vision_tower." : "", name);
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes && !tower; i++) {
        size_t length = strlen(prefixes[i].from);
        if (strncmp(name, prefixes[i].from, length) != 0) continue;
        snprintf(out, VLMP_ORIGINAL_NAME_BYTES, "%s%s", prefixes[i].to, name + length);
        break;
    }
    if (strncmp(out, "vision_tower.", 13) != 0) return true;
    if (tower && original->holds_tower) return false;
    /* The rest of a CLIP or a SigLIP: its text model, its heads, and the layer that goes. */
    if (strncmp(out, layers, sizeof layers - 1) == 0)
        return strtol(out + sizeof layers - 1, NULL, 10) < original->tower.layers;
    return strncmp(out, "vision_tower.vision_model.", 26) == 0 &&
           strncmp(out, "vision_tower.vision_model.head.", 31) != 0;
}
